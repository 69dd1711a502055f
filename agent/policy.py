# SPDX-License-Identifier: BSD-2-Clause
"""Inference without torch: a policy artifact applied to observation rows.

The matrix products are numpy's. What lies between them is C (bindings/decision/layers.py): on the few hundred rows of a
live agent it cost more than the products, most of it in the hyperbolic tangent.

    policy = load_policy("models/pretrained/first")
    actions = policy.act(observations)            # float32 (N, F) -> float32 (N,)

Equal to the torch network within 1e-6 (tests/models/test_network.py).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings import library
from ccdrl.bindings.decision.layers import Activation, RowNormaliser
from ccdrl.bindings.errors import InputError
from ccdrl.envs.action import ACTION_VERSION
from ccdrl.envs.observation import OBSERVATION_NAMES, OBSERVATION_VERSION
from ccdrl.models.artifact import Artifact, load_artifact
from ccdrl.models.fields import ArtifactError


class Policy:
    """The deterministic policy of an artifact: the mean action, clipped to the action bounds.

    Buffers are kept between calls and grow with the largest batch, so a step allocates nothing. Not thread-safe: one
    Policy per thread.
    """

    def __init__(self, artifact: Artifact) -> None:
        """Copy the artifact's weights into the order that inference wants."""
        self.artifact = artifact
        self.observation_size = len(artifact.observation_names)
        normaliser = artifact.normaliser
        self._normaliser = RowNormaliser(normaliser.shift(), normaliser.scale(), normaliser.limit)
        self._low, self._high = np.float32(artifact.action_low), np.float32(artifact.action_high)
        count = len(artifact.layers) + 1
        self._weights = [np.ascontiguousarray(artifact.weights[f"actor.{i}.weight"].T) for i in range(count)]
        self._activations = [Activation(artifact.weights[f"actor.{i}.bias"]) for i in range(count - 1)]
        self._bias = artifact.weights[f"actor.{count - 1}.bias"]
        self._grow(16)

    def _grow(self, capacity: int) -> None:
        """Allocate the buffers for batches of up to `capacity` rows."""
        self._capacity = capacity
        sizes = [self.observation_size, *(weight.shape[1] for weight in self._weights)]
        self._buffers = [np.empty((capacity, size), np.float32) for size in sizes]

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return actions float32 (N,) for observations float32 (N, F).

        The result is a view of a buffer that the next call overwrites. Raises ValueError for another shape.
        """
        if observations.ndim != 2 or observations.shape[1] != self.observation_size:
            raise ValueError(f"observations: shape (N, {self.observation_size}) expected, not {observations.shape}")
        rows = observations.shape[0]
        if rows > self._capacity:
            self._grow(rows)
        current = self._buffers[0][:rows]
        self._normaliser.apply(np.ascontiguousarray(observations, np.float32), current)
        for i, activation in enumerate(self._activations):
            current = np.matmul(current, self._weights[i], out=self._buffers[i + 1][:rows])
            activation.apply(current)
        current = np.matmul(current, self._weights[-1], out=self._buffers[-1][:rows])
        np.add(current, self._bias, out=current)
        actions: NDArray[np.float32] = current[:, 0]
        # Not np.clip, which costs as much as both of these on a hundred rows.
        return np.minimum(np.maximum(actions, self._low, out=actions), self._high, out=actions)


def load_policy(path: str | Path) -> Policy:
    """Return the policy at `path` (folder or .safetensors file).

    Raises InputError if it is damaged, or made for another observation layout or kernel interface than this program's.
    """
    try:
        artifact = load_artifact(
            path,
            observation_names=OBSERVATION_NAMES,
            observation_version=OBSERVATION_VERSION,
            action_version=ACTION_VERSION,
            abi_version=library.ABI_VERSION,
        )
    except ArtifactError as error:
        raise InputError(str(error)) from None
    return Policy(artifact)
