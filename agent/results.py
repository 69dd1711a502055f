# SPDX-License-Identifier: BSD-2-Clause
"""The results file of compare.py, schema ccdrl-compare/1: check, read, order, summarise and write it.

A document is {"schema", "version", "runs": [...], "summary": [...]}; docs/compare.md defines every key. Runs are plain
dicts, as in the file: None stands for a figure that has no sample, never NaN. Runs are ordered by scenario, cc and
seed, so that the file does not depend on how many processes made it.
"""

import json
import math
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ccdrl import __version__
from ccdrl.agent import statistics
from ccdrl.bindings.errors import InputError
from ccdrl.models.storage import replace_file

SCHEMA = "ccdrl-compare/1"

Run = dict[str, Any]
Document = dict[str, Any]
Key = tuple[str, str, str, int]

NUMBER = (int, float)
OPTIONAL_NUMBER = (int, float, type(None))
NUMBER_MAX = 2**64
"""No figure is larger, nor negative; beyond it are infinities, and integers that no float holds."""

SUBFLOW_FIELDS: dict[str, Any] = {
    "path": int,
    "throughput_mbps": NUMBER,
    "rtt_mean_ms": OPTIONAL_NUMBER,
    "rtt_p95_ms": OPTIONAL_NUMBER,
    "loss_ratio": OPTIONAL_NUMBER,
    "cwnd_mean_bytes": OPTIONAL_NUMBER,
}
FLOW_FIELDS: dict[str, Any] = {
    "id": str,
    "cc": str,
    "goodput_mbps": NUMBER,
    "completion_s": OPTIONAL_NUMBER,
    "rtt_mean_ms": OPTIONAL_NUMBER,
    "rtt_p95_ms": OPTIONAL_NUMBER,
    "queue_delay_mean_ms": OPTIONAL_NUMBER,
    "queue_delay_p95_ms": OPTIONAL_NUMBER,
    "retransmit_ratio": OPTIONAL_NUMBER,
    "subflows": [SUBFLOW_FIELDS],
}
LINK_FIELDS: dict[str, Any] = {
    "id": str,
    "utilization": OPTIONAL_NUMBER,
    "queue_mean_bytes": OPTIONAL_NUMBER,
    "drops": int,
}
RUN_FIELDS: dict[str, Any] = {
    "scenario": str,
    "cc": str,
    "datapath": str,
    "seed": int,
    "duration_s": NUMBER,
    "warmup_s": NUMBER,
    "wall_s": NUMBER,
    "packets": int,
    "flows": [FLOW_FIELDS],
    "links": [LINK_FIELDS],
    "jain": OPTIONAL_NUMBER,
}
ESTIMATE_FIELDS: dict[str, Any] = {"mean": OPTIONAL_NUMBER, "ci95": OPTIONAL_NUMBER}
SUMMARY_FIELDS: dict[str, Any] = {
    "scenario": str,
    "cc": str,
    "goodput_mbps": ESTIMATE_FIELDS,
    "queue_delay_p95_ms": ESTIMATE_FIELDS,
}
DOCUMENT_FIELDS: dict[str, Any] = {"schema": str, "version": str, "runs": [RUN_FIELDS], "summary": [SUMMARY_FIELDS]}


def run_key(run: Run) -> Key:
    """Return what identifies a run and orders the file: scenario, cc, datapath, seed."""
    return run["scenario"], run["cc"], run["datapath"], run["seed"]


def finite(value: float) -> float | None:
    """Return the number, None for NaN and infinities: JSON has neither."""
    return float(value) if math.isfinite(value) else None


def fault_in_leaf(value: Any, expected: Any, where: str) -> str | None:
    """Return what is wrong with a string, a number or null, None if nothing is."""
    kinds = expected if isinstance(expected, tuple) else (expected,)
    if isinstance(value, bool) or not isinstance(value, kinds):
        names = {int: "a whole number", float: "a number", str: "a string", type(None): "null"}
        return f"{where}: {value!r:.40}, accepted: {' or '.join(names[kind] for kind in kinds)}"
    if isinstance(value, int | float) and not 0 <= value <= NUMBER_MAX:
        return f"{where}: {value!r:.40}, accepted: 0 to {NUMBER_MAX:g}"
    return None


