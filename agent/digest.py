# SPDX-License-Identifier: BSD-2-Clause
"""Figures of a comparison as people read them: one row for each scenario and contender, averaged over the seeds.

The terminal table and the report show the same digest, so that they cannot disagree.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ccdrl.agent import results, statistics
from ccdrl.agent.contenders import COUPLINGS, is_agent
from ccdrl.agent.statistics import Estimate

REFERENCE = "lia"


@dataclass(frozen=True)
class Row:
    """One contender in one scenario.

    goodput: sum over the flows under test, Mbit/s. relative: its mean over the best mean of LIA, OLIA and BALIA;
    where the flows are finite transfers, the best mean completion over its own.
    delay: p95 queueing delay, mean over those flows, ms. rivals: sum of the other flows' goodputs. rivals_relative: its
    mean over what LIA leaves them. completion: finite transfers under test, s. points: (delay, goodput)
    of each seed, or (delay, completion) where is_finite: the scenario is judged by completion times.
    None, or an estimate without mean, where there is no such figure.
    """

    scenario: str
    cc: str
    seeds: int
    goodput: Estimate
    relative: float | None
    delay: Estimate
    delay_relative: float | None
    retransmit: Estimate
    jain: Estimate
    rivals: Estimate
    rivals_relative: float | None
    completion: Estimate
    points: tuple[tuple[float, float], ...]
    is_finite: bool = False


@dataclass(frozen=True)
class Digest:
    """All rows, in the order of the command line."""

    scenarios: tuple[str, ...]
    contenders: tuple[str, ...]
    rows: Mapping[tuple[str, str], Row]

    def of_scenario(self, scenario: str) -> list[Row]:
        """Return the rows of one scenario."""
        return [self.rows[scenario, cc] for cc in self.contenders if (scenario, cc) in self.rows]

    def of_contender(self, cc: str) -> list[Row]:
        """Return the rows of one contender."""
        return [self.rows[scenario, cc] for scenario in self.scenarios if (scenario, cc) in self.rows]


@dataclass(frozen=True)
class Loss:
    """One figure in which a contender is worse than its reference."""

    scenario: str
    cc: str
    figure: str
    unit: str
    value: Estimate
    reference: Estimate
    reference_name: str

    @property
    def change(self) -> float:
        """Relative change against the reference: -0.2 is a fifth less."""
        return (statistics.ratio(self.value.mean, self.reference.mean) or 0.0) - 1

    @property
    def is_significant(self) -> bool:
        """Whether the two confidence intervals are apart; never so with one seed."""
        value, reference = self.value, self.reference
        if value.mean is None or value.ci95 is None or reference.mean is None or reference.ci95 is None:
            return False
        return abs(value.mean - reference.mean) > value.ci95 + reference.ci95


def mean_completion_s(flows: Sequence[dict[str, Any]]) -> float | None:
    """Return the mean completion time, None unless every flow has come to its end: the slow ones would be missing."""
    times = [flow["completion_s"] for flow in flows]
    return None if None in times else statistics.mean(times)


def make_row(scenario: str, cc: str, runs: Sequence[results.Run], tested: frozenset[str]) -> Row:
    """Return a contender's row with the relative figures still missing."""
    flows = [results.flows_under_test(run, tested) for run in runs]
    goodputs = [results.total_goodput_mbps(part) for part in flows]
    delays = [results.mean_over_flows(part, "queue_delay_p95_ms") for part in flows]
    times = [mean_completion_s(part) for part in flows]
    is_finite = bool(times) and None not in times
    pairs = zip(delays, times if is_finite else goodputs, strict=True)
    return Row(
        scenario=scenario,
        cc=cc,
        seeds=len(runs),
        goodput=statistics.estimate(goodputs),
        relative=None,
        delay=statistics.estimate(delays),
        delay_relative=None,
        retransmit=statistics.estimate(results.mean_over_flows(part, "retransmit_ratio") for part in flows),
        jain=statistics.estimate(run["jain"] if len(run["flows"]) > 1 else None for run in runs),
        rivals=statistics.estimate(results.total_goodput_mbps(results.rival_flows(run, tested)) for run in runs),
        rivals_relative=None,
        completion=statistics.estimate(times) if is_finite else Estimate(None, None),
        points=tuple((delay, figure) for delay, figure in pairs if delay is not None and figure is not None),
        is_finite=is_finite,
    )


