# SPDX-License-Identifier: BSD-2-Clause
"""Groups of the suite in which the network changes: rate steps, fail-over, cellular capacity, recorded traces."""

from collections.abc import Iterable
from pathlib import Path

from ccdrl.agent.suite.draw import (
    Case,
    Draw,
    bdp_queue,
    flow_over,
    lte_link,
    make_case,
    make_flow,
    make_link,
    round_digits,
)
from ccdrl.bindings.errors import InputError
from ccdrl.envs.scenario import Event, Link, shipped_scenarios
from ccdrl.envs.scenario_schema import UNDER_TEST
from ccdrl.envs.traces import Trace, load_trace

STEPS_COUNT = 4
TRACES_COUNT = 8
TRACE_MEAN_MBPS = (0.3, 150.0)
TRACE_DURATION_S = 60.0
TRACE_FILE_BYTES_MAX = 8 << 20
TRACE_FILES_MAX = 5000
OUTAGE_S = 8.0


def make_steps(draw: Draw) -> list[Case]:
    """Return rate steps up and down on one of two links."""
    cases = []
    for number in range(1, STEPS_COUNT + 1):
        links = [make_link(label, draw.log(5, 40), draw.log(12, 120), 1.5) for label in ("one", "two")]
        base = links[0].rate_mbps or 0.0
        up, down = draw.log(2, 4), draw.log(2, 4)
        events = [
            Event(14.0, "one", rate_mbps=round_digits(base * up)),
            Event(24.0, "one", rate_mbps=base),
            Event(34.0, "one", rate_mbps=round_digits(base / down)),
            Event(44.0, "one", rate_mbps=base),
        ]
        case = make_case(
            f"step-{number:02d}",
            links,
            [flow_over(links)],
            summary=f"rate of one × {up:g} at 14 s, back at 24 s, ÷ {down:g} at 34 s, back at 44 s",
            duration=54.0,
            warmup=8.0,
            events=events,
            tags=("recovery", "path-change"),
        )
        cases.append(case)
    return cases


def outage(link: str, from_s: float, length_s: float) -> list[Event]:
    """Return a link's failure and return."""
    return [Event(from_s, link, down=True), Event(from_s + length_s, link, down=False)]


def make_failovers(draw: Draw) -> list[Case]:
    """Return fail-over and recovery: one link, with a competitor, several connections at once, and all links."""
    cases = []
    kinds = ("one link", "one link, cubic on the other", "one link under three connections", "both links")
    for number, kind in enumerate(kinds, 1):
        links = [make_link(label, draw.log(6, 30), draw.log(15, 100), 1.0) for label in ("one", "two")]
        from_s = draw.uniform(14, 18)
        length_s = 3.0 if kind == "both links" else OUTAGE_S
        events = outage("one", from_s, length_s)
        flows = [flow_over(links)]
        tags = ["recovery", "failover"]
        if number == 2:
            flows.append(make_flow("tcp", "cubic", [["two"]]))
        elif number == 3:
            flows = [make_flow("mp", UNDER_TEST, [["one"], ["two"]], count=3)]
            tags.append("synchronised")
        elif number == 4:
            events += outage("two", from_s, length_s)
            tags.append("blackout")
        summary = f"outage of {kind} from {from_s:g} s for {length_s:g} s"
        case = make_case(
            f"failover-{number:02d}",
            links,
            flows,
            summary=summary,
            duration=40.0,
            warmup=8.0,
            events=events,
            tags=tags,
        )
        cases.append(case)
    return cases


def make_cellular(draw: Draw) -> list[Case]:
    """Return generated LTE-like capacity, beside another LTE, a WiFi, a WiFi with CUBIC, and alone."""
    cases = []
    for number in range(1, 5):
        lte = lte_link("lte", draw.log(4, 30), draw.log(30, 90), draw.seed())
        wifi = make_link("wifi", draw.log(8, 40), draw.log(10, 40), 1.0)
        links, flows = [lte, wifi], [flow_over([lte, wifi])]
        summary = "LTE and WiFi"
        if number == 2:
            links = [lte, lte_link("lte2", draw.log(4, 30), draw.log(30, 90), draw.seed())]
            flows, summary = [flow_over(links)], "two LTE"
        elif number == 3:
            flows.append(make_flow("tcp", "cubic", [["wifi"]]))
            summary = "LTE and WiFi, cubic on the WiFi"
        elif number == 4:
            links, flows, summary = [lte], [flow_over([lte])], "LTE alone"
        case = make_case(
            f"cellular-{number:02d}", links, flows, summary=summary, duration=60.0, tags=("trace", "wireless")
        )
        cases.append(case)
    return cases


def list_trace_files(folder: Path) -> list[str]:
    """Return the files below a folder, relative to it and in order, without those that a shipped scenario uses.

    The shipped scenarios were looked at while agents were tuned, so their traces are not held out.
    """
    known = {link.trace for scenario in shipped_scenarios() for link in scenario.links}
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and 0 < path.stat().st_size <= TRACE_FILE_BYTES_MAX:
            found.append(path.relative_to(folder).as_posix())
    return [name for name in found if name not in known][:TRACE_FILES_MAX]


def readable_traces(folder: Path, names: Iterable[str]) -> Iterable[tuple[str, Trace]]:
    """Yield the files that are traces of a useful rate; a folder of traces holds licences and notes as well."""
    for name in names:
        try:
            trace = load_trace(folder, name)
        except InputError:
            continue
        if TRACE_MEAN_MBPS[0] <= trace.mean_bps / 1e6 <= TRACE_MEAN_MBPS[1]:
            yield name, trace


def trace_link(draw: Draw, label: str, name: str, trace: Trace) -> Link:
    """Return a link that plays a recorded trace."""
    rtt_ms = draw.log(30, 100)
    return Link(label, rtt_ms / 2, trace=name, queue=bdp_queue(trace.mean_bps / 1e6, rtt_ms, 3.0))


def make_recorded(draw: Draw, folder: Path | None) -> list[Case]:
    """Return recorded traces beside a WiFi, every other one beside another trace; nothing without a folder."""
    if folder is None:
        return []
    cases = []
    traces = iter(readable_traces(folder, draw.shuffled(list_trace_files(folder))))
    for number in range(1, TRACES_COUNT + 1):
        first = next(traces, None)
        if first is None:
            break
        links = [trace_link(draw, "trace", *first)]
        second = next(traces, None) if number % 2 == 0 else None
        rate, rtt_ms = draw.log(4, 20), draw.log(10, 40)
        links.append(make_link("wifi", rate, rtt_ms) if second is None else trace_link(draw, "trace2", *second))
        case = make_case(
            f"recorded-{number:02d}",
            links,
            [flow_over(links)],
            duration=TRACE_DURATION_S,
            tags=("trace", "wireless"),
        )
        cases.append(case)
    return cases
