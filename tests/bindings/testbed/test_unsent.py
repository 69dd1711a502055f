# SPDX-License-Identifier: BSD-2-Clause
"""How many windows may wait unsent on a subflow of the test bed."""

import numpy as np
import pytest

from ccdrl.bindings.network import LinkConfig, PathConfig, TraceConfig
from ccdrl.bindings.testbed.unsent import WINDOWS_MAX, WINDOWS_MIN, count_windows, mean_rate_bps, queue_ns

MS = 1_000_000


def link(mbps: float, delay_ms: float, queue_ms: float) -> LinkConfig:
    return LinkConfig(
        rate_bps=mbps * 1e6, delay_ns=round(delay_ms * MS), limit_bytes=round(mbps * 1e6 / 8 * queue_ms / 1e3)
    )


def test_the_longest_round_trip_over_the_shortest() -> None:
    """20 ms with an empty queue beside 160 ms with 160 ms of queue: a ratio of 16."""
    links = [link(15, 10, 20), link(15, 80, 160)]
    assert count_windows(links, [(PathConfig((0,)), PathConfig((1,)))]) == 3 + 2 * (16 - 3)
    assert count_windows(links, [(PathConfig((0,)), PathConfig((0,)))]) == WINDOWS_MIN
    assert count_windows(links, [(PathConfig((0,)),), (PathConfig((1,)),)]) == WINDOWS_MIN, "of one connection"


def test_delays_of_paths_and_of_links_in_a_row_add_up() -> None:
    links = [link(10, 5, 0), link(10, 15, 40)]
    paths = (PathConfig((0,)), PathConfig((0, 1), extra_delay_ns=10 * MS))
    assert count_windows(links, [paths]) == 3 + 2 * (10 - 3)  # 60 ms and 40 of queue over 10


def test_it_is_bounded() -> None:
    links = [link(10, 1, 1), link(1, 400, 4000)]
    assert count_windows(links, [(PathConfig((0,)), PathConfig((1,)))]) == WINDOWS_MAX
    assert count_windows([link(10, 0, 0)], [(PathConfig((0,)), PathConfig((0,)))]) == WINDOWS_MIN


def test_queues_of_traces_and_packets() -> None:
    times_ns = np.array([0, 500 * MS], np.int64)
    steps = TraceConfig("rate", times_ns, 1000 * MS, np.array([4e6, 12e6]))
    assert mean_rate_bps(LinkConfig(trace=steps)) == pytest.approx(8e6)
    opportunities = TraceConfig("opportunities", np.arange(100, dtype=np.int64) * 10 * MS, 1000 * MS)
    assert mean_rate_bps(LinkConfig(trace=opportunities)) == pytest.approx(1.2e6)
    assert queue_ns(LinkConfig(trace=steps, limit_bytes=100_000)) == pytest.approx(100 * MS)
    assert queue_ns(LinkConfig(rate_bps=12e6, limit_packets=50)) == pytest.approx(50 * MS)
    assert queue_ns(LinkConfig(rate_bps=12e6)) == 0
