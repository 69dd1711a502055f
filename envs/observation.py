# SPDX-License-Identifier: BSD-2-Clause
"""From samples to observations: the same code for the environments and for a live agent.

`Observer` keeps what one sample cannot tell (previous counters, smoothed rates, queues of the last RTTs) for a fixed
number of rows, one row for each subflow, and turns a batch of samples into scale-free columns. Arithmetic is in
float64, in the order of the rows: equal samples give equal bytes. Whatever the samples hold, the result is finite and
bounded.

A live agent decides for a few rows every few milliseconds, and a numpy call costs as much as its work on two hundred
numbers: columns are computed in blocks, with as few calls as possible.
"""

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.library import SAMPLE_DTYPE, Absent, Event, Flag, SampleArray, State
from ccdrl.envs.observation_layout import (
    HISTORY_COLUMNS,
    HISTORY_LENGTH,
    OBSERVATION_LIMIT,
    OBSERVATION_NAMES,
    OBSERVATION_SIZE,
    OBSERVATION_VERSION,
)

__all__ = [
    "OBSERVATION_NAMES",
    "OBSERVATION_SIZE",
    "OBSERVATION_VERSION",
    "Observer",
    "SampleColumns",
    "select_live",
    "select_window",
]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

INTERVAL_MAX_US = 60e6
"""A longer silence counts as this long."""
STARTUP_QUEUE = 0.32
"""log2(srtt / min RTT) above which a queue has been seen: a quarter of the base RTT."""

# Plain integers: an enumeration's members are slow next to numpy's small arrays.
_CLOSED, _CWR, _RECOVERY, _LOSS = int(Event.CLOSED), int(State.CWR), int(State.RECOVERY), int(State.LOSS)
_IS_LIMITED, _IS_CWND_LIMITED = int(Flag.APP_LIMITED | Flag.RWND_LIMITED), int(Flag.CWND_LIMITED)
_NO_COUNTERS, _NO_INFLIGHT = int(Absent.COUNTERS), int(Absent.INFLIGHT)
_UNSET = float((1 << 32) - 1)

