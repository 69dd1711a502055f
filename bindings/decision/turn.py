# SPDX-License-Identifier: BSD-2-Clause
"""A turn of a live loop, as two C calls around the policy, in memory that stays: no array is made in a turn."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.checks import check_array, check_integer
from ccdrl.bindings.decision.actions import CWND_LIMIT_BYTES, ActionMapper
from ccdrl.bindings.decision.library import GUARD_DTYPE, STEP_DTYPE, LastPin, ffi, lib, pin_out, pin_samples
from ccdrl.bindings.decision.observer import RowObserver
from ccdrl.bindings.decision.table import TIME_UNKNOWN_US, SubflowTable
from ccdrl.bindings.errors import InputError
from ccdrl.bindings.library import ACTION_DTYPE, SAMPLE_DTYPE, ActionArray, SampleArray


class Turn:
    """Both halves of a turn over the rows of a table, whose capacity the observer must have.

    `counts`, an array of one GUARD_DTYPE, gets what was believed and refused; no window leaves above `cwnd_max_bytes`.
    The newest turn that had rows left these, one entry each. Every turn writes over them.

    records         the newest records of the rows that were due, with the turn's time as theirs
    ages_us         of the records; negative where their time lies ahead
    observations    float32 (n, observer.size)
    actions         of the policy, clipped to [-1, 1]; NaN where they were not finite
    cwnd_actions    subflow_id 0 where there is none
    now_us          the turn's time, which never goes back
    segments_min    the lowest window of the cwnd actions, infinite without any
    """

    now_us: int
    segments_min: float
    records: SampleArray
    ages_us: NDArray[np.float64]
    observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    cwnd_actions: ActionArray

    def __init__(
        self,
        table: SubflowTable,
        observer: RowObserver,
        mapper: ActionMapper,
        counts: NDArray[np.void],
        cwnd_max_bytes: int,
    ) -> None:
        capacity = table.capacity
        if observer.capacity != capacity:
            raise InputError(f"observer: expected a capacity of {capacity} rows, got {observer.capacity}")
        if len(counts) != 1:
            raise InputError(f"counts: expected one record, got {len(counts)}")
        # Held for as long as C uses them; pages that no turn has reached yet take no memory.
        self._parts = table, observer, mapper
        self._arrays = {
            "records": np.empty(capacity, SAMPLE_DTYPE),
            "ages_us": np.empty(capacity),
            "observations": np.empty((capacity, observer.size), np.float32),
            "actions": np.empty(capacity, np.float32),
            "cwnd_actions": np.empty(capacity, ACTION_DTYPE),
        }
        self._gathered = np.empty(capacity, ACTION_DTYPE)
        pins = {name: pin_out(array) for name, array in self._arrays.items()}
        pins["rows"], pins["intervals_us"] = pin_out(np.empty(capacity, np.int64)), pin_out(np.empty(capacity))
        pins["steps"], pins["gathered"] = pin_out(np.empty(capacity, STEP_DTYPE)), pin_out(self._gathered)
        pins["counts"] = pin_out(check_array("counts", counts, GUARD_DTYPE))
        turn: Any = ffi.new("struct ccdrl_turn *")
        turn.table, turn.observer, turn.rule = table.handle, observer.handle, mapper.handle
        turn.cwnd_max_bytes = check_integer("cwnd_max_bytes", cwnd_max_bytes, 1, CWND_LIMIT_BYTES)
        for name in ("rows", "records", "intervals_us", "ages_us"):
            setattr(turn.due, name, pins[name])
        for name in ("observations", "actions", "steps", "cwnd_actions", "gathered", "counts"):
            setattr(turn, name, pins[name])
        self._turn, self._pins = turn, pins
        self._answers = LastPin("actions", np.float32)
        self._samples: SampleArray | None = None
        self._samples_pin = ffi.NULL
        self._show(0)

    def _show(self, n: int) -> None:
        self._n = n
        for name, array in self._arrays.items():
            setattr(self, name, array[:n])

    @property
    def refused(self) -> int:
        """Records of subflows beyond the table's capacity."""
        return int(self._turn.refused)

    def begin(self, samples: SampleArray, now_us: int | None = None) -> int:
        """Take new records, observe the rows that are due, which counts as their turn, and return how many these are.

        `now_us` is the datapath's clock; without it, the newest timestamp seen is taken.
        """
        clock_us = TIME_UNKNOWN_US if now_us is None else now_us
        if samples is not self._samples:
            self._samples_pin = pin_samples(samples)
            self._samples = samples if samples.flags.c_contiguous else None  # what was copied, has to be again
        n: int = lib.ccdrl_turn_begin(self._turn, self._samples_pin, len(samples), clock_us)
        if n != self._n and n > 0:
            self._show(n)
        self.now_us = self._turn.now_us
        return n

    def finish(self, answers: NDArray[np.float32]) -> None:
        """Turn the policy's answers, one for each row, into cwnd actions."""
        self.segments_min = lib.ccdrl_turn_finish(self._turn, self._answers.take(answers, self._n), self._n)

    def gather(self) -> ActionArray:
        """Return the cwnd actions that there are."""
        n = lib.ccdrl_turn_gather(self._turn, self._n)
        return self.cwnd_actions if n == self._n else self._gathered[:n]
