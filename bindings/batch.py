# SPDX-License-Identifier: BSD-2-Clause
"""Many simulators advanced in one C call on a pool of threads, without the GIL."""

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ccdrl.bindings.checks import check_integer
from ccdrl.bindings.errors import InputError, SimulatorError
from ccdrl.bindings.library import ActionArray, SampleArray, ffi, lib, make_actions, make_samples, pin

if TYPE_CHECKING:
    from ccdrl.bindings.simulator import Simulator

THREADS_MAX = 256


class SimulatorBatch:
    """N simulators and their drl subflows as rows of two arrays that C reads and writes in place.

    samples     (rows,) SAMPLE_DTYPE: the state of every drl subflow after the last step
    actions     (rows,) ACTION_DTYPE: what the next step writes; row r answers row r of samples; subflow_id 0: nothing
    first_row   (n + 1,) uint32: simulator i has the rows first_row[i] to first_row[i + 1]
    """

    def __init__(self, simulators: Sequence["Simulator"], n_threads: int = 1) -> None:
        if not simulators:
            raise InputError("simulators: expected at least one")
        threads = check_integer("n_threads", n_threads, 1, THREADS_MAX)
        self.simulators = list(simulators)
        lent: list[Simulator] = []
        try:
            for simulator in self.simulators:
                simulator.lend(self)
                lent.append(simulator)
            rows = [simulator.count_drl_subflows() for simulator in self.simulators]
        except Exception:
            for simulator in lent:
                simulator.lend(None)
            raise
        self.first_row: NDArray[np.uint32] = np.concatenate([[0], np.cumsum(rows)]).astype(np.uint32)
        self.samples: SampleArray = make_samples(int(self.first_row[-1]))
        self.actions: ActionArray = make_actions(int(self.first_row[-1]))
        self._until_ns = np.zeros(len(self.simulators), np.int64)
        pool = lib.ccdrl_pool_new(threads)
        if pool == ffi.NULL:
            self._take_back()
            raise SimulatorError("batch: no memory or no threads")
        self._pool: Any = ffi.gc(pool, lib.ccdrl_pool_free)
        # Pinned once: C uses these arrays in every step.
        self._handles = ffi.new("struct ccdrl_sim *[]", [simulator.handle for simulator in self.simulators])
        self._until_pointer = pin("int64_t", self._until_ns)
        self._first_row_pointer = pin("uint32_t", self.first_row)
        self._samples_pointer = pin("struct drl_subflow_sample", self.samples)
        self._actions_pointer = pin("struct drl_cwnd_action", self.actions)
        self.peek()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.simulators)

    def step(self, until_ns: ArrayLike) -> SampleArray:
        """Write the actions, run simulator i to until_ns[i] (or all to one time), and return the refreshed `samples`.

        The actions stay as they are: overwrite them, or set subflow_id 0, before the next step.
        """
        if self._pool is None:
            raise SimulatorError("batch: it is closed")
        times = np.asarray(until_ns)
        if times.dtype.kind not in "iu" or times.shape not in ((), self._until_ns.shape):
            raise InputError(f"until_ns: expected one integer or {len(self)} of them, got {until_ns!r}")
        self._until_ns[:] = times
        result = lib.ccdrl_batch_step(
            self._pool,
            self._handles,
            len(self),
            self._until_pointer,
            self._first_row_pointer,
            self._actions_pointer,
            self._samples_pointer,
        )
        if result != 0:
            self._raise(result)
        return self.samples

    def peek(self) -> SampleArray:
        """Refresh and return `samples` without moving any clock."""
        for index in range(len(self)):
            self._peek(index)
        return self.samples

    def replace(self, index: int, simulator: "Simulator") -> "Simulator":
        """Put a fresh simulator in the place of another, refresh its rows, and return the old one, no longer lent.

        The new one must have as many drl subflows, so that rows stay where they are.
        """
        place = check_integer("index", index, 0, len(self) - 1)
        rows = int(self.first_row[place + 1] - self.first_row[place])
        if simulator.count_drl_subflows() != rows:
            raise InputError(
                f"simulator: expected {rows} drl subflows, as the one it replaces, got {simulator.count_drl_subflows()}"
            )
        simulator.lend(self)
        old = self.simulators[place]
        old.lend(None)
        self.simulators[place] = simulator
        self._handles[place] = simulator.handle
        self.actions["subflow_id"][self.first_row[place] : self.first_row[place + 1]] = 0
        self._peek(place)
        return old

    def close(self) -> None:
        """Stop the threads and give the simulators back, open; a second call does nothing."""
        if self._pool is None:
            return
        ffi.release(self._pool)
        self._pool = None
        self._take_back()

    def _take_back(self) -> None:
        for simulator in self.simulators:
            simulator.lend(None)

    def _peek(self, index: int) -> None:
        first, end = int(self.first_row[index]), int(self.first_row[index + 1])
        if end > first:
            lib.drl_sim_peek(self._handles[index], self._samples_pointer + first, end - first)

    def _raise(self, result: int) -> None:
        for index, simulator in enumerate(self.simulators):
            text = simulator.error_text()
            if text:
                kind = InputError if result == lib.CCDRL_ERR_ARGUMENT else SimulatorError
                raise kind(f"simulator {index} of the batch: {text}")
        raise SimulatorError(f"batch: step failed with code {result}")
