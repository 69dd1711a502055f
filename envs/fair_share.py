# SPDX-License-Identifier: BSD-2-Clause
"""What each connection should get: max-min fair goodput where a multipath connection counts as one TCP at each link.

Progressive filling (Bertsekas and Gallager, Data Networks, section 6.5.2) over connections that may split their rate
over paths: all connections grow together, split as well as can be, until some cannot; these are frozen and the others
go on. How far all can grow is a small linear program. Where each path has one link, its answer is a minimum over sets
of connections (what a set gets cannot exceed the links that it can reach: the transport polytope's cuts, Hall's
theorem); otherwise the primal simplex method gives it exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.library import HEADER_BYTES

_FROZEN_WEIGHT = 1e4
_TOLERANCE = 1e-9
_CUT_DEMANDS_MAX = 8


@dataclass(frozen=True, slots=True)
class Demand:
    """`count` equal connections: the links of each path, and the rate each could use at most (in their unit)."""

    paths: tuple[tuple[int, ...], ...]
    limit: float = float("inf")
    count: int = 1


def compute_payload_share(mss_bytes: int) -> float:
    """Return payload over wire bytes of a full segment."""
    return mss_bytes / (mss_bytes + HEADER_BYTES)


def compute_fair_rates(capacities: Sequence[float], demands: Sequence[Demand]) -> NDArray[np.float64]:
    """Return the max-min fair rate of one connection of each demand, in the unit of the capacities.

    A path is limited by its smallest link, two subflows of a connection over one link share it as the connection
    pleases, and a demand of infinite limit without paths gets 0.
    """
    rates = np.zeros(len(demands))
    scale = max(max(capacities, default=0.0), 1e-12)
    links = [capacity / scale for capacity in capacities]
    active = [i for i, demand in enumerate(demands) if demand.paths]
    frozen: dict[int, float] = {}
    has_cuts = len(active) <= _CUT_DEMANDS_MAX and all(len(path) == 1 for demand in demands for path in demand.paths)
    fill = _fill_by_cuts if has_cuts else _fill_by_simplex
    while active:
        level, is_tight = fill(links, demands, active, frozen)
        limited = [i for i in active if demands[i].limit / scale <= level + _TOLERANCE]
        if limited:  # the modest first: what they leave lifts the others
            lowest = min(demands[i].limit for i in limited) / scale
            stopped = [i for i in limited if demands[i].limit / scale <= lowest]
            frozen |= dict.fromkeys(stopped, lowest)
        else:
            stopped = [i for i, tight in zip(active, is_tight, strict=True) if tight] or active
            frozen |= dict.fromkeys(stopped, level)
        active = [i for i in active if i not in frozen]
    for i, rate in frozen.items():
        rates[i] = rate * scale
    return rates


def _fill_by_cuts(
    links: Sequence[float], demands: Sequence[Demand], active: Sequence[int], frozen: dict[int, float]
) -> tuple[float, list[bool]]:
    """Return what `_fill_by_simplex` does, for paths of one link.

    A set S bounds the level by (capacity of the links S reaches - frozen rates in S) / active connections in S.
    """
    users = [*active, *frozen]
    cuts = [(0, 0, 0, 0.0)]  # members, links reached, active connections, frozen rate
    for position, i in enumerate(users):
        reach = 0
        for path in demands[i].paths:
            reach |= 1 << path[0]
        is_active = position < len(active)
        count = demands[i].count if is_active else 0
        rate = 0.0 if is_active else frozen[i] * demands[i].count
        cuts += [(m | 1 << position, r | reach, c + count, f + rate) for m, r, c, f in cuts]
    capacity = {reach: sum(links[k] for k in range(len(links)) if reach >> k & 1) for reach in {cut[1] for cut in cuts}}
    bounds = [((capacity[r] - f) / c, m) for m, r, c, f in cuts if c > 0]
    level = max(min(bounds)[0], 0.0)
    tight = 0
    for bound, members in bounds:
        if bound <= level + _TOLERANCE:
            tight |= members
    return level, [bool(tight >> position & 1) for position in range(len(active))]


def _fill_by_simplex(
    links: Sequence[float], demands: Sequence[Demand], active: Sequence[int], frozen: dict[int, float]
) -> tuple[float, list[bool]]:
    """Return the common rate that all active connections can reach, and which of them cannot exceed it.

    Variables: t, one z for each frozen demand (its total rate, up to the frozen one), and a rate for each path.
    Maximise t + W * sum z subject to n t <= sum of paths (active), z <= sum of paths, z <= frozen rate, link loads <=
    capacity. All right-hand sides are non-negative, so that the origin is a first feasible vertex. An active connection
    whose constraint has a positive dual is tight in every optimum.
    """
    done = [i for i in frozen if frozen[i] > 0.0]
    users = [*active, *done]
    n_fixed = 1 + len(done)
    n_variables = n_fixed + sum(len(demands[i].paths) for i in users)
    matrix = np.zeros((len(users) + len(done) + len(links), n_variables))
    limits = np.zeros(len(matrix))
    profit = np.zeros(n_variables)
    profit[0] = 1.0
    profit[1:n_fixed] = _FROZEN_WEIGHT
    column = n_fixed
    first_link = len(users) + len(done)
    for row, i in enumerate(users):
        demand = demands[i]
        if row < len(active):
            matrix[row, 0] = demand.count
        else:
            z = row - len(active)
            matrix[row, 1 + z] = 1.0
            matrix[len(users) + z, 1 + z] = 1.0
            limits[len(users) + z] = frozen[i] * demand.count
        for path in demand.paths:
            matrix[row, column] = -1.0
            for link in path:
                matrix[first_link + link, column] += 1.0
            column += 1
    limits[first_link:] = links
    level, duals = _maximize(matrix, limits, profit)
    return level, [bool(duals[row] > _TOLERANCE) for row in range(len(active))]


def _maximize(
    matrix: NDArray[np.float64], limits: NDArray[np.float64], profit: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Maximise profit @ x over matrix @ x <= limits, x >= 0, limits >= 0; return x[0] and the duals.

    A dense tableau with Bland's rule, which cannot cycle.
    """
    n_rows, n_columns = matrix.shape
    table = np.zeros((n_rows + 1, n_columns + n_rows + 1))
    table[:-1, :n_columns] = matrix
    table[:-1, n_columns:-1] = np.eye(n_rows)
    table[:-1, -1] = limits
    table[-1, :n_columns] = -profit
    basis = np.arange(n_columns, n_columns + n_rows)
    while True:
        entering = np.flatnonzero(table[-1, :-1] < -_TOLERANCE)
        if len(entering) == 0:
            break
        pivot_column = int(entering[0])
        candidates = np.flatnonzero(table[:-1, pivot_column] > _TOLERANCE)
        if len(candidates) == 0:  # cannot be: every path crosses a link of finite capacity
            break
        ratios = table[candidates, -1] / table[candidates, pivot_column]
        ties = candidates[ratios <= ratios.min() + _TOLERANCE * 1e-3]
        pivot_row = int(ties[np.argmin(basis[ties])])
        table[pivot_row] /= table[pivot_row, pivot_column]
        factors = table[:, pivot_column].copy()
        factors[pivot_row] = 0.0
        table -= np.outer(factors, table[pivot_row])
        basis[pivot_row] = pivot_column
    first = np.flatnonzero(basis == 0)
    level = float(table[first[0], -1]) if len(first) else 0.0
    return level, table[-1, n_columns:-1]
