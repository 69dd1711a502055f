# SPDX-License-Identifier: BSD-2-Clause
"""Actions to windows, and what samples say of them: one C call for all rows, checks included."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.checks import check_array, check_number
from ccdrl.bindings.decision.library import STEP_DTYPE, StepArray, ffi, lib, pin_in, pin_out, pin_samples
from ccdrl.bindings.errors import InputError
from ccdrl.bindings.library import ACTION_DTYPE, ActionArray, SampleArray

Floats = NDArray[np.float64]

CWND_LIMIT_BYTES = 2**32 - 1


def select_live(samples: SampleArray) -> NDArray[np.bool_]:
    """Return which samples an agent can act on: open subflows with an RTT sample and a segment size."""
    is_live = np.empty(len(samples), np.bool_)
    lib.ccdrl_samples_select(pin_samples(samples), len(samples), pin_out(is_live))
    return is_live


def select_window(samples: SampleArray) -> Floats:
    """Return the window in bytes that an action multiplies: cwnd, or ssthresh while the datapath reduces.

    In RECOVERY and CWR the datapath moves cwnd towards ssthresh, packet by packet (PRR, RFC 6937); what cwnd is on the
    way is nobody's decision.
    """
    windows = np.empty(len(samples))
    lib.ccdrl_samples_window(pin_samples(samples), len(samples), pin_out(windows))
    return windows


@dataclass(frozen=True, slots=True)
class ActionRule:
    """The constants by which actions become windows, pacing rates and leases (struct ccdrl_action_rule)."""

    neutral: float
    fine_step: float
    lead_gain: float
    lead_range: float
    release_begin: float
    release_end: float
    growth_segments: float
    cwnd_max_bytes: float
    pacing_gain: float
    lease_srtts: float
    lease_min_us: float
    lease_max_us: float


class ActionMapper:
    """Actions of [-1, 1] to records of ACTION_DTYPE by one rule; envs/action.py says which.

    `handle` is for the other bindings.
    """

    def __init__(self, rule: ActionRule) -> None:
        fields = {
            name: check_number(name, getattr(rule, name), 0.0, float(CWND_LIMIT_BYTES)) for name in rule.__slots__
        }
        self.handle = ffi.new("struct ccdrl_action_rule *", fields)

    def map(
        self,
        actions: NDArray[np.float32],
        steps: StepArray,
        samples: SampleArray,
        interval_us: Floats | float,
        out: ActionArray,
    ) -> None:
        """Fill `out` with one record for each action and sample; `interval_us` for each of them, or one for all."""
        n = len(samples)
        source, records = pin_in("actions", actions, np.float32, n), pin_samples(samples)
        apart = pin_in("steps", check_array("steps", steps, STEP_DTYPE), STEP_DTYPE, n)
        intervals, is_common = np.asarray(interval_us, np.float64), np.ndim(interval_us) == 0
        times = pin_in(
            "interval_us", intervals.reshape(1) if is_common else intervals, np.float64, 1 if is_common else n
        )
        target = pin_out(check_array("out", out, ACTION_DTYPE))
        if len(out) != n:
            raise InputError(f"out: expected {n} records, got {len(out)}")
        lib.ccdrl_actions_map(self.handle, source, apart, records, times, is_common, n, target)
