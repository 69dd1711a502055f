# SPDX-License-Identifier: BSD-2-Clause
"""The guard around a controller's decisions; the bounds by themselves: tests/bindings/decision/test_actions.py."""

import numpy as np
import pytest

from ccdrl.agent.controller import Controller
from ccdrl.agent.guard import Guard
from ccdrl.bindings.errors import InputError
from ccdrl.bindings.library import make_samples

MSS = 1000


class Answer:
    """Answers with the same actions every time."""

    def __init__(self, actions):
        self.actions = np.array(actions, np.float32)

    def act(self, observations):
        return self.actions


def make(count):
    samples = make_samples(count)
    samples["abi"], samples["seq"], samples["timestamp_us"], samples["mss_bytes"] = 2, 1, 1_000_000, MSS
    samples["subflow_id"] = samples["conn_id"] = np.arange(1, count + 1)
    samples["cwnd_bytes"] = samples["inflight_bytes"] = 20 * MSS
    samples["srtt_us"] = samples["last_rtt_us"] = samples["min_rtt_us"] = 40_000
    return samples


def test_actions_are_finite_or_nan_and_clipped():
    decisions, guard = [], Guard()
    controller = Controller(Answer([0.5, 2.0, -3.0, np.nan, np.inf, -np.inf]), guard=guard, tap=decisions.append)
    assert controller.step(make(6))["subflow_id"].tolist() == [1, 2, 3]
    limited = decisions[0].actions
    assert limited[:3].tolist() == [0.5, 1.0, -1.0]
    assert np.isnan(limited[3:]).all()
    assert decisions[0].cwnd_actions["subflow_id"].tolist() == [1, 2, 3, 0, 0, 0]
    counters = guard.counters
    assert (counters.actions, counters.actions_not_finite, counters.actions_clipped) == (6, 3, 2)


def test_windows_are_bounded_and_counted():
    free, guard = Controller(Answer([1.0, -1.0])), Guard(cwnd_max_bytes=20 * MSS)
    wanted = free.step(make(2)).copy()
    assert wanted["cwnd_bytes"][0] > 20 * MSS > wanted["cwnd_bytes"][1]
    bounded = Controller(Answer([1.0, -1.0]), guard=guard).step(make(2))
    assert bounded["cwnd_bytes"].tolist() == [20 * MSS, wanted["cwnd_bytes"][1]]
    pacing = wanted["pacing_rate_bytes_per_s"] * (bounded["cwnd_bytes"] / wanted["cwnd_bytes"])
    assert bounded["pacing_rate_bytes_per_s"] == pytest.approx(pacing, abs=1)
    assert guard.snapshot()["windows_bounded"] == 1


def test_a_maximum_that_is_none_is_refused():
    with pytest.raises(InputError, match="cwnd_max_bytes"):
        Controller(Answer([0.0]), guard=Guard(-1))
