# SPDX-License-Identifier: BSD-2-Clause
"""Optimal references of a scenario: what each connection should get, whatever controller there is.

Goodputs are averaged over the time after the warm-up, piece by piece between the moments at which something changes.
Max-min fairness counts a multipath connection as one TCP at each link; proportional fairness maximises the sum of the
logarithms of the rates, with the cost of probing: every subflow keeps at least one segment an RTT (with half-full
buffers) on each of its paths. A trace counts with its mean, so the references of a varying link are upper bounds. What
a given controller can do is not in them: Reno under 1 % loss cannot reach its share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccdrl.agent.suite.proportional import compute_proportional_rates
from ccdrl.bindings.library import HEADER_BYTES
from ccdrl.envs.fair_share import Demand, compute_fair_rates, compute_payload_share
from ccdrl.envs.network import load_traces
from ccdrl.envs.scenario import Flow, Link, Loss, Scenario
from ccdrl.envs.scenario_schema import UNDER_TEST

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Optimum:
    """References in Mbit/s of goodput for one connection of each flow, by the flow's id without /0 to /N-1.

    best_single_mbps: what a single-path TCP in the place of each flow under test would have on its best path (RFC
    6356, goal 1), max-min fair.
    """

    max_min_mbps: Mapping[str, float]
    proportional_mbps: Mapping[str, float]
    best_single_mbps: Mapping[str, float]


@dataclass(frozen=True)
class Conditions:
    """The network at one time: payload capacity of each link in Mbit/s, one-way delay in ms, and who is active."""

    capacities_mbps: tuple[float, ...]
    delays_ms: tuple[float, ...]
    flows: tuple[Flow, ...]


def loss_ratio(loss: Loss | None) -> float:
    """Return the long-run loss probability of a packet."""
    if loss is None:
        return 0.0
    if loss.kind == "bernoulli":
        return loss.p or 0.0
    to_bad, to_good = loss.good_to_bad or 0.0, loss.bad_to_good or 0.0
    bad = to_bad / (to_bad + to_good) if to_bad + to_good > 0 else 0.0
    return bad * loss.loss_bad + (1 - bad) * loss.loss_good


def mean_rates_mbps(scenario: Scenario, traces: Path | None) -> list[float]:
    """Return the wire rate of every link before any event; a trace's mean. Raises InputError."""
    loaded = load_traces(scenario, traces)
    pairs = zip(scenario.links, loaded, strict=True)
    return [(link.rate_mbps or 0.0) if trace is None else trace.mean_bps / 1e6 for link, trace in pairs]


def conditions_at(scenario: Scenario, rates_mbps: Sequence[float], at_s: float) -> Conditions:
    """Return the conditions from a time on."""
    ids = [link.id for link in scenario.links]
    rates, delays = list(rates_mbps), [link.delay_ms for link in scenario.links]
    losses = [loss_ratio(link.loss) for link in scenario.links]
    is_down = [False] * len(ids)
    for event in scenario.events:
        if event.at_s > at_s:
            continue
        index = ids.index(event.link)
        rates[index] = rates[index] if event.rate_mbps is None else event.rate_mbps
        delays[index] = delays[index] if event.delay_ms is None else event.delay_ms
        losses[index] = losses[index] if event.loss is None else loss_ratio(event.loss)
        is_down[index] = is_down[index] if event.down is None else event.down
    share = compute_payload_share(scenario.mss)
    capacities = [
        0.0 if down else rate * share * (1 - loss) for rate, loss, down in zip(rates, losses, is_down, strict=True)
    ]
    active = [flow for flow in scenario.flows if flow.start_s <= at_s and (flow.stop_s is None or at_s < flow.stop_s)]
    return Conditions(tuple(capacities), tuple(delays), tuple(active))


def moments_of(scenario: Scenario, from_s: float) -> list[float]:
    """Return the ends of the pieces from a time to the scenario's end."""
    times = {event.at_s for event in scenario.events} | {flow.start_s for flow in scenario.flows}
    times |= {flow.stop_s for flow in scenario.flows if flow.stop_s is not None}
    inner = sorted(time for time in times if from_s < time < scenario.duration_s)
    return [from_s, *inner, scenario.duration_s]


def base_rtt_s(scenario: Scenario, flow: Flow, path: int, delays_ms: Sequence[float]) -> float:
    """Return a path's two-way propagation delay."""
    ids = [link.id for link in scenario.links]
    return 2e-3 * (sum(delays_ms[ids.index(link)] for link in flow.paths[path]) + flow.path_delay_ms[path])


