# SPDX-License-Identifier: BSD-2-Clause
"""A datapath without a network, that misbehaves on demand: what guards and daemons are tested against.

Without faults it keeps every rule of `Datapath`, leases and fallback included. Faults strike single calls, from a
script (`{call number: Fault}`) or at random from a seed; the model stays whole, only what the caller sees is broken.
"""

from collections.abc import Mapping
from enum import Enum

import numpy as np

from ccdrl.bindings.checks import check_array, check_integer, check_number
from ccdrl.bindings.datapath import Capabilities, Counters, ResultArray
from ccdrl.bindings.errors import DatapathError, InputError
from ccdrl.bindings.fake_subflow import (
    CWND_MAX_BYTES,
    MSS_BYTES,
    UINT32_MAX,
    US_PER_S,
    FakeSubflow,
    grow_coupled,
)
from ccdrl.bindings.library import (
    ABI_VERSION,
    ACTION_DTYPE,
    LEASE_MAX_US,
    SUBFLOWS_MAX,
    Absent,
    ActionArray,
    ActionResult,
    Event,
    SampleArray,
    make_samples,
)

ALIEN_SUBFLOW_ID = 2**63


class Fault(Enum):
    """One misbehaviour of one call: REFUSE breaks writes, CLOSE both, all others reads."""

    TRUNCATE = "truncate"  # half of the records, the others are lost until they change again
    DUPLICATE = "duplicate"  # every record twice
    EXTREME = "extreme"  # every field at its greatest value
    WRONG_ABI = "wrong-abi"
    STALE_SEQ = "stale-seq"  # seq 0: older than anything read
    UNKNOWN_ID = "unknown-id"  # records of subflows that do not exist
    TIME_BACKWARDS = "time-backwards"  # timestamps a second before the last ones
    LATENCY = "latency"  # the records of the call before, again
    CLOSE = "close"  # the datapath goes away
    REFUSE = "refuse"  # writes are refused: no privilege


