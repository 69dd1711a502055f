# SPDX-License-Identifier: BSD-2-Clause
"""The Gymnasium environment `ccdrl/Multipath-v0`: one multipath connection, one action for each subflow."""

import textwrap
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ccdrl.bindings.errors import InputError
from ccdrl.bindings.library import Event
from ccdrl.bindings.simulator import Simulator, SimulatorBatch
from ccdrl.envs.action import compute_monitor_interval_us, map_actions
from ccdrl.envs.network import load_traces
from ccdrl.envs.observation import OBSERVATION_SIZE, Observer, select_live
from ccdrl.envs.observation_layout import OBSERVATION_LIMIT, SYMBOLS, format_table
from ccdrl.envs.randomization import RandomizationConfig, draw_network
from ccdrl.envs.reward import RewardConfig
from ccdrl.envs.scenario import Scenario, load_scenario
from ccdrl.envs.scenario_network import build_scenario, find_agent
from ccdrl.envs.scoring import Score, Scorer
from ccdrl.envs.timeline import Timeline
from ccdrl.envs.vector import establish

SEED_MAX = (1 << 63) - 1
_INTERVAL_US = 100_000


class MultipathEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """One multipath connection in a packet-level simulator; the agent sets the windows of its subflows.

    ## Observation
    Box(-10, 10, (n_subflows * F,), float32): the columns below for each subflow in turn; reshape to (n_subflows, F).
    They are all zero while the subflow is not open.

    {columns}

    ## Action
    Box(-1, 1, (n_subflows,), float32). A step lasts one monitor interval, the lowest srtt within [10 ms, 100 ms]. An
    action within +-0.2 leaves a subflow's window to the coupling, 1 doubles it in an RTT and -1 halves it; it is at
    least 2 MSS (envs/action.py).

    ## Reward
    Utility of the connection's share of the coupled equilibrium, minus its share of queueing delay, minus the losses it
    caused, minus what it takes beyond the fair share from others (envs/reward.py). `info` has the terms as
    reward_<term>, and goodput_ratio, queue_delay_ratio, loss_ratio, time_s and cwnd_bytes.

    ## Episode
    `reset` builds the network, seeded by its seed, and runs the handshakes. An episode is truncated at the scenario's
    end (or after 100 to 300 intervals of a drawn network), or when the flow stops before, and never terminates, as a
    connection has no final state.

    ## Arguments
    scenario: None draws a training network with one connection (envs/randomization.py) at each reset; a name or path
    runs that scenario (its only flow with cc = "@" is the agent, and its number of paths must be n_subflows, where
    given). n_subflows: 1 to 8, by default 2 or the scenario's. traces: the folder of trace files. reward: weights.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        scenario: str | Path | None = None,
        n_subflows: int | None = None,
        traces: str | Path | None = None,
        reward: RewardConfig | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None:
            raise InputError(f"render_mode: {render_mode!r} is not known; accepted: None")
        if n_subflows is not None and not 1 <= n_subflows <= 8:
            raise InputError(f"n_subflows: {n_subflows} is out of range; accepted: 1 to 8")
        self.render_mode = None
        self._scenario: Scenario | None = None
        self._traces = Path(traces) if traces is not None else None
        if scenario is not None:
            self._scenario = load_scenario(scenario)
            load_traces(self._scenario, self._traces)
            flow = find_agent(self._scenario)
            if n_subflows not in (None, len(flow.paths)):
                raise InputError(f"n_subflows: {n_subflows}, but flow {flow.id} has {len(flow.paths)} paths")
            n_subflows = len(flow.paths)
        self.n_subflows = n_subflows if n_subflows is not None else 2
        self._config = RandomizationConfig()
        self.observation_space = spaces.Box(
            -OBSERVATION_LIMIT, OBSERVATION_LIMIT, (self.n_subflows * OBSERVATION_SIZE,), np.float32
        )
        self.action_space = spaces.Box(-1.0, 1.0, (self.n_subflows,), np.float32)
        self._rows = np.arange(self.n_subflows)
        self._observer = Observer(self.n_subflows)
        self._scorer = Scorer(self.n_subflows, reward if reward is not None else RewardConfig())
        self._batch: SimulatorBatch | None = None
        self._timeline: Timeline | None = None
        self._now_ns = self._end_ns = self._until_ns = self._interval_us = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Build the network and return its first observation; `options` is not used."""
        super().reset(seed=seed)
        self.close()
        simulator, ready_ns, length_ns = self._build()
        self._now_ns = establish(simulator, ready_ns)
        self._end_ns = self._now_ns + length_ns if self._scenario is None else max(length_ns, self._now_ns + 1)
        self._batch = SimulatorBatch([simulator], 1)
        self._observer.reset(self._rows, np.zeros(self.n_subflows, np.int64))
        self._scorer.assign(slice(None), np.zeros(self.n_subflows, np.int64), 0)
        self._until_ns = 0
        observation = self._observe()[0]
        return observation, {"time_s": self._now_ns * 1e-9}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Set the windows, run one monitor interval, and return (observation, reward, False, truncated, info)."""
        if self._batch is None:
            raise RuntimeError("MultipathEnv: reset() comes before step()")
        chosen = np.asarray(action, np.float32).reshape(self.n_subflows)
        map_actions(
            chosen,
            self._observer.get_steps(self._rows),
            self._batch.samples,
            float(self._interval_us),
            self._batch.actions,
        )
        self._observer.remember(self._rows, chosen)
        self._now_ns = min(self._now_ns + self._interval_us * 1000, self._end_ns)
        self._batch.step(self._now_ns)
        observation, score = self._observe()
        info = {
            "time_s": self._now_ns * 1e-9,
            "cwnd_bytes": self._batch.samples["cwnd_bytes"].copy(),
            "goodput_ratio": float(score.goodput_ratio[0]),
            "queue_delay_ratio": float(score.queue_delay_ratio[0]),
            "loss_ratio": float(score.loss_ratio[0]),
        }
        info |= {f"reward_{name}": float(values[0]) for name, values in score.terms.items()}
        is_closed = bool((self._batch.samples["event"] == Event.CLOSED).all())
        return observation, float(score.reward[0]), False, self._now_ns >= self._end_ns or is_closed, info

    def close(self) -> None:
        """Free the simulator; a second call does nothing."""
        if self._batch is not None:
            self._batch.close()
            self._batch.simulators[0].close()
            self._batch = None

    def _build(self) -> tuple[Simulator, int, int]:
        """Return a simulator, when its handshakes should be over, and its duration (ns)."""
        if self._scenario is None:
            network = draw_network(self.np_random, self.n_subflows, self._config, is_single=True)
            self._timeline = network.timeline()
            simulator = network.build(int(self.np_random.integers(SEED_MAX)))
            return simulator, network.ready_ns, network.tick_ns * network.n_ticks
        seed = int(self.np_random.integers(SEED_MAX))
        simulator, self._timeline, ready_ns = build_scenario(self._scenario, seed, self._traces)
        return simulator, ready_ns, int(self._scenario.duration_s * 1e9)

    def _observe(self) -> tuple[NDArray[np.float32], Score]:
        assert self._batch is not None
        assert self._timeline is not None
        samples = self._batch.samples
        if self._now_ns >= self._until_ns:
            conditions = self._timeline.compute(self._now_ns)
            self._scorer.set_conditions(slice(None), conditions)
            self._until_ns = conditions.until_ns
        observation = self._observer.update(self._rows, samples).reshape(-1)
        score, _ = self._scorer.score(self._observer, samples, self._rows)
        live = select_live(samples)
        lowest_us = float(samples["srtt_us"][live].min()) if live.any() else float(_INTERVAL_US)
        self._interval_us = compute_monitor_interval_us(lowest_us)
        return observation, score


def _complete_manual(text: str | None) -> str | None:
    """Return the docstring with the layout's table in its place."""
    if text is None:  # python -OO
        return None
    symbols = textwrap.fill(SYMBOLS, 116, subsequent_indent="    ")
    return text.replace("{columns}", f"{symbols}\n\n{format_table('    ')}")


MultipathEnv.__doc__ = _complete_manual(MultipathEnv.__doc__)


gymnasium.register(id="ccdrl/Multipath-v0", entry_point="ccdrl.envs.multipath:MultipathEnv")
