# SPDX-License-Identifier: BSD-2-Clause
"""Connections that come and go under the daemon, more subflows than slots, and iperf3 while the daemon dies."""

import json
import shutil
import signal
import subprocess
import threading
import time

import pytest

from ccdrl.bindings.linux.status import read_status
from ccdrl.tests.live.support_crowd import Crowd, churn_mbps
from ccdrl.tests.live.support_daemon import (
    SHARE_OF_LIA,
    DaemonProcess,
    Watcher,
    assert_no_slot_leaked,
    controllers,
    count_kernel,
    require_daemon,
)
from ccdrl.tests.live.support_datapath import SERVERS, run, wait_until

SLOTS = 256


@pytest.fixture(scope="module")
def pin_dir():
    require_daemon()
    with controllers(slots=SLOTS) as pin_dir:
        yield pin_dir


def test_two_thousand_subflows_on_fewer_slots(pin_dir, network):
    """The kernel couples and counts them all; the daemon decides for those that it sees, and for no more than asked."""
    with Crowd(network, "ccdrl_lia", 1000) as crowd:
        lia_mbps = crowd.measure_mbps(3.0, 6.0)
    before = count_kernel(pin_dir)
    with Watcher(pin_dir) as watcher, DaemonProcess(pin_dir) as daemon:
        with Crowd(network, "ccdrl", 1000) as crowd:
            # Joins whose SYNs the crowd drowns try again, a second later and more.
            wait_until(lambda: count_kernel(pin_dir)["created"] - before["created"] >= 1900, "most have joined", 60.0)
            mbps = crowd.measure_mbps(3.0, 6.0)
            after = count_kernel(pin_dir)
            came = after["created"] - before["created"]
            print(f"{came} subflows, {mbps:.1f} Mbit/s, LIA {lia_mbps:.1f}")
            assert after["no_slot"] - before["no_slot"] == came - SLOTS
            assert read_status(pin_dir)["slots"]["free"] == 0
            metrics = daemon.metrics()
            assert SLOTS * 0.9 <= metrics["ccdrl_subflows"] <= SLOTS
            assert mbps >= SHARE_OF_LIA * lia_mbps
            assert daemon.process.poll() is None
        assert_no_slot_leaked(pin_dir, 60.0)
        wait_until(lambda: daemon.metrics()["ccdrl_subflows"] == 0, "the daemon has seen them close")
    watcher.assert_bounded()


def test_short_connections_leave_nothing_behind(pin_dir, network):
    lia_mbps = churn_mbps(network, "ccdrl_lia", 6.0)
    with Watcher(pin_dir) as watcher, DaemonProcess(pin_dir) as daemon:
        churn_mbps(network, "ccdrl", 2.0)
        files, rss_bytes = daemon.count_files(), daemon.rss_bytes()
        created = count_kernel(pin_dir)["created"]
        mbps = churn_mbps(network, "ccdrl", 6.0)
        came = count_kernel(pin_dir)["created"] - created
        print(
            f"{came} subflows, {mbps:.1f} Mbit/s, LIA {lia_mbps:.1f}; memory {rss_bytes >> 10} kB and "
            f"{(daemon.rss_bytes() - rss_bytes) >> 10} kB more"
        )
        assert came > 100
        assert mbps >= SHARE_OF_LIA * lia_mbps
        assert_no_slot_leaked(pin_dir)
        wait_until(lambda: daemon.metrics()["ccdrl_subflows"] == 0, "the daemon has seen them close")
        wait_until(lambda: daemon.count_files() <= files, "no descriptor is left open")
        assert daemon.rss_bytes() - rss_bytes < 2 << 20
        assert daemon.rss_bytes() < 120 << 20
    watcher.assert_bounded()


def iperf3_mbps(network, cc, duration_s, port):
    """Goodput of each second of `mptcpize run iperf3` between the namespaces, under the namespace's controller."""
    inside = ("ip", "netns", "exec")
    run(*inside, network.client, "sysctl", "-qw", f"net.ipv4.tcp_congestion_control={cc}")
    server = subprocess.Popen(
        [*inside, network.server, "mptcpize", "run", "iperf3", "-s", "-1", "-p", str(port)], stdout=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: f":{port}" in run(*inside, network.server, "ss", "-Htln"), "the server listens")
        client = [*inside, network.client, "mptcpize", "run", "iperf3", "-c", SERVERS[0], "-p", str(port), "-J"]
        done = subprocess.run([*client, "-t", str(duration_s)], capture_output=True, text=True, timeout=60, check=True)
    finally:
        server.kill()
        server.wait()
        run(*inside, network.client, "sysctl", "-qw", "net.ipv4.tcp_congestion_control=reno")
    answer = json.loads(done.stdout)
    return [each["sum"]["bits_per_second"] * 1e-6 for each in answer["intervals"]], (
        answer["end"]["sum_received"]["bits_per_second"] * 1e-6
    )


def test_iperf3_under_mptcpize_while_the_daemon_is_killed_and_restarted(pin_dir, network):
    for tool in ("iperf3", "mptcpize"):
        if shutil.which(tool) is None:
            pytest.skip(f"this machine lacks {tool}")
    _, lia_mbps = iperf3_mbps(network, "ccdrl_lia", 8, 5201)
    fates = []

    def strike(daemon):
        time.sleep(3.0)
        daemon.signal(signal.SIGKILL)
        fates.append(daemon.process.wait())
        time.sleep(2.0)
        with DaemonProcess(pin_dir) as second:
            wait_until(lambda: watcher.count_leased() >= 2, "it takes over", 5.0)
            fates.append(second.metrics()["ccdrl_subflows"] >= 2)
            time.sleep(2.0)

    with Watcher(pin_dir) as watcher, DaemonProcess(pin_dir) as first:
        striker = threading.Thread(target=strike, args=(first,))
        striker.start()
        seconds, mbps = iperf3_mbps(network, "ccdrl", 16, 5202)
        striker.join()
    print("each second", [f"{value:.1f}" for value in seconds], f"mean {mbps:.1f}, LIA {lia_mbps:.1f}")
    assert fates == [-signal.SIGKILL, True], "killed and taken over"
    assert mbps >= SHARE_OF_LIA * lia_mbps
    assert min(seconds[1:]) >= 0.5 * lia_mbps, "no second without it"
    watcher.assert_bounded()
    assert_no_slot_leaked(pin_dir)
