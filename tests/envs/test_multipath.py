# SPDX-License-Identifier: BSD-2-Clause
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import ccdrl.envs.multipath  # noqa: F401  registers the environment
from ccdrl.bindings.errors import InputError
from ccdrl.envs.multipath import MultipathEnv
from ccdrl.envs.observation import OBSERVATION_NAMES, OBSERVATION_SIZE

SCENARIO = """
name = "pair"
duration_s = 3
warmup_s = 1
[[links]]
id = "a"
rate_mbps = 10
delay_ms = 20
queue = {{ kind = "droptail", bdp = 1.0 }}
[[links]]
id = "b"
rate_mbps = 5
delay_ms = 30
queue = {{ kind = "droptail", bdp = 1.0 }}
[[flows]]
id = "mp"
cc = "@"
paths = [["a"], ["b"]]
count = {count}
"""


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "pair.toml"
    path.write_text(SCENARIO.format(count=1), encoding="utf-8")
    return path


def play(env, seed, actions=None):
    observation, _ = env.reset(seed=seed)
    parts, rewards, infos, truncated = [observation], [], [], False
    while not truncated:
        action = np.zeros(env.action_space.shape, np.float32) if actions is None else actions(parts[-1])
        observation, reward, terminated, truncated, info = env.step(action)
        assert not terminated
        parts.append(observation)
        rewards.append(reward)
        infos.append(info)
    return np.array(parts), np.array(rewards), infos


@pytest.mark.parametrize("arguments", [{}, {"n_subflows": 1}, {"n_subflows": 8}])
def test_gymnasium_checker(arguments):
    env = gymnasium.make("ccdrl/Multipath-v0", **arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check_env(env.unwrapped)
    env.close()


def test_gymnasium_checker_with_a_scenario(scenario):
    env = gymnasium.make("ccdrl/Multipath-v0", scenario=scenario)
    check_env(env.unwrapped)
    env.close()


def test_stable_baselines_checker(scenario):
    from stable_baselines3.common import env_checker as checker

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        checker.check_env(MultipathEnv())
        checker.check_env(MultipathEnv(scenario))


def test_same_seed_same_bytes(scenario):
    runs = [play(MultipathEnv(scenario), seed)[0].tobytes() for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    drawn = [play(MultipathEnv(n_subflows=3), 4)[0].tobytes() for _ in range(2)]
    assert drawn[0] == drawn[1]


def test_scenario_ends_at_its_end(scenario):
    env = MultipathEnv(scenario)
    observations, _, infos = play(env, 1)
    assert observations.shape[1] == 2 * OBSERVATION_SIZE
    assert infos[-1]["time_s"] == pytest.approx(3.0)
    assert all(info["time_s"] < 3.0 for info in infos[:-1])
    env.close()


def test_intervals_follow_the_lowest_srtt(scenario):
    env = MultipathEnv(scenario)
    _, _, infos = play(env, 1)
    intervals = np.diff([info["time_s"] for info in infos])[:-1]
    assert intervals.min() >= 0.0399
    assert intervals.max() <= 0.1
    env.close()


def test_filling_the_pipe_pays(scenario):
    """Grow until 1.3 estimated BDPs, then hold: the sum of both paths within 10 %; an idle window earns less."""
    bdp = OBSERVATION_NAMES.index("cwnd_bdp")

    def fill(observation):
        rows = observation.reshape(2, OBSERVATION_SIZE)
        return np.clip(0.4 - rows[:, bdp], -1, 1).astype(np.float32)

    env = MultipathEnv(scenario)
    _, filled, infos = play(env, 1, fill)
    _, idle, _ = play(env, 1, lambda _: np.full(2, -1.0, np.float32))
    assert np.mean([info["goodput_ratio"] for info in infos[-20:]]) > 0.9
    assert filled[-20:].mean() > idle[-20:].mean() + 0.2
    env.close()


def test_manual_is_complete():
    manual = MultipathEnv.__doc__
    assert "{columns}" not in manual
    assert all(f"`{name}`" in manual for name in OBSERVATION_NAMES if name[-2:] not in ("_1", "_2", "_3"))


def test_several_agents_are_refused(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(SCENARIO.format(count=2), encoding="utf-8")
    with pytest.raises(InputError, match="2 connections"):
        MultipathEnv(path)


@pytest.mark.parametrize(
    "arguments", [{"n_subflows": 0}, {"n_subflows": 9}, {"scenario": "no-such"}, {"render_mode": "human"}]
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(InputError):
        MultipathEnv(**arguments)


def test_subflows_must_fit_the_scenario(scenario):
    assert MultipathEnv(scenario, n_subflows=2).n_subflows == 2
    with pytest.raises(InputError, match="2 paths"):
        MultipathEnv(scenario, n_subflows=3)


def test_missing_traces_are_refused_at_once(tmp_path):
    path = tmp_path / "trace.toml"
    text = SCENARIO.format(count=1).replace("rate_mbps = 5", 'trace = "lte/x"')
    path.write_text(
        text.replace('queue = { kind = "droptail", bdp = 1.0 }', "queue = { packets = 100 }"), encoding="utf-8"
    )
    with pytest.raises(InputError, match="traces"):
        MultipathEnv(path)


def test_example_of_the_manual_page_runs():
    page = (Path(__file__).parents[2] / "docs" / "environment.md").read_text(encoding="utf-8")
    names = {}
    exec(page.split("```python\n")[1].split("```")[0], names)
    assert names["observation"].shape == (2 * OBSERVATION_SIZE,)
    assert names["terminated"] is False
