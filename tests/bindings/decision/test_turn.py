# SPDX-License-Identifier: BSD-2-Clause
"""A turn against its parts one by one, and what it refuses."""

import numpy as np
import pytest

from ccdrl.bindings.decision.library import GUARD_DTYPE
from ccdrl.bindings.decision.table import SubflowTable
from ccdrl.bindings.decision.turn import Turn
from ccdrl.bindings.errors import InputError
from ccdrl.bindings.library import Event, State, make_actions, make_samples
from ccdrl.envs.action import MAPPER, map_actions
from ccdrl.envs.observation import Observer
from ccdrl.tests.bindings.decision.parts import Table, limit_actions, limit_windows

CAPACITY = 12
CWND_MAX_BYTES = 60_000
BOUNDS_US, IDLE_US = (10_000, 100_000), 300_000


def make_turn(capacity=CAPACITY, cwnd_max_bytes=CWND_MAX_BYTES, observer_capacity=None):
    counts = np.zeros(1, GUARD_DTYPE)
    table, observer = SubflowTable(capacity, BOUNDS_US, IDLE_US), Observer(observer_capacity or capacity)
    return Turn(table, observer, MAPPER, counts, cwnd_max_bytes), counts


def draw(rng, seq, now_us):
    """Return records of subflows that come and go, some of them absurd."""
    count = int(rng.integers(0, 10))
    samples = make_samples(count)
    samples["subflow_id"] = rng.integers(0, 16, count)
    samples["conn_id"] = samples["subflow_id"] % 5
    samples["abi"] = rng.choice([2, 2, 2, 2, 1], count)
    samples["seq"], samples["timestamp_us"] = seq + rng.integers(0, 4, count), now_us - rng.integers(0, 5_000, count)
    samples["timestamp_us"][rng.random(count) < 0.03] += np.uint64(2_000_000)
    samples["event"] = rng.choice([Event.SAMPLE] * 6 + [Event.CLOSED], count)
    samples["state"] = rng.choice([State.OPEN, State.RECOVERY, State.LOSS], count)
    samples["mss_bytes"], samples["cwnd_bytes"] = 1000, rng.integers(1000, 100_000, count)
    samples["inflight_bytes"] = samples["cwnd_bytes"]
    samples["srtt_us"] = rng.integers(0, 80_000, count)
    samples["min_rtt_us"] = samples["last_rtt_us"] = samples["srtt_us"] * 0.9
    samples["sent_bytes"] = samples["delivered_bytes"] = rng.integers(0, 2**30, count)
    return samples


class Parts:
    """The same turn, a call for each part and new arrays for all."""

    def __init__(self):
        self.table, self.observer = Table(CAPACITY, BOUNDS_US, IDLE_US), Observer(CAPACITY)
        self.counts = dict.fromkeys(GUARD_DTYPE.names, 0)
        self.refused = 0

    def begin(self, samples, now_us):
        intake = self.table.absorb(samples, now_us)
        self.counts["samples"] += len(samples)
        for name in ("foreign", "future", "stale"):
            self.counts[f"samples_{name}"] += getattr(intake, name)
        self.refused += intake.refused
        self.observer.reset(intake.rows, intake.connections)
        if now_us < self.table.wake_us:
            return 0
        self.due = self.table.select_due(now_us)
        self.observations = self.observer.update(self.due.rows, self.due.records)
        return len(self.due.rows)

    def finish(self, answers):
        limited, n_not_finite, n_clipped = limit_actions(answers)
        self.observer.remember(self.due.rows, limited)
        actions = make_actions(len(limited))
        steps = self.observer.get_steps(self.due.rows)
        map_actions(limited, steps, self.due.records, self.due.intervals_us, actions)
        n_bounded = limit_windows(actions, CWND_MAX_BYTES)
        for name, count in zip(list(self.counts)[4:], (len(limited), n_not_finite, n_clipped, n_bounded), strict=True):
            self.counts[name] += count
        self.cwnd_actions = actions
        return limited


