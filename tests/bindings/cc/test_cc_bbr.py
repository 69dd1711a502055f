# SPDX-License-Identifier: BSD-2-Clause
"""BBR v1 on a packet-level pipe written here: a paced, window-limited sender, one FIFO link, an ACK for each packet.

The pipe carries 500 segments/s; its lowest RTT is 42 ms, 40 of propagation and 2 of service (BDP 21 segments). The
queue is unlimited, so that every figure below follows from the draft's rules. The rate samples are those of
draft-cheng-iccrg-delivery-rate-estimation.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

OPEN, DISORDER, CWR, RECOVERY, LOSS = range(5)
STARTUP, DRAIN, PROBE_BW, PROBE_RTT = range(4)
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
RATE = 500
BASE_NS = 40 * NS_PER_MS
RTT_NS = BASE_NS + NS_PER_S // RATE
BDP = RATE * RTT_NS / NS_PER_S
WIRE_BYTES = 1500
MARGIN = 0.99


@dataclass
class Pipe:
    """The sender and its link; `log` has (time, mode, pacing gain, cwnd, inflight, lowest RTT) after each ACK."""

    sf: Any
    now_ns: int = NS_PER_S
    free_ns: int = 0
    send_ns: int = 0
    delivered: int = 0
    delivered_ns: int = 0
    first_sent_ns: int = 0
    flight: deque[tuple[int, int, int, int, int]] = field(default_factory=deque)
    log: list[tuple[int, int, float, float, int, int]] = field(default_factory=list)

    def send(self) -> None:
        """A packet enters the link; its ACK is due after service and propagation."""
        self.now_ns = max(self.now_ns, self.send_ns)
        if not self.flight:
            self.delivered_ns = self.first_sent_ns = self.now_ns
        self.free_ns = max(self.free_ns, self.now_ns) + NS_PER_S // RATE
        ack_ns = self.free_ns + BASE_NS
        self.flight.append((ack_ns, self.now_ns, self.delivered, self.delivered_ns, self.first_sent_ns))
        self.send_ns = self.now_ns + int(WIRE_BYTES * NS_PER_S / self.sf.pacing_bytes_per_s)

    def ack(self) -> None:
        """The oldest packet's ACK arrives."""
        ack_ns, sent_ns, prior, prior_ns, first_ns = self.flight.popleft()
        self.now_ns = ack_ns
        self.delivered += 1
        self.delivered_ns = ack_ns
        self.first_sent_ns = sent_ns
        until = self.sf.app_limited_until
        self.sf.set(
            delivered_segments=self.delivered,
            snd_una=self.delivered,
            snd_nxt=self.delivered + len(self.flight),
            app_limited_until=0 if self.delivered > until else until,
        )
        self.sf.ack(
            now_ns=ack_ns,
            rtt_ns=ack_ns - sent_ns,
            prior_inflight_segments=len(self.flight) + 1,
            rate_delivered=self.delivered - prior,
            rate_interval_ns=max(sent_ns - first_ns, ack_ns - prior_ns),
            rate_prior_delivered=prior,
        )
        state = self.sf.private
        entry = (ack_ns, state.mode, state.pacing_gain, self.sf.cwnd, len(self.flight), state.min_rtt_ns)
        self.log.append(entry)

    def run(self, until_ns: int) -> None:
        """Events in order of time, up to a time."""
        while self.now_ns < until_ns:
            can_send = len(self.flight) < int(self.sf.cwnd)
            if can_send and (not self.flight or max(self.send_ns, self.now_ns) <= self.flight[0][0]):
                self.send()
            else:
                self.ack()


def start(bench: Callable[..., Any], seed: int = 1) -> Pipe:
    sf = bench("bbr", seed=seed)[0]
    sf.set(srtt_ns=RTT_NS, min_rtt_ns=RTT_NS)
    sf.init(NS_PER_S)
    return Pipe(sf)


def sample(sf: Any, bw: float, *, is_round: bool = True, **fields: Any) -> None:
    """An ACK with a rate sample of bw segments/s, by default the first of a round."""
    delivered = sf.delivered_segments + 10
    sf.delivered_segments = delivered
    prior = sf.private.next_round_delivered if is_round else 0
    values = {
        "now_ns": 2 * NS_PER_S,
        "rate_delivered": round(bw),
        "rate_interval_ns": NS_PER_S,
        "rate_prior_delivered": prior,
        "prior_inflight_segments": 10,
    }
    sf.ack(10, **(values | fields))


def test_initial_pacing_is_the_high_gain_on_the_initial_window(bench: Callable[..., Any]) -> None:
    sf = start(bench).sf
    assert sf.pacing_bytes_per_s == pytest.approx(2.885 * 10 * WIRE_BYTES / 0.042)
    assert sf.private.pacing_gain == 2.885


