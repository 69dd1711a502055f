# SPDX-License-Identifier: BSD-2-Clause
"""Records of ABI v1, one by one, and what becomes of them; the kernel's side is written by hand."""

import errno
import math

import numpy as np
import pytest

from ccdrl.bindings.datapath import Counters
from ccdrl.bindings.errors import DatapathError, InputError
from ccdrl.bindings.freebsd.datapath_v1 import ABSENT, FreeBSDV1Datapath
from ccdrl.bindings.freebsd.subflow_v1 import RTO_SILENCE_US, SAFE_SEGMENTS
from ccdrl.bindings.freebsd.transport import V1_QUEUE_RECORDS, V1_RECORD_DTYPE
from ccdrl.bindings.library import Absent, ActionResult, Event, Flag, make_actions
from ccdrl.tests.bindings.freebsd.kernel_v1 import SubflowV1State
from ccdrl.tests.bindings.freebsd.streams import ADDR, MSS_BYTES, PORT, ScriptedKernel, ask

TICK_US = 1000
SRTT_Q5 = 20 * 32
"""20 ms at 1000 Hz."""


@pytest.fixture
def kernel():
    return ScriptedKernel()


@pytest.fixture
def datapath(kernel):
    return FreeBSDV1Datapath(kernel, mss_bytes=MSS_BYTES, silence_us=5_000_000)


def read_one(datapath):
    (row,) = datapath.read_samples().copy()
    return row


def begin(kernel, datapath, cwnd_segments=20, lease_us=1_000_000):
    """Return the row after a first record and an action."""
    kernel.say(SRTT_Q5)
    row = read_one(datapath)
    assert datapath.write_actions(ask(row, cwnd_segments * MSS_BYTES, lease_us)) == ActionResult.APPLIED
    return row


def test_a_record_becomes_a_sample(kernel, datapath):
    kernel.say(SRTT_Q5, cwnd=30_000)
    row = read_one(datapath)
    assert row["event"] == Event.CREATED
    assert row["absent"] == ABSENT
    assert bytes(row["local_addr"][:4]) == bytes([192, 0, 2, 1])
    assert (row["local_port"], row["family"], row["foreign_port"]) == (443, 2, 0)
    assert row["subflow_id"] == ADDR << 16 | PORT
    assert (row["cwnd_bytes"], row["mss_bytes"], row["conn_id"]) == (30_000, MSS_BYTES, 0)
    assert row["srtt_us"] == row["last_rtt_us"] == row["min_rtt_us"] == 20 * TICK_US
    assert row["timestamp_us"] == kernel.clock
    assert row["flags"] == Flag.FALLBACK


def test_absent_fields_are_zero(kernel, datapath):
    begin(kernel, datapath)
    kernel.say(*[SRTT_Q5] * 50, cong=0)
    kernel.say(SRTT_Q5, cong=1)
    kernel.clock += 20_000
    row = read_one(datapath)
    fields = {
        Absent.RTTVAR: ["rttvar_us"],
        Absent.COUNTERS: ["sent_bytes", "delivered_bytes", "lost_bytes", "retransmitted_bytes"],
        Absent.RWND: ["rwnd_bytes"],
        Absent.STATE: ["state"],
        Absent.CONN_ID: ["conn_id"],
    }
    assert Absent(sum(fields)) == ABSENT
    assert all(row[name] == 0 for names in fields.values() for name in names)
    assert row["loss_events"] == 1


@pytest.mark.parametrize("hz", [100, 1000, 2000])
def test_rtt_samples_are_recovered_from_their_average(kernel, hz):
    """t_srtt is an integer, so a sample comes back to 8/32 tick; the kernel counts ticks from 1, the average from 0."""
    datapath = FreeBSDV1Datapath(kernel, hz=hz)
    subflow, rng = SubflowV1State(0), np.random.default_rng(hz)
    ticks = [30, *rng.integers(5, 60, 500).tolist()]
    lowest_us = math.inf
    for index, rtt in enumerate(ticks):
        before = subflow.t_srtt
        subflow.sample_rtt(rtt)
        kernel.say(subflow.t_srtt)
        kernel.clock += 10_000
        row = read_one(datapath)
        assert int(row["srtt_us"]) == pytest.approx(subflow.t_srtt * 1e6 / (32 * hz), abs=0.5)
        if index and subflow.t_srtt != before:
            assert int(row["last_rtt_us"]) == pytest.approx((rtt - 1) * 1e6 / hz, abs=0.26e6 / hz + 0.5)
        lowest_us = min(lowest_us, row["last_rtt_us"])
        assert row["min_rtt_us"] == lowest_us


