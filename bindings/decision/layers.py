# SPDX-License-Identifier: BSD-2-Clause
"""What a policy does to its rows between two matrix products: one pass over memory each, checks included."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.checks import check_number
from ccdrl.bindings.decision.library import ffi, lib, pin_in
from ccdrl.bindings.errors import InputError

Floats = NDArray[np.float32]
_FLOATS = ffi.typeof("float[]")
LIMIT_MAX = 1e30


def _pin_rows(name: str, rows: Floats, width: int, *, is_written: bool) -> Any:
    is_fit = rows.ndim == 2 and rows.shape[1] == width and rows.dtype == np.float32 and rows.flags.c_contiguous
    if not is_fit:
        raise InputError(f"{name}: expected contiguous float32 rows of {width} columns, got {rows.dtype} {rows.shape}")
    return ffi.from_buffer(_FLOATS, rows, require_writable=is_written)


class RowNormaliser:
    """(rows - shift) * scale, clipped to [-limit, limit]."""

    def __init__(self, shift: Floats, scale: Floats, limit: float) -> None:
        self.width = len(shift)
        # Copies, so that nobody else's writes reach C.
        self._shift = pin_in("shift", shift.copy(), np.float32, self.width)
        self._scale = pin_in("scale", scale.copy(), np.float32, self.width)
        self._limit = check_number("limit", limit, 0.0, LIMIT_MAX)

    def apply(self, rows: Floats, out: Floats) -> None:
        """Fill `out`, of the same shape (n, width), which must not overlap `rows`."""
        source = _pin_rows("rows", rows, self.width, is_written=False)
        target = _pin_rows("out", out, self.width, is_written=True)
        if len(out) != len(rows):
            raise InputError(f"out: expected {len(rows)} rows, got {len(out)}")
        lib.ccdrl_rows_normalise(source, len(rows), self.width, self._shift, self._scale, self._limit, target)


class Activation:
    """tanh(rows + bias), within 4e-7 of the exact value."""

    def __init__(self, bias: Floats) -> None:
        self.width = len(bias)
        self._bias = pin_in("bias", bias.copy(), np.float32, self.width)

    def apply(self, rows: Floats) -> None:
        """Change rows of shape (n, width) in place."""
        target = _pin_rows("rows", rows, self.width, is_written=True)
        lib.ccdrl_rows_activate(target, len(rows), self.width, self._bias)
