# SPDX-License-Identifier: BSD-2-Clause
"""Draws docs/images/agreement.png and prints the table of docs/agreement.md.

`python docs/images/agreement.py SIMULATED.json MEASURED.json`: results of compare.py --json on both datapaths.
"""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from ccdrl.agent.agreement import GOODPUT_BOUND, RTT_BOUND, Agreement, Pair, compare_datapaths, count_agreeing
from ccdrl.agent.evaluation import ids_under_test
from ccdrl.agent.report.palette import style_of
from ccdrl.agent.results import read_results
from ccdrl.envs.scenario import load_scenario

CONTROLLERS = ("drl", "reno", "cubic", "lia", "olia", "balia")
SPREAD = 0.6
LIMIT = 2.0
FILES = 2


def draw(rows: Sequence[Agreement]) -> None:
    """Write the picture: a row for each scenario, a mark for each controller; marks beyond the scale are hollow."""
    scenarios = list(dict.fromkeys(row.scenario for row in rows))
    figure, axes = plt.subplots(1, 2, figsize=(11, 1.2 + 0.45 * len(scenarios)), sharey=True, constrained_layout=True)
    for axis, title, bound in zip(axes, ("goodput", "mean RTT"), (GOODPUT_BOUND, RTT_BOUND), strict=True):
        axis.axvspan(1 - bound, 1 + bound, color="0.9", linewidth=0)
        axis.axvline(1, color="0.4", linewidth=0.8)
        for row in rows:
            pair = row.goodput if title == "goodput" else row.rtt
            if pair.ratio is None or pair.ratio <= 0:
                continue
            color, marker = style_of(row.cc, CONTROLLERS)
            shown = min(max(pair.ratio, 1 / LIMIT), LIMIT)
            fill = color if math.isclose(shown, pair.ratio) else "none"
            y = scenarios.index(row.scenario) + SPREAD * (CONTROLLERS.index(row.cc) / (len(CONTROLLERS) - 1) - 0.5)
            axis.plot(shown, y, marker, color=color, markerfacecolor=fill, linestyle="", label=row.cc, clip_on=False)
        axis.set_xscale("log", base=2)
        axis.set_xlim(1 / LIMIT, LIMIT)
        ticks = (0.5, 0.7, 0.9, 1.0, 1.1, 1.4, 2.0)
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.set_ylim(len(scenarios) - 0.5, -0.5)
        axis.set_title(f"{title}: kernel ÷ simulator", fontsize=10, loc="left", fontweight="bold")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", color="0.92")
    axes[0].set_yticks(range(len(scenarios)), scenarios)
    marks = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
    names = [cc for cc in CONTROLLERS if cc in marks]
    figure.legend([marks[cc] for cc in names], names, loc="outside right center", frameon=False)
    figure.savefig(Path(__file__).with_name("agreement.png"), dpi=110)


def cell(pair: Pair, form: str, scale: float = 1.0) -> str:
    """Return both means of a pair, simulator first."""
    means = (pair.simulated.mean, pair.measured.mean)
    return " / ".join("–" if mean is None else format(mean * scale, form) for mean in means)


def ratio_cell(pair: Pair, bound: float) -> str:
    """Return the ratio, in bold where it is outside the bound."""
    if pair.ratio is None:
        return "–"
    return f"{pair.ratio:.2f}" if pair.agrees(bound) else f"**{pair.ratio:.2f}**"


def table(rows: Sequence[Agreement]) -> str:
    """Return the table in Markdown, with the counts below it."""
    lines = ["| scenario | controller | goodput, Mbit/s | ratio | mean RTT, ms | ratio | resent, % |", "|" + "---|" * 7]
    for row in rows:
        goodput, rtt = ratio_cell(row.goodput, GOODPUT_BOUND), ratio_cell(row.rtt, RTT_BOUND)
        figures = (cell(row.goodput, ".2f"), goodput, cell(row.rtt, ".1f"), rtt, cell(row.retransmit, ".2f", 100))
        lines.append(f"| {row.scenario.removeprefix('live-')} | {row.cc} | {' | '.join(figures)} |")
    near, both = count_agreeing([row.goodput for row in rows], GOODPUT_BOUND)
    timely, timed = count_agreeing([row.rtt for row in rows], RTT_BOUND)
    goodput = f"Goodput within {GOODPUT_BOUND:.0%} in {near} of {both}"
    rtt = f"mean RTT within {RTT_BOUND:.0%} in {timely} of {timed}"
    return "\n".join([*lines, "", f"{goodput}, {rtt}."])


def main() -> int:
    """Read both results, write the picture, print the table."""
    try:
        simulated, measured = (read_results(Path(name))["runs"] for name in sys.argv[1 : 1 + FILES])
    except (ValueError, OSError, json.JSONDecodeError) as error:
        print(f"agreement.py: error: {error}", file=sys.stderr)
        return 2
    names = {run["scenario"] for run in measured}
    rows = compare_datapaths(simulated, measured, {name: ids_under_test(load_scenario(name)) for name in names})
    rows.sort(key=lambda row: (row.scenario, CONTROLLERS.index(row.cc)))
    draw(rows)
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
