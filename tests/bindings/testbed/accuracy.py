# SPDX-License-Identifier: BSD-2-Clause
"""How punctual the test bed is on this machine: the table of docs/testbed.md. Needs root; takes about two minutes.

`python -m ccdrl.tests.bindings.testbed.accuracy` (or `.venv/bin/python tests/bindings/testbed/accuracy.py`).
"""

import os
import resource

from ccdrl.bindings.network import FlowConfig, LinkConfig, PathConfig
from ccdrl.bindings.testbed.bed import BedConfig, BedFlow, run_bed

MS, S = 1_000_000, 1_000_000_000
MSS = 1448
WARMUP_S, DURATION_S = 3, 13
LOADS = ((10,), (50,), (100,), (10, 10), (50, 50), (100, 100), (125, 125), (25,) * 8)
"""Rates of the links in Mbit/s; one MPTCP connection, or plain TCP on a single link, fills them all."""


def measure(rates_mbps: tuple[float, ...]) -> str:
    """Return one row of the table."""
    links = tuple(
        LinkConfig(rate_bps=rate * 1e6, delay_ns=10 * MS, limit_bytes=max(15000, round(rate * 1e6 * 0.02 / 8)))
        for rate in rates_mbps
    )
    flow = FlowConfig(cc="reno", paths=tuple(PathConfig((index,)) for index in range(len(links))))
    before = resource.getrusage(resource.RUSAGE_SELF)
    result = run_bed(BedConfig(links, (BedFlow(flow, "reno"),), (), 1, MSS, WARMUP_S * S, DURATION_S * S))
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    used = sum(link.departed_bytes for link in result.links) / sum(link.capacity_bytes for link in result.links)
    figures = result.emulator
    name = f"{len(rates_mbps)} x {rates_mbps[0]:g}"
    late = f"{figures.late_mean_us:.0f} | {figures.late_p99_us:.0f} | {figures.late_max_us:.0f}"
    return f"| {name} | {used:.3f} | {late} | {cpu_s / DURATION_S:.2f} |"


def main() -> None:
    """Print the table."""
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("| links, Mbit/s | utilization | late, mean us | p99 us | max us | cores used |\n|---|---|---|---|---|---|")
    for rates_mbps in LOADS:
        print(measure(rates_mbps), flush=True)


if __name__ == "__main__":
    main()
