# SPDX-License-Identifier: BSD-2-Clause
"""The Linux binding on maps in plain memory, where the test plays the kernel: cases that a live kernel rarely shows."""

import threading
import time

import numpy as np
import pytest

from ccdrl.bindings.datapath import Counters, Datapath
from ccdrl.bindings.errors import DatapathError, InputError
from ccdrl.bindings.library import (
    ABI_VERSION,
    ACTION_DTYPE,
    LEASE_MAX_US,
    SAMPLE_DTYPE,
    Absent,
    ActionResult,
    Event,
    Flag,
    make_actions,
)

pytest.importorskip("ccdrl.bindings.linux._linux", reason="this machine lacks the Linux binding (it is no Linux)")

from ccdrl.bindings.linux import library  # noqa: E402
from ccdrl.bindings.linux.datapath import LinuxDatapath  # noqa: E402
from ccdrl.bindings.linux.maps import make_memory_maps  # noqa: E402

MSS_BYTES = 1448
CWND_MAX_BYTES = 1 << 24


class Kernel:
    """Writes slots as the BPF program does."""

    def __init__(self, slots=8):
        self.maps = make_memory_maps(slots, cwnd_max_bytes=CWND_MAX_BYTES)
        self.generation = 1000

    def open(self, slot, conn_id=7):
        self.generation += 1
        self.maps.states[slot] = np.zeros((), library.STATE_DTYPE)
        sample = self.maps.states["sample"]
        sample["abi"][slot] = ABI_VERSION
        sample["subflow_id"][slot] = subflow_id = self.generation << library.SLOT_BITS | slot
        sample["conn_id"][slot], sample["mss_bytes"][slot] = conn_id, MSS_BYTES
        self.record(slot, Event.CREATED)
        return subflow_id

    def record(self, slot, event=Event.SAMPLE, **values):
        """Write the next record; values are fields of the slot or of its sample."""
        for name, value in values.items():
            (self.maps.states if name in library.STATE_DTYPE.names else self.maps.states["sample"])[name][slot] = value
        self.maps.states["sample"]["seq"][slot] += 1
        self.maps.states["sample"]["event"][slot] = event
        self.maps.states["lock"][slot] += 2
        self.maps.changes[slot] += 1


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def datapath(kernel):
    return LinuxDatapath(maps=kernel.maps)


def make_action(row, cwnd_bytes=20_000, lease_us=100_000):
    action = make_actions(1)
    action["subflow_id"], action["seq"] = row["subflow_id"], row["seq"]
    action["cwnd_bytes"], action["lease_us"] = cwnd_bytes, lease_us
    return action


def read_events(datapath):
    return [(int(row["subflow_id"]), Event(row["event"])) for row in datapath.read_samples()]


def test_layouts_are_those_of_the_interface():
    assert library.STATE_DTYPE["sample"] == SAMPLE_DTYPE
    assert library.CONTROL_DTYPE["action"] == ACTION_DTYPE
    assert (library.STATE_DTYPE.itemsize, library.CONTROL_DTYPE.itemsize) == (256, 64)


def test_it_is_a_datapath(datapath):
    assert isinstance(datapath, Datapath)
    assert datapath.capabilities.name == "linux"
    assert not datapath.capabilities.is_simulated_time


def test_events_are_told_from_what_this_reader_has_seen(kernel, datapath):
    first = kernel.open(3)
    kernel.record(3)
    assert read_events(datapath) == [(first, Event.CREATED)], "the latest record, as the first one"
    kernel.record(3)
    assert read_events(datapath) == [(first, Event.SAMPLE)]
    kernel.record(3, state_changes=1)
    kernel.record(3)
    assert read_events(datapath) == [(first, Event.STATE)], "the change is not lost to a later record"
    assert read_events(datapath) == []
    kernel.record(3, Event.CLOSED)
    assert read_events(datapath) == [(first, Event.CLOSED)]
    kernel.record(3, Event.CLOSED)
    assert read_events(datapath) == []
    late = LinuxDatapath(maps=kernel.maps)
    assert read_events(late) == [], "what closed before a reader came is not news to it"