_OFFSET = {name: SAMPLE_DTYPE.fields[name][1] for name in SAMPLE_DTYPE.names or ()}  # type: ignore[index]
_WORDS = SAMPLE_DTYPE.itemsize // 4
_LEVELS = ("mss_bytes", "cwnd_bytes", "ssthresh_bytes", "inflight_bytes", "srtt_us", "min_rtt_us", "last_rtt_us")
_LEVELS_FIRST = min(_OFFSET[name] for name in _LEVELS) // 4
_LEVELS_END = max(_OFFSET[name] for name in _LEVELS) // 4 + 1
_LEVEL_AT = {name: _OFFSET[name] // 4 - _LEVELS_FIRST for name in _LEVELS}

_COUNTERS_64 = [_OFFSET[name] // 8 for name in ("timestamp_us", "sent_bytes", "delivered_bytes", "lost_bytes")]
_COUNTERS_32 = [_OFFSET[name] // 4 for name in ("loss_events", "rto_events", "ecn_marks")]
_N_COUNTERS = len(_COUNTERS_64) + len(_COUNTERS_32)
_STATE = (
    "is_started", "last_rtt", "rate", "top", "lost_4", "sent_4", "lost_32", "sent_32",
    "queue_min_8", "queue_max_8", "queue_min_32", "queue_max_32", "since_loss", "previous_action", "is_startup",
)  # fmt: skip
_AT = {name: i for i, name in enumerate(_STATE)}
_FLOWS = slice(_AT["lost_4"], _AT["sent_32"] + 1)
_QUEUES = slice(_AT["queue_min_8"], _AT["queue_max_32"] + 1)
_COLUMN = {name: i for i, name in enumerate(OBSERVATION_NAMES)}
_QUEUE_COLUMNS = slice(_COLUMN["queue_min_8"], _COLUMN["queue_max_32"] + 1)
_LOSS_COLUMNS = slice(_COLUMN["loss_now"], _COLUMN["loss_long"] + 1)
_SPANS = np.array([[4.0], [8.0], [16.0], [32.0]])
"""Time constants in srtt, in the order of `decay` below."""
# Columns that are the log2 of something, in the order of the block that computes them.
_LOGS = (
    "srtt_ratio", "rtt_ratio", "rate_sample", "cwnd_bdp", "sent_acked", "interval", "since_loss", "cwnd_mss",
    "srtt_above_best", "base_above_best", "top_share",
)  # fmt: skip
_LOG_AT = [_COLUMN[name] for name in _LOGS]
_HISTORY_AT = [_COLUMN[name] for name in HISTORY_COLUMNS]
_HISTORY_SIZE = HISTORY_LENGTH * len(HISTORY_COLUMNS)
_OWN_SIZE = OBSERVATION_SIZE - _HISTORY_SIZE
_SPARSE = 4
"""Connection numbers up to this multiple of the capacity are used as they are."""


class SampleColumns:
    """Fields of samples as contiguous float64 columns, read in one go: strided reads one by one cost more.

    window is what an action multiplies: cwnd, or ssthresh while the datapath reduces. In RECOVERY and CWR the datapath
    moves cwnd towards ssthresh, packet by packet (PRR, RFC 6937); what cwnd is on the way is nobody's decision.
    """

    __slots__ = ("_inflight", "absent", "is_reducing", "last_rtt", "min_rtt", "mss", "srtt", "window", "words")

    def __init__(self, samples: SampleArray) -> None:
        self.words = np.ascontiguousarray(samples).view(np.uint32).reshape(len(samples), _WORDS)
        levels = self.words.T[_LEVELS_FIRST:_LEVELS_END].astype(np.float64, order="C")
        self.mss: Floats = levels[_LEVEL_AT["mss_bytes"]]
        self.srtt: Floats = levels[_LEVEL_AT["srtt_us"]]
        self.min_rtt: Floats = levels[_LEVEL_AT["min_rtt_us"]]
        last_rtt = levels[_LEVEL_AT["last_rtt_us"]]
        self.last_rtt: Floats = np.where(last_rtt > 0.0, last_rtt, self.srtt)
        self.window: Floats = levels[_LEVEL_AT["cwnd_bytes"]]
        condition = samples["state"]
        self.is_reducing: NDArray[np.bool_] = (condition == _RECOVERY) | (condition == _CWR)
        if self.is_reducing.any():
            ssthresh = levels[_LEVEL_AT["ssthresh_bytes"]]
            is_known = (ssthresh > 0.0) & (ssthresh != _UNSET)
            self.window = np.where(self.is_reducing & is_known, ssthresh, self.window)
        self.absent: NDArray[np.uint32] = samples["absent"]
        self._inflight: Floats = levels[_LEVEL_AT["inflight_bytes"]]

    def get_inflight(self, default: Floats) -> Floats:
        """Return the bytes in the network, the default where the datapath cannot tell them."""
        is_unknown = (self.absent & _NO_INFLIGHT) != 0
        return np.where(is_unknown, default, self._inflight) if is_unknown.any() else self._inflight


def select_live(samples: SampleArray) -> NDArray[np.bool_]:
    """Return which samples an agent can act on: open subflows with an RTT sample and a segment size."""
    live = (samples["srtt_us"] > 0) & (samples["mss_bytes"] > 0) & (samples["subflow_id"] > 0)
    return np.asarray(live & (samples["event"] != _CLOSED))


def select_window(samples: SampleArray) -> Floats:
    """Return the window in bytes that an action multiplies (see `SampleColumns`)."""
    return SampleColumns(samples).window


class Observer:
    """State for `capacity` rows; row numbers are the caller's.

    A row belongs to a connection, named by any integer in [0, 2**31): rows of one connection are siblings. Small
    numbers are faster. Call `reset` before a row's first sample, `update` once a monitor interval with the rows of
    whole connections, and `remember` with the actions that answer it.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._counters = np.zeros((capacity, _N_COUNTERS), np.uint64)
        self._state = np.zeros((capacity, len(_STATE)))
        self._history = np.zeros((capacity, _HISTORY_SIZE), np.float32)
        self._connections = np.zeros(capacity, np.int64)

    def reset(self, rows: Rows, connections: NDArray[np.int64]) -> None:
        """Forget the rows and make them subflows of the given connections."""
        self._counters[rows] = 0
        self._state[rows] = 0.0
        self._history[rows] = 0.0
        self._connections[rows] = connections

    def remember(self, rows: Rows, actions: NDArray[np.float32]) -> None:
        """Note the actions taken, each in [-1, 1]; what is not finite counts as 0."""
        bounded = np.minimum(np.maximum(actions.astype(np.float64), -1.0), 1.0)
        self._state[rows, _AT["previous_action"]] = np.where(np.isfinite(actions), bounded, 0.0)

    def get_rate(self, rows: Rows) -> Floats:
        """Return the delivery rate smoothed over one srtt, bytes a second."""
        return np.asarray(self._state[rows, _AT["rate"]])

    def get_loss(self, rows: Rows) -> Floats:
        """Return the loss ratio over about 4 srtt."""
        return _ratio(self._state[rows, _AT["lost_4"]], self._state[rows, _AT["sent_4"]])

    def update(self, rows: Rows, samples: SampleArray) -> NDArray[np.float32]:
        """Return float32[len(rows), OBSERVATION_SIZE] and advance the rows.

        Row i gets samples[i]. Rows that are not live (see `select_live`) are all zero and unknown to their siblings.
        """
        is_live = select_live(samples)
        if len(rows) and is_live.all():
            return self.update_live(rows, samples, SampleColumns(samples))
        out = np.zeros((len(rows), OBSERVATION_SIZE), np.float32)
        live = np.flatnonzero(is_live)
        if len(live):
            samples = samples[live]
            out[live] = self.update_live(rows[live], samples, SampleColumns(samples))
        return out

    def update_live(self, rows: Rows, samples: SampleArray, fields: SampleColumns) -> NDArray[np.float32]:
        """As `update`, for a caller who knows that there are rows and all of them live, and has read their fields."""
        table, state = self._advance(rows, samples, fields)
        np.minimum(np.maximum(table, -OBSERVATION_LIMIT, out=table), OBSERVATION_LIMIT, out=table)
        self._state[rows] = state.T
        block = np.empty((len(rows), OBSERVATION_SIZE), np.float32)
        block[:, :_OWN_SIZE] = table.T
        history = self._history.take(rows, axis=0)
        block[:, _OWN_SIZE:] = history
        main = len(HISTORY_COLUMNS)
        history[:, main:] = block[:, _OWN_SIZE : OBSERVATION_SIZE - main]
        history[:, :main] = block.take(_HISTORY_AT, axis=1)
        self._history[rows] = history
        return block

    def _step_counters(self, rows: Rows, words: NDArray[np.uint32], is_first: NDArray[np.bool_]) -> Floats:
        """Return how far the counters went, float64[7, rows]: a counter that went back did not move."""
        counters = np.empty((len(rows), _N_COUNTERS), np.uint64)
        counters[:, : len(_COUNTERS_64)] = words.view(np.uint64).take(_COUNTERS_64, axis=1)
        counters[:, len(_COUNTERS_64) :] = words.take(_COUNTERS_32, axis=1)
        previous = self._counters.take(rows, axis=0)
        self._counters[rows] = counters
        steps = np.where(counters > previous, counters - previous, np.uint64(0))
        if is_first.any():
            steps[is_first] = 0
        return steps.T.astype(np.float64, order="C")

    def _advance(self, rows: Rows, samples: SampleArray, fields: SampleColumns) -> tuple[Floats, Floats]:
        """Return columns without history, float64[columns, rows], and the rows' new state, float64[states, rows]."""
        before = self._state.take(rows, axis=0).T
        is_first = before[_AT["is_started"]] == 0.0
        step = _Step(fields, before, is_first, self._step_counters(rows, fields.words, is_first))
        table, state = np.empty((_OWN_SIZE, len(rows))), np.empty((len(_STATE), len(rows)))
        sample_rate = samples["delivery_rate_bytes_per_s"].astype(np.float64)
        rate, top = _smooth(step, sample_rate, state, table)
        groups = _Groups(self._connections.take(rows), self.capacity)
        totals = groups.total(np.array((rate, top)))
        _fill_logs(step, groups, (sample_rate, top, totals[1], state[_AT["since_loss"]]), table)
        is_startup = _envelop(step, table[_COLUMN["srtt_ratio"]], state)
        table[_QUEUE_COLUMNS] = state[_QUEUES]

        gradient = table[_COLUMN["rtt_gradient"]]
        np.divide(fields.last_rtt - before[_AT["last_rtt"]], step.interval, out=gradient)
        if step.has_first:
            gradient[is_first] = 0.0
        np.divide(step.acked, step.cwnd * step.periods, out=table[_COLUMN["utilization"]])
        np.divide(rate, top, out=table[_COLUMN["rate_ratio"]])
        np.divide(fields.get_inflight(step.cwnd), step.cwnd, out=table[_COLUMN["inflight_ratio"]])
        condition, flags = samples["state"], samples["flags"]
        table[_COLUMN["is_recovery"]] = fields.is_reducing
        table[_COLUMN["is_timeout"]] = condition == _LOSS
        table[_COLUMN["is_limited"]] = (flags & _IS_LIMITED) != 0
        table[_COLUMN["is_cwnd_limited"]] = (flags & _IS_CWND_LIMITED) != 0
        table[_COLUMN["previous_action"]] = before[_AT["previous_action"]]
        table[_COLUMN["is_startup"]] = is_startup
        table[_COLUMN["ecn_ratio"]] = 0.0
        if step.marks.any():
            ratio = step.marks * fields.mss / np.maximum(step.acked, fields.mss)
            np.sqrt(np.clip(ratio, 0.0, 1.0), out=table[_COLUMN["ecn_ratio"]])
        _pool(groups, table, rate, totals[0])
        return table, state


class _Step:
    """What one interval brought to each row; srtt, base and interval in µs, amounts in bytes, periods in srtt."""

    __slots__ = (
        "acked", "base", "before", "cwnd", "decay", "fields", "has_first", "has_loss", "interval", "is_first", "lost",
        "marks", "periods", "sent",
    )  # fmt: skip

    def __init__(self, fields: SampleColumns, before: Floats, is_first: NDArray[np.bool_], steps: Floats) -> None:
        self.fields, self.before, self.is_first = fields, before, is_first
        self.has_first = bool(is_first.any())
        base = np.where(fields.min_rtt > 0.0, fields.min_rtt, fields.last_rtt)
        self.base = np.minimum(base, np.minimum(fields.last_rtt, fields.srtt))
        self.cwnd = np.maximum(fields.window, 1.0)
        interval = np.where(is_first, fields.srtt, steps[0]) if self.has_first else steps[0]
        self.interval = np.minimum(np.maximum(interval, 1.0), INTERVAL_MAX_US)
        self.periods = self.interval / fields.srtt
        self.decay: Floats = np.exp(-self.periods / _SPANS)
        self.sent, self.acked, self.lost, self.marks = steps[1], steps[2], steps[3], steps[6]
        is_blind = (fields.absent & _NO_COUNTERS) != 0
        if is_blind.any():  # no counters: the window is taken to circulate once an srtt
            self.sent = np.where(is_blind, self.cwnd * self.periods, self.sent)
            self.acked = np.where(is_blind, self.cwnd * self.periods, self.acked)
        self.has_loss: NDArray[np.bool_] = np.asarray((steps[3:6] > 0.0).any(axis=0))


def _smooth(step: _Step, sample_rate: Floats, state: Floats, table: Floats) -> tuple[Floats, Floats]:
    """Return rate and top; fill the rows of the state that follow counters, and the loss columns."""
    before, n = step.before, len(sample_rate)
    old_rate = before[_AT["rate"]]
    rate = old_rate + -np.expm1(-step.periods) * (step.acked / (step.interval * 1e-6) - old_rate)
    if step.has_first:
        first_rate = np.where(sample_rate > 0.0, sample_rate, step.cwnd / (step.fields.srtt * 1e-6))
        rate = np.where(step.is_first, first_rate, rate)
    top = np.maximum(rate, rate + (before[_AT["top"]] - rate) * step.decay[2])
    if step.has_first:
        top = np.where(step.is_first, rate, top)
    top = np.maximum(top, 1.0)
    # Two spans, 4 and 32 srtt, of two sums each: lost and sent.
    flows = state[_FLOWS].reshape(2, 2, n)
    np.multiply(before[_FLOWS].reshape(2, 2, n), step.decay[::3, None], out=flows)
    flows[:, 0] += step.lost
    flows[:, 1] += step.sent
    parts, wholes = np.empty((3, n)), np.empty((3, n))
    parts[0], parts[1:] = step.lost, flows[:, 0]
    wholes[0], wholes[1:] = step.sent, flows[:, 1]
    np.sqrt(_ratio(parts, wholes), out=table[_LOSS_COLUMNS])
    state[_AT["is_started"]] = 1.0
    state[_AT["last_rtt"]] = step.fields.last_rtt
    state[_AT["rate"]] = rate
    state[_AT["top"]] = top
    state[_AT["since_loss"]] = np.where(step.has_loss, 0.0, before[_AT["since_loss"]] + step.periods)
    state[_AT["previous_action"]] = before[_AT["previous_action"]]
    return rate, top


def _fill_logs(step: _Step, groups: "_Groups", inputs: tuple[Floats, ...], table: Floats) -> None:
    """Fill the columns of _LOGS; `inputs`: sample rate, top, its sum over the connection, since_loss."""
    sample_rate, top, top_total, since_loss = inputs
    fields, base, cwnd, mss = step.fields, step.base, step.cwnd, step.fields.mss
    logs = np.empty((len(_LOGS), len(top)))
    np.divide(fields.srtt, base, out=logs[0])
    np.divide(fields.last_rtt, base, out=logs[1])
    np.divide(np.maximum(sample_rate, 1.0), top, out=logs[2])
    np.divide(cwnd, top * base * 1e-6, out=logs[3])
    np.divide(step.sent + mss, step.acked + mss, out=logs[4])
    logs[5] = step.periods
    np.add(since_loss, 1.0, out=logs[6])
    np.divide(cwnd, mss, out=logs[7])
    times = np.array((fields.srtt, base))
    np.divide(times, groups.lowest(times), out=logs[8:10])
    np.divide(top, top_total, out=logs[10])
    np.log2(logs, out=logs)
    logs[7] /= 8.0
    table[_LOG_AT] = logs
    has_no_rate = sample_rate <= 0.0
    if has_no_rate.any():
        table[_COLUMN["rate_sample"], has_no_rate] = 0.0


def _envelop(step: _Step, queue: Floats, state: Floats) -> NDArray[np.bool_]:
    """Fill the rows of the state that follow the queue; return which rows are still in their start-up."""
    # Two spans, 8 and 32 srtt, of two envelopes each: the falling minimum and the rising maximum.
    n = len(queue)
    envelopes = state[_QUEUES].reshape(2, 2, n)
    np.multiply(step.before[_QUEUES].reshape(2, 2, n) - queue, step.decay[1::2, None], out=envelopes)
    envelopes += queue
    np.minimum(queue, envelopes[:, 0], out=envelopes[:, 0])
    np.maximum(queue, envelopes[:, 1], out=envelopes[:, 1])
    if step.has_first:
        np.copyto(envelopes, queue, where=step.is_first)
    was_startup = step.is_first | (step.before[_AT["is_startup"]] > 0.0)
    is_startup = was_startup & ~step.has_loss & (queue <= STARTUP_QUEUE)
    state[_AT["is_startup"]] = is_startup
    return np.asarray(is_startup)


class _Groups:
    """Rows by connection: sums, in the order of the rows, and minima of several columns in one call."""

    def __init__(self, connections: NDArray[np.int64], capacity: int) -> None:
        group, self._n = connections, int(connections.max()) + 1
        if self._n > _SPARSE * capacity:
            unique, group = np.unique(connections, return_inverse=True)
            self._n = len(unique)
        self._group = group
        self._shifted = group + self._n * np.arange(3)[:, None]
        self.count: Floats = np.bincount(group, minlength=self._n).take(group).astype(np.float64)

    def total(self, columns: Floats) -> Floats:
        """Return the sum over its connection for each row and column; columns has shape (1 to 3, rows)."""
        places = self._shifted[: len(columns)]
        sums = np.bincount(places.ravel(), weights=columns.ravel(), minlength=self._n * len(columns))
        return np.asarray(sums.take(places))

    def lowest(self, columns: Floats) -> Floats:
        """Return the lowest of its connection for each row and column; columns has shape (1 to 3, rows)."""
        places = self._shifted[: len(columns)]
        minima = np.full(self._n * len(columns), np.inf)
        np.minimum.at(minima, places.ravel(), columns.ravel())
        return np.asarray(minima.take(places))


def _pool(groups: _Groups, table: Floats, rate: Floats, rates: Floats) -> None:
    """Fill the sibling columns that are not logarithms; `rates` is the sum of `rate` over the connection."""
    count, queue, loss = groups.count, table[_COLUMN["srtt_ratio"]], table[_COLUMN["loss_long"]]
    share = np.divide(rate, np.maximum(rates, 1e-9), out=table[_COLUMN["rate_share"]])
    is_idle = rates <= 0.0
    if is_idle.any():
        np.divide(1.0, count, out=share, where=is_idle)
    sums = groups.total(np.array((queue, np.square(loss), share * queue)))
    minima = groups.lowest(np.array((queue, loss)))
    np.divide(count, 8.0, out=table[_COLUMN["n_subflows"]])
    np.divide(sums[0], count, out=table[_COLUMN["queue_mean"]])
    table[_COLUMN["queue_best"]] = minima[0]
    np.sqrt(sums[1] / count, out=table[_COLUMN["loss_mean"]])
    np.subtract(loss, minima[1], out=table[_COLUMN["loss_above_best"]])
    table[_COLUMN["queue_weighted"]] = sums[2]


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Return part / whole within [0, 1], and 0 where there is nothing."""
    return np.minimum(part / np.maximum(np.maximum(part, whole), 1e-9), 1.0)
