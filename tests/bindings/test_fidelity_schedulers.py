# SPDX-License-Identifier: BSD-2-Clause
"""What each scheduler is for: minrtt, roundrobin (FreeBSD v0.4, figure 10), redundant, BLEST (IFIP 2016), ECF (CoNEXT
2017).
"""

import numpy as np
import pytest

from ccdrl.bindings.records import Kind
from ccdrl.tests.bindings.networks import MS, MSS, WIRE, S, build, down, flow, link, measure, read

SCHEDULERS = ["minrtt", "roundrobin", "redundant", "blest", "ecf"]
NEAR, FAR = link(10, 10, 50), link(2, 150, 80)  # round trips of 20 and 300 ms
NEAR_MBPS = 10 * MSS / WIRE


def delivered_mbps(simulator, duration_s):
    """Return what each of two subflows has delivered, in payload Mbit/s."""
    return [simulator.subflow_stats(0, path).delivered_bytes * 8 / duration_s / 1e6 for path in (0, 1)]


def application_limited(scheduler):
    """Return (goodput, delivered on each path) of 2 Mbit/s written over two paths of 20 Mbit/s."""
    config = flow("reno", 0, 1, scheduler=scheduler, app_rate_bps=2e6)
    simulator = build([link(20, 10), link(20, 40)], [config])
    (goodput,) = measure(simulator, 5, 40)
    return goodput, delivered_mbps(simulator, 40)


def test_minrtt_prefers_the_lower_rtt():
    goodput, delivered = application_limited("minrtt")
    assert goodput == pytest.approx(2, rel=1e-3)
    assert delivered == pytest.approx([2, 0], rel=1e-3)


def test_roundrobin_takes_turns():
    goodput, delivered = application_limited("roundrobin")
    assert goodput == pytest.approx(2, rel=1e-3)
    assert delivered == pytest.approx([1, 1], rel=1e-3)


def test_redundant_sends_copies():
    """The goodput is written once; the slower path repeats what has no data ACK yet when its turn comes."""
    goodput, delivered = application_limited("redundant")
    assert goodput == pytest.approx(2, rel=1e-3)
    assert delivered[0] == pytest.approx(2, rel=1e-3)
    assert 1 < delivered[1] <= 2


def test_minrtt_spills_over_when_the_best_is_full():
    """Both windows are filled, the lower RTT first: 10 segments at once on path 0, then on path 1."""
    config = flow("fixed", 0, 1, fixed_cwnd_segments=10, ack_segments=1)
    simulator = build([link(12, 10), link(12, 20)], [config], records=4096)
    simulator.run(200 * MS)
    sends = read(simulator, Kind.SEND)
    assert sends["path"][sends["time_ns"] == 20 * MS].tolist() == [0] * 10
    assert sends["path"][sends["time_ns"] == 60 * MS].tolist() == [1] * 10


@pytest.mark.parametrize("scheduler", ["blest", "ecf"])
def test_a_tight_receive_window_is_not_spent_on_the_slow_path(scheduler):
    """80 segments of window do for 20 ms, not for what minrtt then parks on the 300 ms path: there it loses half."""
    goodput = {}
    for name in ("minrtt", scheduler):
        config = flow("lia", 0, 1, scheduler=name, rwnd_bytes=80 * MSS)
        (goodput[name],) = measure(build([NEAR, FAR], [config]), 10, 60)
    assert goodput[scheduler] >= 0.98 * NEAR_MBPS
    assert goodput["minrtt"] < 0.6 * NEAR_MBPS


@pytest.mark.parametrize("scheduler", ["blest", "ecf"])
def test_a_wide_receive_window_uses_both(scheduler):
    config = flow("lia", 0, 1, scheduler=scheduler, rwnd_bytes=640 * MSS)
    (goodput,) = measure(build([NEAR, FAR], [config]), 10, 60)
    assert goodput >= 1.05 * NEAR_MBPS


def completion_ms(*paths, **fields):
    """Return when 1 MB has arrived."""
    simulator = build([NEAR, FAR], [flow("lia", *paths, size_bytes=1_000_000, **fields)])
    simulator.run(60 * S)
    return simulator.flow_stats(0).completion_ns / MS


def test_ecf_finishes_first():
    """The purpose of ECF: no later than the fast path alone, and before minrtt, whose last segments dawdle on the
    slow.
    """
    ecf = completion_ms(0, 1, scheduler="ecf")
    assert ecf <= completion_ms(0)
    assert ecf < completion_ms(0, 1, scheduler="minrtt")


def test_redundant_is_as_fast_as_the_best_path():
    """Copies cost the best path nothing: within one segment of it alone."""
    assert completion_ms(0, 1, scheduler="redundant") == pytest.approx(completion_ms(0), abs=1.2)


def gaps_ms(simulator, until_s):
    """Return the longest time without a byte of goodput, looked at each 5 ms, in a finite transfer."""
    at, last, longest = 0, 0, 0
    progress_at = simulator.now_ns
    while simulator.flow_stats(0).completion_ns is None and simulator.now_ns < until_s * S:
        simulator.run(simulator.now_ns + 5 * MS)
        at = simulator.flow_stats(0).goodput_bytes
        if at > last:
            longest = max(longest, simulator.now_ns - progress_at)
            progress_at, last = simulator.now_ns, at
    return longest / MS


def test_redundant_rides_over_a_dead_path():
    """Path 0 dies for good after a second: everything arrives, and nobody waits for a time-out (200 ms at least)."""
    links = [link(20, 10, 60), link(20, 15, 60)]
    config = flow("reno", 0, 1, scheduler="redundant", size_bytes=10_000_000)
    simulator = build(links, [config], events=[down(0, 1000)])
    simulator.run(500 * MS)
    assert gaps_ms(simulator, 60) < 100
    assert simulator.flow_stats(0).goodput_bytes == 10_000_000
    simulator.check()


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_delivers_everything_under_loss(scheduler):
    links = [link(10, 10, 30, loss_p=0.01), link(5, 40, 30, loss_p=0.02)]
    simulator = build(links, [flow("reno", 0, 1, scheduler=scheduler, size_bytes=3_000_000)])
    simulator.run(100 * S)
    stats = simulator.flow_stats(0)
    assert stats.goodput_bytes == 3_000_000
    assert (stats.send_buffer_bytes, stats.send_buffer_held_bytes) == (0, 0)
    simulator.check()


def test_roundrobin_skips_a_full_subflow():
    """With both windows full all the time the split follows the windows: 10 segments each 21 ms and each 41 ms."""
    config = flow("fixed", 0, 1, fixed_cwnd_segments=10, ack_segments=1, scheduler="roundrobin")
    simulator = build([link(12, 10), link(12, 20)], [config])
    measure(simulator, 1, 21 * 41 / 100)
    shares = np.array([simulator.subflow_stats(0, path).delivered_bytes / MSS for path in (0, 1)])
    assert shares.tolist() == pytest.approx([4100, 2100], abs=10)