@pytest.mark.parametrize("seed", range(5))
def test_a_turn_is_its_parts(seed):
    rng = np.random.default_rng(seed)
    (turn, counts), parts, now_us = make_turn(), Parts(), 1_000_000
    n_decided = 0
    for seq in range(1, 400):
        now_us += int(rng.integers(0, 12_000))
        samples = draw(rng, seq, now_us)
        n = turn.begin(samples, now_us)
        assert n == parts.begin(samples.copy(), now_us)
        assert turn.refused == parts.refused
        if n == 0:
            continue
        n_decided += n
        assert turn.now_us == now_us
        assert turn.observations.tobytes() == parts.observations.tobytes()
        assert turn.records.tobytes() == parts.due.records.tobytes()
        assert turn.ages_us.tobytes() == parts.due.ages_us.tobytes()
        answers = rng.normal(0, 1, n).astype(np.float32)
        answers[rng.random(n) < 0.1] = np.nan
        turn.finish(answers)
        limited = parts.finish(answers)
        assert turn.actions.tobytes() == limited.tobytes()
        assert turn.cwnd_actions.tobytes() == parts.cwnd_actions.tobytes()
        is_asked = parts.cwnd_actions["subflow_id"] != 0
        segments = parts.cwnd_actions["cwnd_bytes"][is_asked] / parts.due.records["mss_bytes"][is_asked]
        assert turn.segments_min == min(segments, default=np.inf)
        turn.cwnd_actions["subflow_id"][: seq % 3] = is_asked[: seq % 3] = 0
        assert turn.gather().tobytes() == turn.cwnd_actions[is_asked].tobytes()
    assert counts[0].tolist() == tuple(parts.counts.values())
    assert all(parts.counts.values()), "every count was tried"
    assert n_decided > 500


def make_live(now_us):
    samples = make_samples(3)
    samples["abi"], samples["subflow_id"], samples["seq"], samples["mss_bytes"] = 2, [1, 2, 3], now_us, 1000
    samples["srtt_us"], samples["cwnd_bytes"], samples["timestamp_us"] = 20_000, 20_000, now_us
    return samples


def test_samples_of_any_place_in_memory_are_taken():
    for place in (lambda samples: samples, lambda samples: np.repeat(samples, 2)[::2]):
        turn, _ = make_turn()
        samples = place(make_live(10**6))
        for now_us in (1_000_000, 1_100_000, 1_200_000):
            samples[:] = make_live(now_us)
            assert turn.begin(samples, now_us) == 3
            assert turn.records["seq"].tolist() == [now_us] * 3, "what stands in the array now, not what stood there"
            assert turn.begin(samples[:0], now_us) == 0


def answer(turn, actions):
    turn.finish(actions)
    return turn.actions.tolist()


def test_answers_of_any_place_in_memory_are_taken():
    turn, _ = make_turn()
    assert turn.begin(make_live(10**6), 10**6) == 3
    same = np.array([0.5, 0.25, 0.125], np.float32)
    assert answer(turn, same) == [0.5, 0.25, 0.125]
    same[:] = -0.5
    assert answer(turn, same) == [-0.5] * 3, "what stands in the array now, not what stood there"
    spread = np.repeat(np.array([0.5, 0.25, 0.125], np.float32), 2)
    assert answer(turn, spread[::2]) == [0.5, 0.25, 0.125]
    wide = np.array([0.5, 0.25, 0.125])
    assert answer(turn, wide) == [0.5, 0.25, 0.125]
    wide[:] = 0.75
    assert answer(turn, wide) == [0.75] * 3
    for wrong in (same[:2], np.zeros((3, 1), np.float32)):
        with pytest.raises(InputError, match="actions: expected 3 values"):
            turn.finish(wrong)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="observer: expected a capacity of 12 rows, got 4"):
        make_turn(observer_capacity=4)
    with pytest.raises(InputError, match="cwnd_max_bytes"):
        make_turn(cwnd_max_bytes=0)
    with pytest.raises(InputError, match="counts: expected one record, got 0"):
        Turn(SubflowTable(1, BOUNDS_US, IDLE_US), Observer(1), MAPPER, np.zeros(0, GUARD_DTYPE), 1)
    with pytest.raises(InputError, match="samples: expected a numpy array"):
        make_turn()[0].begin(np.zeros(2), 1)
