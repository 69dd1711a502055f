# SPDX-License-Identifier: BSD-2-Clause
"""The figure of one scenario: goodput against queueing delay, and bars for goodput, fairness and competitors."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Ellipse as EllipsePatch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ccdrl.agent.digest import Row
from ccdrl.agent.report.canvas import WIDTH_IN, drawing, export_svg, grid, pixels, text_box
from ccdrl.agent.report.palette import INK, MUTED, style_of
from ccdrl.agent.statistics import confidence_ellipse, present
from ccdrl.agent.table import format_number

LABEL_PT = 8.5
LOG_FROM_RATIO = 6.0
DELAY_FLOOR_MS = 0.1


def padded(low: float, high: float, share: float, span_min: float) -> tuple[float, float]:
    """Return limits around [low, high] with a margin, at least span_min apart: noise must not look like a result."""
    middle, span = (low + high) / 2, max(high - low, span_min)
    return middle - span * (0.5 + share), middle + span * (0.5 + share)


def set_delay_axis(axes: Axes, delays: Sequence[float]) -> None:
    """Scale the delay axis, low delays to the right; logarithmic where the delays differ by much."""
    low, high = min(delays), max(delays)
    if high > LOG_FROM_RATIO * max(low, DELAY_FLOOR_MS):
        axes.set_xscale("log")
        left, right = padded(math.log10(max(low, DELAY_FLOOR_MS)), math.log10(high), 0.14, 0.2)
        axes.set_xlim(10**right, 10**left)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        left, right = padded(low, high, 0.16, max(0.1 * high, 0.1))
        axes.set_xlim(right, max(left, 0.0))
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def place_labels(axes: Axes, marks: Sequence[tuple[float, float, str, str]]) -> None:
    """Write a label beside each mark (x, y, text, colour), where it meets the fewest other labels and marks."""
    spots = [pixels(axes, x, y) for x, y, _, _ in marks]
    taken: list[tuple[float, float, float, float]] = [(x - 5, y - 5, x + 5, y + 5) for x, y in spots]
    box = axes.get_window_extent().bounds
    left, bottom, width, height = (value * 72 / axes.figure.dpi for value in box)
    for (x, y), (_, _, text, color) in zip(spots, marks, strict=True):
        wide, tall = text_box(text, LABEL_PT)
        best: tuple[float, float, float] | None = None
        for distance in (7.0, 14.0, 22.0):
            for step in range(8):
                angle = math.pi / 4 * step
                centre_x = x + math.cos(angle) * (distance + wide / 2)
                centre_y = y + math.sin(angle) * (distance + tall / 2 - 3)
                area = (centre_x - wide / 2, centre_y - tall / 2, centre_x + wide / 2, centre_y + tall / 2)
                cost = sum(overlap(area, other) for other in taken) + 0.4 * distance
                cost += 1e3 * (
                    area[0] < left or area[2] > left + width or area[1] < bottom or area[3] > bottom + height
                )
                if best is None or cost < best[0]:
                    best = (cost, centre_x, centre_y)
        assert best is not None
        _, centre_x, centre_y = best
        taken.append((centre_x - wide / 2, centre_y - tall / 2, centre_x + wide / 2, centre_y + tall / 2))
        offset = (centre_x - x, centre_y - y)
        place: Any = axes.transData.inverted().transform((x * axes.figure.dpi / 72, y * axes.figure.dpi / 72))
        axes.annotate(
            text,
            place,
            offset,
            textcoords="offset points",
            ha="center",
            va="center",
            size=LABEL_PT,
            color=color,
            weight="bold",
        )


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Return the common area of two boxes (left, bottom, right, top)."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def draw_scatter(axes: Axes, rows: Sequence[Row], contenders: Sequence[str]) -> None:
    """Draw seeds, 1-sigma ellipses and means; without any delay sample the axes say so."""
    is_finite = bool(rows) and all(row.is_finite for row in rows)
    axes.set_title(f"{'Completion' if is_finite else 'Goodput'} against queueing delay", pad=10)
    rows = [row for row in rows if row.points and row.is_finite == is_finite]
    if not rows:
        axes.text(0.5, 0.5, "no RTT samples", transform=axes.transAxes, ha="center", color=MUTED)
        axes.set_axis_off()
        return
    heights = [y for row in rows for _, y in row.points]
    set_delay_axis(axes, [x for row in rows for x, _ in row.points])
    low, high = padded(min(heights), max(heights), 0.16, 0.1 * max(heights) or 1.0)
    low = max(low, 0.0) if min(heights) > 0 else low
    axes.set_ylim(*((high, low) if is_finite else (low, high)))
    grid(axes, "both")
    marks = []
    for row in rows:
        color, marker = style_of(row.cc, contenders)
        xs, ys = [x for x, _ in row.points], [y for _, y in row.points]
        axes.scatter(xs, ys, s=9, color=color, alpha=0.35, linewidth=0, zorder=3)
        ellipse = confidence_ellipse(xs, ys)
        if ellipse is not None:
            patch = EllipsePatch((ellipse.x, ellipse.y), ellipse.width, ellipse.height, angle=ellipse.angle_deg)
            patch.set(facecolor=color, edgecolor=color, alpha=0.22, linewidth=0.8, zorder=2)
            axes.add_patch(patch)
        x, y = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
        size = 75 if marker == "*" else 34
        axes.scatter([x], [y], s=size, marker=marker, color=color, edgecolor="white", linewidth=0.7, zorder=4)
        marks.append((x, y, row.cc, color))
    place_labels(axes, marks)
    axes.set_ylabel("mean completion, s (lower is up)" if is_finite else "goodput, Mbit/s")
    axes.set_xlabel("p95 queueing delay, ms (lower to the right)")
    axes.text(0.995, 1.02, "better ↗", transform=axes.transAxes, ha="right", va="bottom", color=MUTED, size=8)


def draw_bars(
    axes: Axes,
    title: str,
    bars: Sequence[tuple[float | None, float | None, str]],
    limit: float | None,
) -> None:
    """Draw horizontal bars (value, half width of its interval, colour), one for each contender."""
    values = present(value for value, _, _ in bars)
    axes.set_title(title, pad=10)
    tops = present((value or 0) + (half or 0) for value, half, _ in bars)
    right = limit or max([1.15, *tops])
    for index, (value, half, color) in enumerate(bars):
        if value is None:
            axes.text(0.01 * right, index, "–", va="center", color=MUTED, size=8)
            continue
        axes.barh(index, value, height=0.62, color=color, linewidth=0)
        if half:
            axes.plot([value - half, value + half], [index, index], color=INK, linewidth=0.9)
        backing = {"facecolor": "white", "linewidth": 0, "pad": 0.8}
        end = value + (half or 0) + 0.035 * right
        axes.text(end, index, format_number(value), va="center", size=8, color=INK, bbox=backing)
    axes.set_xlim(0, right * 1.24)
    axes.set_ylim(len(bars) - 0.45, -0.55)
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    if values:
        axes.axvline(1.0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)


def relative_half(row: Row) -> float | None:
    """Return the half width of the interval around a row's relative figure, with the reference taken as exact."""
    own = row.completion if row.is_finite else row.goodput
    return row.relative * own.ci95 / own.mean if row.relative and own.ci95 is not None and own.mean else None


