# SPDX-License-Identifier: BSD-2-Clause
"""The scenario format as one table: every key with its type, range, unit, default and meaning.

`check_table` holds a parsed TOML table against it and `schema_markdown` prints it for docs/scenarios.md; nothing else
lists the keys. What one key cannot tell (identifiers, references, order in time) is checked in `ccdrl.envs.scenario`.
"""

import difflib
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ccdrl.bindings.errors import InputError
from ccdrl.bindings.library import CC_IDS, PATH_LINKS_MAX, QUEUE_IDS, SCHEDULER_IDS, SUBFLOWS_MAX

CONTROLLERS = tuple(name for name in CC_IDS if name != "fixed")
"""The congestion controllers that a flow or a command line may name; the fixed window is an instrument of tests."""
UNDER_TEST = "@"
"""Stands in a flow's `cc` for the controller under test."""
STRING_MAX = 200


@dataclass(frozen=True, slots=True)
class Span:
    """The values that a number may take, both ends included."""

    low: float
    high: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of one table.

    kind is "string", "number", "integer", "boolean", "table", "tables" (one or more), "numbers" or "paths" (lists of
    lists of strings); table names the schema of a subtable; only lists the values of the table's own `kind` that take
    the key, all where it is empty. A key with default None may be left out unless it is required.
    """

    name: str
    kind: str
    doc: str
    span: Span | None = None
    default: str | float | bool | None = None
    required: bool = False
    choices: tuple[str, ...] = ()
    table: str = ""
    only: tuple[str, ...] = ()


_RATE = Span(0.001, 1e5, "Mbit/s")
_DELAY = Span(0, 1e4, "ms")
_TIME = Span(0, 86400, "s")
_PROBABILITY = Span(0, 1)
_BYTES = Span(1, 1e12, "bytes")
_RED, _AQM = ("red",), ("codel", "pie")
_BERNOULLI, _GILBERT = ("bernoulli",), ("gilbert-elliott",)

# fmt: off
SCHEMA: Mapping[str, tuple[Key, ...]] = {
    "scenario": (
        Key("name", "string", "Name in tables and reports; the file's stem where left out."),
        Key("summary", "string", "One line for `compare.py --list`.", default=""),
        Key("duration_s", "number", "Simulated time.", Span(0.001, 86400, "s"), required=True),
        Key("warmup_s", "number", "Left out of the averages; below duration_s.", _TIME, default=0.0),
        Key("mss", "integer", "Payload of a full segment; on the wire 52 more.", Span(64, 9000, "bytes"), default=1448),
        Key("links", "tables", "The links.", required=True, table="links"),
        Key("flows", "tables", "The flows.", required=True, table="flows"),
        Key("events", "tables", "Changes of links at given times.", table="events"),
    ),
    "links": (
        Key("id", "string", "Name, unique among the links.", required=True),
        Key("rate_mbps", "number", "Capacity in wire bits. Exactly one of rate_mbps, trace and generator.", _RATE),
        Key("trace", "string", "Capacity from a file below the folder of `--traces`."),
        Key("generator", "table", "Capacity from a generated trace as long as the scenario.", table="generator"),
        Key("delay_ms", "number", "One-way propagation delay.", _DELAY, required=True),
        Key("jitter_ms", "number", "Uniform extra delay from 0 to this; packets keep order.", _DELAY, default=0.0),
        Key("queue", "table", "Drop-tail of 1 BDP where left out.", table="queue"),
        Key("loss", "table", "Random loss on the wire; none where left out.", table="loss"),
    ),
    "generator": (
        Key("kind", "string", "LTE-like Markov-modulated rate, or delivery opportunities at exponential intervals.",
            required=True, choices=("lte", "poisson")),
        Key("mean_mbps", "number", "Mean capacity.", _RATE, required=True),
        Key("seed", "integer", "Same seed, same trace, whatever the run's seed.", Span(0, 2**32 - 1), default=1),
    ),
    "queue": (
        Key("kind", "string", "Queue discipline.", default="droptail", choices=tuple(QUEUE_IDS)),
        Key("bytes", "integer", "Limit in wire bytes, the packet in service included; at least one packet. At most one "
            "of bytes, packets and bdp; bdp = 1 where there is none.", _BYTES),
        Key("packets", "integer", "Limit in packets, the one in service included.", Span(1, 1e9, "packets")),
        Key("bdp", "number", "Limit in multiples of rate × 2 × delay_ms of this link (of a trace, its mean rate), at "
            "least one packet.", Span(0.001, 1000, "BDP")),
        Key("ecn", "boolean", "Mark instead of drop.", default=False, only=(*_RED, *_AQM)),
        Key("min_bytes", "number", "Average queue at which RED begins to drop; derived from the limit where left out.",
            _BYTES, only=_RED),
        Key("max_bytes", "number", "Average queue at which RED reaches max_p; goes with min_bytes.", _BYTES, only=_RED),
        Key("max_p", "number", "RED's drop probability at max_bytes; 0.1 where left out.", Span(1e-6, 1), only=_RED),
        Key("target_ms", "number", "Target delay; 5 (CoDel) or 15 (PIE) where left out.",
            Span(0.01, 1e4, "ms"), only=_AQM),
        Key("interval_ms", "number", "CoDel's interval or PIE's T_UPDATE; 100 or 15 where left out.",
            Span(0.01, 1e4, "ms"), only=_AQM),
    ),
    "loss": (
        Key("kind", "string", "Independent losses, or a two-state Markov chain stepped once a packet.", required=True,
            choices=("bernoulli", "gilbert-elliott")),
        Key("p", "number", "Loss probability.", _PROBABILITY, required=True, only=_BERNOULLI),
        Key("good_to_bad", "number", "Transition probability a packet.", _PROBABILITY, required=True, only=_GILBERT),
        Key("bad_to_good", "number", "Transition probability a packet.", _PROBABILITY, required=True, only=_GILBERT),
        Key("loss_good", "number", "Loss probability in the good state.", _PROBABILITY, default=0.0, only=_GILBERT),
        Key("loss_bad", "number", "Loss probability in the bad state.", _PROBABILITY, default=1.0, only=_GILBERT),
    ),
    "flows": (
        Key("id", "string", "Name, unique among the flows.", required=True),
        Key("cc", "string", "Congestion controller; `@` is the one under test.", required=True,
            choices=(*CONTROLLERS, UNDER_TEST)),
        Key("paths", "paths", "For each subflow the ids of its links, sender to receiver. ACKs return after the same "
            "delays, uncongested.", required=True),
        Key("path_delay_ms", "numbers", "Extra one-way delay of each path, both directions; as many as paths.", _DELAY),
        Key("scheduler", "string", "Packet scheduler.", default="minrtt", choices=tuple(SCHEDULER_IDS)),
        Key("count", "integer", "So many equal flows, `id/0` to `id/N-1`.", Span(1, 10000), default=1),
        Key("start_s", "number", "Start; each run adds an offset below the first path's propagation RTT.", _TIME,
            default=0.0),
        Key("stop_s", "number", "The sender falls silent; never where left out.", _TIME),
        Key("size_bytes", "integer", "A finite transfer; unlimited where left out.", _BYTES),
        Key("rwnd_bytes", "integer", "Receive buffer of the connection, at least mss; 1 GiB where left out.", _BYTES),
        Key("app_rate_mbps", "number", "Payload that the application writes; unlimited where left out.", _RATE),
        Key("ack_segments", "integer", "The receiver ACKs every so many segments in order (RFC 5681: 2).", Span(1, 64),
            default=2),
    ),
    "events": (
        Key("at_s", "number", "Time; not after duration_s.", _TIME, required=True),
        Key("link", "string", "Id of the link that changes.", required=True),
        Key("down", "boolean", "`true`: the link loses everything; `false`: it is back. An event has one or more of "
            "down, rate_mbps, delay_ms and loss."),
        Key("rate_mbps", "number", "New capacity of a link that has rate_mbps.", _RATE),
        Key("delay_ms", "number", "New one-way propagation delay.", _DELAY),
        Key("loss", "table", "New loss process; `{ kind = \"bernoulli\", p = 0 }` ends it.", table="loss"),
    ),
}
# fmt: on

_ACCEPTED = {
    "string": f"a string of 1 to {STRING_MAX} printable characters",
    "number": "a number",
    "integer": "an integer",
    "boolean": "true or false",
    "numbers": "a list of numbers, each",
    "paths": f"a list of 1 to {SUBFLOWS_MAX} lists of 1 to {PATH_LINKS_MAX} link ids",
}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def one_line(text: str) -> str:
    """Return text with control characters and line separators escaped, so that a message stays one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def show(value: object) -> str:
    """Return value as a short piece of a message, in TOML's spelling where that differs from Python's."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{_SHORT.repr(value)[1:-1]}"'
    try:
        return _SHORT.repr(value)
    except ValueError:  # an integer beyond Python's limit for decimal conversion
        return "a huge integer"


def fail(file: str, where: str, value: object, accepted: str) -> InputError:
    """Return the error for one value: file, key, value and what is accepted, in one line."""
    return InputError(one_line(f"{file}: {where} = {show(value)}: {accepted}"))


def nearest(name: str, names: tuple[str, ...]) -> str:
    """Return a hint "; did you mean …?" for a misspelt name, empty where none is near."""
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def key_range(key: Key) -> str:
    """Return in words what a key accepts."""
    if key.choices:
        return "one of " + ", ".join(key.choices)
    if key.kind == "table":
        return f"a table ({key.table})"
    if key.kind == "tables":
        return f"one or more [[{key.table}]] tables"
    text = _ACCEPTED[key.kind]
    if key.span is None:
        return text
    return f"{text} from {_plain(key.span.low)} to {_plain(key.span.high)} {key.span.unit}".rstrip()


def _plain(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e12 else f"{value:g}"


def check_table(raw: object, table: str, file: str, where: str = "") -> dict[str, object]:
    """Return the values of one table, defaults filled in and subtables checked too.

    raw is what TOML held, table a name in SCHEMA; file and where say in messages what it was. Numbers come back as
    float, integers as int, lists as tuples, subtables as dicts, keys that are left out as None. Raises InputError.
    """
    if not isinstance(raw, dict):
        raise fail(file, where or table, raw, f"accepted: a table ({table})")
    prefix = f"{where}." if where else ""
    keys = {key.name: key for key in SCHEMA[table]}
    for name, value in raw.items():
        if name not in keys:
            hint = nearest(name, tuple(keys))
            raise fail(file, prefix + name, value, f"unknown key{hint}; accepted: {', '.join(keys)}")
    checked: dict[str, object] = {}
    for key in keys.values():
        path = prefix + key.name
        applies = not key.only or checked["kind"] in key.only
        if key.name not in raw:
            if key.required and applies:
                raise InputError(one_line(f"{file}: {path} is missing: accepted: {key_range(key)}"))
            checked[key.name] = key.default
        elif applies:
            checked[key.name] = _check_value(raw[key.name], key, file, path)
        else:
            raise fail(file, path, raw[key.name], f"accepted only with kind = {' or '.join(key.only)}")
    return checked


def _check_value(value: object, key: Key, file: str, path: str) -> object:
    if key.kind == "table":
        return check_table(value, key.table, file, path)
    if key.kind == "tables" and isinstance(value, list) and value:
        return tuple(check_table(item, key.table, file, f"{path}[{i}]") for i, item in enumerate(value))
    if key.kind == "numbers" and isinstance(value, list):
        number = Key(key.name, "number", key.doc, key.span)
        return tuple(_check_value(item, number, file, f"{path}[{i}]") for i, item in enumerate(value))
    if key.kind in _CONVERT:
        result = _CONVERT[key.kind](value, key)
        if result is not None:
            return result
    hint = nearest(value, key.choices) if isinstance(value, str) else ""
    raise fail(file, path, value, f"accepted: {key_range(key)}{hint}")


def _string(value: object, key: Key) -> object:
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= STRING_MAX:
        return None
    return value if not key.choices or value in key.choices else None


def _boolean(value: object, _key: Key) -> object:
    return value if isinstance(value, bool) else None


def _number(value: object, key: Key) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float) or key.span is None:
        return None
    # the comparison is false for NaN, and exact for integers too large for a float
    return float(value) if key.span.low <= value <= key.span.high else None


def _integer(value: object, key: Key) -> object:
    return value if isinstance(value, int) and _number(value, key) is not None else None


def _paths(value: object, _key: Key) -> object:
    if not isinstance(value, list) or not 1 <= len(value) <= SUBFLOWS_MAX:
        return None
    for path in value:
        if not isinstance(path, list) or not 1 <= len(path) <= PATH_LINKS_MAX:
            return None
        if not all(isinstance(link, str) for link in path):
            return None
    return tuple(tuple(path) for path in value)


_CONVERT: Mapping[str, Callable[[object, Key], object]] = {
    "string": _string,
    "boolean": _boolean,
    "number": _number,
    "integer": _integer,
    "paths": _paths,
}
_TITLES = {
    "scenario": "Top level",
    "links": "`[[links]]`",
    "generator": "`generator` of a link",
    "queue": "`queue` of a link",
    "loss": "`loss` of a link or an event",
    "flows": "`[[flows]]`",
    "events": "`[[events]]`",
}


def schema_markdown() -> str:
    """Return the reference tables of docs/scenarios.md."""
    lines: list[str] = []
    for table, keys in SCHEMA.items():
        lines += [f"### {_TITLES[table]}", "", "| key | accepted | default | meaning |", "|---|---|---|---|"]
        for key in keys:
            default = "required" if key.required else "–" if key.default is None else f"`{show(key.default)}`"
            only = f" Only {', '.join(key.only)}." if key.only else ""
            lines.append(f"| `{key.name}` | {key_range(key)} | {default} | {key.doc}{only} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"
