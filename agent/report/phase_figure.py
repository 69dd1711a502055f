# SPDX-License-Identifier: BSD-2-Clause
"""The phase plot of a policy: its action over queueing delay and loss."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ccdrl.agent.report.canvas import WIDTH_IN, drawing, export_svg
from ccdrl.agent.report.palette import INK, MUTED
from ccdrl.agent.suite.phase import LOSS_MAX, QUEUE_RATIO_MAX, Phase
from ccdrl.envs.action import NEUTRAL

HEIGHT_IN = 3.7
LEVELS = np.linspace(-1.0, 1.0, 21)
# Blue shrinks, orange grows, white keeps: the two ends differ in lightness too.
COLORS = LinearSegmentedColormap.from_list("action", ["#0b3c66", "#5a9bd0", "#ffffff", "#f4a261", "#8f3400"])
LOSS_TICKS = (0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1)
DOTS_MAX = 500


def draw_phase(axes: Axes, phase: Phase) -> None:
    """Draw one policy; between the heavy lines the coupling decides, dots are recorded decisions."""
    height = np.sqrt(phase.loss)
    axes.contourf(phase.rtt_ratio, height, phase.action, levels=LEVELS, cmap=COLORS, extend="both")
    edges = [edge for edge in (-NEUTRAL, NEUTRAL) if phase.action.min() < edge < phase.action.max()]
    if edges:
        axes.contour(phase.rtt_ratio, height, phase.action, levels=edges, colors=[INK], linewidths=1.3, linestyles="-")
    inside = np.flatnonzero((phase.recorded_rtt_ratio <= QUEUE_RATIO_MAX) & (phase.recorded_loss <= LOSS_MAX))
    chosen = inside[:: max(1, math.ceil(len(inside) / DOTS_MAX))]
    axes.scatter(
        phase.recorded_rtt_ratio[chosen],
        np.sqrt(phase.recorded_loss[chosen]),
        s=3,
        color=INK,
        alpha=0.35,
        linewidth=0,
        zorder=3,
    )
    axes.set_xlim(1.0, QUEUE_RATIO_MAX)
    axes.set_ylim(0.0, math.sqrt(LOSS_MAX))
    axes.set_yticks([math.sqrt(value) for value in LOSS_TICKS], [f"{100 * value:g}" for value in LOSS_TICKS])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("RTT ÷ propagation RTT")
    axes.set_title(phase.cc, pad=6)


def draw_scale(figure: Figure, left: float) -> None:
    """Draw the scale of actions right of the plots."""
    axes = figure.add_axes((left, 0.2, 0.012, 0.62))
    axes.contourf([0, 1], LEVELS, np.repeat(LEVELS[:, None], 2, axis=1), levels=LEVELS, cmap=COLORS)
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.set_yticks(
        [-1, -0.5, 0, 0.5, 1], ["−1: halves in an RTT", "−0.5", "0: coupling", "0.5", "1: doubles in an RTT"]
    )
    axes.tick_params(axis="y", length=0, labelcolor=MUTED)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title("action", pad=6)


def phase_figure(name: str, phases: Sequence[Phase]) -> str | None:
    """Return the phase plots as SVG, one for each agent; None without agents."""
    if not phases:
        return None
    with drawing(WIDTH_IN, HEIGHT_IN) as figure:
        panels = figure.subplots(1, len(phases), squeeze=False, sharey=True)[0]
        figure.subplots_adjust(left=0.06, right=0.8, bottom=0.14, top=0.9, wspace=0.1)
        for axes, phase in zip(panels, phases, strict=True):
            draw_phase(axes, phase)
        panels[0].set_ylabel("loss ratio, %")
        draw_scale(figure, 0.825)
        return export_svg(figure, name, "The policy’s action over queueing delay and loss")
