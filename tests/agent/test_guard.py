# SPDX-License-Identifier: BSD-2-Clause
import numpy as np

from ccdrl.agent.guard import Guard
from ccdrl.bindings.library import make_actions


def test_actions_are_finite_or_nan_and_clipped():
    guard = Guard()
    limited = guard.limit_actions(np.array([0.5, 2.0, -3.0, np.nan, np.inf, -np.inf], np.float32))
    assert limited[:3].tolist() == [0.5, 1.0, -1.0]
    assert np.isnan(limited[3:]).all()
    counters = guard.counters
    assert (counters.actions, counters.actions_not_finite, counters.actions_clipped) == (6, 3, 2)


def test_windows_are_bounded_in_place_and_counted():
    guard, actions = Guard(cwnd_max_bytes=10_000), make_actions(3)
    actions["cwnd_bytes"] = [9_999, 10_000, 20_000]
    actions["pacing_rate_bytes_per_s"] = 10**6
    guard.limit_windows(actions)
    assert actions["cwnd_bytes"].tolist() == [9_999, 10_000, 10_000]
    assert actions["pacing_rate_bytes_per_s"].tolist() == [10**6, 10**6, 5 * 10**5]
    assert guard.snapshot()["windows_bounded"] == 1


def test_a_bounded_window_is_paced_as_a_window_of_its_size():
    guard, actions = Guard(cwnd_max_bytes=10_000), make_actions(3)
    actions["cwnd_bytes"] = [10_000, 40_000, 20_000]
    actions["pacing_rate_bytes_per_s"] = [1_000_000, 1_000_000, 0]
    guard.limit_windows(actions)
    assert actions["pacing_rate_bytes_per_s"].tolist() == [1_000_000, 250_000, 0]
