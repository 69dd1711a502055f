# SPDX-License-Identifier: BSD-2-Clause
"""From samples to observations: the same code for the environments and for a live agent.

`Observer` keeps what one sample cannot tell (previous counters, smoothed rates, queues of the last RTTs) for a fixed
number of rows, one row for each subflow, and turns a batch of samples into scale-free columns. Arithmetic is in
float64, in the order of the rows: equal samples give equal bytes. Whatever the samples hold, the result is finite and
bounded.
"""

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.library import Absent, Event, Flag, SampleArray, State
from ccdrl.envs.observation_layout import (
    HISTORY_COLUMNS,
    HISTORY_LENGTH,
    OBSERVATION_LIMIT,
    OBSERVATION_NAMES,
    OBSERVATION_SIZE,
    OBSERVATION_VERSION,
)

__all__ = ["OBSERVATION_NAMES", "OBSERVATION_SIZE", "OBSERVATION_VERSION", "Observer", "select_live", "select_window"]

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
_UNSET = (1 << 32) - 1

_COUNTERS = ("timestamp_us", "sent_bytes", "delivered_bytes", "lost_bytes", "loss_events", "rto_events", "ecn_marks")
_STATE = (
    "is_started", "last_rtt", "rate", "top", "lost_4", "sent_4", "lost_32", "sent_32",
    "queue_min_8", "queue_max_8", "queue_min_32", "queue_max_32", "since_loss", "previous_action", "is_startup",
)  # fmt: skip
_AT = {name: i for i, name in enumerate(_STATE)}
_HISTORY_AT = [OBSERVATION_NAMES.index(name) for name in HISTORY_COLUMNS]
_HISTORY_SIZE = HISTORY_LENGTH * len(HISTORY_COLUMNS)


def select_live(samples: SampleArray) -> NDArray[np.bool_]:
    """Return which samples an agent can act on: open subflows with an RTT sample and a segment size."""
    live = (samples["srtt_us"] > 0) & (samples["mss_bytes"] > 0) & (samples["subflow_id"] > 0)
    return np.asarray(live & (samples["event"] != _CLOSED))


def select_window(samples: SampleArray) -> Floats:
    """Return the window in bytes that an action multiplies: cwnd, or ssthresh while the datapath reduces.

    In RECOVERY and CWR the datapath moves cwnd towards ssthresh, packet by packet (PRR, RFC 6937); what cwnd is on the
    way is nobody's decision.
    """
    condition, ssthresh = samples["state"], samples["ssthresh_bytes"]
    is_reducing = (condition == _RECOVERY) | (condition == _CWR)
    is_known = (ssthresh > 0) & (ssthresh != _UNSET)
    return np.where(is_reducing & is_known, ssthresh, samples["cwnd_bytes"]).astype(np.float64)


