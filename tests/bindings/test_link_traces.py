# SPDX-License-Identifier: BSD-2-Clause
"""Links whose capacity follows a trace: mahimahi's opportunities and piecewise rates, against direct models of both."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdrl.tests.bindings.link_harness import MS, Link, S

OPPORTUNITY_BYTES = 1500


def mahimahi(
    schedule_ms: list[int], period_ms: int, arrivals: dict[int, list[int]], until_ms: int
) -> tuple[list[int], int]:
    """Departures (ms) and capacity: each millisecond has its opportunities, then its arrivals, as in mm-link."""
    queue: list[int] = []
    departures: list[int] = []
    capacity = 0
    for now in range(until_ms + 1):
        here = sum((now - at) % period_ms == 0 and now >= at for at in schedule_ms)
        capacity += OPPORTUNITY_BYTES * here if now > 0 else 0
        for _ in range(here):
            credit = OPPORTUNITY_BYTES
            while queue and credit > 0:
                served = min(credit, queue[0])
                credit -= served
                queue[0] -= served
                if queue[0] == 0:
                    queue.pop(0)
                    departures.append(now)
        queue.extend(arrivals.get(now, []))
    return departures, capacity


@settings(max_examples=200, deadline=None)
@given(
    schedule=st.lists(st.integers(0, 25), min_size=1, max_size=30).map(sorted),
    spare=st.integers(0, 10),
    arrivals=st.dictionaries(st.integers(0, 300), st.lists(st.integers(1, 4000), min_size=1, max_size=5), max_size=30),
)
def test_opportunities_match_mahimahi(schedule: list[int], spare: int, arrivals: dict[int, list[int]]) -> None:
    period = max(schedule[-1] + spare, 1)
    until = 600
    link = Link(trace=(period * MS, [at * MS for at in schedule]))
    for at in sorted(arrivals):
        for size in arrivals[at]:
            link.send(at * MS, size)
    link.run(until * MS)
    departures, capacity = mahimahi(schedule, period, arrivals, until)
    assert link.arrival_times() == [at * MS for at in departures]
    assert link.stats().capacity_bytes == capacity


def test_what_an_opportunity_leaves_over_serves_the_next_packet_in_the_queue_only() -> None:
    link = Link(trace=(100 * MS, [10 * MS, 20 * MS, 30 * MS]))
    link.send(0, 1000)
    link.send(0, 1000)  # 500 bytes at 10 ms, 500 at 20 ms
    link.send(20 * MS, 1000)  # its opportunity at 20 ms is over, and what was left of it lost
    link.run(S)
    assert link.arrival_times() == [10 * MS, 20 * MS, 30 * MS]


def test_a_long_idle_time_costs_nothing_and_keeps_the_phase() -> None:
    link = Link(trace=(1000 * MS, [500 * MS, 1000 * MS]))
    link.send(10**6 * S + 1)  # 10^6 periods later
    link.run(10**6 * S + 3 * S)
    assert link.arrival_times() == [10**6 * S + 500 * MS]
    assert link.stats().capacity_bytes == (2 * 10**6 + 6) * OPPORTUNITY_BYTES


@pytest.mark.parametrize("limit_packets", [0, 3])
def test_a_rate_event_replaces_the_trace(limit_packets: int) -> None:
    link = Link(trace=(100 * MS, [10 * MS * i for i in range(1, 11)]), limit_packets=limit_packets)
    link.send(0, 2000, count=3)
    # At 25 ms 3000 bytes have been served: one packet and half of the second.
    link.event(25 * MS, "rate", rate_bps=8e6)  # a byte a microsecond
    link.run(S)
    assert link.arrival_times() == [20 * MS, 26 * MS, 28 * MS]
    assert link.stats().capacity_bytes == pytest.approx(2 * 1500 + 975_000)


def numeric_departures(
    times: list[int], rates: list[float], period: int, arrivals: list[tuple[int, int]], step: int, until: int
) -> list[int]:
    """Integration in steps of `step` ns, in which the rate is constant; rates in bytes a step."""
    grid = np.array(rates)[np.searchsorted(times, np.arange(0, until, step) % period, side="right") - 1]
    served = np.concatenate([[0.0], np.cumsum(grid)])
    departures, position = [], 0.0
    for at, size in arrivals:
        position = max(position, served[at // step]) + size
        after = int(np.searchsorted(served, position - 1e-6))
        if after >= len(served):
            break
        departures.append(after * step)
    return departures


@settings(max_examples=100, deadline=None)
@given(
    segments=st.lists(
        st.tuples(st.integers(1, 20), st.sampled_from([0.0, 1e6, 3e6, 12e6, 50e6])), min_size=1, max_size=8
    ),
    arrivals=st.lists(st.tuples(st.integers(0, 40), st.integers(52, 6000)), min_size=1, max_size=30),
)
def test_a_rate_trace_matches_numeric_integration(
    segments: list[tuple[int, float]], arrivals: list[tuple[int, int]]
) -> None:
    times, rates, period = [], [], 0
    for length, rate in segments:
        times.append(period)
        rates.append(rate)
        period += length * MS
    step, until = 10_000, 2 * S
    link = Link(trace=(period, times, rates))
    now, sent = 0, []
    for gap, size in arrivals:
        now += gap * MS
        sent.append((now, size))
        link.send(now, size)
    link.run(until)
    expected = numeric_departures(times, [rate * step / 8e9 for rate in rates], period, sent, step, until)
    got = link.arrival_times()
    # The model knows departures to the end of a step; a packet at the very end of the run may be in one list only.
    assert abs(len(got) - len(expected)) <= (1 if until - max([0, *got, *expected]) < step else 0)
    for mine, model in zip(got, expected, strict=False):
        assert model - step <= mine <= model + 1
    capacity = sum(rates[int(np.searchsorted(times, at % period, side="right")) - 1] for at in range(0, until, MS))
    assert link.stats().capacity_bytes == pytest.approx(capacity / 8e3, rel=1e-9)


def test_rate_trace_by_hand() -> None:
    link = Link(trace=(10 * MS, [0, 4 * MS, 6 * MS], [8e6, 0.0, 4e6]))  # 4000 bytes, nothing, 2000 bytes
    link.send(3 * MS, 1500)  # 1000 by 4 ms, the rest at half a byte a microsecond from 6 ms
    link.send(3 * MS, 12_000)  # 1500 by 10 ms; a whole period; 4000 by 24 ms, 500 from 26 ms
    link.run(S)
    assert link.arrival_times() == [7 * MS, 27 * MS]
    link.send(10**6 * S + 5 * MS, 500)  # far away, in the silent part
    link.run(10**6 * S + S)
    assert link.arrival_times()[-1] == 10**6 * S + 7 * MS


def test_a_rate_event_in_a_rate_trace_keeps_the_part_served() -> None:
    link = Link(trace=(10 * MS, [0, 4 * MS], [8e6, 0.0]))
    link.send(0, 3000)
    link.send(0, 3000)
    link.event(5 * MS, "rate", rate_bps=16e6)
    link.run(S)
    assert link.arrival_times() == [3 * MS, 6 * MS]


def test_an_all_zero_trace_holds_its_packets() -> None:
    link = Link(trace=(10 * MS, [0, 5 * MS], [0.0, 0.0]), limit_packets=5)
    link.send(0, count=7)
    link.run(1000 * S)
    assert link.inside() == 5
    assert len(link.arrived()) == 0
    assert link.stats().capacity_bytes == 0
    link.event(1000 * S, "rate", rate_bps=12e6)
    link.run(1001 * S)
    assert link.arrival_times() == [1000 * S + i * MS for i in range(1, 6)]


def test_down_and_up_keep_the_phase_of_the_trace() -> None:
    link = Link(trace=(10 * MS, [3 * MS]))
    link.send(0, count=4)
    link.event(5 * MS, "down")
    link.event(41 * MS, "up")
    link.send(42 * MS)
    link.run(100 * MS)
    assert link.arrival_times() == [3 * MS, 43 * MS]
    assert link.stats().lost_packets == 3
    assert link.stats().capacity_bytes == 7 * OPPORTUNITY_BYTES  # 3 ms, and 43 to 93 ms
