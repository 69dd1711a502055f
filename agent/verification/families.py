# SPDX-License-Identifier: BSD-2-Clause
"""Families of states with few parameters: columns that rise and fall together are one number, not a box.

A box over every queue column would hold states that no network can be in (an srtt of eight base RTTs beside an empty
standing queue), and fifty independent columns are beyond any verifier. So a family takes a recorded state, sets some
columns, ties groups of columns to a parameter each, and lets the others move a little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ccdrl.agent.verification.network import Network, normalise
from ccdrl.agent.verification.relaxation import Floats
from ccdrl.envs.observation_layout import OBSERVATION_LIMIT, find_columns
from ccdrl.models.artifact import Artifact

Rows = NDArray[np.float32]

QUEUE_COLUMNS = (
    "srtt_ratio", "rtt_ratio", "rtt_ratio_*", "queue_min_*", "queue_max_*",
    "queue_mean", "queue_best", "queue_weighted",
)  # fmt: skip
"""log2 ratios to the base RTT: with one queue for all, of the subflow, its siblings and the past, they are equal."""
LOSS_COLUMNS = ("loss_now", "loss_now_*", "loss_short", "loss_long", "loss_mean")
"""Roots of loss ratios: with one steady loss ratio for all, they are equal."""


@dataclass(frozen=True)
class Parameter:
    """Columns (shell patterns) that all hold one number of [low, high], in raw units of the observation.

    A recorded state counts as a member where the columns of `key` are in the range (all columns, if it is empty).
    """

    name: str
    columns: tuple[str, ...]
    low: float
    high: float
    key: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """States that a property is about: a recorded state with `fixed` columns set and parameters put in.

    Every other column may lie within `spread` standard deviations of the normaliser around the recorded value.
    """

    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, float] = field(default_factory=dict)
    spread: float = 0.0


@dataclass(frozen=True)
class Tied:
    """A family as a network over its parameters and the normalised columns: inputs (d + F).

    `low`, `high` (N, F) are the columns' parts of the inputs for the N states; those of tied columns hold the affine
    map's constant. `box_low`, `box_high` (d,) are the parameters' ranges.
    """

    network: Network
    rows: Rows
    low: Floats
    high: Floats
    box_low: Floats
    box_high: Floats
    groups: tuple[tuple[int, ...], ...]

    def place(self, states: NDArray[np.intp], points: Floats) -> Rows:
        """Return the raw observations (N, F) of parameter points (N, d) at states (N,)."""
        rows = self.rows[states].copy()
        for index, group in enumerate(self.groups):
            rows[:, list(group)] = points[:, index : index + 1].astype(np.float32)
        return rows


def tie(artifact: Artifact, network: Network, family: Family, states: Rows) -> Tied | None:
    """Return the family at recorded states (N, F), None where a parameter has no column in this layout.

    A tied column that the normaliser clips somewhere in its range is let loose: it becomes an interval of its own.
    """
    names = artifact.observation_names
    groups = tuple(tuple(find_columns(names, parameter.columns)) for parameter in family.parameters)
    if not all(groups):
        return None
    rows = states.astype(np.float32)
    for name, value in family.fixed.items():
        rows[:, find_columns(names, [name])] = value
    shift = artifact.normaliser.shift().astype(np.float64)
    scale = artifact.normaliser.scale().astype(np.float64)
    limit = artifact.normaliser.limit
    is_held = np.zeros(len(names), bool)
    is_held[find_columns(names, list(family.fixed))] = True
    # A column of scale 0 says nothing, whatever its value.
    reach = np.divide(family.spread, scale, out=np.zeros_like(scale), where=(scale > 0.0) & ~is_held)
    low = normalise(artifact, np.clip(rows - reach, -OBSERVATION_LIMIT, OBSERVATION_LIMIT))
    high = normalise(artifact, np.clip(rows + reach, -OBSERVATION_LIMIT, OBSERVATION_LIMIT))
    ties = np.zeros((len(names), len(groups)))
    for index, (parameter, group) in enumerate(zip(family.parameters, groups, strict=True)):
        for column in group:
            ends = (np.array([parameter.low, parameter.high]) - shift[column]) * scale[column]
            if np.abs(ends).max() < limit:
                ties[column, index] = scale[column]
                low[:, column] = high[:, column] = -shift[column] * scale[column]
            else:
                low[:, column], high[:, column] = np.clip(ends, -limit, limit)
    first = np.concatenate([network.weights[0] @ ties, network.weights[0]], axis=1)
    return Tied(
        Network((first, *network.weights[1:]), network.biases),
        rows,
        low,
        high,
        np.array([parameter.low for parameter in family.parameters]),
        np.array([parameter.high for parameter in family.parameters]),
        groups,
    )
