# SPDX-License-Identifier: BSD-2-Clause
"""Real connections of this kernel through the test bed, and what is left of it afterwards: nothing.

The tolerances leave room for a busy machine; docs/testbed.md has what was measured on a quiet one.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import ccdrl
from ccdrl.agent import live_controllers, results
from ccdrl.bindings.network import EventConfig, FlowConfig, LinkConfig, LossConfig, PathConfig
from ccdrl.bindings.testbed.unsent import count_windows

MISSING = live_controllers.missing_requirement()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=f"this machine lacks {MISSING}")
if MISSING is None:
    from ccdrl.bindings.testbed.bed import Bed, BedConfig, BedFlow, run_bed

MS, S = 1_000_000, 1_000_000_000
PROGRAM = Path(ccdrl.__file__).parent / "compare.py"
MSS = 1448
PLAIN, MPTCP = 1448 / 1500, 1424 / 1500
"""Payload over wire bytes; MPTCP's data sequence signal takes 24 bytes of a packet."""


def link(mbps, delay_ms, **fields):
    bdp = mbps * 1e6 * 2 * delay_ms / 8000
    return LinkConfig(rate_bps=mbps * 1e6, delay_ns=delay_ms * MS, **{"limit_bytes": round(max(bdp, 15000)), **fields})


def flow(cc, *paths, **fields):
    return BedFlow(FlowConfig(cc="reno", paths=tuple(PathConfig(path) for path in paths), **fields), cc)


def bed(links, flows, *, events=(), warmup_s=1.0, duration_s=4.0, seed=1):
    config = BedConfig(tuple(links), tuple(flows), events, seed, MSS, round(warmup_s * S), round(duration_s * S))
    result = run_bed(config)
    assert result.device_drops == result.emulator.overflow_packets == result.emulator.write_errors == 0
    assert all(figures.error == 0 for figures in result.flows)
    return result


def goodputs(result, window_s=3.0):
    return [figures.goodput_bytes * 8 / window_s / 1e6 for figures in result.flows]


def surroundings():
    """What a test bed could leave behind on this machine; other tests' namespaces (PREFIX-PID-ROLE) come and go."""
    commands = (["ip", "netns", "list"], ["ip", "-oneline", "link", "show"], ["ip", "mptcp", "endpoint", "show"])
    lines = [
        line
        for command in commands
        for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    ]
    return [line for line in lines if not re.match(r"(cpl|dp)-\d+-", line)]


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_plain_tcp_fills_a_link():
    result = bed([link(10, 10)], [flow("reno", (0,))])
    assert goodputs(result) == pytest.approx([10 * PLAIN], rel=0.05)
    assert result.links[0].departed_bytes / result.links[0].capacity_bytes > 0.95
    assert 20 <= result.flows[0].rtt_mean_ms <= 45
    assert result.flows[0].n_subflows_seen == 1


def test_two_subflows_fill_two_links():
    result = bed([link(10, 10), link(5, 20)], [flow("cubic", (0,), (1,))], duration_s=6, warmup_s=2)
    assert goodputs(result, 4.0) == pytest.approx([15 * MPTCP], rel=0.1)
    assert result.flows[0].n_subflows_seen == 2
    assert all(figures.acked_bytes > 0 for figures in result.subflows[0])


def test_rtt_is_the_propagation_where_the_queue_is_empty():
    result = bed([link(50, 20)], [flow("reno", (0,), app_rate_bps=2e6)])
    assert goodputs(result) == pytest.approx([2.0], rel=0.03)
    # a delayed ACK may wait for a second segment, 6 ms later at this rate
    assert 40 <= result.flows[0].rtt_mean_ms <= 48
    assert result.flows[0].queue_delay_mean_ms == pytest.approx(result.flows[0].rtt_mean_ms - 40, abs=0.1)


def test_subflows_over_one_shared_link():
    result = bed([link(10, 15)], [flow("reno", (0,), (0,))])
    assert result.flows[0].n_subflows_seen == 2
    assert goodputs(result) == pytest.approx([10 * MPTCP], rel=0.07)


