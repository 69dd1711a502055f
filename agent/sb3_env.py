# SPDX-License-Identifier: BSD-2-Clause
"""The native vector env as Stable-Baselines3 sees one: every row (subflow) is an "environment".

`step_rows` is the fast door that the trainer uses: arrays in, arrays out. `step_wait` is the standard door, with a
list of info dicts, for the rest of Stable-Baselines3; building that list costs more than the simulator's step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


class RowEnv(Protocol):
    """What training needs of ccdrl.envs.vector.VectorEnv: n_rows rows, finished simulators reset by themselves."""

    @property
    def n_rows(self) -> int:
        """Rows R."""

    @property
    def observation_size(self) -> int:
        """Columns that the actor sees, in training and in service."""

    @property
    def preference_size(self) -> int:
        """Columns after them that the actor sees in training and that are constants in service."""

    @property
    def privileged_size(self) -> int:
        """Columns P after these that only the critic sees."""

    def reset(self) -> Floats:
        """Start every simulator; observations (R, F + P), F: all that the actor sees."""

    def step(self, actions: Floats) -> tuple[Floats, Floats, Flags, Flags, Floats, Mapping[str, Any]]:
        """Apply actions (R,) in [-1, 1]: observations, rewards, terminated, truncated, final observations, info."""

    def count_packets(self) -> int:
        """Return the data packets sent since `reset`."""

    def close(self) -> None:
        """Free the simulators."""


@dataclass(slots=True)
class RowStep:
    """One step of all rows; arrays may be the env's own and change with the next step.

    `final_observations` (R, F + P) counts only where a row is terminated or truncated; elsewhere it is undefined.
    """

    observations: Floats
    rewards: Floats
    terminated: Flags
    truncated: Flags
    final_observations: Floats
    info: Mapping[str, Any]


class RowVecEnv(VecEnv):
    """Stable-Baselines3's view of a `RowEnv`."""

    def __init__(self, env: RowEnv) -> None:
        """Wrap `env`, which is owned and closed by the wrapper."""
        self.rows = env
        columns = env.observation_size + env.preference_size + env.privileged_size
        observations = spaces.Box(-np.inf, np.inf, (columns,), np.float32)
        super().__init__(env.n_rows, observations, spaces.Box(-1.0, 1.0, (1,), np.float32))
        self._actions = np.zeros(env.n_rows, np.float32)

    def replace(self, env: RowEnv) -> None:
        """Go on with another env of the same shape; the present one is closed."""
        if env.n_rows != self.num_envs:
            raise ValueError(f"the new env has {env.n_rows} rows instead of {self.num_envs}")
        self.rows.close()
        self.rows = env

    def reset(self) -> Floats:
        """Start every simulator and return observations (R, F + P)."""
        return self.rows.reset()

    def step_rows(self, actions: Floats) -> RowStep:
        """Apply actions (R,), already within [-1, 1]."""
        return RowStep(*self.rows.step(actions))

    def step_async(self, actions: NDArray[Any]) -> None:
        """Remember actions (R, 1)."""
        self._actions = np.ascontiguousarray(actions, dtype=np.float32).reshape(-1)

    def step_wait(self) -> tuple[Floats, Floats, Flags, list[dict[str, Any]]]:
        """Apply the remembered actions; infos carry terminal_observation and TimeLimit.truncated of finished rows."""
        step = self.step_rows(self._actions)
        done = step.terminated | step.truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row in np.flatnonzero(done):
            infos[row]["terminal_observation"] = step.final_observations[row].copy()
            infos[row]["TimeLimit.truncated"] = bool(step.truncated[row] and not step.terminated[row])
        return step.observations.copy(), step.rewards.copy(), done, infos

    def close(self) -> None:
        """Free the simulators."""
        self.rows.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return the env's attribute, once per row."""
        value = None if attr_name == "render_mode" else getattr(self.rows, attr_name)
        return [value] * len(self._rows_of(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Rows share one env, so none has attributes of its own."""
        raise AttributeError("rows share one env; set the option in its configuration")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Rows share one env, so none has methods of its own."""
        raise AttributeError("rows share one env; call its method directly")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """No row is wrapped."""
        return [False] * len(self._rows_of(indices))

    def _rows_of(self, indices: int | Sequence[int] | None) -> Sequence[int]:
        if indices is None:
            return range(self.num_envs)
        return [indices] if isinstance(indices, int) else indices
