# SPDX-License-Identifier: BSD-2-Clause
"""Somebody who may write the shared maps writes rubbish into them while the daemon serves."""

import threading
import time

import numpy as np

from ccdrl.bindings.linux.maps import open_maps
from ccdrl.tests.live.support_daemon import (
    DaemonProcess,
    Race,
    Watcher,
    assert_no_slot_leaked,
    count_kernel,
)


class Scribbler:
    """Random bytes in a random place of the actions, or in all of them, 500 times a second."""

    def __init__(self, pin_dir, seed):
        self._maps = open_maps(pin_dir)
        self._rng = np.random.default_rng(seed)
        self._is_done = False
        self._thread = threading.Thread(target=self._scribble)

    def _scribble(self):
        controls, tally = (getattr(self._maps, name).view(np.uint8) for name in ("controls", "tally"))
        while not self._is_done:
            begin = int(self._rng.integers(0, controls.size))
            end = controls.size if self._rng.integers(0, 4) == 0 else min(begin + 64, controls.size)
            if end == controls.size:
                begin = 0
            controls[begin:end] = self._rng.integers(0, 256, end - begin, np.uint8)
            tally[:] = self._rng.integers(0, 256, tally.size, np.uint8)
            time.sleep(0.002)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_done = True
        self._thread.join()


def test_random_bytes_in_the_actions(pin_dir):
    with Watcher(pin_dir) as watcher, DaemonProcess(pin_dir) as daemon, Race(14) as race:
        race.wait_until(3)
        watcher.wait_for_leases(2)
        before = count_kernel(pin_dir)
        with Scribbler(pin_dir, 1):
            race.wait_until(11)
        after = count_kernel(pin_dir)
        rubbish = after["generation_mismatch"] - before["generation_mismatch"]
        refused = sum(after[name] - before[name] for name in ("stale", "malformed"))
        print(f"{rubbish} actions for nobody, {refused} more refused, {after['taken'] - before['taken']} taken")
        assert rubbish > 100
        # What is left of it lasts for no one: the daemon's next actions are taken.
        watcher.wait_for_leases(2, 1.0)
        metrics = daemon.metrics()
        assert metrics["ccdrl_action_results_unknown_total"] == 0
        race.assert_goodput()
        assert daemon.process.poll() is None
    watcher.assert_bounded()
    assert_no_slot_leaked(pin_dir)
