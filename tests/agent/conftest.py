# SPDX-License-Identifier: BSD-2-Clause
import numpy as np
import pytest

from ccdrl.bindings.library import ABI_VERSION
from ccdrl.envs.action import ACTION_VERSION
from ccdrl.envs.observation import OBSERVATION_NAMES, OBSERVATION_SIZE, OBSERVATION_VERSION
from ccdrl.models.artifact import Artifact, save_artifact, weight_shapes
from ccdrl.models.normaliser import Normaliser


class TargetEnv:
    """Rows that know the right action: reward -(action - observation[0])^2. The API of ccdrl.envs.vector.VectorEnv.

    The other columns are noise far from standardised; the privileged column is the target again. Row r's episodes last
    5 + r % 3 steps; every third row's end is a termination, the others' a truncation.
    """

    def __init__(self, seed=1, rows=32, fault_after=None, privileged=1):
        self.n_rows, self.observation_size, self.privileged_size = rows, OBSERVATION_SIZE, privileged
        self.preference_size = 0
        self.lengths = 5 + np.arange(rows) % 3
        self.is_terminating = np.arange(rows) % 3 == 0
        self.is_closed = False
        self._rng = np.random.default_rng(seed)
        self._age = np.zeros(rows, int)
        self._steps, self._fault_after = 0, fault_after

    def _draw(self):
        rows = self._rng.normal(3.0, 5.0, (self.n_rows, self.observation_size + self.privileged_size))
        rows[:, 0] = self._rng.uniform(-0.8, 0.8, self.n_rows)
        rows[:, self.observation_size :] = rows[:, :1]
        return rows.astype(np.float32)

    def reset(self):
        self._age[:] = 0
        self._rows = self._draw()
        return self._rows

    def step(self, actions):
        assert actions.shape == (self.n_rows,)
        assert (abs(actions) <= 1).all()
        reward = -np.square(actions - self._rows[:, 0]).astype(np.float32)
        self._age += 1
        done = self._age == self.lengths
        self._age[done] = 0
        final, self._rows = self._draw(), self._draw()
        self._steps += 1
        if self._fault_after is not None and self._steps > self._fault_after:
            self._rows[3, 2] = np.nan
        info = {"goodput_ratio": 1 + reward}
        return self._rows, reward, done & self.is_terminating, done & ~self.is_terminating, final, info

    def count_packets(self):
        return 60 * self.n_rows * self._steps

    def close(self):
        self.is_closed = True


@pytest.fixture
def target_env():
    """The class of the stand-in env."""
    return TargetEnv


def save_untrained(path, seed):
    """Save an untrained agent, with small random weights, so that its windows move; return the path."""
    generator, shapes = np.random.default_rng(seed), weight_shapes(OBSERVATION_SIZE, (8,))
    artifact = Artifact(
        observation_names=OBSERVATION_NAMES,
        observation_version=OBSERVATION_VERSION,
        history=3,
        action_version=ACTION_VERSION,
        abi_version=ABI_VERSION,
        layers=(8,),
        weights={name: (0.3 * generator.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()},
        normaliser=Normaliser(np.zeros(OBSERVATION_SIZE), np.ones(OBSERVATION_SIZE), 1000, 10.0),
    )
    return save_artifact(artifact, path)


@pytest.fixture(scope="session")
def save_agent():
    """From a path and a seed to a saved agent."""
    return save_untrained
