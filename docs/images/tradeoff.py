# SPDX-License-Identifier: BSD-2-Clause
"""Draws docs/images/tradeoff.png: `python docs/images/tradeoff.py COMPARE.json`, results of compare.py --json.

One panel for each scenario named below, one mark a controller: means over the seeds.
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from ccdrl.agent import statistics
from ccdrl.agent.evaluation import ids_under_test
from ccdrl.agent.report.palette import style_of
from ccdrl.agent.results import flows_under_test, mean_over_flows, read_results, total_goodput_mbps
from ccdrl.envs.scenario import load_scenario

PANELS = ("idle-pair", "random-loss-1", "buffer-4bdp", "lte-wifi-generated")
CONTROLLERS = ("drl", "lia", "olia", "balia", "cubic")


def main() -> int:
    """Read the results, write the picture."""
    try:
        runs = read_results(Path(sys.argv[1]))["runs"]
    except (IndexError, OSError, ValueError, json.JSONDecodeError) as error:
        print(f"tradeoff.py: error: {error}", file=sys.stderr)
        return 2
    figure, axes = plt.subplots(1, len(PANELS), figsize=(13, 3.3), constrained_layout=True)
    for axis, name in zip(axes, PANELS, strict=True):
        tested = ids_under_test(load_scenario(name))
        delay_max = goodput_max = 0.0
        for cc in CONTROLLERS:
            flows = [flows_under_test(run, tested) for run in runs if (run["scenario"], run["cc"]) == (name, cc)]
            goodput = statistics.mean(total_goodput_mbps(part) for part in flows)
            delay = statistics.mean(mean_over_flows(part, "queue_delay_p95_ms") for part in flows)
            if goodput is None or delay is None:
                continue
            color, marker = style_of(cc, CONTROLLERS)
            size = 14 if cc == "drl" else 8
            axis.plot(delay, goodput, marker, color=color, markersize=size, alpha=0.85, linestyle="", label=cc)
            delay_max, goodput_max = max(delay_max, delay), max(goodput_max, goodput)
        axis.set_title(name, fontsize=10, loc="left", fontweight="bold")
        axis.set_xlabel("p95 queueing delay, ms")
        # From zero, so that distances are true; up and to the left is better.
        axis.set_ylim(0, 1.12 * goodput_max)
        axis.set_xlim(0, 1.12 * delay_max)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="0.92")
    axes[0].set_ylabel("goodput, Mbit/s")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    figure.savefig(Path(__file__).with_name("tradeoff.png"), dpi=110)
    return 0


if __name__ == "__main__":
    sys.exit(main())
