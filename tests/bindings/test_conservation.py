# SPDX-License-Identifier: BSD-2-Clause
"""Random networks: every packet is accounted for, everything arrives once and in order, the same seed gives the same
bytes.
"""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccdrl.bindings.library import CC_IDS, QUEUE_IDS, SCHEDULER_IDS, SUBFLOWS_MAX
from ccdrl.bindings.records import Kind, enable_records, read_records
from ccdrl.bindings.simulator import EventConfig, FlowConfig, LinkConfig, LossConfig, PathConfig, Simulator, TraceConfig
from ccdrl.tests.bindings.networks import MS, S, build, flow, link

END_NS = 8 * S
CCS = sorted(CC_IDS)
MANY = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def losses(draw):
    kind = draw(st.sampled_from(["none", "none", "bernoulli", "gilbert-elliott"]))
    if kind == "gilbert-elliott":
        return LossConfig(
            kind, good_to_bad=draw(st.floats(0, 0.02)), bad_to_good=draw(st.floats(0.05, 1)), loss_bad=0.5
        )
    return LossConfig(kind, p=draw(st.floats(0, 0.1)) if kind == "bernoulli" else 0.0)


@st.composite
def links(draw):
    trace = None
    if draw(st.integers(0, 4)) == 0:
        rates = np.array(draw(st.lists(st.floats(0, 2e7), min_size=2, max_size=5)) + [5e6])
        trace = TraceConfig("rate", np.arange(len(rates)) * 50 * MS, len(rates) * 50 * MS, rates)
    return LinkConfig(
        rate_bps=draw(st.floats(2e5, 3e7)),
        delay_ns=draw(st.integers(0, 100 * MS)),
        jitter_ns=draw(st.sampled_from([0, 0, MS, 20 * MS])),
        queue_kind=draw(st.sampled_from(sorted(QUEUE_IDS))),
        is_ecn=draw(st.booleans()),
        limit_packets=draw(st.integers(1, 200)),
        loss=draw(losses()),
        trace=trace,
    )


@st.composite
def flows(draw, n_links):
    route = st.lists(st.integers(0, n_links - 1), min_size=1, max_size=3).map(tuple)
    paths = draw(st.lists(st.builds(PathConfig, route, st.integers(0, 20 * MS)), min_size=1, max_size=SUBFLOWS_MAX))
    start_ns = draw(st.integers(0, S))
    return FlowConfig(
        cc=draw(st.sampled_from(CCS)),
        paths=tuple(paths),
        scheduler=draw(st.sampled_from(sorted(SCHEDULER_IDS))),
        mss_bytes=draw(st.sampled_from([100, 536, 1448])),
        start_ns=start_ns,
        stop_ns=draw(st.sampled_from([None, None, start_ns + 2 * S])),
        size_bytes=draw(st.sampled_from([0, 0, 1, 30_000, 500_000])),
        rwnd_bytes=draw(st.sampled_from([0, 0, 20_000, 100_000])),
        app_rate_bps=draw(st.sampled_from([0.0, 0.0, 1e5, 2e6])),
        fixed_cwnd_segments=draw(st.floats(1, 50)),
        ack_segments=draw(st.integers(0, 3)),
    )


@st.composite
def events(draw, n_links):
    kind = draw(st.sampled_from(["rate", "delay", "loss", "down", "up"]))
    return EventConfig(
        at_ns=draw(st.integers(0, END_NS)),
        link=draw(st.integers(0, n_links - 1)),
        kind=kind,
        rate_bps=draw(st.floats(1e5, 3e7)) if kind == "rate" else 0.0,
        delay_ns=draw(st.integers(0, 150 * MS)) if kind == "delay" else 0,
        loss=draw(losses()) if kind == "loss" else LossConfig(),
    )


@st.composite
def networks(draw):
    """Return (seed, links, flows, events) of a network."""
    some_links = draw(st.lists(links(), min_size=1, max_size=4))
    n = len(some_links)
    return (
        draw(st.integers(0, 2**64 - 1)),
        some_links,
        draw(st.lists(flows(n), min_size=1, max_size=4)),
        draw(st.lists(events(n), max_size=6)),
    )


def make(network):
    seed, some_links, some_flows, some_events = network
    return build(some_links, some_flows, seed, some_events)


def figures(simulator):
    """Return everything that can be read, as text: equal text is equal bits, and NaN equals NaN."""
    rows = [repr(dataclasses.astuple(simulator.link_stats(i))) for i in range(simulator.n_links)]
    for i in range(simulator.n_flows):
        stats = simulator.flow_stats(i)
        rows.append(repr(dataclasses.astuple(stats)))
        rows += [repr(dataclasses.astuple(simulator.subflow_stats(i, path))) for path in range(stats.n_subflows)]
    return [*rows, repr(simulator.packets), simulator.peek_samples().tobytes().hex()]


