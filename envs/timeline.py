# SPDX-License-Identifier: BSD-2-Clause
"""What a simulated network offers at each moment: capacities, fair shares and rivals, which only the trainer may know.

A network's conditions change at its events, at the steps of its traces and when flows start or stop, and are constant
in between. `Timeline` computes them for the agents' connections and subflows when asked, and says until when they hold.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.library import HEADER_BYTES
from ccdrl.bindings.network import EventConfig, FlowConfig, LinkConfig, LossConfig, PathConfig, TraceConfig
from ccdrl.envs.coupled_share import compute_coupled_rates
from ccdrl.envs.fair_share import Demand, compute_payload_share
from ccdrl.envs.traces import OPPORTUNITY_BYTES

Floats = NDArray[np.float64]

FOREVER_NS = 1 << 62
_OPPORTUNITY_BITS = OPPORTUNITY_BYTES * 8
_OPPORTUNITY_WINDOW_NS = 1_000_000_000
_NOT_LOSS_BASED = ("drl", "bbr", "wvegas", "fixed")
_RENO_CONSTANT = 1.5
"""Rate of a Reno flow is about sqrt(3 / 2p) / RTT segments a second; a rival is granted this factor of it (CUBIC)."""

_JITTER_MEAN = 0.7


@dataclass(frozen=True, slots=True)
class Conditions:
    """Constant from the time asked for to until_ns. Arrays over the agents' connections (c) or subflows (r)."""

    until_ns: int
    ideal_bps: Floats
    """c: goodput in the coupled equilibrium (envs/coupled_share.py), payload bit/s; at least a segment an RTT."""
    is_shared: NDArray[np.bool_]
    """c: another connection is active on one of its links, and there is something to share."""
    has_rival: NDArray[np.bool_]
    """r: a loss-based controller, which fills the buffer, is active on one of the subflow's links."""
    base_us: Floats
    """r: RTT without queues, serialisation of one segment included."""
    capacity_bps: Floats
    """r: payload bits a second that the path can carry, random loss taken off."""
    buffer_us: Floats
    """r: the longest queueing delay of the path's slowest link; 0 where its queue has no limit."""
    random_loss: Floats
    """r: probability that a segment is lost at random on the path."""
    n_users: Floats
    """r: connections on the path's busiest link, this one included."""
    target_bps: Floats
    """r: the subflow's part of ideal_bps."""
    target_base_us: Floats
    """r: RTT without queues that segments see on average: base_us and the jitter."""
    has_stranger: NDArray[np.bool_]
    """r: a connection that is not the agents' is active on one of the subflow's links."""


@dataclass(frozen=True, slots=True)
class _Users:
    """Which flows are active from from_ns to until_ns, and the conditions that depend on it alone."""

    from_ns: int
    until_ns: int
    active: list[int]
    is_shared: NDArray[np.bool_]
    has_rival: NDArray[np.bool_]
    n_users: Floats
    has_stranger: NDArray[np.bool_]


def compute_loss_ratio(loss: LossConfig) -> float:
    """Return the long-run loss probability of a packet (Gilbert-Elliott: of the stationary chain)."""
    if loss.kind == "bernoulli":
        return loss.p
    if loss.kind == "gilbert-elliott":
        both = loss.good_to_bad + loss.bad_to_good
        bad = loss.good_to_bad / both if both > 0 else 0.0
        return bad * loss.loss_bad + (1.0 - bad) * loss.loss_good
    return 0.0


