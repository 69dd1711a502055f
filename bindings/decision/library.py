# SPDX-License-Identifier: BSD-2-Clause
"""The one owner of this extension's `ffi`: pointers into checked arrays, and the columns that C computes."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ccdrl.bindings.errors import InputError
from ccdrl.bindings.library import ACTION_DTYPE, SAMPLE_DTYPE, SampleArray, derive_dtype

try:
    from ccdrl.bindings.decision._decision import ffi as ffi
    from ccdrl.bindings.decision._decision import lib as lib
except ImportError as error:  # a checkout whose C core was never compiled
    raise ImportError("the observer is not built; run `make setup`") from error

_PREFIX = "ccdrl_column_"
COLUMN_IDS = {
    name.removeprefix(_PREFIX): value
    for value, name in ffi.typeof("enum ccdrl_column").elements.items()
    if name.startswith(_PREFIX)
}
"""The columns that columns.h computes, and their numbers."""

_STEPS = ("coupled", "dither", "wanted", "held", "is_congested", "is_rising", "freedom")
STEP_DTYPE = np.dtype([(name, np.float64) for name in _STEPS])
"""struct ccdrl_steps: log2 of factors, parts of a window, whether losses are congestion, whether an empty queue is
taken up, whether others are there."""
StepArray = NDArray[np.void]
"""Array of STEP_DTYPE."""

GUARD_DTYPE = derive_dtype("struct ccdrl_guard_counts", ffi)
"""What a guard counts."""

# Parsed once: these calls are made for a handful of rows too.
_BYTES = ffi.typeof("char[]")
_CTYPES = {
    np.dtype(np.float32): ffi.typeof("float[]"),
    np.dtype(np.float64): ffi.typeof("double[]"),
    np.dtype(np.int32): ffi.typeof("int32_t[]"),
    np.dtype(np.int64): ffi.typeof("int64_t[]"),
    np.dtype(np.uint8): ffi.typeof("uint8_t[]"),
    np.dtype(np.bool_): ffi.typeof("uint8_t[]"),
    GUARD_DTYPE: ffi.typeof("struct ccdrl_guard_counts[]"),
    STEP_DTYPE: ffi.typeof("struct ccdrl_steps[]"),
    SAMPLE_DTYPE: ffi.typeof("struct drl_subflow_sample[]"),
    ACTION_DTYPE: ffi.typeof("struct drl_cwnd_action[]"),
}


def pin_in(name: str, values: NDArray[Any], dtype: DTypeLike, count: int) -> Any:
    """Return a C pointer to `count` values that C reads; it owns a copy where the array is not what C can read.

    Raises InputError unless there are so many of them, in one dimension.
    """
    if values.shape != (count,):
        raise InputError(f"{name}: expected {count} values in one dimension, got shape {values.shape}")
    array = np.ascontiguousarray(values, dtype)
    return ffi.from_buffer(_CTYPES[array.dtype], array)


def pin_samples(samples: SampleArray) -> Any:
    """Return a C pointer to records that C reads; it owns a copy where they do not lie one after the other."""
    if samples.ndim != 1 or samples.dtype != SAMPLE_DTYPE:
        raise InputError("samples: expected a numpy array of one dimension with the dtype of bindings.library")
    return ffi.from_buffer(_BYTES, np.ascontiguousarray(samples))


def pin_out(array: NDArray[Any]) -> Any:
    """Return a C pointer to a contiguous array that C fills."""
    return ffi.from_buffer(_CTYPES[array.dtype], array, require_writable=True)


class LastPin:
    """What `pin_in` returns, kept: a live loop mostly comes with the same array over the same memory.

    To make a pointer takes longer than many of the calls. What C cannot read in place is copied every time.
    """

    def __init__(self, name: str, dtype: DTypeLike) -> None:
        self._name, self._dtype = name, np.dtype(dtype)
        self._array: NDArray[Any] | None = None
        self._pointer = ffi.NULL

    def take(self, values: NDArray[Any], count: int) -> Any:
        """Return a C pointer to `count` values that C reads. Raises InputError unless there are so many."""
        if values is not self._array or len(values) != count:
            array = np.ascontiguousarray(values, self._dtype)
            self._pointer = pin_in(self._name, array, self._dtype, count)
            self._array = array
        return self._pointer
