# SPDX-License-Identifier: BSD-2-Clause
"""Families and their search on networks whose answer is known."""

import numpy as np
import pytest

from ccdrl.agent.verification.bounds import bound_output
from ccdrl.agent.verification.families import Family, Parameter, tie
from ccdrl.agent.verification.network import make_network
from ccdrl.agent.verification.regions import Property, queue
from ccdrl.agent.verification.search import Limit, Search
from ccdrl.agent.verification.selection import draw_rows, find_members, select_states
from ccdrl.envs.observation_layout import find_columns

QUEUES = Parameter("queue", ("srtt_ratio", "queue_*"), 0.0, 4.0)
LOSSES = Parameter("loss", ("loss_*",), 0.0, 1.0)


def search(policy, family, limit, states, **options):
    tied = tie(policy.artifact, make_network(policy.artifact), family, states)
    return Search(policy, tied, limit, **options).run()


@pytest.fixture
def states(rng):
    return rng.uniform(0, 1, (5, 6)).astype(np.float32)


@pytest.fixture
def falling(make_policy):
    """action = 0.5 - 0.2 (srtt_ratio + queue_min_8) - loss_now, through nothing but the clip."""
    return make_policy((), [([[-0.2, -0.2, -1, 0, 0, 0]], [0.5])])


def test_names_are_matched_by_pattern():
    names = ("rtt_ratio", "rtt_ratio_1", "srtt_ratio", "queue_min_8")
    assert find_columns(names, ("rtt_ratio", "rtt_ratio_*")) == [0, 1]
    assert find_columns(names, ("queue_*", "srtt_ratio")) == [2, 3]


def test_true_properties_are_proven(falling, states):
    # 0.5 - 0.4 q - l <= 0 wherever q >= 1.3.
    family = Family((Parameter("queue", QUEUES.columns, 1.3, 4.0), LOSSES))
    verdict = search(falling, family, Limit(1, 0.0), states)
    assert (verdict.word, verdict.n_proven, verdict.proven) == ("proven", 5, 1.0)
    assert -0.03 < verdict.bound <= 0.0
    assert verdict.found <= verdict.bound


def test_false_properties_are_refuted_with_an_example(falling, states):
    family = Family((QUEUES, LOSSES), {"other": 0.5})
    verdict = search(falling, family, Limit(1, 0.0), states, boxes_max=20_000)
    assert (verdict.word, verdict.n_broken) == ("refuted", 5)
    # Broken where 0.4 q + l < 0.5: a triangle of 1.25 x 0.5 / 2 on a box of 4 x 1.
    assert verdict.broken == pytest.approx(0.3125 / 4, abs=0.02)
    assert verdict.proven + verdict.broken + verdict.open == pytest.approx(1.0)
    assert verdict.proven <= 1 - 0.3125 / 4 <= verdict.proven + verdict.open
    assert verdict.found == pytest.approx(0.5, abs=1e-6)
    assert verdict.found_point == (0.0, 0.0)
    assert verdict.bound == pytest.approx(0.5, abs=1e-4)


def test_lower_limits_mirror_upper_ones(falling, states):
    family = Family((QUEUES,), {"loss_now": 0.0})
    proven = search(
        falling, Family((Parameter("queue", QUEUES.columns, 0.0, 1.2),), family.fixed), Limit(-1, 0.0), states
    )
    assert proven.word == "proven"
    verdict = search(falling, family, Limit(-1, -0.5), states, boxes_max=20_000)
    assert verdict.word == "refuted"
    assert verdict.broken == pytest.approx((4 - 2.5) / 4, abs=0.01)
    assert verdict.found == pytest.approx(-1.0)  # 0.5 - 1.6, clipped
    assert verdict.bound == pytest.approx(-1.0)


def test_a_small_budget_leaves_it_open(make_policy, states):
    policy = make_policy((16, 16), seed=11, gain=1.2)
    verdict = search(policy, Family((QUEUES, LOSSES)), Limit(1, 0.3), states, boxes_max=5)
    assert verdict.n_boxes == 5
    assert verdict.open > 0.0
    assert verdict.word in ("undecided", "refuted")


