# SPDX-License-Identifier: BSD-2-Clause
"""Histograms that are filled at every decision and read now and then: a short C call each time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.decision.library import LastPin, ffi, lib
from ccdrl.bindings.errors import InputError


class Tally:
    """Counts values by upper bounds, which ascend; the last count is of what is above all of them."""

    def __init__(self, bounds: Sequence[float]) -> None:
        highest = lib.CCDRL_TALLY_BOUNDS_MAX
        if len(bounds) > highest or list(bounds) != sorted(bounds):
            raise InputError(f"bounds: expected at most {highest}, ascending, got {bounds}")
        self.bounds = tuple(bounds)
        self._values = LastPin("values", np.float64)
        self._tally: Any = ffi.new("struct ccdrl_tally *", {"n_bounds": len(bounds), "bounds": list(bounds)})

    @property
    def counts(self) -> list[int]:
        """How many values there were for each bound, and above."""
        return list(self._tally.counts[0 : len(self.bounds) + 1])

    @property
    def total(self) -> float:
        """Sum of all values."""
        return float(self._tally.total)

    def observe(self, value: float) -> None:
        """Count one value."""
        lib.ccdrl_tally_add(self._tally, value)

    def observe_all(self, values: NDArray[np.float64], scale: float = 1.0) -> None:
        """Count an array of values, each times `scale`."""
        n = len(values)
        lib.ccdrl_tally_add_all(self._tally, self._values.take(values, n), n, scale)
