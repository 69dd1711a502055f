# SPDX-License-Identifier: BSD-2-Clause
"""What the verdicts of a suite are made of: runs, digest, transients and optimal references, and views of them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ccdrl.agent import results, statistics
from ccdrl.agent.contenders import is_agent
from ccdrl.agent.digest import Digest, Row
from ccdrl.agent.suite.catalogue import Suite
from ccdrl.agent.suite.draw import WIRE_BYTES, Case
from ccdrl.agent.suite.optimum import Optimum, buffer_s, loss_ratio
from ccdrl.agent.suite.transients import Figures
from ccdrl.bindings.library import HEADER_BYTES
from ccdrl.envs.scenario_schema import UNDER_TEST

REFERENCE = "lia"


@dataclass(frozen=True)
class Evidence:
    """All that a suite has measured; `figures` and `optima` may lack scenarios that have none."""

    suite: Suite
    digest: Digest
    runs: tuple[results.Run, ...]
    figures: Mapping[results.Key, Figures]
    optima: Mapping[str, Optimum | None]
    tested: Mapping[str, frozenset[str]]

    @cached_property
    def groups(self) -> dict[tuple[str, str], list[results.Run]]:
        """The runs of each scenario and contender, by seed."""
        found: dict[tuple[str, str], list[results.Run]] = {}
        for run in self.runs:
            found.setdefault((run["scenario"], run["cc"]), []).append(run)
        return {key: sorted(runs, key=lambda run: int(run["seed"])) for key, runs in found.items()}

    @property
    def contenders(self) -> tuple[str, ...]:
        """Labels of the contenders, in order."""
        return self.digest.contenders

    @property
    def judged(self) -> list[str]:
        """Whose verdicts count: the agents, or without any all contenders."""
        return [cc for cc in self.contenders if is_agent(cc)] or list(self.contenders)

    def runs_of(self, case: Case, cc: str) -> list[results.Run]:
        """Return a contender's runs of a case, by seed."""
        return self.groups.get((case.name, cc), [])

    def row(self, case: Case, cc: str) -> Row | None:
        """Return a contender's digest of a case."""
        return self.digest.rows.get((case.name, cc))

    def rows(self, cases: Iterable[Case], cc: str) -> list[Row]:
        """Return a contender's digests of these cases, those that have runs."""
        return [row for case in cases if (row := self.row(case, cc)) is not None]

    def figures_of(self, case: Case, cc: str) -> list[Figures]:
        """Return the transients of a contender's runs of a case."""
        keys = [results.run_key(run) for run in self.runs_of(case, cc)]
        return [self.figures[key] for key in keys if key in self.figures]

    def goodputs(self, case: Case, cc: str) -> dict[str, float]:
        """Return the mean goodput over the seeds of one connection of each flow, by the flow's id without /N."""
        runs = self.runs_of(case, cc)
        totals: dict[str, list[float]] = {}
        for run in runs:
            for flow in run["flows"]:
                totals.setdefault(flow_name(flow["id"]), []).append(flow["goodput_mbps"])
        return {name: math.fsum(values) / len(values) for name, values in totals.items()}

    def share(self, case: Case, cc: str) -> float | None:
        """Return the part of all goodput that the flows under test have."""
        row = self.row(case, cc)
        if row is None or row.goodput.mean is None or row.rivals.mean is None:
            return None
        return statistics.ratio(row.goodput.mean, row.goodput.mean + row.rivals.mean)

    def utilization(self, case: Case, cc: str) -> float | None:
        """Return goodput of the flows under test over what the links can carry of payload, random loss taken off.

        Where competitors share the links, of the max-min fair share instead.
        """
        row, optimum = self.row(case, cc), self.optima.get(case.name)
        if row is None or optimum is None:
            return None
        counts = {flow.id: flow.count for flow in case.scenario.flows}
        names = {flow_name(label) for label in self.tested[case.name]}
        wanted = math.fsum(optimum.max_min_mbps[name] * counts[name] for name in names)
        return statistics.ratio(row.goodput.mean, wanted)

    def link_use(self, case: Case, cc: str) -> float | None:
        """Return the mean utilisation of the links that the flows under test cross."""
        used = {link for flow in case.scenario.flows if flow.cc == UNDER_TEST for path in flow.paths for link in path}
        runs = self.runs_of(case, cc)
        return statistics.mean(link["utilization"] for run in runs for link in run["links"] if link["id"] in used)

    def distance(self, case: Case, cc: str) -> float | None:
        """Return how far the goodputs are from proportional fairness: sum |x - x*| over sum x*, all connections."""
        optimum, goodputs = self.optima.get(case.name), self.goodputs(case, cc)
        if optimum is None or not goodputs:
            return None
        wanted = optimum.proportional_mbps
        counts = {flow.id: flow.count for flow in case.scenario.flows}
        off = math.fsum(counts[name] * abs(goodputs[name] - rate) for name, rate in wanted.items())
        return statistics.ratio(off, math.fsum(counts[name] * rate for name, rate in wanted.items()))

    def buffer_share(self, case: Case, cc: str) -> float | None:
        """Return the p95 queueing delay over the buffer, mean over subflows and seeds; a packet's own time left out."""
        links = {link.id: link for link in case.scenario.links}
        flow = next(flow for flow in case.scenario.flows if flow.cc == UNDER_TEST)
        shares: list[float | None] = []
        for run in self.runs_of(case, cc):
            for subflow in run["flows"][0]["subflows"]:
                link = links[flow.paths[subflow["path"]][0]]
                rate = link.rate_mbps or 0.0
                room_s = buffer_s(link, rate, case.scenario.mss + HEADER_BYTES)
                if subflow["rtt_p95_ms"] is not None and room_s > 0:
                    wait_s = (subflow["rtt_p95_ms"] - 2 * link.delay_ms) / 1e3 - WIRE_BYTES * 8e-6 / rate
                    shares.append(max(wait_s, 0.0) / room_s)
        return statistics.mean(shares)

    def random_loss(self, case: Case) -> float:
        """Return the highest random loss of a case's links."""
        return max(loss_ratio(link.loss) for link in case.scenario.links)


def flow_name(label: str) -> str:
    """Return a flow's id in the scenario from its id in the results: `id/3` is one of `count` flows."""
    return label.split("/", maxsplit=1)[0]


def power(row: Row) -> float | None:
    """Return Kleinrock's power: goodput over p95 queueing delay, Mbit/s per ms."""
    return statistics.ratio(row.goodput.mean, row.delay.mean)


def list_figures(figures: Mapping[results.Key, Figures]) -> list[dict[str, Any]]:
    """Return the transients for the results file, in its order, runs without any left out."""
    names = ("scenario", "cc", "datapath", "seed")
    kept = [(key, figures[key]) for key in sorted(figures) if figures[key].recoveries or figures[key].starts]
    return [dict(zip(names, key, strict=True)) | one.to_json() for key, one in kept]


def figures_of(section: Mapping[str, Any]) -> dict[results.Key, Figures]:
    """Return the transients of a results file's suite section. Raises KeyError, TypeError or ValueError."""
    found: dict[results.Key, Figures] = {}
    for item in section["figures"]:
        key = (str(item["scenario"]), str(item["cc"]), str(item["datapath"]), int(item["seed"]))
        found[key] = Figures.from_json(item)
    return found


def count_share(values: Sequence[float | None], low: float, high: float = math.inf) -> float | None:
    """Return which part of the values that exist lies within [low, high]."""
    kept = statistics.present(values)
    return sum(low <= value <= high for value in kept) / len(kept) if kept else None