def scenario_figure(name: str, scenario: str, rows: Sequence[Row], contenders: Sequence[str]) -> str:
    """Return the figure of one scenario as SVG."""
    height_in = max(2.9, 1.1 + 0.3 * len(rows))
    with drawing(WIDTH_IN, height_in) as figure:
        has_flows = any(row.jain.mean is not None for row in rows)
        has_rivals = any(row.rivals_relative is not None for row in rows)
        panels = 1 + has_flows + has_rivals
        axes = figure.subplots(1, 1 + panels, width_ratios=[3.1, *([1.35] * panels)])
        bottom, top = 0.52 / height_in, 1 - 0.38 / height_in
        figure.subplots_adjust(left=0.055, right=0.995, bottom=bottom, top=top, wspace=0.16)
        axes = list(axes)
        for index, axis in enumerate(axes[1:]):  # room for the controllers' names left of the bars
            place = axis.get_position()
            shift = 0.05 if index == 0 else 0.02
            axis.set_position((place.x0 + shift, place.y0, place.width - shift, place.height))
        draw_scatter(axes[0], rows, contenders)
        colors = [style_of(row.cc, contenders)[0] for row in rows]
        halves = [relative_half(row) for row in rows]
        draw_bars(
            axes[1],
            "Speed ÷ best coupling" if all(row.is_finite for row in rows) else "Goodput ÷ best coupling",
            [(row.relative, half, color) for row, half, color in zip(rows, halves, colors, strict=True)],
            None,
        )
        axes[1].set_yticks(range(len(rows)), [row.cc for row in rows])
        axes[1].tick_params(axis="y", length=0)
        for label, color in zip(axes[1].get_yticklabels(), colors, strict=True):
            label.set(color=color, weight="bold", size=LABEL_PT)
        if has_flows:
            bars = [(row.jain.mean, row.jain.ci95, color) for row, color in zip(rows, colors, strict=True)]
            draw_bars(axes[2], "Jain’s index, all flows", bars, 1.0)
        if has_rivals:
            bars = [(row.rivals_relative, None, color) for row, color in zip(rows, colors, strict=True)]
            draw_bars(axes[-1], "Competitors ÷ with LIA", bars, None)
        return export_svg(figure, name, f"{scenario}: goodput, queueing delay, fairness and competitors")
