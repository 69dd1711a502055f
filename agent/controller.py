# SPDX-License-Identifier: BSD-2-Clause
"""The live loop's core: samples in, cwnd actions out, for any number of connections that come and go."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ccdrl.agent.guard import Guard
from ccdrl.bindings.decision.table import SubflowTable
from ccdrl.bindings.decision.turn import Turn
from ccdrl.bindings.library import ActionArray, SampleArray, make_actions
from ccdrl.envs.action import INTERVAL_MAX_US, INTERVAL_MIN_US, MAPPER
from ccdrl.envs.observation import Observer


class Policy(Protocol):
    """Anything that decides."""

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one action for each row of observations[N, OBSERVATION_SIZE]."""
        ...


class Decision(NamedTuple):
    """What one `step` decided: n subflows, a row each. The next step writes over the arrays: copy what is to be kept.

    now_us        the datapath's clock
    records       the newest record of each subflow, SAMPLE_DTYPE (n,), with now_us as its timestamp
    age_us        how old each record was, float64 (n,); negative where its timestamp lies ahead
    observations  float32 (n, OBSERVATION_SIZE)
    actions       of the policy, clipped to [-1, 1], NaN where the guard refused it; float32 (n,)
    cwnd_actions  ACTION_DTYPE (n,); subflow_id 0 where there is none
    segments_min  the lowest window of the cwnd actions, infinite without any
    """

    now_us: int
    records: SampleArray
    age_us: NDArray[np.float64]
    observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    cwnd_actions: ActionArray
    segments_min: float


class Controller:
    """Decides for each connection at its monitor interval.

    `step` takes the records that changed, keeps the newest one of each subflow, and answers for the connections whose
    interval (the lowest srtt of their live subflows within [10 ms, 100 ms], or `interval_us`) is over. One policy call
    covers all of them. Subflows are known by id: a new one gets a row, a closed one gives it back, and one that has
    been silent for `idle_us` is dropped (its closing record was lost). conn_id 0 is a connection of its own. With more
    than `capacity` subflows the later ones are counted in `refused` and stay with the datapath's fallback. `tap` is
    called with every decision before its actions are returned, and may change these.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        capacity: int = 1024,
        interval_us: int | None = None,
        idle_us: int = 60_000_000,
        guard: Guard | None = None,
        tap: Callable[[Decision], None] | None = None,
    ) -> None:
        self.policy = policy
        self.guard = guard if guard is not None else Guard()
        self.decisions = 0
        self._tap = tap
        self._no_actions = make_actions(0)
        bounds = (INTERVAL_MIN_US, INTERVAL_MAX_US) if interval_us is None else (interval_us, interval_us)
        self._table = SubflowTable(capacity, bounds, idle_us)
        self._turn = Turn(self._table, Observer(capacity), MAPPER, self.guard.counts, self.guard.cwnd_max_bytes)

    @property
    def refused(self) -> int:
        """Records of subflows beyond the capacity."""
        return self._turn.refused

    @property
    def n_subflows(self) -> int:
        """Subflows that have a row."""
        return self._table.n_subflows

    @property
    def n_connections(self) -> int:
        """Connections that have a subflow."""
        return self._table.n_connections

    def copy_records(self) -> SampleArray:
        """Return the newest record of every subflow that has a row, SAMPLE_DTYPE (n_subflows,)."""
        return self._table.copy_records()

    def step(self, samples: SampleArray, now_us: int | None = None) -> ActionArray:
        """Take new records; return cwnd actions for the connections whose monitor interval is over, possibly none.

        `now_us` is the datapath's clock; without it, the newest timestamp seen is taken. The first decision for a
        connection comes with its first live record. The next call writes over what this one returned.
        """
        turn = self._turn
        n = turn.begin(samples, now_us)
        if n == 0:
            return self._no_actions
        turn.finish(self.policy.act(turn.observations))
        self.decisions += n
        if self._tap is not None:
            self._tap(
                Decision(
                    turn.now_us,
                    turn.records,
                    turn.ages_us,
                    turn.observations,
                    turn.actions,
                    turn.cwnd_actions,
                    turn.segments_min,
                )
            )
        return turn.gather()
