# SPDX-License-Identifier: BSD-2-Clause
"""The simulator as a datapath: its drl subflows, seen as a kernel would show them."""

from typing import Any

import numpy as np

from ccdrl.bindings.checks import check_array, check_integer
from ccdrl.bindings.datapath import Capabilities, Counters, ResultArray
from ccdrl.bindings.errors import DatapathError
from ccdrl.bindings.library import (
    ABI_VERSION,
    ACTION_DTYPE,
    SUBFLOWS_MAX,
    Absent,
    ActionArray,
    SampleArray,
    ffi,
    lib,
    make_samples,
    pin,
)
from ccdrl.bindings.simulator import Simulator

CAPACITY_DEFAULT = 1024


class SimDatapath:
    """Reads and writes the drl subflows of a `Simulator`, which its owner advances with `run`.

    capacity is the number of records that one read returns at most.
    """

    def __init__(self, simulator: Simulator, capacity: int = CAPACITY_DEFAULT) -> None:
        rows = check_integer("capacity", capacity, 1, 2**20)
        self._simulator: Simulator | None = simulator
        self._samples = make_samples(rows)
        # Held for as long as C writes there.
        self._pointer = pin("struct drl_subflow_sample", self._samples)
        self._count = ffi.new("uint32_t *")
        self._capabilities = Capabilities(
            name="sim",
            abi=ABI_VERSION,
            absent=Absent(0),
            is_simulated_time=True,
            has_pacing=True,
            subflows_max=SUBFLOWS_MAX,
        )

    @property
    def capabilities(self) -> Capabilities:
        """What the simulator can do."""
        return self._capabilities

    def read_samples(self) -> SampleArray:
        """Return a view of the records that changed, at most the capacity."""
        simulator = self._open()
        self._count[0] = self._samples.size
        simulator.check_result(lib.drl_sim_get_buffer(simulator.handle, self._pointer, self._count))
        return self._samples[: self._count[0]]

    def write_actions(self, actions: ActionArray) -> ResultArray:
        """Write windows and return one `ActionResult` each; no row is skipped."""
        simulator = self._open()
        rows: Any = check_array("actions", actions, ACTION_DTYPE)
        results = np.empty(rows.size, np.int32)
        if rows.size:
            source, target = pin("struct drl_cwnd_action", rows), pin("int32_t", results)
            simulator.check_result(lib.drl_sim_update_cwnd(simulator.handle, source, rows.size, target))
        return results

    def counters(self) -> Counters:
        """Return what the simulator counted."""
        out = ffi.new("struct drl_counters *")
        lib.drl_sim_counters(self._open().handle, out)
        return Counters(out.applied, out.clamped, out.stale, out.unknown, out.malformed, out.expired)

    def close(self) -> None:
        """Let go of the simulator, which stays open for its owner."""
        self._simulator = None

    def _open(self) -> Simulator:
        if self._simulator is None:
            raise DatapathError("datapath sim: it is closed")
        return self._simulator
