# SPDX-License-Identifier: BSD-2-Clause
"""Training networks drawn at random: wider than any test, so that a policy meets nothing new when it is used.

A draw has a given number of agent subflows (rows), spread over one or several connections; the rest (topology,
capacities, delays, buffers, losses, competitors, events) follows `RandomizationConfig`. Equal generators draw equal
networks.
"""

import math
from dataclasses import dataclass

import numpy as np

from ccdrl.bindings.library import HEADER_BYTES
from ccdrl.bindings.network import EventConfig, FlowConfig, LinkConfig, LossConfig, PathConfig, TraceConfig
from ccdrl.bindings.simulator import Simulator
from ccdrl.envs.timeline import Timeline
from ccdrl.envs.trace_pieces import draw_piece

NS_PER_MS = 1_000_000
MSS_BYTES = 1448
WIRE_BYTES = MSS_BYTES + HEADER_BYTES

_STRUCTURES: dict[int, tuple[tuple[tuple[int, int], float], ...]] = {
    1: (((1, 1), 1.0),),
    2: (((1, 2), 0.7), ((2, 1), 0.3)),
    3: (((1, 3), 0.7), ((3, 1), 0.3)),
    4: (((1, 4), 0.4), ((2, 2), 0.4), ((4, 1), 0.2)),
    6: (((1, 6), 0.4), ((3, 2), 0.3), ((2, 3), 0.3)),
    8: (((1, 8), 0.5), ((4, 2), 0.3), ((2, 4), 0.2)),
}


@dataclass(frozen=True, slots=True)
class RandomizationConfig:
    """Ranges (log-uniform unless said) and probabilities of a draw."""

    slot_rows: tuple[int, ...] = (2, 2, 1, 2, 4, 3, 2, 8, 2, 4, 2, 1, 2, 4, 2, 3)
    """Agent subflows of simulator i, modulo the length."""
    wide_probability: float = 0.1
    """How often a network takes the wide ranges."""
    rtt_ms: tuple[float, float] = (2.0, 400.0)
    rtt_wide_ms: tuple[float, float] = (1.0, 800.0)
    rate_mbps: tuple[float, float] = (0.3, 120.0)
    rate_wide_mbps: tuple[float, float] = (0.1, 300.0)
    packets_per_tick_max: float = 800.0
    """Capacities are scaled down together to keep a step affordable."""
    buffer_bdp: tuple[float, float] = (0.1, 10.0)
    buffer_max_s: float = 2.0
    buffer_min_packets: tuple[float, float] = (2.0, 16.0)
    """Floor of the buffer for each two agent subflows on the link: a window is never below 2 MSS."""
    loss_probability: float = 0.4
    loss_ratio: tuple[float, float] = (1e-4, 0.05)
    gilbert_probability: float = 0.2
    """Of the lossy links: losses come in bursts."""
    jitter_probability: float = 0.15
    aqm_probability: float = 0.15
    ecn_probability: float = 0.3
    """Of the links with an AQM."""
    shared_probability: float = 0.2
    """All subflows of a connection meet in one link."""
    core_probability: float = 0.1
    """All paths also cross a second, common link."""
    rival_probability: float = 0.5
    """A network has competing TCP flows; then each link has one or two with this probability again."""
    rival_bbr_probability: float = 0.15
    rival_late_probability: float = 0.5
    """A competitor starts, and half as often stops, within the episode."""
    late_agent_probability: float = 0.3
    """Agents start when competitors have the links already, and one after the other."""
    step_probability: float = 0.2
    outage_probability: float = 0.06
    delay_step_probability: float = 0.05
    trace_probability: float = 0.08
    """A link's capacity varies as in a cellular network."""
    trace_files: tuple[str, ...] = ()
    """Files whose pieces these links take instead of drawn capacity, scaled to the link's rate (docs/scenarios.md)."""
    episode_ticks: tuple[int, int] = (100, 300)
    """Uniform; a tick is one monitor interval."""
    tick_srtts: tuple[float, float] = (0.5, 2.0)
    """Tick over the lowest base RTT, then within tick_ms."""
    tick_ms: tuple[float, float] = (10.0, 100.0)
    lead_gain: float = 0.0
    """How much windows are led to a queue meanwhile (envs/action.py; LEAD_GAIN in use): without, agents learn more."""


