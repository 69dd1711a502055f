# SPDX-License-Identifier: BSD-2-Clause
"""States that the policy meets: observations of its own decisions in scenarios and in networks drawn for training."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ccdrl.agent.contenders import AGENT, Contender
from ccdrl.agent.daemon.recording import read_recording
from ccdrl.agent.evaluation import NS_PER_S, Drive, RunSpec
from ccdrl.agent.policy import Policy
from ccdrl.agent.verification.families import Rows
from ccdrl.bindings.errors import InputError
from ccdrl.envs.observation_layout import OBSERVATION_LIMIT
from ccdrl.envs.scenario import load_scenario
from ccdrl.envs.vector import VectorEnv
from ccdrl.models.artifact import Artifact

SCENARIOS = (
    "wifi-3g", "single-path", "buffer-4bdp", "random-loss-1", "shared-bottleneck-cubic", "idle-pair-unequal",
    "lte-lte-generated", "failover", "aqm-codel-ecn", "high-loss",
)  # fmt: skip
DURATION_S = 12.0
N_SIMULATORS, N_STEPS = 12, 60
PER_SOURCE = 400
"""States kept of one scenario, and of the drawn networks for each simulator's share."""


def record_states(model: Path, policy: Policy, seed: int, scenarios: Iterable[str] = SCENARIOS) -> Rows:
    """Return states float32 (N, F): equal bytes for an equal policy, seed and version.

    Decisions of the first DURATION_S seconds of each scenario, thinned evenly to PER_SOURCE, then of drawn networks.
    """
    parts = [record_scenario(model, name, seed) for name in scenarios]
    parts.append(record_networks(policy, seed))
    return np.concatenate([thin(part, PER_SOURCE) for part in parts[:-1]] + [thin(parts[-1], 4 * PER_SOURCE)])


def record_scenario(model: Path, name: str, seed: int) -> Rows:
    """Return the observations of all decisions in a scenario."""
    scenario = load_scenario(name)
    seen: list[Rows] = []
    drive = Drive(
        RunSpec(scenario, Contender(AGENT, model), seed, model),
        tap=lambda decision: seen.append(decision.observations.copy()),
    )
    drive.run(round(min(DURATION_S, scenario.duration_s) * NS_PER_S))
    drive.simulator.close()
    return np.concatenate(seen)


def record_networks(policy: Policy, seed: int) -> Rows:
    """Return the observations of networks that are drawn as for training (envs/randomization.py)."""
    env = VectorEnv(N_SIMULATORS, seed)
    try:
        rows, seen = env.reset(), []
        for _ in range(N_STEPS):
            own = np.ascontiguousarray(rows[:, : policy.observation_size])
            seen.append(own[own.any(axis=1)])
            rows = env.step(policy.act(own))[0]
    finally:
        env.close()
    return np.concatenate(seen)


def thin(rows: Rows, count: int) -> Rows:
    """Return at most `count` rows, evenly spread over the time in which they were seen."""
    if len(rows) <= count:
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, count).astype(int)])


def read_states(path: Path, artifact: Artifact) -> Rows:
    """Return the states in a file: a recording of serve.py, or an array (N, F) in numpy's .npy format.

    Raises InputError for anything else, for another layout, and for numbers outside the observation's box.
    """
    names = artifact.observation_names
    accepted = f"a recording of serve.py, or a .npy array of float32 (N, {len(names)})"
    if path.suffix == ".npy":
        try:
            rows = np.load(path, allow_pickle=False)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or 'not a .npy file'}, accepted: {accepted}") from error
        except (ValueError, EOFError) as error:
            raise InputError(f"{path}: not readable, accepted: {accepted}") from error
    else:
        recording = read_recording(path)
        if any(session.observation_version != artifact.observation_version for session in recording.sessions):
            raise InputError(f"{path}: recorded with another observation layout, accepted: {accepted}")
        parts = [decision.observations for decision in recording.decisions]
        rows = np.concatenate(parts) if parts else np.empty((0, len(names)), np.float32)
    if not isinstance(rows, np.ndarray) or rows.dtype.kind != "f" or rows.ndim != 2 or rows.shape[1] != len(names):
        raise InputError(f"{path}: wrong shape or type, accepted: {accepted}")
    if len(rows) == 0 or not (np.abs(rows) <= OBSERVATION_LIMIT).all():
        raise InputError(f"{path}: no rows, or numbers beyond +-{OBSERVATION_LIMIT:g}, accepted: {accepted}")
    return rows.astype(np.float32)
