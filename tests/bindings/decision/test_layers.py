# SPDX-License-Identifier: BSD-2-Clause
"""The parts of inference that are C, against numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdrl.bindings.decision.layers import Activation, Bounds, RowBuffer, RowNormaliser
from ccdrl.bindings.errors import InputError

TANH_TOLERANCE = 4e-7
"""Absolute: the fit's 2e-8 and the rounding of about ten operations in single precision."""


def make_buffer(rows):
    buffer = RowBuffer(*rows.shape)
    buffer.array[:] = rows
    return buffer


def activate(rows, bias):
    buffer = make_buffer(rows)
    Activation(bias).apply(buffer, len(rows))
    return buffer.array


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
    out = RowBuffer(n, width)
    RowNormaliser(shift, scale, 2.0).apply(rows, out)
    assert out.array.tobytes() == np.clip((rows - shift) * scale, np.float32(-2), np.float32(2)).tobytes()
    assert activate(rows, bias) == pytest.approx(np.tanh((rows + bias).astype(np.float64)), abs=TANH_TOLERANCE)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 40), width=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_bounds(n, width, seed):
    rng = np.random.default_rng(seed)
    rows, bias = (rng.normal(0, 2, size).astype(np.float32) for size in ((n, width), width))
    rows[rng.random(rows.shape) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
    buffer = make_buffer(rows)
    Bounds(bias, -0.7, 1.2).apply(buffer, n)
    expected = np.minimum(np.maximum(rows + bias, np.float32(-0.7)), np.float32(1.2))
    np.testing.assert_array_equal(buffer.array, expected)


def test_rows_beyond_the_first_are_left_alone():
    rows, bias = np.full((3, 4), 0.25, np.float32), np.zeros(4, np.float32)
    for layer in (Activation(bias), Bounds(bias, -0.1, 0.1)):
        buffer = make_buffer(rows)
        layer.apply(buffer, 2)
        assert (buffer.array[:2] != 0.25).all()
        assert (buffer.array[2:] == 0.25).all()


def test_normaliser_follows_what_it_is_given():
    """The same memory with other values, then another array."""
    normaliser, out = RowNormaliser(np.zeros(2, np.float32), np.ones(2, np.float32), 9.0), RowBuffer(3, 2)
    rows = np.ones((3, 2), np.float32)
    for value in (1.0, 2.0):
        rows[:] = value
        normaliser.apply(rows, out)
        assert (out.array == value).all()
    normaliser.apply(np.full((1, 2), 5.0, np.float32), out)
    assert out.array[:, 0].tolist() == [5.0, 2.0, 2.0]


def test_rows_of_another_shape_are_refused():
    ones = np.ones(4, np.float32)
    normaliser = RowNormaliser(ones, ones, 1.0)
    for rows in (np.ones((2, 3), np.float32), np.ones((2, 4)), np.ones((2, 8), np.float32)[:, ::2], ones):
        with pytest.raises(InputError, match="rows: expected contiguous float32 rows of 4 columns"):
            normaliser.apply(rows, RowBuffer(2, 4))
    for buffer in (RowBuffer(1, 4), RowBuffer(2, 3)):
        with pytest.raises(InputError, match="rows: expected up to"):
            normaliser.apply(np.ones((2, 4), np.float32), buffer)
        for layer in (Activation(ones), Bounds(ones, 0.0, 1.0)):
            with pytest.raises(InputError, match="rows: expected up to"):
                layer.apply(buffer, 2)
