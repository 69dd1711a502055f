# SPDX-License-Identifier: BSD-2-Clause
"""Networks whose answers are known."""

import numpy as np
import pytest

from ccdrl.agent.policy import Policy
from ccdrl.bindings.library import ABI_VERSION
from ccdrl.envs.action import ACTION_VERSION
from ccdrl.envs.observation import OBSERVATION_VERSION
from ccdrl.models.artifact import Artifact, weight_shapes
from ccdrl.models.normaliser import Normaliser

NAMES = ("srtt_ratio", "queue_min_8", "loss_now", "loss_long", "is_startup", "other")


def build_policy(layers, weights=None, *, names=NAMES, seed=0, gain=1.0, limit=10.0, clip=1.0, mean=None, std=None):
    """Return a policy over `names`; weights: list of (matrix, bias), random ones by default. clip bounds the action."""
    shapes = weight_shapes(len(names), layers)
    rng = np.random.default_rng(seed)
    arrays = {name: (gain * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
    for index, (matrix, bias) in enumerate(weights or ()):
        arrays[f"actor.{index}.weight"] = np.array(matrix, np.float32)
        arrays[f"actor.{index}.bias"] = np.array(bias, np.float32)
    mean = np.zeros(len(names)) if mean is None else np.array(mean, float)
    std = np.ones(len(names)) if std is None else np.array(std, float)
    return Policy(
        Artifact(
            observation_names=tuple(names),
            observation_version=OBSERVATION_VERSION,
            history=0,
            action_version=ACTION_VERSION,
            abi_version=ABI_VERSION,
            layers=tuple(layers),
            weights=arrays,
            normaliser=Normaliser(mean, std**2, 1, limit, 1e-12),
            action_low=-clip,
            action_high=clip,
        )
    )


@pytest.fixture(scope="session")
def make_policy():
    """See `build_policy`."""
    return build_policy


@pytest.fixture
def rng():
    return np.random.default_rng(7)
