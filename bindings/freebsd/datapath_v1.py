# SPDX-License-Identifier: BSD-2-Clause
"""The deployed FreeBSD 13.1 MPTCP kernel with CC-DRL (ABI v1) as a datapath: a stream of events becomes samples.

What it cannot give is marked in `absent` and 0: counters, rttvar, receive window, congestion state, and which subflows
belong to a connection. What it does not send is worked out here: RTT samples and their minimum, time-outs, creation (a
first record) and the end (silence), see subflow_v1.py; and, as estimates, delivery rate, bytes in flight and whether
the window limits the sender, see delivery_v1.py.

The kernel has no privilege check, no bounds, no lease and no fallback; this object is all of them:

- Windows stay within [2 MSS, cwnd_max_bytes], and under a ceiling that congestion signals set (subflow_v1.py). Any
  other local user can still set any window.
- A lease that runs out while this object is read is followed by its own fallback, Reno from the present window. A
  time-out collapses the window one read after the kernel reports it. Only windows that an action has taken over are
  touched: who writes no action changes nothing.
- `close` lowers every window that was taken over to 10 segments.
- **If the process dies without `close`, the last windows stay for ever**: the kernel neither grows nor halves them, not
  even at a loss. Nothing in user space can promise more. The module of this project (ABI v2) has no such gap.

A subflow is known by its local address and port, so connections of one listener are one subflow here: drive senders
that open their connections themselves.
"""

import itertools
import socket
from collections import Counter

import numpy as np

from ccdrl.bindings.checks import check_array, check_integer
from ccdrl.bindings.datapath import Capabilities, Counters, ResultArray
from ccdrl.bindings.errors import DatapathError
from ccdrl.bindings.freebsd.subflow_v1 import UINT32_MAX, US_PER_S, SubflowV1
from ccdrl.bindings.freebsd.transport import V1_QUEUE_RECORDS, V1_RECORD_DTYPE, RecordArray, TransportV1, report_errors
from ccdrl.bindings.library import (
    ABI_VERSION,
    ACTION_DTYPE,
    CWND_MIN_SEGMENTS,
    LEASE_MAX_US,
    Absent,
    ActionArray,
    ActionResult,
    Event,
    Flag,
    SampleArray,
    make_samples,
)

NAME = "freebsd-v1"
ABSENT = Absent.RTTVAR | Absent.COUNTERS | Absent.RWND | Absent.STATE | Absent.CONN_ID
CAPACITY_DEFAULT = 4096
MSS_DEFAULT_BYTES = 1448
"""Ethernet's 1500 bytes less IPv4, TCP and timestamps."""
SILENCE_DEFAULT_US = 60 * US_PER_S
CWND_MAX_BYTES = 1 << 30
HZ_MAX = 100_000
AF_INET = 2
"""FreeBSD's, and everyone else's."""
NAME_BITS = 48
NAME_MASK = (1 << NAME_BITS) - 1
"""Of a subflow_id: local address and port."""
GENERATION_MASK = 0xFFFF


