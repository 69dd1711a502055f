# SPDX-License-Identifier: BSD-2-Clause
"""The overview: a matrix of bars, a row for each scenario and a column for each contender, read like a heat map."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from ccdrl.agent.digest import Digest, Row
from ccdrl.agent.report.canvas import WIDTH_IN, drawing, export_svg
from ccdrl.agent.report.palette import INK, MUTED, RULE, color_of
from ccdrl.agent.statistics import present
from ccdrl.agent.table import format_number

ROW_IN = 0.235
NAME_CHARS_MAX = 34
RATIO_LIMITS = (2.0, 4.0, 8.0, 16.0)
RATIO_SHARE = 0.9
EVEN_LOG2 = math.log2(1.005)


@dataclass(frozen=True)
class Measure:
    """What a matrix shows: title, which side is better, a row's figure; a ratio's bars grow from 1 on a log scale."""

    title: str
    better: str
    value: Callable[[Row], float | None]
    is_ratio: bool


MEASURES = (
    Measure("Goodput ÷ best of LIA, OLIA and BALIA", "right is better", lambda row: row.relative, True),
    Measure("p95 queueing delay ÷ LIA’s", "left is better", lambda row: row.delay_relative, True),
    Measure("Competitors’ goodput ÷ what LIA leaves them", "left is harm", lambda row: row.rivals_relative, True),
    Measure("Jain’s index over all flows", "1 is equal shares", lambda row: row.jain.mean, False),
)


def shorten(name: str) -> str:
    """Return a name that fits beside its row."""
    return name if len(name) <= NAME_CHARS_MAX else name[: NAME_CHARS_MAX - 1] + "…"


def ratio_limit(digest: Digest, measure: Measure) -> float:
    """Return the end of the scale: the first that holds nine ratios in ten, so that a few do not flatten the rest."""
    values = present(measure.value(row) for row in digest.rows.values())
    sizes = sorted(max(value, 1 / max(value, 1e-9)) for value in values)
    needed = sizes[int(RATIO_SHARE * (len(sizes) - 1))] if sizes else 1.0
    return next((limit for limit in RATIO_LIMITS if needed <= limit), RATIO_LIMITS[-1])


def draw_column(axes: Axes, values: Sequence[float | None], color: str, is_ratio: bool, ratio_max: float) -> None:
    """Draw one contender's bars and write their values; a bar that leaves the scale ends in a point."""
    limit = math.log2(ratio_max)
    for index, value in enumerate(values):
        if value is None:
            axes.text(0, index, "–", va="center", ha="center", size=7.5, color=MUTED)
            continue
        length = math.log2(max(value, 1e-9)) if is_ratio else value
        shown = max(-limit, min(limit, length)) if is_ratio else length
        axes.barh(index, shown, height=0.66, color=color, linewidth=0)
        if shown != length:
            axes.plot([shown], [index], marker="<" if shown < 0 else ">", color=color, markersize=5, clip_on=False)
        # The number stands on the free side of 1, so that no bar runs through it.
        if is_ratio:
            side = -1 if shown > EVEN_LOG2 else 1
            axes.text(
                side * 0.09 * limit,
                index,
                format_number(value),
                va="center",
                ha="left" if side > 0 else "right",
                size=7.5,
                color=INK,
            )
        else:
            axes.text(1.04, index, format_number(value), va="center", size=7.5, color=INK)
    if is_ratio:
        axes.set_xlim(-limit * 1.06, limit * 1.06)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xticks([-limit, 0, limit], [f"1/{ratio_max:g}", "1", f"{ratio_max:g}"])
    else:
        axes.set_xlim(0, 1.3)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.axvline(1, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)
        axes.set_xticks([0, 1], ["0", "1"])
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.tick_params(axis="both", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def matrix_figure(name: str, digest: Digest, measure: Measure) -> str | None:
    """Return one matrix as SVG; scenarios without this figure are left out, None where all are."""
    scenarios = [
        scenario
        for scenario in digest.scenarios
        if any(measure.value(row) is not None for row in digest.of_scenario(scenario))
    ]
    if not scenarios:
        return None
    ratio_max = ratio_limit(digest, measure)
    height_in = 0.62 + ROW_IN * len(scenarios)
    with drawing(WIDTH_IN, height_in) as figure:
        columns = len(digest.contenders)
        axes = figure.subplots(1, columns, squeeze=False)[0]
        left = (0.3 + 0.066 * max(len(shorten(scenario)) for scenario in scenarios)) / WIDTH_IN
        figure.subplots_adjust(left=left, right=0.995, bottom=0.3 / height_in, top=1 - 0.32 / height_in, wspace=0.1)
        for index, (axis, cc) in enumerate(zip(axes, digest.contenders, strict=True)):
            color = color_of(cc, digest.contenders)
            rows = [digest.rows.get((scenario, cc)) for scenario in scenarios]
            draw_column(axis, [measure.value(row) if row else None for row in rows], color, measure.is_ratio, ratio_max)
            axis.set_title(cc, color=color, loc="center", pad=6)
            for line in range(len(scenarios) + 1):
                axis.axhline(line - 0.5, color=RULE, linewidth=0.5, zorder=0)
            axis.set_yticks(range(len(scenarios)) if index == 0 else [])
            if index == 0:
                axis.set_yticklabels([shorten(scenario) for scenario in scenarios], color=INK)
        return export_svg(figure, name, f"{measure.title}, by scenario and controller")
