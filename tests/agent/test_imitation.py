# SPDX-License-Identifier: BSD-2-Clause
import numpy as np
import pytest

from ccdrl.agent import checkpoint
from ccdrl.agent.config import load_config
from ccdrl.agent.policy import load_policy
from ccdrl.agent.trainer import Trainer, resume_config
from ccdrl.bindings.errors import InputError

SMALL = {
    "rollout_steps": 16, "minibatch_rows": 128, "actor_layers": [16], "critic_layers": [16], "gamma": 0.5,
    "checkpoint_steps": 2048, "torch_threads": 1, "log_std": -3.0, "imitation.minibatch_rows": 256,
    "imitation.gradient_steps": 32, "imitation.memory_rollouts": 8,
}  # fmt: skip


def make_config(**changes):
    return load_config(None, (), SMALL | {name.replace("__", "."): value for name, value in changes.items()})


def test_the_actor_learns_what_the_teacher_does_and_not_what_is_paid(tmp_path, target_env):
    config = make_config(total_steps=16_000, imitation__steps=16_000)
    trainer = Trainer(config, target_env, tmp_path / "run", teacher=lambda rows: rows[:, 0] * 0 + 0.4)
    assert trainer.run()
    env = target_env(seed=99, rows=64)
    actions = load_policy(tmp_path / "run" / "policy").act(env.reset()[:, : env.observation_size])
    assert np.sqrt(np.mean((actions - 0.4) ** 2)) < 0.1


def test_ppo_goes_on_from_there(tmp_path, target_env):
    """The teacher is wrong on purpose; PPO mends it."""
    config = make_config(total_steps=60_000, imitation__steps=6_000, learning_rate=3e-3, log_std=-1.0)
    trainer = Trainer(config, target_env, tmp_path / "run", teacher=lambda rows: rows[:, 0] * 0 + 0.4)
    assert trainer.run()
    env = target_env(seed=99, rows=256)
    rows = env.reset()
    actions = load_policy(tmp_path / "run" / "policy").act(rows[:, : env.observation_size])
    assert np.sqrt(np.mean((actions - rows[:, 0]) ** 2)) < 0.25


def test_a_teacher_that_stays_holds_ppo_back(tmp_path, target_env):
    """As above, but the wrong teacher is asked all along."""
    config = make_config(
        total_steps=60_000,
        imitation__steps=6_000,
        learning_rate=3e-3,
        log_std=-1.0,
        imitation__search_gradient_steps=64,
    )
    trainer = Trainer(config, target_env, tmp_path / "run", teacher=lambda rows: rows[:, 0] * 0 + 0.4)
    assert trainer.run()
    env = target_env(seed=99, rows=256)
    rows = env.reset()
    actions = load_policy(tmp_path / "run" / "policy").act(rows[:, : env.observation_size])
    assert np.sqrt(np.mean((actions - 0.4) ** 2)) < 0.25 < np.sqrt(np.mean((actions - rows[:, 0]) ** 2))


@pytest.mark.parametrize(("teacher_steps", "reminders"), [(6000, 0), (1000, 2)])
def test_a_run_resumed_while_the_teacher_is_there_is_the_same_to_the_bit(
    tmp_path, target_env, teacher_steps, reminders
):
    config = make_config(total_steps=8192, imitation__steps=teacher_steps, imitation__search_gradient_steps=reminders)

    def constant(rows):
        return rows[:, 0] * 0 + 0.4

    Trainer(config, target_env, tmp_path / "whole", teacher=constant).run()
    folders = checkpoint.find_all(tmp_path / "whole" / "checkpoints")
    saved = resume_config(folders[0], None)
    trainer = Trainer(saved[0], target_env, tmp_path / "rest", teacher=constant)
    trainer.restore(saved[1])
    trainer.run()
    left, right = (checkpoint.read(checkpoint.find_newest(tmp_path / name)) for name in ("whole", "rest"))
    assert left.arrays.keys() == right.arrays.keys()
    assert [name for name in left.arrays if left.arrays[name].tobytes() != right.arrays[name].tobytes()] == []


@pytest.mark.parametrize(("total_steps", "noise"), [(2048, -2.5), (4096, -1.0)])
def test_each_phase_has_its_own_noise(tmp_path, target_env, total_steps, noise):
    config = make_config(
        total_steps=total_steps, imitation__steps=2048, log_std=-1.0, learning_rate=1e-8, learning_rate_end=0.0
    )
    trainer = Trainer(config, target_env, tmp_path / "run", teacher=lambda rows: rows[:, 0] * 0)
    trainer.run()
    assert float(trainer.ppo.network.log_std.detach()[0]) == pytest.approx(noise, abs=1e-5)


def test_imitation_without_a_teacher_is_refused(tmp_path, target_env):
    with pytest.raises(InputError, match=r"^imitation\.steps: 1024, but without a teacher only 0 works$"):
        Trainer(make_config(imitation__steps=1024), target_env, tmp_path / "run")
