# SPDX-License-Identifier: BSD-2-Clause
"""One subflow, exact where arithmetic by hand is exact: windows, rounds, timers, loss episodes segment by segment.

Most tests use 12 Mbit/s, 50 ms one way and 1500-byte packets: a packet takes 1 ms, an idle round trip 101 ms.
"""

import math

import numpy as np
import pytest

from ccdrl.bindings.library import State
from ccdrl.bindings.records import Kind
from ccdrl.bindings.simulator import EventConfig, LossConfig
from ccdrl.tests.bindings.networks import (
    DELAYED_ACK_NS,
    MS,
    MSS,
    SENT,
    WIRE,
    S,
    build,
    down,
    flow,
    link,
    measure,
    pick,
    read,
)

LOSSY = LossConfig("bernoulli", p=1.0)
SLOW = link(12, 50)  # 1 ms a packet, 101 ms a round trip
RTT_NS = 101 * MS


def lose_between(from_ms, to_ms):
    """Return the events that lose every packet which enters link 0 in [from_ms, to_ms)."""
    return [EventConfig(round(from_ms * MS), 0, "loss", loss=LOSSY), EventConfig(round(to_ms * MS), 0, "loss")]


def times_ms(records):
    """Return the records' times, to the microsecond."""
    return [round(time_ns / MS, 3) for time_ns in records["time_ns"].tolist()]


def test_fixed_window_on_an_idle_link_is_exact():
    """20 segments each 101 ms: the first burst spreads itself over 20 ms, then nothing queues any more."""
    simulator = build([SLOW], [flow("fixed", 0, fixed_cwnd_segments=20, ack_segments=1)])
    simulator.run(S)
    simulator.reset_stats()
    simulator.run(S + 50 * RTT_NS)
    stats = simulator.subflow_stats(0, 0)
    assert simulator.flow_stats(0).goodput_bytes == 50 * 20 * MSS
    assert stats.rtt_mean_ms == pytest.approx(101.0, abs=1e-9)
    assert simulator.link_stats(0).queue_mean_bytes == pytest.approx(20 * WIRE / 101, rel=1e-6)  # only in service
    assert stats.cwnd_mean_bytes == pytest.approx(20 * MSS)


def test_fixed_window_above_the_bdp_fills_the_link_exactly():
    """150 segments circulate, one leaves each ms: round trip 150 ms by Little's law, 49 of it queueing."""
    simulator = build([SLOW], [flow("fixed", 0, fixed_cwnd_segments=150, ack_segments=1)])
    simulator.run(S)
    simulator.reset_stats()
    simulator.run(11 * S)
    stats = simulator.subflow_stats(0, 0)
    assert simulator.flow_stats(0).goodput_bytes == 10_000 * MSS
    assert (stats.rtt_mean_ms, stats.queue_delay_mean_ms) == pytest.approx((150.0, 50.0))  # its own ms included


def test_slow_start_round_by_round():
    """IW10 (RFC 6928), an ACK for two segments, a segment more for each one ACKed: 10, 20, 40, 80 in 5, 10, 20, 40
    ACKs.
    """
    simulator = build([link(1200, 50)], [flow("reno", 0)], records=4096)  # 10 us a packet
    simulator.run(460 * MS)
    records = read(simulator)
    sends, acks = pick(records, Kind.SEND), pick(records, Kind.ACK)
    assert times_ms(sends[:10]) == [100.0] * 10  # the handshake took one round trip
    assert times_ms(acks[:5]) == [200.02, 200.04, 200.06, 200.08, 200.10]
    assert times_ms(sends[10:30]) == [time_ms for time_ms in times_ms(acks[:5]) for _ in range(4)]
    assert acks["cwnd_segments"][:15].tolist() == [12 + 2 * i for i in range(15)]
    rounds = [(sends["time_ns"] >= t * 100 * MS) & (sends["time_ns"] < (t + 1) * 100 * MS) for t in range(1, 5)]
    assert [int(in_round.sum()) for in_round in rounds] == [10, 20, 40, 80]
    assert sends["seq"].tolist() == list(range(150))


