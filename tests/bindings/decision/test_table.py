# SPDX-License-Identifier: BSD-2-Clause
"""The table of subflows: what it believes, when a connection is due, and that no row is lost or given twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdrl.bindings.errors import InputError
from ccdrl.bindings.library import Event, make_samples
from ccdrl.tests.bindings.decision.parts import Table

IDLE_US = 1_000_000


def make(ids, **fields):
    samples = make_samples(len(ids))
    defaults = {
        "abi": 2, "subflow_id": ids, "conn_id": 1, "seq": 1, "timestamp_us": 1_000_000, "event": Event.SAMPLE,
        "mss_bytes": 1000, "srtt_us": 40_000,
    }  # fmt: skip
    for name, value in (defaults | fields).items():
        samples[name] = value
    return samples


def make_table(capacity=8, interval_us=(10_000, 100_000), idle_us=IDLE_US):
    return Table(capacity, interval_us, idle_us)


def test_records_are_judged():
    table = make_table()
    intake = table.absorb(make([1, 2, 0, 4], abi=[2, 1, 2, 2], timestamp_us=[5, 5, 5, 2_000_006]), now_us=1_000_005)
    assert (intake.foreign, intake.future, intake.stale, intake.refused) == (2, 1, 0, 0)
    assert (intake.newest_us, intake.rows.tolist()) == (5, [0])
    assert table.absorb(make([4], timestamp_us=2_000_005), 1_000_005).future == 0  # a grid's tolerance
    assert table.absorb(make([5], timestamp_us=2**64 - 1)).newest_us == 2**64 - 1  # no clock, no future
    intake = table.absorb(make([1, 1, 1], seq=[5, 4, 5]))
    assert intake.stale == 1
    assert table.n_subflows == 3


def test_siblings_are_due_together_and_records_carry_the_present_time():
    table = make_table()
    table.absorb(make([1, 2, 3], conn_id=[1, 1, 2], srtt_us=[20_000, 70_000, 500_000]), 1_000_000)
    due = table.select_due(1_000_100)
    assert due.rows.tolist() == [0, 1, 2]
    assert due.intervals_us.tolist() == [20_000, 20_000, 100_000]
    assert due.ages_us.tolist() == [100] * 3
    assert due.records["timestamp_us"].tolist() == [1_000_100] * 3
    assert table.wake_us == 1_020_100
    assert len(table.select_due(1_020_099).rows) == 0
    assert table.select_due(1_020_100).rows.tolist() == [0, 1]


def test_a_connection_is_decided_once_at_a_time():
    table = make_table()
    table.absorb(make([1]), 1_000_000)
    assert len(table.select_due(1_000_000).rows) == 1
    table.absorb(make([2]), 1_000_000)  # joins: the connection waits for its next turn
    assert table.wake_us == 0.0
    assert len(table.select_due(1_000_000).rows) == 0
    assert table.select_due(1_040_000).rows.tolist() == [0, 1]


def test_a_first_rtt_wakes_at_once():
    table = make_table()
    table.absorb(make([1, 2], conn_id=[1, 2], srtt_us=[40_000, 0]), 1_000_000)
    assert table.select_due(1_000_000).rows.tolist() == [0]
    table.absorb(make([2], conn_id=2, seq=2), 1_001_000)
    assert table.wake_us <= 1_001_000
    assert table.select_due(1_001_000).rows.tolist() == [1]


def test_silent_and_unmeasured_subflows_are_dropped():
    table = make_table()
    table.absorb(make([1, 2], srtt_us=[0, 0]), 1_000_000)
    table.select_due(1_000_000)
    assert table.wake_us == 0.0  # nobody lives; the silent have still to be found
    table.absorb(make([2], timestamp_us=1_500_000, seq=2), 1_500_000)
    table.select_due(2_000_001)
    assert table.n_subflows == 1
    assert table.copy_records()["subflow_id"].tolist() == [2]


def test_an_id_that_opens_and_closes_in_one_read_leaves_nothing():
    table = make_table(capacity=1)
    for n in range(1, 20):
        ids, events = [n, n, n + 1], [Event.CREATED, Event.CLOSED, Event.CREATED]
        intake = table.absorb(make(ids, event=events, seq=[1, 2, 1]))
        assert (table.n_subflows, table.n_connections, intake.refused) == (0, 0, 1)
        assert intake.rows.tolist() == [0]


@pytest.mark.parametrize(("name", "capacity", "interval"), [("capacity", 0, (1, 2)), ("interval_us", 1, (-1, 2))])
def test_bad_settings_are_refused(name, capacity, interval):
    with pytest.raises(InputError, match=name):
        make_table(capacity, interval)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), capacity=st.integers(1, 12), n_ids=st.sampled_from([2, 12, 40]))
def test_churn_against_a_dictionary(seed, capacity, n_ids):
    """Subflows come and go, crowding the maps: after each call the table agrees with plain dictionaries."""
    rng = np.random.default_rng(seed)
    table = make_table(capacity, idle_us=2**62)
    rows, connections, newest = {}, {}, {}
    for now_us in range(1, 60):
        count = int(rng.integers(0, 8))
        ids = rng.integers(1, n_ids, count).astype(np.uint64) << np.uint64(rng.choice([0, 20, 50]))
        event = rng.choice([Event.SAMPLE, Event.SAMPLE, Event.CLOSED], count)
        samples = make(ids, conn_id=ids % np.uint64(4), event=event, seq=rng.integers(0, 4, count), timestamp_us=now_us)
        opened, closing, refused, stale = [], set(), 0, 0
        for sample in samples:
            key, is_closed = int(sample["subflow_id"]), sample["event"] == Event.CLOSED
            if key not in newest and not is_closed:
                if len(newest) == capacity:
                    refused += 1
                    continue
                opened.append(key)
                newest[key] = 0
            if key in newest and sample["seq"] < newest[key]:
                stale += 1
            elif key in newest:
                newest[key] = int(sample["seq"])
                closing |= {key} if is_closed else set()
        intake = table.absorb(samples)
        assert (intake.refused, intake.stale, len(intake.rows)) == (refused, stale, len(opened))
        for key, row, connection in zip(opened, intake.rows.tolist(), intake.connections.tolist(), strict=True):
            assert row not in rows.values()
            name = (key % 4, 0 if key % 4 else key)
            siblings = {connections[other][1] for other in connections if connections[other][0] == name}
            assert siblings <= {connection}
            assert connection not in {number for other, number in connections.values() if other != name}
            rows[key], connections[key] = row, (name, connection)
        for key in closing:
            del rows[key], connections[key], newest[key]
        assert table.n_subflows == len(rows)
        assert table.n_connections == len({name for name, _ in connections.values()})
        records = table.copy_records()
        assert records["subflow_id"].tolist() == [key for key, _ in sorted(rows.items(), key=lambda item: item[1])]
        assert dict(zip(records["subflow_id"].tolist(), records["seq"].tolist(), strict=True)) == newest
        due = table.select_due(now_us)
        assert set(due.rows.tolist()) <= set(rows.values())
