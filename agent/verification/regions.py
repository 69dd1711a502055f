# SPDX-License-Identifier: BSD-2-Clause
"""What a transport engineer wants of any agent, as limits on the mean action over families of states.

An action within +-NEUTRAL leaves the window to the coupling, 1 doubles it in an RTT and -1 halves it (envs/action.py).
Queues are log2(srtt / base RTT): 2.32 is a standing
queue of four base RTTs. Loss columns are roots of ratios: 0.1 is 1 %, 0.3 is 9 %, 0.5 is 25 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ccdrl.agent.verification.families import LOSS_COLUMNS, QUEUE_COLUMNS, Family, Parameter
from ccdrl.agent.verification.search import Limit
from ccdrl.envs.action import NEUTRAL

FOUR_BASE_RTTS = 2.32
DEEPEST_QUEUE = 5.0
"""32 base RTTs: deeper than any buffer that training knows."""


def scale(step: float) -> float:
    """Return the action that moves the window by 2^step an RTT, step > 0."""
    return NEUTRAL + (1.0 - NEUTRAL) * step


def queue(low: float, high: float) -> Parameter:
    """One queue for the subflow, its siblings and the past."""
    return Parameter("queue", QUEUE_COLUMNS, low, high, ("srtt_ratio", "queue_min_8", "queue_max_8"))


def loss(low: float, high: float) -> Parameter:
    """One steady loss ratio for the subflow, its siblings and the past."""
    return Parameter("loss", LOSS_COLUMNS, low, high, ("loss_short",))


STEADY = dict.fromkeys(("is_startup", "rtt_gradient", "loss_above_best"), 0.0)
"""What equal queues and losses mean for columns that compare them: with the past, with siblings."""
LOSING = STEADY | {"since_loss": 0.0}
NO_LOSS = STEADY | dict.fromkeys((*LOSS_COLUMNS, "is_recovery", "is_timeout"), 0.0)
EMPTY = 0.1
"""A queue of 7 % of the base RTT: what jitter and delayed ACKs make of an empty one."""


@dataclass(frozen=True)
class Property:
    """One wish: over `family`, from the recorded states in which the columns of `where` hold these values."""

    name: str
    meaning: str
    limit: Limit
    family: Family
    where: Mapping[str, float] = field(default_factory=dict)


PROPERTIES = (
    Property(
        "startup-grows",
        "start-up, no loss, empty queue: never reduces",
        Limit(-1, -NEUTRAL),
        Family((queue(0.0, EMPTY),), NO_LOSS | {"is_startup": 1.0}),
        {"is_startup": 1.0},
    ),
    Property(
        "queue-and-loss-falls",
        "standing queue above 4 base RTTs and more than 9 % loss: never raises beyond the coupling",
        Limit(1, NEUTRAL),
        Family((queue(FOUR_BASE_RTTS, DEEPEST_QUEUE), loss(0.3, 1.0)), LOSING),
    ),
    Property(
        "queue-falls",
        "standing queue above 4 base RTTs, no loss: never raises beyond the coupling",
        Limit(1, NEUTRAL),
        Family((queue(FOUR_BASE_RTTS, DEEPEST_QUEUE),), NO_LOSS),
    ),
    Property(
        "heavy-loss-falls",
        "25 % loss or more, any queue: never raises beyond the coupling",
        Limit(1, NEUTRAL),
        Family((queue(0.0, DEEPEST_QUEUE), loss(0.5, 1.0)), LOSING),
    ),
    Property(
        "light-loss-holds",
        "up to 1 % loss, empty queue: never reduces by more than 7 % an RTT of itself",
        Limit(-1, -scale(0.1)),
        Family((queue(0.0, EMPTY), loss(0.0, 0.1)), STEADY | {"is_recovery": 0.0, "is_timeout": 0.0}),
    ),
    Property(
        "timeout-restrained",
        "after a time-out, 1 % loss or more: never raises by more than 41 % an RTT",
        Limit(1, scale(0.5)),
        Family((queue(0.0, DEEPEST_QUEUE), loss(0.1, 1.0)), LOSING | {"is_timeout": 1.0, "is_recovery": 0.0}),
        {"is_timeout": 1.0},
    ),
    Property(
        "ecn-falls",
        "half of the ACKs or more with CE, a queue: never raises beyond the coupling",
        Limit(1, NEUTRAL),
        Family((Parameter("ecn", ("ecn_ratio",), 0.7, 1.0), queue(0.3, DEEPEST_QUEUE)), NO_LOSS),
    ),
)