class FreeBSDV1Datapath:
    """All subflows under the controller `drl` of an ABI v1 kernel, as samples of ABI v2.

    transport       what answers the calls: `system.SystemTransportV1`, or a model of the kernel
    hz              the kernel's ticks in a second (sysctl kern.clockrate), 1 to 100 000
    mss_bytes       payload of a full segment, 536 to 65 495, which the records do not carry
    capacity        records that one read returns at most
    silence_us      a subflow without a record for so long counts as closed; if it speaks again, it is a new one
    cwnd_max_bytes  no window above this

    subflow_id is local address, local port (both in network order) and, in the top 16 bits, how often the pair was seen
    closed. A queue that was full has lost records, of congestion signals too; `overflows` counts them.
    """

    def __init__(
        self,
        transport: TransportV1,
        *,
        hz: int = 1000,
        mss_bytes: int = MSS_DEFAULT_BYTES,
        capacity: int = CAPACITY_DEFAULT,
        silence_us: int = SILENCE_DEFAULT_US,
        cwnd_max_bytes: int = CWND_MAX_BYTES,
    ) -> None:
        self._tick_us = US_PER_S / check_integer("hz", hz, 1, HZ_MAX)
        self._mss_bytes = check_integer("mss_bytes", mss_bytes, 536, 65_495)
        self._cwnd_max_bytes = check_integer("cwnd_max_bytes", cwnd_max_bytes, 2 * self._mss_bytes, CWND_MAX_BYTES)
        self._silence_us = check_integer("silence_us", silence_us, US_PER_S, 24 * 3600 * US_PER_S)
        self._samples = make_samples(check_integer("capacity", capacity, 1, 2**20))
        self._records = np.zeros(V1_QUEUE_RECORDS, V1_RECORD_DTYPE)
        self._transport: TransportV1 | None = transport
        self._subflows: dict[int, SubflowV1] = {}
        self._generations: dict[int, int] = {}
        # In the order of their changes: a slow reader gives all of them their turn.
        self._changed: dict[int, SubflowV1] = {}
        self._counts: Counter[int] = Counter()
        self._expired = 0
        self._read_us = transport.clock_us()
        self.overflows = 0

    @property
    def capabilities(self) -> Capabilities:
        """What ABI v1 can do; `abi` is the one of the samples that this object makes of it."""
        return Capabilities(
            name=NAME, abi=ABI_VERSION, absent=ABSENT, is_simulated_time=False, has_pacing=False, subflows_max=1
        )

    def read_samples(self) -> SampleArray:
        """Return a view of the subflows that changed, at most the capacity, and write what their fallback decided."""
        transport = self._require_open()
        with report_errors(NAME):
            count = transport.get_buffer(self._records)
        now_us = transport.clock_us()
        self.overflows += count >= V1_QUEUE_RECORDS
        self._fold(self._records[:count], now_us)
        self._expire(now_us)
        for subflow in [each for each in self._subflows.values() if now_us - each.seen_us >= self._silence_us]:
            self._close_subflow(subflow)
        self._write_due(transport)
        self._read_us = now_us
        return self._take_changed(now_us)

    def write_actions(self, actions: ActionArray) -> ResultArray:
        """Write windows and return one `ActionResult` each."""
        transport = self._require_open()
        rows = check_array("actions", actions, ACTION_DTYPE)
        now_us = transport.clock_us()
        self._expire(now_us)
        results = [self._write(transport, row, now_us) for row in rows]
        self._counts.update(int(result) for result in results)
        return np.array(results, np.int32)

    def counters(self) -> Counters:
        """Return what became of this object's actions and leases."""
        self._expire(self._require_open().clock_us())
        counts = {result.name.lower(): self._counts[int(result)] for result in ActionResult}
        return Counters(**counts, expired=self._expired)

    def close(self) -> None:
        """Lower the windows that were taken over to what may be left alone, and let go of the calls."""
        if self._transport is None:
            return
        transport, self._transport = self._transport, None
        try:
            for subflow in self._subflows.values():
                subflow.retreat()
            self._write_due(transport)
        finally:
            transport.close()

    def _require_open(self) -> TransportV1:
        if self._transport is None:
            raise DatapathError(f"datapath {NAME}: it is closed")
        return self._transport

    def _fold(self, records: RecordArray, now_us: int) -> None:
        """Give each subflow its records, in their order."""
        if len(records) == 0:
            return
        pairs = records["local_addr"].astype(np.uint64) << np.uint64(16) | records["local_port"] & np.uint32(0xFFFF)
        order = np.argsort(pairs, kind="stable")
        names, begins = np.unique(pairs[order], return_index=True)
        ends = [*begins[1:].tolist(), len(records)]
        for name, begin, end in zip(names.tolist(), begins.tolist(), ends, strict=True):
            if name == 0:
                continue
            subflow = self._subflows.get(name)
            if subflow is None:
                subflow = self._open_subflow(name, records[order[begin]], now_us)
            subflow.fold(records[order[begin:end]], now_us, self._read_us)
            self._changed[subflow.subflow_id] = subflow

    def _open_subflow(self, name: int, record: np.void, now_us: int) -> SubflowV1:
        generation = self._generations.get(name, 0)
        subflow = SubflowV1(
            subflow_id=generation << NAME_BITS | name,
            local_addr=int(record["local_addr"]),
            local_port=int(record["local_port"]),
            mss_bytes=self._mss_bytes,
            tick_us=self._tick_us,
            seen_us=now_us,
        )
        self._subflows[name] = subflow
        return subflow

    def _close_subflow(self, subflow: SubflowV1) -> None:
        name = subflow.subflow_id & NAME_MASK
        subflow.retreat()
        subflow.seq += 1
        subflow.event = Event.CLOSED
        self._write_due(self._require_open())
        del self._subflows[name]
        self._generations[name] = (self._generations.get(name, 0) + 1) & GENERATION_MASK
        self._changed[subflow.subflow_id] = subflow

    def _expire(self, now_us: int) -> None:
        for subflow in self._subflows.values():
            if subflow.expire(now_us):
                self._expired += 1
                self._changed[subflow.subflow_id] = subflow

    def _write_due(self, transport: TransportV1) -> None:
        """Write windows that moved without an action; a subflow that has gone meanwhile needs none."""
        for subflow in self._subflows.values():
            if subflow.is_window_due:
                subflow.is_window_due = False
                subflow.cwnd_bytes = min(subflow.cwnd_bytes, float(self._cwnd_max_bytes))
                set_window(transport, subflow, int(subflow.cwnd_bytes))

    def _write(self, transport: TransportV1, action: np.void, now_us: int) -> ActionResult:
        wanted_bytes, lease_us, seq = int(action["cwnd_bytes"]), int(action["lease_us"]), int(action["seq"])
        is_sound = action["abi"] == ABI_VERSION and action["reserved"] == 0
        if not is_sound or wanted_bytes == 0 or not 0 < lease_us <= LEASE_MAX_US:
            return ActionResult.MALFORMED
        subflow = self._subflows.get(int(action["subflow_id"]) & NAME_MASK)
        if subflow is None or subflow.subflow_id != int(action["subflow_id"]):
            return ActionResult.UNKNOWN
        if not max(subflow.rto_seq, subflow.last_action_seq) <= seq <= subflow.seq:
            return ActionResult.STALE
        highest_bytes = int(min(subflow.ceiling_bytes, self._cwnd_max_bytes))
        cwnd_bytes = max(min(wanted_bytes, highest_bytes), CWND_MIN_SEGMENTS * self._mss_bytes)
        if not set_window(transport, subflow, cwnd_bytes):
            return ActionResult.UNKNOWN
        subflow.take(cwnd_bytes, now_us + lease_us, seq)
        return ActionResult.APPLIED if cwnd_bytes == wanted_bytes else ActionResult.CLAMPED

    def _take_changed(self, now_us: int) -> SampleArray:
        ids = list(itertools.islice(self._changed, len(self._samples)))
        samples = self._samples[: len(ids)]
        samples.view(np.uint8)[:] = 0
        for row, subflow_id in zip(samples, ids, strict=True):
            subflow = self._changed.pop(subflow_id)
            fill_sample(row, subflow, now_us)
            subflow.event = Event.SAMPLE
        return samples


