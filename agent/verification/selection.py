# SPDX-License-Identifier: BSD-2-Clause
"""Which of thousands of recorded states a check starts from: the worst that a quick look finds, and a fair draw."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from ccdrl.agent.policy import Policy
from ccdrl.agent.verification.families import Family, Rows, tie
from ccdrl.agent.verification.network import Network
from ccdrl.agent.verification.regions import Property
from ccdrl.envs.observation_layout import find_columns

CANDIDATES = 2000
MEMBER_COLUMNS = ("is_recovery", "is_timeout", "is_startup", "loss_short")
"""Fixed columns that a recorded state must share with a family to be a member; the others only make families tidy."""


def find_members(names: tuple[str, ...], rows: Rows, family: Family) -> NDArray[np.intp]:
    """Return which recorded rows lie in a family as they are, by the columns that tell a transport engineer so."""
    is_member = np.ones(len(rows), bool)
    for parameter in family.parameters:
        part = rows[:, find_columns(names, parameter.key or parameter.columns)]
        is_member &= ((part >= parameter.low) & (part <= parameter.high)).all(axis=1)
    for name in MEMBER_COLUMNS:
        if name in family.fixed:
            is_member &= (rows[:, find_columns(names, [name])] == family.fixed[name]).all(axis=1)
    return np.flatnonzero(is_member)


def select_states(
    policy: Policy, network: Network, rows: Rows, wanted: Property, count: int, seed: int
) -> dict[str, Rows] | None:
    """Return recorded rows for a property, at most `count` each; None where this layout lacks its columns.

    "drawn": by the seed. "worst": those whose action in the family's middle or at its corners is most beyond the limit;
    put into the family, they are states that hardly occur. Both of the rows in which `where` holds, if there are at
    least half as many as wanted, else of all.
    """
    names = policy.artifact.observation_names
    is_fitting = np.ones(len(rows), bool)
    for name, value in wanted.where.items():
        for column in find_columns(names, [name]):
            is_fitting &= rows[:, column] == value
    candidates = draw_rows(rows[is_fitting] if 2 * int(is_fitting.sum()) >= count else rows, CANDIDATES, seed)
    tied = tie(policy.artifact, network, wanted.family, candidates)
    if tied is None:
        return None
    everyone, badness = np.arange(len(candidates)), np.full(len(candidates), -np.inf)
    corners = itertools.product(*zip(tied.box_low, tied.box_high, strict=True))
    for point in (0.5 * (tied.box_low + tied.box_high), *map(np.array, corners)):
        actions = policy.act(tied.place(everyone, np.tile(point, (len(everyone), 1))))
        badness = np.maximum(badness, wanted.limit.sign * actions)
    order = np.argsort(-badness, kind="stable")
    return {"drawn": draw_rows(candidates, count, seed), "worst": candidates[order[:count]]}


def draw_rows(rows: Rows, count: int, seed: int) -> Rows:
    """Return at most `count` different rows, in their order, drawn by the seed."""
    if len(rows) <= count:
        return rows
    return np.asarray(rows[np.sort(np.random.default_rng(seed).choice(len(rows), count, replace=False))])
