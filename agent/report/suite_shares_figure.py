# SPDX-License-Identifier: BSD-2-Clause
"""Goodput of every flow beside its optimal references: a row for each flow, a mark for each contender.

The scale is goodput over the max-min fair share, logarithmic; a small upright bar is the proportionally fair share.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation, Transform

from ccdrl.agent.report.canvas import WIDTH_IN, drawing, export_svg
from ccdrl.agent.report.palette import INK, MUTED, RULE, style_of
from ccdrl.agent.suite.draw import Case
from ccdrl.agent.suite.evidence import Evidence
from ccdrl.agent.table import format_number
from ccdrl.envs.scenario_schema import UNDER_TEST

ROW_IN = 0.26
LIMITS = (1 / 8, 2.0)
TICKS = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0)
TICK_NAMES = ("1/8", "1/4", "1/2", "1", "2")
SHARE_FLOOR = 1e-6


@dataclass(frozen=True)
class FlowRow:
    """One flow of one scenario: its label, references in Mbit/s, and goodput of one connection by contender."""

    label: str
    is_tested: bool
    max_min_mbps: float
    proportional_mbps: float
    goodputs: tuple[tuple[str, float], ...]
    is_first: bool


def list_rows(evidence: Evidence, cases: Sequence[Case]) -> list[FlowRow]:
    """Return the rows of these cases; scenarios without references are left out."""
    rows = []
    for case in cases:
        optimum = evidence.optima.get(case.name)
        if optimum is None:
            continue
        by_cc = {cc: evidence.goodputs(case, cc) for cc in evidence.contenders}
        for place, flow in enumerate(case.scenario.flows):
            count = f" × {flow.count}" if flow.count > 1 else ""
            rows.append(
                FlowRow(
                    f"{case.name}  {flow.id}{count}" if place == 0 else f"{flow.id}{count}",
                    flow.cc == UNDER_TEST,
                    optimum.max_min_mbps[flow.id],
                    optimum.proportional_mbps[flow.id],
                    tuple((cc, goodputs[flow.id]) for cc, goodputs in by_cc.items() if flow.id in goodputs),
                    place == 0,
                )
            )
    return [row for row in rows if row.max_min_mbps > SHARE_FLOOR and row.goodputs]


def draw_row(axes: Axes, place: int, row: FlowRow, contenders: Sequence[str]) -> None:
    """Draw one flow."""
    low, high = LIMITS
    fair = row.proportional_mbps / row.max_min_mbps
    if low < fair < high:
        axes.plot([fair, fair], [place - 0.36, place + 0.36], color=INK, linewidth=2.2, zorder=2)
    for index, (cc, goodput) in enumerate(row.goodputs):
        color, marker = style_of(cc, contenders)
        ratio = goodput / row.max_min_mbps
        shown = min(max(ratio, low), high)
        # Contenders keep a height of their own within the row, so that equal figures do not hide each other.
        height = place + 0.56 * ((index + 0.5) / len(row.goodputs) - 0.5)
        is_outside = not math.isclose(shown, ratio)
        if is_outside:
            marker = "<" if ratio < low else ">"
        size = 60 if marker == "*" else 26
        face = "white" if is_outside else color
        axes.scatter(
            [shown],
            [height],
            s=size,
            marker=marker,
            color=face,
            edgecolor=color,
            linewidth=0.8,
            zorder=3,
            clip_on=False,
        )


def shares_figure(name: str, evidence: Evidence, cases: Sequence[Case], title: str) -> str | None:
    """Return the figure of these cases as SVG; None where none has references."""
    rows = list_rows(evidence, cases)
    if not rows:
        return None
    height_in = 0.72 + ROW_IN * len(rows)
    with drawing(WIDTH_IN, height_in) as figure:
        axes = figure.subplots()
        left_in = 0.2 + 0.072 * max(len(row.label) for row in rows)
        figure.subplots_adjust(
            left=left_in / WIDTH_IN, right=1 - 1.45 / WIDTH_IN, bottom=0.3 / height_in, top=1 - 0.38 / height_in
        )
        for place, row in enumerate(rows):
            draw_row(axes, place, row, evidence.contenders)
            references = f"{format_number(row.max_min_mbps)} / {format_number(row.proportional_mbps)}"
            axes.text(1.015, place, references, transform=axes.get_yaxis_transform(), va="center", size=8, color=MUTED)
            if place:
                axes.axhline(place - 0.5, color=RULE, linewidth=1.0 if row.is_first else 0.3, zorder=0)
        axes.set_xscale("log", base=2)
        axes.set_xlim(LIMITS[0] / 1.06, LIMITS[1] * 1.06)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks(TICKS, TICK_NAMES)
        axes.axvline(1.0, color=INK, linewidth=1.0, zorder=1)
        for tick in TICKS:
            axes.axvline(tick, color=RULE, linewidth=0.5, zorder=0)
        axes.set_yticks(range(len(rows)), [row.label for row in rows])
        for label, row in zip(axes.get_yticklabels(), rows, strict=True):
            label.set(color=INK if row.is_tested else MUTED)
        axes.tick_params(axis="both", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_title("Goodput ÷ max-min fair share, a connection of each flow", pad=8)
        axes.text(
            1.015, 1.0, "max-min / prop. fair,\nMbit/s", transform=axes.transAxes, va="bottom", size=7.5, color=MUTED
        )
        draw_key(axes, evidence.contenders)
        return export_svg(figure, name, f"{title}: goodput of every flow beside its optimal references")


def draw_key(axes: Axes, contenders: Sequence[str]) -> None:
    """Name the marks above the right end of the axes."""
    x = 1.0
    for cc in reversed(contenders):
        color, marker = style_of(cc, contenders)
        axes.annotate(
            cc,
            (x, 1.0),
            (0, 6),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right",
            va="bottom",
            size=8,
            weight="bold",
            color=color,
        )
        x -= 0.0082 * len(cc) + 0.009
        axes.plot(
            [x + 0.004],
            [1.0],
            marker=marker,
            markersize=6 if marker != "*" else 8,
            color=color,
            transform=offset_by(axes, 10.5),
            clip_on=False,
        )
        x -= 0.02


def offset_by(axes: Axes, points: float) -> Transform:
    """Return the coordinates of the axes, shifted upwards by so many points."""
    shift: Transform = ScaledTranslation(0, points / 72, axes.figure.dpi_scale_trans)
    return axes.transAxes + shift
