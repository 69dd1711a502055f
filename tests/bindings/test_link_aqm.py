# SPDX-License-Identifier: BSD-2-Clause
"""RED, PIE and CoDel on a link: their own formulas, their targets under load, marks in place of drops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ccdrl.tests.bindings.link_harness import CE, MS, Link, S, queue_kind

RATE_BPS = 12e6  # 1500 bytes take 1 ms


def red_link(**fields: Any) -> Link:
    red = {"red_min_bytes": 10e3, "red_max_bytes": 30e3, "red_max_p": 0.1, "red_weight": 1e-15}
    return Link(**{"queue_kind": queue_kind("red"), "rate_bps": 1e9, **red, **fields})


@pytest.mark.parametrize(
    ("average_bytes", "probability"),
    [
        (9_999.0, 0.0),
        (14_000.0, 0.02),  # 0.1 (14 - 10) / (30 - 10)
        (20_000.0, 0.05),
        (30_000.0, 0.1),
        (45_000.0, 0.55),  # gentle: half-way from 0.1 to 1
        (60_000.0, 1.0),
    ],
)
def test_red_drop_curve_at_a_frozen_average(average_bytes: float, probability: float) -> None:
    link = red_link()
    n = 40_000
    link.lib.driver_red_average_set(link.driver, average_bytes)
    link.send(0, 100, count=n)
    gaps = np.diff(np.concatenate([[-1], link.dropped()["seq"].astype(int)]))
    assert link.lib.driver_red_average(link.driver) == pytest.approx(average_bytes, rel=1e-3)
    if probability == 0:
        assert len(gaps) == 0
        return
    # The gap is uniform on 1 to 1/p (whole here but for 0.55), so its mean is (1 + 1/p) / 2 and none is above 1/p.
    longest = int(np.ceil(1 / probability - 1e-9))
    chances = np.full(longest, probability)
    chances[-1] = 1 - probability * (longest - 1)
    mean = float((np.arange(1, longest + 1) * chances).sum())
    sigma = float(((np.arange(1, longest + 1) - mean) ** 2 * chances).sum() ** 0.5)
    assert gaps.max() <= longest
    assert abs(gaps.mean() - mean) <= 3 * sigma / len(gaps) ** 0.5


def test_red_average_follows_the_queue_and_decays_when_idle() -> None:
    weight = 0.01
    link = red_link(rate_bps=RATE_BPS, red_weight=weight, red_min_bytes=1e6, red_max_bytes=2e6)
    link.send(0, count=50)
    expected = 0.0
    for i in range(1, 50):  # the first found it empty and idle for no time
        expected += weight * (1500 * i - expected)
    assert link.lib.driver_red_average(link.driver) == pytest.approx(expected)
    link.send(150 * MS)  # idle from 50 ms: 100 packets' worth of time
    assert link.lib.driver_red_average(link.driver) == pytest.approx(expected * (1 - weight) ** 100)


def test_red_thresholds_come_from_the_limit() -> None:
    link = Link(rate_bps=RATE_BPS, queue_kind=queue_kind("red"), limit_bytes=120_000, red_weight=1.0)
    link.send(0, count=80)
    # With weight 1 the average is the queue: no drops below 10 000 bytes, all above 60 000.
    assert link.dropped()["seq"].min() >= 7
    assert link.stats().queue_bytes <= 61_500


def overload(link: Link, until_ns: int, gap_ns: int, start_ns: int = 0) -> None:
    for at in range(start_ns, until_ns, gap_ns):
        link.send(at)


def test_codel_leaves_a_short_burst_alone() -> None:
    link = Link(rate_bps=RATE_BPS, queue_kind=queue_kind("codel"))
    link.send(0, count=90)  # gone within 90 ms, below one interval
    link.run(S)
    assert link.arrival_times() == [i * MS for i in range(1, 91)]


def test_codel_drops_after_an_interval_and_then_faster_as_one_over_root_count() -> None:
    link = Link(rate_bps=RATE_BPS, queue_kind=queue_kind("codel"))
    overload(link, 3 * S, 800_000)  # 25 % too much
    link.run(3 * S)
    times = link.dropped()["time_ns"].astype(float)
    # A packet that arrives at t waits 0.25 t: above 5 ms from t = 20 ms on, which is served at 26 ms (two service times
    # of slack), and an interval after that the first drop.
    assert abs(times[0] - 126 * MS) <= 2 * MS
    # Control law: drop n + 1 follows n by interval / sqrt(n), but waits for the next dequeue (1 ms apart).
    law = times[0] + np.concatenate([[0], np.cumsum(100 * MS / np.sqrt(np.arange(1, len(times))))])
    assert len(times) > 100
    assert np.all(times - law >= -len(times))  # the law's times are cut to nanoseconds
    assert np.all(times - law <= MS + len(times))
    assert np.all(np.diff(link.dropped()["seq"].astype(int)) > 0)


def test_codel_head_drop_delays_nobody_and_ends_below_target() -> None:
    link = Link(rate_bps=RATE_BPS, queue_kind=queue_kind("codel"))
    overload(link, S, 800_000)
    overload(link, 2 * S, 4 * MS, start_ns=S)
    link.run(3 * S)
    arrived = link.arrived()
    assert link.dropped()["time_ns"].max() < 1.6 * S
    assert np.all(np.diff(arrived["time_ns"][:1000]) == MS)  # the link was never idle while it had packets
    last = arrived[-100:]
    assert np.all(last["time_ns"] - last["sent_ns"] == MS)


def responsive_load(link: Link, n: int, until_ns: int, base_rtt_ns: int) -> np.ndarray[Any, Any]:
    """n window-based sources (additive increase, halving once an RTT); returns the delays of the second half."""
    windows, outstanding, hold_until = [10.0] * n, [0] * n, [0] * n
    acks: list[tuple[int, int, bool]] = []
    seen, now, step = 0, 0, MS // 2
    while now < until_ns:
        link.run(now)
        for record in link.records(seen):
            is_signal = bool(record["is_dropped"]) or bool(record["flags"] & CE)
            acks.append((int(record["time_ns"]) + base_rtt_ns, int(record["subflow"]), is_signal))
            seen += 1
        later = []
        for at, source, is_signal in acks:
            if at > now:
                later.append((at, source, is_signal))
                continue
            outstanding[source] -= 1
            if is_signal and now >= hold_until[source]:
                windows[source] = max(windows[source] / 2, 2.0)
                hold_until[source] = now + base_rtt_ns + 20 * MS
            elif not is_signal:
                windows[source] += 1 / windows[source]
        acks = later
        for source in range(n):
            while outstanding[source] < windows[source]:
                link.send(now, subflow=source)
                outstanding[source] += 1
        now += step
    arrived = link.arrived()
    arrived = arrived[arrived["time_ns"] > until_ns // 2]
    return np.asarray((arrived["departure_ns"] - arrived["sent_ns"]) / MS - 1)


@pytest.mark.parametrize("is_ecn", [0, 1])
def test_pie_holds_its_target_under_responsive_load(is_ecn: int) -> None:
    link = Link(rate_bps=RATE_BPS, queue_kind=queue_kind("pie"), is_ecn=is_ecn, limit_packets=400)
    delays_ms = responsive_load(link, 2, 20 * S, 40 * MS)
    # The target is 15 ms. Two AIMD sources make a sawtooth around it, so only the mean is held, and loosely: 40 %.
    assert 9 <= delays_ms.mean() <= 21
    stats = link.stats()
    assert stats.departed_bytes / stats.capacity_bytes > 0.9
    assert (stats.marked_packets > 0) == bool(is_ecn)
    assert (stats.dropped_packets > 0) == (not is_ecn)


def test_codel_keeps_the_queue_near_its_target_under_responsive_load() -> None:
    link = Link(rate_bps=RATE_BPS, queue_kind=queue_kind("codel"), limit_packets=400)
    delays_ms = responsive_load(link, 2, 20 * S, 40 * MS)
    assert np.median(delays_ms) <= 15  # target 5 ms; AIMD sawtooth on top
    assert link.stats().departed_bytes / link.stats().capacity_bytes > 0.85


def test_pie_allows_a_burst_and_needs_a_queue() -> None:
    link = Link(rate_bps=RATE_BPS, queue_kind=queue_kind("pie"))
    overload(link, 150 * MS, 500_000)  # twice too much, for the burst allowance
    assert len(link.dropped()) == 0
    overload(link, 2 * S, 500_000, start_ns=150 * MS)
    assert len(link.dropped()) > 0
    assert link.lib.driver_pie_probability(link.driver) > 0.1
    link.send(10 * S)  # idle for long: congestion is forgotten
    assert link.lib.driver_pie_probability(link.driver) == 0.0
    idle = Link(rate_bps=RATE_BPS, queue_kind=queue_kind("pie"))
    overload(idle, 5 * S, 1 * MS)  # exactly the rate: one packet at a time
    idle.run(6 * S)
    assert len(idle.dropped()) == 0


def test_pie_probability_steps_as_in_rfc_8033() -> None:
    link = Link(rate_bps=RATE_BPS, queue_kind=queue_kind("pie"))
    link.send(0, count=1000)  # a second of queue
    probability, old_s = 0.0, 0.0
    scale = [(1e-6, 2048), (1e-5, 512), (1e-4, 128), (1e-3, 32), (1e-2, 8), (1e-1, 2)]
    for k in range(1, 40):
        delay_s = 1.0 - 0.015 * k
        step = 0.125 * (delay_s - 0.015) + 1.25 * (delay_s - old_s)
        step /= next((divisor for bound, divisor in scale if probability < bound), 1)
        if probability >= 0.1:
            step = min(step, 0.02)
        probability = min(max(probability + step, 0.0), 1.0)
        old_s = delay_s
    link.run(15 * 39 * MS)
    link.send(15 * 39 * MS, 52)
    assert link.lib.driver_pie_probability(link.driver) == pytest.approx(probability, rel=1e-9)


@pytest.mark.parametrize("kind", ["red", "codel", "pie"])
def test_ecn_marks_where_it_would_drop(kind: str) -> None:
    outcome = {}
    for is_ecn in (0, 1):
        red: dict[str, Any] = {"red_min_bytes": 10e3, "red_max_bytes": 30e3}
        link = Link(rate_bps=RATE_BPS, queue_kind=queue_kind(kind), is_ecn=is_ecn, **red)
        overload(link, 2 * S, 900_000)
        link.run(20 * S)
        outcome[is_ecn] = link.stats()
        assert np.count_nonzero(link.arrived()["flags"] & CE) == link.stats().marked_packets
    assert outcome[0].dropped_packets > 0
    assert outcome[0].marked_packets == 0
    assert outcome[1].dropped_packets == 0
    assert outcome[1].marked_packets > 0


@pytest.mark.parametrize("kind", ["red", "codel", "pie"])
def test_the_hard_limit_still_drops_with_ecn(kind: str) -> None:
    link = Link(rate_bps=RATE_BPS, queue_kind=queue_kind(kind), is_ecn=1, limit_packets=20)
    link.send(0, count=50)
    assert list(link.dropped()["seq"]) == list(range(20, 50))


@pytest.mark.parametrize("kind", ["red", "codel", "pie"])
def test_an_aqm_follows_a_trace_and_the_seed(kind: str) -> None:
    def outcome(seed: int) -> bytes:
        link = Link(seed=seed, trace=(10 * MS, [2 * MS, 2 * MS, 9 * MS]), queue_kind=queue_kind(kind), limit_packets=80)
        overload(link, 3 * S, 2 * MS)
        link.run(10 * S)
        assert len(link.dropped()) > 0
        assert len(link.records()) == 1500
        return link.records().tobytes()

    assert outcome(5) == outcome(5)
    assert (outcome(5) == outcome(6)) == (kind == "codel")  # which draws no random numbers
