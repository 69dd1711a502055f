# SPDX-License-Identifier: BSD-2-Clause
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdrl.bindings.decision.tally import Tally
from ccdrl.bindings.errors import InputError


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 50), n_bounds=st.integers(0, 15), seed=st.integers(0, 2**32 - 1))
def test_counts_as_numpy_does(n, n_bounds, seed):
    rng = np.random.default_rng(seed)
    bounds = np.sort(rng.choice(20, n_bounds, replace=False)).astype(float)
    # On the bounds, and between them.
    values = np.where(rng.random(n) < 0.5, rng.integers(-1, 21, n), rng.uniform(-1, 21, n))
    one, all_at_once, scaled = (Tally(bounds.tolist()) for _ in range(3))
    for value in values:
        one.observe(value)
    all_at_once.observe_all(values[: n // 2])
    all_at_once.observe_all(values[n // 2 :])
    scaled.observe_all(values * 4, 0.25)
    expected = np.bincount(bounds.searchsorted(values), minlength=n_bounds + 1).tolist()
    assert one.counts == all_at_once.counts == scaled.counts == expected
    for tally in (one, all_at_once, scaled):
        assert tally.total == pytest.approx(values.sum(), abs=1e-9)


@pytest.mark.parametrize("bounds", [[2.0, 1.0], list(range(16))])
def test_bounds_that_cannot_be_are_refused(bounds):
    with pytest.raises(InputError, match="bounds"):
        Tally(bounds)
