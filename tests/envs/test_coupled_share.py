# SPDX-License-Identifier: BSD-2-Clause
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdrl.envs.coupled_share import compute_coupled_rates
from ccdrl.envs.fair_share import Demand


def find_root(function, low, high):
    """Return where a rising or falling function crosses 0, by bisection."""
    is_rising = function(high) > 0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if (function(middle) > 0) == is_rising else (middle, high)
    return (low + high) / 2


def test_one_path_is_a_tcp():
    first, second = compute_coupled_rates([20.0], [Demand(((0,),)), Demand(((0,),))])
    assert [first[0], second[0]] == pytest.approx([10, 10], rel=0.01)


def test_alone_takes_everything():
    (rates,) = compute_coupled_rates([20.0, 10.0], [Demand(((0,), (1,)))])
    assert rates == pytest.approx([20, 10], rel=0.01)


def test_two_subflows_at_one_link_are_one_tcp():
    ours, theirs = compute_coupled_rates([20.0], [Demand(((0,), (0,))), Demand(((0,),))])
    assert ours == pytest.approx([5, 5], rel=0.01)
    assert theirs == pytest.approx([10], rel=0.01)


@pytest.mark.parametrize(("free", "shared"), [(20.0, 10.0), (10.0, 10.0), (3.0, 40.0)])
def test_traffic_moves_off_the_shared_path(free, shared):
    """Against the equilibrium by hand: x_r = (1/p_r) / (1/p_1 + 1/p_2) * sqrt(2 / min p), y = sqrt(2 / p_2)."""

    def load(prices):
        """Rates of the coupled paths."""
        return 1 / prices / (1 / prices).sum() * np.sqrt(2 / prices.min())

    def price_shared(price_free):
        """The shared path's price that fills it."""
        return np.exp(
            find_root(
                lambda log_price: (
                    load(np.array([price_free, np.exp(log_price)]))[1] + np.sqrt(2 / np.exp(log_price)) - shared
                ),
                -30,
                10,
            )
        )

    price_free = np.exp(
        find_root(lambda log: load(np.array([np.exp(log), price_shared(np.exp(log))]))[0] - free, -25, 5)
    )
    tcp = np.sqrt(2 / price_shared(price_free))
    ours, theirs = compute_coupled_rates([free, shared], [Demand(((0,), (1,))), Demand(((1,),))])
    assert theirs[0] == pytest.approx(tcp, rel=0.02)
    assert ours == pytest.approx([free, shared - tcp], rel=0.05)


def test_a_modest_stranger_leaves_the_rest():
    ours, theirs = compute_coupled_rates([20.0], [Demand(((0,),)), Demand(((0,),), limit=3.0)])
    assert [ours[0], theirs[0]] == pytest.approx([17, 3], rel=0.01)


def test_a_dead_link_carries_nothing_and_no_paths_no_rates():
    ours, none = compute_coupled_rates([20.0, 0.0], [Demand(((0,), (1,))), Demand(())])
    assert ours == pytest.approx([20, 0], abs=1e-3)
    assert len(none) == 0
    assert compute_coupled_rates([1.0], []) == []


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_link_is_overfull_and_every_rate_is_finite(data):
    capacities = data.draw(st.lists(st.floats(0.1, 1e9), min_size=1, max_size=6))
    link = st.integers(0, len(capacities) - 1)
    path = st.lists(link, min_size=1, max_size=2, unique=True).map(tuple)
    demand = st.builds(
        Demand, st.lists(path, min_size=1, max_size=4).map(tuple), st.just(float("inf")) | st.floats(0.1, 1e9)
    )
    demands = data.draw(st.lists(demand, min_size=1, max_size=5))
    rates = compute_coupled_rates(capacities, demands)
    load = np.zeros(len(capacities))
    for each, wanted in zip(rates, demands, strict=True):
        assert np.isfinite(each).all() and (each >= 0).all()
        assert each.sum() <= wanted.limit * (1 + 1e-9)
        for rate, links in zip(each, wanted.paths, strict=True):
            load[list(links)] += rate
    # A link below 1e-8 of the mean counts as that.
    assert (load <= np.maximum(capacities, 1.01e-8 * np.mean(capacities)) * (1 + 1e-5)).all()
