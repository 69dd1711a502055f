# SPDX-License-Identifier: BSD-2-Clause
"""One run of a comparison on the live test bed: real kernel sockets, as a run of ccdrl-compare/1.

The figures are those of the simulator's runs with these differences (docs/testbed.md): RTTs are the kernel's smoothed
ones, weighted with delivered segments; `throughput_mbps` counts acknowledged payload; `loss_ratio` is retransmitted
over sent, because the kernel does not tell what it has marked lost. `lateness` tells how punctual the emulator was.
"""

import errno
import os
import time
from contextlib import nullcontext
from typing import Any

from ccdrl.agent import results
from ccdrl.agent.evaluation import NS_PER_S, RunSpec, expand_flows, make_run, share
from ccdrl.agent.live_agent import start_agent
from ccdrl.agent.live_scenario import make_bed_config, needs_agent
from ccdrl.bindings.testbed.bed import BedConfig, BedResult, EmulatorFigures, run_bed
from ccdrl.bindings.testbed.library import BedError, die_with_parent

LATE_MEAN_US_MAX = 300.0
LATE_P99_US_MAX = 5000.0
"""A run whose packets left the emulator later than this is discarded."""
TRIES = 3


def lateness_fault(figures: EmulatorFigures) -> str | None:
    """Return why a run is not to be used, None if it is."""
    if figures.late_packets == 0:
        return None
    mean_us, p99_us = figures.late_mean_us, figures.late_p99_us
    if mean_us <= LATE_MEAN_US_MAX and p99_us <= LATE_P99_US_MAX:
        return None
    bounds = f"{LATE_MEAN_US_MAX:g} and {LATE_P99_US_MAX:g}"
    return f"the link emulator was late by {mean_us:.0f} us (mean) and {p99_us:.0f} us (p99), bounds {bounds}"


def loss_fault(result: BedResult) -> str | None:
    """Return how packets were lost that the scenario did not lose, None if none were."""
    figures = result.emulator
    amounts = {
        "found no buffer": figures.overflow_packets,
        "could not be written": figures.write_errors,
        "were dropped by a device": result.device_drops,
    }
    return next((f"{count} packets {what} in the link emulator" for what, count in amounts.items() if count), None)


def measure_subflow(result: BedResult, flow: int, path: int, window_s: float) -> dict[str, Any]:
    """Return one entry of `subflows`."""
    figures = result.subflows[flow][path]
    return {
        "path": path,
        "throughput_mbps": figures.acked_bytes * 8 / window_s / 1e6,
        "rtt_mean_ms": results.finite(figures.rtt_mean_ms),
        "rtt_p95_ms": results.finite(figures.rtt_p95_ms),
        "loss_ratio": share(figures.retransmitted_bytes, figures.sent_bytes),
        "cwnd_mean_bytes": results.finite(figures.cwnd_mean_bytes),
    }


def measure_flow(result: BedResult, flow: int, window_s: float) -> dict[str, Any]:
    """Return the figures of one entry of `flows`."""
    figures, subflows = result.flows[flow], result.subflows[flow]
    retransmitted = sum(subflow.retransmitted_bytes for subflow in subflows)
    return {
        "goodput_mbps": figures.goodput_bytes * 8 / window_s / 1e6,
        "completion_s": figures.completion_ns / NS_PER_S if figures.completion_ns >= 0 else None,
        "rtt_mean_ms": results.finite(figures.rtt_mean_ms),
        "rtt_p95_ms": results.finite(figures.rtt_p95_ms),
        "queue_delay_mean_ms": results.finite(figures.queue_delay_mean_ms),
        "queue_delay_p95_ms": results.finite(figures.queue_delay_p95_ms),
        "retransmit_ratio": share(retransmitted, sum(subflow.sent_bytes for subflow in subflows)),
        "subflows": [measure_subflow(result, flow, path, window_s) for path in range(len(subflows))],
    }


def run_punctual(config: BedConfig, spec: RunSpec) -> tuple[BedResult, int]:
    """Return the first of TRIES runs in which the emulator kept its time, and its number. Raises BedError."""
    fault = None
    for number in range(1, TRIES + 1):
        is_served = needs_agent(spec.scenario, spec.contender)
        assert not is_served or spec.agent is not None
        with start_agent(spec.agent) if is_served and spec.agent is not None else nullcontext() as agent:
            result = run_bed(config)
            if agent is not None:
                agent.check()
        fault = lateness_fault(result.emulator) or loss_fault(result)
        if fault is None:
            return result, number
    raise BedError(f"{fault}; {TRIES} runs in a row were discarded: is this machine busy?")


def check_flows(result: BedResult, labels: list[str]) -> None:
    """Raise BedError for a connection that ended by anything but the scenario's network."""
    for label, figures in zip(labels, result.flows, strict=True):
        if figures.error not in (0, errno.ETIMEDOUT):
            raise BedError(f"flow {label}: {os.strerror(figures.error)}")


def evaluate_live(spec: RunSpec) -> results.Run:
    """Run one comparison run on the test bed and return it; in a process of its own. Raises BedError and InputError."""
    die_with_parent()
    scenario = spec.scenario
    config = make_bed_config(scenario, spec.contender, spec.seed, spec.traces)
    begin = time.perf_counter()
    result, tries = run_punctual(config, spec)
    wall_s = time.perf_counter() - begin
    check_flows(result, [label for label, _ in expand_flows(scenario)])
    window_s = scenario.duration_s - scenario.warmup_s
    measured = [measure_flow(result, index, window_s) for index in range(len(result.flows))]
    figures = result.emulator
    return make_run(spec, wall_s, figures.data_packets, measured, result.links) | {
        "lateness": {
            "mean_us": results.finite(figures.late_mean_us),
            "p99_us": results.finite(figures.late_p99_us),
            "max_us": results.finite(figures.late_max_us),
            "is_realtime": bool(figures.is_realtime),
            "tries": tries,
        },
    }
