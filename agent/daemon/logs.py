# SPDX-License-Identifier: BSD-2-Clause
"""Structured log lines on a stream: logfmt for people and journals, JSON for machines."""

import json
import math
import re
import sys
import time
from datetime import UTC, datetime
from typing import Any, TextIO

LEVELS = ("debug", "info", "warning", "error")
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@%+,\[\]-]+")
LIMIT_S = 1.0


def format_logfmt(fields: dict[str, Any]) -> str:
    """Return key=value pairs in one line; values with spaces, quotes or control characters are quoted as in JSON."""
    return " ".join(f"{key}={_format_value(value)}" for key, value in fields.items())


def _format_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _make_plain(value: Any) -> Any:
    """Return what JSON can hold: NaN and infinities become null, other objects their text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str | None) else str(value)


def explain(error: Exception) -> str:
    """Return an error's message; an operating system's without its number."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


class Log:
    """Writes lines of at least `level`; a stream that is gone is not an error, as decisions matter more than lines."""

    def __init__(self, level: str = "info", *, is_json: bool = False, stream: TextIO | None = None) -> None:
        self._rank = LEVELS.index(level)
        self._is_json = is_json
        self._stream = stream if stream is not None else sys.stderr
        self._limited: dict[str, tuple[float, int]] = {}

    def debug(self, event: str, **fields: Any) -> None:
        """Write a line that only a developer wants."""
        self._write(0, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Write a line about normal operation."""
        self._write(1, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Write a line about something that an administrator may want to change."""
        self._write(2, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Write a line about something that does not work."""
        self._write(3, event, fields)

    def limit_error(self, event: str, **fields: Any) -> None:
        """Write an error that may come with every decision: one line a second, with the number of those left out."""
        now_s = time.monotonic()
        last_s, skipped = self._limited.get(event, (-math.inf, 0))
        if now_s - last_s < LIMIT_S:
            self._limited[event] = (last_s, skipped + 1)
            return
        self._limited[event] = (now_s, 0)
        self._write(3, event, fields | ({"repeated": skipped} if skipped else {}))

    def _write(self, rank: int, event: str, fields: dict[str, Any]) -> None:
        if rank < self._rank:
            return
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, Any] = {"time": stamp, "level": LEVELS[rank], "event": event, **fields}
        if self._is_json:
            text = json.dumps({key: _make_plain(value) for key, value in line.items()})
        else:
            text = format_logfmt(line)
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return