def test_many_flows_share_two_links():
    # Apart in time: SYNs of 30 flows at once would be lost in the queue, and come again after a second. Some are lost
    # all the same; one that is lost three times comes after seven seconds.
    starts = [30 * MS * n for n in range(30)]
    flows = [flow("cubic", (0,), (1,), start_ns=start_ns) for start_ns in starts[:20]]
    flows += [flow("reno", (1,), start_ns=start_ns) for start_ns in starts[20:]]
    result = bed([link(20, 10), link(20, 10)], flows, duration_s=11, warmup_s=2)
    assert sum(goodputs(result, 9.0)) == pytest.approx(40 * MPTCP, rel=0.1)
    assert min(goodputs(result, 9.0)) > 0
    assert [figures.n_subflows_seen for figures in result.flows] == [2] * 20 + [1] * 10


def test_finite_transfer_completes_and_a_stopped_flow_is_silent():
    size_bytes = 500_000
    flows = [
        flow("reno", (0,), (1,), size_bytes=size_bytes),
        flow("reno", (2,), start_ns=S // 2, stop_ns=3 * S // 2),
    ]
    result = bed([link(10, 10), link(10, 10), link(10, 10)], flows, warmup_s=0, duration_s=4)
    transfer, stopped = result.flows
    assert transfer.goodput_bytes == size_bytes
    assert 0.2 * S < transfer.completion_ns < 2 * S
    # a second at 10 Mbit/s, less the slow start
    assert 0.5e6 < stopped.goodput_bytes < 1.25e6
    assert stopped.completion_ns < 0


def test_loss_is_retransmitted():
    result = bed([link(10, 5, loss=LossConfig("bernoulli", p=0.02))], [flow("reno", (0,))], warmup_s=0)
    figures = result.subflows[0][0]
    # several hundred losses at least would be needed for a tighter bound
    assert 0.01 <= figures.retransmitted_bytes / figures.sent_bytes <= 0.035
    assert result.links[0].lost_packets > 10


def test_a_path_fails_and_comes_back():
    events = (EventConfig(2 * S, 0, "down"), EventConfig(4 * S, 0, "up"))
    result = bed([link(5, 10), link(5, 10)], [flow("cubic", (0,), (1,))], events=events, warmup_s=0, duration_s=8)
    # 8 s of one link and 6 s of the other; the kernel probes the broken one with back-off
    assert 0.7 * 70e6 / 8 * MPTCP < result.flows[0].goodput_bytes < 70e6 / 8
    assert result.links[0].lost_packets > 0


def test_nothing_is_left():
    before = surroundings()
    bed([link(5, 10), link(5, 10)], [flow("cubic", (0,), (1,)), flow("reno", (0,))], duration_s=2)
    open_files = descriptors()
    bed([link(5, 10), link(5, 10)], [flow("cubic", (0,), (1,)), flow("reno", (0,))], duration_s=2)
    assert surroundings() == before
    assert descriptors() == open_files


SCENARIO = """
name = "tiny"
duration_s = {duration_s}
warmup_s = 1
[[links]]
id = "a"
rate_mbps = 8
delay_ms = 10
[[links]]
id = "b"
rate_mbps = 4
delay_ms = 20
[[flows]]
id = "mp"
cc = "@"
paths = [["a"], ["b"]]
[[flows]]
id = "tcp"
cc = "reno"
paths = [["b"]]
"""


def write_scenario(folder, duration_s):
    path = folder / "tiny.toml"
    path.write_text(SCENARIO.format(duration_s=duration_s))
    return str(path)


def start(*arguments):
    command = [sys.executable, str(PROGRAM), *map(str, arguments), "--datapath", "linux"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def call(*arguments):
    process = start(*arguments)
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def test_comparison_of_cubic_and_reno(tmp_path):
    file, report = tmp_path / "out.json", tmp_path / "out.html"
    scenario = write_scenario(tmp_path, 5)
    status, out, err = call(scenario, "--cc", "cubic,reno", "--seeds", "1", "--json", file, "--report", report)
    assert status == 0, err
    assert "one run at a time" in err or os.cpu_count() == 1
    assert "cubic" in out
    document = results.read_results(file)
    assert [(run["cc"], run["datapath"]) for run in document["runs"]] == [("cubic", "linux"), ("reno", "linux")]
    for run in document["runs"]:
        mp, tcp = run["flows"]
        assert mp["cc"] == run["cc"]
        assert tcp["cc"] == "reno"
        assert mp["goodput_mbps"] + tcp["goodput_mbps"] == pytest.approx(12 * MPTCP, rel=0.12)
        assert [subflow["path"] for subflow in mp["subflows"]] == [0, 1]
        assert 20 < mp["subflows"][0]["rtt_mean_ms"] < 60
        assert run["lateness"]["p99_us"] > 0
        assert run["packets"] > 1000
    assert "datapath linux" in report.read_text()
    # with --resume the finished run stays as it is
    status, _, err = call(scenario, "--cc", "cubic", "--seeds", "1", "--json", file, "--resume", "--quiet")
    assert (status, err) == (0, "")
    assert results.read_results(file) == document


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_killed_comparison_leaves_nothing(tmp_path, number):
    before = surroundings()
    with start(
        write_scenario(tmp_path, 60), "--cc", "cubic", "--seeds", "1", "--json", tmp_path / "out.json"
    ) as process:
        wait_until(lambda: has_tun(process.pid))
        family = {process.pid, *children(process.pid)}
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    wait_until(lambda: not any(is_running(pid) for pid in family))
    assert surroundings() == before


def children(pid):
    """All processes that descend from one."""
    out = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = dict(map(int, line.split()) for line in out.splitlines())
    found = {pid}
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return found - {pid}


def has_tun(pid):
    """Tell whether a process below this one has a TUN device."""
    links = [path for child in children(pid) for path in Path(f"/proc/{child}/fd").glob("*")]
    return any(os.path.lexists(path) and os.readlink(path) == "/dev/net/tun" for path in links)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, timeout_s=20.0):
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.1)