@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_every_action_of_a_family_is_within_the_bound(make_policy, rng, states, spread):
    """The normaliser clips part of the queue columns' range: those columns are let loose, not forgotten."""
    policy = make_policy((12, 12), seed=2, gain=0.7, limit=3.0, mean=[0.5] * 6, std=[1, 0.5, 0.3, 0.3, 1, 1])
    family = Family((QUEUES, LOSSES), {"is_startup": 0.0}, spread)
    tied = tie(policy.artifact, make_network(policy.artifact), family, states)
    for sign in (1, -1):
        verdict = Search(policy, tied, Limit(sign, 0.0), boxes_max=2000).run()
        at = rng.integers(0, len(states), 4000)
        rows = tied.place(at, rng.uniform(tied.box_low, tied.box_high, (4000, 2)))
        loose = find_columns(policy.artifact.observation_names, ("other",))
        rows[:, loose] += spread * rng.uniform(-1, 1, (4000, 1)).astype(np.float32)
        assert (sign * policy.act(rows) <= sign * verdict.bound + 1e-9).all()
        assert sign * verdict.found <= sign * verdict.bound


def test_point_boxes_give_the_policys_action(make_policy, rng, states):
    policy = make_policy((12, 12), seed=4, gain=0.4, mean=[0.2] * 6, std=[0.7] * 6, clip=100.0)
    tied = tie(policy.artifact, make_network(policy.artifact), Family((QUEUES, LOSSES)), states)
    points, at = rng.uniform(tied.box_low, tied.box_high, (50, 2)), rng.integers(0, 5, 50)
    low = np.concatenate([points, tied.low[at]], axis=1)
    bounds = bound_output(tied.network, low, low)
    actions = policy.act(tied.place(at, points)).astype(np.float64)
    assert (bounds.low <= actions).all() and (actions <= bounds.high).all()
    assert (bounds.high - bounds.low).max() < 1e-4


def test_a_layout_without_the_columns_has_no_family(make_policy, states):
    policy = make_policy((), names=("a", "b", "c", "d", "e", "f"))
    assert tie(policy.artifact, make_network(policy.artifact), Family((QUEUES,)), states) is None


def test_states_are_selected_and_members_found(make_policy):
    names = ("srtt_ratio", "is_startup")
    policy = make_policy((), [([[-0.1, 0.0]], [0.0])], names=names)
    network = make_network(policy.artifact)
    rows = np.array([[0.05, 1], [0.2, 1], [0.05, 0], [1.0, 0]], np.float32)
    family = Family((queue(0.0, 0.1),), {"is_startup": 1.0})
    wanted = Property("p", "", Limit(1, 0.0), family, {"is_startup": 1.0})
    assert find_members(names, rows, family).tolist() == [0]
    assert select_states(policy, network, rows, wanted, 2, 1)["drawn"][:, 1].tolist() == [1, 1]
    # Too few fit: all are taken, and the family sets the column.
    assert len(select_states(policy, network, np.tile(rows[2:], (5, 1)), wanted, 6, 1)["drawn"]) == 6
    np.testing.assert_array_equal(draw_rows(rows, 2, 9), draw_rows(rows, 2, 9))


def test_the_worst_states_are_found(make_policy, rng):
    """action = 0.1 other: the rows with the largest are chosen, for a limit from below those with the lowest."""
    policy = make_policy((), [([[0, 0, 0, 0, 0, 0.1]], [0])])
    rows = rng.permutation(np.linspace(-1, 1, 600).repeat(6).reshape(600, 6)).astype(np.float32)
    for sign in (1, -1):
        wanted = Property("p", "", Limit(sign, 0.0), Family((QUEUES,)))
        chosen = select_states(policy, make_network(policy.artifact), rows, wanted, 10, 4)
        assert len(np.unique(chosen["drawn"][:, 5])) == 10
        assert (sign * chosen["worst"][:, 5]).tolist() == np.sort(sign * rows[:, 5])[:-11:-1].tolist()
    lacking = Property("p", "", Limit(1, 0.0), Family((Parameter("x", ("no_such_column",), 0, 1),)))
    assert select_states(policy, make_network(policy.artifact), rows, lacking, 10, 4) is None
