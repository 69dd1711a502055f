# SPDX-License-Identifier: BSD-2-Clause
"""What a policy does with a queue and with losses: its action over both, everything else as it usually is.

The other columns of the observation stand at their medians over decisions recorded in a few scenarios of the suite.
Queueing delay enters every column that is a queue's, losses every column that is a loss ratio, the history included, as
if both had held for a while. An action of 1 doubles the window in a round trip, -1 halves it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccdrl.agent.contenders import Contender
from ccdrl.agent.controller import Policy
from ccdrl.agent.evaluation import NS_PER_S, Drive, RunSpec, cached_policy
from ccdrl.agent.suite.catalogue import Suite
from ccdrl.envs.observation import OBSERVATION_NAMES
from ccdrl.envs.observation_layout import HISTORY_LENGTH

Floats = NDArray[np.float64]

GROUPS = ("pair", "tcp", "together")
RUNS_MAX = 6
RUN_S = 15.0
QUEUE_RATIO_MAX = 4.0
"""The grid ends at an RTT of four times the propagation delay."""
LOSS_MAX = 0.1
POINTS = 49
QUEUES = ("srtt_ratio", "rtt_ratio", "queue_min_8", "queue_max_8", "queue_min_32", "queue_max_32", "queue_mean",
          "queue_best", "queue_weighted")  # fmt: skip
LOSSES = ("loss_now", "loss_short", "loss_long", "loss_mean")
RTT_HISTORY, LOSS_HISTORY = "rtt_ratio", "loss_now"


@dataclass(frozen=True)
class Phase:
    """A policy's action[loss, queue] over RTT ÷ propagation RTT and loss ratio; rows of the recorded observations."""

    cc: str
    rtt_ratio: Floats
    loss: Floats
    action: Floats
    recorded_rtt_ratio: Floats
    recorded_loss: Floats


def record_observations(spec: RunSpec, until_s: float) -> NDArray[np.float32]:
    """Run an agent and return the observations of all its decisions, float32 (n, columns)."""
    rows: list[NDArray[np.float32]] = []
    drive = Drive(spec, tap=lambda decision: rows.append(decision.observations.copy()))
    drive.run(round(until_s * NS_PER_S))
    return np.concatenate(rows) if rows else np.zeros((0, len(OBSERVATION_NAMES)), np.float32)


def columns_of(names: Sequence[str], history: str) -> list[int]:
    """Return the places of these columns, those that the layout has, and of one column's history."""
    wanted = {*names, *(f"{history}_{age}" for age in range(1, HISTORY_LENGTH + 1))}
    return [place for place, name in enumerate(OBSERVATION_NAMES) if name in wanted]


def make_grid(typical: NDArray[np.float32], rtt_ratio: Floats, loss: Floats) -> NDArray[np.float32]:
    """Return observations, float32 (loss × queue, columns), for every pair of the two."""
    rows = np.tile(typical, (len(loss) * len(rtt_ratio), 1))
    queue, lost = np.meshgrid(np.log2(rtt_ratio), np.sqrt(loss))
    for place in columns_of(QUEUES, RTT_HISTORY):
        rows[:, place] = queue.ravel()
    for place in columns_of(LOSSES, LOSS_HISTORY):
        rows[:, place] = lost.ravel()
    return rows


def plot_policy(policy: Policy, observations: NDArray[np.float32], cc: str) -> Phase:
    """Return a policy's phase plot around the medians of recorded observations."""
    rtt_ratio = np.linspace(1.0, QUEUE_RATIO_MAX, POINTS)
    loss = np.linspace(0.0, np.sqrt(LOSS_MAX), POINTS) ** 2
    grid = make_grid(np.median(observations, axis=0).astype(np.float32), rtt_ratio, loss)
    action = np.array(policy.act(grid), float).reshape(len(loss), len(rtt_ratio))
    srtt, losses = (OBSERVATION_NAMES.index(name) for name in ("srtt_ratio", "loss_long"))
    seen_rtt = 2.0 ** observations[:, srtt].astype(float)
    seen_loss = observations[:, losses].astype(float) ** 2
    return Phase(cc, rtt_ratio, loss, action, seen_rtt, seen_loss)


def find_phases(contenders: Sequence[Contender], suite: Suite, seed: int, traces: Path | None) -> list[Phase]:
    """Return the phase plot of every agent; recorded in the first scenarios of a few groups."""
    cases = [case for group in GROUPS for case in suite.group(group)[:2]][:RUNS_MAX] or list(suite.cases[:1])
    phases = []
    for contender in contenders:
        if contender.model is None:
            continue
        rows = []
        for case in cases:
            spec = RunSpec(case.scenario, contender, seed, contender.model, traces)
            rows.append(record_observations(spec, min(RUN_S, case.scenario.duration_s)))
        observations = np.concatenate(rows)
        if len(observations):
            phases.append(plot_policy(cached_policy(contender.model), observations, contender.label))
    return phases
