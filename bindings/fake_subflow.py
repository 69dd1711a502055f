# SPDX-License-Identifier: BSD-2-Clause
"""A subflow of the fake datapath: a fluid model of one bottleneck, advanced in steps of one RTT at most.

Not a simulator: just enough for windows, queues, losses and time-outs to look alive, in plain Python.
"""

from dataclasses import dataclass

from ccdrl.bindings.library import LEASE_MAX_US, Event, Flag, State

MSS_BYTES = 1448
CWND_MAX_BYTES = 1 << 30
UINT32_MAX = 2**32 - 1
US_PER_S = 1_000_000


@dataclass(slots=True)
class FakeSubflow:
    """State of one subflow (bytes, µs); `rate_bytes_per_s` and `queue_limit_bytes` are its bottleneck."""

    conn_id: int
    subflow_id: int
    min_rtt_us: int
    rate_bytes_per_s: int
    queue_limit_bytes: int
    cwnd_bytes: float = 10.0 * MSS_BYTES
    ssthresh_bytes: float = float(UINT32_MAX)
    srtt_us: int = 0
    seq: int = 1
    state: State = State.OPEN
    event: Event = Event.CREATED
    sent_bytes: int = 0
    delivered_bytes: int = 0
    lost_bytes: int = 0
    retransmitted_bytes: int = 0
    delivery_rate_bytes_per_s: int = 0
    loss_events: int = 0
    rto_events: int = 0
    lease_end_us: int = 0
    is_in_lease: bool = False
    last_action_seq: int = 0
    rto_seq: int = 0
    is_changed: bool = True
    is_closed: bool = False

    @property
    def flags(self) -> Flag:
        """Window-limited always, as data never runs out; in fallback without a lease."""
        return Flag.CWND_LIMITED if self.is_in_lease else Flag.CWND_LIMITED | Flag.FALLBACK

    @property
    def rtt_us(self) -> int:
        """Round-trip time with the present queue."""
        queue_bytes = max(0.0, self.cwnd_bytes - self.rate_bytes_per_s * self.min_rtt_us / US_PER_S)
        return self.min_rtt_us + int(min(queue_bytes, self.queue_limit_bytes) * US_PER_S / self.rate_bytes_per_s)

    def touch(self, event: Event = Event.SAMPLE) -> None:
        """Number a new state; CREATED and CLOSED stay until they are read."""
        self.seq += 1
        self.is_changed = True
        if self.event is not Event.CREATED or event is Event.CLOSED:
            self.event = event

    def transfer(self, step_us: int) -> int:
        """Send and deliver for step_us, and return the bytes delivered."""
        rate = min(self.cwnd_bytes * US_PER_S / self.rtt_us, float(self.rate_bytes_per_s))
        delivered_bytes = int(rate * step_us / US_PER_S)
        self.srtt_us = self.rtt_us
        self.sent_bytes += delivered_bytes
        self.delivered_bytes += delivered_bytes
        self.delivery_rate_bytes_per_s = int(rate)
        self.state = State.OPEN
        self.touch()
        return delivered_bytes

    def drop_excess(self) -> bool:
        """Lose what does not fit into the bottleneck; return whether that happened."""
        room_bytes = self.rate_bytes_per_s * self.min_rtt_us / US_PER_S + self.queue_limit_bytes
        excess_bytes = int(self.cwnd_bytes - room_bytes)
        if excess_bytes < MSS_BYTES:
            return False
        self.sent_bytes += excess_bytes
        self.lost_bytes += excess_bytes
        self.retransmitted_bytes += excess_bytes
        self.loss_events += 1
        self.state = State.RECOVERY
        self.touch(Event.STATE)
        return True

    def strike_rto(self) -> None:
        """Time out: one MSS (RFC 5681 section 3.1), the lease is over, and older actions are stale."""
        self.ssthresh_bytes = max(self.cwnd_bytes / 2, 2.0 * MSS_BYTES)
        self.cwnd_bytes = float(MSS_BYTES)
        self.rto_events += 1
        self.state = State.LOSS
        self.touch(Event.STATE)
        self.rto_seq = self.seq
        self.is_in_lease = False

    def take(self, cwnd_bytes: int, lease_us: int, seq: int, now_us: int) -> bool:
        """Set a leased window; return whether it had to be clamped."""
        clamped_bytes = min(max(cwnd_bytes, 2 * MSS_BYTES), CWND_MAX_BYTES)
        self.cwnd_bytes = float(clamped_bytes)
        self.lease_end_us = now_us + min(lease_us, LEASE_MAX_US)
        self.is_in_lease = True
        self.last_action_seq = seq
        self.touch()
        return clamped_bytes != cwnd_bytes


def grow_coupled(subflows: list[FakeSubflow], subflow: FakeSubflow, delivered_bytes: int) -> None:
    """Grow a fallback window as LIA does (RFC 6356 section 3), which is Reno's growth on a single subflow."""
    if subflow.cwnd_bytes < subflow.ssthresh_bytes:
        subflow.cwnd_bytes += delivered_bytes
        return
    total_bytes = sum(each.cwnd_bytes for each in subflows)
    best = max(each.cwnd_bytes / each.rtt_us**2 for each in subflows)
    alpha = total_bytes * best / sum(each.cwnd_bytes / each.rtt_us for each in subflows) ** 2
    gain = min(alpha / total_bytes, 1.0 / subflow.cwnd_bytes)
    subflow.cwnd_bytes += gain * delivered_bytes * MSS_BYTES
