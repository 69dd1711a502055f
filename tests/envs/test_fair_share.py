# SPDX-License-Identifier: BSD-2-Clause
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdrl.envs.fair_share import Demand, _fill_by_cuts, _fill_by_simplex, compute_fair_rates, compute_payload_share

A, B = (0,), (1,)


@pytest.mark.parametrize(
    ("capacities", "demands", "rates"),
    [
        ([100, 20], [Demand((A, B))], [120]),  # two idle paths: the sum (RFC 6356)
        ([10], [Demand((A, A)), Demand((A,))], [5, 5]),  # shared bottleneck: one TCP's worth
        ([100, 100], [Demand((A, B)), Demand((A,)), Demand((B,))], [200 / 3] * 3),  # busy path
        ([100, 100], [Demand((A, B)), Demand((A,)), Demand((B,)), Demand((B,), count=4)], [50, 50, 20, 20]),
        ([20] * 8, [Demand(tuple((i,) for i in range(8)), count=3)], [160 / 3]),  # start order
        ([60, 120], [Demand((A,)), Demand((A, B)), Demand((B,))], [60, 60, 60]),  # max-min, not proportional
        ([10, 30], [Demand((A, B)), Demand((B,), limit=3), Demand((A,), limit=2)], [35, 3, 2]),
        ([0, 30], [Demand((A, B)), Demand((A,))], [30, 0]),  # a link is down
        ([27, 36], [Demand((A, B), count=15), Demand((B, (0, 1)), count=15)], [2.1, 2.1]),  # Khalili B
        ([5, 50], [Demand(((0, 1),)), Demand((B,))], [5, 45]),
    ],
)
def test_known_cases(capacities, demands, rates):
    assert compute_fair_rates(capacities, demands) == pytest.approx(rates, rel=1e-6)


def test_nobody_gets_nothing():
    assert compute_fair_rates([10.0], []).size == 0


def test_payload_share():
    assert compute_payload_share(1448) == 1448 / 1500


demand = st.builds(
    Demand,
    st.lists(st.tuples(st.integers(0, 3)), min_size=1, max_size=3).map(tuple),
    st.one_of(st.just(math.inf), st.floats(0.5, 50)),
    st.integers(1, 3),
)


@settings(max_examples=150, deadline=None)
@given(capacities=st.lists(st.floats(0, 100), min_size=4, max_size=4), demands=st.lists(demand, min_size=1, max_size=4))
def test_cuts_and_simplex_agree(capacities, demands):
    """Two independent methods; a tolerance of 1e-6 of the largest capacity for their rounding."""
    rates = compute_fair_rates(capacities, demands)
    through_simplex = compute_fair_rates([*capacities, 1e3], [*demands, Demand(((4, 4),))])  # two links: no cuts
    scale = max(*capacities, 1e-9)
    assert through_simplex[:-1] == pytest.approx(rates, abs=1e-6 * 1e3)
    assert sum(r * d.count for r, d in zip(rates, demands, strict=True)) <= sum(capacities) + 1e-6 * scale
    for rate, each in zip(rates, demands, strict=True):
        assert 0 <= rate <= each.limit + 1e-6 * scale


def test_both_methods_name_the_bottlenecked():
    demands = [Demand((A,)), Demand((A, B)), Demand((B,))]
    for fill in (_fill_by_cuts, _fill_by_simplex):
        level, is_tight = fill([1.0, 5.0], demands, [0, 1, 2], {})
        assert level == pytest.approx(1.0)
        assert is_tight[0]
        assert not is_tight[2]
