# SPDX-License-Identifier: BSD-2-Clause
"""wVegas (draft-xu-mptcp-congestion-control): one decision a round trip, shares by rate, draining."""

from collections.abc import Callable
from typing import Any

import pytest

OPEN, DISORDER, CWR, RECOVERY, LOSS = range(5)
NS_PER_MS = 1_000_000
BASE_MS = 40.0


def play_round(sf: Any, rtt_ms: float, *, is_limited: bool = True) -> float:
    """ACKs one window, each ACK with this RTT; returns the change of the window."""
    before = sf.cwnd
    for _ in range(sf.private.round_end_seq - sf.snd_una):
        sf.set(snd_una=sf.snd_una + 1, snd_nxt=sf.snd_una + 1 + max(int(sf.cwnd), 3))
        sf.ack(rtt_ns=round(rtt_ms * NS_PER_MS), is_limited=is_limited)
    return float(sf.cwnd - before)


def avoiding(bench: Callable[..., Any], windows: list[float]) -> Any:
    """Subflows in congestion avoidance that know their base RTT and stand at the start of a round."""
    connection = bench("wvegas", len(windows))
    for index, cwnd in enumerate(windows):
        sf = connection[index]
        sf.set(cwnd=cwnd, ssthresh=2.0, srtt_ns=round(BASE_MS * NS_PER_MS), snd_nxt=int(cwnd))
        sf.init()
        sf.private.base_rtt_ns = round(BASE_MS * NS_PER_MS)
    return connection


def rtt_with(cwnd: float, queued: float) -> float:
    """The RTT in ms at which `queued` of `cwnd` segments sit in queues: diff = w (r - r_base) / r."""
    return BASE_MS * cwnd / (cwnd - queued)


def test_an_empty_queue_gains_a_segment_a_round(bench: Callable[..., Any]) -> None:
    sf = avoiding(bench, [50.0])[0]
    assert [play_round(sf, BASE_MS) for _ in range(20)] == [1.0] * 20


def test_a_window_that_is_not_used_does_not_grow(bench: Callable[..., Any]) -> None:
    sf = avoiding(bench, [50.0])[0]
    play_round(sf, BASE_MS, is_limited=False)
    assert sf.cwnd == 50.0


@pytest.mark.parametrize(("queued", "change"), [(1.5, 1.0), (9.5, 1.0), (10.5, 0.0), (11.5, -1.0), (30.0, -1.0)])
def test_one_subflow_keeps_ten_segments_queued(bench: Callable[..., Any], queued: float, change: float) -> None:
    sf = avoiding(bench, [100.0])[0]
    sf.private.alpha = 10.0
    assert play_round(sf, rtt_with(100.0, queued)) == change
    assert sf.private.alpha == 10.0


def test_alpha_is_the_share_of_the_rate(bench: Callable[..., Any]) -> None:
    connection = avoiding(bench, [150.0, 50.0, 5.0])
    queued = [30.0, 20.0, 3.0]
    for index, sf in enumerate(connection.subflows):
        play_round(sf, rtt_with([150.0, 50.0, 5.0][index], queued[index]))
    # Rates go as w / r = (w - queued) / r_base: 120, 30 and 2 of 152. The last knew them all: max(2, 10 * 2/152) = 2.
    assert connection[2].private.alpha == 2.0
    connection[0].cwnd = 150.0
    play_round(connection[0], rtt_with(150.0, 30.0))
    assert connection[0].private.weight == pytest.approx(120 / 152, rel=1e-6)  # RTTs are whole nanoseconds
    assert connection[0].private.alpha == 7.0
    connection[2].is_failed = 1  # takes no part any more
    connection[0].cwnd = 150.0
    play_round(connection[0], rtt_with(150.0, 30.0))
    assert connection[0].private.alpha == 8.0


def test_it_drains_when_the_queue_has_doubled(bench: Callable[..., Any]) -> None:
    sf = avoiding(bench, [100.0])[0]
    sf.private.alpha = 10.0
    assert play_round(sf, BASE_MS + 1.0) == 1.0  # 1 ms of queue: the lowest
    assert play_round(sf, BASE_MS + 1.9) == 1.0
    assert sf.private.queue_delay_min_ns == NS_PER_MS
    # 102 - 0 segments, one more for diff < alpha, then w r_base / (2 r)
    play_round(sf, BASE_MS + 2.0)
    assert sf.cwnd == pytest.approx(103.0 * BASE_MS / (2 * (BASE_MS + 2.0)), rel=1e-9)
    assert sf.private.queue_delay_min_ns == 0


def test_less_than_a_segment_of_queue_is_not_drained(bench: Callable[..., Any]) -> None:
    sf = avoiding(bench, [100.0])[0]
    for doublings in range(8):
        assert play_round(sf, rtt_with(sf.cwnd, 0.007 * 2**doublings)) == 1.0


def test_slow_start_ends_when_more_than_one_segment_queues(bench: Callable[..., Any]) -> None:
    sf = bench("wvegas")[0]
    sf.set(cwnd=10.0, srtt_ns=round(BASE_MS * NS_PER_MS), snd_nxt=10)
    sf.init()
    assert play_round(sf, BASE_MS) == 10.0
    window = sf.private.round_end_seq - sf.snd_una
    assert play_round(sf, BASE_MS) == window
    # All but the ACK that ends the round grow the window; then what is queued, and one more, comes off.
    grown = sf.cwnd + sf.private.round_end_seq - sf.snd_una - 1
    play_round(sf, BASE_MS * 1.5)
    assert sf.cwnd == pytest.approx(grown / 1.5 + 1.0, rel=1e-9)
    assert sf.ssthresh == sf.cwnd


def test_the_window_stays_at_two_or_more(bench: Callable[..., Any]) -> None:
    sf = avoiding(bench, [20.0])[0]
    play_round(sf, BASE_MS + 4.0)
    play_round(sf, 10 * BASE_MS)  # drains to a twentieth of about 20
    assert sf.cwnd == 2.0


def test_a_loss_halves_and_starts_afresh(bench: Callable[..., Any]) -> None:
    sf = avoiding(bench, [100.0])[0]
    sf.private.alpha, sf.private.queue_delay_min_ns = 10.0, 1
    assert sf.ssthresh_ask() == 50.0
    sf.set_state(RECOVERY)
    sf.cwnd = 50.0
    sf.set_state(OPEN)
    assert (sf.private.alpha, sf.private.queue_delay_min_ns) == (2.0, 0)
    assert sf.private.base_rtt_ns == round(BASE_MS * NS_PER_MS)
