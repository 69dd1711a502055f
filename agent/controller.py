# SPDX-License-Identifier: BSD-2-Clause
"""The live loop's core: samples in, cwnd actions out, for any number of connections that come and go."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ccdrl.agent.guard import Guard
from ccdrl.bindings.library import SAMPLE_DTYPE, ActionArray, Event, SampleArray, make_actions, make_samples
from ccdrl.envs.action import INTERVAL_MAX_US, INTERVAL_MIN_US, map_actions
from ccdrl.envs.observation import Observer, SampleColumns, select_live

Rows = NDArray[np.intp]
_CLOSED = int(Event.CLOSED)
_ID_MAX = np.uint64(2**64 - 1)
_WORDS = SAMPLE_DTYPE.itemsize // 8


class Policy(Protocol):
    """Anything that decides."""

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one action for each row of observations[N, OBSERVATION_SIZE]."""
        ...


@dataclass(frozen=True, slots=True)
class Decision:
    """What one `step` decided: n subflows, a row each. The arrays may be kept, not changed.

    now_us        the datapath's clock
    records       the newest record of each subflow, SAMPLE_DTYPE (n,), with now_us as its timestamp
    age_us        how old each record was, float64 (n,); negative where its timestamp lies ahead
    observations  float32 (n, OBSERVATION_SIZE)
    actions       of the policy, clipped to [-1, 1], NaN where the guard refused it; float32 (n,)
    cwnd_actions  ACTION_DTYPE (n,); subflow_id 0 where there is none
    """

    now_us: int
    records: SampleArray
    age_us: NDArray[np.float64]
    observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    cwnd_actions: ActionArray


