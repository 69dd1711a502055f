# SPDX-License-Identifier: BSD-2-Clause
"""Draws docs/images/agent-alone.png and agent-beside-cubic.png, the pictures of docs/agent.md.

`python docs/images/agent.py [MODEL [FOLDER]]`: a policy artifact (default: the shipped agent) runs the two scenarios
below in the simulator; LIA runs them too, for comparison. The same policy gives the same curves.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ccdrl.agent.contenders import AGENT, Contender, find_model
from ccdrl.agent.controller import Decision
from ccdrl.agent.evaluation import NS_PER_S, Drive, RunSpec
from ccdrl.agent.report.canvas import PARAMETERS, grid
from ccdrl.agent.report.palette import MUTED, color_of
from ccdrl.bindings.errors import InputError
from ccdrl.envs.action import NEUTRAL
from ccdrl.envs.observation_layout import OBSERVATION_NAMES
from ccdrl.envs.scenario import Scenario, parse_scenario

LINK = """
[[links]]
id = "link"
rate_mbps = 20
delay_ms = 20
queue = { kind = "droptail", bdp = 2.0 }
[[flows]]
id = "mp"
cc = "@"
paths = [["link"]]
"""
ALONE = f"""
duration_s = 60
{LINK}
[[events]]
at_s = 20
link = "link"
loss = {{ kind = "bernoulli", p = 0.01 }}
[[events]]
at_s = 40
link = "link"
loss = {{ kind = "bernoulli", p = 0.0 }}
rate_mbps = 8
"""
BESIDE_CUBIC = f"""
duration_s = 90
{LINK}
[[flows]]
id = "tcp"
cc = "cubic"
paths = [["link"]]
start_s = 20
stop_s = 70
"""
SEED = 1
STEP_S = 0.25
MSS_BYTES = 1448
RESPONSE = OBSERVATION_NAMES.index("dither_response")
ROWS = ("window,\nsegments", "queueing\ndelay, ms", "action", "dither_\nresponse")
COLORS = {cc: color_of(cc, (AGENT,)) for cc in (AGENT, "lia", "cubic")}


@dataclass
class Course:
    """One run: figures of each flow over steps of STEP_S, and the agent's decisions."""

    time_s: list[float] = field(default_factory=list)
    cwnd_segments: list[list[float]] = field(default_factory=list)
    """One list for each step, a value for each flow."""
    queue_delay_ms: list[float] = field(default_factory=list)
    """Of the flow under test."""
    decided_s: list[float] = field(default_factory=list)
    actions: list[float] = field(default_factory=list)
    responses: list[float] = field(default_factory=list)

    def note(self, decision: Decision) -> None:
        """Keep a decision of the only subflow."""
        self.decided_s.append(decision.now_us / 1e6)
        self.actions.append(float(decision.actions[0]))
        self.responses.append(float(decision.observations[0, RESPONSE]))


def follow(scenario: Scenario, cc: str, model: Path) -> Course:
    """Simulate the scenario under a controller."""
    course = Course()
    drive = Drive(RunSpec(scenario, Contender(cc, model if cc == AGENT else None), SEED, model), tap=course.note)
    for step in range(round(scenario.duration_s / STEP_S)):
        drive.run(round((step + 1) * STEP_S * NS_PER_S))
        stats = [drive.simulator.subflow_stats(flow, 0) for flow in range(len(scenario.flows))]
        course.time_s.append((step + 0.5) * STEP_S)
        course.cwnd_segments.append([one.cwnd_mean_bytes / MSS_BYTES for one in stats])
        course.queue_delay_ms.append(stats[0].queue_delay_mean_ms)
        drive.simulator.reset_stats()
    drive.simulator.close()
    return course


def draw(place: Path, scenario: Scenario, model: Path, spans: Sequence[tuple[float, str]]) -> None:
    """Write one picture; a span begins at its time and has a name."""
    courses = {cc: follow(scenario, cc, model) for cc in ("lia", AGENT)}
    with mpl.rc_context(PARAMETERS):
        figure = Figure(figsize=(9.5, 6.4), layout="constrained")
        FigureCanvasAgg(figure)
        axes: Sequence[Axes] = figure.subplots(len(ROWS), 1, sharex=True, height_ratios=(1.5, 1, 1, 1))
        for cc, course in courses.items():
            color = COLORS[cc]
            own = [step[0] for step in course.cwnd_segments]
            axes[0].plot(course.time_s, own, color=color, label="the agent" if cc == AGENT else "LIA in its place")
            axes[1].plot(course.time_s, course.queue_delay_ms, color=color)
        course = courses[AGENT]
        if len(scenario.flows) > 1:
            rival = [step[1] for step in course.cwnd_segments]
            axes[0].plot(course.time_s, rival, color=COLORS["cubic"], linewidth=0.8, label="CUBIC beside the agent")
        axes[2].axhspan(-NEUTRAL, NEUTRAL, color="0.9", linewidth=0)
        axes[2].plot(course.decided_s, course.actions, color=COLORS[AGENT], linewidth=0.6)
        axes[3].plot(course.decided_s, course.responses, color=COLORS[AGENT])
        finish(figure, axes, scenario, spans)
        figure.savefig(place, dpi=110, metadata={"Software": None})


def finish(figure: Figure, axes: Sequence[Axes], scenario: Scenario, spans: Sequence[tuple[float, str]]) -> None:
    """Set scales, names and marks."""
    for axis, name in zip(axes, ROWS, strict=True):
        axis.set_ylabel(name)
        axis.set_xlim(0, scenario.duration_s)
        grid(axis, "y")
        for at_s, _ in spans[1:]:
            axis.axvline(at_s, color=MUTED, linewidth=0.7, linestyle=(0, (2, 2)))
    for at_s, name in spans:
        axes[0].annotate(name, (at_s, 1.02), (3, 0), xycoords=("data", "axes fraction"), textcoords="offset points")
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylim(bottom=0)
    axes[2].set_ylim(-1.05, 1.05)
    axes[2].text(scenario.duration_s, NEUTRAL, "neutral ", ha="right", va="bottom", color=MUTED, size=7.5)
    axes[3].set_ylim(-0.5, 1.5)
    axes[-1].set_xlabel("time, s")
    figure.align_ylabels(axes)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)


def main() -> int:
    """Run both scenarios, write the pictures."""
    try:
        model = find_model(sys.argv[1] if len(sys.argv) > 1 else "default")[1]
        folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent
        draw(
            folder / "agent-alone.png",
            parse_scenario(ALONE, "agent-alone"),
            model,
            ((0, "alone"), (20, "1 % random loss"), (40, "capacity from 20 to 8 Mbit/s, no loss")),
        )
        draw(
            folder / "agent-beside-cubic.png",
            parse_scenario(BESIDE_CUBIC, "agent-beside-cubic"),
            model,
            ((0, "alone"), (20, "a CUBIC starts"), (70, "it stops")),
        )
    except (InputError, OSError) as error:
        print(f"agent.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
