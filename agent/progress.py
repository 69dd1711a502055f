# SPDX-License-Identifier: BSD-2-Clause
"""Progress on stderr: a bar with the time left on a terminal, now and then a plain line elsewhere."""

import math
import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_INTERVAL_S = 10.0


class Meter:
    """Counts finished pieces of one job; a context manager. With `is_quiet` it says nothing."""

    def __init__(self, title: str, total: int, is_quiet: bool) -> None:
        self._title = title
        self._total = total
        self._done = 0
        self._is_quiet = is_quiet
        self._begin_s = time.monotonic()
        self._line_s = -math.inf
        self._bar: Progress | None = None
        console = Console(file=sys.stderr)
        if console.is_terminal and not is_quiet:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(elapsed_when_finished=False),
            )
            self._bar = Progress(*columns, console=console)
            self._task = self._bar.add_task(title, total=total)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self) -> None:
        """Count one piece."""
        self._done += 1
        if self._bar is not None:
            self._bar.advance(self._task)
        elif not self._is_quiet:
            self._print_line()

    def _print_line(self) -> None:
        """Print where we are, the first time at once and then not too often."""
        now_s = time.monotonic()
        if self._done < self._total and now_s - self._line_s < LINE_INTERVAL_S:
            return
        self._line_s = now_s
        elapsed_s = now_s - self._begin_s
        left_s = elapsed_s / self._done * (self._total - self._done)
        rest = f", about {left_s:.0f} s left" if self._done < self._total else ""
        sys.stderr.write(f"{self._title}: {self._done}/{self._total} in {elapsed_s:.0f} s{rest}\n")
        sys.stderr.flush()
