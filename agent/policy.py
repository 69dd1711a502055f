# SPDX-License-Identifier: BSD-2-Clause
"""Inference without torch: a policy artifact applied to observation rows.

The matrix products are numpy's. What lies around them is C (bindings/decision/layers.py): on the few hundred rows of a
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
from ccdrl.bindings.decision.layers import Activation, Bounds, RowBuffer, RowNormaliser
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
        count = len(artifact.layers) + 1
        self._weights = [np.ascontiguousarray(artifact.weights[f"actor.{i}.weight"].T) for i in range(count)]
        biases = [artifact.weights[f"actor.{i}.bias"] for i in range(count)]
        self._layers: list[Activation | Bounds] = [Activation(bias) for bias in biases[:-1]]
        self._layers.append(Bounds(biases[-1], artifact.action_low, artifact.action_high))
        self._seen: NDArray[np.float32] | None = None
        self._grow(16)

    def _grow(self, capacity: int) -> None:
        """Allocate the buffers for batches of up to `capacity` rows."""
        self._capacity = capacity
        sizes = [self.observation_size, *(weight.shape[1] for weight in self._weights)]
        self._buffers = [RowBuffer(capacity, size) for size in sizes]
        self._show(0)

    def _show(self, n: int) -> None:
        """Make the views of batches of n rows."""
        self._n = n
        views = [buffer.array[:n] for buffer in self._buffers]
        self._steps = list(zip(views[:-1], self._weights, views[1:], self._layers, self._buffers[1:], strict=True))
        self._actions: NDArray[np.float32] = views[-1][:, 0]

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return actions float32 (N,) for observations float32 (N, F).

        The result is a view of a buffer that the next call overwrites. Raises ValueError for another shape.
        """
        if observations is not self._seen:  # a live loop mostly comes with the same array over the same memory
            self._seen = observations = self._take(observations)
        self._normaliser.apply(observations, self._buffers[0])
        for rows, weights, out, layer, buffer in self._steps:
            np.matmul(rows, weights, out=out)
            layer.apply(buffer, self._n)
        return self._actions

    def _take(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Check an array and make room for its rows; return it, or a copy that C can read."""
        if observations.ndim != 2 or observations.shape[1] != self.observation_size:
            raise ValueError(f"observations: shape (N, {self.observation_size}) expected, not {observations.shape}")
        n = len(observations)
        if n > self._capacity:
            self._grow(n)
        if n != self._n:
            self._show(n)
        return np.ascontiguousarray(observations, np.float32)


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