def test_short_transfer_completes_when_arithmetic_says():
    """30 segments: the ACKs of 202, 204 ... 210 ms release 4 each, and the queue has drained at 222 ms."""
    simulator = build([SLOW], [flow("reno", 0, size_bytes=30 * MSS - 500)])
    simulator.run(S)
    stats = simulator.flow_stats(0)
    last_ms = (MSS - 500 + 52) * 8 / 12e3
    assert stats.goodput_bytes == 30 * MSS - 500
    assert stats.completion_ns == pytest.approx((100 + 2 + 100 + 19 + last_ms + 50) * MS, abs=2)


def test_delayed_ack_of_an_odd_segment():
    """RFC 5681 section 4.2: every second segment at once, a lone one after the delayed-ACK timer."""
    simulator = build([SLOW], [flow("reno", 0, size_bytes=3 * MSS)], records=64)
    simulator.run(S)
    acks = read(simulator, Kind.ACK)
    assert acks["seq"].tolist() == [2, 3]
    assert times_ms(acks) == [100 + 2 + 100, 100 + 3 + 100 + DELAYED_ACK_NS / MS]


def test_application_rate_and_stop():
    """1 Mbit/s of payload on 12: what is written is what arrives; nothing is sent after the stop."""
    simulator = build([SLOW], [flow("reno", 0, app_rate_bps=1e6, start_ns=S, stop_ns=61 * S)], records=1 << 14)
    (goodput_mbps,) = measure(simulator, 11, 50)
    assert goodput_mbps == pytest.approx(1.0, rel=MSS / (50e6 / 8))
    simulator.run(70 * S)
    sent_ns = read(simulator, SENT)["time_ns"]
    assert sent_ns[0] >= S + 100 * MS  # after the handshake
    assert 61 * S - 20 * MS < sent_ns[-1] <= 61 * S  # one segment each 11.6 ms
    assert simulator.subflow_stats(0, 0).queue_delay_mean_ms == pytest.approx(1.0)  # its own service


def reno_in_avoidance(events=(), until_ms=20_000):
    """Return the records of a Reno past its slow start, with a queue that overflows every few seconds."""
    simulator = build([link(12, 50, 40)], [flow("reno", 0, ack_segments=1)], events=events, records=1 << 16)
    simulator.run(until_ms * MS)
    simulator.check()
    return simulator, read(simulator)


@pytest.fixture(scope="module")
def quiet_ms():
    """Return the times of single sends, a millisecond or more apart, far from the link's own losses on either side.

    That is all that is taken from a first run: a second one with other losses is the same up to there.
    """
    _, records = reno_in_avoidance()
    drops_ms = times_ms(pick(records, Kind.DROP))
    gap = int(np.argmax(np.diff(drops_ms) > 4000))
    sends_ms = np.array(times_ms(pick(records, Kind.SEND)))
    sends_ms = sends_ms[sends_ms > drops_ms[gap] + 2000]
    is_single = (np.diff(sends_ms[:-1]) > 0.5) & (np.diff(sends_ms[1:]) > 0.5)
    return sends_ms[1:-1][is_single].tolist()


def episode(*lost_ms):
    """Return what happens from 200 ms before to 1.5 s after the first of the times at which a packet is lost."""
    events = [event for at_ms in lost_ms for event in lose_between(at_ms - 0.05, at_ms + 0.05)]
    simulator, records = reno_in_avoidance(events, round(lost_ms[0] + 1500))
    return simulator, records[records["time_ns"] >= (lost_ms[0] - 200) * MS]


def lost_then_entered(records):
    """Return the segments lost and the index of the ACK that began the recovery."""
    lost = pick(records, Kind.DROP)["seq"].tolist()
    acks = pick(records, Kind.ACK)
    entered = int(np.argmax(acks["state"] == State.RECOVERY))
    return lost, acks, entered


