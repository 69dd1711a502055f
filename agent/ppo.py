# SPDX-License-Identifier: BSD-2-Clause
"""PPO of Stable-Baselines3 over rows: its losses and its update, our rollout.

Stable-Baselines3 collects with a list of info dicts and bootstraps truncated episodes one by one; with hundreds of rows
that takes longer than the simulator and the network together. `RowPPO.collect_rollouts` does the same with arrays and
one critic call a step. tests/agent/test_trainer.py compares it with Stable-Baselines3's own and with hand computation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.logger import configure
from stable_baselines3.common.policies import ActorCriticPolicy

from ccdrl.agent.config import TrainingConfig, find_hidden_columns
from ccdrl.agent.sb3_env import Floats, RowVecEnv
from ccdrl.models.network import ActorCritic
from ccdrl.models.normaliser import RewardScaler, RunningMoments

Rows = Any
"""Tensor (N, F + P) of raw observations; Stable-Baselines3's own policies take dicts too."""


class TrainingDivergedError(RuntimeError):
    """A NaN or an infinity appeared in training; the message says where."""


class SubflowPolicy(ActorCriticPolicy):
    """`ActorCritic` as a Stable-Baselines3 policy: the actor sees the first columns, the critic all."""

    network: ActorCritic

    def __init__(self, *args: Any, network_arguments: dict[str, Any], **kwargs: Any) -> None:
        """Build with `network_arguments` for ActorCritic; the rest is Stable-Baselines3's."""
        self._network_arguments = network_arguments
        super().__init__(*args, **kwargs)

    def _build(self, lr_schedule: Callable[[float], float]) -> None:
        self.network = ActorCritic(**self._network_arguments)
        # Stable-Baselines3 logs it under this name.
        self.log_std = self.network.log_std
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=lr_schedule(1.0), eps=1e-5)

    def forward(self, obs: Rows, deterministic: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return actions (N, 1), values (N,) and log probabilities (N,) of raw observations (N, F + P)."""
        mean, values = self.network(obs)
        noise = torch.exp(self.network.bounded_log_std()) * torch.randn_like(mean)
        actions = mean if deterministic else mean + noise
        return actions, values, self.network.log_probability(mean, actions)

    def evaluate_actions(self, obs: Rows, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return values (N,), log probabilities (N,) and entropy (1,) of given actions (N, 1)."""
        mean, values = self.network(obs)
        return values, self.network.log_probability(mean, actions), self.network.entropy()

    def predict_values(self, obs: Rows) -> torch.Tensor:
        """Return values (N,)."""
        return self.network.value(obs)

    def get_distribution(self, obs: Rows) -> Distribution:
        """Return the action distribution, for Stable-Baselines3's `predict`."""
        mean = self.network.mean_action(obs)
        log_std = torch.ones_like(mean) * self.network.bounded_log_std()
        distribution: Distribution = self.action_dist.proba_distribution(mean, log_std)
        return distribution


class RolloutSums:
    """Means over a rollout of what the env tells in `info`: finite values of every numeric array."""

    def __init__(self) -> None:
        """Start empty."""
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def add(self, name: str, values: Any) -> None:
        """Take the finite values of an array or a number; anything that is not numeric is left out."""
        array = np.asarray(values)
        if array.dtype.kind not in "fiub" or array.size == 0:
            return
        total, count = float(array.sum(dtype=np.float64)), array.size
        if not np.isfinite(total):
            # NaN marks a row for which the term is not defined (a flow that has not started).
            finite = array[np.isfinite(array)]
            total, count = float(finite.sum(dtype=np.float64)), finite.size
        self.sums[name] = self.sums.get(name, 0.0) + total
        self.counts[name] = self.counts.get(name, 0) + count

    def means(self) -> dict[str, float]:
        """Return the mean of everything that had a finite value."""
        return {name: self.sums[name] / count for name, count in self.counts.items() if count}


def divide_rows(rows: int, wanted: int) -> int:
    """Return a size for equal minibatches of about `wanted` rows; a small rest would be a noisy gradient step."""
    fewest = max(1, round(rows / wanted))
    count = next((count for count in range(fewest, 2 * fewest + 1) if rows % count == 0), None)
    if count is None:
        # No equal parts exist; the last one is smaller by less than one row for each of the others.
        return -(-rows // fewest)
    return rows // count


def name_network_arguments(config: TrainingConfig, actor_columns: int, privileged_size: int) -> dict[str, Any]:
    """Return the keyword arguments of the `ActorCritic` that a configuration asks for."""
    return {
        "observation_size": actor_columns,
        "privileged_size": privileged_size,
        "actor_layers": config.actor_layers,
        "critic_layers": config.critic_layers,
        "log_std": config.log_std,
        "log_std_min": config.log_std_min,
        "limit": config.observation_limit,
        "hidden_columns": find_hidden_columns(config.hidden_columns),
    }


class RowPPO(PPO):
    """PPO with an array rollout; `sums` describes the last one."""

    def __init__(self, config: TrainingConfig, env: RowVecEnv) -> None:
        """Build network, optimizer and buffer for `env`; seeds torch and numpy's global generators."""
        start, end = config.learning_rate, config.learning_rate_end
        rows = env.num_envs * config.rollout_steps
        super().__init__(
            SubflowPolicy,
            env,
            # The last rollout may end beyond total_steps.
            learning_rate=lambda remaining: end + (start - end) * max(remaining, 0.0),
            n_steps=config.rollout_steps,
            batch_size=divide_rows(rows, config.minibatch_rows),
            n_epochs=config.epochs,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip_range,
            ent_coef=config.entropy_coefficient,
            vf_coef=config.value_coefficient,
            max_grad_norm=config.gradient_norm_max,
            target_kl=config.target_kl or None,
            policy_kwargs={
                "network_arguments": name_network_arguments(
                    config, env.rows.observation_size + env.rows.preference_size, env.rows.privileged_size
                )
            },
            seed=config.seed,
            device="cpu",
        )
        # Stable-Baselines3's logger with no output: train() records into it, the trainer reads it.
        self.set_logger(configure(None, []))
        columns = env.rows.observation_size + env.rows.preference_size + env.rows.privileged_size
        self.moments = RunningMoments(columns)
        self.scaler = RewardScaler(env.num_envs, config.gamma) if config.has_reward_scaling else None
        self.sums = RolloutSums()
        self.rows = env
        self.disturb: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None

    @property
    def network(self) -> ActorCritic:
        """The network that is trained."""
        return cast(SubflowPolicy, self.policy).network

    def start_episodes(self) -> None:
        """Reset the env; every row begins an episode."""
        self._last_obs = np.array(self.rows.reset(), dtype=np.float32)
        self._last_episode_starts = np.ones(self.n_envs, bool)
        if self.scaler is not None:
            self.scaler.returns[:] = 0.0

    def collect_rollouts(self, env: Any, callback: Any, rollout_buffer: Any, n_rollout_steps: int) -> bool:
        """Fill the buffer with `n_rollout_steps` steps of every row; `callback` is not called.

        A truncated row's reward gets gamma * V(final observation), because its episode goes on unseen (Pardo et al.,
        "Time Limits in Reinforcement Learning", ICML 2018); a terminated one's does not. Raises TrainingDivergedError.
        """
        buffer, self.sums = rollout_buffer, RolloutSums()
        buffer.reset()
        self.policy.set_training_mode(False)
        assert self._last_obs is not None and self._last_episode_starts is not None
        done: NDArray[np.bool_] = self._last_episode_starts
        with torch.no_grad():
            for t in range(n_rollout_steps):
                buffer.observations[t] = self._last_obs
                buffer.episode_starts[t] = done
                actions, values, log_probs = self.policy(torch.from_numpy(buffer.observations[t]))
                buffer.actions[t] = actions.numpy()
                buffer.values[t] = values.numpy()
                buffer.log_probs[t] = log_probs.numpy()
                taken = np.clip(buffer.actions[t, :, 0], -1.0, 1.0)
                step = env.step_rows(taken if self.disturb is None else self.disturb(taken))
                done = step.terminated | step.truncated
                self._check(step.observations, step.rewards)
                rewards = self.scaler.scale(step.rewards, done) if self.scaler else step.rewards
                buffer.rewards[t] = rewards
                cut = np.flatnonzero(step.truncated & ~step.terminated)
                if cut.size:
                    final = self.network.value(torch.from_numpy(step.final_observations[cut]))
                    buffer.rewards[t, cut] += self.gamma * final.numpy()
                self._last_obs = np.array(step.observations)
                self.sums.add("reward", step.rewards)
                self.sums.add("episode_ends", done)
                for name, term in step.info.items():
                    self.sums.add(name, term)
            last_values = self.network.value(torch.from_numpy(self._last_obs))
        self._last_episode_starts = done
        self.num_timesteps += n_rollout_steps * self.n_envs
        buffer.pos, buffer.full = n_rollout_steps, True
        buffer.compute_returns_and_advantage(last_values=last_values, dones=done)
        return True

    def _check(self, observations: Floats, rewards: Floats) -> None:
        """Stop at the first number that is not finite: it would silently poison the normaliser."""
        # One sum is the cheap test; only a failed one is looked into.
        if not np.isfinite(observations.sum()) and not (ok := np.isfinite(observations)).all():
            row, column = np.argwhere(~ok)[0]
            raise TrainingDivergedError(f"observation column {column} of row {row} is {observations[row, column]}")
        if not np.isfinite(rewards.sum()) and not (ok := np.isfinite(rewards)).all():
            row = int(np.flatnonzero(~ok)[0])
            raise TrainingDivergedError(f"reward of row {row} is {rewards[row]}")

    def check_update(self) -> dict[str, float]:
        """Return what the last update logged; raise TrainingDivergedError if it or a weight is not finite."""
        logged = {name: float(value) for name, value in self.logger.name_to_value.items()}
        self.logger.dump(self.num_timesteps)
        for name, value in logged.items():
            # Explained variance is NaN when all returns are equal; that is no fault.
            if not np.isfinite(value) and name != "train/explained_variance":
                raise TrainingDivergedError(f"{name} is {value} at step {self.num_timesteps}")
        for name, weight in self.network.named_parameters():
            if not bool(torch.isfinite(weight).all()):
                raise TrainingDivergedError(f"weight {name} is not finite at step {self.num_timesteps}")
        return logged
