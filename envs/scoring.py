# SPDX-License-Identifier: BSD-2-Clause
"""Rewards and privileged columns for many rows at once: samples against the conditions of each row's network."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.library import SampleArray
from ccdrl.envs.observation import Observer, Rows
from ccdrl.envs.reward import PREFERENCE_SIZE, REWARD_TERMS, RewardConfig, compute_delay_ratio, compute_reward
from ccdrl.envs.timeline import Conditions

Floats = NDArray[np.float64]

PRIVILEGED_NAMES = (
    "share_ratio", "ideal_capacity", "is_shared", "has_rival", "true_queue", "buffer", "random_loss", "n_users",
    "true_cwnd_bdp", "bdp_mss", "path_share", "target_cwnd", "has_stranger",
)  # fmt: skip
"""What the critic sees beside the observation while training; none of it exists outside the simulator."""
PRIVILEGED_SIZE = len(PRIVILEGED_NAMES)
QUEUE_SEGMENTS = 3.0
QUEUE_BDP = 0.03
BUFFER_SHARE = 0.3
"""The queue that a target window keeps at most: segments and part of the BDP, and part of the buffer."""
_LIMIT = 10.0
_RATE_MIN = 1e3
"""Bits a second; keeps ratios finite while every link is down."""


@dataclass(frozen=True, slots=True)
class Score:
    """Arrays over rows; a connection's figures are repeated for each of its subflows."""

    reward: NDArray[np.float32]
    goodput_ratio: Floats
    """Smoothed delivery rate over that of the coupled equilibrium."""
    queue_delay_ratio: Floats
    loss_ratio: Floats
    fairness: Floats
    """Jain's index of goodput_ratio over the agents' connections of the same network."""
    terms: dict[str, Floats]


