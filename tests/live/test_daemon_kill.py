# SPDX-License-Identifier: BSD-2-Clause
"""The daemon is killed, stopped, continued, restarted and ended: the kernel's fallback drives meanwhile."""

import signal
import time

import pytest

from ccdrl.agent.daemon.options import DEFAULT_MODEL
from ccdrl.tests.live.support_daemon import (
    DaemonProcess,
    Race,
    Watcher,
    assert_no_slot_leaked,
    count_kernel,
)
from ccdrl.tests.live.support_datapath import wait_until


def now_us():
    return time.monotonic_ns() // 1000


def test_a_killed_daemon_is_replaced_by_the_fallback_and_then_by_its_successor(pin_dir):
    """The race is long because a start takes seconds where the machine has other work."""
    with Watcher(pin_dir) as watcher, DaemonProcess(pin_dir) as first, Race(20) as race:
        first.assert_unprivileged()
        race.wait_until(4)
        watcher.wait_for_leases(2)
        before = count_kernel(pin_dir)
        first.signal(signal.SIGKILL)
        killed_us = now_us()
        first.process.wait()
        race.wait_until(8)
        handed_ms = watcher.assert_fallback_since(killed_us, 2)
        print(f"handed over {handed_ms:.0f} ms after the kill")
        after = count_kernel(pin_dir)
        assert after["expired"] - before["expired"] >= 2
        assert after["taken"] - before["taken"] <= 2 * 10, "no action comes from a dead daemon"
        with DaemonProcess(pin_dir) as second:
            watcher.wait_for_leases(2)
            race.assert_goodput()
            metrics = second.metrics()
            assert metrics['ccdrl_actions_total{result="applied"}'] > 20
            assert metrics['ccdrl_actions_total{result="malformed"}'] == 0
    watcher.assert_bounded()
    assert_no_slot_leaked(pin_dir)


def test_a_stopped_daemon_leaves_out_what_it_missed(pin_dir):
    with Watcher(pin_dir) as watcher, DaemonProcess(pin_dir) as daemon, Race(13) as race:
        race.wait_until(4)
        watcher.wait_for_leases(2)
        daemon.signal(signal.SIGSTOP)
        stopped_us = now_us()
        race.wait_until(8)
        watcher.assert_fallback_since(stopped_us, 2)
        assert watcher.count_leased() == 0
        decided = count_kernel(pin_dir)["taken"]
        daemon.signal(signal.SIGCONT)
        watcher.wait_for_leases(2, 1.0)
        race.wait_until(9)
        metrics = daemon.metrics()
        assert metrics["ccdrl_ticks_skipped_total"] >= 390, "4 s at 10 ms, none of them made up for"
        assert metrics["ccdrl_fallbacks_total"] >= 2
        assert count_kernel(pin_dir)["taken"] > decided
        race.assert_goodput()
        assert daemon.process.poll() is None
    watcher.assert_bounded()
    assert_no_slot_leaked(pin_dir)


def test_a_daemon_that_is_asked_to_end_grants_no_more_leases(pin_dir):
    with Watcher(pin_dir) as watcher, DaemonProcess(pin_dir) as daemon, Race(8) as race:
        race.wait_until(4)
        watcher.wait_for_leases(2)
        daemon.signal(signal.SIGTERM)
        assert daemon.process.wait(2.0) == 0, daemon.messages()
        ended_us = now_us()
        race.assert_goodput()
        watcher.assert_fallback_since(ended_us, 2)
    watcher.assert_bounded()
    assert_no_slot_leaked(pin_dir)


def test_a_second_daemon_is_refused_for_as_long_as_the_first_one_lives(pin_dir):
    with DaemonProcess(pin_dir) as first:
        with pytest.raises(AssertionError, match="another agent sets the windows"), DaemonProcess(pin_dir):
            pass
        with DaemonProcess(pin_dir, DEFAULT_MODEL, "--shadow"):
            pass
        first.signal(signal.SIGSTOP)
        with pytest.raises(AssertionError, match="another agent sets the windows"), DaemonProcess(pin_dir):
            pass
        first.signal(signal.SIGKILL)
        first.process.wait()
        with DaemonProcess(pin_dir):
            pass


def test_a_daemon_that_comes_and_goes_costs_nothing(pin_dir):
    """Killed whenever it has begun to decide: no slot, lease or window is left in disorder."""
    kills = 0
    with Watcher(pin_dir) as watcher, Race(20) as race:
        race.wait_until(1)
        while race.elapsed_s() < 12:
            with DaemonProcess(pin_dir) as daemon:
                wait_until(lambda: watcher.count_leased() > 0, "it decides", 5.0)
                daemon.signal(signal.SIGKILL)
                kills += 1
        race.assert_goodput()
        assert race.finish().flows[0].n_subflows_seen == 2
    assert kills >= 2
    watcher.assert_bounded()
    assert_no_slot_leaked(pin_dir)
