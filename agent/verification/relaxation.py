# SPDX-License-Identifier: BSD-2-Clause
"""Straight lines below and above tanh on an interval.

For any slope k in [0, 1], tanh(x) - k x is largest on [l, u] at l, at u, or where 1 - tanh(x)^2, the derivative, is k:
so the slope may come from a heuristic and the intercept is still exact. The slopes are those of Zhang et al.,
"Efficient Neural Network Robustness Certification with General Activation Functions" (NeurIPS 2018, CROWN).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TANH_ERROR = 5e-7
"""How far the tanh of numpy may lie from the true one, float32 or float64: 8 units in the last place of a float32 below
one, twice the 4 that numpy allows its vector code. Thus also above every rounding error of this module in float64."""
SLOPE_STEPS = 12
"""Bisections for a tangent point; the intercept does not depend on how exact it is."""


@dataclass(frozen=True, slots=True)
class Lines:
    """low_slope x + low_offset <= tanh(x) <= high_slope x + high_offset on the interval, arrays of one shape."""

    low_slope: Floats
    low_offset: Floats
    high_slope: Floats
    high_offset: Floats


def choose_upper_slope(low: Floats, high: Floats) -> Floats:
    """Return a slope in [0, 1] for a line above tanh on [low, high].

    Concave part (low >= 0): the tangent in the middle. Convex part: the chord. Else the tangent at the point d >= 0
    that goes through (low, tanh low), or the chord where d would lie beyond `high`.
    """
    tanh_low = np.tanh(low)
    width = high - low
    chord = np.divide(np.tanh(high) - tanh_low, width, out=1.0 - tanh_low**2, where=width > 1e-9)
    slope = np.where(low >= 0.0, 1.0 - np.tanh(0.5 * (low + high)) ** 2, chord)
    mixed = np.flatnonzero((low < 0.0) & (high > 0.0))
    if mixed.size:
        start, value = low.ravel()[mixed], tanh_low.ravel()[mixed]
        left, right = np.zeros(mixed.size), high.ravel()[mixed].copy()
        for _ in range(SLOPE_STEPS):
            middle = 0.5 * (left + right)
            tanh_middle = np.tanh(middle)
            # A tangent that passes above (start, value) touches too far left.
            is_short = tanh_middle - (1.0 - tanh_middle**2) * (middle - start) < value
            left, right = np.where(is_short, middle, left), np.where(is_short, right, middle)
        tangent = 1.0 - np.tanh(right) ** 2
        slope.ravel()[mixed] = np.maximum(tangent, chord.ravel()[mixed])
    return np.clip(slope, 0.0, 1.0)


def find_upper_offset(low: Floats, high: Floats, slope: Floats) -> Floats:
    """Return c with tanh(x) <= slope x + c on [low, high], for slopes in [0, 1]."""
    at_ends = np.maximum(np.tanh(low) - slope * low, np.tanh(high) - slope * high)
    peak = np.sqrt(1.0 - slope)
    # A slope of zero has its peak at infinity; the clip lowers neither side by more than TANH_ERROR.
    place = np.arctanh(np.minimum(peak, 1.0 - 1e-12))
    is_inside = (place > low) & (place < high)
    return np.where(is_inside, np.maximum(at_ends, peak - slope * place), at_ends) + TANH_ERROR


def relax_tanh(low: Floats, high: Floats) -> Lines:
    """Return lines around tanh on [low, high]; arrays of one shape, low <= high. tanh is odd: below is minus above."""
    high_slope = choose_upper_slope(low, high)
    low_slope = choose_upper_slope(-high, -low)
    return Lines(
        low_slope,
        -find_upper_offset(-high, -low, low_slope),
        high_slope,
        find_upper_offset(low, high, high_slope),
    )
