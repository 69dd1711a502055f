# SPDX-License-Identifier: BSD-2-Clause
"""What happens after a change: how soon a connection has its new share, how soon newcomers have theirs.

Times are in round trips, of the longest propagation RTT among the paths of the flows under test that are up. A
connection has recovered at the first moment from which its subflows deliver at least 0.9 of its max-min fair share over
the next two round trips. That is what a congestion controller decides; when the application has it in order depends on
MPTCP's retransmission as well and is noted beside it. Fairness after a start is Jain's index of goodput over fair
share, from 20 to 30 round trips after it, over the connections under test that are active.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccdrl.agent import statistics
from ccdrl.agent.suite.optimum import base_rtt_s, conditions_at, max_min_now, mean_rates_mbps
from ccdrl.envs.scenario import Flow, Scenario
from ccdrl.envs.scenario_schema import UNDER_TEST

Floats = NDArray[np.float64]

RECOVERED_SHARE = 0.9
RECOVERY_WINDOW_RTTS = 2.0
FAIR_FROM_RTTS, FAIR_TO_RTTS = 20.0, 30.0
FAIR_JAIN = 0.97
SETTLE_WINDOW_RTTS = 5.0
SHARE_MIN_MBPS = 1e-3
"""No share to come back to below this: the links are down."""


@dataclass(frozen=True)
class Recovery:
    """One change of a link; None where the new share was not reached before the next change.

    before_mbps: the share before the change. rtts: until the subflows deliver 0.9 of the new one; goodput_rtts: until
    the application gets it.
    """

    at_s: float
    rtt_ms: float
    before_mbps: float
    share_mbps: float
    rtts: float | None
    goodput_rtts: float | None


@dataclass(frozen=True)
class Start:
    """A start of a connection under test while others are active.

    jain: over 20 to 30 round trips after it. rtts: until Jain's index over five round trips is at least 0.97, None
    where it never is. newcomer: the newcomer's goodput over its fair share in the last third before the next start.
    """

    at_s: float
    rtt_ms: float
    jain: float | None
    rtts: float | None
    newcomer: float | None


@dataclass(frozen=True)
class Figures:
    """The transients of one run."""

    recoveries: tuple[Recovery, ...] = ()
    starts: tuple[Start, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the results file."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Figures":
        """Return the figures of a results file."""
        return cls(
            tuple(Recovery(**item) for item in value["recoveries"]), tuple(Start(**item) for item in value["starts"])
        )


@dataclass(frozen=True)
class _Track:
    """Rates over time of a run's connections, [step, connection], and which flow each of them is."""

    step_s: float
    rates_mbps: Floats
    flows: tuple[Flow, ...]

    def mean(self, columns: Sequence[int], from_s: float, to_s: float) -> Floats | None:
        """Return the mean rate of these connections over whole steps of a time, None without a step."""
        first, last = round(from_s / self.step_s), round(to_s / self.step_s)
        rows = self.rates_mbps[first:last]
        return None if last <= first or len(rows) < last - first else np.asarray(rows[:, list(columns)].mean(axis=0))


def late_starts(scenario: Scenario) -> list[float]:
    """Return when connections under test start that find others of them at work; transfers that end do not count."""
    tested = [flow for flow in scenario.flows if flow.cc == UNDER_TEST and flow.size_bytes is None]
    return sorted({flow.start_s for flow in tested} - {min((flow.start_s for flow in tested), default=0.0)})


def event_times(scenario: Scenario) -> list[float]:
    """Return the times of the changes of rate and of links' state."""
    return sorted({event.at_s for event in scenario.events if event.rate_mbps is not None or event.down is not None})


def has_transients(scenario: Scenario) -> bool:
    """Return whether a run has figures of this kind."""
    return bool(event_times(scenario) or late_starts(scenario))


def longest_rtt_s(scenario: Scenario, at_s: float = 0.0) -> float:
    """Return the longest propagation RTT of the flows under test over paths that are up, 1 ms at least."""
    rates = [1.0] * len(scenario.links)
    now = conditions_at(scenario, rates, at_s)
    ids = [link.id for link in scenario.links]
    found = [
        base_rtt_s(scenario, flow, path, now.delays_ms)
        for flow in scenario.flows
        if flow.cc == UNDER_TEST
        for path, links in enumerate(flow.paths)
        if all(now.capacities_mbps[ids.index(link)] > 0 for link in links)
    ]
    return max(found, default=1e-3)


