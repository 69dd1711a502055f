# SPDX-License-Identifier: BSD-2-Clause
"""Frozen dataclasses as settings: checked values from TOML and `key=value`, help text and saved file from one place.

A field's type is bool, int, float, str, tuple[int, ...], tuple[float, ...], tuple[str, ...] or another such dataclass
(its keys are then dotted: `env.duration_s`). `setting()` adds help and range; a dataclass may do without: then the
string below a field is its help, and __post_init__ checks by raising ValueError.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import itertools
import json
import math
import textwrap
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ccdrl.bindings.errors import InputError

CONFIG_MAX_BYTES = 1 << 20
Range = tuple[float, float]


def setting(default: Any, text: str, low: float | None = None, high: float | None = None) -> Any:
    """Return a dataclass field with a help text and, for numbers (or each number of a tuple), an inclusive range."""
    limits = (-math.inf if low is None else low, math.inf if high is None else high)
    return dataclasses.field(default=default, metadata={"help": text, "limits": limits})


@dataclasses.dataclass(frozen=True)
class Entry:
    """One leaf of a settings class: dotted key, type, default, help text, inclusive range."""

    key: str
    kind: Any
    default: Any
    text: str
    limits: Range


def list_entries(cls: type[Any], prefix: str = "") -> Iterator[Entry]:
    """Yield every leaf of a settings class in order."""
    kinds, texts = typing.get_type_hints(cls), attribute_texts(cls)
    for item in dataclasses.fields(cls):
        kind, key = kinds[item.name], prefix + item.name
        if dataclasses.is_dataclass(kind):
            yield from list_entries(typing.cast("type[Any]", kind), f"{key}.")
            continue
        factory = item.default_factory
        default = item.default if factory is dataclasses.MISSING else factory()
        limits = item.metadata.get("limits", (-math.inf, math.inf))
        text = item.metadata.get("help") or texts.get(item.name, "")
        yield Entry(key, kind, default, text, limits)


def attribute_texts(cls: type[Any]) -> dict[str, str]:
    """Return {attribute: the string literal below it} of a class; nothing where the source is not at hand."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    texts = {}
    for field, below in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            value = below.value.value if isinstance(below.value, ast.Constant) else None
            texts[field.target.id] = " ".join(value.split()) if isinstance(value, str) else ""
    return texts


def describe(cls: type[Any]) -> str:
    """Return one line per setting: key, default, help, range."""
    lines = []
    for entry in list_entries(cls):
        low, high = entry.limits
        limits = f" [{low:g} to {high:g}]" if math.isfinite(low) or math.isfinite(high) else ""
        lines.append(f"  {entry.key} = {format_value(entry.default)}\n      {entry.text}{limits}".rstrip())
    return "\n".join(lines)


def flatten(settings: Any) -> dict[str, Any]:
    """Return {dotted key: value}; tuples become lists, so that JSON and TOML hold the same."""
    flat: dict[str, Any] = {}
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        if dataclasses.is_dataclass(value):
            flat.update({f"{item.name}.{key}": inner for key, inner in flatten(value).items()})
        else:
            flat[item.name] = list(value) if isinstance(value, tuple) else value
    return flat


def to_toml(settings: Any) -> str:
    """Return a TOML text that `read_toml` and `build` turn into equal settings, with the help as comments."""
    lines = []
    texts = {entry.key: entry.text for entry in list_entries(type(settings))}
    for key, value in flatten(settings).items():
        lines += [f"# {texts[key]}"] if texts[key] else []
        lines.append(f"{key} = {format_value(value)}")
    return "\n".join(lines) + "\n"


def format_value(value: Any) -> str:
    """Return a TOML value."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def read_toml(path: Path) -> dict[str, Any]:
    """Return {dotted key: value} of a TOML file; InputError if it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(CONFIG_MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); a TOML file expected") from None
    if len(content) > CONFIG_MAX_BYTES:
        raise InputError(f"{path}: larger than {CONFIG_MAX_BYTES} bytes; a TOML file of settings expected")
    try:
        return dict(walk(tomllib.loads(content.decode())))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid TOML ({str(error).splitlines()[0]})") from None


def walk(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of nested tables."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from walk(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def parse_assignment(text: str) -> tuple[str, Any]:
    """Return key and value of `key=value`; the value is a TOML value, or else taken as a string."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key:
        raise InputError(f"--set '{text}': key=value expected, for example learning_rate=1e-4")
    try:
        parsed = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return key, value
    return key, parsed["value"] if len(parsed) == 1 else value


def build(cls: type[Any], values: Mapping[str, Any], where: str) -> Any:
    """Return an instance of `cls` with {dotted key: value} over its defaults.

    Unknown keys, wrong types and values out of range raise InputError that begins with `where`.
    """
    entries = {entry.key: entry for entry in list_entries(cls)}
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in entries:
            near = difflib.get_close_matches(key, entries, n=1, cutoff=0.0)
            raise InputError(f"{where}: unknown key '{key}'; the nearest one is '{near[0]}'")
        checked[key] = check_value(entries[key], value, where)
    return assemble(cls, checked, where)


def assemble(cls: type[Any], values: Mapping[str, Any], where: str, prefix: str = "") -> Any:
    """Instantiate `cls` and the settings classes in it."""
    kinds = typing.get_type_hints(cls)
    arguments: dict[str, Any] = {}
    for item in dataclasses.fields(cls):
        key = prefix + item.name
        if dataclasses.is_dataclass(kinds[item.name]):
            arguments[item.name] = assemble(typing.cast("type[Any]", kinds[item.name]), values, where, f"{key}.")
        elif key in values:
            arguments[item.name] = values[key]
    try:
        return cls(**arguments)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def check_value(entry: Entry, value: Any, where: str) -> Any:
    """Return `value` in the entry's type, or raise InputError."""
    origin, arguments = typing.get_origin(entry.kind), typing.get_args(entry.kind)
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise InputError(f"{where}: {entry.key}: a list expected, not {value!r}")
        kinds: Sequence[Any] = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) != len(value):
            raise InputError(f"{where}: {entry.key}: a list of {len(kinds)} expected, not {value!r}")
        return tuple(check_scalar(entry, kind, item, where) for kind, item in zip(kinds, value, strict=True))
    return check_scalar(entry, entry.kind, value, where)


def check_scalar(entry: Entry, kind: Any, value: Any, where: str) -> Any:
    """Return one bool, int, float or str in its type and range, or raise InputError."""
    words = {bool: "true or false", int: "an integer", float: "a finite number", str: "a string"}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 1 << 63 else math.inf
    is_right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not is_right or (isinstance(value, float) and not math.isfinite(value)):
        raise InputError(f"{where}: {entry.key}: {words[kind]} expected, not {value!r}")
    low, high = entry.limits
    if isinstance(value, int | float) and not low <= value <= high:
        raise InputError(f"{where}: {entry.key}: {value!r} is out of range; {low:g} to {high:g} accepted")
    return value