class FakeDatapath:
    """Connections over private bottlenecks, advanced with `advance`.

    subflows      subflows of each connection, e.g. (2, 1)
    capacity      records that one read returns at most
    script        the fault of the n-th call, reads and writes counted together from 0
    fault_ratio   probability that an unscripted call has a random fault, CLOSE left out
    seed          of those draws
    """

    def __init__(
        self,
        subflows: tuple[int, ...] = (2,),
        *,
        capacity: int = 1024,
        script: Mapping[int, Fault] | None = None,
        fault_ratio: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.now_us = 1
        self._capacity = check_integer("capacity", capacity, 1, 2**20)
        self._script = dict(script or {})
        self._fault_ratio = check_number("fault_ratio", fault_ratio, 0.0, 1.0)
        self._rng = np.random.default_rng(check_integer("seed", seed, 0, 2**64 - 1))
        self._random_faults = [fault for fault in Fault if fault is not Fault.CLOSE]
        self._calls = 0
        self._is_closed = False
        self._counts = dict.fromkeys(ActionResult, 0)
        self._expired = 0
        self._next = 0
        self._last_read = make_samples(0)
        self.subflows: dict[int, FakeSubflow] = {}
        for conn, count in enumerate(subflows):
            for path in range(check_integer(f"subflows[{conn}]", count, 1, SUBFLOWS_MAX)):
                self._add(conn + 1, path)

    def _add(self, conn_id: int, path: int) -> None:
        subflow_id = len(self.subflows) + 1
        rate_bytes_per_s = 1_250_000 * (1 + path % 3)
        min_rtt_us = 20_000 * (1 + path)
        queue_bytes = rate_bytes_per_s * min_rtt_us // US_PER_S
        self.subflows[subflow_id] = FakeSubflow(conn_id, subflow_id, min_rtt_us, rate_bytes_per_s, queue_bytes)

    @property
    def capabilities(self) -> Capabilities:
        """What the fake can do."""
        return Capabilities(
            name="fake",
            abi=ABI_VERSION,
            absent=Absent(0),
            is_simulated_time=True,
            has_pacing=False,
            subflows_max=SUBFLOWS_MAX,
        )

    def advance(self, duration_us: int) -> None:
        """Move the clock; leases run out, windows under the fallback grow, queues overflow."""
        end_us = self.now_us + check_integer("duration_us", duration_us, 0, 3600 * US_PER_S)
        while self.now_us < end_us:
            live = self._live()
            step_us = min([end_us - self.now_us, *(subflow.min_rtt_us for subflow in live)])
            self.now_us += step_us
            for subflow in live:
                self._advance_subflow(subflow, step_us)

    def _advance_subflow(self, subflow: FakeSubflow, step_us: int) -> None:
        if subflow.is_in_lease and subflow.lease_end_us <= self.now_us:
            subflow.is_in_lease = False
            self._expired += 1
        delivered_bytes = subflow.transfer(step_us)
        if subflow.drop_excess():
            if not subflow.is_in_lease:
                subflow.ssthresh_bytes = subflow.cwnd_bytes = max(subflow.cwnd_bytes / 2, 2.0 * MSS_BYTES)
        elif not subflow.is_in_lease:
            siblings = [each for each in self._live() if each.conn_id == subflow.conn_id]
            grow_coupled(siblings, subflow, delivered_bytes)

    def strike_rto(self, subflow_id: int) -> None:
        """Let a subflow time out."""
        self._live_subflow(subflow_id).strike_rto()

    def close_subflow(self, subflow_id: int) -> None:
        """End a subflow in mid-life: one CLOSED record follows."""
        subflow = self._live_subflow(subflow_id)
        subflow.is_closed = True
        subflow.is_in_lease = False
        subflow.touch(Event.CLOSED)

    def _live(self) -> list[FakeSubflow]:
        return [subflow for subflow in self.subflows.values() if not subflow.is_closed]

    def _live_subflow(self, subflow_id: int) -> FakeSubflow:
        subflow = self.subflows.get(subflow_id)
        if subflow is None or subflow.is_closed:
            raise InputError(f"subflow_id: no live subflow {subflow_id}")
        return subflow

    def read_samples(self) -> SampleArray:
        """Return the changed subflows, or what the call's fault makes of them."""
        fault = self._next_fault()
        changed = self._take_changed()
        samples = make_samples(len(changed))
        for row, subflow in zip(samples, changed, strict=True):
            self._fill(row, subflow)
            subflow.is_changed = False
            subflow.event = Event.SAMPLE
        last, self._last_read = self._last_read, samples
        return distort(samples, last, fault)[: self._capacity]

    def _take_changed(self) -> list[FakeSubflow]:
        """Return changed subflows up to the capacity, the one after the last returned first: all get their turn."""
        ordered = list(self.subflows.values())
        ordered = ordered[self._next :] + ordered[: self._next]
        changed = [subflow for subflow in ordered if subflow.is_changed][: self._capacity]
        if changed:
            self._next = changed[-1].subflow_id % len(ordered)  # ids count from 1
        return changed

    def _fill(self, row: np.void, subflow: FakeSubflow) -> None:
        row["abi"] = ABI_VERSION
        row["timestamp_us"] = self.now_us
        row["mss_bytes"] = MSS_BYTES
        row["cwnd_bytes"] = int(subflow.cwnd_bytes)
        row["ssthresh_bytes"] = min(int(subflow.ssthresh_bytes), UINT32_MAX)
        row["inflight_bytes"] = 0 if subflow.is_closed else int(subflow.cwnd_bytes)
        row["rttvar_us"] = subflow.srtt_us // 4
        row["last_rtt_us"] = subflow.srtt_us
        row["min_rtt_us"] = subflow.min_rtt_us if subflow.srtt_us else 0
        row["rwnd_bytes"] = CWND_MAX_BYTES
        row["flags"] = subflow.flags
        for name in ("conn_id", "subflow_id", "seq", "event", "state", "srtt_us", "sent_bytes", "delivered_bytes"):
            row[name] = getattr(subflow, name)
        for name in ("lost_bytes", "retransmitted_bytes", "delivery_rate_bytes_per_s", "loss_events", "rto_events"):
            row[name] = getattr(subflow, name)

    def write_actions(self, actions: ActionArray) -> ResultArray:
        """Write windows and return one `ActionResult` each; PermissionError under `Fault.REFUSE`."""
        if self._next_fault() is Fault.REFUSE:
            raise PermissionError("datapath fake: writing windows was refused")
        rows = check_array("actions", actions, ACTION_DTYPE)
        results = [self._write(row) for row in rows]
        for result in results:
            self._counts[result] += 1
        return np.array(results, np.int32)

    def _write(self, action: np.void) -> ActionResult:
        if (
            action["abi"] != ABI_VERSION
            or action["cwnd_bytes"] == 0
            or not 0 < action["lease_us"] <= LEASE_MAX_US
            or action["reserved"] != 0
        ):
            return ActionResult.MALFORMED
        subflow = self.subflows.get(int(action["subflow_id"]))
        if subflow is None or subflow.is_closed:
            return ActionResult.UNKNOWN
        seq = int(action["seq"])
        if not max(subflow.rto_seq, subflow.last_action_seq) <= seq <= subflow.seq:
            return ActionResult.STALE
        is_clamped = subflow.take(int(action["cwnd_bytes"]), int(action["lease_us"]), seq, self.now_us)
        return ActionResult.CLAMPED if is_clamped else ActionResult.APPLIED

    def counters(self) -> Counters:
        """Return what became of the actions."""
        self._require_open()
        return Counters(**{result.name.lower(): count for result, count in self._counts.items()}, expired=self._expired)

    def close(self) -> None:
        """Close; a second call does nothing."""
        self._is_closed = True

    def _require_open(self) -> None:
        if self._is_closed:
            raise DatapathError("datapath fake: it is closed")

    def _next_fault(self) -> Fault | None:
        """Return the fault of this call, which closes the datapath at once if it is CLOSE."""
        self._require_open()
        fault = self._script.get(self._calls)
        self._calls += 1
        if fault is None and self._fault_ratio > 0 and self._rng.random() < self._fault_ratio:
            fault = self._random_faults[int(self._rng.integers(len(self._random_faults)))]
        if fault is Fault.CLOSE:
            self.close()
            self._require_open()
        return fault


def distort(samples: SampleArray, last: SampleArray, fault: Fault | None) -> SampleArray:
    """Return what a fault makes of honest records; `last` are those of the call before. The inputs stay as they are."""
    broken = samples.copy()
    match fault:
        case Fault.TRUNCATE:
            broken = broken[: samples.size // 2]
        case Fault.DUPLICATE:
            broken = np.concatenate([broken, broken])
        case Fault.EXTREME:
            broken.view(np.uint8)[:] = 0xFF
            broken["abi"], broken["subflow_id"] = ABI_VERSION, samples["subflow_id"]
        case Fault.WRONG_ABI:
            broken["abi"] = ABI_VERSION + 1
        case Fault.STALE_SEQ:
            broken["seq"] = 0
        case Fault.UNKNOWN_ID:
            broken["subflow_id"] += np.uint64(ALIEN_SUBFLOW_ID)
        case Fault.TIME_BACKWARDS:
            broken["timestamp_us"] -= np.minimum(broken["timestamp_us"], np.uint64(US_PER_S))
        case Fault.LATENCY:
            broken = last.copy()
    return broken
