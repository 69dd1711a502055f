# SPDX-License-Identifier: BSD-2-Clause
"""Event streams that the simulator recorded, and what ccdrl_couplings.bpf.c does at each event.

The kernel around the rules (slow start, Reno, the window after recovery) is here in a few lines, in whole segments.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ccdrl.bindings.library import State
from ccdrl.bindings.records import Kind
from ccdrl.tests.bindings.networks import S, build, flow, pick, read_records

SSTHRESH_INFINITE = 0x7FFFFFFF
CAPACITY = 1 << 20
REDUCING = (State.CWR, State.RECOVERY)


@dataclass(frozen=True)
class Event:
    """One thing that a sender learns: an ACK of `acked` segments, a congestion signal, the end of one, a time-out."""

    subflow: int
    kind: str
    state: State
    acked: int = 0
    srtt_us: int = 0


def record_stream(cc: str, links: Sequence[Any], duration_s: float, seed: int = 1, events: Sequence[Any] = ()) -> Any:
    """The events of a connection with one subflow over each link, controlled by `cc`, in the order of time."""
    simulator = build(links, [flow(cc, *range(len(links)))], seed=seed, events=events, records=CAPACITY)
    simulator.run(round(duration_s * S))
    records = pick(read_records(simulator, CAPACITY))
    assert 0 < len(records) < CAPACITY
    return list(list_events(records, len(links)))


def list_events(records: Any, n_subflows: int) -> Any:
    """RTT samples are those of segments sent once (Karn), smoothed as RFC 6298 section 2 says."""
    sent: list[dict[int, int]] = [{} for _ in range(n_subflows)]
    next_wanted, srtt_us = [0] * n_subflows, [0.0] * n_subflows
    states = [State.OPEN] * n_subflows
    for record in records:
        path, seq, state = int(record["path"]), int(record["seq"]), State(int(record["state"]))
        if record["kind"] == Kind.SEND:
            sent[path][seq] = int(record["time_ns"])
        elif record["kind"] == Kind.RETRANSMIT:
            sent[path].pop(seq, None)
        elif record["kind"] == Kind.RTO:
            states[path] = State.LOSS
            yield Event(path, "timeout", State.LOSS)
        elif record["kind"] == Kind.ACK:
            if state in REDUCING and states[path] not in REDUCING:
                yield Event(path, "signal", state)
            elif states[path] in REDUCING and state not in REDUCING:
                yield Event(path, "recovered", state)
            states[path] = state
            if seq > next_wanted[path]:
                sent_ns = sent[path].get(seq - 1)
                if sent_ns is not None:
                    sample = (int(record["time_ns"]) - sent_ns) / 1000
                    srtt_us[path] = srtt_us[path] + (sample - srtt_us[path]) / 8 if srtt_us[path] else sample
                yield Event(path, "ack", state, seq - next_wanted[path], round(srtt_us[path]))
                next_wanted[path] = seq


@dataclass
class KernelSubflow:
    """tcp_sock and icsk_ca_priv, as far as the couplings look at them."""

    cwnd: int = 10
    ssthresh: int = SSTHRESH_INFINITE
    cwnd_count: int = 0
    fraction: int = 0
    srtt_us: int = 0
    state: State = State.OPEN
    delivered: int = 0
    delivered_at_loss: int = 0
    last_interval: int = 0

    def window(self) -> int:
        return self.ssthresh if self.state == State.RECOVERY else self.cwnd

    def interval(self) -> int:
        return max(self.last_interval, self.delivered - self.delivered_at_loss)


@dataclass
class KernelConnection:
    """The BPF program over the subflows of one connection."""

    coupling: Any
    rule: str
    n: int
    subflows: list[KernelSubflow] = field(init=False)

    def __post_init__(self) -> None:
        self.subflows = [KernelSubflow() for _ in range(self.n)]

    def rows(self, own: int) -> Any:
        windows = [each.window() for each in self.subflows]
        intervals = [each.interval() for each in self.subflows]
        return self.coupling.rows(windows, [each.srtt_us for each in self.subflows], intervals, own)

    def is_coupled(self, own: int) -> bool:
        return self.subflows[own].srtt_us > 0 and sum(each.srtt_us > 0 for each in self.subflows) > 1

    def signal(self, own: int) -> None:
        """Ssthresh at a congestion signal."""
        subflow = self.subflows[own]
        rule = self.rule if self.is_coupled(own) else "lia"
        subflow.ssthresh = self.coupling.ssthresh(rule, self.rows(own), subflow.cwnd)
        if subflow.delivered != subflow.delivered_at_loss:
            subflow.last_interval = subflow.delivered - subflow.delivered_at_loss
        subflow.delivered_at_loss = subflow.delivered
        subflow.fraction = 0

    def take(self, event: Event) -> None:
        subflow = self.subflows[event.subflow]
        if event.kind == "signal":
            self.signal(event.subflow)
        elif event.kind == "timeout":
            if subflow.state != State.LOSS:
                self.signal(event.subflow)
            subflow.cwnd = 1
        elif event.kind == "recovered":
            subflow.cwnd = subflow.ssthresh
        subflow.state = event.state
        if event.kind == "ack":
            subflow.srtt_us = event.srtt_us or subflow.srtt_us
            subflow.delivered += event.acked
            if event.state not in REDUCING:
                self._grow(event.subflow, event.acked)

    def _grow(self, own: int, acked: int) -> None:
        subflow = self.subflows[own]
        if subflow.cwnd < subflow.ssthresh:
            step = min(acked, subflow.ssthresh - subflow.cwnd)
            subflow.cwnd += step
            acked -= step
        if acked == 0:
            return
        if self.is_coupled(own):
            gain = self.coupling.gain_q32(self.rule, self.rows(own))
            subflow.cwnd, subflow.fraction = self.coupling.grow(subflow.cwnd, subflow.fraction, gain, acked)
        else:  # tcp_cong_avoid_ai()
            subflow.cwnd_count += acked
            subflow.cwnd, subflow.cwnd_count = (
                subflow.cwnd + subflow.cwnd_count // subflow.cwnd,
                subflow.cwnd_count % subflow.cwnd,
            )