class Timeline:
    """Conditions of a network for the flows `agents` (indices); their subflows are rows, by flow and path."""

    def __init__(
        self,
        links: Sequence[LinkConfig],
        flows: Sequence[FlowConfig],
        events: Sequence[EventConfig],
        agents: Sequence[int],
    ) -> None:
        self._links = tuple(links)
        self._flows = tuple(flows)
        self._events = tuple(sorted(events, key=lambda event: event.at_ns))
        self._agents = tuple(agents)
        self._traces = [_Steps(link.trace) if link.trace is not None else None for link in links]
        moments = {event.at_ns for event in events} | {flow.start_ns for flow in flows}
        moments |= {flow.stop_ns for flow in flows if flow.stop_ns is not None}
        self._moments = sorted(moments)
        self._routes = [tuple(path.links for path in flow.paths) for flow in flows]
        self._paths = [path for i in self._agents for path in flows[i].paths]
        self._users: _Users | None = None

    def compute(self, now_ns: int) -> Conditions:
        """Return the conditions at a time."""
        until_ns = next((moment for moment in self._moments if moment > now_ns), FOREVER_NS)
        rates, delays = [link.rate_bps for link in self._links], [link.delay_ns for link in self._links]
        losses = [compute_loss_ratio(link.loss) for link in self._links]
        down = [False] * len(self._links)
        for i, trace in enumerate(self._traces):
            if trace is not None:
                rates[i], change_ns = trace.find(now_ns)
                until_ns = min(until_ns, change_ns)
        for event in self._events:
            if event.at_ns > now_ns:
                break
            if event.kind == "rate":
                rates[event.link] = event.rate_bps
            elif event.kind == "delay":
                delays[event.link] = event.delay_ns
            elif event.kind == "loss":
                losses[event.link] = compute_loss_ratio(event.loss)
            else:
                down[event.link] = event.kind == "down"
        rates = [0.0 if is_down else rate for rate, is_down in zip(rates, down, strict=True)]
        return self._assess(now_ns, until_ns, rates, delays, losses)

    def _assess(
        self, now_ns: int, until_ns: int, rates: list[float], delays: list[int], losses: list[float]
    ) -> Conditions:
        users = self._find_users(now_ns)
        mss_bytes = self._flows[0].mss_bytes
        share = compute_payload_share(mss_bytes)
        payload = [rate * share * (1.0 - loss) for rate, loss in zip(rates, losses, strict=True)]
        demands = [
            Demand(self._routes[i], self._limit(self._flows[i], i in self._agents, rates, delays, losses))
            for i in users.active
        ]
        coupled = compute_coupled_rates(payload, demands)
        base_s = np.array([self._base_s(path, mss_bytes, rates, delays) for path in self._paths])
        floor = 8.0 * mss_bytes / max(float(base_s.max()), 1e-4)  # a segment an RTT; there is none in an outage
        target = [coupled[users.active.index(i)] for i in self._agents]
        ideal = np.array([rates.sum() for rates in target])
        slowest = [min(path.links, key=lambda link: rates[link]) for path in self._paths]
        return Conditions(
            until_ns=until_ns,
            ideal_bps=np.maximum(ideal, floor),
            is_shared=users.is_shared & (ideal > floor),
            has_rival=users.has_rival,
            base_us=base_s * 1e6,
            capacity_bps=np.array([min(payload[link] for link in path.links) for path in self._paths]),
            buffer_us=np.array([self._buffer_us(link, rates[link]) for link in slowest]),
            random_loss=np.array([_combine(losses[link] for link in path.links) for path in self._paths]),
            n_users=users.n_users,
            target_bps=np.concatenate(target),
            target_base_us=base_s * 1e6 + np.array([self._jitter_us(path) for path in self._paths]),
            has_stranger=users.has_stranger,
        )

    def _find_users(self, now_ns: int) -> "_Users":
        """Return who is active; the answer is kept until a flow starts or stops."""
        if self._users is not None and self._users.from_ns <= now_ns < self._users.until_ns:
            return self._users
        flows = self._flows
        active = [
            i
            for i, flow in enumerate(flows)
            if i in self._agents or (flow.start_ns <= now_ns and (flow.stop_ns is None or now_ns < flow.stop_ns))
        ]
        users: list[set[int]] = [set() for _ in self._links]
        rivals = [False] * len(self._links)
        for i in active:
            for path in self._routes[i]:
                for link in path:
                    users[link].add(i)
                    rivals[link] |= flows[i].cc not in _NOT_LOSS_BASED
        self._users = _Users(
            now_ns,
            next((moment for moment in self._moments if moment > now_ns), FOREVER_NS),
            active,
            np.array([any(len(users[k]) > 1 for path in self._routes[i] for k in path) for i in self._agents]),
            np.array([any(rivals[link] for link in path.links) for path in self._paths]),
            np.array([float(max(len(users[link]) for link in path.links)) for path in self._paths]),
            np.array([any(users[link] - set(self._agents) for link in path.links) for path in self._paths]),
        )
        return self._users

    def _base_s(self, path: PathConfig, mss_bytes: int, rates: list[float], delays: list[int]) -> float:
        """Return propagation both ways and the serialisation of one segment; a dead link serialises at no cost."""
        propagation = 2.0 * (sum(delays[link] for link in path.links) + path.extra_delay_ns) * 1e-9
        bits = 8.0 * (mss_bytes + HEADER_BYTES)
        return propagation + sum(bits / rates[link] for link in path.links if rates[link] > 0.0)

    def _jitter_us(self, path: PathConfig) -> float:
        """Return the mean extra delay: above half of the largest, as packets keep their order."""
        return _JITTER_MEAN * sum(self._links[link].jitter_ns for link in path.links) * 1e-3

    def _limit(
        self, flow: FlowConfig, is_agent: bool, rates: list[float], delays: list[int], losses: list[float]
    ) -> float:
        """Return what the flow can use at most: its application's rate, a rival's response to random loss."""
        limit = flow.app_rate_bps if flow.app_rate_bps > 0.0 else np.inf
        if is_agent or flow.cc in _NOT_LOSS_BASED:
            return float(limit)
        total = 0.0
        for path in flow.paths:
            loss = _combine(losses[link] for link in path.links)
            if loss <= 0.0:
                return float(limit)
            round_trip_s = max(self._base_s(path, flow.mss_bytes, rates, delays), 1e-4)
            total += _RENO_CONSTANT * 8.0 * flow.mss_bytes / round_trip_s * np.sqrt(1.5 / loss)
        return float(min(limit, total))

    def _buffer_us(self, link: int, rate_bps: float) -> float:
        config = self._links[link]
        wire_bytes = self._flows[0].mss_bytes + HEADER_BYTES
        limits = [config.limit_bytes, config.limit_packets * wire_bytes]
        given = [limit for limit in limits if limit > 0]
        return 8e6 * min(given) / rate_bps if given and rate_bps > 0.0 else 0.0


