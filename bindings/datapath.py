# SPDX-License-Identifier: BSD-2-Clause
"""The one protocol between an agent and whatever owns subflows: simulator, kernels, and the fake that misbehaves.

Samples and actions are the structs of kmod/include/ccdrl.h as numpy rows (`library.SAMPLE_DTYPE`, `ACTION_DTYPE`);
what each field means stands there. What every instance keeps:

- `read_samples` gives at most `capacity` rows, one coalesced record for each subflow that changed since the last call;
  the rest comes with the next call. Counters are cumulative, seq grows, CREATED comes first and CLOSED last, once each.
- `write_actions` gives one `ActionResult` for each action and never waits. Without a valid lease the datapath's own
  fallback goes on from the present window, and says so with `Flag.FALLBACK` and the counter `expired`.
- `close` may be called twice; afterwards every other call raises `DatapathError`.

A user of a datapath trusts none of it: rows may be missing, repeated, late or absurd.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.library import Absent, ActionArray, SampleArray

ResultArray = NDArray[np.int32]
"""One `ActionResult` value for each action."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a datapath can do.

    name               "sim", "fake", …
    abi                the ABI version that it speaks
    absent             fields that its samples never carry
    is_simulated_time  timestamps follow a simulated clock, not the machine's
    has_pacing         pacing rates in actions are honoured
    subflows_max       subflows that it couples in one connection
    """

    name: str
    abi: int
    absent: Absent
    is_simulated_time: bool
    has_pacing: bool
    subflows_max: int


@dataclass(frozen=True, slots=True)
class Counters:
    """What became of all actions so far, and how many leases ran out (struct drl_counters)."""

    applied: int = 0
    clamped: int = 0
    stale: int = 0
    unknown: int = 0
    malformed: int = 0
    expired: int = 0


@runtime_checkable
class Datapath(Protocol):
    """A source of samples and a sink of windows."""

    @property
    def capabilities(self) -> Capabilities:
        """What this datapath can do; the same for its whole life."""

    def read_samples(self) -> SampleArray:
        """Return the changed subflows, shape (rows,); the array is valid until the next call. Raises DatapathError."""

    def write_actions(self, actions: ActionArray) -> ResultArray:
        """Write windows, shape (n,), and return n results. Raises DatapathError; PermissionError if refused."""

    def counters(self) -> Counters:
        """Return what the datapath counted. Raises DatapathError when closed."""

    def close(self) -> None:
        """Let go of the subflows: their leases run out and the fallback takes over."""