def test_startup_ends_after_three_rounds_without_a_quarter_more(bench: Callable[..., Any]) -> None:
    sf = start(bench).sf
    for bw in (100, 200, 260, 330):  # each at least 1.25 times the last plateau
        sample(sf, bw)
        assert sf.private.full_bw_count == 0
    for count, bw in ((1, 400), (2, 410)):  # 400 < 1.25 * 330
        sample(sf, bw)
        assert (sf.private.mode, sf.private.full_bw_count) == (STARTUP, count)
    sample(sf, 500, is_round=False)  # within the round: not judged
    assert sf.private.full_bw_count == 2
    sample(sf, 412)  # but 500 was seen, which is growth
    assert (sf.private.full_bw, sf.private.full_bw_count) == (500, 0)
    for _ in range(3):
        assert not sf.private.is_full_pipe
        sample(sf, 500)
    assert sf.private.is_full_pipe


def test_app_limited_rounds_do_not_end_startup_or_lower_the_rate(bench: Callable[..., Any]) -> None:
    sf = start(bench).sf
    sample(sf, 300)
    for _ in range(20):
        sample(sf, 50, is_rate_app_limited=True)
    assert not sf.private.is_full_pipe
    assert sf.private.bw_filter[0] == 300
    sample(sf, 350, is_rate_app_limited=True)
    assert sf.private.bw_filter[0] == 350


def test_the_rate_filter_forgets_after_ten_rounds(bench: Callable[..., Any]) -> None:
    sf = start(bench).sf
    sample(sf, 900)
    for age in range(1, 11):
        sample(sf, 400 - age)
        assert sf.private.bw_filter[0] == 900
    sample(sf, 300)
    assert 390 <= sf.private.bw_filter[0] < 400  # the best of the later part of the window


def test_it_finds_the_pipe(bench: Callable[..., Any]) -> None:
    pipe = start(bench)
    pipe.run(5 * NS_PER_S)
    state = pipe.sf.private
    assert state.mode == PROBE_BW
    assert state.bw_filter[0] == pytest.approx(RATE, rel=0.01)
    assert state.min_rtt_ns == RTT_NS
    modes = [mode for _, mode, *_ in pipe.log]
    assert sorted(set(modes)) == [STARTUP, DRAIN, PROBE_BW]
    assert modes == sorted(modes)  # each once, in this order
    # Startup doubles every round trip: 10, 20, 40 fill a BDP of 21; three more rounds, queueing, show the plateau.
    startup_ns = next(t for t, mode, *_ in pipe.log if mode == DRAIN) - NS_PER_S
    assert 4 * RTT_NS < startup_ns < 12 * RTT_NS
    # Drain ends when inflight is down to a BDP and three quanta, rounded up to even.
    at_end = next(inflight for _, mode, _, _, inflight, _ in pipe.log if mode == PROBE_BW)
    assert at_end <= BDP + 5
    # The link is kept busy: 99 % of its rate, for the pacing margin, and some for the phase in which the run ends.
    acked = sum(3 * NS_PER_S <= t < 5 * NS_PER_S for t, *_ in pipe.log)
    assert acked == pytest.approx(2 * RATE, rel=0.02)


def test_probe_bw_cycles_through_its_gains(bench: Callable[..., Any]) -> None:
    pipe = start(bench)
    pipe.run(8 * NS_PER_S)
    phases: list[tuple[float, int]] = []
    for t, mode, gain, *_ in pipe.log:
        if mode == PROBE_BW and (not phases or phases[-1][0] != gain):
            phases.append((gain, t))
    gains = [gain for gain, _ in phases]
    first = gains.index(1.25)
    assert len(gains) - first > 20
    assert gains[first:] == [(1.25, 0.75, 1.0)[i % 3] for i in range(len(gains) - first)]
    durations = [(b - a, gain) for (gain, a), (_, b) in zip(phases[first:], phases[first + 1 :], strict=False)]
    # A phase lasts more than one min RTT and ends with the first ACK after it (2 ms apart); six of gain 1 follow.
    assert all(6 * RTT_NS <= d <= 6 * (RTT_NS + 8 * NS_PER_MS) for d, gain in durations if gain == 1.0)
    assert all(RTT_NS <= d <= 3 * RTT_NS for d, gain in durations if gain == 1.25)
    assert all(d <= RTT_NS + 8 * NS_PER_MS for d, gain in durations if gain == 0.75)


def test_pacing_is_gain_times_rate_less_a_margin(bench: Callable[..., Any]) -> None:
    pipe = start(bench)
    pipe.run(5 * NS_PER_S)
    state = pipe.sf.private
    want = MARGIN * state.pacing_gain * state.bw_filter[0] * WIRE_BYTES
    assert pipe.sf.pacing_bytes_per_s == pytest.approx(want, rel=1e-12)


def test_cwnd_is_two_bdp_and_three_quanta(bench: Callable[..., Any]) -> None:
    pipe = start(bench)
    pipe.run(5 * NS_PER_S)
    cwnds = {cwnd for t, mode, _, cwnd, *_ in pipe.log if mode == PROBE_BW and t > 4 * NS_PER_S}
    # 2 * 500/s * 42 ms = 42, and 3, up to even: 46; two more in the probing phase. The estimate may be a little lower.
    assert cwnds <= {44.0, 45.0, 46.0, 47.0, 48.0}
    assert max(cwnds) == 48.0


