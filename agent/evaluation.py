# SPDX-License-Identifier: BSD-2-Clause
"""One run of a comparison: a scenario, a controller under test and a seed, simulated into a run of ccdrl-compare/1.

The datapath of an agent is polled every 10 ms of simulated time, its shortest monitor interval; without an agent the
simulator runs in one call. Everything here happens inside one process; agent/workers.py spreads runs over several.
"""

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ccdrl.agent import results, statistics
from ccdrl.agent.contenders import AGENT, Contender
from ccdrl.agent.controller import Controller, Decision
from ccdrl.agent.policy import Policy, load_policy
from ccdrl.bindings.sim_datapath import SimDatapath
from ccdrl.envs.network import Network, build_network
from ccdrl.envs.scenario import Flow, Scenario
from ccdrl.envs.scenario_schema import UNDER_TEST

DATAPATH = "sim"
DECISION_STEP_NS = 10_000_000
NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class RunSpec:
    """What one run needs; `agent` is the artifact that drives flows with cc = "drl", None where there is none."""

    scenario: Scenario
    contender: Contender
    seed: int
    agent: Path | None = None
    traces: Path | None = None
    datapath: str = DATAPATH

    @property
    def key(self) -> results.Key:
        """The run's key in the results."""
        return self.scenario.name, self.contender.label, self.datapath, self.seed


def expand_flows(scenario: Scenario) -> Iterator[tuple[str, Flow]]:
    """Yield the id in the results and the description of every flow: `count` = N makes id/0 to id/N-1."""
    for flow in scenario.flows:
        if flow.count == 1:
            yield flow.id, flow
        else:
            for index in range(flow.count):
                yield f"{flow.id}/{index}", flow


def ids_under_test(scenario: Scenario) -> frozenset[str]:
    """Return the ids of the flows of the controller under test."""
    return frozenset(label for label, flow in expand_flows(scenario) if flow.cc == UNDER_TEST)


def count_agent_subflows(scenario: Scenario, contender: Contender) -> int:
    """Return how many subflows of a run an agent drives."""
    return sum(
        flow.count * len(flow.paths)
        for flow in scenario.flows
        if (contender.controller if flow.cc == UNDER_TEST else flow.cc) == AGENT
    )


@functools.lru_cache(maxsize=16)
def cached_policy(path: Path) -> Policy:
    """Return the policy of an artifact, read once in each process."""
    return load_policy(path)


