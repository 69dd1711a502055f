# SPDX-License-Identifier: BSD-2-Clause
"""Bounds hold for what the policy computes in float32; random samples may not leave them."""

import numpy as np
import pytest

from ccdrl.agent.verification.bounds import bound_output
from ccdrl.agent.verification.extremes import bound_whole_box
from ccdrl.agent.verification.network import make_network, normalise, propagate_intervals
from ccdrl.bindings.errors import InputError

WIDE = 1e6  # an action clip that never acts


@pytest.mark.parametrize("layers", [(), (5,), (16, 16), (8, 8, 8)])
@pytest.mark.parametrize("gain", [0.3, 1.0, 30.0])
def test_no_sample_leaves_the_bounds(make_policy, rng, layers, gain):
    policy = make_policy(layers, seed=3, gain=gain, clip=WIDE, mean=np.arange(6) - 2, std=[1, 0.1, 2, 5, 0.01, 1])
    network = make_network(policy.artifact)
    centre, radius = rng.normal(0, 2, (40, 6)), 10.0 ** rng.uniform(-6, 0.5, (40, 1))
    low, high = (centre - radius).astype(np.float32), (centre + radius).astype(np.float32)
    bounds = bound_output(network, normalise(policy.artifact, low), normalise(policy.artifact, high))
    intervals = propagate_intervals(network, normalise(policy.artifact, low), normalise(policy.artifact, high))[-1]
    assert (bounds.low >= intervals[0][:, 0] - 1e-12).all()
    assert (bounds.high <= intervals[1][:, 0] + 1e-12).all()
    for i in range(40):
        corners = np.where(rng.random((500, 6)) < 0.5, low[i], high[i])
        inside = np.clip(rng.uniform(low[i], high[i], (1500, 6)).astype(np.float32), low[i], high[i])
        actions = policy.act(np.concatenate([corners, inside])).astype(np.float64)
        assert bounds.low[i] <= actions.min()
        assert actions.max() <= bounds.high[i]


def test_affine_networks_are_bounded_exactly(make_policy):
    policy = make_policy((), [([[1, -2, 0, 0, 0, 3]], [0.5])], clip=WIDE)
    low, high = np.full((1, 6), -1.0), np.full((1, 6), 2.0)
    bounds = bound_output(make_network(policy.artifact), low, high)
    # Only the allowance for float32 rounding is added: 14 terms of 2^-24 times 12.5.
    assert bounds.low[0] == pytest.approx(0.5 - 1 - 4 - 3, abs=2e-5)
    assert bounds.high[0] == pytest.approx(0.5 + 2 + 2 + 6, abs=2e-5)
    np.testing.assert_array_equal(bounds.high_slope[0], [1, -2, 0, 0, 0, 3])


def test_a_relation_that_intervals_lose_is_kept(make_policy):
    """tanh(x) - tanh(x) is 0; intervals see two independent numbers."""
    first = [[1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]]
    policy = make_policy((2,), [(first, [0, 0]), ([[1, -1]], [0])])
    network = make_network(policy.artifact)
    low, high = np.zeros((1, 6)), np.zeros((1, 6))
    low[0, 0], high[0, 0] = -0.5, 0.5
    assert propagate_intervals(network, low, high)[-1][1][0, 0] == pytest.approx(2 * np.tanh(0.5), abs=1e-4)
    assert bound_output(network, low, high).high[0] < 0.25


def test_small_boxes_have_small_bounds(make_policy, rng):
    policy = make_policy((16, 16), seed=5, gain=0.5)
    centre = rng.normal(0, 1, (50, 6))
    bounds = bound_output(make_network(policy.artifact), centre - 1e-4, centre + 1e-4)
    assert (bounds.high - bounds.low).max() < 5e-3


def test_rounding_of_float32_is_allowed_for(make_policy, rng):
    """Sums that cancel: the float32 result is off by far more than the real one is wide."""
    size = 400
    signs = np.repeat([1.0, -1.0], size // 2)
    names = tuple(f"column_{i}" for i in range(size))
    policy = make_policy((), [([1e5 * signs], [0.0])], names=names, clip=1e9)
    network = make_network(policy.artifact)
    half = rng.uniform(1, 9, (50, size // 2)).astype(np.float32)
    rows = np.concatenate([half, half[:, ::-1]], axis=1)
    actions = policy.act(rows).astype(np.float64)
    bounds = bound_output(network, rows.astype(np.float64), rows.astype(np.float64))
    assert np.abs(actions).max() > 0.0
    assert (bounds.low <= actions).all() and (actions <= bounds.high).all()


def test_normalising_is_what_inference_does(make_policy, rng):
    policy = make_policy(
        (), [([[0, 0, 1, 0, 0, 0]], [0])], mean=[0, 0, 0.3, 0, 0, 0], std=[1, 1, 0.07, 1, 1, 1], clip=WIDE
    )
    rows = rng.normal(0, 1, (200, 6)).astype(np.float32)
    np.testing.assert_array_equal(normalise(policy.artifact, rows)[:, 2], policy.act(rows).astype(np.float64))


def test_whole_box_of_a_known_network(make_policy):
    """tanh of a column and of minus another: reaches +-2 on the box, no more."""
    policy = make_policy((2,), [([[1, 0, 0, 0, 0, 0], [0, -1, 0, 0, 0, 0]], [0, 0]), ([[1, 1]], [0.25])])
    extremes = bound_whole_box(policy, make_network(policy.artifact), 1)
    assert extremes.bound_high == pytest.approx(2.25, abs=1e-4)
    assert extremes.bound_low == pytest.approx(-1.75, abs=1e-4)
    assert extremes.bound_low <= extremes.found_low == pytest.approx(-1.75, abs=1e-4)
    assert extremes.bound_high >= extremes.found_high == pytest.approx(2.25, abs=1e-4)


def test_what_may_overflow_is_refused(make_policy):
    with pytest.raises(InputError, match="overflow"):
        make_network(make_policy((), [([[1e35, 0, 0, 0, 0, 0]], [0])]).artifact)
    with np.errstate(over="ignore"), pytest.raises(InputError, match="normaliser"):
        make_network(make_policy((), mean=[1e39, 0, 0, 0, 0, 0]).artifact)
