# SPDX-License-Identifier: BSD-2-Clause
"""Ten minutes of connections that come, go and stay while the daemon is reloaded, and stopped for two seconds.

`make soak` runs it; CCDRL_SOAK_S gives the seconds. Prints slots, file descriptors and memory over time.
"""

import os
import signal
import threading
import time

import pytest

from ccdrl.bindings.linux.status import read_status
from ccdrl.tests.live.support_crowd import Crowd, churn_mbps
from ccdrl.tests.live.support_daemon import (
    DaemonProcess,
    Watcher,
    assert_no_slot_leaked,
    controllers,
    count_kernel,
    require_daemon,
)
from ccdrl.tests.live.support_datapath import wait_until

SOAK_S = float(os.environ.get("CCDRL_SOAK_S", "0"))
SETTLE_S = 20.0
SAMPLE_S = 10.0
LINGER_S = 300.0
STAYING = 4
"""Connections that stay; two subflows each."""

pytestmark = [
    pytest.mark.skipif(SOAK_S <= SETTLE_S, reason="this machine lacks the time for a soak (CCDRL_SOAK_S is not set)"),
    pytest.mark.timeout(SOAK_S + LINGER_S + 240),
    pytest.mark.long,
]


def test_a_long_run_leaks_nothing(network):
    require_daemon()
    with controllers(slots=256) as pin_dir, Watcher(pin_dir) as watcher, DaemonProcess(pin_dir) as daemon:
        end_s = time.monotonic() + SOAK_S
        errors = []

        def churn():
            try:
                while time.monotonic() < end_s:
                    churn_mbps(network, "ccdrl", min(10.0, max(end_s - time.monotonic(), 1.0)))
            except BaseException as error:  # told below
                errors.append(error)

        churner = threading.Thread(target=churn)
        rows = []
        with Crowd(network, "ccdrl", STAYING):
            churner.start()
            begin_s = time.monotonic()
            while time.monotonic() < end_s:
                fate = len(rows) % 3
                if fate == 1:
                    daemon.signal(signal.SIGHUP)
                elif fate == 2:
                    daemon.signal(signal.SIGSTOP)
                    time.sleep(2.0)
                    daemon.signal(signal.SIGCONT)
                time.sleep(SAMPLE_S if fate != 2 else SAMPLE_S - 2.0)
                elapsed_s = time.monotonic() - begin_s
                used = read_status(pin_dir)["slots"]["used"]
                created = count_kernel(pin_dir)["created"]
                rows.append((elapsed_s, used, created, daemon.count_files(), daemon.rss_bytes() >> 10))
                print("{:6.0f} s  {:4d} slots used  {:6d} subflows came  {:3d} files  {:6d} kB".format(*rows[-1]))
                watcher.looks.clear()
            churner.join()
        assert not errors, errors
        # The kernel may hold a closed subflow, with its controller, for minutes (docs/couplings-linux.md).
        assert_no_slot_leaked(pin_dir, LINGER_S)
        wait_until(lambda: daemon.metrics()["ccdrl_subflows"] == 0, "the daemon has seen them close")
        metrics = daemon.metrics()
        assert metrics["ccdrl_reloads_total"] >= len(rows) // 3
        assert daemon.process.poll() is None
    settled = [row for row in rows if row[0] >= SETTLE_S]
    assert max(row[1] for row in rows) < 128, "slots in use"
    # Metrics are not being read then, and a reload has no file open for longer than it takes.
    assert max(row[3] for row in settled) - min(row[3] for row in settled) <= 2, "file descriptors"
    assert settled[-1][4] - settled[0][4] < 4096, "memory, kB"
    assert max(row[4] for row in rows) < 120 << 10
    watcher.assert_bounded()
