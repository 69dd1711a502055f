# SPDX-License-Identifier: BSD-2-Clause
"""Imitation of a teacher that sees the simulator's facts, before PPO searches on its own.

The student acts, the teacher says what it would have done there, and the actor is fitted to that over what was lately
seen (DAgger: Ross, Gordon and Bagnell, "A Reduction of Imitation Learning and Structured Prediction to No-Regret Online
Learning", AISTATS 2011). What the teacher knows and the student cannot see averages out: the fitted action is close to
the expected one given the observation. The critic is fitted to the returns meanwhile, so that PPO can go on from here.

While PPO searches the teacher may stay (`search_gradient_steps`; Schmitt et al., "Kickstarting Deep Reinforcement
Learning", 2018): what it taught of balance and of random loss is otherwise worn off by PPO's noise, more in one seed
than in another (docs/experiments.md).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ccdrl.agent.imitation_config import ImitationConfig
from ccdrl.agent.ppo import RowPPO

Floats = NDArray[np.float32]
Teacher = Callable[[Floats], Floats]
"""Rows with all columns to actions (N,)."""

BURST_SIZES = (-1.0, -0.3, 0.3, 1.0)
BURST_STEPS_MAX = 7
GRADIENT_NORM_MAX = 1.0


class Imitator:
    """Fits the networks of a learner, one rollout after the other; between them it disturbs what the student does."""

    def __init__(self, config: ImitationConfig, ppo: RowPPO, teacher: Teacher) -> None:
        """Imitate `teacher` with the networks, the optimizer and the rollouts of `ppo`."""
        self.config, self.ppo, self.teacher = config, ppo, teacher
        places = (config.memory_rollouts, ppo.rollout_buffer.buffer_size * ppo.n_envs)
        self._rows = torch.zeros((*places, ppo.network.observation_size))
        self._wanted = torch.zeros(places)
        self._is_live = torch.zeros(places)
        self.forget()

    def forget(self) -> None:
        """Empty the memory and end all bursts: what follows depends on the learner alone."""
        self._rollouts = 0
        self._burst = np.zeros(self.ppo.n_envs, np.float32)
        self._steps_left = np.zeros(self.ppo.n_envs, np.int64)

    def disturb(self, actions: Floats) -> Floats:
        """Return the actions with bursts of strange ones among them; draws from torch's generator."""
        n = len(actions)
        begins = (torch.rand(n).numpy() < self.config.burst_probability) & (self._steps_left <= 0)
        length = torch.randint(1, BURST_STEPS_MAX + 1, (n,)).numpy()
        size = np.array(BURST_SIZES, np.float32)[torch.randint(len(BURST_SIZES), (n,)).numpy()]
        self._steps_left = np.where(begins, length, self._steps_left - 1)
        self._burst = np.where(begins, size, self._burst)
        return np.where(self._steps_left > 0, self._burst, actions)

    def train(self) -> dict[str, float]:
        """Take the rollout in the learner's buffer into the memory and fit both networks; return the mean losses."""
        progress = min(self.ppo.num_timesteps / self.config.steps, 1.0)
        rate = self.config.learning_rate + (self.config.learning_rate_end - self.config.learning_rate) * progress
        for group in self.ppo.policy.optimizer.param_groups:
            group["lr"] = rate
        losses = self._take_and_fit(self.config.gradient_steps, with_critic=True)
        return {
            "imitation/actor_loss": losses[0],
            "imitation/critic_loss": losses[1],
            "imitation/learning_rate": rate,
        }

    def remind(self) -> dict[str, float]:
        """After an update of PPO: fit the actor a little, at PPO's step size; return its mean loss."""
        if self.config.search_gradient_steps == 0:
            return {}
        return {"imitation/actor_loss": self._take_and_fit(self.config.search_gradient_steps, with_critic=False)[0]}

    def _take_and_fit(self, gradient_steps: int, *, with_critic: bool) -> tuple[float, float]:
        """Take the rollout in the learner's buffer into the memory, fit, return the mean losses."""
        ppo, config = self.ppo, self.config
        buffer = ppo.rollout_buffer
        columns = buffer.observations.shape[-1]
        rows = torch.from_numpy(buffer.observations.reshape(-1, columns).copy())
        returns = torch.from_numpy(buffer.returns.reshape(-1).copy()) if with_critic else None
        seen = ppo.network.observation_size
        place = self._rollouts % config.memory_rollouts
        self._rows[place] = rows[:, :seen]
        self._wanted[place] = torch.from_numpy(self.teacher(rows.numpy()))
        self._is_live[place] = (rows[:, : ppo.rows.rows.observation_size] != 0.0).any(dim=1)
        self._rollouts += 1
        losses = np.zeros(2)
        count = max(1, round(gradient_steps * buffer.buffer_size / 64))
        for _ in range(count):
            losses += self._fit(rows, returns)
        actor, critic = (losses / count).tolist()
        return actor, critic

    def _fit(self, rows: torch.Tensor, returns: torch.Tensor | None) -> tuple[float, float]:
        """One gradient step: the actor on rows of the memory; with returns, the critic on the newest rollout."""
        config, network = self.config, self.ppo.network
        n = config.minibatch_rows
        rollout = torch.randint(min(self._rollouts, config.memory_rollouts), (n,))
        picked = torch.randint(len(rows), (n,))
        live = self._is_live[rollout, picked]
        errors = functional.smooth_l1_loss(
            network.mean_action(self._rows[rollout, picked]).squeeze(1),
            self._wanted[rollout, picked],
            beta=config.huber,
            reduction="none",
        )
        error = (errors * live).sum() / live.sum().clamp(min=1.0)
        value_error = torch.zeros(())
        if returns is not None:
            newest = torch.randint(len(rows), (n,))
            value_error = functional.mse_loss(network.value(rows[newest]), returns[newest])
        self.ppo.policy.optimizer.zero_grad()
        torch.autograd.backward(error + value_error)
        torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM_MAX)
        self.ppo.policy.optimizer.step()
        return error.item(), value_error.item()