def _combine(losses: Iterable[float]) -> float:
    """Return the probability that a packet is lost on one of several links."""
    kept = 1.0
    for loss in losses:
        kept *= 1.0 - loss
    return 1.0 - kept


class _Steps:
    """A trace as a step function; delivery opportunities are counted in windows of a second."""

    def __init__(self, trace: TraceConfig) -> None:
        self.period_ns = trace.period_ns
        if trace.kind == "rate" and trace.rate_bps is not None:
            self.times = np.asarray(trace.time_ns, np.int64)
            self.rates = np.asarray(trace.rate_bps, np.float64)
        else:
            edges = np.arange(0, trace.period_ns, _OPPORTUNITY_WINDOW_NS, dtype=np.int64)
            ends = np.append(edges[1:], trace.period_ns)
            counts = np.diff(np.searchsorted(trace.time_ns, np.append(edges, trace.period_ns + 1)))
            self.times = edges
            self.rates = counts * _OPPORTUNITY_BITS / ((ends - edges) * 1e-9)

    def find(self, now_ns: int) -> tuple[float, int]:
        """Return the rate at a time and when it changes next."""
        cycle, phase = divmod(now_ns, self.period_ns)
        index = int(np.searchsorted(self.times, phase, side="right")) - 1
        ends = self.times[index + 1] if index + 1 < len(self.times) else self.period_ns
        return float(self.rates[index]), int(cycle * self.period_ns + ends)
