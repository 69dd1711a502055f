# SPDX-License-Identifier: BSD-2-Clause
"""What watches a training run: progress bar, TensorBoard, comparison with the baselines."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from ccdrl.agent.trainer import Trainer
from ccdrl.models.artifact import save_artifact

Validate = Callable[[Path], tuple[float, Mapping[str, float]]]
"""From an artifact's folder to score and figures."""


class ProgressDisplay:
    """A progress bar with ETA, speed and reward; on anything but a terminal, one line now and then."""

    LINE_SHARE = 0.05

    def __init__(self, console: Console | None = None) -> None:
        """Draw on standard error, which leaves standard output to results."""
        self._console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}% {task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._next_line = 0.0

    def start(self, trainer: Trainer) -> None:
        """Show the bar."""
        self._task = self._progress.add_task("", total=trainer.config.total_steps, figures="", completed=trainer.steps)
        self._progress.start()

    def update(self, trainer: Trainer, scalars: dict[str, float]) -> None:
        """Move the bar."""
        speed, reward = scalars["speed/steps_per_s"], scalars.get("rollout/reward", math.nan)
        figures = f"{trainer.steps:,} steps  {speed:,.0f}/s  reward {reward:+.3f}"
        if trainer.best_score is not None:
            figures += f"  best {trainer.best_score:+.2f}"
        if self._task is not None:
            self._progress.update(self._task, completed=trainer.steps, figures=figures)
        share = trainer.steps / trainer.config.total_steps
        if not self._console.is_terminal and share >= self._next_line:
            self._next_line = share + self.LINE_SHARE
            print(f"{share:4.0%} {figures}", file=sys.stderr, flush=True)

    def finish(self, trainer: Trainer) -> None:
        """Take the bar away."""
        self._progress.stop()


class ScalarWriter:
    """TensorBoard: the configuration as a table, and every scalar of every update."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._writer: SummaryWriter | None = None

    def start(self, trainer: Trainer) -> None:
        """Open the event file; curves after a resumed checkpoint's step replace those of the lost part."""
        folder = trainer.out / "tensorboard"
        self._writer = SummaryWriter(str(folder), purge_step=trainer.steps + 1 if trainer.steps else None)
        rows = "\n".join(f"| {key} | {value} |" for key, value in trainer.config.flat().items())
        self._writer.add_text("config", f"| key | value |\n|---|---|\n{rows}", trainer.steps)

    def update(self, trainer: Trainer, scalars: dict[str, float]) -> None:
        """Write one point of every curve."""
        if self._writer is not None:
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, trainer.steps)

    def finish(self, trainer: Trainer) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()


class Comparison:
    """Every `every` steps: the present policy on validation scenarios against the baselines; the best one is kept."""

    def __init__(self, validate: Validate, every: int) -> None:
        """`validate` returns a score (higher is better) and figures for the curves."""
        self._validate = validate
        self._every = every
        self._due = every

    def start(self, trainer: Trainer) -> None:
        """Continue the schedule of a resumed run."""
        self._due = (trainer.steps // self._every + 1) * self._every

    def update(self, trainer: Trainer, scalars: dict[str, float]) -> None:
        """Compare when it is time, and at the end of the run."""
        if trainer.is_interrupted or trainer.steps < min(self._due, trainer.config.total_steps):
            return
        self._due = (trainer.steps // self._every + 1) * self._every
        # Always a new folder: readers may remember a policy by its path.
        with TemporaryDirectory(prefix=".validation-", dir=trainer.out) as scratch:
            score, figures = self._validate(save_artifact(trainer.artifact(), Path(scratch) / "policy"))
        trainer.offer(score, figures)
        scalars["validation/score"] = score
        scalars |= {f"validation/{name}": value for name, value in figures.items()}

    def finish(self, trainer: Trainer) -> None:
        """Nothing to end."""
