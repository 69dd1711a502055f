# SPDX-License-Identifier: BSD-2-Clause
import json
import os
import signal

import numpy as np
import pytest
import torch

from ccdrl.agent import checkpoint
from ccdrl.agent.config import load_config
from ccdrl.agent.policy import load_policy
from ccdrl.agent.ppo import RowPPO
from ccdrl.agent.sb3_env import RowVecEnv
from ccdrl.agent.trainer import Trainer, TrainingDivergedError, resume_config
from ccdrl.bindings.errors import InputError

SMALL = {
    "rollout_steps": 16,
    "minibatch_rows": 128,
    "actor_layers": [16],
    "critic_layers": [16],
    "learning_rate": 3e-3,
    "learning_rate_end": 3e-3,
    "gamma": 0.5,
    "checkpoint_steps": 1024,
    "torch_threads": 1,
    "checkpoints_kept": 100,
}


def small_config(**changes):
    return load_config(None, (), SMALL | changes)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def same_arrays(left, right):
    assert left.arrays.keys() == right.arrays.keys()
    return [name for name in left.arrays if left.arrays[name].tobytes() != right.arrays[name].tobytes()]


def newest(folder):
    return checkpoint.read(checkpoint.find_newest(folder))


def test_learns_the_identity_in_seconds(tmp_path, target_env):
    """The saved policy, through the numpy inference, has learned to repeat one column among noise."""
    trainer = Trainer(small_config(total_steps=60_000), target_env, tmp_path / "run")
    assert trainer.run()
    env = target_env(seed=99, rows=256)
    rows = env.reset()
    actions = load_policy(tmp_path / "run" / "policy").act(rows[:, : env.observation_size])
    # An untrained policy's error is the deviation of a uniform variable on [-0.8, 0.8]: 0.46.
    assert np.sqrt(np.mean((actions - rows[:, 0]) ** 2)) < 0.15
    assert trainer.env.rows.is_closed


def test_normaliser_in_the_artifact_is_the_distribution_of_the_rows(tmp_path, target_env):
    trainer = Trainer(small_config(total_steps=8192), target_env, tmp_path / "run")
    trainer.run()
    normaliser = trainer.artifact().normaliser
    assert normaliser.mean.shape == (trainer.env.rows.observation_size,)
    # Nine thousand rows: the mean's standard error is 5 / sqrt(9000) = 0.05; four of them.
    np.testing.assert_allclose(normaliser.mean[1:], 3.0, atol=0.22)
    np.testing.assert_allclose(normaliser.variance[1:], 25.0, rtol=0.1)
    # One rollout to fill the normaliser, then as many rows as steps.
    assert normaliser.count == 8192 + 16 * 32


def test_without_normaliser_the_statistics_are_the_identity(tmp_path, target_env):
    trainer = Trainer(small_config(total_steps=512, has_normaliser=False), target_env, tmp_path / "run")
    trainer.run()
    assert trainer.artifact().normaliser.count == 0
    assert float(trainer.ppo.network.scale.min()) == float(trainer.ppo.network.scale.max()) == 1.0


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path, target_env):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        Trainer(small_config(total_steps=2048, seed=seed), target_env, tmp_path / name).run()
    a, b, c = (files(tmp_path / name / "policy")["policy.safetensors"] for name in "abc")
    assert a == b
    assert a != c


def test_a_run_resumed_from_a_scheduled_checkpoint_ends_with_the_same_bytes(tmp_path, target_env):
    config = small_config(total_steps=4096)
    Trainer(config, target_env, tmp_path / "whole").run()
    first = checkpoint.find_all(tmp_path / "whole" / "checkpoints")[1]
    resumed_config, saved = resume_config(first, None)
    assert resumed_config == config
    assert saved.document["steps"] == 2048
    resumed = Trainer(resumed_config, target_env, tmp_path / "resumed")
    resumed.restore(saved)
    resumed.run()
    assert same_arrays(newest(tmp_path / "whole"), newest(tmp_path / "resumed")) == []
    weights = [files(tmp_path / name / "policy")["policy.safetensors"] for name in ("whole", "resumed")]
    assert weights[0] == weights[1]


