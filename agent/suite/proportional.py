# SPDX-License-Identifier: BSD-2-Clause
"""Proportionally fair rates of connections that split their traffic over paths (Kelly, Maulloo and Tan, 1998).

Maximise the sum of count_i · log(y_i), y_i the rate of one connection of demand i over all of its paths, subject to the
capacities of the links, a limit of y_i and a floor under each path's rate (what probing costs). The problem is concave
and small, so a barrier method with Newton steps (Boyd and Vandenberghe, section 11.3) gives the optimum to a known gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccdrl.envs.fair_share import Demand

Floats = NDArray[np.float64]

GAP = 1e-7
"""Distance of the objective from its optimum at which the method stops, for capacities of about 1."""
BARRIER_STEP = 20.0
NEWTON_STEPS = 60
RIDGE = 1e-13
START_SHARE = 0.5
"""The first point uses this part of what floors leave of each link."""


def compute_proportional_rates(
    capacities: Sequence[float], demands: Sequence[Demand], floors: Sequence[Sequence[float]] | None = None
) -> Floats:
    """Return the proportionally fair rate of one connection of each demand, in the unit of the capacities.

    floors[i][p] is the least rate of one connection of demand i on its path p; 0 where None. Where floors and limits
    leave nothing of a link they are lowered together until a tenth of it is free. A demand whose paths all cross a
    link of capacity 0 gets 0; such paths count for nothing.
    """
    scale = max(max(capacities, default=0.0), 1e-12)
    links = np.array([capacity / scale for capacity in capacities])
    columns = [
        (i, p)
        for i, demand in enumerate(demands)
        for p, path in enumerate(demand.paths)
        if demand.limit > 0 and all(links[link] > 0 for link in path)
    ]
    rates = np.zeros(len(demands))
    if not columns:
        return rates
    matrix, limits = _make_constraints(links, demands, columns, scale)
    owners = np.array([i for i, _ in columns])
    users, owner = np.unique(owners, return_inverse=True)
    sums = np.zeros((len(users), len(columns)))
    sums[owner, np.arange(len(columns))] = 1.0
    low = np.array([floors[i][p] / scale if floors is not None else 0.0 for i, p in columns])
    load = matrix @ low
    low = low * min(1.0, float(np.min(np.where(load > 0, 0.9 * limits / np.maximum(load, 1e-30), 1.0))))
    weights = np.array([float(demands[i].count) for i in users])
    x = _Problem(matrix, limits, sums, weights, low).solve()
    rates[users] = sums @ x * scale
    return rates


def _make_constraints(
    links: Floats, demands: Sequence[Demand], columns: Sequence[tuple[int, int]], scale: float
) -> tuple[Floats, Floats]:
    """Return matrix and limits of matrix @ x <= limits: a row for each used link and for each limited demand."""
    rows, limits = [], []
    for link, capacity in enumerate(links):
        row = [float(demands[i].count * demands[i].paths[p].count(link)) for i, p in columns]
        if any(row):
            rows.append(row)
            limits.append(float(capacity))
    for i, demand in enumerate(demands):
        if np.isfinite(demand.limit) and any(owner == i for owner, _ in columns):
            rows.append([float(owner == i) for owner, _ in columns])
            limits.append(demand.limit / scale)
    return np.array(rows), np.array(limits)


@dataclass(frozen=True)
class _Problem:
    """Maximise weights @ log(sums @ x) subject to matrix @ x <= limits and x >= low."""

    matrix: Floats
    limits: Floats
    sums: Floats
    weights: Floats
    low: Floats

    def solve(self) -> Floats:
        """Return the x of the optimum, GAP / sharpness below it at most."""
        room = self.limits - self.matrix @ self.low
        x = self.low + START_SHARE * float(np.min(room / np.maximum(self.matrix.sum(axis=1), 1e-12)))
        sharpness = 1.0
        while (len(self.limits) + len(self.low)) / sharpness > GAP:
            sharpness *= BARRIER_STEP
            for _ in range(NEWTON_STEPS):
                gradient, hessian = self.derive(x, sharpness)
                # Paths over the same links are one direction too many: the ridge makes it harmless.
                ridge = RIDGE * float(np.trace(hessian)) * np.eye(len(x))
                step = np.asarray(np.linalg.solve(hessian + ridge, -gradient), float)
                decrement = float(-gradient @ step)
                if decrement < 1e-9:
                    break
                x = self.search(x, step, decrement, sharpness)
        return x

    def cost(self, x: Floats, sharpness: float) -> float:
        """Return the barrier's cost, infinite outside."""
        slack, above = self.limits - self.matrix @ x, x - self.low
        if slack.min() <= 0 or above.min() <= 0:
            return float("inf")
        return float(-sharpness * self.weights @ np.log(self.sums @ x) - np.log(slack).sum() - np.log(above).sum())

    def derive(self, x: Floats, sharpness: float) -> tuple[Floats, Floats]:
        """Return gradient and Hessian of the cost."""
        slack, above, totals = self.limits - self.matrix @ x, x - self.low, self.sums @ x
        gradient = -sharpness * (self.weights / totals) @ self.sums + (1 / slack) @ self.matrix - 1 / above
        hessian = sharpness * (self.sums.T * (self.weights / totals**2)) @ self.sums
        return gradient, hessian + (self.matrix.T / slack**2) @ self.matrix + np.diag(1 / above**2)

    def search(self, x: Floats, step: Floats, decrement: float, sharpness: float) -> Floats:
        """Return the point on the step's line that lowers the cost enough; x itself where rounding leaves none."""
        length, before = 1.0, self.cost(x, sharpness)
        while length > 1e-9:
            there = x + length * step
            if self.cost(there, sharpness) <= before - 0.25 * length * decrement:
                return there
            length /= 2
        return x
