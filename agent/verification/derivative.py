# SPDX-License-Identifier: BSD-2-Clause
"""Interval bounds of the mean action's derivative along a line of observations.

The line is x(t) = start + t direction in raw units. Bounds hold for the network in real arithmetic; what serves
computes it in float32, whose steps are below ROUNDING_RISE and can look like a rise of that size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdrl.agent.verification.network import Network
from ccdrl.agent.verification.relaxation import Floats
from ccdrl.models.artifact import Artifact

ROUNDING_RISE = 1e-4
"""A rise below this is not told from rounding; an action of 1e-4 moves a window by 0.007 %."""
_SLACK = 1e-12
"""Relative to the sums of magnitudes: a thousand times float64's rounding of any sum here."""


@dataclass(frozen=True, slots=True)
class Slopes:
    """Of N segments: bounds (N,) of the clipped action's derivative, and bounds of the action before its clip."""

    low: Floats
    high: Floats
    action_low: Floats
    action_high: Floats


def scale_line(artifact: Artifact, start: Floats, direction: Floats) -> tuple[Floats, Floats]:
    """Return start and direction (N, F) of raw lines in normalised units, before the normaliser's clip."""
    scale = artifact.normaliser.scale().astype(np.float64)
    return (start - artifact.normaliser.shift().astype(np.float64)) * scale, direction * scale


def bound_slopes(
    artifact: Artifact, network: Network, line: tuple[Floats, Floats], begin: Floats, end: Floats
) -> Slopes:
    """Bound the derivative on t in [begin, end] (N,) of N normalised lines (see `scale_line`).

    A column that reaches the normaliser's clip inside a segment has a derivative between nothing and its slope.
    """
    start, direction = line
    limit = artifact.normaliser.limit
    ends = np.stack([start + begin[:, None] * direction, start + end[:, None] * direction])
    is_inside = (np.abs(ends) <= limit).all(axis=0)
    is_outside = (ends > limit).all(axis=0) | (ends < -limit).all(axis=0)
    low = np.where(is_inside, direction, np.where(is_outside, 0.0, np.minimum(direction, 0.0)))
    high = np.where(is_inside, direction, np.where(is_outside, 0.0, np.maximum(direction, 0.0)))
    middle = np.clip(start + (0.5 * (begin + end))[:, None] * direction, -limit, limit)
    radius = (0.5 * (end - begin))[:, None]
    last = len(network.weights) - 1
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        positive, negative = np.maximum(weight, 0.0).T, np.minimum(weight, 0.0).T
        slack = _SLACK * (np.maximum(np.abs(low), np.abs(high)) @ np.abs(weight).T)
        low, high = low @ positive + high @ negative - slack, high @ positive + low @ negative + slack
        sums = middle @ weight.T + bias
        # Mean value theorem: from the middle, a sum moves by at most its slope times the way.
        reach = radius * np.maximum(np.abs(low), np.abs(high)) + _SLACK * (np.abs(sums) + np.abs(weight).sum(axis=1))
        if layer == last:
            break
        least, most = _bound_tanh_slope(sums - reach, sums + reach)
        low, high = np.minimum(low * least, low * most), np.maximum(high * least, high * most)
        middle = np.tanh(sums)
    action_low, action_high = (sums - reach)[:, 0], (sums + reach)[:, 0]
    slope_low, slope_high = low[:, 0], high[:, 0]
    is_flat = (action_low >= artifact.action_high) | (action_high <= artifact.action_low)
    may_clip = (action_high > artifact.action_high) | (action_low < artifact.action_low)
    return Slopes(
        np.where(is_flat, 0.0, np.where(may_clip, np.minimum(slope_low, 0.0), slope_low)),
        np.where(is_flat, 0.0, np.where(may_clip, np.maximum(slope_high, 0.0), slope_high)),
        action_low,
        action_high,
    )


def _bound_tanh_slope(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Return the bounds of 1 - tanh(x)^2 on [low, high]: largest where |x| is least."""
    nearest = np.where((low <= 0.0) & (high >= 0.0), 0.0, np.minimum(np.abs(low), np.abs(high)))
    farthest = np.maximum(np.abs(low), np.abs(high))
    least = np.maximum(1.0 - np.tanh(farthest) ** 2 - _SLACK, 0.0)
    most = np.minimum(1.0 - np.tanh(nearest) ** 2 + _SLACK, 1.0)
    return least, most
