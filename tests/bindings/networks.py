# SPDX-License-Identifier: BSD-2-Clause
"""Small networks for the fidelity tests, in packets, milliseconds and Mbit/s; 1500-byte packets unless said."""

import statistics
from dataclasses import replace

import numpy as np

from ccdrl.bindings.records import Kind, enable_records, read_records
from ccdrl.bindings.simulator import EventConfig, FlowConfig, LinkConfig, LossConfig, PathConfig, Simulator

MS = 1_000_000
S = 1_000_000_000
MSS = 1448
WIRE = 1500
DELAYED_ACK_NS = 42 * MS


def link(rate_mbps, delay_ms, queue_packets=0, loss_p=0.0, **fields):
    """Return a link; queue_packets 0 is an unlimited queue, delay_ms one way."""
    loss = LossConfig("bernoulli", p=loss_p) if loss_p else LossConfig()
    return LinkConfig(
        rate_bps=rate_mbps * 1e6, delay_ns=round(delay_ms * MS), limit_packets=queue_packets, loss=loss, **fields
    )


def flow(cc, *paths, **fields):
    """Return a flow; each path is a link index or a tuple of them."""
    routes = tuple(PathConfig(path if isinstance(path, tuple) else (path,)) for path in paths)
    return FlowConfig(cc, routes, **fields)


def build(links, flows, seed=1, events=(), records=0):
    """Return a simulator of these links, flows and events."""
    simulator = Simulator(seed)
    for config in links:
        simulator.add_link(config)
    for config in flows:
        simulator.add_flow(config)
    for config in events:
        simulator.add_event(config)
    if records:
        enable_records(simulator, records)
    return simulator


def spread(flows, seed, within_ms):
    """Return the flows with start times drawn by the seed: drop-tail queues lock onto phases, so seeds must differ in
    them.
    """
    starts_ns = np.random.default_rng(seed).integers(0, round(within_ms * MS), len(flows))
    return [replace(config, start_ns=int(start_ns)) for config, start_ns in zip(flows, starts_ns, strict=True)]


def measure(simulator, warmup_s, duration_s):
    """Run past the warm-up and on for duration_s; return the goodput of each flow in payload Mbit/s."""
    simulator.run(round(warmup_s * S))
    simulator.reset_stats()
    simulator.run(round((warmup_s + duration_s) * S))
    simulator.check()
    return [simulator.flow_stats(i).goodput_bytes * 8 / duration_s / 1e6 for i in range(simulator.n_flows)]


def wire(goodput_mbps):
    """Return the rate on the wire that carries this goodput in full segments."""
    return goodput_mbps * WIRE / MSS


def medians(rows):
    """Return the median of each column."""
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def down(link_index, at_ms):
    """Return the event that cuts a link."""
    return EventConfig(round(at_ms * MS), link_index, "down")


def up(link_index, at_ms):
    """Return the event that mends a link."""
    return EventConfig(round(at_ms * MS), link_index, "up")


def read(simulator, kind=None, flow_index=0, path=None):
    """Return the records so far of one flow, of one kind or all of them; they stay readable only once."""
    return pick(read_records(simulator, 1 << 20), kind, flow_index, path)


def pick(records, kind=None, flow_index=0, path=None):
    """Return those of one flow, kind and path."""
    wanted = records["flow"] == flow_index
    if kind is not None:
        wanted &= np.isin(records["kind"], kind)
    if path is not None:
        wanted &= records["path"] == path
    return records[wanted]


SENT = (Kind.SEND, Kind.RETRANSMIT)