@pytest.mark.parametrize("app_rate_bps", [0, 8e6])
def test_segments_are_full(app_rate_bps):
    """Writes of 16 KB each end with a short segment: 1444 bytes in the mean; 850 with an application's rate."""
    links = [link(10, 15), link(10, 15)]
    result = bed(links, [flow("cubic", (0,), (1,), app_rate_bps=app_rate_bps)], warmup_s=0)
    entered_bytes = sum(stats.departed_bytes + stats.queue_bytes for stats in result.links)
    entered_packets = result.emulator.data_packets - sum(stats.dropped_packets for stats in result.links)
    assert 1485 < entered_bytes / entered_packets <= 1505


def test_what_waits_unsent_on_a_subflow_is_bounded():
    """Some windows, a burst of the scheduler and a fragment of the application's data above; without the bound the
    medians were 0.4 to 0.7 MB (docs/agreement.md)."""
    lossy = LossConfig("bernoulli", p=0.01)
    links = [link(20, 20, loss=lossy), link(10, 30, loss=lossy)]
    config = BedConfig(tuple(links), (flow("reno", (0,), (1,)),), (), 1, MSS, S, 8 * S)
    seen = []
    with Bed(config) as under_test:
        sender = under_test.namespaces[1]

        def look():
            time.sleep(2)
            while len(seen) < 40:
                seen.extend(sender.run(lambda: subprocess.check_output(["ss", "-tinH"], text=True)).split("\n\t"))
                time.sleep(0.2)

        watcher = threading.Thread(target=look)
        watcher.start()
        under_test.run()
        watcher.join()
    waiting = [int(found[1]) for text in seen if (found := re.search(r"notsent:(\d+)", text))]
    windows = [int(found[1]) for text in seen if (found := re.search(r"cwnd:(\d+)", text))]
    assert len(waiting) > 10
    allowed = count_windows(config.links, [flow.config.paths for flow in config.flows])
    assert sorted(waiting)[len(waiting) // 2] <= (allowed * sorted(windows)[len(windows) // 2] * MSS) + 98_304
