# SPDX-License-Identifier: BSD-2-Clause
"""One recorded stream of samples through the training environment and through the live controller: equal bytes."""

import numpy as np
import pytest

from ccdrl.agent.controller import Controller
from ccdrl.bindings.library import make_actions
from ccdrl.envs.action import LEAD_GAIN
from ccdrl.envs.observation import OBSERVATION_SIZE
from ccdrl.envs.randomization import RandomizationConfig
from ccdrl.envs.vector import VectorEnv


class Policy:
    """A fixed random network: any difference in its input shows."""

    def __init__(self):
        self.weights = np.random.default_rng(7).normal(0, 0.2, OBSERVATION_SIZE).astype(np.float32)
        self.seen = []

    def act(self, observations):
        self.seen.append(observations.tobytes())
        return np.tanh(np.einsum("ij,j->i", observations, self.weights)).astype(np.float32)


@pytest.mark.parametrize("n_rows", [1, 2, 4, 8])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_equal_observations_and_actions(n_rows, seed):
    config = RandomizationConfig(slot_rows=(n_rows,), lead_gain=LEAD_GAIN, loss_probability=0.5, outage_probability=0.0)
    env = VectorEnv(1, seed=seed, config=config)
    observation = env.reset()
    batch = env._batch
    interval_us = int(env._interval_us[0])
    trained, live = Policy(), Policy()
    controller = Controller(live, interval_us=interval_us)
    truncated, steps = False, 0
    while not truncated:
        samples = batch.samples.copy()
        assert (samples["srtt_us"] > 0).all()
        expected = make_actions(n_rows)
        observation, _, _, ends, _, _ = env.step(trained.act(np.ascontiguousarray(observation[:, :OBSERVATION_SIZE])))
        truncated = bool(ends[0])
        actions = controller.step(samples)
        if not truncated:  # a replaced network's actions are cleared
            expected[:] = batch.actions
            assert actions.tobytes() == expected.tobytes()
        steps += 1
    assert trained.seen == live.seen
    assert len(live.seen) == steps > 0
    env.close()
