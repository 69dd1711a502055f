# SPDX-License-Identifier: BSD-2-Clause
"""Many simulators as one vector of subflow rows: one C call a step, finished networks replaced on the spot."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.decision.actions import ActionMapper
from ccdrl.bindings.simulator import Simulator, SimulatorBatch
from ccdrl.envs.action import RULE
from ccdrl.envs.observation import OBSERVATION_SIZE, Observer, select_live
from ccdrl.envs.randomization import RandomizationConfig, TrainingNetwork, draw_network
from ccdrl.envs.reward import PREFERENCE_SIZE, RewardConfig
from ccdrl.envs.scoring import PRIVILEGED_SIZE, Scorer
from ccdrl.envs.timeline import Timeline

_HANDSHAKE_TRIES = 40


@dataclass(slots=True)
class _Slot:
    """One simulator's place in the batch."""

    rows: slice
    episode: int
    network: TrainingNetwork
    timeline: Timeline
    preference: NDArray[np.float64]
    """log2 of the factors on the weights of delay and harm."""


class VectorEnv:
    """Training networks in parallel; every agent subflow is one row.

    Observations are float32[n_rows, observation_size + preference_size + privileged_size]: the columns of
    envs/observation_layout.py, which a policy sees; those of reward.PREFERENCE_NAMES, seen in training and that
    an export sets for good; those of scoring.PRIVILEGED_NAMES, which only a critic may use. Simulator i has
    config.slot_rows[i % len] rows for good. Its networks are drawn from (seed, i, episode), so that equal seeds give
    equal bytes whatever `n_threads`. Episodes end by truncation only; the first ones have random lengths, which spreads
    resets.
    """

    observation_size = OBSERVATION_SIZE
    preference_size = PREFERENCE_SIZE
    privileged_size = PRIVILEGED_SIZE

    def __init__(
        self,
        n_simulators: int,
        seed: int,
        n_threads: int = 1,
        config: RandomizationConfig | None = None,
        reward: RewardConfig | None = None,
    ) -> None:
        self.config = config if config is not None else RandomizationConfig()
        self.n_simulators = n_simulators
        self._seed = seed
        self._n_threads = n_threads
        counts = [self.config.slot_rows[i % len(self.config.slot_rows)] for i in range(n_simulators)]
        bounds = np.concatenate([[0], np.cumsum(counts)])
        self.n_rows = int(bounds[-1])
        self._spans = [slice(int(a), int(b)) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
        self._slot_of_row = np.repeat(np.arange(n_simulators), counts)
        self._rows = np.arange(self.n_rows)
        self._observer = Observer(self.n_rows)
        self._mapper = ActionMapper(replace(RULE, lead_gain=self.config.lead_gain))
        self._scorer = Scorer(self.n_rows, reward if reward is not None else RewardConfig())
        self._slots: list[_Slot] = []
        self._batch: SimulatorBatch | None = None
        self._now_ns = np.zeros(n_simulators, np.int64)
        self._tick_ns = np.zeros(n_simulators, np.int64)
        self._interval_us = np.zeros(self.n_rows)
        self._ticks_left = np.zeros(n_simulators, np.int64)
        self._until_ns = np.zeros(n_simulators, np.int64)
        self._packets_before = 0

    def reset(self) -> NDArray[np.float32]:
        """Draw all networks anew, from the seed; return the first observations."""
        self.close()
        self._slots, simulators = [], []
        for i, rows in enumerate(self._spans):
            network, simulator, rng = self._draw(i, 0)
            self._slots.append(_Slot(rows, 0, network, network.timeline(), self._draw_preference(rng)))
            simulators.append(simulator)
            self._ticks_left[i] = int(rng.integers(1, network.n_ticks, endpoint=True))
        self._batch = SimulatorBatch(simulators, self._n_threads)
        for i in range(self.n_simulators):
            self._enter(i)
        return self._observe()

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[
        NDArray[np.float32],
        NDArray[np.float32],
        NDArray[np.bool_],
        NDArray[np.bool_],
        NDArray[np.float32],
        dict[str, NDArray[Any]],
    ]:
        """Take one action in [-1, 1] for each row; return (obs, reward, terminated, truncated, final_obs, info).

        final_obs is what the rows saw at the end of this step; it differs from obs where truncated, as obs is then the
        first one of the next network. info holds float64[n_rows]: goodput_ratio, queue_delay_ratio, loss_ratio,
        fairness, and the reward's terms as reward_<term>. Rows without a live subflow see zeros, and their actions are
        ignored.
        """
        if self._batch is None:
            raise RuntimeError("VectorEnv: reset() comes before step()")
        batch = self._batch
        chosen = np.asarray(actions, np.float32).reshape(self.n_rows)
        steps = self._observer.get_steps(self._rows)
        self._mapper.map(chosen, steps, batch.samples, self._interval_us, batch.actions)
        self._observer.remember(self._rows, chosen)
        self._now_ns += self._tick_ns
        batch.step(self._now_ns)
        self._ticks_left -= 1
        observations = self._observer.update(self._rows, batch.samples)
        score, privileged = self._scorer.score(self._observer, batch.samples, self._rows)
        final = self._join(observations, privileged, self._rows)
        is_over = self._ticks_left <= 0
        for i in np.flatnonzero((self._now_ns >= self._until_ns) & ~is_over):
            self._refresh_conditions(int(i))
        following = final
        over = np.flatnonzero(is_over)
        if len(over):
            following = final.copy()
            for i in over:
                self._replace(int(i))
            rows = np.flatnonzero(is_over[self._slot_of_row])
            following[rows] = self._observe(rows)
        info: dict[str, NDArray[Any]] = {
            "goodput_ratio": score.goodput_ratio,
            "queue_delay_ratio": score.queue_delay_ratio,
            "loss_ratio": score.loss_ratio,
            "fairness": score.fairness,
        }
        info |= {f"reward_{name}": values for name, values in score.terms.items()}
        truncated = is_over[self._slot_of_row]
        return following, score.reward, np.zeros(self.n_rows, bool), truncated, final, info

    def count_packets(self) -> int:
        """Return the data packets that all simulators have sent since `reset`."""
        if self._batch is None:
            return self._packets_before
        return self._packets_before + sum(simulator.packets for simulator in self._batch.simulators)

    def close(self) -> None:
        """Free all simulators and threads; a second call does nothing."""
        if self._batch is None:
            return
        self._batch.close()
        for simulator in self._batch.simulators:
            simulator.close()
        self._batch = None
        self._packets_before = 0

    def _draw(self, slot: int, episode: int) -> tuple[TrainingNetwork, Simulator, np.random.Generator]:
        """Return the network of a slot's episode and its simulator, run until its subflows are established."""
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self._seed, slot, episode))))
        span = self._spans[slot]
        network = draw_network(rng, span.stop - span.start, self.config)
        simulator = network.build(int(rng.integers(1 << 63)))
        self._now_ns[slot] = establish(simulator, network.ready_ns)
        return network, simulator, rng

    def _draw_preference(self, rng: np.random.Generator) -> NDArray[np.float64]:
        reward = self._scorer.config
        return rng.uniform(-1.0, 1.0, PREFERENCE_SIZE) * (reward.delay_preference, reward.harm_preference)

    def _enter(self, slot: int) -> None:
        """Make the slot's rows new."""
        place = self._slots[slot]
        rows = place.rows
        connections = np.asarray(place.network.connections(), np.int64) + rows.start
        self._observer.reset(self._rows[rows], connections)
        self._scorer.assign(rows, connections, slot)
        self._tick_ns[slot] = place.network.tick_ns
        self._interval_us[rows] = place.network.tick_ns * 1e-3
        self._scorer.set_preference(rows, place.preference)
        self._refresh_conditions(slot)

    def _replace(self, slot: int) -> None:
        """Put the next drawn network into the slot."""
        assert self._batch is not None
        place = self._slots[slot]
        place.episode += 1
        place.network, simulator, rng = self._draw(slot, place.episode)
        place.preference = self._draw_preference(rng)
        place.timeline = place.network.timeline()
        self._ticks_left[slot] = place.network.n_ticks
        old = self._batch.replace(slot, simulator)
        self._packets_before += old.packets
        old.close()
        self._enter(slot)

    def _refresh_conditions(self, slot: int) -> None:
        place = self._slots[slot]
        conditions = place.timeline.compute(int(self._now_ns[slot]))
        self._scorer.set_conditions(place.rows, conditions)
        self._until_ns[slot] = conditions.until_ns

    def _observe(self, rows: NDArray[np.intp] | None = None) -> NDArray[np.float32]:
        """Return the first observations of fresh rows."""
        assert self._batch is not None
        rows = self._rows if rows is None else rows
        samples = self._batch.samples[rows]
        observations = self._observer.update(rows, samples)
        _, privileged = self._scorer.score(self._observer, samples, rows)
        return self._join(observations, privileged, rows)

    def _join(
        self, observations: NDArray[np.float32], privileged: NDArray[np.float32], rows: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        return np.concatenate([observations, self._scorer.get_preference(rows), privileged], axis=1)


def establish(simulator: Simulator, ready_ns: int) -> int:
    """Run until all drl subflows have an RTT sample, from ready_ns on in steps, and return the time.

    Lost SYNs are waited for, though not for ever: then some rows begin dead.
    """
    now_ns = ready_ns
    simulator.run(now_ns)
    step_ns = max(ready_ns // 4, 5_000_000)
    for _ in range(_HANDSHAKE_TRIES):
        if select_live(simulator.peek_samples()).all():
            break
        now_ns += step_ns
        simulator.run(now_ns)
    return now_ns
