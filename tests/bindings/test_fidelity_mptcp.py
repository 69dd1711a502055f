# SPDX-License-Identifier: BSD-2-Clause
"""The data level, rule by rule and figure by figure of "Design Overview of Multipath TCP version 0.4 for FreeBSD-11"
(CAIA TR 140822A): maps, deferred drop, reassembly, data-level retransmission, removal, joins, fail-over.
"""

import numpy as np
import pytest

from ccdrl.bindings.records import Kind
from ccdrl.tests.bindings.networks import MS, MSS, SENT, S, build, down, flow, link, measure, pick, read, up

FAST, SLOW = link(12, 10), link(12, 20)  # 1 ms a packet: round trips of 21 and 41 ms
FAST_RTT_NS, SLOW_RTT_NS = 21 * MS, 41 * MS


def fixed(*paths, window=10, **fields):
    """Return a flow with a constant window on each path and an ACK for each segment."""
    return flow("fixed", *paths, fixed_cwnd_segments=window, ack_segments=1, **fields)


def test_figure_4_and_12_each_map_goes_once_to_the_subflow_that_asks():
    """Maps are cut from one send buffer in order of data sequence, one segment each, whoever has room."""
    simulator = build([FAST, SLOW], [fixed(0, 1)], records=1 << 16)
    simulator.run(3 * S)
    sends = read(simulator, Kind.SEND)
    assert sends["map"].tolist() == list(range(len(sends)))
    for path in (0, 1):
        own = sends[sends["path"] == path]
        assert own["seq"].tolist() == list(range(len(own)))  # its own sequence space has no holes
        assert len(own) > 500


def test_figure_2_reassembly_across_subflows():
    """In order, once, and at once when the hole is filled, though one path is ten times as slow."""
    simulator = build([link(12, 5), link(12, 50)], [flow("reno", 0, 1, scheduler="roundrobin")], records=1 << 18)
    sent, received = [], set()
    prefix = waited = 0
    for step in range(1, 200):
        simulator.run(step * 17 * MS)
        records = read(simulator)
        sent += [(int(row["path"]), int(row["seq"]), int(row["map"])) for row in pick(records, SENT)]
        map_of = {(path, seq): number for path, seq, number in sent}
        received |= {map_of[int(row["path"]), int(row["seq"])] for row in pick(records, Kind.RECEIVE)}
        while prefix in received:
            prefix += 1
        assert simulator.flow_stats(0).goodput_bytes == prefix * MSS
        waited = max(waited, len(received) - prefix)
    assert prefix > 1000
    assert waited > 10  # segments did wait for the slow path


def test_figure_8_deferred_drop():
    """Bytes leave the send buffer with the data ACK, and memory when no subflow refers to them any more."""
    simulator = build([FAST, SLOW], [fixed(0, 1)], events=[down(0, 5000), up(0, 12_000)], records=1 << 16)
    simulator.run(6500 * MS)
    before = simulator.flow_stats(0)
    simulator.run(8 * S)  # the third time-out of 6595 ms has had the maps reinjected and data-ACKed
    after = simulator.flow_stats(0)
    assert before.send_buffer_bytes > 100 * MSS  # one hole holds up all data ACKs
    assert after.send_buffer_bytes == 10 * MSS  # what is in flight on the path that is up
    assert after.send_buffer_held_bytes > 400 * MSS  # the cut subflow still refers to its maps
    simulator.run(30 * S)  # path 0 has recovered and ACKed them on the subflow level
    final = simulator.flow_stats(0)
    assert final.send_buffer_held_bytes <= 25 * MSS
    assert final.send_buffer_held_bytes >= final.send_buffer_bytes


def test_figure_8_everything_is_released_at_the_end():
    simulator = build([FAST, link(12, 20, 20, loss_p=0.01)], [flow("reno", 0, 1, size_bytes=5_000_000)])
    for step in range(1, 400):
        simulator.run(step * 20 * MS)
        stats = simulator.flow_stats(0)
        assert stats.send_buffer_held_bytes >= stats.send_buffer_bytes
    assert stats.goodput_bytes == 5_000_000
    assert (stats.send_buffer_bytes, stats.send_buffer_held_bytes) == (0, 0)


