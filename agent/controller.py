# SPDX-License-Identifier: BSD-2-Clause
"""The live loop's core: samples in, cwnd actions out, for any number of connections that come and go."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ccdrl.agent.guard import Guard
from ccdrl.bindings.library import ActionArray, Event, SampleArray, make_actions, make_samples
from ccdrl.envs.action import INTERVAL_MAX_US, INTERVAL_MIN_US, map_actions
from ccdrl.envs.observation import Observer, select_live


class Policy(Protocol):
    """Anything that decides."""

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one action for each row of observations[N, OBSERVATION_SIZE]."""
        ...


class Controller:
    """Decides for each connection at its monitor interval.

    `step` takes the records that changed, keeps the newest one of each subflow, and answers for the connections whose
    interval (the lowest srtt of their live subflows within [10 ms, 100 ms], or `interval_us`) is over. One policy call
    covers all of them. Subflows are known by id: a new one gets a row, a closed one gives it back, and one that has
    been silent for `idle_us` is dropped (its closing record was lost). conn_id 0 is a connection of its own. With more
    than `capacity` subflows the later ones are counted in `refused` and stay with the datapath's fallback.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        capacity: int = 1024,
        interval_us: int | None = None,
        idle_us: int = 60_000_000,
        guard: Guard | None = None,
    ) -> None:
        self.policy = policy
        self.guard = guard if guard is not None else Guard()
        self.refused = 0
        self.decisions = 0
        self._interval_us = interval_us
        self._idle_us = idle_us
        self._observer = Observer(capacity)
        self._samples = make_samples(capacity)
        self._seen_us = np.zeros(capacity, np.uint64)
        self._decided_us = np.zeros(capacity, np.uint64)
        self._connections = np.full(capacity, -1, np.int64)
        self._row_of: dict[int, int] = {}
        self._free = list(range(capacity - 1, -1, -1))
        self._connection_of: dict[tuple[int, int], int] = {}
        self._key_of: dict[int, tuple[int, int]] = {}
        self._members: dict[int, int] = {}
        self._next_connection = 0
        self._now_us = 0
        self._wake_us = 0.0

    @property
    def n_subflows(self) -> int:
        """Subflows that have a row."""
        return len(self._row_of)

    def step(self, samples: SampleArray, now_us: int | None = None) -> ActionArray:
        """Take new records; return cwnd actions for the connections whose monitor interval is over, possibly none.

        `now_us` is the datapath's clock; without it, the newest timestamp seen is taken. The first decision for a
        connection comes with its first live record.
        """
        samples = samples[self.guard.select_samples(samples)]
        self._absorb(samples)
        newest = int(samples["timestamp_us"].max()) if len(samples) else 0
        self._now_us = max(self._now_us, newest if now_us is None else now_us)
        if self._now_us < self._wake_us:
            return make_actions(0)
        self._expire()
        rows, interval_us = self._select_due()
        if len(rows) == 0:
            return make_actions(0)
        records = self._samples[rows]
        records["timestamp_us"] = self._now_us
        decisions = self.guard.limit_actions(self.policy.act(self._observer.update(rows, records)))
        self._observer.remember(rows, decisions)
        actions = make_actions(len(rows))
        map_actions(decisions, records, interval_us, actions)
        self.guard.limit_windows(actions)
        self._decided_us[rows] = self._now_us
        self.decisions += len(rows)
        return np.asarray(actions[actions["subflow_id"] != 0])

    def _absorb(self, samples: SampleArray) -> None:
        """Store the newest record of each subflow, and give and take rows."""
        ids = samples["subflow_id"].tolist()
        for i in [i for i, subflow_id in enumerate(ids) if subflow_id not in self._row_of]:
            if ids[i] not in self._row_of and samples["event"][i] != Event.CLOSED:
                self._open(ids[i], int(samples["conn_id"][i]))
        known = np.array([self._row_of.get(subflow_id, -1) for subflow_id in ids], np.intp)
        picked = np.flatnonzero(known >= 0)
        rows = known[picked]
        picked = picked[self.guard.select_fresh(samples["seq"][picked], self._samples["seq"][rows])]
        rows = known[picked]
        self._samples[rows] = samples[picked]
        self._seen_us[rows] = samples["timestamp_us"][picked]
        for i in picked[samples["event"][picked] == Event.CLOSED]:
            if ids[i] in self._row_of:
                self._close(ids[i])

    def _open(self, subflow_id: int, conn_id: int) -> None:
        if not self._free:
            self.refused += 1
            return
        key = (conn_id, 0 if conn_id else subflow_id)
        connection = self._connection_of.get(key)
        if connection is None:
            connection = self._connection_of[key] = self._next_connection
            self._next_connection += 1
            self._members[connection] = 0
            self._key_of[connection] = key
        self._members[connection] += 1
        self._wake_us = 0.0
        row = self._free.pop()
        self._row_of[subflow_id] = row
        self._connections[row] = connection
        self._samples[row] = np.zeros((), self._samples.dtype)
        self._decided_us[row] = 0
        self._observer.reset(np.array([row]), np.array([connection], np.int64))

    def _close(self, subflow_id: int) -> None:
        row = self._row_of.pop(subflow_id)
        connection = int(self._connections[row])
        self._connections[row] = -1
        self._free.append(row)
        self._members[connection] -= 1
        if self._members[connection] == 0:
            del self._members[connection]
            del self._connection_of[self._key_of.pop(connection)]

    def _expire(self) -> None:
        """Drop subflows without a record for longer than `idle_us`."""
        limit = self._now_us - self._idle_us
        if limit <= 0 or not self._row_of:
            return
        rows = np.fromiter(self._row_of.values(), np.intp, len(self._row_of))
        for row in rows[self._seen_us[rows] < limit]:
            self._close(int(self._samples["subflow_id"][row]))

    def _select_due(self) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Return the live rows of the connections that are due, in ascending order, and each row's interval."""
        rows = np.flatnonzero(self._connections >= 0)
        rows = rows[select_live(self._samples[rows])]
        unique, group = np.unique(self._connections[rows], return_inverse=True)
        if self._interval_us is None:
            lowest = np.full(len(unique), np.inf)
            np.minimum.at(lowest, group, self._samples["srtt_us"][rows])
            interval = np.clip(np.trunc(lowest), INTERVAL_MIN_US, INTERVAL_MAX_US)
        else:
            interval = np.full(len(unique), float(self._interval_us))
        decided = np.zeros(len(unique), np.uint64)
        np.maximum.at(decided, group, self._decided_us[rows])
        is_due = (decided == 0) | (self._now_us - decided.astype(np.float64) >= interval)
        # Until the first connection is due again, as its srtt stands, `step` need not look; without any, always.
        starts = np.where(is_due, float(self._now_us), decided.astype(np.float64))
        self._wake_us = float((starts + interval).min()) if len(unique) else 0.0
        due = is_due[group]
        return rows[due], interval[group][due]
