# SPDX-License-Identifier: BSD-2-Clause
"""From a scenario to a simulator: Mbit/s, ms and s become bits a second and nanoseconds, names become indices."""

import random
from dataclasses import dataclass
from pathlib import Path

from ccdrl.bindings.errors import InputError
from ccdrl.bindings.library import HEADER_BYTES
from ccdrl.bindings.network import EventConfig, FlowConfig, LinkConfig, LossConfig, PathConfig, TraceConfig
from ccdrl.bindings.simulator import Simulator
from ccdrl.envs.scenario import Event, Flow, Link, Loss, Queue, Scenario
from ccdrl.envs.scenario_schema import CONTROLLERS, UNDER_TEST, fail, one_line
from ccdrl.envs.trace_generator import lte_trace, poisson_trace
from ccdrl.envs.traces import Trace, load_trace


@dataclass(frozen=True, slots=True)
class FlowLabel:
    """Which connection a flow index of the simulator is: its id, its controller (never "@"), and its subflows."""

    id: str
    cc: str
    n_paths: int


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A simulator at time 0 with everything added, and what was added, in the simulator's order.

    capacities_bps holds wire bits a second: the constant rate before any event, or the mean of the trace.
    """

    scenario: Scenario
    simulator: Simulator
    flows: tuple[FlowLabel, ...]
    link_ids: tuple[str, ...]
    capacities_bps: tuple[float, ...]
    links: tuple[LinkConfig, ...]
    connections: tuple[FlowConfig, ...]
    events: tuple[EventConfig, ...]


def build_network(scenario: Scenario, cc: str, seed: int, traces: Path | None = None) -> Network:
    """Return the scenario's network with controller `cc` in the flows whose cc is "@".

    traces is the folder of the trace files, needed where `scenario.needs_traces`. The seed (0 to 2^64 - 1) drives the
    simulator and spreads the starts: each flow begins up to one propagation RTT of its first path after start_s, so
    that seeds differ in the phase of drop-tail queues. Raises InputError.
    """
    if cc not in CONTROLLERS:
        raise InputError(one_line(f"cc = {cc}: accepted: one of {', '.join(CONTROLLERS)}"))
    simulator = Simulator(seed)
    links = []
    for trace, link in zip(load_traces(scenario, traces), scenario.links, strict=True):
        rate_bps = (link.rate_mbps or 0.0) * 1e6 if trace is None else trace.mean_bps
        links.append(_link_config(link, rate_bps, trace, scenario.mss + HEADER_BYTES))
        simulator.add_link(links[-1])
    offsets = random.Random(seed)
    labels, connections = [], []
    for flow in scenario.flows:
        name = cc if flow.cc == UNDER_TEST else flow.cc
        for n in range(flow.count):
            labels.append(FlowLabel(flow.id if flow.count == 1 else f"{flow.id}/{n}", name, len(flow.paths)))
            connections.append(_flow_config(flow, name, offsets.random(), scenario))
            simulator.add_flow(connections[-1])
    link_ids = tuple(link.id for link in scenario.links)
    events = [config for event in scenario.events for config in _event_configs(event, link_ids.index(event.link))]
    for config in events:
        simulator.add_event(config)
    return Network(
        scenario=scenario,
        simulator=simulator,
        flows=tuple(labels),
        link_ids=link_ids,
        capacities_bps=tuple(link.rate_bps for link in links),
        links=tuple(links),
        connections=tuple(connections),
        events=tuple(events),
    )


def load_traces(scenario: Scenario, traces: Path | None) -> tuple[Trace | None, ...]:
    """Return the capacity trace of every link, None where its rate is constant. Raises InputError.

    Files are read once and kept, so a command line can call this first to have every fault before the first run.
    """
    return tuple(_load_link_trace(scenario, i, link, traces) for i, link in enumerate(scenario.links))


def _load_link_trace(scenario: Scenario, index: int, link: Link, traces: Path | None) -> Trace | None:
    try:
        if link.generator is not None:
            generate = lte_trace if link.generator.kind == "lte" else poisson_trace
            return generate(link.generator.mean_mbps, scenario.duration_s, link.generator.seed)
        if link.trace is None:
            return None
        if traces is not None:
            return load_trace(traces, link.trace)
    except InputError as error:
        key = "trace" if link.generator is None else "generator"
        raise InputError(one_line(f"{scenario.source}: links[{index}].{key}: {error}")) from None
    accepted = "accepted: together with --traces DIR, the folder of the trace files"
    raise fail(scenario.source, f"links[{index}].trace", link.trace, accepted)


def _ns(milliseconds: float) -> int:
    return round(milliseconds * 1e6)


def _queue_limits(queue: Queue, rate_bps: float, delay_ms: float, packet_bytes: int) -> tuple[int, int]:
    """Return limit_bytes and limit_packets, 0 for none."""
    if queue.bdp is None:
        return queue.bytes or 0, queue.packets or 0
    bdp_bytes = rate_bps * 2 * delay_ms / 8000
    return max(packet_bytes, round(queue.bdp * bdp_bytes)), 0


def _link_config(link: Link, rate_bps: float, trace: Trace | None, packet_bytes: int) -> LinkConfig:
    queue = link.queue
    limit_bytes, limit_packets = _queue_limits(queue, rate_bps, link.delay_ms, packet_bytes)
    return LinkConfig(
        rate_bps=rate_bps,
        delay_ns=_ns(link.delay_ms),
        jitter_ns=_ns(link.jitter_ms),
        queue_kind=queue.kind,
        is_ecn=queue.ecn,
        limit_bytes=limit_bytes,
        limit_packets=limit_packets,
        red_min_bytes=queue.min_bytes or 0.0,
        red_max_bytes=queue.max_bytes or 0.0,
        red_max_p=queue.max_p or 0.0,
        aqm_target_ns=_ns(queue.target_ms or 0.0),
        aqm_interval_ns=_ns(queue.interval_ms or 0.0),
        loss=_loss_config(link.loss),
        trace=None if trace is None else TraceConfig(trace.kind, trace.time_ns, trace.period_ns, trace.rate_bps),
    )


def _loss_config(loss: Loss | None) -> LossConfig:
    if loss is None:
        return LossConfig()
    if loss.kind == "bernoulli":
        return LossConfig("bernoulli", p=loss.p or 0.0)
    return LossConfig(
        loss.kind,
        good_to_bad=loss.good_to_bad or 0.0,
        bad_to_good=loss.bad_to_good or 0.0,
        loss_good=loss.loss_good,
        loss_bad=loss.loss_bad,
    )


def _flow_config(flow: Flow, cc: str, phase: float, scenario: Scenario) -> FlowConfig:
    """Return the configuration of one flow; phase in [0, 1) places its start in the first path's RTT."""
    indices = {link.id: i for i, link in enumerate(scenario.links)}
    delays_ms = [scenario.links[indices[link]].delay_ms for link in flow.paths[0]]
    rtt_s = 2 * (sum(delays_ms) + flow.path_delay_ms[0]) / 1000
    # a flow shorter than its RTT still gets half of its time
    end_s = scenario.duration_s if flow.stop_s is None else flow.stop_s
    start_s = flow.start_s + phase * min(rtt_s, (end_s - flow.start_s) / 2)
    return FlowConfig(
        cc=cc,
        paths=tuple(
            PathConfig(tuple(indices[link] for link in path), _ns(delay_ms))
            for path, delay_ms in zip(flow.paths, flow.path_delay_ms, strict=True)
        ),
        scheduler=flow.scheduler,
        mss_bytes=scenario.mss,
        start_ns=_ns(start_s * 1000),
        stop_ns=None if flow.stop_s is None else _ns(flow.stop_s * 1000),
        size_bytes=flow.size_bytes or 0,
        rwnd_bytes=flow.rwnd_bytes or 0,
        app_rate_bps=(flow.app_rate_mbps or 0.0) * 1e6,
        ack_segments=flow.ack_segments,
    )


def _event_configs(event: Event, link: int) -> list[EventConfig]:
    at_ns = _ns(event.at_s * 1000)
    configs = []
    if event.rate_mbps is not None:
        configs.append(EventConfig(at_ns, link, "rate", rate_bps=event.rate_mbps * 1e6))
    if event.delay_ms is not None:
        configs.append(EventConfig(at_ns, link, "delay", delay_ns=_ns(event.delay_ms)))
    if event.loss is not None:
        configs.append(EventConfig(at_ns, link, "loss", loss=_loss_config(event.loss)))
    if event.down is not None:
        configs.append(EventConfig(at_ns, link, "down" if event.down else "up"))
    return configs
