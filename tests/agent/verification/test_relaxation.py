# SPDX-License-Identifier: BSD-2-Clause
import numpy as np

from ccdrl.agent.verification.relaxation import TANH_ERROR, find_upper_offset, relax_tanh


def test_lines_enclose_tanh(rng):
    centre = rng.normal(0, 3, 4000)
    radius = 10.0 ** rng.uniform(-9, 1.5, 4000)
    low, high = centre - radius, centre + radius
    lines = relax_tanh(low, high)
    for share in np.linspace(0, 1, 201):
        x = np.clip(low + share * (high - low), low, high)
        assert (lines.low_slope * x + lines.low_offset <= np.tanh(x)).all()
        assert (lines.high_slope * x + lines.high_offset >= np.tanh(x)).all()


def test_any_slope_gets_a_tight_and_sound_offset(rng):
    low = rng.normal(0, 2, 300)
    high = low + rng.exponential(2, 300)
    for slope in (np.zeros(300), np.ones(300), rng.uniform(0, 1, 300)):
        offset = find_upper_offset(low, high, slope)
        x = np.linspace(low, high, 4001)
        gap = offset - (np.tanh(x) - slope * x).max(axis=0)
        assert (gap >= 0).all()
        # The grid misses a maximum by at most curvature (0.77) / 2 times the square of half its step.
        assert (gap <= 2 * TANH_ERROR + 0.4 * ((high - low) / 8000) ** 2).all()


def test_a_tangent_through_the_end_is_found():
    """Across zero the best line above goes through (low, tanh low) and touches the concave part."""
    low, high = np.linspace(-2, -0.1, 30), np.full(30, 6.0)
    lines = relax_tanh(low, high)
    x = np.linspace(low, high, 20_001)
    gap = lines.high_slope * x + lines.high_offset - np.tanh(x)
    # Twelve bisections of [0, 6] find the point to 1.5e-3.
    assert gap[0].max() < 5e-3
    assert gap[1000:].min(axis=0).max() < 5e-3


def test_narrow_intervals_have_narrow_lines(rng):
    low = rng.normal(0, 1, 500)
    lines = relax_tanh(low, low + 1e-3)
    gap = (lines.high_slope - lines.low_slope) * low + lines.high_offset - lines.low_offset
    # Between tangent and chord of a curve with |curvature| <= 0.77 on a width of 1e-3, and the margin on both sides.
    assert (gap <= 0.77 * 1e-6 + 4 * TANH_ERROR).all()


def test_computed_tanh_is_within_the_margin(rng):
    x = np.concatenate([rng.normal(0, 3, 2_000_000), np.linspace(-12, 12, 2_000_001)]).astype(np.float32)
    assert np.abs(np.tanh(x).astype(np.float64) - np.tanh(x.astype(np.float64))).max() < TANH_ERROR
