# SPDX-License-Identifier: BSD-2-Clause
"""Argument checks of the bindings: every function returns the checked value or raises a one-line `InputError`."""

import math
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ccdrl.bindings.errors import InputError

TIME_MAX_NS = 10**18
"""Latest simulated time, about 31 years."""
DELAY_MAX_NS = 3600 * 10**9
RATE_MAX_BPS = 1e13
AMOUNT_MAX_BYTES = 2**53
"""Amounts stay exact as doubles."""


def check_integer(name: str, value: object, low: int, high: int) -> int:
    """Return an integer of [low, high]; bool and float are refused."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"{name}: expected an integer from {low} to {high}, got {value!r}") from None
    if not low <= number <= high:
        raise InputError(f"{name}: expected an integer from {low} to {high}, got {number}")
    return number


def check_number(name: str, value: object, low: float, high: float) -> float:
    """Return a finite number of [low, high]; bool is refused."""
    accepted = f"a number from {low:g} to {high:g}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InputError(f"{name}: expected {accepted}, got {value!r}")
    number = float(value)
    if not math.isfinite(number) or not low <= number <= high:
        raise InputError(f"{name}: expected {accepted}, got {number:g}")
    return number


def check_name(name: str, value: object, ids: Mapping[str, int]) -> int:
    """Return the C value of a name."""
    number = ids.get(value) if isinstance(value, str) else None
    if number is None:
        raise InputError(f"{name}: expected one of {', '.join(ids)}, got {value!r}")
    return number


def check_array(name: str, value: object, dtype: DTypeLike) -> NDArray[Any]:
    """Return a contiguous, writable array of one dimension and exactly this dtype: what C may write into."""
    if not isinstance(value, np.ndarray) or value.dtype != np.dtype(dtype) or value.ndim != 1:
        raise InputError(f"{name}: expected a numpy array of one dimension with the dtype of bindings.library")
    if not (value.flags.c_contiguous and value.flags.writeable):
        raise InputError(f"{name}: expected a contiguous, writable array")
    return value
