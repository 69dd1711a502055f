# SPDX-License-Identifier: BSD-2-Clause
"""The link emulator keeps rate, delay, queue, loss and events in real time.

What a link decides (which packet is dropped, when it should leave) is the simulator's code, tested there; here it
meets the clock. A test machine may be busy and give no real-time priority, so a single packet may be LATE_NS late;
amounts and ratios over many packets have the tolerances of their statistics.
"""

import math
import os
import socket

import numpy as np
import pytest

from ccdrl.bindings.errors import InputError
from ccdrl.bindings.network import EventConfig, LinkConfig, LossConfig, TraceConfig
from ccdrl.tests.bindings.testbed.wire import MS, S, Wire, library, needs_testbed

pytestmark = needs_testbed

LATE_NS = 40 * MS
"""Longest pause that the scheduler of a loaded machine may make; typical lateness is below 0.1 ms."""
FAST = LinkConfig(rate_bps=1e9, limit_bytes=100_000_000)


def numbers(wire):
    return [arrival.number for arrival in wire.received]


def test_rate_is_kept():
    # 400 packets of 1 ms each: the span is 399 ms whatever the pauses in between.
    with Wire(LinkConfig(rate_bps=8e6, limit_bytes=10_000_000)) as wire:
        wire.run(600 * MS, (0, 1, 0, 1000, 400))
        times = [arrival.time_ns for arrival in wire.received]
        assert numbers(wire) == list(range(400))
        assert times[-1] - times[0] == pytest.approx(399 * MS, abs=LATE_NS)
        assert wire.link().departed_bytes == 400_000
        # a packet never leaves before its time
        assert all(time_ns >= (n + 1) * MS for n, time_ns in enumerate(times))


def test_lateness_is_recorded():
    with Wire(LinkConfig(rate_bps=8e6, limit_bytes=10_000_000)) as wire:
        wire.run(400 * MS, (0, 1, 0, 1000, 200))
        figures = wire.figures()
        real_ns = [arrival.time_ns - (arrival.number + 1) * MS for arrival in wire.received]
        assert figures.late_packets == 200
        assert 0 < figures.late_mean_us <= figures.late_max_us
        assert figures.late_p99_us <= figures.late_max_us * 1.01
        # what the emulator says is what an observer sees, who is later still
        assert figures.late_mean_us * 1e3 <= np.mean(real_ns) + 0.1 * MS


