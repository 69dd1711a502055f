# SPDX-License-Identifier: BSD-2-Clause
"""The phase plot: the right columns move, the others stay, and the axes are those of the observation."""

import numpy as np
import pytest

from ccdrl.agent.contenders import Contender
from ccdrl.agent.evaluation import RunSpec
from ccdrl.agent.policy import load_policy
from ccdrl.agent.suite.catalogue import make_suite
from ccdrl.agent.suite.phase import LOSSES, QUEUES, columns_of, find_phases, make_grid, plot_policy, record_observations
from ccdrl.envs.observation import OBSERVATION_NAMES, OBSERVATION_SIZE

SRTT, LOSS = OBSERVATION_NAMES.index("srtt_ratio"), OBSERVATION_NAMES.index("loss_long")


class Linear:
    """A policy that shrinks with the queue and with losses."""

    def act(self, observations):
        return (0.5 - observations[:, SRTT] - 2 * observations[:, LOSS]).astype(np.float32)


def test_every_named_column_exists():
    assert set(QUEUES) | set(LOSSES) <= set(OBSERVATION_NAMES)
    assert len(columns_of(QUEUES, "rtt_ratio")) == len(QUEUES) + 3


def test_the_grid_moves_queue_and_loss_columns_only():
    typical = np.full(OBSERVATION_SIZE, 7.0, np.float32)
    grid = make_grid(typical, np.array([1.0, 2.0, 4.0]), np.array([0.0, 0.04]))
    assert grid.shape == (6, OBSERVATION_SIZE)
    assert grid[:, SRTT].tolist() == [0, 1, 2, 0, 1, 2]
    assert grid[:, LOSS] == pytest.approx([0, 0, 0, 0.2, 0.2, 0.2])
    moved = {*columns_of(QUEUES, "rtt_ratio"), *columns_of(LOSSES, "loss_now")}
    assert (np.delete(grid, sorted(moved), axis=1) == 7.0).all()


def test_the_plot_of_a_known_policy():
    observations = np.zeros((5, OBSERVATION_SIZE), np.float32)
    observations[:, SRTT] = 1.0
    observations[:, LOSS] = 0.1
    phase = plot_policy(Linear(), observations, "drl")
    assert phase.action.shape == (len(phase.loss), len(phase.rtt_ratio))
    expected = 0.5 - np.log2(phase.rtt_ratio)[None, :] - 2 * np.sqrt(phase.loss)[:, None]
    assert phase.action == pytest.approx(expected, abs=1e-5)
    assert phase.recorded_rtt_ratio == pytest.approx([2.0] * 5)
    assert phase.recorded_loss == pytest.approx([0.01] * 5)


def test_agents_alone_have_a_plot(save_agent, tmp_path):
    agent = save_agent(tmp_path / "agent", 1)
    suite = make_suite("quick", only=("pair-03",))
    spec = RunSpec(suite.cases[0].scenario, Contender("drl", agent), 1, agent)
    observations = record_observations(spec, 5.0)
    assert observations.shape[1] == OBSERVATION_SIZE
    assert len(observations) > 50
    (phase,) = find_phases([Contender("lia"), Contender("drl", agent)], suite, 1, None)
    assert phase.cc == "drl"
    assert np.isfinite(phase.action).all()
    assert (np.abs(phase.action) <= 1).all()
    assert load_policy(agent).act(observations[:3]).shape == (3,)
    assert find_phases([Contender("lia")], suite, 1, None) == []
