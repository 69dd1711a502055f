# SPDX-License-Identifier: BSD-2-Clause
"""One run of the suite: the run of ccdrl-compare/1, and goodput over time where a scenario changes on the way.

Time stops at every step to read what each connection has received. That does not touch the simulation: the run is the
one that `evaluation.evaluate` gives, but for the last digits of mean windows, whose sums are split at the readings.
"""

import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccdrl.agent import results
from ccdrl.agent.evaluation import (
    DECISION_STEP_NS,
    NS_PER_S,
    Drive,
    RunSpec,
    evaluate,
    expand_flows,
    make_run,
    measure_flow,
)
from ccdrl.agent.suite.transients import Figures, find_figures, has_transients, longest_rtt_s
from ccdrl.envs.scenario import Scenario

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
STEPS_PER_ROUND_TRIP = 2
STEP_MAX_S = 0.25


@dataclass(frozen=True)
class Measured:
    """What a run of the suite brings home."""

    run: results.Run
    figures: Figures


@dataclass(frozen=True)
class GoodputSeries:
    """Goodput of every connection over one run; goodput_mbps[step, flow] is the mean over the step."""

    scenario: str
    cc: str
    seed: int
    step_s: float
    flows: tuple[str, ...]
    goodput_mbps: Floats


def step_of(scenario: Scenario) -> float:
    """Return the step: half of the longest RTT, a multiple of the decision step, at most a quarter of a second."""
    grid_s = DECISION_STEP_NS / NS_PER_S
    wanted = min(STEP_MAX_S, longest_rtt_s(scenario) / STEPS_PER_ROUND_TRIP)
    return max(1, math.floor(wanted / grid_s + 1e-9)) * grid_s


class SampledDrive(Drive):
    """A drive that notes what each connection has received at every step, in order and in all."""

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self.step_s = step_of(spec.scenario)
        self.received: list[Counts] = []
        self._paths = [len(flow.paths) for _, flow in expand_flows(spec.scenario)]
        self._base: Counts = np.zeros((2, len(self._paths)), np.int64)

    def run(self, until_ns: int) -> None:
        """Advance the clock step by step."""
        while (next_ns := round((len(self.received) + 1) * self.step_s * NS_PER_S)) <= until_ns:
            super().run(next_ns)
            self.received.append(self.count())
        super().run(until_ns)

    def count(self) -> Counts:
        """Return payload bytes since the start: handed to the applications, and delivered by the subflows."""
        read = self.simulator
        counts = np.array(self._base)
        for index, paths in enumerate(self._paths):
            counts[0, index] += read.flow_stats(index).goodput_bytes
            counts[1, index] += sum(read.subflow_stats(index, path).delivered_bytes for path in range(paths))
        return counts

    def reset_stats(self) -> None:
        """Begin the statistics anew; the counts of `count` go on."""
        self._base = self.count()
        self.simulator.reset_stats()

    def rates_mbps(self) -> Floats:
        """Return goodput [0] and throughput [1] of each step and connection."""
        counts = np.array([np.zeros_like(self._base), *self.received], float)
        return np.asarray(np.moveaxis(np.diff(counts, axis=0), 1, 0) * 8 / self.step_s / 1e6)


def measure(spec: RunSpec) -> Measured:
    """Simulate one run of the suite. Raises InputError for bad input, SimulatorError where the simulator fails."""
    scenario = spec.scenario
    if not has_transients(scenario):
        return Measured(evaluate(spec), Figures())
    drive = SampledDrive(spec)
    begin = time.perf_counter()
    drive.run(round(scenario.warmup_s * NS_PER_S))
    drive.reset_stats()
    drive.run(round(scenario.duration_s * NS_PER_S))
    wall_s = time.perf_counter() - begin
    window_s = scenario.duration_s - scenario.warmup_s
    measured = [measure_flow(drive, index, window_s) for index, _ in enumerate(expand_flows(scenario))]
    links = [drive.simulator.link_stats(index) for index in range(len(scenario.links))]
    run = make_run(spec, wall_s, drive.simulator.packets, measured, links)
    if (safety := drive.count_safety()) is not None:
        run["guard"] = safety
    return Measured(run, find_figures(scenario, drive.step_s, drive.rates_mbps(), spec.traces))


def record_goodput(spec: RunSpec) -> GoodputSeries:
    """Simulate a run again for the report's series."""
    drive = SampledDrive(spec)
    drive.run(round(spec.scenario.duration_s * NS_PER_S))
    labels = tuple(label for label, _ in expand_flows(spec.scenario))
    return GoodputSeries(
        spec.scenario.name, spec.contender.label, spec.seed, drive.step_s, labels, drive.rates_mbps()[0]
    )