class Observer:
    """State for `capacity` rows; row numbers are the caller's.

    A row belongs to a connection, named by any integer in [0, 2**31): rows of one connection are siblings. Call `reset`
    before a row's first sample, `update` once a monitor interval with the rows of whole connections, and `remember`
    with the actions that answer it.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._counters = np.zeros((len(_COUNTERS), capacity), np.uint64)
        self._state = np.zeros((len(_STATE), capacity))
        self._history = np.zeros((capacity, _HISTORY_SIZE), np.float32)
        self._connections = np.zeros(capacity, np.int64)

    def reset(self, rows: Rows, connections: NDArray[np.int64]) -> None:
        """Forget the rows and make them subflows of the given connections."""
        self._counters[:, rows] = 0
        self._state[:, rows] = 0.0
        self._history[rows] = 0.0
        self._connections[rows] = connections

    def remember(self, rows: Rows, actions: NDArray[np.float32]) -> None:
        """Note the actions taken, each in [-1, 1]; what is not finite counts as 0."""
        clean = np.nan_to_num(actions.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        self._state[_AT["previous_action"], rows] = np.clip(clean, -1.0, 1.0)

    def get_rate(self, rows: Rows) -> Floats:
        """Return the delivery rate smoothed over one srtt, bytes a second."""
        return np.asarray(self._state[_AT["rate"], rows])

    def get_loss(self, rows: Rows) -> Floats:
        """Return the loss ratio over about 4 srtt."""
        return _ratio(self._state[_AT["lost_4"], rows], self._state[_AT["sent_4"], rows])

    def update(self, rows: Rows, samples: SampleArray) -> NDArray[np.float32]:
        """Return float32[len(rows), OBSERVATION_SIZE] and advance the rows.

        Row i gets samples[i]. Rows that are not live (see `select_live`) are all zero and unknown to their siblings.
        """
        out = np.zeros((len(rows), OBSERVATION_SIZE), np.float32)
        live = np.flatnonzero(select_live(samples))
        if len(live) == 0:
            return out
        if len(live) < len(rows):
            rows, samples = rows[live], samples[live]
        state = dict(zip(_STATE, self._state[:, rows], strict=True))
        columns = self._advance(rows, samples, state)
        columns |= _pool(self._connections[rows], columns, state)
        block = np.empty((len(rows), OBSERVATION_SIZE), np.float32)
        own = OBSERVATION_SIZE - _HISTORY_SIZE
        table = np.array([columns[name] for name in OBSERVATION_NAMES[:own]])
        block[:, :own] = np.clip(table, -OBSERVATION_LIMIT, OBSERVATION_LIMIT, out=table).T
        block[:, own:] = self._history[rows]
        main = len(HISTORY_COLUMNS)
        self._history[rows, main:] = block[:, own : OBSERVATION_SIZE - main]
        self._history[rows, :main] = block[:, _HISTORY_AT]
        self._state[:, rows] = np.array([state[name] for name in _STATE])
        out[live] = block
        return out

    def _advance(self, rows: Rows, samples: SampleArray, state: dict[str, Floats]) -> dict[str, Floats]:
        """Compute the subflow columns and the rows' new `state`, which also gets "base" and "srtt" (µs)."""
        srtt = samples["srtt_us"].astype(np.float64)
        last_rtt = _or(samples["last_rtt_us"], srtt)
        base = np.minimum(_or(samples["min_rtt_us"], last_rtt), np.minimum(last_rtt, srtt))
        mss = samples["mss_bytes"].astype(np.float64)
        cwnd = np.maximum(select_window(samples), 1.0)
        is_first = state["is_started"] == 0.0

        counters = np.array([samples[name] for name in _COUNTERS], np.uint64)
        previous = self._counters[:, rows]
        steps = np.where((counters > previous) & ~is_first, counters - previous, np.uint64(0)).astype(np.float64)
        self._counters[:, rows] = counters
        interval = np.clip(np.where(is_first, srtt, steps[0]), 1.0, INTERVAL_MAX_US)
        seconds = interval * 1e-6
        periods = interval / srtt
        sent, acked, lost = steps[1], steps[2], steps[3]
        absent = samples["absent"]
        is_blind = (absent & _NO_COUNTERS) != 0
        if is_blind.any():  # no counters: the window is taken to circulate once an srtt
            sent = np.where(is_blind, cwnd * periods, sent)
            acked = np.where(is_blind, cwnd * periods, acked)
        has_loss = (lost > 0.0) | (steps[4] > 0.0) | (steps[5] > 0.0)

        sample_rate = samples["delivery_rate_bytes_per_s"].astype(np.float64)
        first_rate = np.where(sample_rate > 0.0, sample_rate, cwnd / (srtt * 1e-6))
        rate = state["rate"] + -np.expm1(-periods) * (acked / seconds - state["rate"])
        rate = np.where(is_first, first_rate, rate)
        top = np.maximum(rate, rate + (state["top"] - rate) * np.exp(-periods / 16.0))
        top = np.maximum(np.where(is_first, rate, top), 1.0)

        queue = np.log2(srtt / base)
        decay = {4: np.exp(-periods / 4.0), 8: np.exp(-periods / 8.0), 32: np.exp(-periods / 32.0)}
        for span in (4, 32):
            state[f"lost_{span}"] = state[f"lost_{span}"] * decay[span] + lost
            state[f"sent_{span}"] = state[f"sent_{span}"] * decay[span] + sent
        for span in (8, 32):
            for name, pick in ((f"queue_min_{span}", np.minimum), (f"queue_max_{span}", np.maximum)):
                drifted = queue + (state[name] - queue) * decay[span]
                state[name] = np.where(is_first, queue, pick(queue, drifted))

        since_loss = np.where(has_loss, 0.0, state["since_loss"] + periods)
        startup = (is_first | (state["is_startup"] > 0.0)) & ~has_loss & (queue <= STARTUP_QUEUE)
        gradient = np.where(is_first, 0.0, (last_rtt - state["last_rtt"]) / interval)
        condition, flags = samples["state"], samples["flags"]
        inflight = np.where((absent & _NO_INFLIGHT) != 0, cwnd, samples["inflight_bytes"])
        state |= {
            "is_started": np.ones(len(rows)), "last_rtt": last_rtt, "rate": rate, "top": top, "base": base,
            "srtt": srtt, "since_loss": since_loss, "is_startup": startup.astype(np.float64),
        }  # fmt: skip
        return {
            "srtt_ratio": queue,
            "rtt_ratio": np.log2(last_rtt / base),
            "rtt_gradient": gradient,
            "loss_now": np.sqrt(_ratio(lost, sent)),
            "loss_short": np.sqrt(_ratio(state["lost_4"], state["sent_4"])),
            "loss_long": np.sqrt(_ratio(state["lost_32"], state["sent_32"])),
            "utilization": acked / (cwnd * periods),
            "rate_ratio": rate / top,
            "rate_sample": np.where(sample_rate > 0.0, np.log2(np.maximum(sample_rate, 1.0) / top), 0.0),
            "cwnd_bdp": np.log2(cwnd / (top * base * 1e-6)),
            "inflight_ratio": inflight / cwnd,
            "sent_acked": np.log2((sent + mss) / (acked + mss)),
            "queue_min_8": state["queue_min_8"],
            "queue_max_8": state["queue_max_8"],
            "queue_min_32": state["queue_min_32"],
            "queue_max_32": state["queue_max_32"],
            "interval": np.log2(periods),
            "is_recovery": ((condition == _RECOVERY) | (condition == _CWR)).astype(np.float64),
            "is_timeout": (condition == _LOSS).astype(np.float64),
            "is_limited": ((flags & _IS_LIMITED) != 0).astype(np.float64),
            "is_cwnd_limited": ((flags & _IS_CWND_LIMITED) != 0).astype(np.float64),
            "since_loss": np.log2(1.0 + since_loss),
            "cwnd_mss": np.log2(cwnd / mss) / 8.0,
            "previous_action": state["previous_action"],
            "is_startup": state["is_startup"],
            "ecn_ratio": np.sqrt(np.clip(steps[6] * mss / np.maximum(acked, mss), 0.0, 1.0)),
        }


