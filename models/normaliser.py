# SPDX-License-Identifier: BSD-2-Clause
"""Running mean and variance: of observation columns (part of the policy), and of returns (reward scaling only).

Batches are merged with the pairwise formula of Chan, Golub and LeVeque (1979), "Updating Formulae and a Pairwise
Algorithm for Computing Sample Variances", in float64, so that 10^9 rows lose no accuracy and order hardly matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-8
"""Added to the variance before its root."""
DEVIATION_MIN = 0.02
"""A column that deviated less in training was as good as constant: what its weights would make of another value, nobody
has trained. Such a column counts as its mean. (The least of those in use is 0.05, most are about 1.)"""


@dataclass(frozen=True, slots=True)
class Normaliser:
    """Frozen statistics: `clip((x - mean) / sqrt(variance + epsilon), -limit, limit)` column by column.

    0 where the deviation is below DEVIATION_MIN.
    `mean` and `variance` are float64 (F,); `count` is the number of rows they summarise; `limit` is dimensionless.
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    count: int
    limit: float
    epsilon: float = EPSILON

    def shift(self) -> NDArray[np.float32]:
        """What is subtracted, float32 (F,): the exact bytes that both torch and numpy inference use."""
        return self.mean.astype(np.float32)

    def scale(self) -> NDArray[np.float32]:
        """What the difference is multiplied with, float32 (F,)."""
        scale = 1.0 / np.sqrt(self.variance + self.epsilon)
        return np.where(self.variance < DEVIATION_MIN**2, 0.0, scale).astype(np.float32)

    def head(self, size: int) -> Normaliser:
        """Return the same statistics for the first `size` columns only."""
        return Normaliser(self.mean[:size].copy(), self.variance[:size].copy(), self.count, self.limit, self.epsilon)


class RunningMoments:
    """Mean and population variance of rows that arrive in batches; float64 (F,)."""

    def __init__(self, size: int) -> None:
        """Start empty: mean 0, variance 1, so that an unused normaliser is the identity."""
        self.count = 0
        self.mean = np.zeros(size, np.float64)
        self.squares = np.zeros(size, np.float64)

    @property
    def variance(self) -> NDArray[np.float64]:
        """Population variance, float64 (F,); ones as long as nothing came in."""
        return self.squares / self.count if self.count else np.ones_like(self.mean)

    def update(self, rows: NDArray[np.floating]) -> None:
        """Merge a batch (N, F), N >= 1."""
        n = rows.shape[0]
        batch_mean = rows.mean(axis=0, dtype=np.float64)
        centred = rows - batch_mean
        delta = batch_mean - self.mean
        total = self.count + n
        self.squares += np.einsum("ij,ij->j", centred, centred) + delta * delta * (self.count * n / total)
        self.mean += delta * (n / total)
        self.count = total

    def freeze(self, limit: float) -> Normaliser:
        """Return the present statistics as a `Normaliser` that clips at +-`limit`."""
        return Normaliser(self.mean.copy(), self.variance.copy(), self.count, limit)


class RewardScaler:
    """Divide rewards by the running deviation of the discounted return (Engstrom et al., ICLR 2020, section 3).

    The mean is kept: subtracting it would change what is optimal when episodes end.
    """

    def __init__(self, rows: int, gamma: float) -> None:
        """`rows` parallel streams of rewards, discount `gamma`."""
        self.gamma = gamma
        self.returns = np.zeros(rows, np.float64)
        self.moments = RunningMoments(1)

    def scale(self, rewards: NDArray[np.float32], done: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return scaled rewards (rows,), after taking them into the statistics; `done` rows start a new return."""
        self.returns = self.returns * self.gamma + rewards
        self.moments.update(self.returns[:, None])
        self.returns[done] = 0.0
        return np.asarray(rewards / np.sqrt(self.moments.variance[0] + EPSILON), np.float32)
