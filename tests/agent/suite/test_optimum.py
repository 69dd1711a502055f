# SPDX-License-Identifier: BSD-2-Clause
"""Optimal references against closed forms and the published optima of Khalili et al."""

import dataclasses

import numpy as np
import pytest

from ccdrl.agent.suite.optimum import conditions_at, find_optimum, loss_ratio, proportional_now
from ccdrl.agent.suite.proportional import compute_proportional_rates
from ccdrl.envs.fair_share import Demand, compute_fair_rates
from ccdrl.envs.scenario import Loss, load_scenario, parse_scenario

TOLERANCE = 1e-5
PROBE = 1500 * 8 / 0.15 / 1e6
"""A packet each 150 ms, in Mbit/s."""


def rates(capacities, demands, floors=None):
    return compute_proportional_rates(capacities, demands, floors).tolist()


def test_equal_flows_share_a_link_equally():
    assert rates([9.0], [Demand(((0,),), count=3)]) == pytest.approx([3.0], rel=TOLERANCE)


def test_a_limited_flow_leaves_the_rest():
    assert rates([10.0], [Demand(((0,),), limit=2.0), Demand(((0,),))]) == pytest.approx([2.0, 8.0], rel=TOLERANCE)


@pytest.mark.parametrize("hops", [1, 2, 3, 5])
def test_parking_lot(hops):
    """One flow over n links of capacity c, one on each: c / (n + 1) and n c / (n + 1) (Kelly's classic example)."""
    demands = [Demand((tuple(range(hops)),)), *(Demand(((link,),)) for link in range(hops))]
    expected = [12 / (hops + 1), *([12 * hops / (hops + 1)] * hops)]
    assert rates([12.0] * hops, demands) == pytest.approx(expected, rel=TOLERANCE)


def test_proportional_against_max_min():
    """120 Mbit/s twice: (40, 80, 80) where max-min gives (60, 60, 60)."""
    demands = [Demand(((0, 1),)), Demand(((0,),)), Demand(((1,),))]
    assert rates([120.0, 120.0], demands) == pytest.approx([40, 80, 80], rel=TOLERANCE)
    assert compute_fair_rates([120.0, 120.0], demands) == pytest.approx([60, 60, 60])


def test_resources_are_pooled():
    """Busy path: A on both links, B and C on one each, all get two thirds."""
    demands = [Demand(((0,), (1,))), Demand(((0,),)), Demand(((1,),))]
    assert rates([100.0, 100.0], demands) == pytest.approx([200 / 3] * 3, rel=TOLERANCE)


def test_two_subflows_on_one_link_are_one_user():
    assert rates([10.0], [Demand(((0,), (0,))), Demand(((0,),))]) == pytest.approx([5.0, 5.0], rel=TOLERANCE)


@pytest.mark.parametrize(("n1", "published"), [(10, 0.92), (20, 0.84), (30, 0.76)])
def test_khalili_a_with_probing(n1, published):
    """Type 2 keeps 0.92, 0.84, 0.76 of C2 (Khalili et al., CoNEXT 2012): second subflows do nothing but probe."""
    demands = [Demand(((0,), (0, 1)), count=n1), Demand(((1,),), count=10)]
    found = rates([float(n1), 10.0], demands, [[PROBE, PROBE], [0.0]])
    assert found == pytest.approx([1.0, published], abs=0.0051)


def test_khalili_b_with_probing():
    """Upgrading the red users costs 1.9 % of the aggregate at the optimum."""
    demands = [Demand(((0,), (1,)), count=15), Demand(((1,), (0, 1)), count=15)]
    found = rates([27.0, 36.0], demands, [[0.0, 0.0], [0.0, PROBE]])
    assert 1 - 15 * sum(found) / 63 == pytest.approx(0.019, abs=0.0005)


def test_dead_links_and_empty_problems():
    assert rates([0.0, 5.0], [Demand(((0,), (1,))), Demand(((0,),))]) == pytest.approx([5.0, 0.0], rel=TOLERANCE)
    assert rates([5.0], [Demand(())]) == [0.0]
    assert rates([], []) == []


def test_floors_that_do_not_fit_are_lowered_together():
    (found,) = rates([1.0], [Demand(((0,), (0,)), count=10)], [[0.5, 0.5]])
    assert found == pytest.approx(0.1, rel=1e-3)


def test_random_problems_are_feasible_and_optimal():
    """First-order condition of a concave problem: no feasible direction towards another point gains."""
    random = np.random.default_rng(1)
    for _ in range(20):
        n_links = int(random.integers(2, 6))
        capacities = random.uniform(0.1, 100, n_links)
        demands = []
        for _ in range(int(random.integers(2, 6))):
            paths = tuple(
                tuple(random.choice(n_links, size=int(random.integers(1, 3)), replace=False).tolist())
                for _ in range(int(random.integers(1, 4)))
            )
            demands.append(Demand(paths, count=int(random.integers(1, 4))))
        best = compute_proportional_rates(capacities, demands)
        other = compute_fair_rates(capacities, demands)
        counts = np.array([demand.count for demand in demands])
        assert (best > 0).all()
        assert float(counts @ ((other - best) / best)) <= 1e-4 * counts.sum()


BASE = """
name = "x"
duration_s = 30
warmup_s = 10
[[links]]
id = "a"
rate_mbps = 15
delay_ms = 10
[[links]]
id = "b"
rate_mbps = 30
delay_ms = 10
loss = { kind = "bernoulli", p = 0.1 }
[[flows]]
id = "mp"
cc = "@"
paths = [["a"], ["b"]]
[[flows]]
id = "tcp"
cc = "cubic"
paths = [["b"]]
start_s = 20
[[events]]
at_s = 15
link = "a"
down = true
"""
PAYLOAD = 1448 / 1500


def test_references_are_averages_over_the_time_after_the_warm_up():
    """10 to 15 s: 15 + 27; 15 to 20 s: 27; 20 to 30 s: 13.5 each."""
    optimum = find_optimum(parse_scenario(BASE, "f.toml"), None)
    mp = PAYLOAD * (42 * 5 + 27 * 5 + 13.5 * 10) / 20
    assert optimum.max_min_mbps == pytest.approx({"mp": mp, "tcp": PAYLOAD * 13.5 / 2})
    assert optimum.proportional_mbps == pytest.approx({"mp": mp, "tcp": PAYLOAD * 13.5 / 2}, rel=1e-3)
    assert optimum.best_single_mbps == pytest.approx({"mp": PAYLOAD * (27 * 10 + 13.5 * 10) / 20})


def test_finite_transfers_have_no_references():
    scenario = parse_scenario(BASE, "f.toml")
    flows = tuple(dataclasses.replace(flow, size_bytes=10**6) for flow in scenario.flows)
    assert find_optimum(dataclasses.replace(scenario, flows=flows), None) is None


def test_probing_costs_a_segment_an_rtt_with_half_full_buffers():
    """Khalili A as shipped: 80 ms and half of two 120 ms queues are 200 ms, so type 2 loses a segment in 200 ms."""
    scenario = load_scenario("khalili-a-n10")
    now = conditions_at(scenario, [10.0, 10.0], 40.0)
    assert proportional_now(scenario, now)["type2"] / PAYLOAD == pytest.approx(0.94, abs=1e-4)


def test_long_run_loss():
    assert loss_ratio(None) == 0.0
    assert loss_ratio(Loss("bernoulli", p=0.02)) == 0.02
    bursty = Loss("gilbert-elliott", good_to_bad=0.1, bad_to_good=0.3, loss_good=0.0, loss_bad=0.8)
    assert loss_ratio(bursty) == pytest.approx(0.2)
