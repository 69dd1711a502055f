# SPDX-License-Identifier: BSD-2-Clause
"""The networks that benchmarks run."""

from ccdrl.bindings.simulator import FlowConfig, LinkConfig, PathConfig, Simulator

MS = 1_000_000
WIRE_BYTES = 1500


def make_bdp_link(rate_bps: float, delay_ns: int) -> LinkConfig:
    """Return a drop-tail link with one BDP (rate times twice the delay) of queue."""
    return LinkConfig(rate_bps=rate_bps, delay_ns=delay_ns, limit_bytes=int(rate_bps / 8 * 2 * delay_ns / 1e9))


def make_lia_pair(seed: int, cc: str = "lia") -> Simulator:
    """Return 100 Mbit/s 20 ms and 20 Mbit/s 150 ms: one coupled connection over both, one Reno TCP on each."""
    simulator = Simulator(seed)
    links = [simulator.add_link(make_bdp_link(100e6, 10 * MS)), simulator.add_link(make_bdp_link(20e6, 75 * MS))]
    simulator.add_flow(FlowConfig(cc, tuple(PathConfig((link,)) for link in links)))
    for link in links:
        simulator.add_flow(FlowConfig("reno", (PathConfig((link,)),)))
    return simulator


def make_crowd(seed: int, n_flows: int, rate_bps: float) -> Simulator:
    """Return n_flows Reno connections over one link, starting 1 ms apart."""
    simulator = Simulator(seed)
    link = simulator.add_link(make_bdp_link(rate_bps, 10 * MS))
    for flow in range(n_flows):
        simulator.add_flow(FlowConfig("reno", (PathConfig((link,)),), start_ns=flow * MS))
    return simulator


def make_pair(seed: int, rate_bps: float) -> Simulator:
    """Return a connection pair: one coupled connection over two links of this rate and 20 ms."""
    simulator = Simulator(seed)
    links = [simulator.add_link(make_bdp_link(rate_bps, 10 * MS)) for _ in range(2)]
    simulator.add_flow(FlowConfig("lia", tuple(PathConfig((link,)) for link in links)))
    return simulator
