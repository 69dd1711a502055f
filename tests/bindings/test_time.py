# SPDX-License-Identifier: BSD-2-Clause
"""Simulated time runs forwards."""

import numpy as np

from ccdrl.bindings.records import enable_records, read_records
from ccdrl.bindings.simulator import FlowConfig, LinkConfig, LossConfig, PathConfig, Simulator, TraceConfig


def test_a_probe_that_becomes_due_late_fires_now_not_in_the_past():
    """A tail loss probe is held while SACKs are about; when they clear, its deadline may have passed already.

    Small segments, CoDel and a stop-and-go capacity make that happen within two seconds (found by hypothesis).
    """
    trace = TraceConfig(
        "rate", np.arange(4, dtype=np.int64) * 50_000_000, 200_000_000, np.array([0.0, 0.0, 16_618_456.0, 5e6])
    )
    simulator = Simulator(0)
    link = simulator.add_link(
        LinkConfig(2e5, 0, queue_kind="codel", limit_packets=12, loss=LossConfig("bernoulli", p=0.0078125), trace=trace)
    )
    path = PathConfig((link,))
    for paths in ((path,), (path, path)):
        simulator.add_flow(FlowConfig("balia", paths, scheduler="blest", mss_bytes=100))
    enable_records(simulator, 1 << 20)
    simulator.run(2_000_000_000)
    records = read_records(simulator, 1 << 20)
    assert len(records) > 1000
    assert (np.diff(records["time_ns"]) >= 0).all()
