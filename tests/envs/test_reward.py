# SPDX-License-Identifier: BSD-2-Clause
import numpy as np
import pytest

from ccdrl.envs.reward import RewardConfig, compute_delay_ratio, compute_reward, compute_utility

CONFIG = RewardConfig()


def reward(ratio=1.0, delay=0.0, loss=0.0, random_loss=0.0, shared=False, rival=0.0):
    arrays = [np.array([float(value)]) for value in (ratio, delay, loss, random_loss)]
    return compute_reward(*arrays, np.array([shared]), np.array([float(rival)]), CONFIG)


@pytest.mark.parametrize(("ratio", "utility"), [(0, 0), (1 / 32, 0), (1 / 4, 0.6), (1 / 2, 0.8), (1, 1), (3, 1)])
def test_utility(ratio, utility):
    assert compute_utility(np.array([float(ratio)]), 1 / 32)[0] == pytest.approx(utility)


def test_delay_ratio_is_the_share_of_the_rtt_that_queues_add():
    srtt = np.array([0.0, 10.0, 40.0, 4e9])
    assert compute_delay_ratio(srtt, np.full(4, 20.0)) == pytest.approx([0, 0, 0.5, 1], abs=1e-6)


def test_perfect_interval_earns_one():
    assert reward().total[0] == 1.0


def test_terms_add_up():
    result = reward(ratio=1.5, delay=0.3, loss=0.04, random_loss=0.01, shared=True, rival=0.5)
    assert result.delay[0] == pytest.approx((0.5 * CONFIG.delay_weight + 0.5 * CONFIG.rival_delay_weight) * 0.3)
    assert result.loss[0] == pytest.approx(CONFIG.loss_weight * 0.03)
    assert result.harm[0] == pytest.approx(CONFIG.harm_weight * (1.5 - CONFIG.harm_margin))
    assert result.total == pytest.approx(result.utility - result.delay - result.loss - result.harm)


def test_preference_scales_the_weights_of_delay_and_harm():
    arrays = [np.full(2, value) for value in (1.5, 0.3, 0.0, 0.0)]
    preference = np.array([[0.0, 0.0], [1.0, -2.0]])
    result = compute_reward(*arrays, np.array([True, True]), np.zeros(2), CONFIG, preference)
    assert result.delay[1] == pytest.approx(2.0 * result.delay[0])
    assert result.harm[1] == pytest.approx(0.25 * result.harm[0])
    assert result.utility[1] == result.utility[0]


def test_random_loss_is_nobodys_fault():
    assert reward(loss=0.02, random_loss=0.02).total[0] == 1.0


def test_excess_harms_only_where_others_are():
    assert reward(ratio=2.0).harm[0] == 0.0
    assert reward(ratio=2.0, shared=True).harm[0] > 0.0


def test_more_than_the_share_never_pays_where_shared():
    totals = [reward(ratio=u, shared=True).total[0] for u in np.linspace(0.1, 3.0, 60)]
    assert abs(np.linspace(0.1, 3.0, 60)[int(np.argmax(totals))] - 1.0) < 0.06
