# SPDX-License-Identifier: BSD-2-Clause
"""Capacity traces: files of delivery opportunities (mahimahi) or of rates, checked and ready for a link.

mahimahi: one integer a line, the millisecond at which 1500 wire bytes may leave; the file repeats with its last value
as the period. Rates: `seconds Mbit/s` a line (a tab or spaces between), each rate holding until the next line's time,
the last for the median step; then it repeats. The content tells which of the two a file is.
"""

import math
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.errors import InputError
from ccdrl.envs.scenario_schema import one_line, show

TRACE_BYTES_MAX = 64 << 20
OPPORTUNITY_BYTES = 1500
"""Wire bytes that one delivery opportunity carries."""
MILLISECONDS_MAX = 7 * 86400 * 1000
"""A week: the longest trace, which also keeps nanoseconds far inside 64 bits."""
MBPS_MAX = 1e5
_FAST_MAHIMAHI = re.compile(r"[^0-9 \t\r\n]|[0-9]{9}|[0-9][ \t\r]+[0-9]")
"""Found in a text that needs the line-by-line reader: all but one number below 10^8 a line (numpy reads those fast)."""
_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Capacity over time, repeating with period_ns.

    kind "opportunities": 1500 wire bytes may leave at each time_ns (int64, ascending, at most period_ns; equal times
    are one opportunity each). kind "rate": rate_bps[i] (float64, wire bits a second) holds from time_ns[i] (0 first) to
    the next, the last to period_ns. The arrays are read-only.
    """

    kind: str
    time_ns: NDArray[np.int64]
    period_ns: int
    rate_bps: NDArray[np.float64] | None = None

    @property
    def mean_bps(self) -> float:
        """Mean capacity over one period in wire bits a second."""
        if self.rate_bps is None:
            return len(self.time_ns) * OPPORTUNITY_BYTES * 8 * _NS_PER_S / self.period_ns
        steps_ns = np.diff(self.time_ns, append=self.period_ns)
        return float(np.dot(steps_ns, self.rate_bps) / self.period_ns)


def load_trace(root: Path, name: str) -> Trace:
    """Return the trace in file `name` below folder `root`; not even a link leads out of it. Raises InputError."""
    path = _resolve(root, name)
    status = path.stat()
    return _load_cached(str(path), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=32)
def _load_cached(path: str, _mtime_ns: int, _size: int) -> Trace:
    text = _read_ascii(Path(path))
    first = text.split("\n", 1)[0].split()
    return load_mahimahi(text, path) if len(first) == 1 else load_rates(text, path)


def load_mahimahi(text: str, file: str) -> Trace:
    """Return the trace of a mahimahi file's text; file is its name in messages. Raises InputError."""
    if _FAST_MAHIMAHI.search(text) is None and text.strip():
        times_ms = np.fromstring(text, dtype=np.int64, sep=" ")
    else:
        rows = _rows(text, file, 1, "one integer (milliseconds)", _milliseconds)
        times_ms = np.array([row[0] for row in rows], dtype=np.int64)
    _check_order(times_ms, times_ms, "ms", file, strict=False)
    if times_ms[-1] == 0:
        raise InputError(one_line(f"{file}: last line = 0: accepted: a last time above 0 ms, which is the period"))
    return _freeze(Trace("opportunities", times_ms * _NS_PER_MS, int(times_ms[-1]) * _NS_PER_MS))