def make_demands(scenario: Scenario, flows: Sequence[Flow]) -> list[Demand]:
    """Return the flows as demands on the links."""
    ids = [link.id for link in scenario.links]
    return [
        Demand(
            tuple(tuple(ids.index(link) for link in path) for path in flow.paths),
            float("inf") if flow.app_rate_mbps is None else flow.app_rate_mbps,
            flow.count,
        )
        for flow in flows
    ]


def buffer_s(link: Link, rate_mbps: float, packet_bytes: int) -> float:
    """Return how long a full queue of a link is."""
    if rate_mbps <= 0:
        return 0.0
    queue = link.queue
    if queue.bdp is not None:
        return queue.bdp * 2e-3 * link.delay_ms
    limit = queue.bytes if queue.bytes is not None else (queue.packets or 0) * packet_bytes
    return limit * 8e-6 / rate_mbps


def probing_floors(scenario: Scenario, now: Conditions) -> list[list[float]]:
    """Return the least rate of each path in Mbit/s: a segment each RTT, with half-full buffers on the way."""
    by_id = {link.id: (index, link) for index, link in enumerate(scenario.links)}
    floors = []
    for flow in now.flows:
        row = []
        for path in range(len(flow.paths)):
            wait_s = 0.0
            for name in flow.paths[path]:
                index, link = by_id[name]
                wire_mbps = now.capacities_mbps[index] / compute_payload_share(scenario.mss)
                wait_s += 0.5 * buffer_s(link, wire_mbps, scenario.mss + HEADER_BYTES)
            rtt_s = base_rtt_s(scenario, flow, path, now.delays_ms) + wait_s
            row.append(8e-6 * scenario.mss / max(rtt_s, 1e-3) if len(flow.paths) > 1 else 0.0)
        floors.append(row)
    return floors


def max_min_now(scenario: Scenario, now: Conditions) -> dict[str, float]:
    """Return the max-min fair goodput of one connection of each active flow, Mbit/s."""
    rates = compute_fair_rates(now.capacities_mbps, make_demands(scenario, now.flows))
    return {flow.id: float(rate) for flow, rate in zip(now.flows, rates, strict=True)}


def proportional_now(scenario: Scenario, now: Conditions) -> dict[str, float]:
    """Return the proportionally fair goodput of one connection of each active flow, probing included, Mbit/s."""
    demands, floors = make_demands(scenario, now.flows), probing_floors(scenario, now)
    rates = compute_proportional_rates(now.capacities_mbps, demands, floors)
    return {flow.id: float(rate) for flow, rate in zip(now.flows, rates, strict=True)}


def best_single_now(scenario: Scenario, now: Conditions) -> dict[str, float]:
    """Return, for each active flow under test, the most that it had max-min fairly with one of its paths alone."""
    demands = make_demands(scenario, now.flows)
    found = {}
    for index, flow in enumerate(now.flows):
        if flow.cc == UNDER_TEST:
            others = [*demands[:index], *demands[index + 1 :]]
            alone = [Demand((path,), demands[index].limit, flow.count) for path in demands[index].paths]
            found[flow.id] = max(float(compute_fair_rates(now.capacities_mbps, [one, *others])[0]) for one in alone)
    return found


def find_optimum(scenario: Scenario, traces: Path | None) -> Optimum | None:
    """Return the references, None for a scenario with finite transfers. Raises InputError."""
    if any(flow.size_bytes is not None for flow in scenario.flows):
        return None
    rates = mean_rates_mbps(scenario, traces)
    ends = moments_of(scenario, scenario.warmup_s)
    totals: list[dict[str, float]] = [{flow.id: 0.0 for flow in scenario.flows} for _ in range(3)]
    for begin, end in zip(ends, ends[1:], strict=False):
        now = conditions_at(scenario, rates, begin)
        for total, find in zip(totals, (max_min_now, proportional_now, best_single_now), strict=True):
            for label, rate in find(scenario, now).items():
                total[label] += rate * (end - begin) / (ends[-1] - ends[0])
    tested = {flow.id for flow in scenario.flows if flow.cc == UNDER_TEST}
    single = {label: rate for label, rate in totals[2].items() if label in tested}
    return Optimum(totals[0], totals[1], single)