class Scorer:
    """Conditions of `capacity` rows. Connections and networks are numbered by the caller, below `capacity`."""

    def __init__(self, capacity: int, config: RewardConfig) -> None:
        self.capacity = capacity
        self.config = config
        self._connection = np.arange(capacity)
        self._network = np.zeros(capacity, np.intp)
        self._network_of_connection = np.zeros(capacity, np.intp)
        self._ideal_bps = np.full(capacity, _RATE_MIN)
        self._is_shared = np.zeros(capacity, bool)
        self._has_rival = np.zeros(capacity, bool)
        self._preference = np.zeros((capacity, PREFERENCE_SIZE))
        self._base_us = np.ones(capacity)
        self._capacity_bps = np.full(capacity, _RATE_MIN)
        self._buffer_us = np.zeros(capacity)
        self._random_loss = np.zeros(capacity)
        self._n_users = np.ones(capacity)
        self._target_bps = np.zeros(capacity)
        self._target_base_us = np.ones(capacity)
        self._has_stranger = np.zeros(capacity, bool)

    def assign(self, rows: slice, connections: NDArray[np.int64], network: int) -> None:
        """Make the rows subflows of these connections (one number for each row, ascending), all in one network."""
        self._connection[rows] = connections
        self._network[rows] = network
        self._network_of_connection[connections] = network

    def set_preference(self, rows: slice, preference: Floats) -> None:
        """Set what the rows' connections prefer (PREFERENCE_SIZE,)."""
        self._preference[self._connections_of(rows)] = preference

    def get_preference(self, rows: Rows) -> NDArray[np.float32]:
        """Return float32[len(rows), PREFERENCE_SIZE]."""
        return self._preference[self._connection[rows]].astype(np.float32)

    def set_conditions(self, rows: slice, conditions: Conditions) -> None:
        """Note what the rows' network offers now; the connections are those of `assign`, ascending."""
        connections = self._connections_of(rows)
        self._ideal_bps[connections] = np.maximum(conditions.ideal_bps, _RATE_MIN)
        self._is_shared[connections] = conditions.is_shared
        self._has_rival[rows] = conditions.has_rival
        self._base_us[rows] = conditions.base_us
        self._capacity_bps[rows] = np.maximum(conditions.capacity_bps, _RATE_MIN)
        self._buffer_us[rows] = conditions.buffer_us
        self._random_loss[rows] = conditions.random_loss
        self._n_users[rows] = conditions.n_users
        self._target_bps[rows] = conditions.target_bps
        self._target_base_us[rows] = conditions.target_base_us
        self._has_stranger[rows] = conditions.has_stranger

    def score(self, observer: Observer, samples: SampleArray, rows: Rows) -> tuple[Score, NDArray[np.float32]]:
        """Return the rewards and the privileged columns float32[len(rows), PRIVILEGED_SIZE].

        `observer` has been updated with these samples; `rows` are all rows of whole networks.
        """
        connection = self._connection[rows]
        rate = 8.0 * observer.get_rate(rows)
        weight = np.maximum(rate, 1.0)

        def mean(values: Floats) -> Floats:
            """Mean over a connection's subflows, weighted by their rates; indexed by connection."""
            return self._total(connection, weight * values) / np.maximum(self._total(connection, weight), 1.0)

        srtt = samples["srtt_us"].astype(np.float64)
        delay = compute_delay_ratio(srtt, self._base_us[rows])
        ratio = self._total(connection, rate) / self._ideal_bps
        delay_mean = mean(delay)
        loss_mean = mean(observer.get_loss(rows))
        reward = compute_reward(
            ratio,
            delay_mean,
            loss_mean,
            mean(self._random_loss[rows]),
            self._is_shared,
            mean(self._has_rival[rows].astype(np.float64)),
            self.config,
            self._preference,
        )
        score = Score(
            reward.total[connection].astype(np.float32),
            ratio[connection],
            delay_mean[connection],
            loss_mean[connection],
            self._compute_fairness(rows, connection, ratio),
            {name: getattr(reward, name)[connection] for name in REWARD_TERMS},
        )
        return score, self._observe(rows, samples, rate, ratio[connection])

    def _connections_of(self, rows: slice) -> NDArray[np.int64]:
        numbers = self._connection[rows]
        return np.asarray(numbers[np.append(True, numbers[1:] != numbers[:-1])])

    def _total(self, connection: NDArray[np.int64], values: Floats) -> Floats:
        return np.asarray(np.bincount(connection, weights=values, minlength=self.capacity))

    def _compute_fairness(self, rows: Rows, connection: NDArray[np.int64], ratio: Floats) -> Floats:
        used = np.unique(connection)
        network = self._network_of_connection[used]
        values = np.maximum(ratio[used], 1e-6)
        count, total, squares = (
            np.bincount(network, weights=weights, minlength=self.capacity)
            for weights in (np.ones(len(used)), values, np.square(values))
        )
        index = np.square(total) / np.maximum(count * squares, 1e-12)
        return np.asarray(index[self._network[rows]])

    def _compute_target_cwnd(self, rows: Rows, samples: SampleArray) -> Floats:
        """Return the windows (bytes) that carry the target rates, with a few segments in the queue of each path.

        With a stranger on the path its queue is there whatever we do.
        """
        base, mss = self._target_base_us[rows], np.maximum(samples["mss_bytes"], 1.0)
        round_trip_us = np.where(self._has_stranger[rows], np.maximum(samples["srtt_us"], base), base)
        empty = self._target_bps[rows] * base * 1.25e-7
        room = BUFFER_SHARE * self._target_bps[rows] * self._buffer_us[rows] * 1.25e-7
        queue = np.minimum(QUEUE_SEGMENTS * mss + QUEUE_BDP * empty, room)
        return np.asarray(np.maximum(self._target_bps[rows] * round_trip_us * 1.25e-7 + queue, 2.0 * mss))

    def _observe(self, rows: Rows, samples: SampleArray, rate: Floats, ratio: Floats) -> NDArray[np.float32]:
        capacity, base = self._capacity_bps[rows], self._base_us[rows]
        bdp_bytes = capacity * base * 1.25e-7
        ideal = self._ideal_bps[self._connection[rows]]
        mss = np.maximum(samples["mss_bytes"], 1)
        columns = (
            np.log2(np.maximum(ratio, 1e-3)),
            np.log2(ideal / capacity),
            self._is_shared[self._connection[rows]],
            self._has_rival[rows],
            np.log2(np.maximum(samples["srtt_us"] / np.maximum(base, 1.0), 1.0)),
            np.log2(1.0 + self._buffer_us[rows] / np.maximum(base, 1.0)),
            np.sqrt(self._random_loss[rows]),
            self._n_users[rows] / 8.0,
            np.log2(np.maximum(samples["cwnd_bytes"], 1) / np.maximum(bdp_bytes, 1.0)),
            np.log2(np.maximum(bdp_bytes / mss, 1e-3)) / 8.0,
            rate / capacity,
            np.log2(self._compute_target_cwnd(rows, samples) / np.maximum(samples["cwnd_bytes"], 1)),
            self._has_stranger[rows],
        )
        return np.asarray(np.clip(np.stack(columns, axis=1), -_LIMIT, _LIMIT), np.float32)