def test_one_loss_segment_by_segment(quiet_ms):
    """Fast retransmit on the third SACK, PRR of RFC 9937 ACK by ACK, a round trip later out at ssthresh."""
    simulator, records = episode(quiet_ms[0])
    lost, acks, entered = lost_then_entered(records)
    assert len(lost) == 1
    before, entry = acks[entered - 1], acks[entered]
    window = before["cwnd_segments"]
    assert entry["ssthresh_segments"] == math.floor(window / 2)

    resent = pick(records, Kind.RETRANSMIT)
    assert resent["seq"].tolist() == lost
    duplicates = acks[(acks["seq"] == lost[0]) & (acks["time_ns"] <= entry["time_ns"])]
    received = pick(records, Kind.RECEIVE)
    after_hole = received[received["seq"] > lost[0]]
    assert resent["time_ns"][0] == entry["time_ns"] == after_hole["time_ns"][2] + 50 * MS  # the third one's SACK
    assert len(duplicates) >= 3

    # Two duplicates release a new segment each (RFC 3042); then flight is floor(window) + 2, three of it SACKed.
    sends = pick(records, SENT)
    recover_flight, ssthresh = math.floor(window), math.floor(window / 2)
    leaving = int(np.argmax((acks["state"] == State.OPEN) & (np.arange(len(acks)) > entered)))
    sent, pipe = 0, recover_flight + 2 - 3 - 1
    for delivered, ack in enumerate(acks[entered:leaving], start=1):
        if pipe > ssthresh:
            room = -(-delivered * ssthresh // recover_flight) - sent
        else:
            room = min(ssthresh - pipe, max(delivered - sent, 1))
        room = max(room, 1 if sent == 0 else 0)
        burst = sends[sends["time_ns"] == ack["time_ns"]]
        assert len(burst) == room, f"ACK {delivered} of the recovery"
        sent += room
        pipe += room - 1

    out = acks[leaving]
    assert out["time_ns"] == pytest.approx(resent["time_ns"][0] + simulated_rtt(received, resent[0]), abs=1)
    assert out["cwnd_segments"] == pytest.approx(ssthresh + 1 / ssthresh)  # and the first step of avoidance
    stats = simulator.subflow_stats(0, 0)
    assert stats.rto_events == 0


def simulated_rtt(received, sent):
    """Return the round trip of a retransmission: its one-way time and 50 ms back."""
    arrivals = received["time_ns"][(received["seq"] == sent["seq"]) & (received["time_ns"] > sent["time_ns"])]
    return int(arrivals[0]) - int(sent["time_ns"]) + 50 * MS


def test_losses_of_one_window_are_one_reduction(quiet_ms):
    """Three holes: each is filled once, lowest first, and the window is halved once."""
    simulator, records = episode(quiet_ms[0], quiet_ms[10], quiet_ms[25])
    lost, acks, entered = lost_then_entered(records)
    assert len(lost) == 3
    assert pick(records, Kind.RETRANSMIT)["seq"].tolist() == lost
    assert len(set(acks["ssthresh_segments"][entered:].tolist())) == 1
    assert acks["ssthresh_segments"][entered] == acks["cwnd_segments"][entered - 1] // 2
    assert simulator.subflow_stats(0, 0).rto_events == 0


def test_lost_retransmission_needs_no_timeout(quiet_ms):
    """RFC 8985: a retransmission is lost when what was sent after it is delivered. Still one reduction."""
    _, first = episode(quiet_ms[0])
    resent_ms = times_ms(pick(first, Kind.RETRANSMIT))[0]
    simulator, records = episode(quiet_ms[0], resent_ms)
    lost, acks, entered = lost_then_entered(records)
    assert lost[:2] == [lost[0]] * 2  # the segment and its first retransmission
    resent = pick(records, Kind.RETRANSMIT)
    again = resent[resent["seq"] == lost[0]]
    assert len(again) == 2
    assert RTT_NS <= again["time_ns"][1] - again["time_ns"][0] <= 2 * RTT_NS
    assert len(set(acks["ssthresh_segments"][entered:].tolist())) == 1
    assert simulator.subflow_stats(0, 0).rto_events == 0


def smoothed(samples_ns):
    """Return (srtt, rttvar) in ns after these samples, RFC 6298 section 2."""
    srtt, rttvar = samples_ns[0], samples_ns[0] / 2
    for sample in samples_ns[1:]:
        rttvar = 0.75 * rttvar + 0.25 * abs(srtt - sample)
        srtt = 0.875 * srtt + 0.125 * sample
    return srtt, rttvar


def test_tail_loss_probe():
    """The last two of ten are dropped by a queue of eight: a probe after 2 srtt (RFC 8985 section 7), no time-out."""
    simulator = build([link(12, 50, 8)], [flow("reno", 0, ack_segments=1, size_bytes=10 * MSS)], records=64)
    simulator.run(2 * S)
    records = read(simulator)
    assert pick(records, Kind.DROP)["seq"].tolist() == [8, 9]
    srtt_ns, _ = smoothed([100 * MS, *[(101 + i) * MS for i in range(8)]])  # the handshake, then the queue of the burst
    probe, fill = pick(records, Kind.RETRANSMIT)
    assert (probe["seq"], fill["seq"]) == (9, 8)
    assert probe["time_ns"] == pytest.approx(208 * MS + 2 * srtt_ns, abs=100)
    assert fill["time_ns"] == probe["time_ns"] + RTT_NS  # its SACK reveals the other hole at once
    assert simulator.subflow_stats(0, 0).rto_events == 0
    assert simulator.flow_stats(0).completion_ns == fill["time_ns"] + 51 * MS


def test_timeouts_double_up_to_a_minute():
    """A cut path, constant RTT before: srtt + 200 ms after the tail loss probe, then twice as long each time (RFC
    6298).
    """
    config = flow("fixed", 0, fixed_cwnd_segments=20, ack_segments=1)
    simulator = build([SLOW], [config], events=[down(0, 20_000)], records=1 << 14)
    simulator.run(400 * S)
    records = read(simulator)
    probe_ns = int(records["time_ns"][(records["kind"] == Kind.RETRANSMIT) & (records["time_ns"] > 20 * S)][0])
    last_ack_ns = int(pick(records, Kind.ACK)["time_ns"][-1])
    assert probe_ns == pytest.approx(last_ack_ns + 2 * RTT_NS, abs=1000)
    timeouts_ns = pick(records, Kind.RTO)["time_ns"]
    waits_ns = np.diff([probe_ns, *timeouts_ns.tolist()])
    rto_ns = RTT_NS + 200 * MS  # rttvar has decayed to 0
    assert waits_ns[:12].tolist() == pytest.approx([min(rto_ns * 2**i, 60 * S) for i in range(12)], rel=1e-5)
    assert pick(records, Kind.RTO)["seq"].tolist()[:12] == [int(pick(records, Kind.ACK)["seq"][-1])] * 12


def test_timeout_collapses_the_window_and_halves_ssthresh():
    """RFC 5681 section 3.1: window 1, ssthresh half of the window, once however often the timer fires."""
    config = flow("reno", 0, ack_segments=1)
    simulator = build([link(12, 50, 40)], [config], events=[down(0, 20_000)], records=1 << 16)
    simulator.run(30 * S)
    records = read(simulator)
    window = pick(records, Kind.ACK)["cwnd_segments"][-1]
    timeouts = pick(records, Kind.RTO)
    assert len(timeouts) >= 4
    assert timeouts["cwnd_segments"].tolist() == [1.0] * len(timeouts)
    assert timeouts["ssthresh_segments"].tolist() == [window // 2] * len(timeouts)


def test_spurious_timeout_is_undone():
    """The delay leaps to 600 ms: the timer fires once, the ACKs of the first transmissions take it back (RFC 4015)."""
    config = flow("reno", 0, ack_segments=1, rwnd_bytes=40 * MSS)
    event = EventConfig(20 * S, 0, "delay", delay_ns=600 * MS)
    simulator = build([SLOW], [config], events=[event], records=1 << 16)
    simulator.run(20 * S)
    before = pick(records := read(simulator), Kind.ACK)[-1]
    assert not len(pick(records, Kind.RETRANSMIT))
    simulator.run(25 * S)
    records = read(simulator)
    (timeout,) = pick(records, Kind.RTO)
    assert timeout["cwnd_segments"] == 1.0
    acks = pick(records, Kind.ACK)
    first = acks[acks["time_ns"] > timeout["time_ns"]][0]
    assert first["cwnd_segments"] >= before["cwnd_segments"]
    assert first["ssthresh_segments"] == before["ssthresh_segments"]
    assert first["state"] == State.OPEN
    resent = pick(records, Kind.RETRANSMIT)
    in_loss = resent[resent["state"] == State.LOSS]
    assert in_loss["seq"].tolist() == [timeout["seq"]]  # not the window after it; the others are tail loss probes
    assert set(resent["state"].tolist()) == {State.OPEN, State.LOSS}


def test_zero_window_and_persist_probes():
    """A reader that stops closes the window; probes back off from the RTO; reading on opens it (RFC 9293 section
    3.8.6).
    """
    config = flow("reno", 0, ack_segments=1, rwnd_bytes=50 * MSS)
    simulator = build([SLOW], [config], records=1 << 16)
    simulator.run(10 * S)
    simulator.set_reading(0, False)
    read_bytes = simulator.flow_stats(0).goodput_bytes
    read(simulator)
    simulator.run(40 * S)
    assert simulator.flow_stats(0).goodput_bytes == read_bytes
    records = read(simulator)
    sends = pick(records, SENT)
    assert len(sends) <= 50 and not len(pick(records, Kind.RETRANSMIT))
    probes_ns = pick(records, Kind.PROBE)["time_ns"]
    acks_ns = pick(records, Kind.ACK)["time_ns"]
    last_ack_ns = int(acks_ns[acks_ns < probes_ns[0]][-1])
    assert probes_ns[0] - last_ack_ns == pytest.approx(RTT_NS + 200 * MS, rel=1e-3)
    gaps_ns = np.diff(probes_ns)
    assert (gaps_ns[1:-1] / gaps_ns[:-2]).tolist() == pytest.approx([2.0] * (len(gaps_ns) - 2))
    assert simulator.flow_stats(0).send_buffer_bytes == 0

    simulator.set_reading(0, True)
    assert simulator.flow_stats(0).goodput_bytes == read_bytes + 50 * MSS
    simulator.run(42 * S)
    assert read(simulator, Kind.SEND)["time_ns"][0] == 40 * S + 50 * MS  # the update's way back
    assert simulator.flow_stats(0).goodput_bytes > read_bytes + 500 * MSS
    simulator.check()


def test_ecn_halves_once_a_round_trip_and_resends_nothing():
    """RFC 3168 section 6.1.2, with a CoDel queue that marks."""
    queue = link(12, 50, 4000, queue_kind="codel", is_ecn=True)
    simulator = build([queue], [flow("reno", 0, ack_segments=1)], records=1 << 17)
    simulator.run(60 * S)
    records = read(simulator)
    assert simulator.link_stats(0).marked_packets > 10
    assert simulator.link_stats(0).dropped_packets == 0
    assert not len(pick(records, Kind.RETRANSMIT))
    acks = pick(records, Kind.ACK)
    entering = np.flatnonzero((acks["state"][1:] == State.CWR) & (acks["state"][:-1] != State.CWR)) + 1
    assert len(entering) > 3
    assert acks["ssthresh_segments"][entering].tolist() == (acks["cwnd_segments"][entering - 1] // 2).tolist()
    assert np.diff(acks["time_ns"][entering]).min() >= RTT_NS
    changes = np.flatnonzero(np.diff(acks["ssthresh_segments"]) != 0) + 1
    assert set(changes.tolist()) <= set(entering.tolist())


def test_initial_window_all_at_once():
    """300 segments: the queue takes them all, the link lets one go each ms."""
    simulator = build([SLOW], [flow("reno", 0, initial_cwnd_segments=300, size_bytes=300 * MSS)])
    simulator.run(S)
    assert simulator.flow_stats(0).completion_ns == (100 + 300 + 50) * MS
