# SPDX-License-Identifier: BSD-2-Clause
"""Reno and the coupled rules against the formulas of their papers, in numpy.

Tolerance: a window is compared at 1e-12 relative. Ten to thirty roundings of 1e-16 are the only difference, and 1000
segments are ACKed at once (every rule is linear in them), so that an increase of 1e-7 a segment still shows.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

Array = NDArray[np.float64]
OPEN, DISORDER, CWR, RECOVERY, LOSS = range(5)
NS_PER_MS = 1_000_000
ACKED = 1000
TOLERANCE = 1e-12

windows = st.floats(2.0, 5000.0)
rtts = st.integers(1 * NS_PER_MS, 800 * NS_PER_MS)
subflow_lists = st.lists(st.tuples(windows, rtts), min_size=2, max_size=8)


def connect(bench: Callable[..., Any], controller: str, subflows: list[tuple[float, int]]) -> Any:
    """A connection in congestion avoidance."""
    connection = bench(controller, len(subflows))
    for index, (cwnd, srtt_ns) in enumerate(subflows):
        connection[index].set(cwnd=cwnd, ssthresh=2.0, srtt_ns=srtt_ns)
        connection[index].init()
    return connection


def arrays(subflows: list[tuple[float, int]]) -> tuple[Array, Array]:
    """Windows in segments and RTTs in seconds."""
    return np.array([w for w, _ in subflows]), np.array([r for _, r in subflows]) / 1e9


def lia(w: Array, r: Array) -> Array:
    """RFC 6356 section 3: increase of each window for a segment ACKed."""
    alpha = w.sum() * np.max(w / r**2) / np.sum(w / r) ** 2
    increase: Array = np.minimum(alpha / w.sum(), 1 / w)
    return increase


def balia(w: Array, r: Array) -> Array:
    """draft-walid-mptcp-congestion-control: increase for a segment ACKed."""
    x = w / r
    alpha = x.max() / x
    increase: Array = x / (r * x.sum() ** 2) * (1 + alpha) / 2 * (4 + alpha) / 5
    return increase


def olia(w: Array, r: Array, intervals: Array) -> Array:
    """draft-khalili-mptcp-congestion-control with l/r^2: increase for a segment ACKed."""
    n = len(w)
    quality = intervals / r**2
    best = {i for i in range(n) if quality[i] >= quality.max() * (1 - 1e-12)}
    largest = {i for i in range(n) if math.floor(w[i]) == math.floor(w.max())}
    epsilon = np.zeros(n)
    if best - largest:
        for i in best - largest:
            epsilon[i] = 1 / (n * len(best - largest))
        for i in largest:
            epsilon[i] = -1 / (n * len(largest))
    return w / r**2 / np.sum(w / r) ** 2 + epsilon / w


@pytest.mark.parametrize("controller", ["reno", "lia", "olia", "balia", "ewtcp", "cubic", "wvegas"])
def test_slow_start_counts_segments_and_stops_at_ssthresh(bench: Callable[..., Any], controller: str) -> None:
    sf = bench(controller)[0]
    sf.set(cwnd=10.0, ssthresh=20.0, srtt_ns=50 * NS_PER_MS, snd_nxt=10)
    sf.init()
    assert sf.ack(4) == 14.0
    assert sf.ack(6) == 20.0


def test_reno_carries_the_excess_over_ssthresh_into_congestion_avoidance(bench: Callable[..., Any]) -> None:
    sf = bench("reno")[0]
    sf.set(cwnd=18.0, ssthresh=20.0)
    assert sf.ack(5) == 20.0 + 3 / 20.0


@settings(max_examples=100, deadline=None)
@given(cwnd=windows, acked=st.integers(1, 100))
def test_reno_grows_by_one_over_w_a_segment(bench: Callable[..., Any], cwnd: float, acked: int) -> None:
    sf = bench("reno")[0]
    sf.set(cwnd=cwnd, ssthresh=2.0)
    assert sf.ack(acked) == cwnd + acked / cwnd
    assert sf.ssthresh_ask() == max(sf.cwnd / 2, 2.0)


@pytest.mark.parametrize("controller", ["reno", "lia", "olia", "balia", "ewtcp", "cubic", "wvegas"])
@pytest.mark.parametrize("ssthresh", [2.0, 1000.0])
def test_windows_grow_only_when_used_and_outside_recovery(
    bench: Callable[..., Any], controller: str, ssthresh: float
) -> None:
    sf = connect(bench, controller, [(50.0, 40 * NS_PER_MS), (30.0, 80 * NS_PER_MS)])[0]
    sf.ssthresh = ssthresh
    assert sf.ack(2, is_limited=False) == 50.0
    for state in (CWR, RECOVERY):
        sf.state = state
        assert sf.ack(2) == 50.0
    sf.state = LOSS
    assert sf.ack(2) > 50.0


@settings(max_examples=300, deadline=None)
@given(subflows=subflow_lists)
def test_lia_is_rfc_6356(bench: Callable[..., Any], subflows: list[tuple[float, int]]) -> None:
    w, r = arrays(subflows)
    for index, increase in enumerate(lia(w, r)):
        sf = connect(bench, "lia", subflows)[index]
        assert sf.ack(ACKED) == pytest.approx(w[index] + ACKED * increase, rel=TOLERANCE)
        assert sf.ssthresh_ask() == sf.cwnd / 2 or sf.cwnd < 4


@settings(max_examples=200, deadline=None)
@given(subflows=subflow_lists)
def test_balia_is_the_draft(bench: Callable[..., Any], subflows: list[tuple[float, int]]) -> None:
    w, r = arrays(subflows)
    x = w / r
    for index, increase in enumerate(balia(w, r)):
        sf = connect(bench, "balia", subflows)[index]
        decrease = w[index] / 2 * min(x.max() / x[index], 1.5)
        assert sf.ssthresh_ask() == pytest.approx(max(w[index] - decrease, 2.0), rel=TOLERANCE)
        assert sf.ack(ACKED) == pytest.approx(w[index] + ACKED * increase, rel=TOLERANCE)


@settings(max_examples=300, deadline=None)
@given(subflows=subflow_lists, intervals=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=8))
def test_olia_is_the_draft(
    bench: Callable[..., Any], subflows: list[tuple[float, int]], intervals: list[tuple[int, int]]
) -> None:
    w, r = arrays(subflows)
    longest = np.array([float(max(pair)) for pair in intervals[: len(subflows)]])
    # An ACK counts into l before the rule runs, so the oracle is asked for each subflow with its own l advanced.
    for index in range(len(subflows)):
        connection = connect(bench, "olia", subflows)
        for sibling, (l1, l2) in enumerate(intervals[: len(subflows)]):
            connection[sibling].private.l1_segments, connection[sibling].private.l2_segments = l1, l2
        now = longest.copy()
        now[index] = max(intervals[index][0], intervals[index][1] + ACKED)
        want = max(w[index] + ACKED * olia(w, r, now)[index], 1.0)
        # An increase and a decrease may cancel: the tolerance is that of the larger terms.
        assert connection[index].ack(ACKED) == pytest.approx(want, rel=TOLERANCE, abs=TOLERANCE * (w[index] + ACKED))


@settings(max_examples=100, deadline=None)
@given(subflows=subflow_lists)
def test_ewtcp_takes_one_over_n_squared(bench: Callable[..., Any], subflows: list[tuple[float, int]]) -> None:
    w, _ = arrays(subflows)
    sf = connect(bench, "ewtcp", subflows)[0]
    assert sf.ack(ACKED) == pytest.approx(w[0] + ACKED / (len(w) ** 2 * w[0]), rel=TOLERANCE)


@pytest.mark.parametrize("controller", ["lia", "balia"])
def test_a_subflow_in_fast_recovery_counts_with_ssthresh(bench: Callable[..., Any], controller: str) -> None:
    rule = {"lia": lia, "balia": balia}[controller]
    subflows = [(60.0, 30 * NS_PER_MS), (400.0, 90 * NS_PER_MS)]
    connection = connect(bench, controller, subflows)
    connection[1].set(state=RECOVERY, ssthresh=200.0)
    want = 60.0 + ACKED * rule(*arrays([subflows[0], (200.0, subflows[1][1])]))[0]
    assert connection[0].ack(ACKED) == pytest.approx(want, rel=TOLERANCE)


COUPLED = ["lia", "olia", "balia", "ewtcp"]


@pytest.mark.parametrize("controller", COUPLED)
@settings(max_examples=50, deadline=None)
@given(
    cwnd=windows,
    srtt_ns=rtts,
    steps=st.lists(st.tuples(st.integers(1, 40), st.sampled_from("aaaaaalr")), max_size=80),
)
def test_one_subflow_is_reno_bit_for_bit(
    bench: Callable[..., Any], controller: str, cwnd: float, srtt_ns: int, steps: list[tuple[int, str]]
) -> None:
    pair = [bench(name)[0] for name in (controller, "reno")]
    for sf in pair:
        sf.set(cwnd=cwnd, ssthresh=math.inf, srtt_ns=srtt_ns)
        sf.init()
    for acked, kind in steps:
        for sf in pair:
            if kind == "a":
                sf.ack(acked)
            else:
                ssthresh = sf.ssthresh_ask()
                sf.set(ssthresh=ssthresh, cwnd=ssthresh if kind == "l" else 1.0)
        assert pair[0].cwnd == pair[1].cwnd
        assert pair[0].ssthresh == pair[1].ssthresh


@pytest.mark.parametrize("controller", COUPLED)
@pytest.mark.parametrize("absent", [{"is_established": 0}, {"is_closed": 1}, {"is_failed": 1}, {"srtt_ns": 0}])
def test_siblings_that_cannot_send_do_not_count(
    bench: Callable[..., Any], controller: str, absent: dict[str, int]
) -> None:
    connection = connect(bench, controller, [(50.0, 40 * NS_PER_MS), (300.0, 20 * NS_PER_MS)])
    connection[1].set(**absent)
    assert connection[0].ack(2) == 50.0 + 2 / 50.0


@pytest.mark.parametrize("controller", [*COUPLED[:3], "cubic"])
def test_without_an_rtt_sample_it_is_reno(bench: Callable[..., Any], controller: str) -> None:
    connection = connect(bench, controller, [(50.0, 0), (300.0, 20 * NS_PER_MS)])
    assert connection[0].ack(2) == 50.0 + 2 / 50.0


def test_olia_epsilon_moves_window_to_the_best_small_subflow(bench: Callable[..., Any]) -> None:
    rtt = 40 * NS_PER_MS
    connection = connect(bench, "olia", [(60.0, rtt), (50.0, rtt)])
    connection[1].private.l1_segments = 10**6  # the smaller one loses far less
    share = 60.0 / 110.0**2
    assert share < 1 / (2 * 60.0)  # so the larger window shrinks
    assert connection[0].ack() == pytest.approx(60.0 + share - 1 / (2 * 60.0), rel=TOLERANCE)
    w = np.array([connection[0].cwnd, 50.0])
    assert connection[1].ack() == pytest.approx(50.0 + 50.0 / w.sum() ** 2 + 1 / (2 * 50.0), rel=TOLERANCE)


def test_olia_epsilon_is_zero_when_the_largest_is_the_best(bench: Callable[..., Any]) -> None:
    rtt = 40 * NS_PER_MS
    connection = connect(bench, "olia", [(60.0, rtt), (50.0, rtt)])
    connection[0].private.l1_segments = 10**6
    assert connection[0].ack() == pytest.approx(60.0 + 60.0 / 110.0**2, rel=TOLERANCE)


def test_olia_windows_of_equal_whole_segments_tie(bench: Callable[..., Any]) -> None:
    rtt = 40 * NS_PER_MS
    connection = connect(bench, "olia", [(60.2, rtt), (60.9, rtt)])
    connection[0].private.l1_segments = 10**6  # best and, by the tie, largest: nothing to move
    assert connection[1].ack() == pytest.approx(60.9 + 60.9 / 121.1**2, rel=TOLERANCE)


def test_olia_a_window_does_not_fall_below_one(bench: Callable[..., Any]) -> None:
    connection = connect(bench, "olia", [(3.5, 100 * NS_PER_MS), (2.0, 1 * NS_PER_MS)])
    connection[1].private.l1_segments = 10**6
    connection[0].ssthresh = 1.0
    assert connection[0].ack(ACKED) == 1.0


def test_olia_intervals_roll_over_at_a_loss_that_follows_an_ack(bench: Callable[..., Any]) -> None:
    sf = connect(bench, "olia", [(60.0, 40 * NS_PER_MS), (50.0, 40 * NS_PER_MS)])[0]
    for _ in range(7):
        sf.ack(3)
    assert (sf.private.l1_segments, sf.private.l2_segments) == (0, 21)
    sf.ssthresh_ask()
    assert (sf.private.l1_segments, sf.private.l2_segments) == (21, 0)
    sf.ssthresh_ask()  # a time-out in the same episode
    assert (sf.private.l1_segments, sf.private.l2_segments) == (21, 0)
    sf.set_state(RECOVERY)
    sf.ack(5)  # counts, although the window stands
    assert sf.private.l2_segments == 5


def test_fixed_window_never_moves(bench: Callable[..., Any]) -> None:
    sf = bench("fixed")[0]
    sf.init()
    assert sf.cwnd == sf.ssthresh == 20.0
    assert sf.ssthresh_ask() == 20.0
    sf.cwnd = 1.0  # what the core does at a time-out
    sf.set_state(LOSS)
    assert sf.cwnd == 20.0
    sf.cwnd = 7.0
    assert sf.ack() == 20.0


def test_lia_ack_costs_little_more_than_reno(bench: Callable[..., Any]) -> None:
    """The budget is about 125 ns a packet; Reno's ACK is some 8 ns with the loop, and LIA's usually 1.4 times that."""
    subflows = [(100.0, 20 * NS_PER_MS), (200.0, 150 * NS_PER_MS)]
    lia_s, reno_s = (
        min(connect(bench, name, subflows).time_acks(100_000) for _ in range(7)) for name in ("lia", "reno")
    )
    assert lia_s < 4 * reno_s