def test_samples_of_one_read_are_all_looked_at(kernel, datapath):
    subflow = SubflowV1State(0)
    averages = []
    for rtt in (41, 41, 41, 11, 41, 41):
        subflow.sample_rtt(rtt)
        averages.append(subflow.t_srtt)
    kernel.say(*averages)
    row = read_one(datapath)
    assert int(row["min_rtt_us"]) == pytest.approx(10_000, abs=250)
    assert int(row["last_rtt_us"]) == pytest.approx(40_000, abs=250)


def test_a_congestion_signal_among_acks_is_a_loss_event(kernel, datapath):
    begin(kernel, datapath)
    kernel.clock += 500_000
    datapath.read_samples()
    kernel.clock += 10_000
    kernel.say(SRTT_Q5, SRTT_Q5)  # duplicate ACKs come first, whatever the silence before
    kernel.say(SRTT_Q5, cong=1)
    row = read_one(datapath)
    assert (row["loss_events"], row["rto_events"]) == (1, 0)
    assert row["cwnd_bytes"] == 20 * MSS_BYTES, "under a lease the agent answers"


def test_a_congestion_signal_after_silence_is_a_time_out(kernel, datapath):
    begin(kernel, datapath)
    kernel.clock += 20_000 + RTO_SILENCE_US
    datapath.read_samples()
    kernel.clock += 10_000
    kernel.say(SRTT_Q5, cong=1)
    row = read_one(datapath)
    assert (row["loss_events"], row["rto_events"]) == (0, 1)
    assert row["cwnd_bytes"] == MSS_BYTES
    assert row["ssthresh_bytes"] == 10 * MSS_BYTES
    assert row["flags"] & Flag.FALLBACK
    assert kernel.writes[-1] == (MSS_BYTES, ADDR, PORT)
    kernel.clock += 500_000
    datapath.read_samples()
    kernel.say(SRTT_Q5, cong=1)
    assert read_one(datapath)["rto_events"] == 2


def test_silence_that_nobody_saw_is_no_time_out(kernel, datapath):
    """Between two reads far apart the order of things is unknown: what may be a loss counts as one."""
    begin(kernel, datapath)
    kernel.clock += 1_000_000
    kernel.say(SRTT_Q5, cong=1)
    row = read_one(datapath)
    assert (row["loss_events"], row["rto_events"]) == (1, 0)


def test_who_writes_nothing_changes_nothing(kernel, datapath):
    for _ in range(50):
        kernel.say(*[SRTT_Q5] * 20)
        kernel.say(SRTT_Q5, cong=1)
        kernel.clock += 50_000
        datapath.read_samples()
    datapath.close()
    assert kernel.writes == []


