# SPDX-License-Identifier: BSD-2-Clause
"""Bounds of the mean action over the whole observation box, and how near to them actions can be found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdrl.agent.policy import Policy
from ccdrl.agent.verification.bounds import bound_output
from ccdrl.agent.verification.network import Network, normalise
from ccdrl.agent.verification.relaxation import Floats
from ccdrl.envs.observation_layout import OBSERVATION_LIMIT

STARTS, STEPS = 32, 80


@dataclass(frozen=True)
class Extremes:
    """Of the mean action before its clip: proven bounds, and the lowest and highest that a search met (float64)."""

    bound_low: float
    bound_high: float
    found_low: float
    found_high: float


def bound_whole_box(policy: Policy, network: Network, seed: int) -> Extremes:
    """Bound the mean action on [-OBSERVATION_LIMIT, OBSERVATION_LIMIT]^F, which holds every observation there is."""
    artifact = policy.artifact
    corner = np.full((1, len(artifact.observation_names)), OBSERVATION_LIMIT)
    low, high = normalise(artifact, -corner), normalise(artifact, corner)
    bounds = bound_output(network, low, high)
    found = [sign * float(climb(network, low, high, sign, seed).max()) for sign in (-1.0, 1.0)]
    return Extremes(float(bounds.low[0]), float(bounds.high[0]), *found)


def climb(network: Network, low: Floats, high: Floats, sign: float, seed: int) -> Floats:
    """Return `sign` times the outputs (STARTS,) that projected gradient steps reach from random points of a box."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(low, high, (STARTS, low.shape[1]))
    best = np.full(STARTS, -np.inf)
    for step in range(STEPS + 1):
        layers = [points]
        for weight, bias in zip(network.weights[:-1], network.biases[:-1], strict=True):
            layers.append(np.tanh(layers[-1] @ weight.T + bias))
        output = sign * (layers[-1] @ network.weights[-1][0] + network.biases[-1][0])
        best = np.maximum(best, output)
        gradient = np.broadcast_to(sign * network.weights[-1][0], layers[-1].shape)
        for weight, hidden in zip(network.weights[-2::-1], layers[:0:-1], strict=True):
            gradient = ((1.0 - hidden**2) * gradient) @ weight
        points = np.clip(points + 0.5 * (1.0 - step / STEPS) * (high - low) * np.sign(gradient), low, high)
    return best
