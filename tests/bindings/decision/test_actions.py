# SPDX-License-Identifier: BSD-2-Clause
"""The bounds on either side of the mapping."""

import numpy as np

from ccdrl.bindings.library import make_actions
from ccdrl.tests.bindings.decision.parts import limit_actions, limit_windows


def test_actions_are_finite_or_nan_and_clipped():
    limited, n_not_finite, n_clipped = limit_actions(np.array([0.5, 2.0, -3.0, np.nan, np.inf, -np.inf], np.float32))
    assert limited[:3].tolist() == [0.5, 1.0, -1.0]
    assert np.isnan(limited[3:]).all()
    assert (n_not_finite, n_clipped) == (3, 2)


def test_windows_are_bounded_in_place_and_counted():
    actions = make_actions(3)
    actions["cwnd_bytes"] = [9_999, 10_000, 20_000]
    actions["pacing_rate_bytes_per_s"] = 10**6
    assert limit_windows(actions, 10_000) == 1
    assert actions["cwnd_bytes"].tolist() == [9_999, 10_000, 10_000]
    assert actions["pacing_rate_bytes_per_s"].tolist() == [10**6, 10**6, 5 * 10**5]


def test_a_bounded_window_is_paced_as_a_window_of_its_size():
    actions = make_actions(3)
    actions["cwnd_bytes"] = [10_000, 40_000, 20_000]
    actions["pacing_rate_bytes_per_s"] = [1_000_000, 1_000_000, 0]
    limit_windows(actions, 10_000)
    assert actions["pacing_rate_bytes_per_s"].tolist() == [1_000_000, 250_000, 0]
