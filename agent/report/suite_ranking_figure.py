# SPDX-License-Identifier: BSD-2-Clause
"""The ranking of a suite: for each measure the contenders' means with 95 % intervals, in one order."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ccdrl.agent.report.canvas import WIDTH_IN, drawing, export_svg, grid
from ccdrl.agent.report.palette import INK, MUTED, style_of
from ccdrl.agent.suite.ranking import Ranking
from ccdrl.agent.table import format_number

ROW_IN = 0.27
TICKS = (1e-4, 1e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100, 1000)
TICKS_MAX = 5
SHORT_TITLES = {
    "welfare": "Welfare ÷ optimum\n(right is better)",
    "goodput": "Goodput ÷ LIA’s\n(right is better)",
    "delay": "p95 delay ÷ LIA’s\n(left is better)",
    "power": "Power ÷ LIA’s\n(right is better)",
    "rivals": "Competitors ÷ with LIA\n(left is harm)",
}


def choose_ticks(low: float, high: float) -> list[float]:
    """Return a few round numbers within the limits that stand apart, 1 among them where it is inside."""
    apart = math.log(high / low) / TICKS_MAX
    chosen: list[float] = []
    for tick in sorted((tick for tick in TICKS if low <= tick <= high), key=lambda tick: abs(math.log(tick))):
        if all(abs(math.log(tick / other)) >= apart for other in chosen):
            chosen.append(tick)
    return sorted(chosen)


def draw_ranking(axes: Axes, ranking: Ranking, order: Sequence[str], contenders: Sequence[str]) -> None:
    """Draw one measure."""
    by_cc = {place.cc: place for place in ranking.places}
    for row, cc in enumerate(order):
        place = by_cc[cc]
        color, marker = style_of(cc, contenders)
        axes.plot([place.low, place.high], [row, row], color=color, linewidth=2.2, alpha=0.55, solid_capstyle="butt")
        size = 90 if marker == "*" else 36
        axes.scatter(
            [place.mean], [row], s=size, marker=marker, color=color, edgecolor="white", linewidth=0.7, zorder=3
        )
        axes.text(
            1.0,
            row,
            format_number(place.mean),
            transform=axes.get_yaxis_transform(),
            va="center",
            ha="right",
            size=8,
            color=INK,
            bbox={"facecolor": "white", "linewidth": 0, "pad": 0.8},
        )
    lows, highs = [place.low for place in ranking.places], [place.high for place in ranking.places]
    low, high = math.log(min([1.0, *lows])), math.log(max([1.0, *highs]))
    span = max(high - low, 0.1)
    left, right = math.exp(low - 0.06 * span), math.exp(high + 0.42 * span)
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.axvline(1.0, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)), zorder=0)
    axes.xaxis.set_major_locator(FixedLocator(choose_ticks(left, right)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    grid(axes, "x")
    axes.set_title(SHORT_TITLES.get(ranking.measure.key, ranking.measure.title), pad=7)


def ranking_figure(name: str, rankings: Sequence[Ranking], contenders: Sequence[str]) -> str | None:
    """Return the rankings as SVG, rows in the order of the first; None without any."""
    if not rankings:
        return None
    order = [place.cc for place in rankings[0].places]
    height_in = 0.85 + ROW_IN * len(order)
    with drawing(WIDTH_IN, height_in) as figure:
        panels = figure.subplots(1, len(rankings), squeeze=False)[0]
        left_in = 0.2 + 0.085 * max(len(cc) for cc in order)
        figure.subplots_adjust(
            left=left_in / WIDTH_IN, right=0.995, bottom=0.3 / height_in, top=1 - 0.5 / height_in, wspace=0.14
        )
        for axes, ranking in zip(panels, rankings, strict=True):
            draw_ranking(axes, ranking, order, contenders)
        panels[0].set_yticks(range(len(order)), list(order))
        panels[0].tick_params(axis="y", length=0)
        for label, cc in zip(panels[0].get_yticklabels(), order, strict=True):
            label.set(color=style_of(cc, contenders)[0], weight="bold")
        return export_svg(figure, name, "Ranking of the controllers by each measure, with 95 % intervals")
