# SPDX-License-Identifier: BSD-2-Clause
"""RTT samples around retransmissions (Karn's algorithm, RFC 7323 section 4.1)."""

from ccdrl.bindings.simulator import EventConfig, FlowConfig, LinkConfig, PathConfig, Simulator

NS_PER_MS = 1_000_000


def test_segments_uncovered_after_an_outage_give_no_rtt_sample():
    """Segments arrive, their ACKs die with the link; the first ACK after the outage must not time them from then.

    Propagation is 40 ms and the queue at most 50 ms: an srtt above 200 ms could only come from the 10 s outage.
    """
    simulator = Simulator(1)
    link = simulator.add_link(LinkConfig(rate_bps=10e6, delay_ns=20 * NS_PER_MS, limit_bytes=62_500))
    flow = simulator.add_flow(FlowConfig("reno", (PathConfig((link,)),)))
    simulator.add_event(EventConfig(5_000 * NS_PER_MS, link, "down"))
    simulator.add_event(EventConfig(15_000 * NS_PER_MS, link, "up"))
    simulator.run(20_000 * NS_PER_MS)
    stats = simulator.subflow_stats(flow, 0)
    assert stats.rto_events >= 4
    before = stats.received_packets
    worst_ms = 0.0
    for tick in range(400):
        simulator.run((20_000 + 10 * tick) * NS_PER_MS)
        worst_ms = max(worst_ms, simulator.subflow_stats(flow, 0).srtt_ms)
    assert simulator.subflow_stats(flow, 0).received_packets > before
    assert worst_ms < 200
