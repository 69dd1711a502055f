# SPDX-License-Identifier: BSD-2-Clause
"""Pieces of recorded capacity for training: the shape is the recording's, the mean is the drawn network's."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.network import TraceConfig
from ccdrl.envs.traces import OPPORTUNITY_BYTES, Trace, load_trace

STEP_MIN_NS = 100_000_000
STEPS_MAX = 64
"""Conditions are computed anew at every step of a trace (envs/timeline.py), so a long episode has coarser steps."""
RATIO_MIN, RATIO_MAX = 0.02, 8.0
"""Bounds of a step's rate over the mean; even an outage keeps a trickle, so that no rate is divided by nothing."""


def load_recorded(file: str) -> Trace:
    """Return the trace in a file, mahimahi or rates. Raises InputError."""
    path = Path(file)
    return load_trace(path.parent, path.name)


def carry_bits(trace: Trace, time_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the bits that could have left until each time, from the trace's start; it repeats with its period."""
    rounds, rest = np.divmod(time_ns, trace.period_ns)
    if trace.rate_bps is None:
        counts = np.searchsorted(trace.time_ns, rest, side="right") + rounds * len(trace.time_ns)
        return np.asarray(counts * (OPPORTUNITY_BYTES * 8.0))
    ends = np.append(trace.time_ns, trace.period_ns)
    bits = np.append(0.0, np.cumsum(np.diff(ends) * trace.rate_bps)) * 1e-9
    return np.asarray(np.interp(rest, ends, bits) + rounds * bits[-1])


def draw_piece(rng: np.random.Generator, files: Sequence[str], mean_bps: float, length_ns: int) -> TraceConfig:
    """Return a piece of one of the files, from a random time, as long as an episode, in steps of 100 ms or more.

    Rates are scaled so that the whole recording has the mean `mean_bps`; a piece may have more or less.
    """
    trace = load_recorded(files[int(rng.integers(len(files)))])
    begin_ns = int(rng.integers(trace.period_ns))
    step_ns = max(STEP_MIN_NS, -(-length_ns // STEPS_MAX))
    count = max(2, -(-length_ns // step_ns))
    edges = begin_ns + step_ns * np.arange(count + 1, dtype=np.int64)
    ratios = np.diff(carry_bits(trace, edges)) / (step_ns * 1e-9) / trace.mean_bps
    rates = mean_bps * np.clip(ratios, RATIO_MIN, RATIO_MAX)
    return TraceConfig("rate", np.arange(count, dtype=np.int64) * step_ns, count * step_ns, rates)
