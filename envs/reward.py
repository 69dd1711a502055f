# SPDX-License-Identifier: BSD-2-Clause
"""What training wants of a connection: its fair share, short queues, no losses of its own making, no harm.

For each connection and interval

    reward = U(x / x*) - w_delay * D - w_loss * max(0, L - p) - w_harm * max(0, x / x* - margin)

x is the delivery rate smoothed over one RTT and x* the connection's rate in the coupled equilibrium, which RFC 6356 is
for (envs/coupled_share.py). U is
1 + log2(u) / 5 within [0, 1]: losing half of the share costs the same wherever one starts, and nothing is won above it.
D is the share of the RTT that queues add, L the loss ratio over about 4 srtt, p the network's random loss.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RATIO_MAX = 8.0
PREFERENCE_NAMES = ("delay_preference", "harm_preference")
"""What a policy in training is told of its reward: log2 of the factors on the weights of delay and harm."""
PREFERENCE_SIZE = len(PREFERENCE_NAMES)
REWARD_TERMS = ("utility", "delay", "loss", "harm")


@dataclass(frozen=True, slots=True)
class RewardConfig:
    """Weights of the reward's terms."""

    utility_floor: float = 1.0 / 32.0
    """Part of the fair share below which the utility is 0."""
    delay_weight: float = 0.4
    """Where the queue is the agents' own."""
    rival_delay_weight: float = 0.1
    """Where a loss-based competitor fills the buffer anyway."""
    loss_weight: float = 2.0
    harm_weight: float = 0.5
    """For what exceeds the fair share of a link that others use too."""
    harm_margin: float = 1.05
    delay_preference: float = 0.0
    """Each network's delay weight is drawn within a factor of 2 to the power of +- this; the policy is told."""
    harm_preference: float = 0.0
    """The same for the harm weight."""


@dataclass(frozen=True, slots=True)
class Reward:
    """The reward and its terms, each an array over connections; total = utility - delay - loss - harm."""

    total: Floats
    utility: Floats
    delay: Floats
    loss: Floats
    harm: Floats


def compute_utility(ratio: Floats, floor: float) -> Floats:
    """Return U: 0 at `floor` of the fair share and below, 1 at the share and above, concave in between."""
    span = -np.log2(floor)
    return np.asarray(np.clip(1.0 + np.log2(np.maximum(ratio, floor)) / span, 0.0, 1.0))


def compute_delay_ratio(srtt_us: Floats, base_us: Floats) -> Floats:
    """Return which part of the RTT queues add, within [0, 1)."""
    return np.asarray(np.maximum(srtt_us - base_us, 0.0) / np.maximum(np.maximum(srtt_us, base_us), 1.0))


def compute_reward(
    ratio: Floats,
    delay_ratio: Floats,
    loss_ratio: Floats,
    random_loss: Floats,
    is_shared: NDArray[np.bool_],
    rival_share: Floats,
    config: RewardConfig,
    preference: Floats | None = None,
) -> Reward:
    """Return the reward of each connection; all arrays are over connections.

    ratio: x / x*; delay_ratio: D; is_shared: another connection is on its links; rival_share: part of its traffic that
    meets a loss-based competitor, in [0, 1]; preference: (connections, 2), log2 of factors of the weights of delay and
    harm, none by default.
    """
    delay_factor, harm_factor = (1.0, 1.0) if preference is None else np.exp2(preference.T)
    ratio = np.minimum(ratio, RATIO_MAX)
    utility = compute_utility(ratio, config.utility_floor)
    weight = config.delay_weight + (config.rival_delay_weight - config.delay_weight) * rival_share
    delay = delay_factor * weight * delay_ratio
    loss = config.loss_weight * np.maximum(loss_ratio - random_loss, 0.0)
    harm = np.where(is_shared, harm_factor * config.harm_weight * np.maximum(ratio - config.harm_margin, 0.0), 0.0)
    return Reward(utility - delay - loss - harm, utility, delay, loss, harm)
