# SPDX-License-Identifier: BSD-2-Clause
"""What the daemon counts, and the text that Prometheus reads (exposition format 0.0.4).

Written here because the counters already exist elsewhere as plain integers (guard, controller, datapath): they are
collected when somebody asks, and a decision pays for three short calls to histograms only. A client library would bring
its own counters with locks, and a second copy of every figure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ccdrl.agent.daemon.connections import Connection
from ccdrl.bindings.datapath import Counters
from ccdrl.bindings.decision.tally import Tally
from ccdrl.bindings.library import ActionResult

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "ccdrl_"
DECISION_BOUNDS_S = (0.0001, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1)
AGE_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
LATE_BOUNDS_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0)
RESULTS = tuple(result.name.lower() for result in ActionResult)


class Histogram(Tally):
    """Counts by upper bounds; the last count is of what is above all of them."""

    def quantile(self, share: float) -> float:
        """Return an upper bound of the quantile, infinite above the last bound, 0 without values."""
        counts = self.counts
        wanted, seen = share * sum(counts), 0
        if wanted == 0:
            return 0.0
        for count, bound in zip(counts, (*self.bounds, float("inf")), strict=True):
            seen += count
            if seen >= wanted:
                return bound
        return float("inf")


@dataclass
class Metrics:
    """Counters that live nowhere else. Times in seconds."""

    started_s: float = 0.0
    """Unix time of the start."""
    ticks: int = 0
    ticks_skipped: int = 0
    decision: Histogram = field(default_factory=lambda: Histogram(DECISION_BOUNDS_S))
    """From reading samples to windows written, where something was decided."""
    age: Histogram = field(default_factory=lambda: Histogram(AGE_BOUNDS_S))
    """Of the newest record at the decision."""
    lateness: Histogram = field(default_factory=lambda: Histogram(LATE_BOUNDS_S))
    """Of the loop's turns."""
    results: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RESULTS, 0))
    """What became of the daemon's own actions."""
    results_unknown: int = 0
    """Results that the datapath's interface does not have."""
    write_refusals: int = 0
    reloads: int = 0
    reload_failures: int = 0

    def count_results(self, results: NDArray[np.int32]) -> None:
        """Count what became of written actions."""
        # As nearly always; of bytes, because numpy's own reductions take several times as long with cold caches.
        if not results.tobytes().strip(b"\0"):
            self.results[RESULTS[0]] += len(results)
            return
        counts = np.bincount(np.clip(results, -1, len(RESULTS)) + 1, minlength=len(RESULTS) + 2).tolist()
        for name, count in zip(RESULTS, counts[1:], strict=False):
            self.results[name] += count
        self.results_unknown += counts[0] + counts[len(RESULTS) + 1]


@dataclass(frozen=True)
class Snapshot:
    """Figures of the moment, gathered from the loop's parts when the metrics are read."""

    datapath: str
    policy: str
    is_shadow: bool
    decisions: int
    n_subflows: int
    n_refused: int
    guard: dict[str, int]
    datapath_counters: Counters
    connections: Sequence[Connection]
    recorded_bytes: int | None = None


class _Page:
    """Lines of one exposition."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, name: str, kind: str, text: str, values: Iterable[tuple[str, float]]) -> None:
        """Add one family; values are (labels, number) pairs."""
        self.lines += [f"# HELP {PREFIX}{name} {text}", f"# TYPE {PREFIX}{name} {kind}"]
        self.lines += [f"{PREFIX}{name}{labels} {format_number(value)}" for labels, value in values]

    def add_one(self, name: str, kind: str, text: str, value: float) -> None:
        """Add a family of one number."""
        self.add(name, kind, text, [("", value)])

    def add_histogram(self, name: str, text: str, histogram: Histogram) -> None:
        """Add a histogram: cumulative buckets, sum and count."""
        self.lines += [f"# HELP {PREFIX}{name} {text}", f"# TYPE {PREFIX}{name} histogram"]
        seen = 0
        for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
            seen += count
            self.lines.append(f'{PREFIX}{name}_bucket{{le="{format_number(bound)}"}} {seen}')
        self.lines.append(f"{PREFIX}{name}_sum {format_number(histogram.total)}")
        self.lines.append(f"{PREFIX}{name}_count {seen}")


def format_number(value: float) -> str:
    """Return a number as Prometheus writes it."""
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))


def escape_label(text: str) -> str:
    """Return a label's value with backslash, quote and line feed escaped."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def format_labels(**labels: str) -> str:
    """Return {name="value",…}."""
    return "{" + ",".join(f'{name}="{escape_label(value)}"' for name, value in labels.items()) + "}"


