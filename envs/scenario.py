# SPDX-License-Identifier: BSD-2-Clause
"""Scenarios: a network, its flows and what happens to it, read from TOML (docs/scenarios.md).

`load_scenario` takes the name of a shipped scenario or a file, and returns a `Scenario` without contradictions; every
fault is an InputError of one line that names file, key, value and what is accepted. Trace files are opened later, by
`ccdrl.envs.network.build_network`.
"""

import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccdrl.bindings.errors import InputError
from ccdrl.bindings.library import HEADER_BYTES
from ccdrl.envs.scenario_schema import check_table, fail, nearest, one_line

SCENARIO_FOLDER = Path(__file__).parent / "scenarios"
FILE_BYTES_MAX = 4 << 20
"""A scenario file is a page of text; a larger one is something else."""
FLOWS_MAX = 10000
"""Flows of a scenario, `count` included."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Random loss: kind "bernoulli" uses p, "gilbert-elliott" the other four (probabilities for each packet)."""

    kind: str
    p: float | None = None
    good_to_bad: float | None = None
    bad_to_good: float | None = None
    loss_good: float = 0.0
    loss_bad: float = 1.0


@dataclass(frozen=True, slots=True)
class Queue:
    """Queue of a link: discipline, exactly one limit (`bytes`, `packets` or `bdp`), and the discipline's parameters."""

    kind: str = "droptail"
    bytes: int | None = None
    packets: int | None = None
    bdp: float | None = None
    ecn: bool = False
    min_bytes: float | None = None
    max_bytes: float | None = None
    max_p: float | None = None
    target_ms: float | None = None
    interval_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Generator:
    """A generated capacity trace: kind "lte" or "poisson", its mean in Mbit/s and its own seed."""

    kind: str
    mean_mbps: float
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Link:
    """One link; exactly one of rate_mbps, trace and generator is not None. delay_ms is one way."""

    id: str
    delay_ms: float
    rate_mbps: float | None = None
    trace: str | None = None
    generator: Generator | None = None
    jitter_ms: float = 0.0
    queue: Queue = Queue(bdp=1.0)
    loss: Loss | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """`count` equal connections; paths holds one tuple of link ids for each subflow, cc "@" is the one under test."""

    id: str
    cc: str
    paths: tuple[tuple[str, ...], ...]
    path_delay_ms: tuple[float, ...]
    scheduler: str = "minrtt"
    count: int = 1
    start_s: float = 0.0
    stop_s: float | None = None
    size_bytes: int | None = None
    rwnd_bytes: int | None = None
    app_rate_mbps: float | None = None
    ack_segments: int = 2


@dataclass(frozen=True, slots=True)
class Event:
    """A change of one link; what is None stays as it is. down False brings the link back."""

    at_s: float
    link: str
    down: bool | None = None
    rate_mbps: float | None = None
    delay_ms: float | None = None
    loss: Loss | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A checked scenario; mss is the payload of a full segment in bytes, source the file it came from."""

    name: str
    summary: str
    duration_s: float
    warmup_s: float
    mss: int
    links: tuple[Link, ...]
    flows: tuple[Flow, ...]
    events: tuple[Event, ...]
    source: str

    @property
    def needs_traces(self) -> bool:
        """Whether a link's capacity comes from a file below the folder of --traces."""
        return any(link.trace is not None for link in self.links)


def shipped_scenarios() -> list[Scenario]:
    """Return the scenarios that come with ccdrl, ordered by name."""
    return [load_scenario(SCENARIO_FOLDER / f"{name}.toml") for name in shipped_names()]


def shipped_names() -> tuple[str, ...]:
    """Return the names of the scenarios that come with ccdrl, in order; no file is read."""
    return tuple(sorted(path.stem for path in SCENARIO_FOLDER.glob("*.toml")))


def load_scenario(name_or_path: str | Path) -> Scenario:
    """Return the shipped scenario of this name, or the one in this file. Raises InputError."""
    text = str(name_or_path)
    is_name = isinstance(name_or_path, str) and not text.endswith(".toml") and "/" not in text and "\\" not in text
    if not is_name:
        return parse_scenario(_read_text(Path(text)), text)
    names = shipped_names()
    if text in names:
        path = SCENARIO_FOLDER / f"{text}.toml"
        return parse_scenario(_read_text(path), str(path))
    accepted = "accepted: a .toml file, or a name of compare.py --list"
    raise InputError(one_line(f"{text}: no such scenario{nearest(text, names)}; {accepted}"))


