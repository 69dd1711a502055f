# SPDX-License-Identifier: BSD-2-Clause
"""The settings of imitation, apart from it: a configuration is read without torch."""

from dataclasses import dataclass

from ccdrl.agent.settings import setting


@dataclass(frozen=True)
class ImitationConfig:
    """How long and how a teacher is imitated."""

    steps: int = setting(0, "of total_steps, before PPO; 0: none, total_steps and more: nothing else", 0, 1e12)
    log_std: float = setting(
        -2.5, "logarithm of the noise on the student's actions; PPO starts with log_std", -5.0, 1.0
    )
    learning_rate: float = setting(2e-3, "Adam's step size at the start", 1e-8, 1.0)
    learning_rate_end: float = setting(4e-5, "at the end of the imitation; linear in between", 0.0, 1.0)
    gradient_steps: int = setting(24, "for every 64 steps of each row", 1, 10000)
    search_gradient_steps: int = setting(
        0, "the same while PPO searches, at PPO's step size and for the actor alone; 0: the teacher is done", 0, 10000
    )
    minibatch_rows: int = setting(4096, "rows in one of them", 2, 1e9)
    memory_rollouts: int = setting(32, "newest rollouts that rows are drawn from", 1, 10000)
    huber: float = setting(0.2, "error from which on the loss is linear", 1e-6, 100.0)
    burst_probability: float = setting(0.02, "per step of a row, that a few strange actions begin", 0.0, 1.0)
