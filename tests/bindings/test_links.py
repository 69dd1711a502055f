# SPDX-License-Identifier: BSD-2-Clause
"""A FIFO link: service, propagation, limits, jitter, timed events, figures; exact but for stated tolerances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdrl.tests.bindings.link_harness import LOST, MS, Link, S, bernoulli, gilbert_elliott, queue_kind

RATE_BPS = 12e6  # 1500 bytes take 1 ms
DELAY_NS = 5 * MS


def link_1500_per_ms(**fields: Any) -> Link:
    return Link(**{"rate_bps": RATE_BPS, "delay_ns": DELAY_NS, **fields})


def test_packets_back_to_back_leave_one_service_time_apart() -> None:
    link = link_1500_per_ms()
    link.send(0, count=3)
    link.run(S)
    assert link.arrival_times() == [6 * MS, 7 * MS, 8 * MS]
    assert list(link.arrived()["seq"]) == [0, 1, 2]
    assert list(link.arrived()["departure_ns"]) == [1 * MS, 2 * MS, 3 * MS]


def test_an_idle_gap_is_not_made_up_for() -> None:
    link = link_1500_per_ms()
    link.send(0)
    link.send(10 * MS)
    link.send(10 * MS + MS // 2, 750)
    link.run(S)
    assert link.arrival_times() == [6 * MS, 16 * MS, 16 * MS + MS // 2]


def test_a_packet_arriving_when_service_ends_finds_an_empty_queue() -> None:
    link = link_1500_per_ms(limit_packets=1)
    link.send(0)
    link.send(1 * MS)
    link.run(S)
    assert link.arrival_times() == [6 * MS, 7 * MS]


@pytest.mark.parametrize("rate_bps", [3e6, 7e6, 1e9 / 3, 123456.789])
def test_long_run_throughput_is_exact(rate_bps: float) -> None:
    link = Link(rate_bps=rate_bps)
    n = 3000
    link.send(0, 1499, count=n)
    link.run(10_000 * S)
    times = np.array(link.arrival_times())
    expected = np.arange(1, n + 1) * (1499 * 8e9 / rate_bps)
    assert np.abs(times - expected).max() <= 0.51  # half a nanosecond of rounding, never accumulated


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ({"limit_bytes": 4500}, 3),
        ({"limit_bytes": 4499}, 2),
        ({"limit_packets": 4}, 4),
        ({"limit_bytes": 4500, "limit_packets": 2}, 2),
        ({"limit_bytes": 1}, 1),  # an empty queue takes any packet
        ({}, 10),
    ],
)
def test_droptail_limits_count_the_packet_in_service(limits: dict[str, int], kept: int) -> None:
    link = link_1500_per_ms(**limits)
    link.send(0, count=10)
    link.run(S)
    assert list(link.arrived()["seq"]) == list(range(kept))
    assert list(link.dropped()["seq"]) == list(range(kept, 10))
    assert set(link.dropped()["time_ns"]) <= {0}
    assert link.stats().dropped_packets == 10 - kept


def test_a_smaller_packet_may_fit_where_a_large_one_did_not() -> None:
    link = link_1500_per_ms(limit_bytes=2000)
    link.send(0)
    link.send(0)
    link.send(0, 500)
    link.send(1 * MS)  # the first has left
    link.run(S)
    assert list(link.dropped()["seq"]) == [1]
    assert link.arrival_times() == [6 * MS, 6 * MS + MS // 3, 7 * MS + MS // 3]


def test_backlog_is_what_the_next_packet_waits() -> None:
    for kind in ("droptail", "codel"):
        link = link_1500_per_ms(queue_kind=queue_kind(kind))
        assert link.backlog_ns() == 0
        link.send(0, count=4)
        assert link.backlog_ns() == 4 * MS
        link.run(2 * MS + 1)
        assert link.backlog_ns() == 2 * MS - 1
        link.run(4 * MS)
        assert link.backlog_ns() == 0


@pytest.mark.parametrize("kind", ["droptail", "codel"])
def test_jitter_keeps_the_order_and_its_bounds(kind: str) -> None:
    link = Link(rate_bps=1e9, delay_ns=DELAY_NS, jitter_ns=3 * MS, queue_kind=queue_kind(kind))
    for i in range(2000):
        link.send(i * MS)
    link.run(10 * S)
    arrived = link.arrived()
    extra = arrived["time_ns"] - arrived["departure_ns"] - DELAY_NS
    assert list(arrived["seq"]) == list(range(2000))
    assert np.all(np.diff(arrived["time_ns"]) >= 0)
    assert extra.min() >= 0
    assert extra.max() <= 3 * MS
    assert np.count_nonzero(extra) > 1900


def test_jitter_alone_is_uniform() -> None:
    link = Link(rate_bps=1e9, jitter_ns=2 * MS)
    n = 4000
    for i in range(n):
        link.send(i * 10 * MS)  # far apart: no packet is held behind another
    link.run(100 * S)
    extra = link.arrived()["time_ns"] - link.arrived()["departure_ns"]
    assert abs(extra.mean() - MS) < 3 * (2 * MS / 12**0.5) / n**0.5
    assert extra.max() > 1.99 * MS


@pytest.mark.parametrize("kind", ["droptail", "codel"])
def test_a_falling_delay_does_not_reorder(kind: str) -> None:
    link = link_1500_per_ms(delay_ns=50 * MS, queue_kind=queue_kind(kind))
    link.send(0, count=4)
    link.event(2 * MS, "delay", delay_ns=10 * MS)
    link.run(S)
    # Two have departed and keep 50 ms; the others leave at 3 and 4 ms, and wait for those in front.
    assert link.arrival_times() == [51 * MS, 52 * MS, 52 * MS, 52 * MS]
    link.send(S)
    link.run(2 * S)
    assert link.arrival_times()[-1] == S + 11 * MS


@pytest.mark.parametrize("kind", ["droptail", "codel"])
def test_a_rate_change_in_service_keeps_the_part_already_served(kind: str) -> None:
    link = link_1500_per_ms(queue_kind=queue_kind(kind))
    link.send(0, count=3)
    link.event(1_500_000, "rate", rate_bps=RATE_BPS / 10)
    link.run(S)
    # Half of the second is left: 5 ms; the third takes 10 ms.
    assert link.arrival_times() == [6 * MS, 6_500_000 + DELAY_NS, 16_500_000 + DELAY_NS]
    assert link.stats().capacity_bytes == pytest.approx((1.5e-3 * RATE_BPS + (1 - 1.5e-3) * RATE_BPS / 10) / 8)


@pytest.mark.parametrize("kind", ["droptail", "codel"])
def test_rate_zero_holds_packets_until_the_rate_returns(kind: str) -> None:
    link = link_1500_per_ms(queue_kind=queue_kind(kind))
    link.send(0, count=2)
    link.event(500_000, "rate", rate_bps=0.0)
    link.send(10 * MS)
    link.event(20 * MS, "rate", rate_bps=0.0)  # again: nothing is lost or gained
    link.run(30 * MS)
    assert len(link.records()) == 0
    assert link.inside() == 3
    link.event(40 * MS, "rate", rate_bps=RATE_BPS)
    link.run(S)
    assert link.arrival_times() == [40_500_000 + DELAY_NS, 41_500_000 + DELAY_NS, 42_500_000 + DELAY_NS]
    held = Link(rate_bps=0.0, queue_kind=queue_kind(kind))
    held.send(0, count=2)
    held.run(1000 * S)
    assert (len(held.records()), held.inside(), held.stats().capacity_bytes) == (0, 2, 0.0)
    assert held.stats().queue_mean_bytes == 3000.0


@pytest.mark.parametrize("kind", ["droptail", "codel", "red", "pie"])
def test_down_loses_the_queue_and_up_begins_afresh(kind: str) -> None:
    link = link_1500_per_ms(queue_kind=queue_kind(kind))
    link.send(0, count=5)
    link.event(2_500_000, "down")  # two propagate, three are queued
    link.event(2_600_000, "down")
    link.send(3 * MS, count=2)
    link.run(100 * MS)
    assert link.arrival_times() == [6 * MS, 7 * MS]
    assert list(zip(link.dropped()["seq"], link.dropped()["time_ns"], strict=True)) == [
        (2, 2_500_000),
        (3, 2_500_000),
        (4, 2_500_000),
        (5, 3 * MS),
        (6, 3 * MS),
    ]
    link.event(100 * MS, "up")
    link.send(100 * MS)
    link.run(200 * MS)
    assert link.arrival_times()[-1] == 106 * MS
    stats = link.stats()
    assert (stats.lost_packets, stats.dropped_packets, stats.departed_bytes) == (5, 0, 4500)
    assert stats.capacity_bytes == pytest.approx(102.5e-3 * RATE_BPS / 8)
    assert stats.queue_mean_bytes == pytest.approx((7500 + 6000 + 4500 * 0.5 + 1500) / 200)


def test_a_packet_that_comes_back_to_its_own_link_is_served_again() -> None:
    link = link_1500_per_ms(delay_ns=0)
    link.lib.driver_loops_set(link.driver, 30)
    link.send(0, count=2)
    link.run(S)
    assert link.arrival_times() == [i * MS for i in range(1, 63)]
    instant = Link(rate_bps=1e15)  # no delay, and service below a nanosecond: the pipe empties within one call
    instant.lib.driver_loops_set(instant.driver, 200)
    instant.send(0, 52, count=50)
    instant.run(S)
    assert len(instant.arrived()) == 50 * 201
    assert instant.inside() == 0


def brute_force_queue(arrivals: list[tuple[int, int]], limit_bytes: int) -> tuple[list[int], float, int]:
    """Departures, byte-ns integral and drops of a drop-tail queue served at 8 ns a byte, the direct way."""
    free = 0
    queue: list[tuple[int, int]] = []
    departures: list[int] = []
    integral, drops = 0, 0
    for time, size in arrivals:
        queue = [item for item in queue if item[0] > time]
        if queue and sum(item[1] for item in queue) + size > limit_bytes:
            drops += 1
            continue
        free = max(free, time) + 8 * size
        queue.append((free, size))
        departures.append(free)
        integral += size * (free - time)
    return departures, integral, drops


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.tuples(st.integers(0, 30_000), st.integers(52, 1500)), min_size=1, max_size=80),
    limit=st.integers(1000, 8000),
    reset_at=st.integers(0, 80),
)
def test_departures_and_queue_integral_match_brute_force(
    gaps: list[tuple[int, int]], limit: int, reset_at: int
) -> None:
    arrivals = []
    now = 0
    for gap, size in gaps:
        now += gap
        arrivals.append((now, size))
    link = Link(rate_bps=1e9, limit_bytes=limit)
    for time, size in arrivals:
        link.send(time, size)
    link.run(10 * MS)
    departures, integral, drops = brute_force_queue(arrivals, limit)
    assert link.arrival_times() == departures
    assert link.stats().dropped_packets == drops
    assert link.stats().queue_mean_bytes == pytest.approx(integral / (10 * MS), rel=1e-12)

    # With a reset on the way, both halves add up to the whole.
    link = Link(rate_bps=1e9, limit_bytes=limit)
    first, departed, split = 0.0, 0, 0
    for i, (time, size) in enumerate(arrivals):
        if i == reset_at and time > 0:
            link.run(time)
            split = time
            first, departed = link.stats().queue_mean_bytes * time, link.stats().departed_bytes
            link.stats_reset()
        link.send(time, size)
    link.run(10 * MS)
    whole = first + link.stats().queue_mean_bytes * (10 * MS - split)
    assert whole == pytest.approx(integral, rel=1e-9)
    assert departed + link.stats().departed_bytes == sum(size for _, size in arrivals) - sum(
        size for i, (_, size) in enumerate(arrivals) if i in set(link.dropped()["seq"].tolist())
    )


EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("rate", {"rate_bps": 3e6}),
    ("rate", {"rate_bps": 0.0}),
    ("rate", {"rate_bps": 40e6}),
    ("delay", {"delay_ns": MS}),
    ("delay", {"delay_ns": 60 * MS}),
    ("loss", {"loss": {"kind": 1, "p": 0.3}}),
    ("down", {}),
    ("up", {}),
]


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["droptail", "red", "codel", "pie"]),
    steps=st.lists(
        st.tuples(st.integers(0, 20 * MS), st.integers(0, 40), st.sampled_from([None, *EVENTS])), max_size=40
    ),
    jitter=st.sampled_from([0, 4 * MS]),
    traced=st.booleans(),
)
def test_conservation_and_order_under_any_events(
    kind: str, steps: list[tuple[int, int, Any]], jitter: int, traced: bool
) -> None:
    fields: dict[str, Any] = {"trace": (10 * MS, [0, MS, MS, 7 * MS])} if traced else {"rate_bps": RATE_BPS}
    link = Link(queue_kind=queue_kind(kind), limit_packets=30, delay_ns=8 * MS, jitter_ns=jitter, **fields)
    now, sent = 0, 0
    for gap, count, event in steps:
        now += gap
        link.send(now, 700 + sent % 800, count=count, subflow=sent % 2)
        sent += count
        if event is not None:
            link.event(now, event[0], **event[1])
        records = link.records()
        assert sent == len(records) + link.inside(0) + link.inside(1)
    link.event(now, "rate", rate_bps=RATE_BPS)
    link.run(now + 100 * S)
    arrived = link.arrived()
    assert link.inside(0) == link.inside(1) == link.stats().queue_bytes == 0
    assert sorted(link.records()["seq"]) == list(range(sent))
    assert np.all(np.diff(arrived["seq"].astype(int)) > 0)
    assert np.all(np.diff(arrived["time_ns"]) >= 0)
    assert np.all(arrived["time_ns"] >= arrived["departure_ns"])
    stats = link.stats()
    assert stats.dropped_packets + stats.lost_packets == len(link.dropped())


def test_bernoulli_loss_ratio_and_its_report_at_arrival() -> None:
    n, p = 40_000, 0.02
    link = Link(rate_bps=1e9, delay_ns=DELAY_NS, loss=bernoulli(p))
    link.send(0, 100, count=n)
    link.run(10 * S)
    lost = link.dropped()
    assert abs(len(lost) / n - p) < 3 * (p * (1 - p) / n) ** 0.5
    assert np.all(lost["flags"] & LOST)
    assert np.array_equal(lost["time_ns"], (lost["seq"].astype(int) + 1) * 800 + DELAY_NS)
    assert link.stats().lost_packets == len(lost)
    assert link.stats().departed_bytes == 100 * n  # lost ones use capacity as well


def test_gilbert_elliott_stationary_loss_and_bursts() -> None:
    n, good_to_bad, bad_to_good = 200_000, 0.01, 0.25
    link = Link(rate_bps=1e9, loss=gilbert_elliott(good_to_bad, bad_to_good))
    lost = np.array([link.lib.driver_loss_draw(link.driver) for _ in range(n)], dtype=int)
    ratio = good_to_bad / (good_to_bad + bad_to_good)
    # Variance of the mean of a two-state chain: that of independent draws times (1 + r) / (1 - r).
    memory = 1 - good_to_bad - bad_to_good
    sigma = (ratio * (1 - ratio) / n * (1 + memory) / (1 - memory)) ** 0.5
    assert abs(lost.mean() - ratio) < 3 * sigma
    bursts = int(np.count_nonzero(np.diff(lost) == 1))
    mean_burst = lost.sum() / bursts
    assert abs(mean_burst - 1 / bad_to_good) < 3 * ((1 - bad_to_good) / bad_to_good**2 / bursts) ** 0.5
    partial = Link(rate_bps=1e9, loss=gilbert_elliott(0.5, 0.5, loss_good=0.1, loss_bad=0.3))
    mean = np.mean([partial.lib.driver_loss_draw(partial.driver) for _ in range(n)])
    assert abs(mean - 0.2) < 3 * (0.2 * 0.8 / n) ** 0.5


def test_same_seed_same_bytes_and_another_seed_or_link_others() -> None:
    def outcome(seed: int, index: int) -> bytes:
        link = link_1500_per_ms(seed=seed, index=index, jitter_ns=MS, loss=bernoulli(0.1), limit_packets=20)
        for i in range(500):
            link.send(i * MS // 2)
        link.run(10 * S)
        return link.records().tobytes()

    assert outcome(1, 0) == outcome(1, 0)
    assert len({outcome(1, 0), outcome(2, 0), outcome(1, 1), outcome(2, 1)}) == 4


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"rate_bps": -1.0}, "rate_bps"),
        ({"rate_bps": float("nan")}, "rate_bps"),
        ({"delay_ns": -1}, "delay_ns"),
        ({"limit_bytes": -1}, "limit_bytes"),
        ({"queue_kind": 9}, "queue_kind"),
        ({"red_max_p": 1.5}, "red"),
        ({"red_min_bytes": 2e4, "red_max_bytes": 1e4}, "red"),
        ({"loss": {"kind": 1, "p": 1.1}}, "loss.p"),
        ({"loss": {"kind": 7}}, "loss.kind"),
        ({"trace": (MS, [])}, "trace"),
        ({"trace": (0, [0])}, "period_ns"),
        ({"trace": (MS, [2 * MS])}, "time_ns"),
        ({"trace": (MS, [5, 4])}, "time_ns"),
        ({"trace": (MS, [0], [-1.0])}, "rate_bps"),
        ({"trace": (MS, [5], [1.0])}, "time_ns"),
    ],
)
def test_a_bad_configuration_is_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"link 0: .*{named}"):
        Link(**{"rate_bps": 1e6, **fields})
