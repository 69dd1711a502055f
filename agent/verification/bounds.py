# SPDX-License-Identifier: BSD-2-Clause
"""Sound bounds of a network's output over boxes: linear relaxation carried backwards (CROWN, Zhang et al. 2018).

For every box two affine functions of the normalised observation lie below and above what the policy computes. The
bounds of hidden sums come from the same relaxation, and are never wider than those of interval propagation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdrl.agent.verification.network import Network, bound_tanh, propagate_intervals
from ccdrl.agent.verification.relaxation import Floats, Lines, relax_tanh


@dataclass(frozen=True, slots=True)
class OutputBounds:
    """Of N boxes: low and high (N,) of the mean action before its clip.

    The slopes (N, F) are the coefficients of the two affine functions that gave them: they tell what to split.
    """

    low: Floats
    high: Floats
    low_slope: Floats
    high_slope: Floats


def bound_output(network: Network, low: Floats, high: Floats) -> OutputBounds:
    """Bound the output on normalised boxes [low, high], (N, F) each."""
    by_intervals = propagate_intervals(network, low, high)
    lines: list[Lines] = []
    magnitudes = [np.maximum(np.abs(low), np.abs(high))]
    last = len(network.weights) - 1
    for layer, interval in enumerate(by_intervals):
        if layer == 0:
            sums_low, sums_high = interval
        else:
            above, _ = _bound_backwards(network, lines, magnitudes, layer, low, high)
            below, _ = _bound_backwards(network, lines, magnitudes, layer, low, high, sign=-1.0)
            sums_low, sums_high = np.maximum(interval[0], -below), np.minimum(interval[1], above)
        if layer == last:
            break
        lines.append(relax_tanh(sums_low, sums_high))
        bottom, top = bound_tanh(sums_low, sums_high)
        magnitudes.append(np.maximum(np.abs(bottom), np.abs(top)))
    if last == 0:
        slope = np.broadcast_to(network.weights[0][0], low.shape)
        return OutputBounds(sums_low[:, 0], sums_high[:, 0], slope, slope)
    _, high_slope = _bound_backwards(network, lines, magnitudes, last, low, high)
    _, low_slope = _bound_backwards(network, lines, magnitudes, last, low, high, sign=-1.0)
    return OutputBounds(sums_low[:, 0], sums_high[:, 0], -low_slope[:, 0], high_slope[:, 0])


def _bound_backwards(
    network: Network,
    lines: list[Lines],
    magnitudes: list[Floats],
    layer: int,
    low: Floats,
    high: Floats,
    sign: float = 1.0,
) -> tuple[Floats, Floats]:
    """Return upper bounds (N, out) of `sign` times a layer's sums, and their coefficients (N, out, F)."""
    count, weight = len(low), sign * network.weights[layer]
    slope = np.broadcast_to(weight, (count, *weight.shape))
    constant = sign * network.biases[layer] + network.product_error(layer, magnitudes[layer])
    for index in range(layer - 1, -1, -1):
        line = lines[index]
        positive, negative = np.maximum(slope, 0.0), np.minimum(slope, 0.0)
        constant = constant + _apply(positive, line.high_offset)
        constant = constant + _apply(negative, line.low_offset)
        slope = positive * line.high_slope[:, None] + negative * line.low_slope[:, None]
        constant = constant + slope @ network.biases[index]
        error = network.product_error(index, magnitudes[index])
        constant = constant + _apply(np.abs(slope), error)
        slope = slope @ network.weights[index]
    centre, radius = 0.5 * (low + high), 0.5 * (high - low)
    reach = _apply(slope, centre) + _apply(np.abs(slope), radius)
    return reach + constant, slope


def _apply(matrices: Floats, vectors: Floats) -> Floats:
    """Return the product of each (out, in) matrix with its vector: (N, out)."""
    return np.asarray((matrices @ vectors[:, :, None])[:, :, 0])