class Drive:
    """A network and, where flows are driven by an agent, the loop around it."""

    def __init__(self, spec: RunSpec, tap: Callable[[Decision], None] | None = None) -> None:
        """Build the network; `tap` sees every decision of the agent. Raises InputError for bad traces or artifacts."""
        self.network: Network = build_network(spec.scenario, spec.contender.controller, spec.seed, spec.traces)
        self.simulator = self.network.simulator
        self._next_decision_ns = DECISION_STEP_NS
        self._controller: Controller | None = None
        if rows := count_agent_subflows(spec.scenario, spec.contender):
            assert spec.agent is not None
            # Twice the rows: a subflow that joins again has a new id, and may come before its predecessor is forgotten.
            self._controller = Controller(cached_policy(spec.agent), capacity=2 * rows, tap=tap)
            self._datapath = SimDatapath(self.simulator)

    def run(self, until_ns: int) -> None:
        """Advance the clock; decisions fall on multiples of the decision step, however often the clock is stopped."""
        if self._controller is not None:
            while self._next_decision_ns <= until_ns:
                self.simulator.run(self._next_decision_ns)
                actions = self._controller.step(self._datapath.read_samples(), self._next_decision_ns // 1000)
                if len(actions):
                    self._datapath.write_actions(actions)
                self._next_decision_ns += DECISION_STEP_NS
        self.simulator.run(until_ns)

    def count_safety(self) -> dict[str, int] | None:
        """Return what guard and datapath counted since the start, None where no agent drives.

        Samples and actions, those that the guard refused or bounded (see GuardCounters), subflows without a row, and
        the datapath's own counts as `datapath_<result>`.
        """
        if self._controller is None:
            return None
        counted = self._controller.guard.snapshot() | {"subflows_refused": self._controller.refused}
        return counted | {f"datapath_{name}": value for name, value in asdict(self._datapath.counters()).items()}


def plain(value: float) -> float | int:
    """Return whole numbers as int: 120, not 120.0."""
    return int(value) if value == int(value) else value


def share(part: float, whole: float) -> float | None:
    """Return part / whole, None where the whole is nothing."""
    return part / whole if whole > 0 else None


def measure_subflow(drive: Drive, index: int, path: int, window_s: float) -> dict[str, Any]:
    """Return one entry of `subflows` from the statistics since the warm-up."""
    stats = drive.simulator.subflow_stats(index, path)
    return {
        "path": path,
        "throughput_mbps": stats.delivered_bytes * 8 / window_s / 1e6,
        "rtt_mean_ms": results.finite(stats.rtt_mean_ms),
        "rtt_p95_ms": results.finite(stats.rtt_p95_ms),
        "loss_ratio": share(stats.lost_bytes, stats.sent_bytes),
        "cwnd_mean_bytes": results.finite(stats.cwnd_mean_bytes),
    }


def measure_flow(drive: Drive, index: int, window_s: float) -> dict[str, Any]:
    """Return the figures of one entry of `flows` from the statistics since the warm-up."""
    stats = drive.simulator.flow_stats(index)
    return {
        "goodput_mbps": stats.goodput_bytes * 8 / window_s / 1e6,
        "completion_s": None if stats.completion_ns is None else stats.completion_ns / NS_PER_S,
        "rtt_mean_ms": results.finite(stats.rtt_mean_ms),
        "rtt_p95_ms": results.finite(stats.rtt_p95_ms),
        "queue_delay_mean_ms": results.finite(stats.queue_delay_mean_ms),
        "queue_delay_p95_ms": results.finite(stats.queue_delay_p95_ms),
        "retransmit_ratio": share(stats.retransmitted_bytes, stats.sent_bytes),
        "subflows": [measure_subflow(drive, index, path, window_s) for path in range(stats.n_subflows)],
    }


def measure_link(stats: Any, label: str) -> dict[str, Any]:
    """Return one entry of `links` from a link's statistics since the warm-up, of the simulator or of the test bed."""
    ratio = share(stats.departed_bytes, stats.capacity_bytes)
    return {
        "id": label,
        # The packet on the wire when the time begins counts whole.
        "utilization": None if ratio is None else min(ratio, 1.0),
        "queue_mean_bytes": results.finite(stats.queue_mean_bytes),
        "drops": stats.dropped_packets,
    }


def make_run(
    spec: RunSpec, wall_s: float, packets: int, figures: Iterable[dict[str, Any]], links: Iterable[Any]
) -> results.Run:
    """Return the run: `figures` of every flow and statistics of every link, in the scenario's order."""
    scenario = spec.scenario
    flows = [
        {"id": label, "cc": spec.contender.label if flow.cc == UNDER_TEST else flow.cc} | measured
        for (label, flow), measured in zip(expand_flows(scenario), figures, strict=True)
    ]
    return {
        "scenario": scenario.name,
        "cc": spec.contender.label,
        "datapath": spec.datapath,
        "seed": spec.seed,
        "duration_s": plain(scenario.duration_s),
        "warmup_s": plain(scenario.warmup_s),
        "wall_s": round(wall_s, 6),
        "packets": packets,
        "flows": flows,
        "links": [measure_link(stats, link.id) for link, stats in zip(scenario.links, links, strict=True)],
        "jain": statistics.jain([flow["goodput_mbps"] for flow in flows]),
    }


def evaluate(spec: RunSpec) -> results.Run:
    """Simulate one run and return it. Raises InputError for bad input, SimulatorError where the simulator fails."""
    scenario = spec.scenario
    drive = Drive(spec)
    begin = time.perf_counter()
    drive.run(round(scenario.warmup_s * NS_PER_S))
    drive.simulator.reset_stats()
    drive.run(round(scenario.duration_s * NS_PER_S))
    wall_s = time.perf_counter() - begin
    window_s = scenario.duration_s - scenario.warmup_s
    simulator = drive.simulator
    figures = [measure_flow(drive, index, window_s) for index, _ in enumerate(expand_flows(scenario))]
    links = [simulator.link_stats(index) for index in range(len(scenario.links))]
    run = make_run(spec, wall_s, simulator.packets, figures, links)
    safety = drive.count_safety()
    return run if safety is None else run | {"guard": safety}
