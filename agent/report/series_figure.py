# SPDX-License-Identifier: BSD-2-Clause
"""Time series of one scenario: window, RTT and throughput of every subflow, a row of panels for each contender."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ccdrl.agent.report.canvas import WIDTH_IN, drawing, export_svg, grid
from ccdrl.agent.report.palette import MUTED, color_of, subflow_color
from ccdrl.agent.timeseries import Series, SubflowSeries
from ccdrl.envs.scenario import Scenario

ROW_IN = 1.05
TOP_PERCENTILE = 99.7
LOG_FROM_RATIO = 15.0
COLUMNS = (
    ("cwnd_kbytes", "cwnd, kB"),
    ("rtt_ms", "RTT, ms"),
    ("throughput_mbps", "throughput, Mbit/s"),
)


def set_scale(axes: Axes, series: Sequence[Series], figure: str) -> None:
    """Set a column's common scale, logarithmic for RTTs that differ by much; a first burst may leave it at the top."""
    values = np.array([value for one in series for subflow in one.subflows for value in getattr(subflow, figure)])
    values = values[np.isfinite(values)]
    top = float(np.percentile(values, TOP_PERCENTILE)) * 1.08 if values.size and values.max() > 0 else 1.0
    bottom = float(values.min()) if values.size else 0.0
    if figure == "rtt_ms" and bottom > 0 and top > LOG_FROM_RATIO * bottom:
        axes.set_yscale("log")
        axes.set_ylim(bottom / 1.2, top)
        axes.yaxis.set_major_locator(LogLocator(subs=(1,) if top > 100 * bottom else (1, 3)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.set_ylim(0, top)


def draw_events(axes: Axes, scenario: Scenario) -> None:
    """Shade the warm-up and mark the scenario's events."""
    if scenario.warmup_s > 0:
        axes.axvspan(0, scenario.warmup_s, color="#f3f5f6", linewidth=0, zorder=0)
    for at_s in sorted({event.at_s for event in scenario.events})[:20]:
        axes.axvline(at_s, color=MUTED, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1)


def label_subflows(axes: Axes, subflows: Sequence[SubflowSeries], color: str) -> None:
    """Name the subflows right of the last panel, each in its colour."""
    gap = min(0.2, 1 / max(len(subflows), 1))
    for index, subflow in enumerate(subflows):
        axes.text(
            1.02,
            1 - (index + 0.5) * gap,
            subflow.label,
            transform=axes.transAxes,
            size=8,
            va="center",
            color=subflow_color(color, index),
            weight="bold",
        )


def series_figure(name: str, scenario: Scenario, series: Sequence[Series], contenders: Sequence[str]) -> str:
    """Return the time series of one scenario as SVG."""
    height_in = 0.75 + ROW_IN * len(series)
    with drawing(WIDTH_IN, height_in) as figure:
        grid_axes = figure.subplots(len(series), len(COLUMNS), squeeze=False, sharex=True, sharey="col")
        longest = max((len(subflow.label) for one in series for subflow in one.subflows), default=0)
        right = 1 - (0.25 + 0.075 * longest) / WIDTH_IN
        label_in = 0.75 + 0.075 * max(len(one.cc) for one in series)
        figure.subplots_adjust(
            left=label_in / WIDTH_IN,
            right=right,
            bottom=0.42 / height_in,
            top=1 - 0.3 / height_in,
            hspace=0.2,
            wspace=0.15,
        )
        for axes_row, one in zip(grid_axes, series, strict=True):
            color = color_of(one.cc, contenders)
            for axes, (attribute, _) in zip(axes_row, COLUMNS, strict=True):
                draw_events(axes, scenario)
                for index, subflow in enumerate(one.subflows):
                    values = getattr(subflow, attribute)
                    axes.plot(
                        one.time_s, values, color=subflow_color(color, index), linewidth=0.95, zorder=3 - 0.1 * index
                    )
                grid(axes, "y")
                axes.margins(x=0)
            figure.text(
                0.004,
                1 - (1 - axes_row[0].get_position().y1) - axes_row[0].get_position().height / 2,
                one.cc,
                color=color,
                weight="bold",
                size=9,
                va="center",
            )
            label_subflows(axes_row[-1], one.subflows, color)
        for column, (attribute, title) in enumerate(COLUMNS):
            grid_axes[0][column].set_title(title)
            set_scale(grid_axes[0][column], series, attribute)
            grid_axes[-1][column].set_xlabel("time, s")
            grid_axes[0][column].set_xlim(0, scenario.duration_s)
        return export_svg(figure, name, f"{scenario.name}: cwnd, RTT and throughput of each subflow over time")
