# SPDX-License-Identifier: BSD-2-Clause
"""Simulator against kernel: a row for each scenario, a dot for each controller, the band in which they agree."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from ccdrl.agent.agreement import GOODPUT_BOUND, RTT_BOUND, Agreement, Pair
from ccdrl.agent.report.canvas import WIDTH_IN, drawing, export_svg, grid
from ccdrl.agent.report.palette import INK, RULE, style_of

ROW_IN = 0.34
SPREAD = 0.5
LIMIT = 2.0


def agreement_figure(name: str, rows: Sequence[Agreement], contenders: Sequence[str]) -> str:
    """Return both panels, goodput and mean RTT, as SVG."""
    scenarios = list(dict.fromkeys(row.scenario for row in rows))
    height_in = 0.75 + ROW_IN * len(scenarios)
    with drawing(WIDTH_IN, height_in) as figure:
        axes = figure.subplots(1, 2, sharey=True)
        figure.subplots_adjust(left=0.19, right=0.985, bottom=0.42 / height_in, top=1 - 0.3 / height_in, wspace=0.06)
        panels = (("Goodput, measured ÷ simulated", GOODPUT_BOUND), ("Mean RTT, measured ÷ simulated", RTT_BOUND))
        for index, (axis, (title, bound)) in enumerate(zip(axes, panels, strict=True)):
            axis.axvspan(1 - bound, 1 + bound, color=RULE, alpha=0.45, linewidth=0)
            axis.axvline(1, color=INK, linewidth=0.8)
            for row in rows:
                draw_dot(axis, row, (row.goodput, row.rtt)[index], scenarios, contenders)
            axis.set_xscale("log", base=2)
            axis.set_xlim(1 / LIMIT * 0.97, LIMIT * 1.03)
            ticks = (0.5, 0.7, 0.85, 1.0, 1.15, 1.4, 2.0)
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.set_title(title)
            axis.set_ylim(len(scenarios) - 0.4, -0.6)
            grid(axis, "x")
        axes[0].set_yticks(range(len(scenarios)), scenarios)
        return export_svg(figure, name, "Measured over simulated goodput and mean RTT, by scenario and controller")


def draw_dot(axis: Axes, row: Agreement, pair: Pair, scenarios: Sequence[str], contenders: Sequence[str]) -> None:
    """Draw one controller's dot in its scenario's row; one beyond the scale stands at its end, hollow."""
    if pair.ratio is None or pair.ratio <= 0:
        return
    color, marker = style_of(row.cc, contenders)
    shown = min(max(pair.ratio, 1 / LIMIT), LIMIT)
    offset = SPREAD * (contenders.index(row.cc) / max(len(contenders) - 1, 1) - 0.5)
    fill = color if math.isclose(shown, pair.ratio) else "none"
    y = scenarios.index(row.scenario) + offset
    axis.plot(shown, y, marker, color=color, markerfacecolor=fill, markersize=5, clip_on=False)