def parse_scenario(text: str, source: str) -> Scenario:
    """Return the scenario that TOML text describes; source is the file's name in messages. Raises InputError."""
    try:
        raw = tomllib.loads(text)
    except RecursionError:
        raise InputError(one_line(f"{source}: nested too deeply; accepted: a TOML file")) from None
    except ValueError as error:  # TOMLDecodeError, and numbers or dates that Python cannot hold
        raise InputError(one_line(f"{source}: not valid TOML: {error}; accepted: a TOML file")) from None
    values: dict[str, Any] = check_table(raw, "scenario", source)
    scenario = Scenario(
        name=values["name"] or Path(source).stem,
        summary=values["summary"],
        duration_s=values["duration_s"],
        warmup_s=values["warmup_s"],
        mss=values["mss"],
        links=tuple(_link(link) for link in values["links"]),
        flows=tuple(_flow(flow) for flow in values["flows"]),
        events=tuple(_event(event) for event in values["events"] or ()),
        source=source,
    )
    _check_links(scenario)
    _check_flows(scenario)
    _check_events(scenario)
    return scenario


def _read_text(path: Path) -> str:
    """Return the text of a scenario file. Raises InputError for what cannot be one."""
    accepted = "accepted: a TOML file"
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(one_line(f"{path}: not a regular file: {accepted}"))
        if status.st_size > FILE_BYTES_MAX:
            raise InputError(one_line(f"{path}: {status.st_size} bytes: accepted: at most {FILE_BYTES_MAX} bytes"))
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(one_line(f"{path}: byte {error.start}: not UTF-8: accepted: a TOML file in UTF-8")) from None
    except OSError as error:
        raise InputError(one_line(f"{path}: {error.strerror or error}: {accepted}")) from None
    except InputError:
        raise
    except ValueError as error:  # a NUL in the name
        raise InputError(one_line(f"{path}: {error}: {accepted}")) from None


def _loss(values: dict[str, Any] | None) -> Loss | None:
    return None if values is None else Loss(**{key: value for key, value in values.items() if value is not None})


def _link(values: dict[str, Any]) -> Link:
    queue = Queue(**(values["queue"] or {}))
    if queue.bytes is None and queue.packets is None and queue.bdp is None:
        queue = Queue(**{**(values["queue"] or {}), "bdp": 1.0})
    generator = None if values["generator"] is None else Generator(**values["generator"])
    return Link(**{**values, "queue": queue, "generator": generator, "loss": _loss(values["loss"])})


def _flow(values: dict[str, Any]) -> Flow:
    delays = values["path_delay_ms"]
    return Flow(**{**values, "path_delay_ms": (0.0,) * len(values["paths"]) if delays is None else delays})


def _event(values: dict[str, Any]) -> Event:
    return Event(**{**values, "loss": _loss(values["loss"])})


