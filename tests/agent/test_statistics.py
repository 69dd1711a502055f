# SPDX-License-Identifier: BSD-2-Clause
"""Statistics against textbook values and identities."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccdrl.agent import statistics


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (10, 2.228), (30, 2.042), (120, 1.980)],
)
def test_quantile_is_the_one_of_the_printed_tables(freedom: int, expected: float) -> None:
    assert statistics.student_quantile(0.975, freedom) == pytest.approx(expected, abs=6e-4)


def test_cdf_has_the_closed_forms_of_one_and_two_degrees() -> None:
    for t in (-3.0, -0.5, 0.0, 0.7, 4.0):
        assert statistics.student_cdf(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-12)
        assert statistics.student_cdf(t, 2) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)), abs=1e-12)


@pytest.mark.parametrize("probability", [0.5, 1.0, math.nan])
def test_quantile_refuses_probabilities_outside_its_range(probability: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        statistics.student_quantile(probability, 4)


def test_estimate_by_hand() -> None:
    found = statistics.estimate([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.mean == pytest.approx(3.0)
    assert found.ci95 == pytest.approx(2.7764451 * math.sqrt(2.5 / 5), rel=1e-6)
    assert found.low == pytest.approx(3.0 - found.ci95)
    assert found.high == pytest.approx(3.0 + found.ci95)


def test_estimate_covers_the_true_mean_in_95_percent_of_draws() -> None:
    draws = np.random.default_rng(1).normal(7.0, 2.0, size=(4000, 5))
    hits = sum(abs(found.mean - 7.0) <= found.ci95 for found in map(statistics.estimate, draws))
    assert hits / 4000 == pytest.approx(0.95, abs=0.014)  # four standard errors of a share of 0.95 in 4000


def test_missing_values_are_left_out() -> None:
    assert statistics.estimate([None, 4.0, math.nan]) == statistics.Estimate(4.0, None)
    assert statistics.estimate([]) == statistics.Estimate(None, None)
    assert statistics.estimate([None]).low is None
    assert statistics.mean([None, 1.0, 3.0]) == 2.0


def test_geometric_mean() -> None:
    assert statistics.geometric_mean([2.0, 8.0, None]) == pytest.approx(4.0)
    assert statistics.geometric_mean([0.0, 1.0]) is None
    assert statistics.geometric_mean([]) is None


def test_jain_of_equal_and_of_starved_flows() -> None:
    assert statistics.jain([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert statistics.jain([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert statistics.jain([0.0, 0.0]) is None
    assert statistics.jain([]) is None


@given(st.lists(st.floats(1e-3, 1e4), min_size=1, max_size=20), st.floats(1e-3, 1e3))
def test_jain_is_bounded_and_has_no_unit(rates: list[float], scale: float) -> None:
    found = statistics.jain(rates)
    assert found is not None
    assert 1 / len(rates) - 1e-9 <= found <= 1 + 1e-9
    assert statistics.jain([rate * scale for rate in rates]) == pytest.approx(found)


def test_harm_is_the_lost_share_and_negative_for_a_gain() -> None:
    assert statistics.harm(3.0, 4.0) == pytest.approx(0.25)
    assert statistics.harm(5.0, 4.0) == pytest.approx(-0.25)
    assert statistics.harm(1.0, 0.0) is None
    assert statistics.harm(None, 1.0) is None


def test_ellipse_of_a_known_covariance() -> None:
    points = np.random.default_rng(2).multivariate_normal([10.0, -4.0], [[9.0, 0.0], [0.0, 1.0]], size=20000)
    found = statistics.confidence_ellipse(points[:, 0].tolist(), points[:, 1].tolist())
    assert found is not None
    assert found.width == pytest.approx(6.0, rel=0.03)
    assert found.height == pytest.approx(2.0, rel=0.03)
    assert (found.angle_deg + 90) % 180 - 90 == pytest.approx(0.0, abs=1.0)


def test_ellipse_of_points_on_a_line_is_flat_and_lies_along_it() -> None:
    found = statistics.confidence_ellipse([0.0, 1.0, 2.0], [0.0, 1.0, 2.0])
    assert found is not None
    assert found.height == pytest.approx(0.0, abs=1e-6)
    assert found.width == pytest.approx(2 * math.sqrt(2))
    assert found.angle_deg % 180 == pytest.approx(45.0)
    assert statistics.confidence_ellipse([1.0, 2.0], [1.0, 2.0]) is None
