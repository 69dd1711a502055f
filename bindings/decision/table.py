# SPDX-License-Identifier: BSD-2-Clause
"""The subflows that an agent decides for; turn.py gives them their records and takes the rows that are due."""

from typing import Any

import numpy as np

from ccdrl.bindings.checks import check_integer, check_number
from ccdrl.bindings.decision.library import ffi, lib, pin_out
from ccdrl.bindings.library import SAMPLE_DTYPE, SampleArray

CAPACITY_MAX = 1 << 24
TIME_UNKNOWN_US = 2**64 - 1
INTERVAL_MAX_US = 1e12


class SubflowTable:
    """At most `capacity` subflows, known by id, each with a row and its newest record.

    A connection is due when its lowest srtt, within `interval_us` = (lowest, highest), has passed since its last turn,
    and at once with its first live record. conn_id 0 is a connection of its own. A subflow that closed, or has been
    silent for longer than `idle_us`, gives its row back. `handle` is for the other bindings.
    """

    def __init__(self, capacity: int, interval_us: tuple[float, float], idle_us: int) -> None:
        self.capacity = check_integer("capacity", capacity, 1, CAPACITY_MAX)
        table: Any = ffi.new("struct ccdrl_table *")
        table.capacity = self.capacity
        table.idle_us = check_integer("idle_us", idle_us, 0, TIME_UNKNOWN_US)
        low, high = (check_number("interval_us", value, 0.0, INTERVAL_MAX_US) for value in interval_us)
        table.interval_min_us, table.interval_max_us = low, high
        places = 1 << (2 * self.capacity - 1).bit_length()
        # Held for as long as C uses them.
        self._memory = {
            "subflows": ffi.new("struct ccdrl_subflow[]", self.capacity),
            "connections": ffi.new("struct ccdrl_connection[]", self.capacity),
            "free_rows": ffi.new("uint32_t[]", self.capacity),
            "free_connections": ffi.new("uint32_t[]", self.capacity),
            "opened_rows": ffi.new("int64_t[]", self.capacity),
            "opened_connections": ffi.new("int64_t[]", self.capacity),
        }
        for name, memory in self._memory.items():
            setattr(table, name, memory)
        for name, index in (("by_subflow", table.by_subflow), ("by_connection", table.by_connection)):
            self._memory[name] = index.entries = ffi.new("struct ccdrl_entry[]", places)
            index.mask = places - 1
        self.handle = table
        lib.ccdrl_table_begin(table)

    @property
    def n_subflows(self) -> int:
        """Subflows that have a row."""
        return int(self.handle.n_subflows)

    @property
    def n_connections(self) -> int:
        """Connections that have a subflow."""
        return int(self.handle.n_connections)

    def copy_records(self) -> SampleArray:
        """Return the newest record of every subflow, SAMPLE_DTYPE (n_subflows,)."""
        records = np.empty(self.n_subflows, SAMPLE_DTYPE)
        lib.ccdrl_table_copy(self.handle, pin_out(records))
        return records