def test_interrupt_saves_and_the_rest_can_be_trained(tmp_path, target_env):
    class Interrupt:
        def start(self, trainer):
            pass

        def update(self, trainer, scalars):
            os.kill(os.getpid(), signal.SIGINT)

        def finish(self, trainer):
            pass

    before = signal.getsignal(signal.SIGINT)
    trainer = Trainer(small_config(total_steps=4096), target_env, tmp_path / "run", [Interrupt()])
    assert trainer.run() is False
    assert signal.getsignal(signal.SIGINT) is before
    assert trainer.steps == 512
    config, saved = resume_config(tmp_path / "run", None)
    assert saved.document["steps"] == 512
    for name in ("x", "y"):
        again = Trainer(config, target_env, tmp_path / name)
        again.restore(saved)
        assert again.run()
    assert same_arrays(newest(tmp_path / "x"), newest(tmp_path / "y")) == []


def test_second_interrupt_ends_at_once(tmp_path, target_env):
    class Impatient:
        def start(self, trainer):
            pass

        def update(self, trainer, scalars):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

        def finish(self, trainer):
            pass

    trainer = Trainer(small_config(total_steps=4096), target_env, tmp_path / "run", [Impatient()])
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert trainer.env.rows.is_closed


def test_nan_from_the_env_stops_and_the_checkpoint_stays(tmp_path, target_env):
    made = []

    def make_env(seed):
        made.append(target_env(seed, fault_after=10 if made else None))
        return made[-1]

    trainer = Trainer(small_config(total_steps=10_000), make_env, tmp_path / "run")
    with pytest.raises(TrainingDivergedError, match="observation column 2 of row 3 is nan"):
        trainer.run()
    state = newest(tmp_path / "run")
    assert state.document["steps"] == 1024
    assert all(np.isfinite(array).all() for name, array in state.arrays.items() if array.dtype.kind == "f")


def test_nan_in_a_weight_stops(tmp_path, target_env):
    class Poison:
        def start(self, trainer):
            pass

        def update(self, trainer, scalars):
            with torch.no_grad():
                trainer.ppo.network.critic[0].weight[0, 0] = float("nan")

        def finish(self, trainer):
            pass

    trainer = Trainer(small_config(total_steps=10_000), target_env, tmp_path / "run", [Poison()])
    with pytest.raises(TrainingDivergedError, match="nan"):
        trainer.run()


def test_damaged_checkpoint_and_finished_run_are_refused(tmp_path, target_env):
    Trainer(small_config(total_steps=1024), target_env, tmp_path / "run").run()
    with pytest.raises(InputError, match="1024 steps are done already"):
        resume_config(tmp_path / "run", None)
    config, _ = resume_config(tmp_path / "run", 5000)
    assert config.total_steps == 5000
    folder = checkpoint.find_newest(tmp_path / "run")
    state = folder / "state.safetensors"
    content = bytearray(state.read_bytes())
    content[-1] ^= 1
    state.write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        resume_config(tmp_path / "run", 5000)
    (folder / "state.json").write_text("{")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        resume_config(tmp_path / "run", 5000)
    with pytest.raises(InputError, match="no checkpoint there"):
        resume_config(tmp_path / "nowhere", 5000)


def test_only_the_newest_checkpoints_are_kept(tmp_path, target_env):
    Trainer(small_config(total_steps=5000, checkpoints_kept=2), target_env, tmp_path / "run").run()
    steps = [path.name for path in checkpoint.find_all(tmp_path / "run" / "checkpoints")]
    assert steps == ["step-000000004096", "step-000000005120"]
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))