def test_figure_13_reinjection_after_exactly_three_timeouts():
    """Path 0 is cut at 5 s. Its last ACK comes at 5006, a tail loss probe 2 srtt later, time-outs 221 (srtt + 200),
    442 and 884 ms apart; with the third its maps wait for room on path 1, whose next ACKs come at 6620, 6621 ... ms.
    """
    simulator = build([FAST, SLOW], [fixed(0, 1)], events=[down(0, 5000), up(0, 12_000)], records=1 << 16)
    simulator.run(5 * S)
    read(simulator)
    simulator.run(7 * S)
    records = read(simulator)
    last_ack_ns = int(pick(records, Kind.ACK, path=0)["time_ns"][-1])
    timeouts = pick(records, Kind.RTO)
    assert last_ack_ns == 5006 * MS
    expected_ns = last_ack_ns + 2 * FAST_RTT_NS + np.cumsum([221 * MS, 442 * MS, 884 * MS])
    assert timeouts["time_ns"].tolist() == pytest.approx(expected_ns.tolist(), abs=1000)

    lost = pick(records, Kind.DROP, path=0)
    sends = pick(records, Kind.SEND)
    sent_on_0 = pick(sends, path=0)
    dropped = sent_on_0["map"][np.isin(sent_on_0["seq"], lost["seq"])]  # of this second; the rest was sent before it
    maps_lost = sorted({*dropped.tolist(), *pick(records, Kind.RETRANSMIT, path=0)["map"].tolist()})
    received_unacked = 3  # on the wire of path 0 at 5 s: received, but the ACKs' way back was cut
    on_1 = pick(sends, path=1)
    again = on_1[np.isin(on_1["map"], maps_lost)]
    assert again["map"].tolist() == maps_lost[received_unacked:]  # data ACKs on path 1 have told of the three
    assert again["time_ns"][0] > timeouts["time_ns"][2]
    assert again["time_ns"].tolist() == [(6620 + i) * MS for i in range(len(again))]
    fresh = on_1[on_1["time_ns"] > timeouts["time_ns"][2]]
    assert fresh["map"][: len(again)].tolist() == again["map"].tolist()  # figure 12: before any new map
    assert simulator.flow_stats(0).reinjected_bytes == len(again) * MSS


def test_figure_13_the_subflow_goes_on_and_duplicates_are_discarded():
    """The cut subflow retransmits on its own schedule; what it then delivers a second time counts once."""
    size = 8_000_000
    config = fixed(0, 1, size_bytes=size)
    simulator = build([FAST, SLOW], [config], events=[down(0, 5000), up(0, 12_000)], records=1 << 16)
    simulator.run(12 * S)
    read(simulator)
    simulator.run(60 * S)
    stats = simulator.flow_stats(0)
    resent = pick(read(simulator), Kind.RETRANSMIT, path=0)
    assert resent["time_ns"][0] == pytest.approx(5048 * MS + 221 * MS * (2**6 - 1), abs=10_000)  # the sixth time-out
    assert len(resent) >= 7
    assert stats.goodput_bytes == size
    delivered = sum(simulator.subflow_stats(0, path).delivered_bytes for path in (0, 1))
    assert delivered >= size + stats.reinjected_bytes > size
    assert (stats.send_buffer_bytes, stats.send_buffer_held_bytes) == (0, 0)
    simulator.check()


def test_twelve_timeouts_remove_a_subflow_and_it_joins_again():
    """TCP_MAXRXTSHIFT 12: the subflow is reset, the others go on; it comes back when the path does."""
    simulator = build([FAST, SLOW], [fixed(0, 1)], events=[down(0, 5000), up(0, 500_000)], records=1 << 12)
    removal_ns = 5048 * MS + sum(min(221 * MS * 2**i, 60 * S) for i in range(12))
    simulator.run(removal_ns - 10 * MS)
    assert simulator.subflow_stats(0, 0).is_established
    simulator.run(removal_ns + 10 * MS)
    assert not simulator.subflow_stats(0, 0).is_established
    assert simulator.subflow_stats(0, 0).rto_events == 12
    simulator.run(600 * S)
    assert simulator.subflow_stats(0, 0).is_established
    (goodput_mbps,) = measure(simulator, 600, 10)
    # 10 segments each 21 and each 41 ms.
    assert goodput_mbps == pytest.approx(10 * MSS * 8 * (1 / 0.021 + 1 / 0.041) / 1e6, rel=0.01)


@pytest.mark.parametrize("paths", [(0,), (0, 1)])
def test_make_after_break(paths):
    """All paths go down, long enough for every subflow to be reset; the connection lives on and nothing is lost."""
    size = 20_000_000
    events = [event for path in paths for event in (down(path, 3000), up(path, 600_000))]
    simulator = build([FAST, SLOW], [flow("reno", *paths, size_bytes=size)], events=events)
    simulator.run(590 * S)
    before = simulator.flow_stats(0).goodput_bytes
    assert 0 < before < size
    assert not any(simulator.subflow_stats(0, path).is_established for path in range(len(paths)))
    simulator.run(760 * S)
    stats = simulator.flow_stats(0)
    assert stats.goodput_bytes == size
    assert stats.completion_ns is not None and stats.completion_ns > 600 * S
    assert (stats.send_buffer_bytes, stats.send_buffer_held_bytes) == (0, 0)
    simulator.check()