@pytest.mark.parametrize("delay_ms", [0, 5, 80])
def test_delay_both_ways(delay_ms):
    with Wire(LinkConfig(rate_bps=1e8, delay_ns=delay_ms * MS, limit_bytes=1_000_000)) as wire:
        wire.run(S // 2, *((20 * MS * n, 1, n, 1250) for n in range(5)), *((150 * MS, 0, 9, 60, 1, 0),))
        sent_ns = [20 * MS * n + 0.1 * MS + delay_ms * MS for n in range(5)]
        delays_ns = [arrival.time_ns - due for arrival, due in zip(wire.received, sent_ns, strict=True)]
        assert all(0 <= late_ns < LATE_NS for late_ns in delays_ns)
        (ack,) = wire.arrivals[1]
        assert (ack.number, ack.wire_bytes) == (9, 60)
        assert 0 <= ack.time_ns - 150 * MS - delay_ms * MS < LATE_NS


def test_no_packet_is_earlier_than_its_delay():
    """A packet arrives when it is read, not when the clock was looked at before: the thread may be held back between.

    Here by its port: a read that waits. With the second packet the port is closed, and nothing waits any more.
    """
    with Wire(LinkConfig(rate_bps=1e9, delay_ns=30 * MS, limit_bytes=1_000_000)) as wire:
        wire.inside[1].setblocking(True)
        write = wire._write

        def write_and_close(port, packet):
            write(port, packet)
            if packet[27] == 1:  # the number
                with socket.socket(fileno=os.dup(wire.ends[port])) as end:
                    end.shutdown(socket.SHUT_WR)

        wire._write = write_and_close
        wire.run(200 * MS, (10 * MS, 1, 0, 100), (80 * MS, 1, 1, 100))
        assert wire.received[1].time_ns >= 110 * MS


def test_extra_delay_of_a_route_counts_in_each_direction():
    with Wire(LinkConfig(rate_bps=1e8, delay_ns=10 * MS, limit_bytes=1_000_000), extra_delay_ns=30 * MS) as wire:
        wire.run(200 * MS, (0, 1, 0, 1250), (50 * MS, 0, 1, 60, 1, 0))
        assert 0 <= wire.received[0].time_ns - 40.1 * MS < LATE_NS
        assert 0 <= wire.arrivals[1][0].time_ns - 90 * MS < LATE_NS


@pytest.mark.parametrize("limit", [{"limit_bytes": 10_000}, {"limit_packets": 10}])
def test_queue_holds_its_limit(limit):
    # The emulator takes 32 packets at once: those beyond the limit are dropped. While it takes the next batch the link
    # may have served some, at 4 ms each.
    with Wire(LinkConfig(rate_bps=2e6, **limit)) as wire:
        wire.run(300 * MS, (0, 1, 0, 1000, 32))
        assert numbers(wire) == list(range(10))
        assert wire.link().dropped_packets == 22


def test_bernoulli_loss_and_its_seed():
    def lost(seed):
        link = LinkConfig(rate_bps=3e6, limit_bytes=100_000_000, loss=LossConfig("bernoulli", p=0.1))
        with Wire(link, seed=seed) as wire:
            wire.run(1000 * MS, (0, 1, 0, 60, 3000))
            assert wire.link().lost_packets + len(wire.received) == 3000
            return set(range(3000)) - set(numbers(wire))

    first = lost(7)
    # four standard deviations of a binomial
    assert len(first) / 3000 == pytest.approx(0.1, abs=4 * math.sqrt(0.1 * 0.9 / 3000))
    assert lost(7) == first
    assert lost(8) != first


def test_gilbert_elliott_loses_in_bursts():
    loss = LossConfig("gilbert-elliott", good_to_bad=0.02, bad_to_good=0.25)
    with Wire(LinkConfig(rate_bps=3e6, limit_bytes=100_000_000, loss=loss), seed=3) as wire:
        wire.run(1500 * MS, (0, 1, 0, 60, 6000))
        is_lost = np.ones(6000, bool)
        is_lost[numbers(wire)] = False
    bursts = np.count_nonzero(np.diff(is_lost.astype(int)) == 1) + int(is_lost[0])
    # Stationary loss 0.02 / 0.27 and mean burst 1 / 0.25; about 110 bursts, so 4 sigma is near 40 %.
    assert is_lost.mean() == pytest.approx(0.02 / 0.27, rel=0.4)
    assert is_lost.sum() / bursts == pytest.approx(4.0, rel=0.4)


def test_link_down_loses_both_ways_and_comes_back():
    events = (EventConfig(100 * MS, 0, "down"), EventConfig(200 * MS, 0, "up"))
    with Wire(FAST, events=events) as wire:
        sends = [(30 * MS, 1, 0, 100), (50 * MS, 0, 1, 60, 1, 0)]
        sends += [(140 * MS, 1, 2, 100), (150 * MS, 0, 3, 60, 1, 0)]
        sends += [(250 * MS, 1, 4, 100), (260 * MS, 0, 5, 60, 1, 0)]
        wire.run(350 * MS, *sends)
        assert numbers(wire) == [0, 4]
        assert [arrival.number for arrival in wire.arrivals[1]] == [1, 5]


def test_events_change_rate_delay_and_loss():
    events = (
        EventConfig(100 * MS, 0, "rate", rate_bps=8e6),
        EventConfig(100 * MS, 0, "delay", delay_ns=50 * MS),
        EventConfig(300 * MS, 0, "loss", loss=LossConfig("bernoulli", p=1.0)),
    )
    with Wire(LinkConfig(rate_bps=8e7, delay_ns=0, limit_bytes=1_000_000), events=events) as wire:
        wire.run(500 * MS, (20 * MS, 1, 0, 1000), (150 * MS, 1, 1, 1000), (350 * MS, 1, 2, 1000))
        assert numbers(wire) == [0, 1]
        assert 0 <= wire.received[0].time_ns - 20.1 * MS < LATE_NS
        assert 0 <= wire.received[1].time_ns - 201 * MS < LATE_NS


def test_links_in_a_row_and_a_shared_one():
    # Route 0 goes through links 0 and 1, route 1 through 1 alone: the slower link 1 is shared.
    links = (
        LinkConfig(rate_bps=8e7, delay_ns=10 * MS, limit_bytes=1_000_000),
        LinkConfig(rate_bps=8e6, delay_ns=20 * MS, limit_bytes=1_000_000),
    )
    with Wire(*links, routes=((0, 1), (1,))) as wire:
        wire.run(500 * MS, (0, 1, 0, 1000, 100), (0, 2, 1000, 1000, 100))
        times = [arrival.time_ns for arrival in wire.received]
        assert len(times) == 200
        assert 0 <= min(times) - 21 * MS < LATE_NS
        assert max(times) == pytest.approx(220 * MS, abs=LATE_NS)
        assert wire.link(0).departed_bytes == 100_000
        assert wire.link(1).departed_bytes == 200_000


def test_rate_trace():
    # 4 Mbit/s for 100 ms, then 16: 50 packets of 1000 bytes, then 200 in the next 100 ms.
    trace = TraceConfig("rate", np.array([0, 100 * MS]), 200 * MS, np.array([4e6, 16e6]))
    with Wire(LinkConfig(limit_bytes=10_000_000, trace=trace)) as wire:
        wire.run(250 * MS, (0, 1, 0, 1000, 240))
        times = np.array([arrival.time_ns for arrival in wire.received])
        assert len(times) == 240
        assert times[49] == pytest.approx(100 * MS, abs=LATE_NS)
        assert times[239] == pytest.approx(195 * MS, abs=LATE_NS)


def test_delivery_opportunities():
    trace = TraceConfig("opportunities", np.arange(1, 21) * 10 * MS, 200 * MS)
    with Wire(LinkConfig(limit_bytes=10_000_000, trace=trace)) as wire:
        wire.run(300 * MS, (0, 1, 0, 1500, 10))
        times = [arrival.time_ns for arrival in wire.received]
        assert len(times) == 10
        assert all(0 <= time_ns - 10 * MS * (n + 1) < LATE_NS for n, time_ns in enumerate(times))


def test_jitter_keeps_the_order():
    with Wire(LinkConfig(rate_bps=1e8, jitter_ns=20 * MS, limit_bytes=1_000_000)) as wire:
        wire.run(400 * MS, (0, 1, 0, 1250, 500))
        assert numbers(wire) == list(range(500))


def test_strangers_are_dropped_and_counted():
    with Wire(FAST) as wire:
        # from an address that is no route's, and to one
        wire.run(100 * MS, (0, 1, 0, 100, 3, 5), (0, 0, 0, 100, 2, 7), (0, 1, 8, 100))
        assert numbers(wire) == [8]
        assert wire.figures().foreign_packets == 5
        assert wire.figures().data_packets == 1


def test_figures_leave_the_warmup_out():
    with Wire(LinkConfig(rate_bps=8e6, limit_bytes=1_000_000)) as wire:
        wire.run(200 * MS, (0, 1, 0, 1000, 20), (120 * MS, 1, 50, 1000, 10), warmup_ns=100 * MS)
        stats = wire.link()
        assert stats.departed_bytes == 10_000
        assert stats.capacity_bytes == pytest.approx(100_000, rel=1e-6)


def test_bad_descriptions_are_refused():
    with pytest.raises(InputError):
        Wire(LinkConfig(rate_bps=-1.0))
    with pytest.raises(library.BedError, match="route"):
        Wire(FAST, routes=((1,),))