def test_best_policy_is_the_one_with_the_highest_score(tmp_path, target_env):
    class Scores:
        scores = [0.5, 2.0, 1.0, 1.5]

        def start(self, trainer):
            self.kept = []

        def update(self, trainer, scalars):
            if self.scores:
                self.kept.append(trainer.offer(self.scores.pop(0), {"goodput": 1.0}))

        def finish(self, trainer):
            pass

    scores = Scores()
    Trainer(small_config(total_steps=2048), target_env, tmp_path / "run", [scores]).run()
    assert scores.kept == [True, True, False, False]
    best = json.loads((tmp_path / "run" / "best" / "policy.json").read_text())
    assert best["results"]["validation_score"] == 2.0
    assert best["training"]["steps"] == 1024


def test_artifact_names_its_origin(tmp_path, target_env):
    config = small_config(total_steps=512)
    Trainer(config, target_env, tmp_path / "run").run()
    document = json.loads((tmp_path / "run" / "policy" / "policy.json").read_text())
    assert document["training"]["config_sha256"] == config.sha256()
    assert document["training"]["seed"] == 1
    assert document["provenance"]["libraries"]["torch"]
    assert load_config(str(tmp_path / "run" / "config.toml")) == config


def collect(config, env):
    ppo = RowPPO(config, RowVecEnv(env))
    ppo.start_episodes()
    ppo.collect_rollouts(ppo.env, None, ppo.rollout_buffer, config.rollout_steps)
    return ppo


def test_advantages_are_those_of_a_hand_computed_gae(target_env):
    """Truncation bootstraps with the critic's value of the final observation, termination with nothing."""
    config = small_config(gamma=0.9, gae_lambda=0.8, has_reward_scaling=False)
    ppo = collect(config, target_env())
    replay, value = target_env(), lambda rows: ppo.network.value(torch.from_numpy(rows)).detach().numpy()
    buffer = ppo.rollout_buffer
    rows, records = replay.reset().copy(), []
    for t in range(config.rollout_steps):
        np.testing.assert_array_equal(buffer.observations[t], rows)
        following, reward, terminated, truncated, final, _ = replay.step(np.clip(buffer.actions[t, :, 0], -1, 1))
        next_value = np.where(terminated, 0.0, np.where(truncated, value(final), value(following)))
        records.append((reward + 0.9 * next_value - value(rows), terminated | truncated))
        rows = following.copy()
    running = np.zeros(replay.n_rows)
    for t in reversed(range(config.rollout_steps)):
        delta, done = records[t]
        running = delta + 0.9 * 0.8 * np.where(done, 0.0, running)
        # float32 sums over up to 16 steps.
        np.testing.assert_allclose(buffer.advantages[t], running, atol=2e-5)
    assert sum(int(done.sum()) for _, done in records) > 50


def test_rollout_equals_that_of_stable_baselines3(target_env):
    """Same seed, same env: our array rollout fills the buffer as Stable-Baselines3's own loop does."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import CallbackList

    config = small_config(has_reward_scaling=False)
    ours = collect(config, target_env())
    other = RowPPO(config, RowVecEnv(target_env()))
    _, callback = other._setup_learn(1000, CallbackList([]))
    PPO.collect_rollouts(other, other.env, callback, other.rollout_buffer, config.rollout_steps)
    for name in ("observations", "actions", "rewards", "values", "log_probs", "episode_starts", "advantages"):
        np.testing.assert_allclose(getattr(ours.rollout_buffer, name), getattr(other.rollout_buffer, name), atol=1e-5)


def test_reward_scaling_divides_by_the_deviation_of_the_return(target_env):
    config = small_config(rollout_steps=64)
    ppo = collect(config, target_env(rows=64))
    replay, returns, seen = target_env(rows=64), np.zeros(64), []
    replay.reset()
    for t in range(64):
        _, reward, terminated, truncated, _, _ = replay.step(np.clip(ppo.rollout_buffer.actions[t, :, 0], -1, 1))
        returns = returns * config.gamma + reward
        seen.append(returns.copy())
        returns[terminated | truncated] = 0.0
    deviation = np.concatenate(seen).std()
    assert np.sqrt(ppo.scaler.moments.variance[0]) == pytest.approx(deviation, rel=1e-6)