@pytest.mark.parametrize("cc", ["reno", "cubic", "lia", "olia", "balia", "wvegas", "ewtcp", "bbr"])
def test_fail_over(cc):
    """Scenario 13: a path goes down for 10 s under load and comes back. The other fills its link from the third time-
    out at the latest, and afterwards both are used again; nothing is lost.
    """
    links = [link(20, 10, 100), link(20, 15, 100)]
    simulator = build(links, [flow(cc, 0, 1)], events=[down(0, 20_000), up(0, 30_000)])
    simulator.run(20 * S)
    rtt_ns = round(max(simulator.subflow_stats(0, path).srtt_ms for path in (0, 1)) * MS)
    timeouts_ns = 7 * (rtt_ns + 250 * MS)  # 1, 2 and 4 RTOs
    resumed_ns = 20 * S + 2 * rtt_ns + timeouts_ns + 2 * rtt_ns  # after the tail loss probe, and until a delivery
    simulator.run(resumed_ns)
    simulator.reset_stats()
    simulator.run(30 * S)
    down_mbps = simulator.flow_stats(0).goodput_bytes * 8 / ((30 * S - resumed_ns) / S) / 1e6
    assert down_mbps >= 0.9 * 20 * MSS / 1500
    simulator.run(60 * S)
    (both_mbps,) = measure(simulator, 60, 20)
    assert both_mbps >= 0.9 * 40 * MSS / 1500
    assert simulator.subflow_stats(0, 0).delivered_bytes > 0.2 * simulator.subflow_stats(0, 1).delivered_bytes
    simulator.check()


def test_removal_and_join_by_hand():
    """RFC 8684 section 3.6: a removed subflow's maps go to the other at once; a join is established a round trip
    later.
    """
    simulator = build([FAST, SLOW], [fixed(0, 1, size_bytes=20_000_000)], records=1 << 16)
    simulator.run(2 * S)
    read(simulator)
    simulator.remove_subflow(0, 0)
    assert not simulator.subflow_stats(0, 0).is_established
    simulator.run(4 * S)
    sends = read(simulator, SENT)
    assert set(sends["path"].tolist()) == {1}
    assert simulator.flow_stats(0).reinjected_bytes <= 10 * MSS
    simulator.join_subflow(0, 0)
    simulator.run(4 * S + 20 * MS - 1)
    assert not simulator.subflow_stats(0, 0).is_established
    simulator.run(4 * S + 20 * MS)
    assert simulator.subflow_stats(0, 0).is_established
    assert pick(read(simulator, SENT), path=0)["time_ns"].tolist() == [4 * S + 20 * MS] * 10
    simulator.run(60 * S)
    stats = simulator.flow_stats(0)
    assert stats.goodput_bytes == 20_000_000
    assert (stats.send_buffer_bytes, stats.send_buffer_held_bytes) == (0, 0)
    simulator.check()


def test_the_second_subflow_joins_when_the_first_is_up():
    """MP_JOIN needs the key exchange: the second starts its round trip when the first has made its own."""
    simulator = build([FAST, SLOW], [fixed(0, 1)], records=4096)
    simulator.run(S)
    sends = read(simulator, Kind.SEND)
    assert pick(sends, path=0)["time_ns"][0] == 20 * MS
    assert pick(sends, path=1)["time_ns"][0] == 20 * MS + 40 * MS


def test_the_receive_window_is_the_connections():
    """30 segments of window over two paths with room for 20 each: never more than 30 without a data ACK."""
    simulator = build([FAST, SLOW], [fixed(0, 1, window=20, rwnd_bytes=30 * MSS)])
    most = 0
    for step in range(1, 2000):
        simulator.run(step * MS)
        most = max(most, simulator.flow_stats(0).send_buffer_bytes)
    assert most == 30 * MSS
    simulator.set_reading(0, False)
    simulator.run(4 * S)
    stuck = simulator.flow_stats(0).goodput_bytes
    assert simulator.flow_stats(0).send_buffer_bytes == 0  # all of it arrived, nothing more may leave
    simulator.set_reading(0, True)
    simulator.run(5 * S)
    assert simulator.flow_stats(0).goodput_bytes > stuck + 500 * MSS
