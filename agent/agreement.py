# SPDX-License-Identifier: BSD-2-Clause
"""Two datapaths side by side: what the simulator says of a scenario against what a kernel did in it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ccdrl.agent import statistics
from ccdrl.agent.results import Run, flows_under_test, mean_over_flows, total_goodput_mbps
from ccdrl.agent.statistics import Estimate

GOODPUT_BOUND = 0.10
"""Relative difference of the goodput up to which two datapaths agree."""
RTT_BOUND = 0.15
"""The same of the mean RTT."""


@dataclass(frozen=True)
class Pair:
    """One figure in both datapaths, means over each one's seeds."""

    simulated: Estimate
    measured: Estimate

    @property
    def ratio(self) -> float | None:
        """Measured over simulated; None where either is missing or nothing."""
        return statistics.ratio(self.measured.mean, self.simulated.mean)

    def agrees(self, bound: float) -> bool | None:
        """Say whether the ratio is within 1 ± bound; None without a ratio."""
        return None if self.ratio is None else abs(self.ratio - 1) <= bound


@dataclass(frozen=True)
class Agreement:
    """One scenario under one controller, in both datapaths.

    goodput: sum over the flows under test, Mbit/s; rtt: mean over them, ms; retransmit: mean over them, a ratio.
    """

    scenario: str
    cc: str
    goodput: Pair
    rtt: Pair
    retransmit: Pair


def compare_datapaths(
    simulated: Iterable[Run], measured: Iterable[Run], tested: Mapping[str, frozenset[str]]
) -> list[Agreement]:
    """Return what both have, ordered by scenario and controller.

    tested: scenario name to the ids of its flows with cc = "@".
    """
    groups: tuple[dict[tuple[str, str], list[Run]], ...] = ({}, {})
    for group, runs in zip(groups, (simulated, measured), strict=True):
        for run in runs:
            if run["scenario"] in tested:
                group.setdefault((run["scenario"], run["cc"]), []).append(run)
    rows = []
    for key in sorted(groups[0].keys() & groups[1].keys()):
        goodput, rtt, retransmit = zip(*(_estimate(group[key], tested[key[0]]) for group in groups), strict=True)
        rows.append(Agreement(*key, Pair(*goodput), Pair(*rtt), Pair(*retransmit)))
    return rows


def _estimate(runs: Iterable[Run], tested: frozenset[str]) -> tuple[Estimate, Estimate, Estimate]:
    """Return goodput, mean RTT and retransmit ratio of one group of runs."""
    flows = [flows_under_test(run, tested) for run in runs]
    return (
        statistics.estimate(total_goodput_mbps(part) for part in flows),
        statistics.estimate(mean_over_flows(part, "rtt_mean_ms") for part in flows),
        statistics.estimate(mean_over_flows(part, "retransmit_ratio") for part in flows),
    )


def count_agreeing(pairs: Iterable[Pair], bound: float) -> tuple[int, int]:
    """Return how many pairs agree within the bound, and of how many that have a ratio."""
    verdicts = [verdict for verdict in (pair.agrees(bound) for pair in pairs) if verdict is not None]
    return sum(verdicts), len(verdicts)
