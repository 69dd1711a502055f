# SPDX-License-Identifier: BSD-2-Clause
"""The network in torch: one subflow's row in, one action out, and a critic beside it.

Every subflow of every connection is one row and all rows share these weights; what a subflow needs to know of its
siblings is pooled into its observation (ccdrl.envs.observation). So there is no mask and no attention here.

| part | sees | gives |
|---|---|---|
| normaliser | observation (N, F + P) | the same, standardised and clipped; statistics are buffers, not parameters |
| actor | the first F columns, without the hidden ones | mean of the action (N, 1), not clipped |
| log_std | nothing: state-independent | standard deviation of the exploration noise |
| critic | all F + P columns; the last P are simulator facts that no deployed agent has | value (N,) |

Asymmetric actor-critic: Pinto et al., RSS 2018. Orthogonal initialisation with a small last actor layer: Andrychowicz
et al., "What Matters in On-Policy Reinforcement Learning", ICLR 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ccdrl.models.normaliser import Normaliser

LOG_STD_MAX = 1.0
HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


class ActorCritic(nn.Module):
    """Actor and critic over raw observations; sizes as in the module's table."""

    shift: Tensor
    scale: Tensor
    visible: Tensor

    def __init__(
        self,
        observation_size: int,
        privileged_size: int,
        actor_layers: Sequence[int],
        critic_layers: Sequence[int],
        log_std: float = -0.5,
        log_std_min: float = -5.0,
        limit: float = 10.0,
        hidden_columns: Sequence[int] = (),
    ) -> None:
        """Build both networks with tanh layers of the given sizes; `limit` clips normalised observations.

        hidden_columns: those of the first F that the actor takes for 0, so that it learns without them.
        """
        super().__init__()
        self.observation_size = observation_size
        self.limit = limit
        self.log_std_min = log_std_min
        total = observation_size + privileged_size
        self.register_buffer("shift", torch.zeros(total))
        self.register_buffer("scale", torch.ones(total))
        visible = torch.ones(observation_size)
        visible[list(hidden_columns)] = 0.0
        # Follows from the configuration, so it is no part of a checkpoint.
        self.register_buffer("visible", visible, persistent=False)
        # A last actor layer near zero makes the first policy "keep the window" whatever the row says.
        self.actor = build_mlp([observation_size, *actor_layers, 1], output_gain=0.01)
        self.critic = build_mlp([total, *critic_layers, 1], output_gain=1.0)
        self.log_std = nn.Parameter(torch.full((1,), float(log_std)))

    def set_normaliser(self, normaliser: Normaliser) -> None:
        """Take statistics of all F + P columns."""
        self.shift.copy_(torch.from_numpy(normaliser.shift()))
        self.scale.copy_(torch.from_numpy(normaliser.scale()))

    def normalise(self, observations: Tensor) -> Tensor:
        """Standardise and clip raw observations (N, F + P), or their first columns."""
        columns = slice(observations.shape[1])
        return ((observations - self.shift[columns]) * self.scale[columns]).clamp(-self.limit, self.limit)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return the action's mean (N, 1) and the value (N,) of raw observations (N, F + P)."""
        rows = self.normalise(observations)
        return self.actor(rows[:, : self.observation_size] * self.visible), self.critic(rows).squeeze(1)

    def mean_action(self, observations: Tensor) -> Tensor:
        """Return the action's mean (N, 1), not clipped; the privileged columns may be missing."""
        mean: Tensor = self.actor(self.normalise(observations[:, : self.observation_size]) * self.visible)
        return mean

    def value(self, observations: Tensor) -> Tensor:
        """Return the critic's value (N,)."""
        value: Tensor = self.critic(self.normalise(observations)).squeeze(1)
        return value

    def bounded_log_std(self) -> Tensor:
        """Return log standard deviation (1,), kept within [log_std_min, LOG_STD_MAX]."""
        return self.log_std.clamp(self.log_std_min, LOG_STD_MAX)

    def log_probability(self, mean: Tensor, actions: Tensor) -> Tensor:
        """Return log N(action; mean, std) (N,) of unclipped actions (N, 1)."""
        log_std = self.bounded_log_std()
        z = (actions - mean) * torch.exp(-log_std)
        return (-0.5 * z * z - log_std - HALF_LOG_TWO_PI).squeeze(1)

    def entropy(self) -> Tensor:
        """Return the entropy (1,) of the action distribution in nats; the same for every row."""
        return self.bounded_log_std() + 0.5 + HALF_LOG_TWO_PI

    def export_weights(self, constants: Sequence[float] = ()) -> dict[str, NDArray[np.float32]]:
        """Return what a policy artifact keeps: `actor.<i>.weight`, `actor.<i>.bias`, `log_std`; float32 copies.

        The last columns that the actor sees take the given raw values for good: they become part of the first bias.
        Hidden columns have weights of 0.
        """
        weights: dict[str, NDArray[np.float32]] = {"log_std": to_array(self.bounded_log_std())}
        linear = [layer for layer in self.actor if isinstance(layer, nn.Linear)]
        for index, layer in enumerate(linear):
            weights[f"actor.{index}.weight"] = to_array(layer.weight)
            weights[f"actor.{index}.bias"] = to_array(layer.bias)
        kept = self.observation_size - len(constants)
        first = linear[0].weight * self.visible
        weights["actor.0.weight"] = to_array(first[:, :kept])
        if constants:
            fixed = slice(kept, self.observation_size)
            rows = (torch.tensor(constants) - self.shift[fixed]) * self.scale[fixed]
            weights["actor.0.bias"] = to_array(linear[0].bias + first[:, fixed] @ rows.clamp(-self.limit, self.limit))
        return weights


def build_mlp(sizes: Sequence[int], output_gain: float) -> nn.Sequential:
    """Return linear layers of the given sizes with tanh between them, orthogonally initialised, biases zero."""
    layers: list[nn.Module] = []
    for index, (fan_in, fan_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        is_last = index == len(sizes) - 2
        linear = nn.Linear(fan_in, fan_out)
        nn.init.orthogonal_(linear.weight, output_gain if is_last else math.sqrt(2.0))
        nn.init.zeros_(linear.bias)
        layers.append(linear)
        if not is_last:
            layers.append(nn.Tanh())
    return nn.Sequential(*layers)


def to_array(tensor: Tensor) -> NDArray[np.float32]:
    """Return a contiguous float32 copy."""
    return np.array(tensor.detach().cpu().numpy(), dtype=np.float32, order="C")
