# SPDX-License-Identifier: BSD-2-Clause
"""The training configuration: one frozen dataclass that is help text, file format, TensorBoard table and provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

from ccdrl.agent.imitation_config import ImitationConfig
from ccdrl.agent.settings import build, describe, flatten, parse_assignment, read_toml, setting
from ccdrl.bindings.errors import InputError
from ccdrl.bindings.library import SUBFLOWS_MAX
from ccdrl.envs.observation_layout import OBSERVATION_NAMES, find_columns
from ccdrl.envs.randomization import RandomizationConfig
from ccdrl.envs.reward import RewardConfig
from ccdrl.envs.trace_pieces import load_recorded

SHIPPED = ("default", "demo")


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a training run; a step is one decision of one subflow (a row of the vector env)."""

    seed: int = setting(1, "seed of weights, exploration and networks", 0, 2**31 - 1)
    total_steps: int = setting(40_000_000, "steps to train", 1, 1e12)
    simulators: int = setting(64, "simulators in the vector env (--envs)", 1, 65536)
    threads: int = setting(2, "threads that advance simulators", 1, 1024)
    torch_threads: int = setting(1, "threads of torch; part of the result, sums depend on it", 1, 1024)

    rollout_steps: int = setting(128, "steps of each row between two updates", 2, 65536)
    minibatch_rows: int = setting(8192, "rows in one gradient step", 2, 1e9)
    epochs: int = setting(4, "passes over a rollout", 1, 100)
    learning_rate: float = setting(1e-3, "Adam's step size at the start", 1e-8, 1.0)
    learning_rate_end: float = setting(1e-4, "Adam's step size at the end; linear in between", 0.0, 1.0)
    gamma: float = setting(0.99, "discount per step", 0.0, 1.0)
    gae_lambda: float = setting(0.95, "lambda of generalized advantage estimation", 0.0, 1.0)
    clip_range: float = setting(0.2, "PPO's clip of the probability ratio", 0.01, 10.0)
    entropy_coefficient: float = setting(0.0, "weight of the entropy bonus", 0.0, 1.0)
    value_coefficient: float = setting(0.5, "weight of the value loss", 0.0, 100.0)
    gradient_norm_max: float = setting(0.5, "clip of the gradient's norm", 1e-6, 1e6)
    target_kl: float = setting(0.03, "an update ends at 1.5 times this KL divergence; 0: never", 0.0, 100.0)

    actor_layers: tuple[int, ...] = setting((64, 64), "sizes of the actor's hidden layers", 1, 4096)
    critic_layers: tuple[int, ...] = setting((64, 64), "sizes of the critic's hidden layers", 1, 4096)
    log_std: float = setting(-0.5, "logarithm of the exploration noise at the start", -5.0, 1.0)
    log_std_min: float = setting(-5.0, "its lower bound: exploration never ends", -5.0, 1.0)
    hidden_columns: tuple[str, ...] = setting((), "observation columns that the actor never sees, as names or patterns")
    has_normaliser: bool = setting(True, "standardise observation columns with running statistics")
    observation_limit: float = setting(10.0, "clip of standardised observations", 0.1, 1e6)
    has_reward_scaling: bool = setting(True, "divide rewards by the running deviation of the return")

    checkpoint_steps: int = setting(2_000_000, "steps between checkpoints", 1, 1e12)
    checkpoints_kept: int = setting(3, "newest checkpoints kept", 1, 1000)
    validation_steps: int = setting(4_000_000, "steps between comparisons with the baselines; 0: never", 0, 1e12)
    validation_scenarios: tuple[str, ...] = setting((), "its scenarios, names or files; empty: no comparison")
    validation_controllers: tuple[str, ...] = setting(("lia", "olia"), "the baselines")
    validation_seeds: tuple[int, ...] = setting((1,), "seeds of that comparison", 0, 2**31 - 1)
    validation_delay_weight: float = setting(0.5, "score: log2 of goodput minus this times log2 of p95 RTT", 0.0, 100.0)

    env: RandomizationConfig = field(default_factory=RandomizationConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    imitation: ImitationConfig = field(default_factory=ImitationConfig)

    def __post_init__(self) -> None:
        """Refuse combinations that no single range excludes (InputError)."""
        if self.learning_rate_end > self.learning_rate:
            raise InputError("learning_rate_end: must not exceed learning_rate")
        if self.log_std_min > self.log_std:
            raise InputError("log_std_min: must not exceed log_std")
        if not self.actor_layers or not self.critic_layers or len(self.actor_layers) > 8 or len(self.critic_layers) > 8:
            raise InputError("actor_layers, critic_layers: 1 to 8 sizes expected")
        find_hidden_columns(self.hidden_columns)
        check_parts(self)

    def flat(self) -> dict[str, Any]:
        """Return {dotted key: value}, JSON types only."""
        return flatten(self)

    def sha256(self) -> str:
        """Return the hash that artifacts carry: SHA-256 of the sorted flat JSON."""
        return sha256(json.dumps(self.flat(), sort_keys=True).encode()).hexdigest()


def find_hidden_columns(patterns: Sequence[str]) -> list[int]:
    """Return the indices of the observation columns that match a shell pattern; or InputError where one fits none."""
    for pattern in patterns:
        if not find_columns(OBSERVATION_NAMES, [pattern]):
            raise InputError(f"hidden_columns: no column of the observation is called {pattern}")
    return find_columns(OBSERVATION_NAMES, patterns)


def check_parts(config: TrainingConfig) -> None:
    """Raise InputError for numbers of env.* and reward.* that no network can be drawn with."""
    for key, value in config.flat().items():
        if not key.startswith(("env.", "reward.")) or isinstance(value, bool | str):
            continue
        if key == "env.trace_files":
            check_traces(value)
            continue
        numbers = value if isinstance(value, list) else [value]
        if key == "env.slot_rows":
            if not numbers or not all(1 <= number <= SUBFLOWS_MAX for number in numbers):
                raise InputError(f"{key}: a list of numbers from 1 to {SUBFLOWS_MAX} expected, not {value}")
        elif any(number < 0 for number in numbers) or numbers != sorted(numbers):
            raise InputError(f"{key}: not negative, and a range with its lower end first, expected, not {value}")
        elif key.endswith("_probability") and value > 1:
            raise InputError(f"{key}: a probability from 0 to 1 expected, not {value}")


def check_traces(files: Sequence[str]) -> None:
    """Raise InputError for a file that is no trace: found out now, and not in the middle of a training."""
    for file in files:
        try:
            load_recorded(file)
        except InputError as error:
            raise InputError(f"env.trace_files: {error}") from None


def load_config(
    file: str | None = None, assignments: Sequence[str] = (), overrides: Mapping[str, Any] | None = None
) -> TrainingConfig:
    """Return the configuration: defaults, then a file or shipped name, then `key=value` texts, then `overrides`.

    Raises InputError, one line, for unknown keys, wrong types and values out of range.
    """
    values: dict[str, Any] = {}
    if file is not None:
        # What a file says is checked alone first, so that the message names the file.
        values = read_config(file)
        build(TrainingConfig, values, str(file))
    values |= dict(parse_assignment(text) for text in assignments)
    values |= {key: value for key, value in (overrides or {}).items() if value is not None}
    config: TrainingConfig = build(TrainingConfig, values, "--set" if assignments else "configuration")
    return config


def read_config(file: str) -> dict[str, Any]:
    """Return {dotted key: value} of a TOML file or of a shipped configuration's name."""
    path = Path(file)
    if path.exists() or file not in SHIPPED:
        if not path.exists():
            raise InputError(f"{file}: no such configuration; a TOML file or one of {', '.join(SHIPPED)} expected")
        return read_toml(path)
    with resources.as_file(resources.files("ccdrl.agent") / "configs" / f"{file}.toml") as shipped:
        return read_toml(shipped)


def describe_config() -> str:
    """Return the help text of every setting."""
    return describe(TrainingConfig)