def test_a_subflow_whose_slot_was_reused_still_ends(kernel, datapath):
    first = kernel.open(2, conn_id=5)
    assert read_events(datapath) == [(first, Event.CREATED)]
    kernel.record(2, Event.CLOSED)
    second = kernel.open(2, conn_id=6)
    rows = datapath.read_samples().copy()
    assert [(int(row["subflow_id"]), Event(row["event"])) for row in rows] == [
        (first, Event.CLOSED),
        (second, Event.CREATED),
    ]
    assert [int(row["conn_id"]) for row in rows] == [5, 6]
    assert rows[0]["absent"] & Absent.COUNTERS
    assert read_events(datapath) == []


def test_a_reused_slot_with_room_for_one_record_takes_two_reads(kernel):
    datapath = LinuxDatapath(maps=kernel.maps, capacity=1)
    first = kernel.open(0)
    datapath.read_samples()
    second = kernel.open(0)
    assert read_events(datapath) == [(first, Event.CLOSED)]
    assert read_events(datapath) == [(second, Event.CREATED)]
    assert read_events(datapath) == []


def test_every_subflow_gets_its_turn(kernel):
    datapath = LinuxDatapath(maps=kernel.maps, capacity=3)
    ids = [kernel.open(slot) for slot in range(8)]
    seen = []
    for _ in range(16):
        seen += [subflow_id for subflow_id, _ in read_events(datapath)]
        for slot in range(8):
            kernel.record(slot)
    assert {seen.count(subflow_id) for subflow_id in ids} == {6}, "48 records of 8 subflows"


def test_flags_tell_of_all_time_since_the_last_record(kernel, datapath):
    kernel.open(1)
    datapath.read_samples()
    kernel.record(1, cwnd_limited_acks=4, rwnd_limited_acks=0)
    kernel.record(1)
    (row,) = datapath.read_samples()
    assert Flag(int(row["flags"])) == Flag.CWND_LIMITED | Flag.FALLBACK
    kernel.record(1, rwnd_limited_acks=9, lease_end_us=datapath.clock_us() + 10**9)
    (row,) = datapath.read_samples()
    assert Flag(int(row["flags"])) == Flag.RWND_LIMITED


def test_a_lease_that_ran_out_since_the_record_shows(kernel, datapath):
    kernel.open(1)
    kernel.record(1, lease_end_us=datapath.clock_us() - 1)
    (row,) = datapath.read_samples()
    assert row["flags"] & Flag.FALLBACK


def test_a_slot_that_is_being_written_comes_with_the_next_read(kernel, datapath):
    first = kernel.open(4)
    kernel.maps.states["lock"][4] += 1
    assert read_events(datapath) == []
    kernel.maps.states["lock"][4] += 1
    assert read_events(datapath) == [(first, Event.CREATED)]


def test_a_reader_never_sees_half_a_record(kernel, datapath):
    """A thread writes records of equal fields, the lock odd in between; a reader that gets one at all gets it whole."""
    kernel.open(0)
    is_done = threading.Event()

    def write():
        number = 0
        state, sample = kernel.maps.states, kernel.maps.states["sample"]
        while not is_done.is_set():
            number += 1
            state["lock"][0] += 1
            for name in ("sent_bytes", "delivered_bytes", "lost_bytes"):
                sample[name][0] = number
            state["lock"][0] += 1
            kernel.maps.changes[0] += 1

    thread = threading.Thread(target=write)
    thread.start()
    whole, end_s = 0, time.monotonic() + 20
    try:
        while whole < 50 and time.monotonic() < end_s:
            for row in datapath.read_samples():
                whole += 1
                assert row["sent_bytes"] == row["delivered_bytes"] == row["lost_bytes"]
    finally:
        is_done.set()
        thread.join()
    assert whole == 50


def test_an_action_lands_in_its_slot(kernel, datapath):
    kernel.open(5)
    (row,) = datapath.read_samples()
    before_us = datapath.clock_us()
    assert list(datapath.write_actions(make_action(row))) == [ActionResult.APPLIED]
    control = kernel.maps.controls[5]
    assert control["action"] == make_action(row)[0]
    assert before_us <= control["arrival_us"] <= datapath.clock_us()
    assert control["version"] == 2
    datapath.write_actions(make_action(row))
    assert kernel.maps.controls[5]["version"] == 4
    assert int(kernel.maps.tally["applied"][0]) == 2