def render(metrics: Metrics, now: Snapshot, n_connections: int) -> str:
    """Return the page; connections beyond the `n_connections` with the highest goodput are summed as "other"."""
    page = _Page()
    information = format_labels(datapath=now.datapath, policy=now.policy, shadow=str(now.is_shadow).lower())
    page.add("info", "gauge", "What runs: datapath, checksum of the policy, shadow mode.", [(information, 1)])
    page.add_one("start_time_seconds", "gauge", "Unix time of the start.", metrics.started_s)
    page.add_one("ticks_total", "counter", "Turns of the loop.", metrics.ticks)
    page.add_one(
        "ticks_skipped_total", "counter", "Turns left out because the one before was late.", metrics.ticks_skipped
    )
    page.add_histogram("tick_lateness_seconds", "How late the loop's turns began.", metrics.lateness)
    page.add_one("decisions_total", "counter", "Decisions, one for each subflow and monitor interval.", now.decisions)
    page.add_histogram("decision_seconds", "From reading samples to windows written.", metrics.decision)
    page.add_histogram("sample_age_seconds", "Age of the record that a decision answers.", metrics.age)
    results = [(format_labels(result=name), float(count)) for name, count in metrics.results.items()]
    page.add("actions_total", "counter", "What became of this daemon's cwnd actions.", results)
    page.add_one(
        "action_results_unknown_total", "counter", "Results that the interface does not have.", metrics.results_unknown
    )
    page.add_one(
        "write_refusals_total", "counter", "Writes that the datapath refused: no privilege.", metrics.write_refusals
    )
    guard = [(format_labels(check=name), float(count)) for name, count in now.guard.items()]
    page.add("guard_total", "counter", "What the guard saw and refused.", guard)
    page.add_one("reloads_total", "counter", "Models taken into service by SIGHUP.", metrics.reloads)
    page.add_one("reload_failures_total", "counter", "Models refused at SIGHUP.", metrics.reload_failures)
    counters = [
        (format_labels(result=name), float(getattr(now.datapath_counters, name)))
        for name in ("applied", "clamped", "stale", "unknown", "malformed")
    ]
    page.add("datapath_actions_total", "counter", "What the datapath counted, of all its agents.", counters)
    expired = now.datapath_counters.expired
    page.add_one("fallbacks_total", "counter", "Leases that ran out: hand-overs to the fallback.", expired)
    page.add_one("subflows", "gauge", "Subflows that the agent decides for.", now.n_subflows)
    in_fallback = sum(connection.n_fallback for connection in now.connections)
    page.add_one("subflows_in_fallback", "gauge", "Of these, without a lease at their newest record.", in_fallback)
    page.add_one("records_refused_total", "counter", "Records of subflows beyond --max-subflows.", now.n_refused)
    if now.recorded_bytes is not None:
        page.add_one("recorded_bytes_total", "counter", "Bytes written by --record.", now.recorded_bytes)
    _render_connections(page, now.connections, n_connections)
    return "\n".join(page.lines) + "\n"


def _render_connections(page: _Page, connections: Sequence[Connection], n_connections: int) -> None:
    page.add_one("connections", "gauge", "Connections that the agent decides for.", len(connections))
    named = [(format_labels(connection=name_connection(each)), each) for each in connections[:n_connections]]
    other = sum(each.goodput_bytes_per_s for each in connections[n_connections:])
    goodput = [(labels, each.goodput_bytes_per_s) for labels, each in named]
    goodput.append((format_labels(connection="other"), other))
    page.add("connection_goodput_bytes_per_second", "gauge", "Payload bytes acknowledged, over a second.", goodput)
    for name, pick, text in (("lowest", min, "Lowest"), ("highest", max, "Highest")):
        values = [(labels, pick(each.srtt_us) * 1e-6) for labels, each in named]
        page.add(f"connection_srtt_{name}_seconds", "gauge", f"{text} smoothed RTT of the live subflows.", values)
    windows = [(labels, float(sum(each.cwnd_bytes))) for labels, each in named]
    page.add("connection_cwnd_bytes", "gauge", "Sum of the windows of the live subflows.", windows)


def name_connection(connection: Connection) -> str:
    """Return the connection's label: its MPTCP token, or the subflow of a plain TCP connection."""
    if connection.conn_id:
        return f"{connection.conn_id:#x}"
    return f"subflow-{connection.subflow_id:#x}"
