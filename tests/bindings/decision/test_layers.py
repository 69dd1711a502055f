# SPDX-License-Identifier: BSD-2-Clause
"""The parts of inference that are C, against numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdrl.bindings.decision.layers import Activation, RowNormaliser
from ccdrl.bindings.errors import InputError

TANH_TOLERANCE = 4e-7
"""Absolute: the fit's 2e-8 and the rounding of about ten operations in single precision."""


def activate(rows, bias):
    rows = rows.copy()
    Activation(bias).apply(rows)
    return rows


def test_tanh_over_the_whole_range():
    rows = np.linspace(-20, 20, 1_000_000, dtype=np.float32).reshape(-1, 50)
    result, exact = activate(rows, np.zeros(50, np.float32)), np.tanh(rows.astype(np.float64))
    assert np.abs(result - exact).max() <= TANH_TOLERANCE
    small = np.abs(rows) > 1e-30  # relative to the value as well, so that small activations keep their bits
    assert (np.abs(result - exact)[small] <= TANH_TOLERANCE * np.abs(exact[small])).all()


def test_tanh_of_what_is_not_finite():
    rows = np.array([[np.nan, np.inf, -np.inf, 3e38, -0.0]], np.float32)
    result = activate(rows, np.zeros(5, np.float32))[0]
    assert np.isnan(result[0])
    assert result[1:4] == pytest.approx([1, -1, 1], abs=TANH_TOLERANCE)
    assert result[4] == 0.0


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 9), width=st.integers(1, 70), seed=st.integers(0, 2**32 - 1))
def test_any_shape(n, width, seed):
    rng = np.random.default_rng(seed)
    rows, shift, scale, bias = (rng.normal(0, 3, size).astype(np.float32) for size in ((n, width), *[width] * 3))
    out = np.empty_like(rows)
    RowNormaliser(shift, scale, 2.0).apply(rows, out)
    assert out.tobytes() == np.clip((rows - shift) * scale, np.float32(-2), np.float32(2)).tobytes()
    assert activate(rows, bias) == pytest.approx(np.tanh((rows + bias).astype(np.float64)), abs=TANH_TOLERANCE)


def test_rows_of_another_shape_are_refused():
    ones = np.ones(4, np.float32)
    for rows in (np.ones((2, 3), np.float32), np.ones((2, 4)), np.ones((2, 8), np.float32)[:, ::2], ones):
        with pytest.raises(InputError, match="rows: expected contiguous float32 rows of 4 columns"):
            Activation(ones).apply(rows)
    with pytest.raises(InputError, match="out: expected 2 rows, got 3"):
        RowNormaliser(ones, ones, 1.0).apply(np.ones((2, 4), np.float32), np.ones((3, 4), np.float32))
