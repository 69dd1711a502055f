# SPDX-License-Identifier: BSD-2-Clause
"""What follows for the kernel from a bound on the mean action: window, pacing and lease, through mapping and guard.

Pure arithmetic over the constants of envs/action.py; tests/agent/verification/test_guarantees.py holds it against
`map_actions` and the guard themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ccdrl.bindings.library import CWND_MIN_SEGMENTS
from ccdrl.envs.action import (
    COUPLED_STEP_MAX,
    COUPLED_STEP_MIN,
    CWND_MAX_BYTES,
    DITHER_MAX,
    FINE_STEP,
    GROWTH_SEGMENTS,
    LEASE_MAX_US,
    LEASE_MIN_US,
    LEASE_SRTTS,
    NEUTRAL,
    PACING_GAIN,
)

COUPLED_STEP_RTT = 1.0 / math.log(2)
"""log2: what one window of ACKs comes to in slow start, in however many steps; otherwise less."""


@dataclass(frozen=True)
class Guarantee:
    """One row of the table: `low` to `high` in `unit`, for every observation and sample."""

    quantity: str
    low: float
    high: float
    unit: str
    reason: str


def find_step(action: float, fine: float) -> float:
    """Return log2 of an action's factor in an RTT, where `fine` is the small step that it begins at."""
    beyond = max(abs(action) - NEUTRAL, 0.0) / (1.0 - NEUTRAL)
    return fine * (1.0 - beyond) + math.copysign(beyond, action)


def list_guarantees(
    bound_low: float, bound_high: float, clip: tuple[float, float], cwnd_max_bytes: int = int(CWND_MAX_BYTES)
) -> list[Guarantee]:
    """Return what is proven, from bounds of the mean action before its clip to `clip`."""
    low, high = (min(max(bound, clip[0]), clip[1]) for bound in (bound_low, bound_high))
    # The guard's clip, for artifacts that allow more; map_actions would clip too.
    low, high = max(low, -1.0), min(high, 1.0)
    # A window that is led to a queue makes either fine step, whatever the action; what lies beyond begins there.
    step_low, step_high = (find_step(a, fine) for a, fine in ((low, -FINE_STEP), (high, FINE_STEP)))
    top = min(CWND_MAX_BYTES, float(cwnd_max_bytes))
    floor = f"{CWND_MIN_SEGMENTS} MSS"
    return [
        Guarantee("mean action of the network", bound_low, bound_high, "", "bounds of the network, whole box"),
        Guarantee("action", low, high, "", "clip of the policy and of the guard; not finite: no action"),
        Guarantee(
            "window factor of one decision",
            2.0 ** (min(step_low, COUPLED_STEP_MIN) - 2.0 * DITHER_MAX),
            2.0 ** (max(step_high, COUPLED_STEP_MAX + FINE_STEP) + 2.0 * DITHER_MAX),
            "x",
            f"step of the action or the coupling, and dither; below {floor} raised to it, above the maximum lowered",
        ),
        Guarantee(
            "window factor of k RTTs, log2",
            min(step_low, 0.0) + COUPLED_STEP_MIN,
            max(step_high, 0.0) + COUPLED_STEP_RTT,
            "x (k + 1)",
            "an RTT's actions and the coupling's answer to its ACKs, a window of them; and twice the dither once",
        ),
        Guarantee("lowest window", float(CWND_MIN_SEGMENTS), float(CWND_MIN_SEGMENTS), "MSS", "mapping"),
        Guarantee("highest window", top, top, "bytes", "mapping, guard (--cwnd-max-bytes)"),
        Guarantee("growth beyond 2 inflight", 0.0, GROWTH_SEGMENTS, "MSS", "mapping; an idle window stays what it is"),
        Guarantee("pacing rate", PACING_GAIN, PACING_GAIN, "window / RTT", "mapping, or none; the guard lowers both"),
        Guarantee(
            "lease", LEASE_MIN_US / 1e6, LEASE_MAX_US / 1e6, "s", f"{LEASE_SRTTS:g} srtt, then the kernel's fallback"
        ),
    ]
