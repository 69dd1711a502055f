# SPDX-License-Identifier: BSD-2-Clause
"""CUBIC against RFC 9438 and HyStart++ against RFC 9406."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

OPEN, DISORDER, CWR, RECOVERY, LOSS = range(5)
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
C, BETA = 0.4, 0.7
ALPHA = 3 * (1 - BETA) / (1 + BETA)


def w_cubic(t_s: float, w_max: float, k_s: float) -> float:
    """RFC 9438 equation 1."""
    return C * (t_s - k_s) ** 3 + w_max


def grown(cwnd: float, acked: int, ahead: float, w_est: float) -> float:
    """The window after one ACK as Linux's tcp_cubic.c has it: a segment for each `count` ACKed, all in whole segments.

    ahead: the curve's window where it aims, w_est: Reno's window after this ACK.
    """
    whole = math.floor(cwnd)
    lead, lag = math.floor(ahead) - whole, math.floor(w_est) - whole
    count = whole // lead if lead > 0 else 100 * whole
    if lag > 0:
        count = min(count, whole // lag)
    return cwnd + acked / max(count, 2)


def lose(sf: Any) -> None:
    """One fast recovery, as the core runs it."""
    sf.ssthresh = sf.ssthresh_ask()
    sf.set_state(RECOVERY)
    sf.cwnd = sf.ssthresh
    sf.set_state(OPEN)


def after_loss(bench: Callable[..., Any], w_max: float, srtt_ns: int) -> Any:
    """A subflow that has just recovered from a loss at w_max."""
    sf = bench("cubic")[0]
    sf.set(cwnd=w_max, ssthresh=2.0, srtt_ns=srtt_ns, min_rtt_ns=srtt_ns)
    sf.init()
    lose(sf)
    return sf


def run(sf: Any, from_ns: int, for_s: float, srtt_ns: int) -> list[tuple[float, float]]:
    """ACKs a window every srtt for a time; returns (seconds since from_ns, cwnd) after each round."""
    rounds, now_ns = [], from_ns
    while now_ns < from_ns + for_s * NS_PER_S:
        window = int(sf.cwnd)
        for i in range(window):
            sf.ack(now_ns=now_ns + srtt_ns * i // window)
        now_ns += srtt_ns
        rounds.append(((now_ns - from_ns) / NS_PER_S, sf.cwnd))
    return rounds


@settings(max_examples=100, deadline=None)
@given(w_max=st.floats(10, 5000), srtt_ns=st.integers(NS_PER_MS, 800 * NS_PER_MS), acked=st.integers(1, 10))
def test_first_ack_of_an_epoch(bench: Callable[..., Any], w_max: float, srtt_ns: int, acked: int) -> None:
    sf = after_loss(bench, w_max, srtt_ns)
    assert sf.ssthresh == pytest.approx(w_max * BETA, rel=1e-15)
    cwnd = sf.cwnd
    got = sf.ack(acked, now_ns=10 * NS_PER_S)
    k_s = math.cbrt(w_max * (1 - BETA) / C)  # equation 2 with cwnd_epoch = beta W_max
    assert sf.private.k_s == pytest.approx(k_s, rel=1e-12)
    w_est = cwnd + ALPHA * acked / math.floor(cwnd)
    assert sf.private.w_est == pytest.approx(w_est, rel=1e-12)
    assert got == pytest.approx(grown(cwnd, acked, w_cubic(sf.min_rtt_ns / NS_PER_S, w_max, k_s), w_est), rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(t_s=st.floats(0.5, 40.0), srtt_ns=st.integers(50 * NS_PER_MS, 400 * NS_PER_MS))
def test_an_ack_moves_towards_the_window_of_one_round_trip_ahead(
    bench: Callable[..., Any], t_s: float, srtt_ns: int
) -> None:
    w_max = 4000.0
    sf = after_loss(bench, w_max, srtt_ns)
    sf.ack(now_ns=NS_PER_S)
    k_s = sf.private.k_s
    cwnd = sf.cwnd
    now_ns = NS_PER_S + round(t_s * NS_PER_S)
    t_s = (now_ns - NS_PER_S) / NS_PER_S
    got = sf.ack(now_ns=now_ns)
    w_est = 2800.0 + 2 * ALPHA / 2800.0  # two ACKs have hardly moved Reno's window
    ahead = w_cubic(t_s + sf.min_rtt_ns / NS_PER_S, w_max, k_s)
    assert got == pytest.approx(grown(cwnd, 1, ahead, w_est), rel=1e-12)


def test_window_follows_the_cubic_curve(bench: Callable[..., Any]) -> None:
    """Concave to W_max at K, convex after it. The window aims one round trip ahead and covers 1 - 1/e of the way there
    in a round, so it trails the curve by at most a round trip of it: 1 % here."""
    srtt_ns, w_max = 100 * NS_PER_MS, 1000.0
    sf = after_loss(bench, w_max, srtt_ns)
    k_s = math.cbrt(w_max * (1 - BETA) / C)
    for t_s, cwnd in run(sf, NS_PER_S, 1.5 * k_s, srtt_ns):
        assert cwnd == pytest.approx(w_cubic(t_s, w_max, k_s), rel=0.01)
    assert cwnd > 1.02 * w_max


def test_reno_friendly_region(bench: Callable[..., Any]) -> None:
    """At a small BDP the window follows Reno's for beta = 0.7, alpha segments a round trip, and trails it by what whole
    segments and the round trip of catching up take: less than two."""
    srtt_ns, w_max = 10 * NS_PER_MS, 20.0
    sf = after_loss(bench, w_max, srtt_ns)
    rounds = run(sf, NS_PER_S, 0.3, srtt_ns)
    reno = [sf.ssthresh + ALPHA * (number + 1) for number in range(len(rounds))]
    assert all(-0.5 <= expected - cwnd < 2.0 for expected, (_, cwnd) in zip(reno, rounds, strict=True))
    assert rounds[-1][1] > w_max


def test_fast_convergence(bench: Callable[..., Any]) -> None:
    sf = after_loss(bench, 1000.0, 100 * NS_PER_MS)
    assert sf.private.w_max == 1000.0
    lose(sf)  # at 700, below the last W_max
    assert sf.private.w_max == pytest.approx(700.0 * (1 + BETA) / 2)
    assert sf.cwnd == pytest.approx(490.0)
    sf.cwnd = 2000.0
    lose(sf)
    assert sf.private.w_max == 2000.0


def test_after_a_timeout_the_epoch_starts_at_its_own_plateau(bench: Callable[..., Any]) -> None:
    sf = after_loss(bench, 1000.0, 100 * NS_PER_MS)
    sf.ssthresh = sf.ssthresh_ask()
    sf.cwnd = 1.0
    sf.set_state(LOSS)
    assert sf.ack(4) == 5.0  # slow start
    sf.set_state(OPEN)
    sf.cwnd = sf.ssthresh
    sf.ack(now_ns=NS_PER_S)
    assert sf.private.k_s == 0.0
    assert sf.private.origin_point == pytest.approx(490.0)


def test_a_spurious_timeout_gives_the_plateau_back(bench: Callable[..., Any]) -> None:
    srtt_ns = 100 * NS_PER_MS
    sf = after_loss(bench, 1000.0, srtt_ns)
    run(sf, NS_PER_S, 3.0, srtt_ns)
    cwnd, ssthresh = sf.cwnd, sf.ssthresh
    sf.ssthresh = sf.ssthresh_ask()
    sf.cwnd = 1.0
    sf.set_state(LOSS)
    sf.set(cwnd=cwnd, ssthresh=ssthresh)
    sf.set_state(OPEN)
    sf.undo()
    sf.ack(now_ns=5 * NS_PER_S)
    assert sf.private.origin_point == 1000.0
    assert sf.private.k_s == pytest.approx(math.cbrt((1000.0 - cwnd) / C), rel=1e-12)


def test_time_in_which_the_window_is_not_used_does_not_count(bench: Callable[..., Any]) -> None:
    srtt_ns = 100 * NS_PER_MS
    straight, paused = (after_loss(bench, 1000.0, srtt_ns) for _ in range(2))
    for sf in (straight, paused):
        run(sf, NS_PER_S, 2.0, srtt_ns)
    paused.ack(now_ns=3 * NS_PER_S, is_limited=False)
    paused.ack(now_ns=9 * NS_PER_S, is_limited=False)
    cwnd = paused.cwnd
    assert cwnd == straight.cwnd
    # It goes on where it stood at 3 s: the next two seconds are the same, at a later time.
    assert paused.ack(now_ns=20 * NS_PER_S) == straight.ack(now_ns=3 * NS_PER_S)
    a = run(straight, 3 * NS_PER_S + 1000, 2.0, srtt_ns)
    b = run(paused, 20 * NS_PER_S + 1000, 2.0, srtt_ns)
    assert a == b


class SlowStart:
    """Rounds of slow start, every segment ACKed on its own with the RTT of the round."""

    def __init__(self, bench: Callable[..., Any]) -> None:
        self.sf = bench("cubic")[0]
        self.sf.set(cwnd=10.0, srtt_ns=50 * NS_PER_MS, snd_nxt=10)
        self.sf.init()
        self.now_ns = NS_PER_S

    def round(self, rtt_ms: float) -> float:
        """One round at this RTT; returns the factor by which the window grew."""
        before = self.sf.cwnd
        for _ in range(self.sf.private.round_end_seq - self.sf.snd_una):
            # The next round is what the window holds once this ACK has grown it.
            self.sf.set(snd_una=self.sf.snd_una + 1, snd_nxt=self.sf.snd_una + 2 + int(self.sf.cwnd))
            self.sf.ack(now_ns=self.now_ns, rtt_ns=round(rtt_ms * NS_PER_MS))
        self.now_ns += round(rtt_ms * NS_PER_MS)
        return float(self.sf.cwnd / before)


def test_hystart_leaves_a_constant_rtt_alone(bench: Callable[..., Any]) -> None:
    start = SlowStart(bench)
    assert all(start.round(50.0) == 2.0 for _ in range(10))
    assert math.isinf(start.sf.ssthresh)


@pytest.mark.parametrize(
    ("rtt_ms", "rise_ms", "is_exit"),
    [
        (50.0, 6.3, True),
        (50.0, 6.2, False),
        (10.0, 4.0, True),
        (10.0, 3.9, False),
        (400.0, 16.0, True),
        (400.0, 15.9, False),
    ],
)
def test_hystart_enters_css_at_an_eighth_of_the_rtt_within_4_and_16_ms(
    bench: Callable[..., Any], rtt_ms: float, rise_ms: float, is_exit: bool
) -> None:
    start = SlowStart(bench)
    start.round(rtt_ms)
    start.round(rtt_ms)
    growth = start.round(rtt_ms + rise_ms)
    assert start.sf.private.is_in_css == is_exit
    # The eighth sample of 40 shows the rise: 7 segments at full growth and 33 at a quarter.
    assert growth == pytest.approx(1 + (7 + 33 / 4) / 40 if is_exit else 2.0, rel=1e-9)


def test_hystart_ends_slow_start_after_five_rounds_of_css(bench: Callable[..., Any]) -> None:
    start = SlowStart(bench)
    for rtt_ms in (50.0, 50.0, 60.0):  # the third round is the first of CSS
        start.round(rtt_ms)
    for _ in range(3):
        # int(cwnd) segments of a fractional window: up to 1/64 below a quarter
        assert start.round(60.0) == pytest.approx(1.25, abs=0.005)
    assert math.isinf(start.sf.ssthresh)
    start.round(60.0)
    assert start.sf.private.is_hystart_done
    assert start.sf.ssthresh <= start.sf.cwnd < start.sf.ssthresh + 1


def test_hystart_resumes_slow_start_when_the_rise_was_jitter(bench: Callable[..., Any]) -> None:
    start = SlowStart(bench)
    for rtt_ms in (50.0, 50.0, 60.0):
        start.round(rtt_ms)
    assert start.sf.private.is_in_css
    start.round(52.0)
    assert not start.sf.private.is_in_css
    assert start.round(52.0) == pytest.approx(2.0, abs=0.02)


def test_hystart_is_for_the_initial_slow_start(bench: Callable[..., Any]) -> None:
    start = SlowStart(bench)
    start.round(50.0)
    start.sf.ssthresh_ask()
    start.sf.set(cwnd=10.0, ssthresh=1000.0)
    for rtt_ms in (50, 60, 90, 120):
        for _ in range(100):
            before = start.sf.cwnd
            start.sf.set(snd_una=start.sf.snd_una + 1, snd_nxt=start.sf.snd_una + 11)
            assert start.sf.ack(rtt_ns=rtt_ms * NS_PER_MS) == before + 1
