# SPDX-License-Identifier: BSD-2-Clause
import numpy as np

from ccdrl.agent.guard import Guard
from ccdrl.bindings.library import make_actions, make_samples


def test_samples_of_another_abi_or_without_id_are_refused_and_counted():
    guard, samples = Guard(), make_samples(4)
    samples["abi"] = [2, 1, 2, 3]
    samples["subflow_id"] = [1, 2, 0, 4]
    assert guard.select_samples(samples).tolist() == [True, False, False, False]
    assert (guard.counters.samples, guard.counters.samples_foreign) == (4, 3)


def test_older_records_are_refused_and_counted():
    guard = Guard()
    fresh = guard.select_fresh(np.array([5, 5, 4], np.uint64), np.array([0, 5, 5], np.uint64))
    assert fresh.tolist() == [True, True, False]
    assert guard.counters.samples_stale == 1


def test_actions_are_finite_or_nan_and_clipped():
    guard = Guard()
    limited = guard.limit_actions(np.array([0.5, 2.0, -3.0, np.nan, np.inf, -np.inf], np.float32))
    assert limited[:3].tolist() == [0.5, 1.0, -1.0]
    assert np.isnan(limited[3:]).all()
    counters = guard.counters
    assert (counters.actions, counters.actions_not_finite, counters.actions_clipped) == (6, 3, 2)


def test_windows_are_bounded_in_place_and_counted():
    guard, actions = Guard(cwnd_max_bytes=10_000), make_actions(3)
    actions["cwnd_bytes"] = [9_999, 10_000, 2**32 - 1]
    guard.limit_windows(actions)
    assert actions["cwnd_bytes"].tolist() == [9_999, 10_000, 10_000]
    assert guard.snapshot()["windows_bounded"] == 1
