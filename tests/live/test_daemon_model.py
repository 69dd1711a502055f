# SPDX-License-Identifier: BSD-2-Clause
"""Models that are swapped, broken or insane: what the kernel's subflows notice of them."""

import shutil
import signal
import time

import numpy as np
import pytest

from ccdrl.agent.daemon.options import DEFAULT_MODEL
from ccdrl.models.artifact import WEIGHTS_NAME, load_artifact
from ccdrl.tests.live.support_daemon import (
    SHARE_OF_LIA,
    DaemonProcess,
    Race,
    Watcher,
    assert_no_slot_leaked,
    count_kernel,
    make_model,
    open_folder,
    publish,
)
from ccdrl.tests.live.support_datapath import wait_until

EXTREME = np.float32(3e38)
LAST_LAYER = len(load_artifact(DEFAULT_MODEL).layers)


@pytest.fixture
def folder():
    with open_folder() as folder:
        yield folder


def swap(daemon, model, other, counter):
    """Put another artifact in the model's place, ask for it, and wait until it is taken or refused."""
    fresh, gone = model.with_name("fresh"), model.with_name("gone")
    shutil.copytree(other, fresh)
    model.rename(gone)
    fresh.rename(model)
    shutil.rmtree(gone)
    before = daemon.metrics()[counter]
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: daemon.metrics()[counter] == before + 1, f"{counter} counts")


def served(daemon):
    """What identifies the policy in service."""
    return [name for name in daemon.metrics() if name.startswith("ccdrl_info")]


def test_models_are_swapped_without_a_gap_and_broken_ones_refused(pin_dir, folder):
    """Of three swaps and three refusals one each at least costs no lease: the machine may have other work."""
    model = publish(load_artifact(DEFAULT_MODEL), folder / "model")
    gaps = {"ccdrl_reloads_total": [], "ccdrl_reload_failures_total": []}
    with Watcher(pin_dir) as watcher, DaemonProcess(pin_dir, model) as daemon, Race(14) as race:
        race.wait_until(4)
        watcher.wait_for_leases(2)
        for number in range(6):
            other = folder / f"other-{number}"
            make_model(other, lambda weights, number=number: weights["actor.0.bias"].__imul__(1 + 1e-4 * number))
            is_broken = number % 2 == 1
            if is_broken:
                with (other / WEIGHTS_NAME).open("r+b") as file:
                    file.truncate(1000)
            counter = "ccdrl_reload_failures_total" if is_broken else "ccdrl_reloads_total"
            before, policy = count_kernel(pin_dir)["expired"], served(daemon)
            swap(daemon, model, other, counter)
            time.sleep(0.5)
            gaps[counter].append(count_kernel(pin_dir)["expired"] - before)
            assert (served(daemon) == policy) == (is_broken or number == 0), "a refused model changes nothing"
        print("leases that ran out", gaps)
        assert all(0 in counts for counts in gaps.values())
        assert daemon.messages().count('"reload_failed"') == 3
        race.assert_goodput()
    watcher.assert_bounded()
    assert_no_slot_leaked(pin_dir)


def test_a_model_whose_actions_are_not_numbers_leaves_the_fallback_at_work(pin_dir, folder):
    model = make_model(folder / "model", lambda weights: None, is_normalised=False)
    with Watcher(pin_dir) as watcher, DaemonProcess(pin_dir, model) as daemon, Race(9) as race:
        race.wait_until(8)
        metrics = daemon.metrics()
        assert metrics['ccdrl_guard_total{check="actions_not_finite"}'] > 100
        assert metrics['ccdrl_guard_total{check="actions_not_finite"}'] == metrics["ccdrl_decisions_total"]
        assert watcher.count_leased() == 0
        race.assert_goodput()
        assert daemon.process.poll() is None
    watcher.assert_bounded()
    assert_no_slot_leaked(pin_dir)


@pytest.mark.parametrize("direction", [1, -1])
def test_a_model_that_always_wants_an_extreme(pin_dir, folder, direction):
    """Up: windows stay within the bounds and queues within their limits. Down: the fallback is called in.

    Only for subflows that stay at the lowest window: others are kept going, in a sawtooth, by the rule that takes up an
    empty queue whatever the action, so that the goodput is a little less than the fallback's.
    """

    def spoil(weights):
        weights[f"actor.{LAST_LAYER}.weight"][:] = 0
        weights[f"actor.{LAST_LAYER}.bias"][:] = direction * EXTREME

    model = make_model(folder / "model", spoil)
    with Watcher(pin_dir) as watcher, DaemonProcess(pin_dir, model) as daemon, Race(20) as race:
        race.wait_until(19)
        withheld = daemon.metrics()['ccdrl_guard_total{check="actions_starving"}']
        assert (withheld > 100) == (direction < 0)
        assert ("starved" in daemon.messages()) == (direction < 0)
        race.assert_goodput(SHARE_OF_LIA if direction > 0 else 0.7)
        assert daemon.process.poll() is None
    watcher.assert_bounded()
    assert_no_slot_leaked(pin_dir)