def set_window(transport: TransportV1, subflow: SubflowV1, cwnd_bytes: int) -> bool:
    """Give a window to the kernel; False if it does not know the subflow (any more)."""
    with report_errors(NAME):
        try:
            transport.update_cwnd(cwnd_bytes, subflow.local_addr, subflow.local_port)
        except FileNotFoundError:
            return False
    return True


def fill_sample(row: np.void, subflow: SubflowV1, now_us: int) -> None:
    """Write a subflow's state into a zeroed row of SAMPLE_DTYPE."""
    row["abi"] = ABI_VERSION
    row["absent"] = int(ABSENT)
    row["timestamp_us"] = now_us
    row["family"] = AF_INET
    row["local_port"] = socket.ntohs(subflow.local_port & 0xFFFF)
    row["local_addr"][:4] = np.frombuffer(np.uint32(subflow.local_addr).tobytes(), np.uint8)
    row["mss_bytes"] = subflow.mss_bytes
    row["cwnd_bytes"] = int(subflow.cwnd_bytes)
    row["ssthresh_bytes"] = min(int(subflow.ssthresh_bytes), UINT32_MAX)
    delivery = subflow.delivery
    row["inflight_bytes"] = delivery.inflight_bytes
    row["delivery_rate_bytes_per_s"] = delivery.rate_bytes_per_s
    flags = Flag.CWND_LIMITED if delivery.is_limited(subflow.cwnd_bytes) else Flag(0)
    row["flags"] = int(flags if subflow.is_in_lease else flags | Flag.FALLBACK)
    for name in ("subflow_id", "seq", "event", "srtt_us", "min_rtt_us", "last_rtt_us", "loss_events", "rto_events"):
        row[name] = getattr(subflow, name)
