# SPDX-License-Identifier: BSD-2-Clause
"""The observer in C against the one in plain Python (observation_reference.py), over generated streams of samples.

Both compute in float64 and round to float32 at the end, so that only the order of sums and the last bits of powers and
logarithms may differ: 1e-6 of the value or of 1, whichever is more.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdrl.bindings.library import SAMPLE_DTYPE, Event, make_samples
from ccdrl.envs.observation import Observer
from ccdrl.envs.observation_layout import OBSERVATION_LIMIT
from ccdrl.tests.envs.observation_reference import ReferenceObserver

LEVELS = (
    "mss_bytes", "cwnd_bytes", "ssthresh_bytes", "inflight_bytes", "srtt_us", "min_rtt_us", "last_rtt_us",
    "delivery_rate_bytes_per_s",
)  # fmt: skip
COUNTERS = (
    "timestamp_us", "sent_bytes", "delivered_bytes", "lost_bytes", "loss_events", "rto_events", "ecn_marks",
)  # fmt: skip


def draw(rng, dtype, count):
    """Return integers of every magnitude the type has, and 0."""
    bits = 8 * np.dtype(dtype).itemsize
    return (rng.integers(0, 2**bits, count, np.uint64) >> rng.integers(0, bits + 1, count, np.uint64)).astype(dtype)


def move(rng, samples, chaos):
    """Advance the records: counters by steps of every magnitude; with the probability `chaos` a field is garbage."""
    count = len(samples)
    for name in COUNTERS:
        dtype = SAMPLE_DTYPE[name]
        steps = draw(rng, np.uint16 if dtype.itemsize == 4 else np.uint32, count)
        samples[name] += np.where(rng.random(count) < 0.7, steps, 0).astype(dtype)
    for name in (*LEVELS, *COUNTERS):
        is_drawn = rng.random(count) < (max(chaos, 0.3) if name in LEVELS else chaos)
        samples[name] = np.where(is_drawn, draw(rng, SAMPLE_DTYPE[name], count), samples[name])
    samples["state"] = rng.integers(0, 5, count)
    samples["flags"] = rng.integers(0, 32, count)
    samples["absent"] = np.where(rng.random(count) < 0.3, rng.integers(0, 256, count), 0)
    samples["event"] = np.where(rng.random(count) < 0.9, Event.SAMPLE, Event.CLOSED)


def make(rng, count):
    samples = make_samples(count)
    samples["subflow_id"] = np.arange(1, count + 1)
    samples["mss_bytes"], samples["cwnd_bytes"], samples["srtt_us"] = 1448, 20_000, rng.integers(1_000, 500_000, count)
    return samples


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 12),
    connections=st.sampled_from([1, 2, 5, 2**31]),
    chaos=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
)
def test_equal_to_the_reference(seed, count, connections, chaos):
    rng = np.random.default_rng(seed)
    capacity = count + int(rng.integers(0, 4))
    rows = rng.permutation(capacity)[:count]
    native, reference = Observer(capacity), ReferenceObserver(capacity)
    numbers = rng.integers(0, connections, count)
    for observer in (native, reference):
        observer.reset(rows, numbers)
    samples = make(rng, count)
    for _ in range(8):
        move(rng, samples, chaos)
        order = rng.permutation(count)[: int(rng.integers(1, count + 1))]  # others keep silent
        rng.shuffle(order)
        result = native.update(rows[order], samples[order])
        expected = reference.update(rows[order], samples[order])
        assert np.isfinite(result).all() and np.abs(result).max() <= OBSERVATION_LIMIT
        assert result == pytest.approx(expected, rel=1e-6, abs=1e-6)
        actions = rng.choice(np.array([np.nan, np.inf, -np.inf, -3, 0.3, 0.9, -0.7], np.float32), len(order))
        native.remember(rows[order], actions)
        reference.remember(rows[order], actions)
        if rng.random() < 0.2:  # a row is given to another subflow
            row, number = rows[:1], rng.integers(0, connections, 1)
            for observer in (native, reference):
                observer.reset(row, number)
    seen = [i for i, row in enumerate(rows) if reference.rows[row].before is not None]
    for ours, theirs in zip(native.get_steps(rows[seen]).tolist(), reference.get_steps(rows[seen]), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)
    assert native.get_rate(rows[seen]) == pytest.approx(reference.get_rate(rows[seen]), rel=1e-9)
    assert native.get_loss(rows[seen]) == pytest.approx(reference.get_loss(rows[seen]), rel=1e-9, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_of_rows_changes_sums_only_by_rounding(seed):
    rng = np.random.default_rng(seed)
    one, other, rows = Observer(8), Observer(8), np.arange(8)
    numbers = rng.integers(0, 2, 8)
    order = rng.permutation(8)
    samples = make(rng, 8)
    for observer in (one, other):
        observer.reset(rows, numbers)
    for _ in range(5):
        move(rng, samples, 0.1)
        expected = one.update(rows, samples)
        assert other.update(rows[order], samples[order]) == pytest.approx(expected[order], rel=1e-6, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_equal_streams_give_equal_bytes(seed):
    results = []
    for _ in range(2):
        rng = np.random.default_rng(seed)
        observer, rows, samples, seen = Observer(6), np.arange(6), make(rng, 6), []
        observer.reset(rows, rng.integers(0, 3, 6))
        for _ in range(4):
            move(rng, samples, 0.1)
            seen.append(observer.update(rows, samples).tobytes())
        results.append(seen)
    assert results[0] == results[1]
