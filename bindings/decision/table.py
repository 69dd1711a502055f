# SPDX-License-Identifier: BSD-2-Clause
"""The subflows that an agent decides for: records in, rows that are due out; a C call each, checks included."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.checks import check_integer, check_number
from ccdrl.bindings.decision.library import ffi, lib, pin_out, pin_samples
from ccdrl.bindings.library import SAMPLE_DTYPE, SampleArray

CAPACITY_MAX = 1 << 24
TIME_UNKNOWN_US = 2**64 - 1
INTERVAL_MAX_US = 1e12


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of the records of one read (struct ccdrl_intake).

    newest_us                  latest time of those believed, 0 without any
    foreign, future, stale     how many were of another ABI or without an id, of the future, older than one seen before
    refused                    how many were of subflows beyond the capacity
    rows, connections          rows that were opened, and the numbers of their connections
    """

    newest_us: int
    foreign: int
    future: int
    stale: int
    refused: int
    rows: NDArray[np.int64]
    connections: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Due:
    """Rows whose monitor interval is over, in ascending order; arrays of one entry each.

    records        the newest ones, with the present time as theirs
    intervals_us   until the next decision
    ages_us        of the records; negative where their time lies ahead
    """

    rows: NDArray[np.int64]
    records: SampleArray
    intervals_us: NDArray[np.float64]
    ages_us: NDArray[np.float64]


class SubflowTable:
    """At most `capacity` subflows, known by id, each with a row and its newest record.

    A connection is due when its lowest srtt, within `interval_us` = (lowest, highest), has passed since its last turn,
    and at once with its first live record. conn_id 0 is a connection of its own. A subflow that closed, or has been
    silent for longer than `idle_us`, gives its row back.
    """

    def __init__(self, capacity: int, interval_us: tuple[float, float], idle_us: int) -> None:
        self.capacity = check_integer("capacity", capacity, 1, CAPACITY_MAX)
        table: Any = ffi.new("struct ccdrl_table *")
        table.capacity = self.capacity
        table.idle_us = check_integer("idle_us", idle_us, 0, TIME_UNKNOWN_US)
        low, high = (check_number("interval_us", value, 0.0, INTERVAL_MAX_US) for value in interval_us)
        table.interval_min_us, table.interval_max_us = low, high
        places = 1 << (2 * self.capacity - 1).bit_length()
        self._opened = np.zeros((2, self.capacity), np.int64)
        # Held for as long as C uses them.
        self._memory = {
            "subflows": ffi.new("struct ccdrl_subflow[]", self.capacity),
            "connections": ffi.new("struct ccdrl_connection[]", self.capacity),
            "free_rows": ffi.new("uint32_t[]", self.capacity),
            "free_connections": ffi.new("uint32_t[]", self.capacity),
            "opened_rows": pin_out(self._opened[0]),
            "opened_connections": pin_out(self._opened[1]),
        }
        for name, memory in self._memory.items():
            setattr(table, name, memory)
        for name, index in (("by_subflow", table.by_subflow), ("by_connection", table.by_connection)):
            self._memory[name] = index.entries = ffi.new("struct ccdrl_entry[]", places)
            index.mask = places - 1
        self._table = table
        self._due = ffi.new("struct ccdrl_due *")
        lib.ccdrl_table_begin(table)

    @property
    def n_subflows(self) -> int:
        """Subflows that have a row."""
        return int(self._table.n_subflows)

    @property
    def n_connections(self) -> int:
        """Connections that have a subflow."""
        return int(self._table.n_connections)

    @property
    def wake_us(self) -> float:
        """Nobody is due before this time; 0 while nobody can tell."""
        return float(self._table.wake_us)

    def absorb(self, samples: SampleArray, now_us: int | None = None) -> Intake:
        """Take new records; `now_us` is the datapath's clock, where it is known."""
        clock_us = TIME_UNKNOWN_US if now_us is None else now_us
        intake = lib.ccdrl_table_absorb(self._table, pin_samples(samples), len(samples), clock_us)
        rows, connections = self._opened[:, : intake.opened].copy()
        return Intake(intake.newest_us, intake.foreign, intake.future, intake.stale, intake.refused, rows, connections)

    def select_due(self, now_us: int) -> Due:
        """Drop silent subflows; return the rows that are due, which counts as their turn."""
        n, due = self.n_subflows, self._due
        rows, records = np.empty(n, np.int64), np.empty(n, SAMPLE_DTYPE)
        intervals_us, ages_us = np.empty(n), np.empty(n)
        # The pointers keep the arrays alive, a struct that holds them does not.
        pins = pin_out(rows), pin_out(records), pin_out(intervals_us), pin_out(ages_us)
        due.rows, due.records, due.intervals_us, due.ages_us = pins
        n_due = lib.ccdrl_table_select(self._table, now_us, due)
        return Due(rows[:n_due], records[:n_due], intervals_us[:n_due], ages_us[:n_due])

    def copy_records(self) -> SampleArray:
        """Return the newest record of every subflow, SAMPLE_DTYPE (n_subflows,)."""
        records = np.empty(self.n_subflows, SAMPLE_DTYPE)
        lib.ccdrl_table_copy(self._table, pin_out(records))
        return records
