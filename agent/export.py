# SPDX-License-Identifier: BSD-2-Clause
"""From a training run to a policy artifact, with a preference between throughput, delay and harm.

    python -m ccdrl.agent.export RUN [--delay X] [--harm Y] --out DIR

A run whose settings reward.delay_preference and reward.harm_preference are above 0 trains one network for a whole range
of reward weights and tells it which ones hold. An artifact has one preference for good: X and Y are log2 of factors on
the run's weights of delay and harm, so 0 is the run's own reward and 1 twice the weight.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from ccdrl import __version__
from ccdrl.agent import checkpoint
from ccdrl.agent.command_line import EXIT_BAD_INPUT, EXIT_DONE, Parser, fail
from ccdrl.agent.config import TrainingConfig
from ccdrl.agent.ppo import name_network_arguments
from ccdrl.agent.settings import build
from ccdrl.bindings import library
from ccdrl.bindings.errors import InputError
from ccdrl.envs.action import ACTION_VERSION
from ccdrl.envs.observation import OBSERVATION_NAMES, OBSERVATION_VERSION
from ccdrl.envs.observation_layout import HISTORY_LENGTH
from ccdrl.envs.reward import PREFERENCE_NAMES, PREFERENCE_SIZE
from ccdrl.envs.scoring import PRIVILEGED_SIZE
from ccdrl.models.artifact import Artifact, save_artifact
from ccdrl.models.network import ActorCritic
from ccdrl.models.normaliser import RunningMoments

PROGRAM = "python -m ccdrl.agent.export"
LIBRARIES = ("numpy", "torch", "stable-baselines3", "gymnasium", "safetensors")


def find_provenance() -> dict[str, Any]:
    """Return code version, Python version and library versions."""
    return {
        "code_version": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
    }


def make_artifact(
    config: TrainingConfig,
    network: ActorCritic,
    moments: RunningMoments,
    preference: Sequence[float],
    history: Mapping[str, Any],
    results: Mapping[str, Any],
) -> Artifact:
    """Return the policy of a network whose actor sees the observation and then len(preference) constants.

    history: steps, wall_s and origin of the run.
    """
    columns = network.observation_size - len(preference)
    return Artifact(
        observation_names=tuple(OBSERVATION_NAMES),
        observation_version=str(OBSERVATION_VERSION),
        history=HISTORY_LENGTH,
        action_version=ACTION_VERSION,
        abi_version=library.ABI_VERSION,
        layers=config.actor_layers,
        weights=network.export_weights(preference),
        normaliser=moments.freeze(config.observation_limit).head(columns),
        training={
            "algorithm": "ppo",
            "config": config.flat(),
            "config_sha256": config.sha256(),
            "seed": config.seed,
            "preference": dict(zip(PREFERENCE_NAMES, preference, strict=False)),
            **history,
        },
        provenance=find_provenance(),
        results=dict(results),
    )


def read_artifact(run: Path, preference: Sequence[float]) -> Artifact:
    """Return the policy of a run's newest checkpoint (or of one checkpoint's folder). Raises InputError."""
    saved = checkpoint.read(checkpoint.find_newest(run, "RUN"))
    config: TrainingConfig = build(TrainingConfig, saved.document.get("config", {}), str(run))
    limits = (config.reward.delay_preference, config.reward.harm_preference)
    for name, value, limit in zip(PREFERENCE_NAMES, preference, limits, strict=True):
        if not abs(value) <= limit:
            raise InputError(f"{name}: {value:g}, this run was trained from {-limit:g} to {limit:g}")
    network = ActorCritic(**name_network_arguments(config, len(OBSERVATION_NAMES) + PREFERENCE_SIZE, PRIVILEGED_SIZE))
    moments = RunningMoments(len(OBSERVATION_NAMES) + PREFERENCE_SIZE + PRIVILEGED_SIZE)
    try:
        network.load_state_dict(
            {name: torch.from_numpy(saved.arrays[f"network.{name}"].copy()) for name in network.state_dict()}
        )
        moments.mean[:], moments.squares[:] = saved.arrays["moments.mean"], saved.arrays["moments.squares"]
        moments.count = saved.document["moments_count"]
        trainer = saved.document["trainer"]
        history = {"steps": saved.document["steps"], "wall_s": round(trainer["wall_s"], 1), "origin": trainer["origin"]}
    except (KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{run}: does not fit this program ({str(error).splitlines()[0]})") from None
    return make_artifact(config, network, moments, preference, history, {})


def make_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(prog=PROGRAM, description="Export a policy from a training run, with a preference.")
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of train.py, or one of its checkpoints")
    parser.add_argument("--delay", metavar="X", type=float, default=0.0, help="log2 of a factor on the delay weight")
    parser.add_argument("--harm", metavar="Y", type=float, default=0.0, help="log2 of a factor on the harm weight")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the artifact's folder")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the artifact and return the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        save_artifact(read_artifact(options.run, (options.delay, options.harm)), options.out)
    except InputError as error:
        return fail(PROGRAM, str(error), EXIT_BAD_INPUT)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
