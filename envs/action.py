# SPDX-License-Identifier: BSD-2-Clause
"""From actions to windows, pacing rates and leases: the same code for the environments and for a live agent."""

import math

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.decision.actions import ActionMapper, ActionRule
from ccdrl.bindings.decision.library import StepArray
from ccdrl.bindings.library import ActionArray, SampleArray

ACTION_VERSION = "9-rise"
"""Names the mapping below; an artifact of another one is refused."""
INTERVAL_MIN_US = 10_000
INTERVAL_MAX_US = 100_000
LEASE_MIN_US = 100_000.0
LEASE_MAX_US = 2_000_000.0
LEASE_SRTTS = 4.0
PACING_GAIN = 1.25
"""The pacing rate above cwnd / srtt: a window that grows within an RTT is not held back, a burst is spread.

Where losses come with the queue it is not: in a short buffer a paced flow loses less often than the TCPs beside it."""
CWND_MAX_BYTES = float(1 << 30)
NEUTRAL = 0.2
"""Actions within +- this leave the window to the coupling; where no queue may be another's they move it a little."""
FINE_STEP = 0.08
"""How far the highest of them do, log2 in a round trip."""
LEAD_GAIN = 0.45
"""Where the window is led to a queue: log2 in a round trip for a whole window too many or too few in it."""
LEAD_RANGE = 2.0
"""log2 of the factor by which the highest neutral action lengthens that queue, and the lowest one shortens it."""
RELEASE_BEGIN, RELEASE_END = 0.05, 0.15
"""Actions above the first weaken a coupled decrease, those above the second cancel it."""
COUPLED_STEP_MIN, COUPLED_STEP_MAX = math.log2(1.0 - 0.26 * 1.3), 1.0
DITHER_MAX = 0.3
"""Bounds of the observer's two steps (bindings/decision/steps.c), log2 of factors."""
GROWTH_SEGMENTS = 10.0
"""A window may exceed twice what is in the network by this much (IW10), so that it grows only where it is used."""


RULE = ActionRule(
    neutral=NEUTRAL,
    fine_step=FINE_STEP,
    lead_gain=LEAD_GAIN,
    lead_range=LEAD_RANGE,
    release_begin=RELEASE_BEGIN,
    release_end=RELEASE_END,
    growth_segments=GROWTH_SEGMENTS,
    cwnd_max_bytes=CWND_MAX_BYTES,
    pacing_gain=PACING_GAIN,
    lease_srtts=LEASE_SRTTS,
    lease_min_us=LEASE_MIN_US,
    lease_max_us=LEASE_MAX_US,
)
"""What `map_actions` says, as numbers."""
MAPPER = ActionMapper(RULE)


def compute_monitor_interval_us(srtt_us: float) -> int:
    """Return how long a connection waits between decisions, from the lowest srtt of its live subflows."""
    return int(min(max(srtt_us, INTERVAL_MIN_US), INTERVAL_MAX_US))


def map_actions(
    actions: NDArray[np.float32],
    steps: StepArray,
    samples: SampleArray,
    interval_us: NDArray[np.float64] | float,
    out: ActionArray,
) -> None:
    """Fill `out` with one cwnd action for each sample.

    An action a within +-NEUTRAL leaves the window (see `select_window`) to the coupling: it becomes window * 2 **
    (coupled step), where of a decrease 1 - (a - RELEASE_BEGIN) / (RELEASE_END - RELEASE_BEGIN), within 0 and 1, is
    left. Beyond, it becomes window * 2 ** (sign(a) * (|a| - NEUTRAL) / (1 - NEUTRAL) * min(1, interval / r)), or goes
    as far as the coupled step if that is further in the same direction. A freedom of 2 adds to a coupled step that is
    no decrease a fine step f * min(1, interval / r), and what lies beyond begins there: with w = a / NEUTRAL within
    +-1, f is FINE_STEP * w, or, where a queue is wanted, LEAD_GAIN * (wanted * 2 ** (LEAD_RANGE * w) - held) within
    +-FINE_STEP. Without freedom it is the coupled step. Where `is_congested` an action above 0 counts as 0, and a fine
    step above 0 too; where `is_rising` an action below -NEUTRAL counts as -NEUTRAL. The dither's step is added. What is
    not a constant is in the observer's `steps`, STEP_DTYPE (N,). The result is kept within [2 MSS, 1 GiB]; r is the
    lower of srtt and the newest RTT, as an srtt that a stalled path has inflated would freeze window and pacing. Growth
    stops at twice the bytes in the network plus ten segments, as an unused window says nothing about the path (RFC
    7661). Pacing is 1.25 * cwnd / r, or 0, the datapath's own rule, where `is_congested`. The lease is 4 srtt within
    [100 ms, 2 s]. An action that is not finite, and one for a subflow without an RTT sample, becomes no action
    (subflow_id 0). Actions outside [-1, 1] are clipped.
    `interval_us` is the time until the next decision, for each row or for all. The arithmetic is C
    (bindings/decision/action.c).
    """
    MAPPER.map(actions, steps, samples, interval_us, out)