def load_rates(text: str, file: str) -> Trace:
    """Return the trace of the text of a `seconds<TAB>Mbit/s` file; file is its name in messages. Raises InputError."""
    rows = np.array(_rows(text, file, 2, "two numbers (seconds and Mbit/s)", _number), dtype=np.float64)
    seconds, mbps = rows[:, 0], rows[:, 1]
    for column, top, unit in ((seconds, MILLISECONDS_MAX / 1e3, "s"), (mbps, MBPS_MAX, "Mbit/s")):
        # NaN fails both comparisons
        wrong = np.flatnonzero(~((column >= 0) & (column <= top)))
        if wrong.size:
            value = float(column[wrong[0]])
            raise InputError(one_line(f"{file}: row {wrong[0] + 1} = {value:g} {unit}: accepted: 0 to {top:g} {unit}"))
    time_ns = np.rint((seconds - seconds[0]) * _NS_PER_S).astype(np.int64)
    _check_order(time_ns, seconds, "s", file, strict=True)
    if not mbps.any():
        raise InputError(one_line(f"{file}: all rates are 0: accepted: at least one rate above 0"))
    last_ns = int(np.median(np.diff(time_ns))) if len(time_ns) > 1 else _NS_PER_S
    return _freeze(Trace("rate", time_ns, int(time_ns[-1]) + last_ns, mbps * 1e6))


def _resolve(root: Path, name: str) -> Path:
    accepted = f"accepted: a file below the folder of --traces ({root})"
    try:
        base = Path(os.path.realpath(root))
        path = Path(os.path.realpath(base / name))
        if Path(name).is_absolute() or not path.is_relative_to(base):
            raise InputError(one_line(f"{show(name)} leaves the folder: {accepted}"))
        if not base.is_dir():
            raise InputError(one_line(f"{root}: not a folder: accepted: the folder of the trace files (--traces)"))
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(one_line(f"{show(name)} is not a regular file: {accepted}"))
        if not 0 < status.st_size <= TRACE_BYTES_MAX:
            raise InputError(
                one_line(f"{show(name)} has {status.st_size} bytes: accepted: 1 to {TRACE_BYTES_MAX} bytes")
            )
        return path
    except OSError as error:
        raise InputError(one_line(f"{show(name)}: {error.strerror or error}: {accepted}")) from None
    except InputError:
        raise
    except ValueError as error:  # a NUL in the name
        raise InputError(one_line(f"{show(name)}: {error}: {accepted}")) from None


def _read_ascii(path: Path) -> str:
    try:
        return path.read_bytes().decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise InputError(one_line(f"{path}: byte {error.start}: not text: accepted: numbers in ASCII")) from None
    except OSError as error:
        raise InputError(one_line(f"{path}: {error.strerror or error}: accepted: a readable trace file")) from None


def _rows(
    text: str, file: str, columns: int, what: str, convert: Callable[[str], float | int]
) -> list[tuple[float | int, ...]]:
    """Return the numbers of every line that is not blank, naming the first line that is not `columns` numbers."""
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words:
            continue
        try:
            if len(words) != columns:
                raise ValueError
            rows.append(tuple(convert(word) for word in words))
        except ValueError:
            raise InputError(one_line(f"{file}: line {number} = {show(line)}: accepted: {what}")) from None
    if not rows:
        raise InputError(one_line(f"{file}: no values: accepted: {what} on each line"))
    return rows


def _milliseconds(word: str) -> int:
    # isdigit keeps out signs and underscores, the length integers beyond 64 bits
    if not word.isdigit() or len(word) > len(str(MILLISECONDS_MAX)) or int(word) > MILLISECONDS_MAX:
        raise ValueError
    return int(word)


def _number(word: str) -> float:
    value = float(word)
    if "_" in word or not math.isfinite(value):
        raise ValueError
    return value


def _check_order(times: NDArray[np.int64], given: NDArray[Any], unit: str, file: str, *, strict: bool) -> None:
    wrong = np.flatnonzero(np.diff(times) < (1 if strict else 0))
    if wrong.size:
        before = int(wrong[0])
        bound = f"{'above' if strict else 'at least'} {given[before]:.12g} {unit}"
        accepted = f"accepted: {bound}, the time of the row before"
        raise InputError(one_line(f"{file}: row {before + 2} = {given[before + 1]:.12g} {unit}: {accepted}"))


def _freeze(trace: Trace) -> Trace:
    """Make the arrays read-only: the same ones serve every run."""
    trace.time_ns.flags.writeable = False
    if trace.rate_bps is not None:
        trace.rate_bps.flags.writeable = False
    return trace
