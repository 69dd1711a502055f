# SPDX-License-Identifier: BSD-2-Clause
"""A link of a connection under the agent goes dark and comes back."""

import pytest

from ccdrl.bindings.network import EventConfig
from ccdrl.tests.live.support_daemon import (
    DaemonProcess,
    Race,
    S,
    Watcher,
    assert_no_slot_leaked,
    count_kernel,
)


@pytest.mark.parametrize("link", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_link_that_goes_dark_and_comes_back(pin_dir, link):
    events = (EventConfig(5 * S, link, "down"), EventConfig(8 * S, link, "up"))
    with Watcher(pin_dir) as watcher, DaemonProcess(pin_dir) as daemon, Race(20, events) as race:
        race.wait_until(4.5)
        watcher.wait_for_leases(2)
        before = count_kernel(pin_dir)
        race.wait_until(7.5)
        assert watcher.count_leased() <= 1, "time-outs ended the lease of the dark subflow"
        assert count_kernel(pin_dir)["timeouts"] > before["timeouts"]
        race.wait_until(8)
        # The next probe of a dark subflow may be a doubled time-out away.
        watcher.wait_for_leases(2, 8.0)
        assert daemon.metrics()["ccdrl_subflows"] == 2
        race.assert_goodput()
        assert daemon.process.poll() is None
    watcher.assert_bounded()
    assert_no_slot_leaked(pin_dir)
