# SPDX-License-Identifier: BSD-2-Clause
"""Samples to observations: one C call for all rows of a step, checks included."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.checks import check_integer, check_name, check_number
from ccdrl.bindings.decision.library import COLUMN_IDS, STEP_DTYPE, StepArray, ffi, lib, pin_in, pin_out, pin_samples
from ccdrl.bindings.errors import InputError
from ccdrl.bindings.library import SampleArray

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

CAPACITY_MAX = 1 << 24
CONNECTION_MAX = (1 << 31) - 1
AGES_MAX = 1000


class RowObserver:
    """State of `capacity` rows, and the columns that C computes from their samples.

    columns    names out of `library.COLUMN_IDS`, in the order wanted
    repeated   those that are given again for the `n_ages` intervals before, newest first
    limit      columns are clipped to [-limit, limit]

    Rows are numbered by the caller, below the capacity, and no row comes twice in a call; InputError otherwise.
    `handle` is for the other bindings.
    """

    def __init__(
        self, capacity: int, columns: Sequence[str], repeated: Sequence[str], n_ages: int, limit: float
    ) -> None:
        self.capacity = check_integer("capacity", capacity, 1, CAPACITY_MAX)
        self.size = len(columns) + check_integer("n_ages", n_ages, 0, AGES_MAX) * len(repeated)
        places = {name: i for i, name in enumerate(columns)}
        observer: Any = ffi.new("struct ccdrl_observer *")
        observer.capacity, observer.limit = self.capacity, check_number("limit", limit, 0.0, 1e6)
        observer.n_places = 1 << (2 * self.capacity - 1).bit_length()
        observer.n_columns, observer.n_repeated, observer.n_ages = len(columns), len(repeated), n_ages
        # Held for as long as C uses them.
        self._memory = {
            "columns": ffi.new("int32_t[]", [check_name("columns", name, COLUMN_IDS) for name in columns]),
            "repeated": ffi.new("int32_t[]", [check_name("repeated", name, places) for name in repeated]),
            "rows": ffi.new("struct ccdrl_row[]", self.capacity),
            "history": ffi.new("float[]", self.capacity * n_ages * len(repeated)),
            "steps": ffi.new("struct ccdrl_step[]", self.capacity),
            "groups": ffi.new("struct ccdrl_group[]", observer.n_places),
        }
        for name, memory in self._memory.items():
            setattr(observer, name, memory)
        self.handle = observer

    def reset(self, rows: Rows, connections: NDArray[np.int64]) -> None:
        """Forget the rows and make them subflows of the given connections, any integers in [0, 2**31)."""
        n = len(rows)
        if n and not (connections.min() >= 0 and connections.max() <= CONNECTION_MAX):
            raise InputError(f"connections: expected integers from 0 to {CONNECTION_MAX}")
        places = pin_in("connections", connections, np.int64, n)
        self._check(lib.ccdrl_observer_reset(self.handle, pin_in("rows", rows, np.int64, n), places, n))

    def remember(self, rows: Rows, actions: NDArray[np.float32]) -> None:
        """Note the actions taken, each in [-1, 1]; what is not finite counts as 0."""
        n = len(rows)
        source = pin_in("actions", actions, np.float32, n)
        self._check(lib.ccdrl_observer_remember(self.handle, pin_in("rows", rows, np.int64, n), source, n))

    def update(self, rows: Rows, samples: SampleArray) -> NDArray[np.float32]:
        """Return float32[len(rows), size] and advance the rows.

        Row i gets samples[i]. Rows that are not live (see `select_live`) are all zero and unknown to their siblings.
        """
        n = len(samples)
        out = np.empty((n, self.size), np.float32)
        places, target = pin_in("rows", rows, np.int64, n), pin_out(out)
        self._check(lib.ccdrl_observer_update(self.handle, places, pin_samples(samples), n, target))
        return out

    def get_rate(self, rows: Rows) -> Floats:
        """Return the delivery rate smoothed over one srtt, bytes a second."""
        n, rates = len(rows), np.empty(len(rows))
        self._check(lib.ccdrl_observer_read_rate(self.handle, pin_in("rows", rows, np.int64, n), n, pin_out(rates)))
        return rates

    def get_steps(self, rows: Rows) -> StepArray:
        """Return what the newest interval asks of the windows apart from the policy, STEP_DTYPE (len(rows),)."""
        n, steps = len(rows), np.empty(len(rows), STEP_DTYPE)
        self._check(lib.ccdrl_observer_read_steps(self.handle, pin_in("rows", rows, np.int64, n), n, pin_out(steps)))
        return steps

    def get_loss(self, rows: Rows) -> Floats:
        """Return the loss ratio over about 4 srtt."""
        n, losses = len(rows), np.empty(len(rows))
        self._check(lib.ccdrl_observer_read_loss(self.handle, pin_in("rows", rows, np.int64, n), n, pin_out(losses)))
        return losses

    def _check(self, result: int) -> None:
        if result != 0:
            raise InputError(f"rows: expected at most {self.capacity} integers from 0 to {self.capacity - 1}")