def fault_in(value: Any, expected: Any, where: str) -> str | None:
    """Return what is wrong with a value against its expected shape, None if nothing is."""
    if isinstance(expected, dict):
        if not isinstance(value, dict):
            return f"{where}: not an object"
        for name, kind in expected.items():
            if name not in value:
                return f"{where}: no {name!r}"
            if fault := fault_in(value[name], kind, f"{where}.{name}"):
                return fault
        return None
    if isinstance(expected, list):
        if not isinstance(value, list):
            return f"{where}: not a list"
        faults = (fault_in(item, expected[0], f"{where}[{index}]") for index, item in enumerate(value))
        return next((fault for fault in faults if fault), None)
    return fault_in_leaf(value, expected, where)


def refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python's JSON parser would let through."""
    raise ValueError(f"{name} is not JSON")


def read_results(path: Path) -> Document:
    """Return the checked document in a file. Raises InputError, one line, for anything that is not a results file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse_constant)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a results file: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else None
        raise InputError(f"{path}: schema {found!r:.40}, accepted: {SCHEMA!r}")
    if fault := fault_in(document, DOCUMENT_FIELDS, "results"):
        raise InputError(f"{path}: not a results file: {fault}")
    keys = [run_key(run) for run in document["runs"]]
    if len(set(keys)) != len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError(f"{path}: not a results file: the run {twice} is there more than once")
    return document


def merge_runs(*parts: Iterable[Run]) -> list[Run]:
    """Return the runs of all parts in the file's order; of two runs with one key the later part's stays."""
    merged = {run_key(run): run for part in parts for run in part}
    return [merged[key] for key in sorted(merged)]


def flows_under_test(run: Run, tested: frozenset[str]) -> list[dict[str, Any]]:
    """Return the flows of the controller under test; all flows where the scenario names none with cc = "@"."""
    return [flow for flow in run["flows"] if flow["id"] in tested] or list(run["flows"])


def rival_flows(run: Run, tested: frozenset[str]) -> list[dict[str, Any]]:
    """Return the flows that the controller under test competes with."""
    return [flow for flow in run["flows"] if tested and flow["id"] not in tested]


def total_goodput_mbps(flows: Iterable[dict[str, Any]]) -> float | None:
    """Return the sum of the flows' goodputs, None without flows."""
    goodputs = [flow["goodput_mbps"] for flow in flows]
    return math.fsum(goodputs) if goodputs else None


def mean_over_flows(flows: Iterable[dict[str, Any]], name: str) -> float | None:
    """Return the mean of one figure over the flows that have it."""
    return statistics.mean(flow[name] for flow in flows)


def summarize(runs: Iterable[Run], tested: Mapping[str, frozenset[str]]) -> list[dict[str, Any]]:
    """Return the summary of the scenarios in `tested` (scenario name to the ids of its flows with cc = "@").

    Over the seeds: mean and 95 % half width of the goodput, summed over the flows under test, and of the p95 queueing
    delay, averaged over them.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run["scenario"] in tested:
            groups.setdefault((run["scenario"], run["cc"]), []).append(run)
    rows = []
    for (scenario, cc), members in sorted(groups.items()):
        flows = [flows_under_test(run, tested[scenario]) for run in members]
        goodput = statistics.estimate(total_goodput_mbps(part) for part in flows)
        delay = statistics.estimate(mean_over_flows(part, "queue_delay_p95_ms") for part in flows)
        rows.append(
            {
                "scenario": scenario,
                "cc": cc,
                "goodput_mbps": {"mean": goodput.mean, "ci95": goodput.ci95},
                "queue_delay_p95_ms": {"mean": delay.mean, "ci95": delay.ci95},
            }
        )
    return rows


def make_document(
    runs: Iterable[Run], tested: Mapping[str, frozenset[str]], carried: Iterable[dict[str, Any]] = ()
) -> Document:
    """Return the document of these runs; `carried` are summary rows of an older file, kept where none is made anew."""
    ordered = merge_runs(runs)
    fresh = {(row["scenario"], row["cc"]): row for row in summarize(ordered, tested)}
    rows = {(row["scenario"], row["cc"]): row for row in carried} | fresh
    return {
        "schema": SCHEMA,
        "version": __version__,
        "runs": ordered,
        "summary": [rows[key] for key in sorted(rows)],
    }


def write_results(path: Path, document: Document) -> None:
    """Write a document atomically. Raises OSError."""
    replace_file(path, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())


def check_writable(path: Path, option: str) -> None:
    """Raise InputError where a file cannot be written, before hours of runs are lost to it."""
    if path.is_dir():
        raise InputError(f"{option}: {path} is a directory, accepted: a file")
    if path.exists() and not path.is_file():
        return
    try:
        with tempfile.NamedTemporaryFile(dir=path.resolve().parent, prefix=".ccdrl-"):
            pass
    except OSError as error:
        raise InputError(f"{option}: cannot write {path}: {error.strerror or error}") from error
