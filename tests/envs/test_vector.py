# SPDX-License-Identifier: BSD-2-Clause
import numpy as np
import pytest

from ccdrl.envs.observation import OBSERVATION_NAMES
from ccdrl.envs.randomization import RandomizationConfig
from ccdrl.envs.reward import PREFERENCE_NAMES, REWARD_TERMS, RewardConfig
from ccdrl.envs.scoring import PRIVILEGED_NAMES
from ccdrl.envs.vector import VectorEnv

SHORT = RandomizationConfig(episode_ticks=(8, 20), packets_per_tick_max=60)
QUIET = RandomizationConfig(
    slot_rows=(2,), wide_probability=0, loss_probability=0, jitter_probability=0, aqm_probability=0,
    shared_probability=0, core_probability=0, rival_probability=0, step_probability=0, outage_probability=0,
    delay_step_probability=0, trace_probability=0, late_agent_probability=0, rtt_ms=(20, 60), rate_mbps=(5, 20),
    buffer_bdp=(1, 2),
)  # fmt: skip


def rollout(env, steps, seed=0):
    """Return the bytes of everything that a rollout with random actions returns."""
    rng = np.random.default_rng(seed)
    parts = [env.reset().tobytes()]
    for _ in range(steps):
        obs, reward, terminated, truncated, final, info = env.step(rng.uniform(-1, 1, env.n_rows).astype(np.float32))
        parts += [array.tobytes() for array in (obs, reward, terminated, truncated, final, *info.values())]
    return b"".join(parts)


def test_shapes_and_kinds():
    env = VectorEnv(6, seed=1, config=SHORT)
    width = env.observation_size + env.preference_size + env.privileged_size
    sizes = (env.observation_size, env.preference_size, env.privileged_size)
    assert sizes == (len(OBSERVATION_NAMES), len(PREFERENCE_NAMES), len(PRIVILEGED_NAMES))
    assert env.n_rows == sum(SHORT.slot_rows[:6])
    assert env.reset().shape == (env.n_rows, width)
    obs, reward, terminated, truncated, final, info = env.step(np.zeros(env.n_rows, np.float32))
    assert obs.shape == final.shape == (env.n_rows, width)
    assert (obs.dtype, reward.dtype, terminated.dtype, truncated.dtype) == (np.float32, np.float32, bool, bool)
    names = {
        "goodput_ratio",
        "queue_delay_ratio",
        "loss_ratio",
        "fairness",
        *(f"reward_{name}" for name in REWARD_TERMS),
    }
    assert set(info) == names
    assert all(values.shape == (env.n_rows,) for values in info.values())
    total = info["reward_utility"] - info["reward_delay"] - info["reward_loss"] - info["reward_harm"]
    assert reward == pytest.approx(total, abs=1e-6)
    env.close()


def test_each_network_has_a_preference_of_its_own_within_the_range():
    env = VectorEnv(12, seed=1, config=SHORT, reward=RewardConfig(delay_preference=1.5))
    columns = slice(env.observation_size, env.observation_size + env.preference_size)
    seen = env.reset()[:, columns].copy()
    starts = np.concatenate([[0], np.cumsum(SHORT.slot_rows[:12])])
    for a, b in zip(starts[:-1], starts[1:], strict=True):
        assert (seen[a:b] == seen[a]).all()  # agents of one network have one reward
    assert len(np.unique(seen[:, 0])) == 12
    assert np.abs(seen[:, 0]).max() <= 1.5
    assert (seen[:, 1] == 0.0).all()
    env.close()


def test_same_seed_same_bytes_whatever_the_threads():
    results = [rollout(VectorEnv(8, seed=5, n_threads=threads, config=SHORT), 50) for threads in (1, 1, 2)]
    assert results[0] == results[1] == results[2]
    assert rollout(VectorEnv(8, seed=6, config=SHORT), 50) != results[0]