def _pool(connections: NDArray[np.int64], own: dict[str, Floats], state: dict[str, Floats]) -> dict[str, Floats]:
    """Return the sibling columns: sums, means and minima over the rows of each connection."""
    unique, group = np.unique(connections, return_inverse=True)
    n = len(unique)

    def total(values: Floats) -> Floats:
        return np.asarray(np.bincount(group, weights=values, minlength=n)[group])

    def lowest(values: Floats) -> Floats:
        minima = np.full(n, np.inf)
        np.minimum.at(minima, group, values)
        return np.asarray(minima[group])

    count = np.bincount(group, minlength=n)[group].astype(np.float64)
    queue, rate = own["srtt_ratio"], state["rate"]
    rates = total(rate)
    share = np.where(rates > 0.0, rate / np.maximum(rates, 1e-9), 1.0 / count)
    return {
        "n_subflows": count / 8.0,
        "rate_share": share,
        "srtt_above_best": np.log2(state["srtt"] / lowest(state["srtt"])),
        "base_above_best": np.log2(state["base"] / lowest(state["base"])),
        "queue_mean": total(queue) / count,
        "queue_best": lowest(queue),
        "loss_mean": np.sqrt(total(np.square(own["loss_long"])) / count),
        "loss_above_best": own["loss_long"] - lowest(own["loss_long"]),
        "top_share": np.log2(state["top"] / total(state["top"])),
        "queue_weighted": total(share * queue),
    }


def _or(field: NDArray[np.uint32], default: Floats) -> Floats:
    """Return the field as float64, with the default where it holds 0 (no sample, or a datapath without it)."""
    return np.where(field > 0, field, default)


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Return part / whole within [0, 1], and 0 where there is nothing."""
    return np.minimum(part / np.maximum(np.maximum(part, whole), 1e-9), 1.0)