@dataclass(frozen=True, slots=True)
class TrainingNetwork:
    """One drawn network: what `build` puts into a simulator, and what an environment needs to know of it."""

    links: tuple[LinkConfig, ...]
    flows: tuple[FlowConfig, ...]
    events: tuple[EventConfig, ...]
    agents: tuple[int, ...]
    """Indices of the flows that the agent controls; their subflows are the rows, in the order of flows and paths."""
    tick_ns: int
    n_ticks: int
    ready_ns: int
    """When the handshakes of all agents are over unless a SYN is lost."""

    def build(self, seed: int) -> Simulator:
        """Return the network in a simulator at time 0."""
        simulator = Simulator(seed)
        simulator.enable_stats(False)
        for link in self.links:
            simulator.add_link(link)
        for flow in self.flows:
            simulator.add_flow(flow)
        for event in self.events:
            simulator.add_event(event)
        return simulator

    def timeline(self) -> Timeline:
        """Return what the network offers over time."""
        return Timeline(self.links, self.flows, self.events, self.agents)

    def connections(self) -> list[int]:
        """Return for each row the number of its connection among the agents."""
        return [c for c, flow in enumerate(self.agents) for _ in self.flows[flow].paths]


def draw_network(
    rng: np.random.Generator, n_rows: int, config: RandomizationConfig, *, is_single: bool = False
) -> TrainingNetwork:
    """Draw a network whose agents have `n_rows` subflows together, 1 to 8 on each connection; is_single: on one."""
    return _Draw(rng, config).draw(n_rows, is_single)