def test_reset_starts_over():
    env = VectorEnv(4, seed=5, config=SHORT)
    assert rollout(env, 30) == rollout(env, 30)


def test_episodes_are_truncated_never_terminated_and_resets_are_spread():
    env = VectorEnv(40, seed=2, config=SHORT)
    env.reset()
    ends = np.zeros(60)
    for step in range(60):
        obs, _, terminated, truncated, final, _ = env.step(np.zeros(env.n_rows, np.float32))
        assert not terminated.any()
        assert np.array_equal(obs[~truncated], final[~truncated])
        ends[step] = truncated.sum()
        fresh = obs[truncated]
        if len(fresh):
            assert not np.array_equal(fresh, final[truncated])
            assert not fresh[:, OBSERVATION_NAMES.index("rtt_ratio_1")].any()  # no history yet
    assert (ends > 0).sum() > 30
    assert ends.max() < 0.4 * env.n_rows
    env.close()


def test_rows_of_a_network_end_together():
    env = VectorEnv(6, seed=3, config=SHORT)
    env.reset()
    bounds = np.cumsum([0, *SHORT.slot_rows[:6]])
    for _ in range(40):
        truncated = env.step(np.zeros(env.n_rows, np.float32))[3]
        for first, end in zip(bounds[:-1], bounds[1:], strict=True):
            assert len(set(truncated[first:end].tolist())) == 1
    env.close()


def test_everything_is_finite_under_wild_actions():
    env = VectorEnv(24, seed=4, config=SHORT)
    env.reset()
    rng = np.random.default_rng(1)
    for step in range(120):
        actions = rng.choice([-1.0, 1.0], env.n_rows) if step % 40 < 20 else np.full(env.n_rows, 1.0)
        obs, reward, _, _, final, info = env.step(actions.astype(np.float32))
        for array in (obs, reward, final, *info.values()):
            assert np.isfinite(array).all()
    env.close()


def test_first_observation_finds_established_subflows():
    env = VectorEnv(60, seed=8, config=RandomizationConfig(loss_probability=0, outage_probability=0))
    obs = env.reset()
    assert (obs[:, OBSERVATION_NAMES.index("n_subflows")] > 0).all()
    env.close()


def test_a_sensible_window_earns_more_than_extremes():
    """Idle drop-tail links: hold about one BDP, against always growing and always shrinking."""

    def mean_reward(act):
        env = VectorEnv(12, seed=3, config=QUIET)
        obs = env.reset()
        rewards = []
        for _ in range(90):
            obs, reward, *_ = env.step(act(obs).astype(np.float32))
            rewards.append(reward.mean())
        env.close()
        return np.mean(rewards[30:])

    bdp = OBSERVATION_NAMES.index("cwnd_bdp")
    queue = OBSERVATION_NAMES.index("srtt_ratio")
    startup = OBSERVATION_NAMES.index("is_startup")
    sensible = mean_reward(lambda obs: np.where(obs[:, startup] > 0, 1.0, np.clip(0.3 - obs[:, bdp], -0.5, 0.5)))
    drained = mean_reward(lambda obs: np.where(obs[:, queue] > 0.2, -0.3, 0.3))
    assert max(sensible, drained) > 0.8
    for constant in (-1.0, 1.0):
        assert mean_reward(lambda obs, a=constant: np.full(len(obs), a)) < max(sensible, drained) - 0.15


def test_step_before_reset_is_refused():
    with pytest.raises(RuntimeError, match="reset"):
        VectorEnv(1, seed=0).step(np.zeros(2, np.float32))


def test_packets_are_counted_over_replacements():
    env = VectorEnv(4, seed=1, config=SHORT)
    env.reset()
    counts = []
    for _ in range(50):
        env.step(np.full(env.n_rows, 0.2, np.float32))
        counts.append(env.count_packets())
    assert all(b >= a for a, b in zip(counts, counts[1:], strict=False))
    assert counts[-1] > 500
    env.close()
