# SPDX-License-Identifier: BSD-2-Clause
"""Strict reading of JSON documents that somebody else may have written: typed access, one-line errors."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ArtifactError(ValueError):
    """A policy artifact that cannot be used; the message is one line: what, where, what is accepted."""


def parse_json(content: bytes, where: str) -> dict[str, Any]:
    """Return the JSON object in `content`; NaN, repeated keys, deep nesting and non-objects raise ArtifactError."""
    try:
        document = json.loads(content, object_pairs_hook=unique_keys, parse_constant=refuse_constant)
    except RecursionError:
        raise ArtifactError(f"{where}: nested too deeply") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{where}: not valid JSON ({str(error).splitlines()[0][:100]})") from None
    if not isinstance(document, dict):
        raise ArtifactError(f"{where}: a JSON object expected, found {type(document).__name__}")
    return document


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; two equal keys raise ValueError, because readers disagree on which one counts."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("repeated key")
    return document


def refuse_constant(name: str) -> float:
    """Refuse NaN and infinities, which JSON does not have and Python's reader would take."""
    raise ValueError(f"{name} is no JSON number")


class Fields:
    """Typed access to one table of a document; every method raises ArtifactError that names the key."""

    def __init__(self, values: dict[str, Any], prefix: str = "") -> None:
        """Wrap `values`; `prefix` is the table's own name with a final dot."""
        self.values = values
        self._prefix = prefix

    def _get(self, key: str, expected: str, *types: type) -> Any:
        value = self.values.get(key)
        # bool is an int in Python, never in a document.
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            found = "nothing" if key not in self.values else type(value).__name__
            raise ArtifactError(f"{self._prefix}{key}: {expected} expected, found {found}")
        return value

    def table(self, key: str) -> Fields:
        """Return a nested table."""
        return Fields(self._get(key, "an object", dict), f"{self._prefix}{key}.")

    def text(self, key: str) -> str:
        """Return a string."""
        value: str = self._get(key, "a string", str)
        return value

    def integer(self, key: str) -> int:
        """Return an integer from 0 to 2^63 - 1."""
        value: int = self._get(key, "an integer", int)
        if not 0 <= value < 1 << 63:
            raise ArtifactError(f"{self._prefix}{key}: an integer from 0 to 2^63 - 1 expected")
        return value

    def number(self, key: str) -> float:
        """Return a finite number."""
        return self._finite(key, self._get(key, "a number", int, float))

    def numbers(self, key: str) -> NDArray[np.float64]:
        """Return a list of finite numbers as float64."""
        values = self._get(key, "a list of numbers", list)
        return np.array([self._finite(key, value) for value in values], dtype=np.float64)

    def integers(self, key: str) -> tuple[int, ...]:
        """Return a list of integers."""
        values = self._get(key, "a list of integers", list)
        if any(isinstance(value, bool) or not isinstance(value, int) for value in values):
            raise ArtifactError(f"{self._prefix}{key}: a list of integers expected")
        return tuple(values)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings."""
        values = self._get(key, "a list of strings", list)
        if any(not isinstance(value, str) for value in values):
            raise ArtifactError(f"{self._prefix}{key}: a list of strings expected")
        return tuple(values)

    def _finite(self, key: str, value: Any) -> float:
        """Return `value` as float; 1e999 and 400-digit integers are numbers to JSON, not to a policy."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ArtifactError(f"{self._prefix}{key}: numbers expected, found {type(value).__name__}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise ArtifactError(f"{self._prefix}{key}: a finite number expected")
        return number
