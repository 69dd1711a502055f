# SPDX-License-Identifier: BSD-2-Clause
"""A policy's network as its verifier sees it: exact weights, the normaliser's own arithmetic, and a bound on rounding.

What is verified is the function that `Policy.act` computes in float32, not an ideal one. Each matrix product of n terms
is off by at most (n + 2) u sum |w| |h|, u = 2^-24, in whatever order it is summed and with or without fused operations
(Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1); tanh by at most TANH_ERROR. The verifier's own
arithmetic is float64; its rounding errors are below 2^-20 of the same sums, so the slack that is added for float32,
for some more terms than there are, covers both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccdrl.agent.verification.relaxation import TANH_ERROR, Floats
from ccdrl.bindings.errors import InputError
from ccdrl.models.artifact import Artifact

FLOAT32_ROUNDING = 2.0**-24
OVERFLOW = 1e30
SPARE_TERMS = 8
"""Of the rounding bound: two for the bias, three for the normaliser, the others for the verifier's own sums."""


@dataclass(frozen=True)
class Network:
    """Layers in float64: `weights[i]` (out, in) and `biases[i]` (out,), tanh between them, one output."""

    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]

    def product_error(self, layer: int, magnitude: Floats) -> Floats:
        """Return how far a layer's float32 sums may be off, (N, out), for |inputs| up to `magnitude` (N, in)."""
        weight = np.abs(self.weights[layer])
        terms = weight.shape[1] + SPARE_TERMS
        sums = magnitude @ weight.T + np.abs(self.biases[layer])
        return np.asarray(terms * FLOAT32_ROUNDING * 1.001 * sums)


def make_network(artifact: Artifact) -> Network:
    """Return the network of an artifact. Raises InputError where float32 may overflow, as nothing is bounded then."""
    count = len(artifact.layers) + 1
    weights = tuple(artifact.weights[f"actor.{i}.weight"].astype(np.float64) for i in range(count))
    biases = tuple(artifact.weights[f"actor.{i}.bias"].astype(np.float64) for i in range(count))
    size = artifact.normaliser.limit
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if (np.abs(weight).sum(axis=1) * size + np.abs(bias)).max() > OVERFLOW:
            raise InputError(f"model: layer {index} may overflow float32, accepted: sums of weights below {OVERFLOW:g}")
        size = 1.0 + TANH_ERROR
    moments = artifact.normaliser.shift(), artifact.normaliser.scale()
    if any(np.abs(moment).max() > OVERFLOW for moment in moments):
        raise InputError(f"model: the normaliser may overflow float32, accepted: numbers below {OVERFLOW:g}")
    return Network(weights, biases)


def normalise(artifact: Artifact, rows: NDArray[np.floating]) -> Floats:
    """Return normalised, clipped rows (N, F): float64 copies of the float32 numbers that inference sees.

    Every operation is monotone in float32 too, so the images of a box's corners bound the image of the box.
    """
    normaliser = artifact.normaliser
    limit = np.float32(normaliser.limit)
    scaled = (rows.astype(np.float32) - normaliser.shift()) * normaliser.scale()
    return np.asarray(np.clip(scaled, -limit, limit), np.float64)


def propagate_intervals(network: Network, low: Floats, high: Floats) -> list[tuple[Floats, Floats]]:
    """Return the bounds of each layer's sums, (N, out) pairs, for normalised boxes (N, F); the last is the output's."""
    bounds = []
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        centre, radius = 0.5 * (low + high), 0.5 * (high - low)
        middle = centre @ weight.T + bias
        reach = radius @ np.abs(weight).T
        reach = reach + network.product_error(layer, np.maximum(np.abs(low), np.abs(high)))
        bounds.append((middle - reach, middle + reach))
        low, high = bound_tanh(*bounds[-1])
    return bounds


def bound_tanh(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Return the bounds of a computed tanh on [low, high]."""
    return np.tanh(low) - TANH_ERROR, np.tanh(high) + TANH_ERROR
