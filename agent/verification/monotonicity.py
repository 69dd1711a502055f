# SPDX-License-Identifier: BSD-2-Clause
"""More queue and more loss never mean a larger action, or the exceptions are listed.

From each state the observation moves along a line on which only congestion grows: all queue columns together, all loss
columns together, or both, as when every link of the connection gets busier. The line is cut into segments until the
derivative's sign is proven on each, or a segment is too short to matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ccdrl.agent.verification.derivative import ROUNDING_RISE, bound_slopes, scale_line
from ccdrl.agent.verification.families import LOSS_COLUMNS, QUEUE_COLUMNS, Rows
from ccdrl.agent.verification.network import Network
from ccdrl.agent.verification.relaxation import Floats
from ccdrl.envs.action import NEUTRAL
from ccdrl.envs.observation_layout import find_columns
from ccdrl.models.artifact import Artifact

QUEUE_RISE = 3.0
"""How far a queue line goes, in log2(srtt / base RTT): to eight times the RTT at its start."""
LOSS_END = 0.7
"""Where a loss line ends, as root of a loss ratio: every second packet is lost."""
SEGMENTS = 48
HALVINGS = 4


@dataclass(frozen=True)
class Direction:
    """A way in which congestion grows; `resets` are columns that it sets first, as they would contradict it."""

    name: str
    meaning: str
    has_queue: bool
    has_loss: bool
    resets: dict[str, float]


DIRECTIONS = (
    Direction("queue", "every queue rises, up to 8 times the RTT", True, False, {"is_startup": 0.0}),
    Direction("loss", "loss rises to 50 %", False, True, {"is_startup": 0.0, "since_loss": 0.0}),
    Direction("both", "queues and loss rise together", True, True, {"is_startup": 0.0, "since_loss": 0.0}),
)


@dataclass(frozen=True)
class Rise:
    """An exception: from `begin` to `end` (parts of the line, 0 to 1) the action rises by `amount` to `action_end`."""

    direction: str
    state: int
    begin: float
    end: float
    action_end: float
    amount: float


@dataclass(frozen=True)
class DirectionResult:
    """Shares of all lines' length on which the action is proven not to rise, proven to rise, or neither.

    n_monotone counts the lines that are proven never to rise, n_growing those with a rise that ends above NEUTRAL:
    there, more congestion makes the window grow faster. highest_rise is the largest rise between two points of one line
    that was computed, rise_bound what is proven never to be exceeded.
    """

    name: str
    meaning: str
    n_lines: int
    n_monotone: int
    n_growing: int
    falling: float
    rising: float
    open: float
    highest_rise: float
    rise_bound: float
    exceptions: tuple[Rise, ...]


def check_direction(artifact: Artifact, network: Network, states: Rows, direction: Direction) -> DirectionResult | None:
    """Check one direction from raw states (N, F); None where this layout lacks its columns."""
    lines = make_lines(artifact, states, direction)
    if lines is None:
        return None
    count = len(states)
    cuts, owners = np.linspace(0.0, 1.0, SEGMENTS + 1), np.repeat(np.arange(count), SEGMENTS)
    begin, end = np.tile(cuts[:-1], count), np.tile(cuts[1:], count)
    settled: list[Floats] = []
    for halving in range(HALVINGS + 1):
        slopes = bound_slopes(artifact, network, (lines[0][owners], lines[1][owners]), begin, end)
        is_settled = (slopes.high <= 0.0) | (slopes.low > 0.0) | (halving == HALVINGS)
        settled.append(np.stack([owners, begin, end, slopes.low, slopes.high])[:, is_settled])
        owners, begin, end = owners[~is_settled], begin[~is_settled], end[~is_settled]
        middle = 0.5 * (begin + end)
        owners, begin, end = np.tile(owners, 2), np.concatenate([begin, middle]), np.concatenate([middle, end])
    table = np.concatenate(settled, axis=1)
    table = table[:, np.lexsort((table[1], table[0]))]
    length, is_falling, is_rising = table[2] - table[1], table[4] <= 0.0, table[3] > 0.0
    each = [_follow(artifact, network, lines, table[:, table[0] == state], direction.name) for state in range(count)]
    falling, rising = float(length[is_falling].sum() / count), float(length[is_rising].sum() / count)
    exceptions = sorted((rise for _, _, rises in each for rise in rises), key=lambda rise: (-rise.amount, rise.state))
    return DirectionResult(
        direction.name,
        direction.meaning,
        count,
        count - len(np.unique(table[0][~is_falling])),
        len({rise.state for rise in exceptions if rise.action_end > NEUTRAL}),
        falling,
        rising,
        max(0.0, 1.0 - falling - rising),
        max(found for found, _, _ in each),
        max(bound for _, bound, _ in each),
        tuple(exceptions),
    )


def make_lines(artifact: Artifact, states: Rows, direction: Direction) -> tuple[Floats, Floats] | None:
    """Return the normalised lines (see `scale_line`), t from 0 to 1, of one direction."""
    names = artifact.observation_names
    start = states.astype(np.float64)
    for name, value in direction.resets.items():
        start[:, find_columns(names, [name])] = value
    way = np.zeros_like(start)
    queue = find_columns(names, QUEUE_COLUMNS) if direction.has_queue else []
    loss = find_columns(names, LOSS_COLUMNS) if direction.has_loss else []
    if (direction.has_queue and not queue) or (direction.has_loss and not loss):
        return None
    way[:, queue] = QUEUE_RISE
    way[:, loss] = np.maximum(LOSS_END - start[:, loss], 0.0)
    return scale_line(artifact, start, way)


def compute_actions(artifact: Artifact, network: Network, line: tuple[Floats, Floats], t: Floats) -> Floats:
    """Return the clipped actions (N,) in float64 at t (N,) of one normalised line."""
    limit = artifact.normaliser.limit
    hidden = np.clip(line[0] + t[:, None] * line[1], -limit, limit)
    for weight, bias in zip(network.weights[:-1], network.biases[:-1], strict=True):
        hidden = np.tanh(hidden @ weight.T + bias)
    output = hidden @ network.weights[-1][0] + network.biases[-1][0]
    return np.asarray(np.clip(output, artifact.action_low, artifact.action_high))


def _follow(
    artifact: Artifact, network: Network, lines: tuple[Floats, Floats], table: Floats, name: str
) -> tuple[float, float, list[Rise]]:
    """Return highest rise found, its proven bound and the exceptions of one line; table columns are its segments."""
    state = int(table[0, 0])
    begin, end, high = table[1], table[2], table[4]
    line = lines[0][state : state + 1], lines[1][state : state + 1]
    actions = compute_actions(artifact, network, line, np.append(begin, end[-1]))
    # Inside a segment the action climbs at most by its highest slope times its length, from either end.
    climb = np.maximum(high, 0.0) * (end - begin)
    lowest, bound = np.inf, float(climb.max())
    for i in range(len(begin)):
        # `lowest` is a bound from below of the action anywhere before the segment.
        bound = max(bound, float(actions[i] + climb[i] - lowest)) if i else bound
        lowest = min(lowest, float(actions[i + 1] - climb[i]))
    floor = np.minimum.accumulate(actions)
    found = float((actions - floor).max())
    return found, bound, _list_rises(name, state, np.append(begin, end[-1]), actions)


def _list_rises(name: str, state: int, t: Floats, actions: Floats) -> list[Rise]:
    """Return the stretches on which the computed action rises by more than rounding."""
    rises, first = [], 0
    for i in range(1, len(t) + 1):
        if i < len(t) and actions[i] > actions[i - 1]:
            continue
        amount = float(actions[i - 1] - actions[first])
        if amount > ROUNDING_RISE:
            rises.append(Rise(name, state, float(t[first]), float(t[i - 1]), float(actions[i - 1]), amount))
        first = i
    return rises


def check_monotonicity(
    artifact: Artifact, network: Network, states: Rows, directions: Sequence[Direction] = DIRECTIONS
) -> list[DirectionResult]:
    """Check every direction that this layout has."""
    results = (check_direction(artifact, network, states, direction) for direction in directions)
    return [result for result in results if result is not None]
