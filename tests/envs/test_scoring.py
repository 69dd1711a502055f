# SPDX-License-Identifier: BSD-2-Clause
import numpy as np
import pytest

from ccdrl.bindings.library import make_samples
from ccdrl.envs.observation import Observer
from ccdrl.envs.reward import RewardConfig
from ccdrl.envs.scoring import PRIVILEGED_NAMES, Scorer
from ccdrl.envs.timeline import Conditions

CONFIG = RewardConfig()
# Network 0: connection 0 with rows 0 and 1, connection 2 with row 2. Network 1: connection 3 with row 3.
CONNECTIONS = np.array([0, 0, 2, 3])


def make_conditions(ideal_mbps, rows, **more):
    fields = {
        "until_ns": 0,
        "ideal_bps": np.array(ideal_mbps) * 1e6,
        "is_shared": np.full(len(ideal_mbps), False),
        "has_rival": np.full(rows, False),
        "base_us": np.full(rows, 20_000.0),
        "capacity_bps": np.full(rows, 8e6),
        "buffer_us": np.full(rows, 20_000.0),
        "random_loss": np.zeros(rows),
        "n_users": np.ones(rows),
        "target_bps": np.full(rows, 8e6),
        "target_base_us": np.full(rows, 20_000.0),
        "has_stranger": np.full(rows, False),
    }
    return Conditions(**(fields | more))


def score(rates_mbps, srtt_ms, first, second):
    samples = make_samples(4)
    samples["abi"], samples["subflow_id"], samples["mss_bytes"] = 2, np.arange(1, 5), 1000
    samples["cwnd_bytes"] = samples["inflight_bytes"] = 20_000
    samples["srtt_us"] = samples["last_rtt_us"] = np.array(srtt_ms) * 1000
    samples["min_rtt_us"] = 20_000
    samples["delivery_rate_bytes_per_s"] = np.array(rates_mbps) * 125_000  # a first sample sets the rate
    observer, scorer, rows = Observer(4), Scorer(4, CONFIG), np.arange(4)
    observer.reset(rows, CONNECTIONS)
    scorer.assign(slice(0, 3), CONNECTIONS[:3], 0)
    scorer.assign(slice(3, 4), CONNECTIONS[3:], 1)
    scorer.set_conditions(slice(0, 3), first)
    scorer.set_conditions(slice(3, 4), second)
    observer.update(rows, samples)
    return scorer.score(observer, samples, rows)


def test_rows_share_what_their_connection_earns():
    result, _ = score([3, 1, 2, 6], [40, 20, 20, 20], make_conditions([8, 2], 3), make_conditions([8], 1))
    assert result.goodput_ratio == pytest.approx([0.5, 0.5, 1.0, 0.75])
    assert result.queue_delay_ratio == pytest.approx([3 / 4 * 0.5, 3 / 4 * 0.5, 0, 0])  # weighted by rates
    assert result.reward[:2] == pytest.approx([0.8 - CONFIG.delay_weight * 0.375] * 2, abs=1e-6)
    assert result.reward[2:] == pytest.approx([1.0, 1.0 + np.log2(0.75) / 5], abs=1e-6)


def test_fairness_is_jains_index_within_a_network():
    result, _ = score([3, 1, 2, 6], [20] * 4, make_conditions([8, 2], 3), make_conditions([8], 1))
    jain = (0.5 + 1.0) ** 2 / (2 * (0.25 + 1.0))
    assert result.fairness == pytest.approx([jain, jain, jain, 1.0])


def test_rivals_count_by_the_traffic_that_meets_them():
    first = make_conditions([4, 2], 3, has_rival=np.array([True, False, False]))
    result, _ = score([3, 1, 2, 6], [40, 40, 20, 20], first, make_conditions([6], 1))
    weight = 0.25 * CONFIG.delay_weight + 0.75 * CONFIG.rival_delay_weight
    assert result.terms["delay"][0] == pytest.approx(weight * 0.5)


def test_privileged_columns():
    first = make_conditions([8, 2], 3, random_loss=np.array([0.01, 0, 0]), n_users=np.array([2.0, 1, 1]))
    _, columns = score([3, 1, 2, 6], [40, 20, 20, 20], first, make_conditions([8], 1))
    row = dict(zip(PRIVILEGED_NAMES, columns[0].tolist(), strict=True))
    expected = {
        "share_ratio": -1.0,
        "ideal_capacity": 0.0,
        "is_shared": 0.0,
        "true_queue": 1.0,
        "buffer": 1.0,
        "random_loss": 0.1,
        "n_users": 0.25,
        "true_cwnd_bdp": 0.0,  # 8 Mbit/s for 20 ms are 20 000 bytes
        "bdp_mss": np.log2(20) / 8,
        "path_share": 3 / 8,
        # 20 000 bytes in flight, and in the queue what is least of 3 segments with 3 % of that, and 0.3 of the buffer.
        "target_cwnd": np.log2((20_000 + 0.03 * 20_000 + 3 * 1000) / 20_000),
        "has_stranger": 0.0,
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, abs=1e-6), name