class Controller:
    """Decides for each connection at its monitor interval.

    `step` takes the records that changed, keeps the newest one of each subflow, and answers for the connections whose
    interval (the lowest srtt of their live subflows within [10 ms, 100 ms], or `interval_us`) is over. One policy call
    covers all of them. Subflows are known by id: a new one gets a row, a closed one gives it back, and one that has
    been silent for `idle_us` is dropped (its closing record was lost). conn_id 0 is a connection of its own. With more
    than `capacity` subflows the later ones are counted in `refused` and stay with the datapath's fallback. `tap` is
    called with every decision before its actions are returned.
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
        self.refused = 0
        self.decisions = 0
        self._tap = tap
        self._interval_us = interval_us
        self._idle_us = idle_us
        self._observer = Observer(capacity)
        self._samples = make_samples(capacity)
        # The same memory as rows of words: numpy copies those faster than rows of fields.
        self._words = self._samples.view(np.uint64).reshape(capacity, _WORDS)
        self._seen_us = np.zeros(capacity, np.uint64)
        self._decided_us = np.zeros(capacity)
        self._srtt_us = np.zeros(capacity)
        self._is_live = np.zeros(capacity, np.bool_)
        self._connections = np.full(capacity, -1, np.int64)
        self._row_of: dict[int, int] = {}
        self._free = list(range(capacity - 1, -1, -1))
        # Connections are numbered from 0 and numbers reused, so that arrays over them stay short.
        self._connection_of: dict[tuple[int, int], int] = {}
        self._key_of: dict[int, tuple[int, int]] = {}
        self._members = [0] * capacity
        self._free_connections = list(range(capacity - 1, -1, -1))
        # `_row_of` in ascending order of ids, closed by the highest id there can be; None: to be made anew.
        self._index: tuple[NDArray[np.uint64], Rows] | None = None
        self._now_us = 0
        self._wake_us = 0.0

    @property
    def n_subflows(self) -> int:
        """Subflows that have a row."""
        return len(self._row_of)

    @property
    def n_connections(self) -> int:
        """Connections that have a subflow."""
        return len(self._connection_of)

    def copy_records(self) -> SampleArray:
        """Return the newest record of every subflow that has a row, SAMPLE_DTYPE (n_subflows,)."""
        return np.asarray(self._samples[self._connections >= 0])

    def step(self, samples: SampleArray, now_us: int | None = None) -> ActionArray:
        """Take new records; return cwnd actions for the connections whose monitor interval is over, possibly none.

        `now_us` is the datapath's clock; without it, the newest timestamp seen is taken. The first decision for a
        connection comes with its first live record.
        """
        if len(samples):
            good = self.guard.select_samples(samples, now_us)
            if not good.all():
                samples = samples[good]
        if len(samples):
            self._absorb(samples)
        if now_us is None:
            now_us = int(samples["timestamp_us"].max()) if len(samples) else 0
        self._now_us = max(self._now_us, now_us)
        if self._now_us < self._wake_us:
            return make_actions(0)
        self._expire()
        rows, interval_us = self._select_due()
        if len(rows) == 0:
            return make_actions(0)
        records = self._words.take(rows, axis=0).view(SAMPLE_DTYPE).reshape(-1)
        age_us = None if self._tap is None else self._now_us - records["timestamp_us"].astype(np.float64)
        records["timestamp_us"] = self._now_us
        fields = SampleColumns(records)
        observations = self._observer.update_live(rows, records, fields)
        decisions = self.guard.limit_actions(self.policy.act(observations))
        self._observer.remember(rows, decisions)
        actions = make_actions(len(rows))
        map_actions(decisions, records, interval_us, actions, fields)
        self.guard.limit_windows(actions)
        self._decided_us[rows] = self._now_us
        self.decisions += len(rows)
        if self._tap is not None and age_us is not None:
            self._tap(Decision(self._now_us, records, age_us, observations, decisions, actions))
        is_asked = actions["subflow_id"] != 0
        return actions if is_asked.all() else np.asarray(actions[is_asked])

    def _find(self, ids: NDArray[np.uint64]) -> Rows:
        """Return the row of each subflow id, -1 where it has none."""
        if self._index is None:
            known = np.fromiter(self._row_of, np.uint64, len(self._row_of))
            order = np.argsort(known)
            rows = np.fromiter(self._row_of.values(), np.intp, len(self._row_of))[order]
            self._index = np.append(known[order], _ID_MAX), np.append(rows, np.intp(-1))
        known, rows = self._index
        at = known.searchsorted(ids)
        return np.where(known.take(at) == ids, rows.take(at), np.intp(-1))

    def _absorb(self, samples: SampleArray) -> None:
        """Store the newest record of each subflow, and give and take rows."""
        ids = samples["subflow_id"]
        rows = self._find(ids)
        if (rows < 0).any():
            for i in np.flatnonzero((rows < 0) & (samples["event"] != _CLOSED)).tolist():
                if int(ids[i]) not in self._row_of:
                    self._open(int(ids[i]), int(samples["conn_id"][i]))
            rows = self._find(ids)
            picked = np.flatnonzero(rows >= 0)
            samples, rows = samples[picked], rows[picked]
        is_fresh = self.guard.select_fresh(samples["seq"], self._samples["seq"][rows])
        if not is_fresh.all():
            samples, rows = samples[is_fresh], rows[is_fresh]
        self._words[rows] = np.ascontiguousarray(samples).view(np.uint64).reshape(len(samples), _WORDS)
        self._seen_us[rows] = samples["timestamp_us"]
        self._srtt_us[rows] = samples["srtt_us"]
        self._is_live[rows] = select_live(samples)
        is_closed = samples["event"] == _CLOSED
        if is_closed.any():
            for subflow_id in samples["subflow_id"][is_closed].tolist():
                if subflow_id in self._row_of:
                    self._close(subflow_id)

    def _open(self, subflow_id: int, conn_id: int) -> None:
        if not self._free:
            self.refused += 1
            return
        key = (conn_id, 0 if conn_id else subflow_id)
        connection = self._connection_of.get(key)
        if connection is None:
            connection = self._connection_of[key] = self._free_connections.pop()
            self._key_of[connection] = key
        self._members[connection] += 1
        self._wake_us = 0.0
        self._index = None
        row = self._free.pop()
        self._row_of[subflow_id] = row
        self._connections[row] = connection
        self._words[row] = 0
        self._decided_us[row] = 0.0
        self._observer.reset(np.array([row]), np.array([connection], np.int64))

    def _close(self, subflow_id: int) -> None:
        row = self._row_of.pop(subflow_id)
        connection = int(self._connections[row])
        self._connections[row] = -1
        self._is_live[row] = False
        self._index = None
        self._free.append(row)
        self._members[connection] -= 1
        if self._members[connection] == 0:
            del self._connection_of[self._key_of.pop(connection)]
            self._free_connections.append(connection)

    def _expire(self) -> None:
        """Drop subflows without a record for longer than `idle_us`."""
        limit = self._now_us - self._idle_us
        if limit <= 0:
            return
        is_silent = (self._seen_us < limit) & (self._connections >= 0)
        if is_silent.any():
            for subflow_id in [subflow_id for subflow_id, row in self._row_of.items() if is_silent[row]]:
                self._close(subflow_id)

    def _select_due(self) -> tuple[Rows, NDArray[np.float64]]:
        """Return the live rows of the connections that are due, in ascending order, and each row's interval."""
        rows = np.flatnonzero(self._is_live)
        if len(rows) == 0:
            self._wake_us = 0.0
            return rows, np.empty(0)
        connections = self._connections.take(rows)
        n = int(connections.max()) + 1
        if self._interval_us is None:
            lowest = np.full(n, np.inf)
            np.minimum.at(lowest, connections, self._srtt_us.take(rows))
            interval = np.clip(lowest.take(connections), INTERVAL_MIN_US, INTERVAL_MAX_US)
        else:
            interval = np.full(len(rows), float(self._interval_us))
        newest = np.zeros(n)
        np.maximum.at(newest, connections, self._decided_us.take(rows))
        decided = newest.take(connections)
        is_due = (decided == 0.0) | (self._now_us - decided >= interval)
        # Until the first connection is due again, as its srtt stands, `step` need not look; without any, always.
        self._wake_us = float((np.where(is_due, float(self._now_us), decided) + interval).min())
        return (rows, interval) if is_due.all() else (rows[is_due], interval[is_due])