def best_coupling(rows: Sequence[Row]) -> Row | None:
    """Return the coupling of LIA, OLIA and BALIA with the highest mean goodput, or the lowest mean completion time."""
    known = [row for row in rows if row.cc in COUPLINGS and row.goodput.mean is not None]
    if all(row.is_finite for row in rows):
        return min(known, key=lambda row: row.completion.mean or 0.0, default=None)
    return max(known, key=lambda row: row.goodput.mean or 0.0, default=None)


def with_relatives(row: Row, rows: Sequence[Row]) -> Row:
    """Return a row with its relative figures, given all rows of its scenario."""
    best = best_coupling(rows)
    lia = next((other for other in rows if other.cc == REFERENCE), None)
    relative = None
    if best is not None and all(other.is_finite for other in rows):
        relative = statistics.ratio(best.completion.mean, row.completion.mean)
    elif best is not None:
        relative = statistics.ratio(row.goodput.mean, best.goodput.mean)
    return replace(
        row,
        relative=relative,
        delay_relative=statistics.ratio(row.delay.mean, lia.delay.mean) if lia else None,
        rivals_relative=statistics.ratio(row.rivals.mean, lia.rivals.mean) if lia else None,
    )


def digest_runs(
    runs: Iterable[results.Run],
    scenarios: Sequence[str],
    contenders: Sequence[str],
    tested: Mapping[str, frozenset[str]],
) -> Digest:
    """Return the digest of the runs of these scenarios and contenders; others are left out."""
    groups: dict[tuple[str, str], list[results.Run]] = {}
    for run in runs:
        groups.setdefault((run["scenario"], run["cc"]), []).append(run)
    rows: dict[tuple[str, str], Row] = {}
    for scenario in scenarios:
        raw = [
            make_row(scenario, cc, groups[scenario, cc], tested[scenario])
            for cc in contenders
            if (scenario, cc) in groups
        ]
        rows |= {(scenario, row.cc): with_relatives(row, raw) for row in raw}
    return Digest(tuple(scenarios), tuple(contenders), rows)


def judged_contenders(digest: Digest) -> list[str]:
    """Return whose losses are worth a table: the agents, or without any the controllers that are no couplings."""
    agents = [cc for cc in digest.contenders if is_agent(cc)]
    return agents or [cc for cc in digest.contenders if cc not in COUPLINGS]


def find_losses(digest: Digest, tolerance: float = 0.01) -> list[Loss]:
    """Return where the judged contenders are worse than the couplings by more than the tolerance, worst first.

    Goodput against the best coupling; p95 queueing delay and the rivals' goodput against LIA.
    """
    losses = []
    for cc in judged_contenders(digest):
        for row in digest.of_contender(cc):
            rows = digest.of_scenario(row.scenario)
            best = best_coupling(rows)
            lia = next((other for other in rows if other.cc == REFERENCE), None)
            if best and row.relative is not None and row.relative < 1 - tolerance:
                name = best.cc.upper()
                if all(other.is_finite for other in rows):
                    losses.append(Loss(row.scenario, cc, "completion", "s", row.completion, best.completion, name))
                else:
                    losses.append(Loss(row.scenario, cc, "goodput", "Mbit/s", row.goodput, best.goodput, name))
            if lia and row.delay_relative is not None and row.delay_relative > 1 + tolerance:
                losses.append(Loss(row.scenario, cc, "p95 queueing delay", "ms", row.delay, lia.delay, "LIA"))
            if lia and row.rivals_relative is not None and row.rivals_relative < 1 - tolerance:
                losses.append(Loss(row.scenario, cc, "competitors’ goodput", "Mbit/s", row.rivals, lia.rivals, "LIA"))
    return sorted(losses, key=lambda loss: -abs(loss.change))