@MANY
@given(networks(), st.lists(st.integers(0, END_NS), min_size=1, max_size=4))
def test_every_packet_is_accounted_for(network, stops_ns):
    """sent = received + dropped + inside, on every subflow at any time; the scoreboards add up; no byte is made up."""
    simulator = make(network)
    for stop_ns in sorted(stops_ns):
        simulator.run(stop_ns)
        simulator.check()
    for i, config in enumerate(network[2]):
        stats = simulator.flow_stats(i)
        received = sum(simulator.subflow_stats(i, path).delivered_bytes for path in range(len(config.paths)))
        assert stats.goodput_bytes <= received <= stats.sent_bytes
        assert stats.send_buffer_bytes <= stats.send_buffer_held_bytes
        assert config.size_bytes == 0 or stats.goodput_bytes <= config.size_bytes
        assert (stats.completion_ns is not None) == (0 < config.size_bytes == stats.goodput_bytes)
    for i in range(simulator.n_links):
        stats = simulator.link_stats(i)
        # A packet counts when it has left, capacity as time goes: off by one packet, or an opportunity of 1500 bytes.
        assert stats.departed_bytes <= stats.capacity_bytes + 1500


@MANY
@given(networks(), st.lists(st.integers(0, END_NS), max_size=4))
def test_pieces_are_the_whole(network, stops_ns):
    """The same seed gives the same figures, in one run or in pieces, read in between or not."""
    whole, pieces = make(network), make(network)
    whole.run(END_NS)
    for stop_ns in sorted(stops_ns):
        pieces.run(stop_ns)
        pieces.check()
    pieces.run(END_NS)
    assert figures(whole) == figures(pieces)


@settings(parent=MANY, max_examples=25)
@given(networks())
def test_the_record_agrees_with_the_counters(network):
    """Recording changes nothing, and each send is followed by one fate: received, dropped or inside."""
    plain, recorded = make(network), make(network)
    enable_records(recorded, 1 << 20)
    plain.run(2 * S)
    recorded.run(2 * S)
    assert figures(plain) == figures(recorded)
    records = read_records(recorded, 1 << 20)
    assert np.all(np.diff(records["time_ns"]) >= 0)
    for i, config in enumerate(network[2]):
        for path in range(len(config.paths)):
            own = records[(records["flow"] == i) & (records["path"] == path)]
            count = {kind: int((own["kind"] == kind).sum()) for kind in Kind}
            stats = recorded.subflow_stats(i, path)
            assert count[Kind.SEND] + count[Kind.RETRANSMIT] + count[Kind.PROBE] == stats.sent_packets
            assert count[Kind.RECEIVE] == stats.received_packets
            assert count[Kind.RTO] == stats.rto_events
            assert count[Kind.RECEIVE] + count[Kind.DROP] <= stats.sent_packets


@settings(parent=MANY, max_examples=40)
@given(st.data())
def test_finite_transfers_arrive(data):
    """Whatever happens to the paths for four seconds, once they are whole a transfer completes, once and released."""
    seed, some_links, some_flows, some_events = data.draw(networks())
    calm = [dataclasses.replace(config, trace=None, rate_bps=max(config.rate_bps, 2e6)) for config in some_links]
    finite = [
        dataclasses.replace(config, size_bytes=100_000, stop_ns=None, app_rate_bps=0.0, fixed_cwnd_segments=4.0)
        for config in some_flows
    ]
    trouble = [dataclasses.replace(event, at_ns=event.at_ns // 2) for event in some_events]
    whole = [
        event
        for i in range(len(calm))
        for event in (
            EventConfig(4 * S, i, "up"),
            EventConfig(4 * S, i, "loss"),
            EventConfig(4 * S, i, "rate", rate_bps=5e6),
        )
    ]
    simulator = build(calm, finite, seed, [*trouble, *whole])
    simulator.run(400 * S)
    simulator.check()
    for i in range(simulator.n_flows):
        stats = simulator.flow_stats(i)
        assert stats.goodput_bytes == 100_000, f"flow {i}"
        assert (stats.send_buffer_bytes, stats.send_buffer_held_bytes) == (0, 0), f"flow {i}"


@pytest.mark.parametrize("cc", CCS)
def test_subflows_come_and_go(cc):
    """Removal and joining at awkward times, under loss: conserved, and complete."""
    simulator = build(
        [link(10, 10, 20, loss_p=0.02), link(5, 30, 20, loss_p=0.01), link(2, 60, 20)],
        [flow(cc, 0, 1, 2, size_bytes=3_000_000, fixed_cwnd_segments=10.0)],
        seed=3,
    )
    removed = set()
    for step in range(40):
        simulator.run(simulator.now_ns + 70 * MS)
        path = step % 3
        if simulator.subflow_stats(0, path).is_established:
            simulator.remove_subflow(0, path)
            removed.add(path)
        simulator.check()
        simulator.run(simulator.now_ns + 30 * MS)
        if step % 2 == 0 and path in removed:
            simulator.join_subflow(0, path)
            removed.discard(path)
        simulator.check()
    for path in removed:
        simulator.join_subflow(0, path)
    simulator.run(simulator.now_ns + 60 * S)
    simulator.check()
    assert simulator.flow_stats(0).goodput_bytes == 3_000_000


def test_seeds_differ():
    """Random loss comes from the seed."""
    first, second = (build([link(10, 10, 30, loss_p=0.01)], [flow("reno", 0)], seed) for seed in (1, 2))
    first.run(10 * S)
    second.run(10 * S)
    assert figures(first) != figures(second)


def test_packets_counts_what_was_sent():
    simulator = Simulator(1)
    simulator.add_link(link(10, 10, 30, loss_p=0.01))
    for _ in range(3):
        simulator.add_flow(flow("reno", 0))
    simulator.run(10 * S)
    assert simulator.packets == sum(simulator.flow_stats(i).sent_packets for i in range(3)) > 8000
