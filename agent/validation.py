# SPDX-License-Identifier: BSD-2-Clause
"""The score by which training keeps its best policy: whole scenarios, the policy against classic controllers.

Of one scenario and seed, against the first baseline (bounded, so that no single scenario decides):

    score = log2 goodput ratio - w * log2 p95 RTT ratio + min(0, log2 goodput ratio of the competing flows)

so 0 is "as good as the baseline", and taking goodput from competitors earns nothing. The score is the mean over
scenarios and seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ccdrl.agent.contenders import AGENT, CLASSIC, Contender
from ccdrl.agent.evaluation import RunSpec, evaluate, ids_under_test
from ccdrl.agent.results import flows_under_test, mean_over_flows, rival_flows, total_goodput_mbps
from ccdrl.bindings.errors import InputError
from ccdrl.envs.network import build_network
from ccdrl.envs.scenario import Scenario, load_scenario

SCORE_LIMIT = 2.0
GOODPUT_MIN_MBPS = 1e-3
"""A flow that got nothing counts as this, so that its logarithm exists."""


class Validation:
    """Runs scenarios with a policy and, once, with the baselines."""

    def __init__(
        self, scenarios: Sequence[str], controllers: Sequence[str], seeds: Sequence[int], delay_weight: float
    ) -> None:
        """Load the scenarios. Raises InputError for unknown scenarios or controllers and for missing traces."""
        for name in controllers:
            if name not in CLASSIC:
                known = ", ".join(CLASSIC)
                raise InputError(f"validation_controllers: unknown controller '{name}'; one of {known} expected")
        if not controllers or not seeds:
            raise InputError("validation_controllers, validation_seeds: at least one of each expected")
        self._scenarios = [load_scenario(name) for name in scenarios]
        for scenario in self._scenarios:
            # Found out now, and not after an hour of training.
            build_network(scenario, controllers[0], seeds[0], None).simulator.close()
        self._controllers = tuple(controllers)
        self._seeds = tuple(seeds)
        self._delay_weight = delay_weight
        self._baselines: dict[tuple[str, int, str], dict[str, float]] = {}

    def __call__(self, policy: Path) -> tuple[float, dict[str, float]]:
        """Return the score of the artifact at `policy`, and its mean figures against each baseline."""
        scores: list[float] = []
        ratios: dict[str, list[float]] = {}
        for scenario in self._scenarios:
            for seed in self._seeds:
                mine = measure(scenario, Contender(AGENT, policy), seed)
                for index, name in enumerate(self._controllers):
                    other = self._baseline(scenario, name, seed)
                    for figure in ("goodput_mbps", "rtt_p95_ms"):
                        ratios.setdefault(f"{figure}_vs_{name}", []).append(log_ratio(mine[figure], other[figure]))
                    if index == 0:
                        scores.append(score(mine, other, self._delay_weight))
                        ratios.setdefault(f"score/{scenario.name}", []).append(scores[-1])
        figures = {name: mean(values) for name, values in ratios.items()}
        return mean(scores), {
            name: value if name.startswith("score/") else 2.0**value for name, value in figures.items()
        }

    def _baseline(self, scenario: Scenario, controller: str, seed: int) -> dict[str, float]:
        """Return a baseline's figures; simulated once, because they do not change."""
        key = (scenario.name, seed, controller)
        if key not in self._baselines:
            self._baselines[key] = measure(scenario, Contender(controller), seed)
        return self._baselines[key]


def measure(scenario: Scenario, contender: Contender, seed: int) -> dict[str, float]:
    """Return goodput and p95 RTT of the flows under test, and the goodput of the others (NaN: there are none)."""
    run: dict[str, Any] = evaluate(RunSpec(scenario, contender, seed, agent=contender.model))
    ids = ids_under_test(scenario)
    tested, rivals = flows_under_test(run, ids), rival_flows(run, ids)
    rtt = mean_over_flows(tested, "rtt_p95_ms")
    rival_goodput = total_goodput_mbps(rivals)
    return {
        "goodput_mbps": max(total_goodput_mbps(tested) or 0.0, GOODPUT_MIN_MBPS),
        "rtt_p95_ms": math.nan if rtt is None else rtt,
        "rival_goodput_mbps": math.nan if rival_goodput is None else max(rival_goodput, GOODPUT_MIN_MBPS),
    }


def log_ratio(mine: float, other: float) -> float:
    """Return log2(mine / other) within +-SCORE_LIMIT; 0 where either does not exist."""
    if math.isnan(mine) or math.isnan(other):
        return 0.0
    return max(-SCORE_LIMIT, min(SCORE_LIMIT, math.log2(mine / other)))


def score(mine: Mapping[str, float], other: Mapping[str, float], delay_weight: float) -> float:
    """Return the score of one run against a baseline's run; see the module."""
    goodput = log_ratio(mine["goodput_mbps"], other["goodput_mbps"])
    delay = log_ratio(mine["rtt_p95_ms"], other["rtt_p95_ms"])
    harm = log_ratio(mine["rival_goodput_mbps"], other["rival_goodput_mbps"])
    return goodput - delay_weight * delay + min(0.0, harm)


def mean(values: Sequence[float]) -> float:
    """Return the mean, 0 of nothing."""
    return math.fsum(values) / len(values) if values else 0.0
