# SPDX-License-Identifier: BSD-2-Clause
"""What each path of each connection carries when all couple their windows as RFC 6356 says: the fluid equilibrium.

With loss probability p at a path, a TCP sends in proportion to sqrt(2 / p), and the windows of coupled subflows are
w_r = (1 / p_r) / sum(1 / p) * sqrt(2 / min p): as much as one TCP on the best path, moved away from congestion (Wischik
et al., "Design, implementation and evaluation of congestion control for multipath TCP", NSDI 2011, section 2). A
connection of one path is a TCP. Round trips are taken as equal, so that none is preferred for being near. Links that
are wanted beyond their capacity have the loss at which what is sent equals it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ccdrl.envs.fair_share import Demand

_ITERATIONS = 32
_EXPONENT = 0.8
_PRICE_MIN, _PRICE_MAX = 1e-10, 1e4
_SCALE = 100.0


def compute_coupled_rates(capacities: Sequence[float], demands: Sequence[Demand]) -> list[NDArray[np.float64]]:
    """Return for each demand the rates of its paths, one connection's, in the unit of the capacities.

    Each link's loss is moved by the ratio of load to capacity until they agree (within a few per cent); at the end
    paths are scaled down so that no link carries more than it can.
    """
    routes = [(path, i) for i, demand in enumerate(demands) for path in demand.paths]
    if not routes:
        return [np.zeros(0) for _ in demands]
    owner = np.array([i for _, i in routes])
    uses = np.zeros((len(routes), len(capacities)))
    for row, (path, _) in enumerate(routes):
        uses[row, list(path)] = 1.0
    unit = max(float(np.mean([c for c in capacities if c > 0.0] or [1.0])) / _SCALE, 1e-12)
    capacity = np.maximum(np.asarray(capacities) / unit, 1e-6)
    limit = np.array([demand.limit for demand in demands]) / unit
    count = np.array([float(demand.count) for demand in demands])[owner]
    starts = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
    filled = owner[starts]
    first = np.searchsorted(filled, owner)
    loads = uses.T * count
    price = np.full(len(capacities), 2.0 / np.square(capacity).mean())
    rate = np.zeros(len(routes))
    for _ in range(_ITERATIONS):
        loss = uses @ price
        weight = 1.0 / loss
        total = np.add.reduceat(weight, starts)
        best = np.minimum(np.sqrt(2.0 * np.maximum.reduceat(weight, starts)), limit[filled])
        rate = weight * (best / total)[first]
        excess = (loads @ rate) / capacity
        # Not np.clip, which costs as much as the rest of the loop.
        price = np.minimum(np.maximum(price * np.maximum(excess, 1e-3) ** _EXPONENT, _PRICE_MIN), _PRICE_MAX)
    excess = np.maximum((loads @ rate) / capacity, 1.0)
    rate /= np.max(np.where(uses > 0.0, excess, 1.0), axis=1)
    rates = rate * unit
    return [rates[owner == i] for i in range(len(demands))]
