# SPDX-License-Identifier: BSD-2-Clause
"""Ranking of the contenders with confidence intervals: paired by seed, bootstrapped over scenarios and seeds.

Every measure is a ratio to LIA in the same scenario with the same seed (or to the optimum), so that what makes a
scenario easy or hard cancels. A resample draws scenarios with replacement, and seeds within each; all contenders see
the same resample, so that differences between them are as sharp as the pairing allows (Efron and Tibshirani, An
Introduction to the Bootstrap, chapter 8). Means are geometric.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccdrl.agent import results
from ccdrl.agent.suite.draw import Case
from ccdrl.agent.suite.evidence import REFERENCE, Evidence, flow_name

Floats = NDArray[np.float64]

RESAMPLES = 2000
BOOTSTRAP_SEED = 6356
DELAY_FLOOR_MS = 1.0
"""Shorter queueing delays count as 1 ms: below it a ratio of delays says nothing that a user could notice."""
GOODPUT_FLOOR_MBPS = 1e-3


@dataclass(frozen=True)
class Measure:
    """What is ranked: a figure of one run, whether it is divided by LIA's, and whether more is better."""

    key: str
    title: str
    value: Callable[[Evidence, Case, results.Run], float | None]
    is_relative: bool = True
    is_more_better: bool = True


@dataclass(frozen=True)
class Place:
    """One contender by one measure: geometric mean, 95 % interval, and how often it was first in the resamples."""

    cc: str
    mean: float
    low: float
    high: float
    first: float


@dataclass(frozen=True)
class Ranking:
    """All contenders by one measure, best first; over how many scenarios."""

    measure: Measure
    scenarios: int
    places: tuple[Place, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the results file."""
        places = [
            {"cc": one.cc, "mean": one.mean, "low": one.low, "high": one.high, "first": one.first}
            for one in self.places
        ]
        return {"measure": self.measure.key, "scenarios": self.scenarios, "places": places}


def goodput(evidence: Evidence, case: Case, run: results.Run) -> float | None:
    """Return the goodput of the flows under test, or the speed of their transfers where all of them finish."""
    flows = results.flows_under_test(run, evidence.tested[case.name])
    times = [flow["completion_s"] for flow in flows]
    if None not in times:
        return len(times) / max(math.fsum(times), 1e-6)
    return max(results.total_goodput_mbps(flows) or 0.0, GOODPUT_FLOOR_MBPS)


def delay(evidence: Evidence, case: Case, run: results.Run) -> float | None:
    """Return the p95 queueing delay, 1 ms at least."""
    value = results.mean_over_flows(results.flows_under_test(run, evidence.tested[case.name]), "queue_delay_p95_ms")
    return None if value is None else max(value, DELAY_FLOOR_MS)


def power(evidence: Evidence, case: Case, run: results.Run) -> float | None:
    """Return goodput over p95 queueing delay."""
    above, below = goodput(evidence, case, run), delay(evidence, case, run)
    return None if above is None or below is None else above / below


def rivals(evidence: Evidence, case: Case, run: results.Run) -> float | None:
    """Return the competitors' goodput."""
    value = results.total_goodput_mbps(results.rival_flows(run, evidence.tested[case.name]))
    return None if value is None else max(value, GOODPUT_FLOOR_MBPS)


def welfare(evidence: Evidence, case: Case, run: results.Run) -> float | None:
    """Return the geometric mean over all connections of goodput over its proportionally fair value.

    The sum of the logarithms is what proportional fairness maximises: it counts the own goodput, the competitors' and
    the fairness between them, and is at most about 1.
    """
    optimum = evidence.optima.get(case.name)
    if optimum is None:
        return None
    total = 0.0
    for flow in run["flows"]:
        fair = optimum.proportional_mbps[flow_name(flow["id"])]
        total += math.log(max(flow["goodput_mbps"], GOODPUT_FLOOR_MBPS) / max(fair, GOODPUT_FLOOR_MBPS))
    return math.exp(total / len(run["flows"]))


MEASURES = (
    Measure("welfare", "Welfare: goodput of all connections ÷ proportionally fair", welfare, is_relative=False),
    Measure("goodput", "Goodput ÷ LIA’s", goodput),
    Measure("delay", "p95 queueing delay ÷ LIA’s", delay, is_more_better=False),
    Measure("power", "Power: goodput ÷ p95 delay, ÷ LIA’s", power),
    Measure("rivals", "Competitors’ goodput ÷ with LIA", rivals),
)


def log_table(evidence: Evidence, measure: Measure) -> Floats:
    """Return the logarithms, [scenario, seed, contender], of the scenarios that have all of them."""
    contenders = list(evidence.contenders)
    seeds = sorted({int(run["seed"]) for run in evidence.runs})
    has_reference = REFERENCE in contenders or not measure.is_relative
    tables = []
    for case in evidence.suite.cases if has_reference and seeds else ():
        by_seed = [{run["seed"]: run for run in evidence.runs_of(case, cc)} for cc in contenders]
        if any(seed not in runs for runs in by_seed for seed in seeds):
            continue
        values = [[measure.value(evidence, case, runs[seed]) for runs in by_seed] for seed in seeds]
        if any(value is None for row in values for value in row):
            continue
        table = np.log(np.array(values, float))
        if measure.is_relative:
            table -= table[:, [contenders.index(REFERENCE)]]
        tables.append(table)
    return np.array(tables).reshape(len(tables), len(seeds), len(contenders))


def bootstrap(table: Floats, resamples: int = RESAMPLES) -> Floats:
    """Return the means of resampled tables, [resample, contender]."""
    n_scenarios, n_seeds, n_contenders = table.shape
    random = np.random.RandomState(BOOTSTRAP_SEED)  # its streams are frozen, whatever the version of numpy
    means = np.empty((resamples, n_contenders))
    for index in range(resamples):
        scenarios = np.asarray(random.randint(n_scenarios, size=n_scenarios))
        seeds = random.randint(n_seeds, size=(n_scenarios, n_seeds))
        means[index] = table[scenarios[:, None], seeds].mean(axis=(0, 1))
    return means


def rank(evidence: Evidence, measure: Measure) -> Ranking | None:
    """Return the ranking by one measure, None without a scenario that all contenders have."""
    table = log_table(evidence, measure)
    if not len(table):
        return None
    means = bootstrap(table)
    signed = means if measure.is_more_better else -means
    first = np.bincount(signed.argmax(axis=1), minlength=table.shape[2]) / len(means)
    bounds = np.percentile(means, [2.5, 97.5], axis=0)
    figures = np.exp([table.mean(axis=(0, 1)), bounds[0], bounds[1]]).round(6).T.tolist()
    places = [
        Place(cc, mean, low, high, float(share))
        for cc, (mean, low, high), share in zip(evidence.contenders, figures, first, strict=True)
    ]
    places.sort(key=lambda one: -one.mean if measure.is_more_better else one.mean)
    return Ranking(measure, len(table), tuple(places))


def rank_all(evidence: Evidence) -> list[Ranking]:
    """Return the rankings by all measures that can be had."""
    return [ranking for measure in MEASURES if (ranking := rank(evidence, measure)) is not None]
