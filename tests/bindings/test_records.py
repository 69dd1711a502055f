# SPDX-License-Identifier: BSD-2-Clause
"""The recorder itself: a ring of the newest, read once, off by default."""

import pytest

from ccdrl.bindings.errors import InputError
from ccdrl.bindings.records import Kind, enable_records, read_records
from ccdrl.tests.bindings.networks import MS, S, build, flow, link


def make(records=0):
    return build([link(12, 50)], [flow("reno", 0)], records=records)


def test_nothing_is_recorded_unless_asked_for():
    simulator = make()
    simulator.run(S)
    assert len(read_records(simulator)) == 0


def test_the_ring_keeps_the_newest():
    all_of_it, newest = make(records=1 << 16), make(records=100)
    all_of_it.run(S)
    newest.run(S)
    records = read_records(all_of_it)
    assert len(records) > 100
    assert read_records(newest).tobytes() == records[-100:].tobytes()


def test_records_are_taken_out_oldest_first():
    simulator = make(records=1 << 12)
    simulator.run(155 * MS)
    first, rest = read_records(simulator, 4), read_records(simulator)
    assert first["kind"].tolist() == [Kind.SEND] * 4
    assert first["seq"].tolist() == [0, 1, 2, 3]
    assert len(rest) == 10 - 4 + 5  # the rest of the burst, and what arrives from 151 ms on, one each ms
    assert len(read_records(simulator)) == 0


def test_recording_can_be_ended():
    simulator = make(records=64)
    enable_records(simulator, 0)
    simulator.run(S)
    assert len(read_records(simulator)) == 0


def test_a_bad_capacity_is_refused():
    with pytest.raises(InputError, match="capacity"):
        enable_records(make(), -1)
    with pytest.raises(InputError, match="capacity"):
        read_records(make(), 0)