def _check_links(scenario: Scenario) -> None:
    file, seen = scenario.source, set[str]()
    if scenario.warmup_s >= scenario.duration_s:
        raise fail(file, "warmup_s", scenario.warmup_s, f"accepted: below duration_s = {scenario.duration_s:g}")
    for i, link in enumerate(scenario.links):
        where = f"links[{i}]"
        if link.id in seen:
            raise fail(file, f"{where}.id", link.id, "duplicate; accepted: an id that no other link has")
        seen.add(link.id)
        given = [key for key in ("rate_mbps", "trace", "generator") if getattr(link, key) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "no capacity"
            accepted = "accepted: exactly one of rate_mbps, trace and generator"
            raise InputError(one_line(f"{file}: {where} ({link.id}) has {found}: {accepted}"))
        if link.trace is not None and (link.trace.startswith(("/", "\\")) or ".." in Path(link.trace).parts):
            raise fail(file, f"{where}.trace", link.trace, "accepted: a path below the folder of --traces, without ..")
        _check_queue(link.queue, scenario.mss + HEADER_BYTES, file, f"{where}.queue")


def _check_queue(queue: Queue, packet_bytes: int, file: str, where: str) -> None:
    limits = [key for key in ("bytes", "packets", "bdp") if getattr(queue, key) is not None]
    if len(limits) > 1:
        raise fail(file, f"{where}.{limits[1]}", getattr(queue, limits[1]), f"accepted: not together with {limits[0]}")
    if queue.bytes is not None and queue.bytes < packet_bytes:
        raise fail(file, f"{where}.bytes", queue.bytes, f"accepted: at least one packet ({packet_bytes} bytes)")
    if queue.min_bytes is not None and queue.max_bytes is not None and queue.min_bytes >= queue.max_bytes:
        raise fail(file, f"{where}.min_bytes", queue.min_bytes, f"accepted: below max_bytes = {queue.max_bytes:g}")
    if (queue.min_bytes is None) != (queue.max_bytes is None):
        key = "min_bytes" if queue.max_bytes is None else "max_bytes"
        accepted = "accepted: min_bytes and max_bytes together, or neither"
        raise fail(file, f"{where}.{key}", getattr(queue, key), accepted)


def _check_flows(scenario: Scenario) -> None:
    file, seen = scenario.source, set[str]()
    links = frozenset(link.id for link in scenario.links)
    for i, flow in enumerate(scenario.flows):
        where = f"flows[{i}]"
        ids = {flow.id} if flow.count == 1 else {f"{flow.id}/{n}" for n in range(flow.count)}
        if seen & ids:
            raise fail(file, f"{where}.id", flow.id, "duplicate; accepted: an id that no other flow has")
        seen |= ids
        if len(seen) > FLOWS_MAX:
            raise fail(file, f"{where}.count", flow.count, f"accepted: at most {FLOWS_MAX} flows in all")
        _check_paths(flow, links, scenario, where)
        if flow.start_s >= scenario.duration_s:
            raise fail(file, f"{where}.start_s", flow.start_s, f"accepted: below duration_s = {scenario.duration_s:g}")
        if flow.stop_s is not None and flow.stop_s <= flow.start_s:
            raise fail(file, f"{where}.stop_s", flow.stop_s, f"accepted: above start_s = {flow.start_s:g}")
        if flow.rwnd_bytes is not None and flow.rwnd_bytes < scenario.mss:
            raise fail(file, f"{where}.rwnd_bytes", flow.rwnd_bytes, f"accepted: at least mss = {scenario.mss}")


def _check_paths(flow: Flow, links: frozenset[str], scenario: Scenario, where: str) -> None:
    for i, path in enumerate(flow.paths):
        for j, link in enumerate(path):
            at = f"{where}.paths[{i}][{j}]"
            if link not in links:
                raise _unknown_link(scenario, at, link)
            if link in path[:j]:
                raise fail(scenario.source, at, link, "accepted: each link once in a path")
    if len(flow.path_delay_ms) != len(flow.paths):
        accepted = f"accepted: {len(flow.paths)} numbers, as many as paths"
        raise fail(scenario.source, f"{where}.path_delay_ms", list(flow.path_delay_ms), accepted)


def _check_events(scenario: Scenario) -> None:
    file = scenario.source
    links = {link.id: link for link in scenario.links}
    for i, event in enumerate(scenario.events):
        where = f"events[{i}]"
        if event.link not in links:
            raise _unknown_link(scenario, f"{where}.link", event.link)
        if event.at_s > scenario.duration_s:
            raise fail(file, f"{where}.at_s", event.at_s, f"accepted: 0 to duration_s = {scenario.duration_s:g}")
        if event.down is None and event.rate_mbps is None and event.delay_ms is None and event.loss is None:
            accepted = "changes nothing; accepted: one or more of down, rate_mbps, delay_ms and loss"
            raise fail(file, f"{where}.at_s", event.at_s, accepted)
        if event.rate_mbps is not None and links[event.link].rate_mbps is None:
            accepted = f"accepted: only for a link with rate_mbps; {event.link} has a trace"
            raise fail(file, f"{where}.rate_mbps", event.rate_mbps, accepted)


def _unknown_link(scenario: Scenario, where: str, name: str) -> InputError:
    links = tuple(link.id for link in scenario.links)
    shown = ", ".join(links[:10]) + (", …" if len(links) > 10 else "")
    return fail(scenario.source, where, name, f"unknown link{nearest(name, links)}; accepted: {shown}")
