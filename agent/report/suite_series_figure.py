# SPDX-License-Identifier: BSD-2-Clause
"""How connections come to share: goodput of each over time beside its fair share, and Jain's index of them all."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ccdrl.agent import statistics
from ccdrl.agent.report.canvas import WIDTH_IN, drawing, export_svg, grid
from ccdrl.agent.report.palette import INK, MUTED, color_of, subflow_color
from ccdrl.agent.suite.evidence import flow_name
from ccdrl.agent.suite.optimum import conditions_at, max_min_now, mean_rates_mbps, moments_of
from ccdrl.agent.suite.sampling import GoodputSeries
from ccdrl.envs.scenario import Scenario

Floats = NDArray[np.float64]

COLUMNS = 3
PANEL_IN = 1.35
FAIRNESS_IN = 1.0
SMOOTH_S = 0.5
LINES_MAX = 8
TOP_PERCENTILE = 99.0


def smooth(series: GoodputSeries) -> tuple[Floats, Floats]:
    """Return times and goodputs, means over about half a second."""
    width = max(1, round(SMOOTH_S / series.step_s))
    count = len(series.goodput_mbps) // width
    values = series.goodput_mbps[: count * width].reshape(count, width, -1).mean(axis=1)
    times = (np.arange(count) + 0.5) * width * series.step_s
    return np.asarray(times, float), np.asarray(values, float)


def fair_shares(scenario: Scenario) -> list[tuple[float, float, dict[str, float]]]:
    """Return (from, to, max-min share by flow) of each piece of time."""
    rates = mean_rates_mbps(scenario, None)
    ends = moments_of(scenario, 0.0)
    return [(begin, end, max_min_now(scenario, conditions_at(scenario, rates, begin))) for begin, end in pairwise(ends)]


def find_fairness(series: GoodputSeries, scenario: Scenario) -> tuple[Floats, Floats]:
    """Return times and Jain's index of goodput over fair share of the connections active then, NaN below two."""
    times, goodputs = smooth(series)
    index = np.full(len(times), np.nan)
    for begin, end, shares in fair_shares(scenario):
        active = [place for place, label in enumerate(series.flows) if shares.get(flow_name(label), 0.0) > 0]
        fair = np.array([shares[flow_name(series.flows[place])] for place in active])
        for step in np.flatnonzero((times >= begin) & (times < end)):
            if len(active) > 1:
                index[step] = statistics.jain((goodputs[step, active] / fair).tolist()) or np.nan
    return times, index


def draw_panel(axes: Axes, series: GoodputSeries, scenario: Scenario, color: str) -> None:
    """Draw one contender's connections; dashed: the fair share of each, where all have the same, once."""
    times, goodputs = smooth(series)
    for place in range(min(len(series.flows), LINES_MAX)):
        axes.plot(times, goodputs[:, place], color=subflow_color(color, place), linewidth=1.0)
    for begin, end, shares in fair_shares(scenario):
        for share in sorted({round(share, 3) for share in shares.values()}):
            axes.plot([begin, end], [share, share], color=INK, linewidth=0.9, linestyle=(0, (4, 2)), zorder=4)
    for event in scenario.events:
        axes.axvline(event.at_s, color=MUTED, linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)
    axes.set_title(series.cc, color=color, pad=3)
    axes.set_xlim(0, scenario.duration_s)
    grid(axes, "y")


def convergence_figure(
    name: str, scenario: Scenario, series: Sequence[GoodputSeries], contenders: Sequence[str]
) -> str:
    """Return the figure of one scenario as SVG: a panel for each contender, and below Jain's index of all."""
    rows = -(-len(series) // COLUMNS)
    has_fairness = len(series[0].flows) > 1
    height_in = 0.75 + (PANEL_IN + 0.3) * rows + (FAIRNESS_IN if has_fairness else 0.0)
    with drawing(WIDTH_IN, height_in) as figure:
        heights = [PANEL_IN] * rows + ([FAIRNESS_IN] if has_fairness else [])
        layout = figure.add_gridspec(len(heights), COLUMNS, height_ratios=heights)
        figure.subplots_adjust(
            left=0.5 / WIDTH_IN,
            right=0.995 - (0.7 / WIDTH_IN if has_fairness else 0),
            bottom=0.42 / height_in,
            top=1 - 0.28 / height_in,
            hspace=0.42,
            wspace=0.12,
        )
        panels = [figure.add_subplot(layout[place // COLUMNS, place % COLUMNS]) for place in range(len(series))]
        top = max(float(np.percentile(smooth(one)[1].max(axis=1), TOP_PERCENTILE)) for one in series)
        fair = [share for _, _, shares in fair_shares(scenario) for share in shares.values()]
        for place, (axes, one) in enumerate(zip(panels, series, strict=True)):
            draw_panel(axes, one, scenario, color_of(one.cc, contenders))
            axes.set_ylim(0, 1.1 * max([top, *fair]))
            if place % COLUMNS:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel("Mbit/s")
        if has_fairness:
            draw_fairness(figure.add_subplot(layout[-1, :]), scenario, series, contenders)
        else:
            for axes in panels[-COLUMNS:]:
                axes.set_xlabel("time, s")
        return export_svg(figure, name, f"{scenario.name}: goodput of every connection over time, and their fairness")


def draw_fairness(axes: Axes, scenario: Scenario, series: Sequence[GoodputSeries], contenders: Sequence[str]) -> None:
    """Draw Jain's index of every contender, each named at the end of its line."""
    ends: list[tuple[float, str, str]] = []
    low = 0.8
    for one in series:
        times, index = find_fairness(one, scenario)
        color = color_of(one.cc, contenders)
        axes.plot(times, index, color=color, linewidth=1.1)
        known = index[np.isfinite(index)]
        if len(known):
            ends.append((float(known[-1]), one.cc, color))
            low = min(low, float(np.percentile(known, 3)))
    axes.set_ylim(max(0.0, low - 0.05), 1.02)
    axes.set_xlim(0, scenario.duration_s)
    for place, (_, cc, color) in enumerate(sorted(ends, reverse=True)):
        height = 1.0 - (place + 0.5) / max(len(ends), 1)
        axes.text(1.008, height, cc, transform=axes.transAxes, color=color, size=8, weight="bold", va="center")
    axes.set_xlabel("time, s")
    axes.set_title("Jain’s index of goodput ÷ fair share", pad=3)
    grid(axes, "y")
