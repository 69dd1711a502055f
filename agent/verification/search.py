# SPDX-License-Identifier: BSD-2-Clause
"""Branch and bound over a family's parameters: where a bound on the action holds, where it is broken, what stays open.

A box of parameters is proven when the bound of its worst action keeps the limit, broken when the bound of its best
action exceeds it; else it is halved along the parameter that moves the affine bound most. Actions found on the way are
those of `Policy.act` in float32: a counterexample is one on the machine that serves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccdrl.agent.policy import Policy
from ccdrl.agent.verification.bounds import OutputBounds, bound_output
from ccdrl.agent.verification.families import Tied
from ccdrl.agent.verification.relaxation import Floats

BATCH = 128


@dataclass(frozen=True)
class Limit:
    """The action is at most `value` (sign 1) or at least `value` (sign -1)."""

    sign: int
    value: float

    def is_broken(self, actions: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which actions are beyond the limit."""
        return np.asarray(self.sign * actions > self.sign * self.value)

    def __str__(self) -> str:
        """Return the limit as people write it."""
        return f"{'<=' if self.sign > 0 else '>='} {self.value:g}"


@dataclass
class Verdict:
    """What is known of one limit over a family at N states; shares are of the parameters' volume, states alike.

    proven, broken, open  shares that add up to one
    bound                 no action of the family is beyond this (largest for sign 1, lowest for sign -1)
    found                 the most extreme action met, and its state and parameters; None before any was tried
    n_states, n_proven    states, and those whose whole box is proven
    n_broken              states with a counterexample
    """

    n_states: int
    n_proven: int
    n_broken: int
    proven: float
    broken: float
    open: float
    bound: float
    found: float
    found_state: int
    found_point: tuple[float, ...]
    n_boxes: int

    @property
    def word(self) -> str:
        """Return "proven", "refuted" (with a counterexample) or "undecided"."""
        if self.n_proven == self.n_states:
            return "proven"
        return "refuted" if self.n_broken else "undecided"


class Search:
    """One limit, one family; `boxes_max` bounds the work, `depth_max` the halvings of one box."""

    def __init__(self, policy: Policy, tied: Tied, limit: Limit, *, boxes_max: int = 4000, depth_max: int = 12) -> None:
        self._policy, self._tied, self._limit = policy, tied, limit
        self._boxes_max, self._depth_max = boxes_max, depth_max
        self._action_low, self._action_high = policy.artifact.action_low, policy.artifact.action_high
        count = len(tied.rows)
        self._is_broken = np.zeros(count, bool)
        self._is_open = np.zeros(count, bool)
        self._worst = -np.inf
        self._worst_at: tuple[int, tuple[float, ...]] = (0, ())
        self._bound = -np.inf
        self._shares = {"proven": 0.0, "broken": 0.0, "open": 0.0}

    def run(self) -> Verdict:
        """Search until everything is decided or the work is done."""
        count = len(self._tied.rows)
        states = np.arange(count)
        low, high = np.tile(self._tied.box_low, (count, 1)), np.tile(self._tied.box_high, (count, 1))
        n_boxes, depth = 0, 0
        while len(states):
            n_boxes += len(states)
            is_last = depth == self._depth_max or n_boxes + 2 * len(states) > self._boxes_max
            kept, sides = [], []
            for begin in range(0, len(states), BATCH):
                part = slice(begin, begin + BATCH)
                open_boxes, side = self._judge(states[part], low[part], high[part], 0.5**depth / count, is_last)
                kept.append(open_boxes + begin)
                sides.append(side)
            if is_last:
                break
            chosen, side = np.concatenate(kept), np.concatenate(sides)
            states, low, high = np.tile(states[chosen], 2), np.tile(low[chosen], (2, 1)), np.tile(high[chosen], (2, 1))
            middle, half = 0.5 * (low + high), len(chosen)
            at = np.arange(half)
            high[at, side] = middle[at, side]
            low[at + half, side] = middle[at + half, side]
            depth += 1
        sign = self._limit.sign
        is_decided = ~self._is_open & ~self._is_broken
        return Verdict(
            count,
            int(is_decided.sum()),
            int(self._is_broken.sum()),
            self._shares["proven"],
            self._shares["broken"],
            self._shares["open"],
            sign * self._bound,
            sign * self._worst,
            self._worst_at[0],
            self._worst_at[1],
            n_boxes,
        )

    def _judge(
        self, states: NDArray[np.intp], low: Floats, high: Floats, weight: float, is_last: bool
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Book the boxes that are decided, or all with `is_last`; return the open ones and where to halve them."""
        tied, sign = self._tied, self._limit.sign
        bounds = bound_output(
            tied.network,
            np.concatenate([low, tied.low[states]], axis=1),
            np.concatenate([high, tied.high[states]], axis=1),
        )
        best, worst, slope = self._orient(bounds, low.shape[1])
        self._try_points(states, 0.5 * (low + high))
        self._try_points(states, np.where(slope > 0.0, high, low))
        wanted = sign * self._limit.value
        is_proven, is_broken = worst <= wanted, best > wanted
        is_open = ~is_proven & ~is_broken
        self._shares["proven"] += weight * int(is_proven.sum())
        self._shares["broken"] += weight * int(is_broken.sum())
        self._is_broken[states[is_broken]] = True
        decided = ~is_open | is_last
        if decided.any():
            self._bound = max(self._bound, float(worst[decided].max()))
        if is_last:
            self._shares["open"] += weight * int(is_open.sum())
            self._is_open[states[is_open]] = True
        chosen = np.flatnonzero(is_open)
        return chosen, np.asarray(np.argmax(np.abs(slope[chosen]) * (high - low)[chosen], axis=1), np.intp)

    def _orient(self, bounds: OutputBounds, size: int) -> tuple[Floats, Floats, Floats]:
        """Return best and worst clipped action, times the sign, and the slopes of the worst in the parameters."""
        low = np.clip(bounds.low, self._action_low, self._action_high)
        high = np.clip(bounds.high, self._action_low, self._action_high)
        if self._limit.sign > 0:
            return low, high, bounds.high_slope[:, :size]
        return -high, -low, -bounds.low_slope[:, :size]

    def _try_points(self, states: NDArray[np.intp], points: Floats) -> None:
        """Let the policy act at parameter points, and note what breaks the limit or is worse than before."""
        sign = self._limit.sign
        actions = self._policy.act(self._tied.place(states, points)).astype(np.float64)
        self._is_broken[states[self._limit.is_broken(actions)]] = True
        worst = int(np.argmax(sign * actions))
        if sign * actions[worst] > self._worst:
            self._worst = float(sign * actions[worst])
            self._worst_at = int(states[worst]), tuple(points[worst].tolist())
