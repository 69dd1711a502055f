# SPDX-License-Identifier: BSD-2-Clause
"""Time series of one run for the report: window, RTT and throughput of each subflow, in equal steps of simulated time.

The simulator's statistics are read and reset at every step, so a point is a mean over its step.
Resetting statistics does not touch the simulation: the series belongs to the run with the same seed in the results.
"""

import math
from dataclasses import dataclass, field

from ccdrl.agent.evaluation import NS_PER_S, Drive, RunSpec, expand_flows, ids_under_test
from ccdrl.envs.scenario import Scenario

POINTS = 400
STEP_MIN_S, STEP_MAX_S = 0.1, 0.25


@dataclass(frozen=True)
class SubflowSeries:
    """One subflow; each list has one value for each step. rtt_ms is NaN where a step has no RTT sample."""

    label: str
    cwnd_kbytes: list[float] = field(default_factory=list)
    rtt_ms: list[float] = field(default_factory=list)
    throughput_mbps: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Series:
    """The series of one flow under test in one run; time_s holds the middle of each step."""

    scenario: str
    cc: str
    seed: int
    flow: str
    step_s: float
    time_s: list[float]
    subflows: list[SubflowSeries]


def step_of(scenario: Scenario) -> float:
    """Return the step in seconds: some hundred points, within 100 to 250 ms."""
    return min(STEP_MAX_S, max(STEP_MIN_S, scenario.duration_s / POINTS))


def record(spec: RunSpec) -> Series:
    """Simulate a run again and return its series. Raises what `evaluation.evaluate` raises."""
    scenario = spec.scenario
    tested = ids_under_test(scenario)
    labels = list(expand_flows(scenario))
    index = min(
        range(len(labels)),
        # The first flow under test that lasts; a finite one is over before there is much to see.
        key=lambda i: (labels[i][0] not in tested, labels[i][1].size_bytes is not None, i),
    )
    flow_id, flow = labels[index]
    drive = Drive(spec)
    step_s = step_of(scenario)
    subflows = [SubflowSeries(" + ".join(path)) for path in flow.paths]
    time_s: list[float] = []
    for step in range(math.floor(scenario.duration_s / step_s + 1e-9)):
        drive.run(round((step + 1) * step_s * NS_PER_S))
        time_s.append((step + 0.5) * step_s)
        for path, series in enumerate(subflows):
            stats = drive.simulator.subflow_stats(index, path)
            series.cwnd_kbytes.append(stats.cwnd_mean_bytes / 1e3)
            series.rtt_ms.append(stats.rtt_mean_ms)
            series.throughput_mbps.append(stats.delivered_bytes * 8 / step_s / 1e6)
        drive.simulator.reset_stats()
    return Series(scenario.name, spec.contender.label, spec.seed, flow_id, step_s, time_s, subflows)