def find_figures(scenario: Scenario, step_s: float, rates_mbps: Floats, traces: Path | None) -> Figures:
    """Return the transients of a run; rates_mbps[0] is the goodput and [1] the throughput, [step, connection]."""
    flows = tuple(flow for flow in scenario.flows for _ in range(flow.count))
    goodput, throughput = (_Track(step_s, rates, flows) for rates in rates_mbps)
    links = mean_rates_mbps(scenario, traces)
    changes = sorted({*event_times(scenario), scenario.duration_s})
    recoveries = [
        find_recovery(scenario, (throughput, goodput), links, at_s, end_s)
        for at_s, end_s in zip(changes, changes[1:], strict=False)
    ]
    ends = sorted({flow.start_s for flow in flows} | {flow.stop_s or scenario.duration_s for flow in flows})
    starts = [
        find_start(scenario, goodput, links, at_s, next((end for end in ends if end > at_s), scenario.duration_s))
        for at_s in late_starts(scenario)
    ]
    return Figures(tuple(item for item in recoveries if item is not None), tuple(starts))


def find_recovery(
    scenario: Scenario, tracks: Sequence[_Track], links: Sequence[float], at_s: float, end_s: float
) -> Recovery | None:
    """Return how the flows under test come to their new share by each track, None where they have none."""
    flows = tracks[0].flows
    tested = [index for index, flow in enumerate(flows) if flow.cc == UNDER_TEST]
    before, share = (total_share(scenario, links, time) for time in (math.nextafter(at_s, 0.0), at_s))
    if share <= SHARE_MIN_MBPS:
        return None
    rtt_s = longest_rtt_s(scenario, at_s)
    times = [find_time(track, tested, RECOVERED_SHARE * share, rtt_s, (at_s, end_s)) for track in tracks]
    return Recovery(at_s, round(1e3 * rtt_s, 3), round(before, 6), round(share, 6), *times)


def total_share(scenario: Scenario, links: Sequence[float], at_s: float) -> float:
    """Return the max-min fair share of all connections under test together."""
    shares = max_min_now(scenario, conditions_at(scenario, links, at_s))
    return sum(flow.count * shares.get(flow.id, 0.0) for flow in scenario.flows if flow.cc == UNDER_TEST)


def find_time(
    track: _Track, tested: Sequence[int], wanted: float, rtt_s: float, span: tuple[float, float]
) -> float | None:
    """Return after how many round trips the connections together have a rate, None if not within the span."""
    begin_s, end_s = span
    window_s = max(RECOVERY_WINDOW_RTTS * rtt_s, track.step_s)
    for step in range(int((end_s - begin_s - window_s) / track.step_s) + 1):
        now_s = begin_s + step * track.step_s
        mean = track.mean(tested, now_s, now_s + window_s)
        if mean is not None and float(mean.sum()) >= wanted:
            return round((now_s - begin_s) / rtt_s, 3)
    return None


def find_start(scenario: Scenario, track: _Track, links: Sequence[float], at_s: float, end_s: float) -> Start:
    """Return how a newcomer and those before it come to share; end_s is the next start or stop."""
    shares = max_min_now(scenario, conditions_at(scenario, links, at_s))
    tested = [index for index, flow in enumerate(track.flows) if flow.cc == UNDER_TEST and flow.id in shares]
    fair = np.array([max(shares[track.flows[index].id], SHARE_MIN_MBPS) for index in tested])
    newcomers = [place for place, index in enumerate(tested) if track.flows[index].start_s == at_s]
    rtt_s = longest_rtt_s(scenario, at_s)

    def jain(from_s: float, to_s: float) -> float | None:
        mean = track.mean(tested, from_s, to_s)
        return None if mean is None else statistics.jain((mean / fair).tolist())

    window_s = max(SETTLE_WINDOW_RTTS * rtt_s, 2 * track.step_s)
    rtts = None
    for step in range(int((end_s - at_s - window_s) / track.step_s) + 1):
        begin = at_s + step * track.step_s
        if (jain(begin, begin + window_s) or 0.0) >= FAIR_JAIN:
            rtts = round((begin - at_s) / rtt_s, 3)
            break
    until_s = min(at_s + FAIR_TO_RTTS * rtt_s, end_s)
    last = track.mean(tested, at_s + 2 * (end_s - at_s) / 3, end_s)
    newcomer = None if last is None else round(float(np.mean((last / fair)[newcomers])), 6)
    value = jain(at_s + FAIR_FROM_RTTS * rtt_s, until_s)
    return Start(at_s, round(1e3 * rtt_s, 3), None if value is None else round(value, 6), rtts, newcomer)
