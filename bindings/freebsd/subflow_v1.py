# SPDX-License-Identifier: BSD-2-Clause
"""One subflow of ABI v1: what a stream of its records tells, and the lease and fallback that the kernel lacks.

RTT samples  The records carry t_srtt after each ACK. FreeBSD smooths with srtt += (rtt - srtt) / 8 (RFC 6298 section 2;
             tcp_xmit_timer() of tcp_input.c), so two neighbours give the sample between them: srtt + 8 (srtt' - srtt),
             to a tick.
time-outs    A congestion record does not say what it was. A fast retransmit follows duplicate ACKs, which have records
             of their own; a time-out follows silence of the smoothed RTT and 200 ms at least (tcp_rexmit_slop).
ceiling      A policy sees losses as counts of bytes, which these records lack: it would take a flood for a little
             random loss. So no action is taken above what CUBIC's Reno-friendly rule would hold: 0.7 of the window
             after a congestion signal, half a segment a round trip from there (RFC 9438 section 4.3).
fallback     Reno (RFC 5681 section 3.1), as the kernel does not tell which subflows belong together. A record says that
             something was acknowledged, not how much: it counts as one segment.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.freebsd.delivery_v1 import DeliveryEstimator
from ccdrl.bindings.freebsd.transport import RecordArray
from ccdrl.bindings.library import CWND_MIN_SEGMENTS, Event

UINT32_MAX = 2**32 - 1
US_PER_S = 1_000_000
SRTT_SCALE = 32
"""t_srtt is in ticks scaled by this (TCP_RTT_SHIFT 5)."""
SRTT_GAIN = 8
RTT_MAX_US = 100_000_000
"""A longer one is no RTT: the field is a signed integer of a kernel that checks nothing."""
MIN_RTT_WINDOW_US = 300_000_000
"""How long the lowest RTT counts, as on Linux."""
CEILING_BACKOFF = 0.7
RTO_SILENCE_US = 150_000
"""Above the smoothed RTT: less than tcp_rexmit_slop, as silence is seen from read to read."""
SAFE_SEGMENTS = 10
"""The window that is left behind where nobody watches any more (RFC 6928)."""


@dataclass(slots=True)
class SubflowV1:
    """State of one subflow; bytes, µs.

    local_addr, local_port  as they stand in the records
    tick_us                 of the kernel's clock
    is_taken                an action has set the window: from then on it is ours to set, in lease or out of it
    ceiling_bytes           no action's window is above it; infinite before the first congestion signal
    is_window_due           cwnd_bytes is to be written to the kernel
    """

    subflow_id: int
    local_addr: int
    local_port: int
    mss_bytes: int
    tick_us: float
    seen_us: int
    seq: int = 0
    event: Event = Event.CREATED
    cwnd_bytes: float = 0.0
    ssthresh_bytes: float = float(UINT32_MAX)
    ceiling_bytes: float = math.inf
    ceiling_cut_us: int = 0
    srtt_q5_ticks: int = 0
    last_rtt_us: int = 0
    min_rtt_us: int = 0
    min_rtt_seen_us: int = 0
    loss_events: int = 0
    rto_events: int = 0
    lease_end_us: int = 0
    last_action_seq: int = 0
    rto_seq: int = 0
    is_in_lease: bool = False
    is_taken: bool = False
    is_window_due: bool = False
    is_restarting: bool = False
    delivery: DeliveryEstimator = field(default_factory=DeliveryEstimator)

    @property
    def srtt_us(self) -> int:
        """The smoothed RTT, 0 before the first sample."""
        return self._to_us(self.srtt_q5_ticks) if self.srtt_q5_ticks > 0 else 0

    def fold(self, records: RecordArray, now_us: int, before_us: int) -> None:
        """Take this subflow's records of one read, oldest first, shape (n > 0,). before_us: when the last read was."""
        is_signal = records["cong_events"] > 0
        silence_us = before_us - self.seen_us
        is_timeout = bool(is_signal[0]) and self.seq > 0 and silence_us >= self.srtt_us + RTO_SILENCE_US
        self.seq += 1
        if is_timeout:
            self._time_out()
        if not self.is_taken:
            self.cwnd_bytes = float(records["cwnd_bytes"][-1])
        self._take_rtts(records["srtt_q5_ticks"].astype(np.int64), now_us)
        is_signal = is_signal[int(is_timeout) :]
        signals = np.flatnonzero(is_signal).tolist()
        self.loss_events = (self.loss_events + len(signals)) & UINT32_MAX
        self._move_ceiling(bool(signals), len(is_signal) - len(signals), now_us)
        if self.is_taken and not self.is_in_lease:
            self._run_fallback(signals, len(is_signal))
        if signals or is_timeout:
            self.delivery.repair(now_us, self.srtt_us)
        if self.srtt_q5_ticks > 0:
            acks = len(is_signal) - len(signals)
            self.delivery.add(acks, now_us, self.srtt_us, self.cwnd_bytes, self.mss_bytes)
        self.seen_us = now_us

    def take(self, cwnd_bytes: int, lease_end_us: int, seq: int) -> None:
        """Begin a lease with a window that the kernel has been given."""
        self.cwnd_bytes = self.ssthresh_bytes = float(cwnd_bytes)
        self.lease_end_us, self.last_action_seq = lease_end_us, seq
        self.is_in_lease = self.is_taken = True
        self.is_window_due = False

    def expire(self, now_us: int) -> bool:
        """End a lease that has run out and tell so; the fallback goes on from the present window."""
        if not self.is_in_lease or now_us < self.lease_end_us:
            return False
        self.is_in_lease = False
        self.seq += 1
        return True

    def retreat(self) -> None:
        """Nobody will watch this window any more: lower it to what is safe to leave."""
        self.is_in_lease = False
        safe_bytes = float(SAFE_SEGMENTS * self.mss_bytes)
        if self.is_taken and self.cwnd_bytes > safe_bytes:
            self.cwnd_bytes, self.is_window_due = safe_bytes, True

    def _take_rtts(self, srtts: NDArray[np.int64], now_us: int) -> None:
        np.clip(srtts, 0, int(RTT_MAX_US * SRTT_SCALE / self.tick_us), out=srtts)
        before = np.empty_like(srtts)
        before[0], before[1:] = self.srtt_q5_ticks, srtts[:-1]
        changed = np.flatnonzero((srtts != before) & (srtts > 0))
        self.srtt_q5_ticks = int(srtts[-1])
        if len(changed) == 0:
            return
        after, before = srtts[changed], before[changed]
        samples = before + SRTT_GAIN * (after - before)
        # The first sample is the average itself; so is the one that follows several time-outs.
        is_start = (before == 0) | (samples <= 0)
        is_start[0] |= self.is_restarting
        self.is_restarting = False
        samples = np.where(is_start, after, samples)
        self.last_rtt_us = self._to_us(int(samples[-1]))
        lowest_us = self._to_us(int(samples.min()))
        is_old = now_us - self.min_rtt_seen_us > MIN_RTT_WINDOW_US
        if self.min_rtt_us == 0 or lowest_us <= self.min_rtt_us or is_old:
            self.min_rtt_us, self.min_rtt_seen_us = lowest_us, now_us

    def _to_us(self, q5_ticks: int) -> int:
        return max(1, min(round(q5_ticks * self.tick_us / SRTT_SCALE), RTT_MAX_US))

    def _time_out(self) -> None:
        """RFC 5681 section 3.1, and whatever answers an older record is stale."""
        self.rto_events = (self.rto_events + 1) & UINT32_MAX
        self.rto_seq = self.seq
        self.is_in_lease = False
        self.is_restarting = True
        if self.is_taken:
            self._reduce()
            self.cwnd_bytes = float(self.mss_bytes)

    def _move_ceiling(self, is_signal: bool, acks: int, now_us: int) -> None:
        """Lower it once a round trip at signals, raise it with ACKs: one stands for two segments (RFC 1122 4.2.3.2)."""
        mss = float(self.mss_bytes)
        self.ceiling_bytes += acks * mss * mss / max(self.ceiling_bytes, mss)
        if is_signal and now_us - self.ceiling_cut_us >= self.srtt_us:
            cut = CEILING_BACKOFF * min(self.cwnd_bytes, self.ceiling_bytes)
            self.ceiling_bytes = max(cut, CWND_MIN_SEGMENTS * mss)
            self.ceiling_cut_us = now_us

    def _run_fallback(self, signals: list[int], count: int) -> None:
        """Grow between congestion signals, given by their places among `count` records, and halve at each."""
        is_growing = self.delivery.is_limited(self.cwnd_bytes)  # an unused window says nothing of the path (RFC 7661)
        begin = 0
        for place in [*signals, count]:
            if is_growing:
                self._grow(place - begin)
            if place < count:
                self._reduce()
            begin = place + 1

    def _grow(self, acks: int) -> None:
        """RFC 5681 section 3.1: a segment an ACK, above ssthresh mss^2 / cwnd an ACK, summed in closed form."""
        if acks <= 0:
            return
        mss, before_bytes = float(self.mss_bytes), self.cwnd_bytes
        if self.cwnd_bytes < self.ssthresh_bytes:
            steps = min(acks, math.ceil((self.ssthresh_bytes - self.cwnd_bytes) / mss))
            self.cwnd_bytes = min(self.cwnd_bytes + steps * mss, self.ssthresh_bytes)
            acks -= steps
        self.cwnd_bytes = math.sqrt(self.cwnd_bytes**2 + 2.0 * acks * mss * mss)
        self.is_window_due |= int(self.cwnd_bytes) != int(before_bytes)

    def _reduce(self) -> None:
        low_bytes = float(CWND_MIN_SEGMENTS * self.mss_bytes)
        self.cwnd_bytes = self.ssthresh_bytes = max(self.cwnd_bytes / 2, low_bytes)
        self.is_window_due = True
