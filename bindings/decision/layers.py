# SPDX-License-Identifier: BSD-2-Clause
"""What a policy does to its rows around its matrix products: one pass over memory each, checks included."""

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.checks import check_number
from ccdrl.bindings.decision.library import ffi, lib, pin_in
from ccdrl.bindings.errors import InputError

Floats = NDArray[np.float32]
_FLOATS = ffi.typeof("float[]")
LIMIT_MAX = 1e30


class RowBuffer:
    """Memory for up to `capacity` rows of `width` floats, on which C and numpy work in turn.

    The pointer is made once: for a few rows it would cost more than what C does with them.
    """

    def __init__(self, capacity: int, width: int) -> None:
        self.array = np.empty((capacity, width), np.float32)
        self.pointer = ffi.from_buffer(_FLOATS, self.array, require_writable=True)

    def check(self, n: int, width: int) -> None:
        """Raise InputError unless there are n rows of this width."""
        capacity, has = self.array.shape
        if n > capacity or width != has:
            raise InputError(f"rows: expected up to {capacity} rows of {has} columns, got {n} of {width}")


class RowNormaliser:
    """(rows - shift) * scale, clipped to [-limit, limit]."""

    def __init__(self, shift: Floats, scale: Floats, limit: float) -> None:
        self.width = len(shift)
        # Copies, so that nobody else's writes reach C.
        self._shift = pin_in("shift", shift.copy(), np.float32, self.width)
        self._scale = pin_in("scale", scale.copy(), np.float32, self.width)
        self._limit = check_number("limit", limit, 0.0, LIMIT_MAX)
        self._rows: Floats | None = None
        self._pointer = ffi.NULL

    def apply(self, rows: Floats, out: RowBuffer) -> None:
        """Fill the first rows of `out` from rows of shape (n, width), which must not overlap it."""
        # A live loop mostly comes with the same array over the same memory.
        if rows is not self._rows:
            self._rows, self._pointer = rows, self._pin(rows)
        n = len(rows)
        out.check(n, self.width)
        lib.ccdrl_rows_normalise(self._pointer, n, self.width, self._shift, self._scale, self._limit, out.pointer)

    def _pin(self, rows: Floats) -> object:
        is_fit = rows.ndim == 2 and rows.shape[1] == self.width and rows.dtype == np.float32
        if not is_fit or not rows.flags.c_contiguous:
            expected = f"contiguous float32 rows of {self.width} columns"
            raise InputError(f"rows: expected {expected}, got {rows.dtype} {rows.shape}")
        pointer: object = ffi.from_buffer(_FLOATS, rows)
        return pointer


class Activation:
    """tanh(rows + bias), within 4e-7 of the exact value."""

    def __init__(self, bias: Floats) -> None:
        self.width = len(bias)
        self._bias = pin_in("bias", bias.copy(), np.float32, self.width)

    def apply(self, rows: RowBuffer, n: int) -> None:
        """Change the first n rows in place."""
        rows.check(n, self.width)
        lib.ccdrl_rows_activate(rows.pointer, n, self.width, self._bias)


class Bounds:
    """rows + bias, clipped to [low, high]."""

    def __init__(self, bias: Floats, low: float, high: float) -> None:
        self.width = len(bias)
        self._bias = pin_in("bias", bias.copy(), np.float32, self.width)
        self._low = check_number("low", low, -LIMIT_MAX, LIMIT_MAX)
        self._high = check_number("high", high, self._low, LIMIT_MAX)

    def apply(self, rows: RowBuffer, n: int) -> None:
        """Change the first n rows in place."""
        rows.check(n, self.width)
        lib.ccdrl_rows_bound(rows.pointer, n, self.width, self._bias, self._low, self._high)
