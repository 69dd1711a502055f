# SPDX-License-Identifier: BSD-2-Clause
"""Derivatives along lines, and the exceptions to "more congestion never means a larger action"."""

import numpy as np
import pytest

from ccdrl.agent.verification.derivative import bound_slopes, scale_line
from ccdrl.agent.verification.monotonicity import (
    DIRECTIONS,
    LOSS_END,
    QUEUE_RISE,
    check_direction,
    check_monotonicity,
    compute_actions,
    make_lines,
)
from ccdrl.agent.verification.network import make_network

QUEUE, LOSS, BOTH = DIRECTIONS


@pytest.fixture
def states(rng):
    return rng.uniform(0, 0.5, (6, 6)).astype(np.float32)


@pytest.mark.parametrize("layers", [(), (8,), (12, 12), (6, 6, 6)])
@pytest.mark.parametrize("limit", [10.0, 1.5])
def test_derivatives_are_within_their_bounds(make_policy, rng, layers, limit):
    policy = make_policy(layers, seed=1, gain=0.6, limit=limit, clip=0.8, mean=[0.3] * 6, std=[0.5] * 6)
    artifact, network = policy.artifact, make_network(policy.artifact)
    start, way = rng.normal(0, 0.7, (30, 6)), rng.normal(0, 1, (30, 6))
    lines = scale_line(artifact, start, way)
    begin = rng.uniform(0, 1, 30)
    end = begin + 10.0 ** rng.uniform(-3, -0.5, 30)
    slopes = bound_slopes(artifact, network, lines, begin, end)
    for i in range(30):
        t = np.linspace(begin[i], end[i], 400)
        actions = compute_actions(artifact, network, (lines[0][i : i + 1], lines[1][i : i + 1]), t)
        quotient = np.diff(actions) / np.diff(t)
        # A difference quotient is a mean of derivatives; float64 rounds it by about 1e-15 over the step.
        assert (quotient >= slopes.low[i] - 1e-9).all()
        assert (quotient <= slopes.high[i] + 1e-9).all()
        low, high = np.clip([slopes.action_low[i], slopes.action_high[i]], -0.8, 0.8)
        assert low <= actions.min() and actions.max() <= high


def test_bounds_tighten_with_the_segment(make_policy, states):
    policy = make_policy((12, 12), seed=1, gain=0.6, clip=50.0)
    lines = make_lines(policy.artifact, states, BOTH)
    widths = []
    for length in (1e-1, 1e-2, 1e-3):
        begin = np.full(6, 0.3)
        slopes = bound_slopes(policy.artifact, make_network(policy.artifact), lines, begin, begin + length)
        widths.append((slopes.high - slopes.low).mean())
    assert widths[1] < widths[0] / 5 and widths[2] < widths[1] / 5


def test_lines_move_what_congestion_moves(make_policy, states):
    artifact = make_policy(()).artifact  # mean 0, deviation 1: normalised is raw
    start, way = make_lines(artifact, states, QUEUE)
    np.testing.assert_allclose(way, np.tile([QUEUE_RISE, QUEUE_RISE, 0, 0, 0, 0], (6, 1)), atol=1e-6)
    assert (start[:, 4] == 0.0).all()  # start-up is over
    start, way = make_lines(artifact, states, LOSS)
    np.testing.assert_allclose((start + way)[:, 2:4], LOSS_END, atol=1e-6)
    assert (way[:, [0, 1, 4, 5]] == 0.0).all()


def test_a_falling_policy_is_proven_monotone(make_policy, states):
    """Minus a sum of increasing functions, with a clip that acts on a part of the lines."""
    first = np.abs(np.random.default_rng(1).normal(size=(6, 6)))
    policy = make_policy((6,), [(first, np.zeros(6)), (-np.full((1, 6), 0.4), [1.5])])
    for result in check_monotonicity(policy.artifact, make_network(policy.artifact), states):
        assert (result.n_monotone, result.n_growing, result.falling, result.rising) == (6, 0, 1.0, 0.0)
        assert result.exceptions == () and result.highest_rise == 0.0


def test_a_rising_stretch_is_listed(make_policy):
    """action = -0.3 srtt_ratio + tanh(2 (loss_now - 0.5)): with loss it rises all the way, with queue it falls."""
    first = [[0, 0, 2, 0, 0, 0], [0.01, 0, 0, 0, 0, 0]]
    policy = make_policy((2,), [(first, [-1, 0]), ([[1, -30]], [0])])
    states = np.zeros((2, 6), np.float32)
    queue, loss, both = check_monotonicity(policy.artifact, make_network(policy.artifact), states)
    assert queue.n_monotone == 2 and queue.falling == 1.0
    assert (loss.n_monotone, loss.n_growing) == (0, 2)
    assert loss.rising == pytest.approx(1.0)
    amount = np.tanh(2 * LOSS_END - 1) - np.tanh(-1)
    for rise in loss.exceptions:
        assert (rise.direction, rise.begin, rise.end) == ("loss", 0.0, 1.0)
        assert rise.amount == pytest.approx(amount, abs=1e-6)
        assert rise.action_end == pytest.approx(np.tanh(2 * LOSS_END - 1), abs=1e-6)
    assert loss.highest_rise <= loss.rise_bound == pytest.approx(amount, abs=0.02)
    # Together: -0.9 t + tanh(1.4 t - 1) rises where 1.4 (1 - tanh^2) > 0.9.
    reach = np.arctanh(np.sqrt(1 - 0.9 / 1.4))
    begin, end = (1 - reach) / 1.4, min((1 + reach) / 1.4, 1.0)
    assert both.rising == pytest.approx(end - begin, abs=0.01)
    assert both.rising + both.falling + both.open == pytest.approx(1.0)
    assert both.open < 0.01


def test_no_computed_rise_exceeds_the_bound(make_policy, states):
    policy = make_policy((12, 12), seed=8, gain=0.5)
    network = make_network(policy.artifact)
    for direction in DIRECTIONS:
        result = check_direction(policy.artifact, network, states, direction)
        start, way = make_lines(policy.artifact, states, direction)
        for i in range(len(states)):
            line = start[i : i + 1], way[i : i + 1]
            actions = compute_actions(policy.artifact, network, line, np.linspace(0, 1, 5000))
            rise = (actions - np.minimum.accumulate(actions)).max()
            assert rise <= result.rise_bound + 1e-9
        assert result.highest_rise <= result.rise_bound
        assert result.falling + result.rising + result.open == pytest.approx(1.0)


def test_a_saturated_policy_does_not_rise(make_policy, states):
    policy = make_policy((), [([[1, 1, 1, 1, 0, 0]], [5.0])])
    for result in check_monotonicity(policy.artifact, make_network(policy.artifact), states):
        assert result.n_monotone == 6


def test_directions_without_columns_are_left_out(make_policy):
    policy = make_policy((), names=("srtt_ratio", "b"))
    results = check_monotonicity(policy.artifact, make_network(policy.artifact), np.zeros((1, 2), np.float32))
    assert [result.name for result in results] == ["queue"]