def test_the_fallback_grows_by_a_segment_a_round_trip_and_halves(kernel, datapath):
    begin(kernel, datapath, lease_us=1)
    for _ in range(10):  # ten RTTs of 20 ACKs: the whole window is in use
        kernel.say(*[SRTT_Q5] * 20)
        kernel.clock += 20_000
        row = read_one(datapath)
    assert row["flags"] & Flag.FALLBACK
    grown = row["cwnd_bytes"]
    # The first read only ends the lease, the second has no estimate yet of what is in use.
    assert 20 + 7 <= grown / MSS_BYTES <= 20 + 10
    assert kernel.writes[-1] == (grown, ADDR, PORT)
    kernel.say(SRTT_Q5, cong=1)
    kernel.clock += 20_000
    assert read_one(datapath)["cwnd_bytes"] == grown // 2
    assert kernel.writes[-1] == (grown // 2, ADDR, PORT)
    assert datapath.counters() == Counters(applied=1, expired=1)


def test_an_unused_window_does_not_grow(kernel, datapath):
    begin(kernel, datapath, cwnd_segments=100, lease_us=1)
    for _ in range(50):
        kernel.say(*[SRTT_Q5] * 2)
        kernel.clock += 20_000
        row = read_one(datapath)
    assert row["cwnd_bytes"] == 100 * MSS_BYTES
    assert not row["flags"] & Flag.CWND_LIMITED


@pytest.mark.parametrize("segments_per_ack", [1, 2, 8])
def test_what_acks_stand_for_is_learnt(kernel, datapath, segments_per_ack):
    """A window of 64 segments that is all in use comes back in 64, 32 or 8 ACKs each RTT."""
    begin(kernel, datapath, cwnd_segments=64, lease_us=10_000_000)
    for _ in range(400):
        kernel.say(*[SRTT_Q5] * (64 // segments_per_ack))
        kernel.clock += 20_000
        row = read_one(datapath)
    assert int(row["inflight_bytes"]) == pytest.approx(64 * MSS_BYTES, rel=0.05)
    assert int(row["delivery_rate_bytes_per_s"]) == pytest.approx(64 * MSS_BYTES / 0.02, rel=0.05)
    assert row["flags"] == Flag.CWND_LIMITED


def test_windows_are_bounded(kernel):
    datapath = FreeBSDV1Datapath(kernel, mss_bytes=MSS_BYTES, cwnd_max_bytes=100_000)
    kernel.say(SRTT_Q5)
    row = read_one(datapath)
    for wanted, given in ((1, 2 * MSS_BYTES), (2**32 - 1, 100_000)):
        assert datapath.write_actions(ask(row, wanted)) == ActionResult.CLAMPED
        assert kernel.writes[-1] == (given, ADDR, PORT)
    assert datapath.write_actions(ask(row, 0)) == ActionResult.MALFORMED
    assert len(kernel.writes) == 2


def test_silence_closes_and_the_pair_comes_back_as_another(kernel, datapath):
    row = begin(kernel, datapath, cwnd_segments=50)
    kernel.clock += 5_000_000
    closed = read_one(datapath)
    assert closed["event"] == Event.CLOSED
    assert closed["subflow_id"] == row["subflow_id"]
    assert kernel.writes[-1] == (SAFE_SEGMENTS * MSS_BYTES, ADDR, PORT), "an idle sender keeps no large window"
    assert datapath.read_samples().size == 0
    kernel.say(SRTT_Q5)
    again = read_one(datapath)
    assert again["event"] == Event.CREATED
    assert again["subflow_id"] == row["subflow_id"] | 1 << 48
    assert datapath.write_actions(ask(closed, 20_000)) == ActionResult.UNKNOWN


def test_close_leaves_windows_that_are_safe_without_us(kernel, datapath):
    begin(kernel, datapath, cwnd_segments=500)
    kernel.say(SRTT_Q5, port=PORT + 1)
    small = read_one(datapath)
    datapath.write_actions(ask(small, 4 * MSS_BYTES))
    kernel.writes.clear()
    datapath.close()
    assert kernel.writes == [(SAFE_SEGMENTS * MSS_BYTES, ADDR, PORT)]
    with pytest.raises(DatapathError, match="closed"):
        datapath.read_samples()


def test_errors_of_the_calls(kernel, datapath):
    row = begin(kernel, datapath)
    kernel.error = FileNotFoundError(errno.ENOENT, "no such connection")
    assert datapath.write_actions(ask(row, 20_000)) == ActionResult.UNKNOWN
    kernel.error = PermissionError(errno.EPERM, "not permitted")
    for call in (datapath.read_samples, lambda: datapath.write_actions(ask(row, 20_000))):
        with pytest.raises(PermissionError, match="datapath freebsd-v1: not permitted"):
            call()
    kernel.error = OSError(errno.ENOSYS, "not implemented")
    with pytest.raises(DatapathError, match="datapath freebsd-v1: not implemented"):
        datapath.read_samples()
    kernel.error = None


def test_a_full_queue_is_counted(kernel, datapath):
    kernel.say(*[SRTT_Q5] * (V1_QUEUE_RECORDS - 1))
    datapath.read_samples()
    assert datapath.overflows == 0
    kernel.say(*[SRTT_Q5] * V1_QUEUE_RECORDS)
    datapath.read_samples()
    assert datapath.overflows == 1


def test_any_bytes_give_samples_within_bounds(kernel, datapath):
    rng = np.random.default_rng(1)
    seqs = {}
    for _ in range(60):
        raw = rng.integers(0, 256, 300 * V1_RECORD_DTYPE.itemsize, np.uint8).view(V1_RECORD_DTYPE)
        raw["local_addr"] &= 0x3
        raw["local_port"] &= 0x80000001
        kernel.records = raw
        kernel.clock += int(rng.integers(0, 400_000))
        samples = datapath.read_samples().copy()
        assert 0 not in samples["subflow_id"]
        for row in samples:
            assert row["seq"] > seqs.get(int(row["subflow_id"]), 0)
            seqs[int(row["subflow_id"])] = int(row["seq"])
            assert row["min_rtt_us"] <= max(row["last_rtt_us"], row["srtt_us"])
            assert max(row["srtt_us"], row["last_rtt_us"]) <= 100_000_000
            assert row["inflight_bytes"] <= row["cwnd_bytes"]
        actions = make_actions(len(samples))
        actions["subflow_id"], actions["seq"] = samples["subflow_id"], samples["seq"]
        actions["cwnd_bytes"], actions["lease_us"] = rng.integers(1, 2**32, len(samples)), 200_000
        datapath.write_actions(actions)
    assert len(seqs) <= 7
    assert all(2 * MSS_BYTES <= cwnd <= 1 << 30 or cwnd == MSS_BYTES for cwnd, _, _ in kernel.writes)


@pytest.mark.parametrize(
    "wrong", [{"hz": 0}, {"mss_bytes": 100}, {"capacity": 0}, {"silence_us": 0}, {"cwnd_max_bytes": 1}, {"hz": 1.5}]
)
def test_bad_arguments_are_refused(kernel, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        FreeBSDV1Datapath(kernel, **wrong)