@pytest.mark.parametrize(
    ("wanted", "written"), [(1, 2 * MSS_BYTES), (CWND_MAX_BYTES + 1, CWND_MAX_BYTES), (2**32 - 1, CWND_MAX_BYTES)]
)
def test_windows_are_clamped(kernel, datapath, wanted, written):
    kernel.open(5)
    (row,) = datapath.read_samples()
    assert list(datapath.write_actions(make_action(row, wanted))) == [ActionResult.CLAMPED]
    assert kernel.maps.controls["action"]["cwnd_bytes"][5] == written
    assert datapath.counters() == Counters(clamped=1)


def test_stale_answers(kernel, datapath):
    kernel.open(5)
    rows = []
    for _ in range(3):
        kernel.record(5)
        rows.append(datapath.read_samples()[0].copy())
    kernel.record(5, rto_seq=int(rows[1]["seq"]))
    results = [datapath.write_actions(make_action(rows[index]))[0] for index in (0, 1, 2, 1)]
    assert results == [ActionResult.STALE, ActionResult.APPLIED, ActionResult.APPLIED, ActionResult.STALE]
    future = make_action(rows[2])
    future["seq"] += 100
    assert list(datapath.write_actions(future)) == [ActionResult.STALE]


def test_rubbish_in_the_control_stops_no_honest_agent(kernel, datapath):
    kernel.open(5)
    (row,) = datapath.read_samples()
    raw = kernel.maps.controls.view(np.uint8)
    raw[:] = 0xFF
    kernel.maps.controls["action"]["subflow_id"][5] = row["subflow_id"]
    assert list(datapath.write_actions(make_action(row))) == [ActionResult.APPLIED]
    assert int(kernel.maps.controls["version"][5]) % 2 == 0


def test_actions_for_nobody(kernel, datapath):
    kernel.open(5)
    (row,) = datapath.read_samples()
    gone = row.copy()
    action = make_action(row)
    for subflow_id in (0, 5, int(row["subflow_id"]) + 1, library.SLOTS_MAX + 1, 2**64 - 1):
        action["subflow_id"] = subflow_id
        assert list(datapath.write_actions(action)) == [ActionResult.UNKNOWN]
    kernel.record(5, Event.CLOSED)
    assert list(datapath.write_actions(make_action(gone))) == [ActionResult.UNKNOWN]
    assert not kernel.maps.controls["version"].any()


@pytest.mark.parametrize(
    ("field", "value"),
    [("abi", 1), ("cwnd_bytes", 0), ("lease_us", 0), ("lease_us", LEASE_MAX_US + 1), ("reserved", 1)],
)
def test_malformed_actions(kernel, datapath, field, value):
    kernel.open(5)
    action = make_action(datapath.read_samples()[0])
    action[field] = value
    assert list(datapath.write_actions(action)) == [ActionResult.MALFORMED]
    assert not kernel.maps.controls["version"].any()


def test_reading_without_the_right_to_write(kernel):
    maps = kernel.maps
    datapath = LinuxDatapath(maps=type(maps)(maps.states, maps.changes, maps.info, None, None))
    kernel.open(1)
    assert len(datapath.read_samples()) == 1
    with pytest.raises(PermissionError, match="controls"):
        datapath.write_actions(make_actions(1))


def test_expired_leases_count_from_the_opening(kernel):
    kernel.maps.info["counters"]["expired"] = 5
    datapath = LinuxDatapath(maps=kernel.maps)
    kernel.maps.info["counters"]["expired"] = 7
    assert datapath.counters() == Counters(expired=2)


def test_closing(kernel, datapath):
    kernel.open(1)
    rows = datapath.read_samples()
    datapath.close()
    datapath.close()
    assert rows[0]["mss_bytes"] == MSS_BYTES
    for call in (datapath.read_samples, lambda: datapath.write_actions(make_actions(1)), datapath.counters):
        with pytest.raises(DatapathError, match="closed"):
            call()


def test_bad_arguments(kernel, datapath):
    with pytest.raises(InputError, match="capacity"):
        LinuxDatapath(maps=kernel.maps, capacity=0)
    with pytest.raises(InputError, match="actions"):
        datapath.write_actions(np.zeros(3))


def test_one_datapath_at_a_time_has_the_claim(tmp_path):
    first, second = (LinuxDatapath(tmp_path, maps=make_memory_maps(4)) for _ in range(2))
    first.claim()
    first.claim()
    with pytest.raises(DatapathError, match=f"another agent sets the windows of {tmp_path} already"):
        second.claim()
    first.close()
    second.claim()
    with pytest.raises(DatapathError, match="closed"):
        first.claim()
    second.close()