class _Draw:
    """One draw; methods take from the generator in a fixed order."""

    def __init__(self, rng: np.random.Generator, config: RandomizationConfig) -> None:
        self.rng = rng
        self.config = config
        self.is_wide = self.chance(config.wide_probability)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def log_uniform(self, bounds: tuple[float, float]) -> float:
        return math.exp(self.rng.uniform(math.log(bounds[0]), math.log(bounds[1])))

    def draw(self, n_rows: int, is_single: bool) -> TrainingNetwork:
        config = self.config
        n_conns, n_subflows = (1, n_rows) if is_single else self.draw_structure(n_rows)
        links_of_path, n_links = self.draw_topology(n_conns, n_subflows)
        rtts_ms = [self.log_uniform(config.rtt_wide_ms if self.is_wide else config.rtt_ms) for _ in range(n_links)]
        extra_ms = [
            [self.rng.uniform(0.0, 0.5) * rtts_ms[path[0]] if self.chance(0.3) else 0.0 for path in paths]
            for paths in links_of_path
        ]
        has_core = self.chance(config.core_probability)
        round_trips = [
            rtts_ms[path[0]] + 2.0 * extra
            for paths, extras in zip(links_of_path, extra_ms, strict=True)
            for path, extra in zip(paths, extras, strict=True)
        ]
        tick_ms = min(round_trips) * self.log_uniform(config.tick_srtts)
        tick_ns = int(min(max(tick_ms, config.tick_ms[0]), config.tick_ms[1]) * NS_PER_MS)
        rates = self.draw_rates(n_links, tick_ns)
        if has_core:
            rates.append(self.rng.uniform(0.5, 1.2) * sum(rates))
            rtts_ms.append(0.2 * min(rtts_ms))
        n_ticks = int(self.rng.integers(config.episode_ticks[0], config.episode_ticks[1], endpoint=True))
        length_ns = tick_ns * n_ticks
        core = (n_links,) if has_core else ()
        used = [link for paths in links_of_path for path in paths for link in (*path, *core)]
        links = tuple(
            self.draw_link(rate, rtt, length_ns, used.count(i))
            for i, (rate, rtt) in enumerate(zip(rates, rtts_ms, strict=True))
        )
        agents, ready_ns = self.draw_agents(links_of_path, extra_ms, core, max(round_trips))
        rivals = self.draw_rivals(links, rtts_ms, length_ns)
        events = tuple(e for i in range(len(links)) for e in self.draw_events(i, links[i], rtts_ms[i], length_ns))
        flows = (*agents, *rivals)
        return TrainingNetwork(links, flows, events, tuple(range(len(agents))), tick_ns, n_ticks, ready_ns)

    def draw_structure(self, n_rows: int) -> tuple[int, int]:
        """Return connections and subflows of each."""
        choices = _STRUCTURES.get(n_rows, (((1, n_rows), 1.0),))
        index = self.rng.choice(len(choices), p=[weight for _, weight in choices])
        return choices[index][0]

    def draw_topology(self, n_conns: int, n_subflows: int) -> tuple[list[list[tuple[int, ...]]], int]:
        """Return the links of each path of each connection, and how many links there are."""
        if n_subflows > 1 and self.chance(self.config.shared_probability):
            return [[(0,)] * n_subflows for _ in range(n_conns)], 1
        if n_conns == 2 and n_subflows == 2 and self.chance(0.3):  # they meet on the middle one of three links
            return [[(0,), (1,)], [(1,), (2,)]], 3
        return [[(i,) for i in range(n_subflows)] for _ in range(n_conns)], n_subflows

    def draw_rates(self, n_links: int, tick_ns: int) -> list[float]:
        bounds = self.config.rate_wide_mbps if self.is_wide else self.config.rate_mbps
        rates = [1e6 * self.log_uniform(bounds) for _ in range(n_links)]
        packets = sum(rates) * tick_ns * 1e-9 / (8.0 * WIRE_BYTES)
        return [rate * min(1.0, self.config.packets_per_tick_max / packets) for rate in rates]

    def draw_link(self, rate_bps: float, rtt_ms: float, length_ns: int, n_subflows: int) -> LinkConfig:
        config = self.config
        bdp_bytes = rate_bps * rtt_ms * 1e-3 / 8.0
        buffer_bytes = min(bdp_bytes * self.log_uniform(config.buffer_bdp), rate_bps * config.buffer_max_s / 8.0)
        floor_packets = self.log_uniform(config.buffer_min_packets) * max(1.0, 0.5 * n_subflows)
        has_aqm = self.chance(config.aqm_probability)
        kind = ("red", "codel", "pie")[int(self.rng.integers(3))] if has_aqm else "droptail"
        return LinkConfig(
            rate_bps=rate_bps,
            delay_ns=int(0.5 * rtt_ms * NS_PER_MS),
            jitter_ns=int(rtt_ms * self.rng.uniform(0.01, 0.2) * NS_PER_MS)
            if self.chance(config.jitter_probability)
            else 0,
            queue_kind=kind,
            is_ecn=has_aqm and self.chance(config.ecn_probability),
            limit_bytes=int(max(buffer_bytes, floor_packets * WIRE_BYTES)),
            loss=self.draw_loss(),
            trace=self.draw_trace(rate_bps, length_ns) if self.chance(config.trace_probability) else None,
        )

    def draw_loss(self) -> LossConfig:
        if not self.chance(self.config.loss_probability):
            return LossConfig()
        ratio = self.log_uniform(self.config.loss_ratio)
        if not self.chance(self.config.gilbert_probability):
            return LossConfig("bernoulli", p=ratio)
        leave_bad, loss_bad = 1.0 / self.rng.uniform(2.0, 20.0), self.rng.uniform(0.3, 1.0)
        bad = min(ratio / loss_bad, 0.5)
        return LossConfig("gilbert-elliott", 0.0, leave_bad * bad / (1.0 - bad), leave_bad, 0.0, loss_bad)

    def draw_trace(self, mean_bps: float, length_ns: int) -> TraceConfig:
        """Log-normal capacity with memory, as of a cellular link: steps of 0.3 to 3 s, within a factor of 20 and 3."""
        if self.config.trace_files:
            return draw_piece(self.rng, self.config.trace_files, mean_bps, length_ns)
        step_ns = int(self.log_uniform((300.0, 3000.0)) * NS_PER_MS)
        count = max(2, min(64, length_ns // step_ns + 1))
        memory, spread = self.rng.uniform(0.5, 0.98), self.rng.uniform(0.2, 0.8)
        noise = self.rng.standard_normal(count)
        level = np.empty(count)
        level[0] = noise[0]
        for i in range(1, count):
            level[i] = memory * level[i - 1] + math.sqrt(1.0 - memory * memory) * noise[i]
        rates = mean_bps * np.clip(np.exp(spread * level), 0.05, 3.0)
        return TraceConfig("rate", np.arange(count, dtype=np.int64) * step_ns, int(count * step_ns), rates)

    def draw_agents(
        self,
        links_of_path: list[list[tuple[int, ...]]],
        extra_ms: list[list[float]],
        core: tuple[int, ...],
        rtt_ms: float,
    ) -> tuple[list[FlowConfig], int]:
        is_late = self.chance(self.config.late_agent_probability)
        flows = []
        start_ns = 0
        for paths, extras in zip(links_of_path, extra_ms, strict=True):
            if is_late:
                start_ns += int(min(self.rng.uniform(0.0, 10.0) * rtt_ms, 1000.0) * NS_PER_MS)
            routes = tuple(
                PathConfig((*path, *core), int(extra * NS_PER_MS)) for path, extra in zip(paths, extras, strict=True)
            )
            flows.append(FlowConfig("drl", routes, mss_bytes=MSS_BYTES, start_ns=start_ns))
        joined = 2.0 if len(links_of_path[0]) > 1 else 1.0
        return flows, start_ns + int((joined * rtt_ms + 1.0) * NS_PER_MS)

    def draw_rivals(self, links: tuple[LinkConfig, ...], rtts_ms: list[float], length_ns: int) -> list[FlowConfig]:
        config = self.config
        rivals: list[FlowConfig] = []
        if not self.chance(config.rival_probability):
            return rivals
        for link, rtt_ms in enumerate(rtts_ms[: len(links)]):
            if not self.chance(config.rival_probability):
                continue
            for _ in range(int(self.rng.integers(1, 2, endpoint=True))):
                bbr = config.rival_bbr_probability
                cc = str(self.rng.choice(["reno", "cubic", "bbr"], p=[0.4 - bbr / 2, 0.6 - bbr / 2, bbr]))
                extra_ns = int(self.rng.uniform(0.0, rtt_ms) * NS_PER_MS) if self.chance(0.5) else 0
                start_ns, stop_ns = int(self.rng.uniform(0.0, rtt_ms) * NS_PER_MS), None
                if self.chance(config.rival_late_probability):
                    start_ns = int(self.rng.uniform(0.05, 0.7) * length_ns)
                if self.chance(config.rival_late_probability / 2):
                    stop_ns = start_ns + int(self.rng.uniform(0.2, 0.6) * length_ns)
                path = PathConfig((link,), extra_ns)
                rivals.append(FlowConfig(cc, (path,), mss_bytes=MSS_BYTES, start_ns=start_ns, stop_ns=stop_ns))
        return rivals

    def draw_events(self, index: int, link: LinkConfig, rtt_ms: float, length_ns: int) -> list[EventConfig]:
        config = self.config
        events = []
        if link.trace is None and self.chance(config.step_probability):
            for _ in range(int(self.rng.integers(1, 3, endpoint=True))):
                at_ns = int(self.rng.uniform(0.1, 0.9) * length_ns)
                rate_bps = max(link.rate_bps * self.log_uniform((0.25, 2.0)), 1e5)
                events.append(EventConfig(at_ns, index, "rate", rate_bps=rate_bps))
        if self.chance(config.delay_step_probability):
            at_ns = int(self.rng.uniform(0.2, 0.8) * length_ns)
            events.append(
                EventConfig(at_ns, index, "delay", delay_ns=int(link.delay_ns * self.log_uniform((0.5, 2.0))))
            )
        if self.chance(config.outage_probability):
            down_ns = int(self.rng.uniform(0.2, 0.7) * length_ns)
            up_ns = down_ns + int(max(rtt_ms * self.rng.uniform(1.0, 20.0), 50.0) * NS_PER_MS)
            events += [EventConfig(down_ns, index, "down"), EventConfig(up_ns, index, "up")]
        return events