def test_probe_rtt_every_ten_seconds(bench: Callable[..., Any]) -> None:
    pipe = start(bench)
    pipe.run(35 * NS_PER_S)
    before = STARTUP
    entries: list[int] = []
    exits: list[int] = []
    lows: list[int] = []
    for t, mode, _, cwnd, inflight, _ in pipe.log:
        if mode == PROBE_RTT:
            assert cwnd <= 4.0
            if before != PROBE_RTT:
                entries.append(t)
            if len(lows) < len(entries) and inflight <= 4:
                lows.append(t)
        elif before == PROBE_RTT:
            exits.append(t)
        before = mode
    assert len(entries) == len(exits) == len(lows) == 3
    assert entries[0] == pytest.approx(11 * NS_PER_S, abs=50 * NS_PER_MS)
    gaps = [b - a for a, b in zip(entries, entries[1:], strict=False)]
    # 10 s after it ended: 200 ms and a round of four packets, and the inflight had to come down first.
    assert all(10.2 * NS_PER_S < gap < 10.5 * NS_PER_S for gap in gaps)
    assert all(0 < end - low - 200 * NS_PER_MS < 2 * RTT_NS for low, end in zip(lows, exits, strict=True))
    assert pipe.log[-1][1] == PROBE_BW
    assert pipe.sf.private.bw_filter[0] == pytest.approx(RATE, rel=0.02)  # its low rates are not believed


def test_a_renewed_min_rtt_puts_probe_rtt_off(bench: Callable[..., Any]) -> None:
    sf = start(bench).sf
    for second in range(2, 40):
        sample(sf, RATE, now_ns=second * NS_PER_S, rtt_ns=BASE_NS - second)
        assert sf.private.mode != PROBE_RTT


def test_recovery_conserves_packets_for_a_round_and_restores_the_window(bench: Callable[..., Any]) -> None:
    pipe = start(bench)
    pipe.run(5 * NS_PER_S)
    sf, delivered = pipe.sf, pipe.delivered
    before = sf.cwnd
    sf.ssthresh_ask()
    sf.set(snd_una=delivered, snd_nxt=delivered + 30, lost=5)
    sf.set_state(RECOVERY)
    now_ns = pipe.now_ns

    def ack(prior: int) -> float:
        sf.set(snd_una=sf.snd_una + 1, delivered_segments=sf.delivered_segments + 1)
        inflight = sf.snd_nxt - sf.snd_una - sf.lost
        values = {"rate_delivered": 20, "rate_interval_ns": BASE_NS, "prior_inflight_segments": inflight + 1}
        return float(sf.ack(now_ns=now_ns, rate_prior_delivered=prior, **values))

    assert ack(delivered - 20) == 24 + 1  # inflight after it, and one for the one delivered
    assert ack(delivered - 19) == 25  # one out for one in
    assert ack(delivered) >= 26  # sent in recovery: the round is over, and the window grows again
    assert not sf.private.is_conserving
    sf.lost = 0
    sf.set_state(OPEN)
    assert sf.cwnd == before


def test_after_a_timeout_the_window_grows_from_one_and_is_restored(bench: Callable[..., Any]) -> None:
    pipe = start(bench)
    pipe.run(5 * NS_PER_S)
    sf = pipe.sf
    before = sf.cwnd
    sf.ssthresh_ask()
    sf.set(cwnd=1.0, lost=sf.snd_nxt - sf.snd_una)
    sf.set_state(LOSS)
    assert sf.cwnd == 1.0
    assert sf.ack(1, now_ns=pipe.now_ns) == 4.0  # its floor
    assert sf.ack(2, now_ns=pipe.now_ns) == 6.0
    sf.set_state(OPEN)
    assert sf.cwnd == before


def test_restart_from_idle_paces_at_the_estimate(bench: Callable[..., Any]) -> None:
    pipe = start(bench)
    pipe.run(5 * NS_PER_S)
    while pipe.sf.private.cycle_index != 0:  # in the phase of gain 1.25
        pipe.run(pipe.now_ns + NS_PER_MS)
    pipe.sf.app_limited_until = pipe.delivered + len(pipe.flight)
    while pipe.flight:  # the application has nothing more
        pipe.ack()
    state = pipe.sf.private
    assert state.is_idle_restart
    assert pipe.sf.pacing_bytes_per_s == pytest.approx(MARGIN * state.bw_filter[0] * WIRE_BYTES, rel=1e-12)
    pipe.now_ns += 20 * NS_PER_S
    pipe.run(pipe.now_ns + 100 * NS_PER_MS)
    assert not state.is_idle_restart
    assert state.mode == PROBE_BW  # the idle 20 s renew the RTT without a ProbeRTT


def test_the_first_phase_is_drawn_from_the_seed(bench: Callable[..., Any]) -> None:
    firsts = []
    for seed in range(40):
        pair = []
        for _ in range(2):
            pipe = start(bench, seed)
            while pipe.sf.private.mode != PROBE_BW:
                pipe.run(pipe.now_ns + NS_PER_MS)
            pair.append(pipe.sf.private.cycle_index)
        assert pair[0] == pair[1]
        firsts.append(pair[0])
    assert 1 not in firsts  # never the draining phase
    assert len(set(firsts)) >= 5
