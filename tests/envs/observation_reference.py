# SPDX-License-Identifier: BSD-2-Clause
"""The observation written a second time, from the layout's formulas: one row after the other, in plain Python.

What bindings/decision computes in C is compared with this. Nothing here is fast or shares code with it.
"""

import cmath
import math

import numpy as np

from ccdrl.bindings.library import Absent, Event, Flag, State
from ccdrl.envs.observation_layout import (
    HISTORY_COLUMNS,
    HISTORY_LENGTH,
    OBSERVATION_LIMIT,
    OBSERVATION_NAMES,
    OBSERVATION_SIZE,
)

UNSET = 2**32 - 1
COUNTERS = ("sent_bytes", "delivered_bytes", "lost_bytes", "loss_events", "rto_events", "ecn_marks")


def is_live(sample):
    return sample["srtt_us"] > 0 and sample["mss_bytes"] > 0 and sample["subflow_id"] > 0 and (
        sample["event"] != Event.CLOSED
    )  # fmt: skip


def get_window(sample):
    is_reducing = sample["state"] in (State.RECOVERY, State.CWR)
    is_known = sample["ssthresh_bytes"] not in (0, UNSET)
    return sample["ssthresh_bytes"] if is_reducing and is_known else sample["cwnd_bytes"]


def compute_share(part, whole):
    """Return part / whole within [0, 1], 0 where there is nothing."""
    return min(part / max(part, whole, 1e-9), 1.0)


class Row:
    """One subflow: `own` are the columns of its own samples, by name; the rest is what siblings ask for."""

    def __init__(self, connection):
        self.connection = connection
        self.before = None
        self.previous_action = 0.0
        self.since_loss = self.since_signal = self.since_queue = self.since_startup = 0.0
        self.is_startup = True
        self.sums = {(name, span): 0.0 for name in ("lost", "sent") for span in (4, 32)}
        self.envelopes = {}
        self.means = {}
        self.run = self.between = 0.0
        self.phase = self.dither = 0.0
        self.swing = 0j  # the dither, and its quadrature as the imaginary part
        self.still = self.still_level = self.still_low = self.raised_base = 0.0
        self.found = (0.0, 0.0, 0.0)  # acknowledged bytes, times the root of the newest log2(r / m), times that
        self.loss_score = 0.0
        self.scored = 0
        self.is_congested = False
        self.coupled = self.dither_step = 0.0
        self.wanted = self.held = 0.0
        self.is_rising = False
        self.is_alien = False
        self.is_clear = False
        self.restart = 0
        self.history = []

    def advance(self, sample):
        before, is_first = self.before, self.before is None
        self.before = sample
        srtt, mss = sample["srtt_us"], sample["mss_bytes"]
        newest = sample["last_rtt_us"] or srtt
        base = max(min(sample["min_rtt_us"] or newest, newest, srtt), min(self.raised_base, srtt))
        cwnd = max(get_window(sample), 1)
        step = {name: 0 if is_first else max(sample[name] - before[name], 0) for name in COUNTERS}
        silence = srtt if is_first else sample["timestamp_us"] - before["timestamp_us"]
        dt = min(max(silence, 1), 60_000_000)
        periods = dt / srtt
        if sample["absent"] & Absent.COUNTERS:
            rate = float(sample["delivery_rate_bytes_per_s"])
            flow = rate * dt * 1e-6 if rate > 0 else cwnd * periods
            step["sent_bytes"] = step["delivered_bytes"] = flow
            step["lost_bytes"] = min((step["loss_events"] + step["rto_events"]) * mss, flow)
        sent, acked, lost = (float(step[f"{name}_bytes"]) for name in ("sent", "delivered", "lost"))
        has_loss = lost > 0 or step["loss_events"] > 0 or step["rto_events"] > 0

        def decay(span):
            return math.exp(-periods / span)

        rate_sample = float(sample["delivery_rate_bytes_per_s"])
        if is_first:
            rate = top = rate_sample if rate_sample > 0 else cwnd / (srtt * 1e-6)
        else:
            rate = self.rate - math.expm1(-periods) * (acked / (dt * 1e-6) - self.rate)
            top = max(rate, rate + (self.top - rate) * decay(16))
        top = max(top, 1.0)
        for span in (4, 32):
            self.sums["lost", span] = self.sums["lost", span] * decay(span) + lost
            self.sums["sent", span] = self.sums["sent", span] * decay(span) + sent
        queue = math.log2(srtt / base)
        for span in (8, 32, 128):
            for name, pick in (("min", min), ("max", max)):
                old = self.envelopes.get((name, span), queue)
                self.envelopes[name, span] = pick(queue, queue + (old - queue) * decay(span))
        self.run += acked / mss
        is_signal = has_loss or step["ecn_marks"] > 0
        is_event = is_signal and self.since_signal + periods >= 1.0
        if is_event:
            self.between = self.between + 0.25 * (self.run - self.between) if self.between > 0 else self.run
            self.run = 0.0
        latest = math.log2(newest / base)
        root = math.sqrt(max(latest, 0.0))
        self.found = tuple(old * decay(128) + acked * root**power for power, old in enumerate(self.found))

        def follow(name, value, span):
            self.means[name] = value + (self.means.get(name, value) - value) * decay(span)
            return value - self.means[name]

        trends = {
            f"{name}_trend_{span}": follow((name, span), math.log2(value), span)
            for name, value in (("cwnd", cwnd), ("srtt", srtt))
            for span in (8, 32)
        }
        follow("deviation", abs(newest - srtt) / base, 8)
        c, q = trends["cwnd_trend_8"], trends["srtt_trend_8"]
        v = trends["rate_trend_8"] = follow("rate", math.log2(max(rate, 1.0)), 8)
        answer = min(max(q, -0.25), 0.25) if self.since_startup < 128 else q
        follow("dither_covariance", self.dither * answer, 128)
        follow("dither_variance", self.dither**2, 128)
        follow("dither_rate", self.dither * v, 128)
        for name, trend in (("c", c), ("q", q), ("v", v)):
            follow(f"swing_{name}", self.swing * min(max(trend, -0.3), 0.3), 128)
        self.judge_base(srtt, periods, is_timeout=sample["state"] == State.LOSS, is_first=is_first)
        self.phase = (self.phase + min(periods, 1.0) / 9) % 1.0
        if sample["state"] == State.LOSS:
            for name in ("dither_covariance", "dither_variance", "dither_rate", "swing_c", "swing_q", "swing_v"):
                self.means[name] = 0.0
        held, lowest = self.dither, max(self.envelopes["min", 8], 0.0)
        response = self.means["dither_covariance"] / (self.means["dither_variance"] + 1e-4)
        stands_us = (2 ** self.envelopes["min", 8] - 1) * base
        may_wait = cwnd < 8 * mss and stands_us * cwnd / mss < 40_000
        stands = self.envelopes["min", 8] > 0.3 and not may_wait
        is_known = self.means["dither_variance"] > 0.0008
        self.is_alien = stands and is_known and response < 0.4
        self.is_clear = not self.is_alien and (is_known or not stands)
        amplitude = max(0.115, min(math.log2(1 + mss / cwnd), 0.3))
        is_still = sample["state"] == State.LOSS or acked == 0
        self.swing = 0j if is_still else min(0.3 * lowest, amplitude) * 1j * cmath.exp(-2j * math.pi * self.phase)
        self.dither = self.swing.real
        self.dither_step = self.dither - held
        follow("covariance", c * q, 32)
        follow("variance", c * c, 32)
        follow("queue_variance", q * q, 32)
        self.is_startup = self.is_startup and not is_signal and queue <= 0.32 and self.previous_action >= -0.2
        self.since_startup = 0.0 if self.is_startup else self.since_startup + periods
        self.since_loss = 0.0 if has_loss else self.since_loss + periods
        self.since_signal = 0.0 if is_signal else self.since_signal + periods
        earlier = newest if is_first else before["last_rtt_us"] or before["srtt_us"]
        self.judge_loss(math.log2(earlier / base), is_event=is_event, is_timeout=sample["state"] == State.LOSS)
        is_limited = sample["flags"] & (Flag.APP_LIMITED | Flag.RWND_LIMITED) != 0
        self.since_queue += periods
        if is_signal:
            self.since_queue = -8.0
        elif self.is_startup or is_limited or queue > max(0.03, min(2 * math.log2(1 + mss / cwnd), 0.1)):
            self.since_queue = min(self.since_queue, 0.0)
        if self.is_congested:
            self.since_queue = min(self.since_queue, 0.0)
        gradient = (newest - earlier) / dt
        inflight = cwnd if sample["absent"] & Absent.INFLIGHT else sample["inflight_bytes"]
        losses = [compute_share(self.sums["lost", span], self.sums["sent", span]) for span in (4, 32)]
        self.rate, self.top, self.queue, self.srtt, self.base = rate, top, queue, srtt, base
        self.cwnd, self.mss, self.is_event = cwnd, mss, is_event
        if sample["state"] == State.LOSS:
            self.restart = 0 if sample["ssthresh_bytes"] == UNSET else sample["ssthresh_bytes"]
        elif has_loss or cwnd >= self.restart:
            self.restart = 0
        self.is_led = (
            self.is_clear
            and lowest > 0.05
            and not (is_first or sample["state"] == State.LOSS or is_limited or self.is_startup)
            and self.since_signal >= 1.0
        )
        response = (self.means["dither_covariance"] + 0.2 * 4e-4) / (self.means["dither_variance"] + 5e-4)
        self.held = (1 - base / srtt) * min(max(response, 0.0), 1.0) if self.is_led else 0.0
        self.is_held = is_first or sample["state"] == State.LOSS
        self.grown = 0.0 if is_limited else min(acked, cwnd * max(periods, 1.0))
        self.loss = math.sqrt(losses[1])
        self.loss_short = losses[0]
        self.own = {
            "srtt_ratio": queue,
            "rtt_ratio": latest,
            "rtt_gradient": gradient,
            "loss_now": math.sqrt(compute_share(lost, sent)),
            "loss_short": math.sqrt(losses[0]),
            "loss_long": self.loss,
            "utilization": acked / (cwnd * periods),
            "rate_ratio": rate / top,
            "rate_sample": math.log2(max(rate_sample, 1.0) / top) if rate_sample > 0 else 0.0,
            "cwnd_bdp": math.log2(cwnd / (top * base * 1e-6)),
            "inflight_ratio": inflight / cwnd,
            "sent_acked": math.log2((sent + mss) / (acked + mss)),
            **{f"queue_{name}_{span}": value for (name, span), value in self.envelopes.items()},
            "queue_segments": math.log2(1 + (1 - base / srtt) * cwnd / mss) / 4,
            "peak_segments": math.log2(1 + (1 - 2 ** -self.envelopes["max", 32]) * cwnd / mss) / 4,
            "interval": math.log2(periods),
            "is_recovery": sample["state"] in (State.RECOVERY, State.CWR),
            "is_timeout": sample["state"] == State.LOSS,
            "is_limited": is_limited,
            "is_cwnd_limited": sample["flags"] & Flag.CWND_LIMITED != 0,
            "since_loss": math.log2(1.0 + self.since_loss),
            "cwnd_mss": math.log2(cwnd / mss) / 8.0,
            "previous_action": self.previous_action,
            "is_startup": self.is_startup,
            "tcp_window": math.log2(cwnd / (mss * math.sqrt(1.5 * max(self.run, self.between, 1.0)))),
            "rtt_deviation": self.means["deviation"],
            **trends,
            "elasticity": self.means["covariance"] / (self.means["variance"] + 3e-4),
            "dither_response": self.means["dither_covariance"] / (self.means["dither_variance"] + 1e-4),
            "rate_response": self.means["dither_rate"] / (self.means["dither_variance"] + 1e-4),
            "queue_alien": math.sqrt(
                max(self.means["queue_variance"] - self.means["covariance"] ** 2 / (self.means["variance"] + 3e-4), 0)
            ),
            "is_alien": self.is_alien,
            "is_clear": self.is_clear,
            "ecn_ratio": math.sqrt(min(step["ecn_marks"] * mss / max(acked, mss), 1.0)),
        }

    def judge_loss(self, earlier, *, is_event, is_timeout):
        """Hold the queue at a loss against those of all segments; a tenth of the standard score is new."""
        acked, first, second = self.found
        if is_timeout:
            self.loss_score, self.scored = 0.0, 0
        elif is_event and not self.is_startup and acked > 0:
            deviation = math.sqrt(max(second / acked - (first / acked) ** 2, 0.0)) + 0.003
            score = min(max((math.sqrt(max(earlier, 0.0)) - first / acked) / deviation, -2.0), 2.0)
            self.scored = min(self.scored + 1, 10)
            self.loss_score += (score - self.loss_score) / self.scored
        is_rare = self.since_signal > 8 and self.run > 4 * self.between
        self.is_congested = (
            self.scored >= 4
            and self.loss_score >= 0.2
            and self.envelopes["max", 32] <= 0.6
            and self.since_signal <= 128
            and not is_rare
        )

    def judge_base(self, srtt, periods, *, is_timeout, is_first):
        """Raise the base where the delay stands still, does not follow the window, and the rate does."""
        self.raised_base = min(self.raised_base, srtt)
        level = self.means["srtt", 8]
        if is_first or is_timeout or self.is_startup or abs(level - self.still_level) > 0.03:
            self.still_level, self.still_low, self.still = level, math.log2(srtt), 0.0
        self.still += min(periods, 1.0)
        self.still_low = min(self.still_low, math.log2(srtt))
        is_lossy = self.sums["lost", 32] > 0.001 * self.sums["sent", 32]
        queue = self.envelopes["min", 8]
        is_long = 0.05 < queue <= 0.25 if is_lossy else queue > 0.15
        is_path = self.respond("q", 0.3) < 0.2 and self.respond("v", 1.0) > 0.5
        if self.still > 32 and is_long and is_path and abs(self.means["swing_c"]) > 8e-5:
            self.raised_base, self.still = 2**self.still_low, 0.0

    def respond(self, name, phase):
        """Return how far a trend follows the window's, of what moves with the dither."""
        window = self.means["swing_c"]
        product = self.means[f"swing_{name}"] * (window * cmath.exp(-1j * phase)).conjugate()
        return product.real / (abs(window) ** 2 + 4e-5 * abs(window) + 1.6e-9)


def couple(row, siblings):
    """Return log2 of the coupled window's factor: BALIA's with a part of its decrease and of its increase."""
    row.is_rising = False
    if row.is_held:
        return 0.0
    speeds = [each.cwnd / each.srtt for each in siblings]
    speed = row.cwnd / row.srtt
    alpha = max(speeds) / speed
    decrease, part = (0.1, 0.1) if row.is_congested else (0.26, 0.85 * (row.cwnd / row.mss / 38) ** 0.3)
    if row.is_event:
        return math.log2(1 - decrease * min(alpha, 1.3))
    if row.is_startup or row.cwnd < row.restart:
        return min(math.log2(1 + row.grown / row.cwnd), 1.0)
    if row.since_signal < 1.0:
        return 0.0
    balia = speed / row.srtt / sum(speeds) ** 2 * (1 + alpha) / 2 * (4 + alpha) / 5
    increase = part * row.grown * row.mss * min(balia, 1 / row.cwnd)
    step = math.log2(1 + increase / row.cwnd)
    row.is_rising = row.since_queue > 1.0
    if row.is_rising:
        step = max(step, row.grown / row.cwnd * min(0.2 * 2 ** min(row.since_queue - 1.0, 9.0), 0.6))
    return min(step, 1.0)


def pool(row, siblings):
    """Return the columns over the live subflows of a row's connection, itself included."""
    n, rates = len(siblings), sum(each.rate for each in siblings)
    shares = [each.rate / rates if rates > 0 else 1 / n for each in siblings]
    return {
        "n_subflows": n / 8,
        "rate_share": row.rate / rates if rates > 0 else 1 / n,
        "srtt_above_best": math.log2(row.srtt / min(each.srtt for each in siblings)),
        "base_above_best": math.log2(row.base / min(each.base for each in siblings)),
        "queue_mean": sum(each.queue for each in siblings) / n,
        "queue_best": min(each.queue for each in siblings),
        "loss_mean": math.sqrt(sum(each.loss**2 for each in siblings) / n),
        "loss_above_best": row.loss - min(each.loss for each in siblings),
        "top_share": math.log2(row.top / sum(each.top for each in siblings)),
        "queue_weighted": sum(share * each.queue for share, each in zip(shares, siblings, strict=True)),
    }


class ReferenceObserver:
    """As `Observer`."""

    def __init__(self, capacity):
        self.rows = [Row(0) for _ in range(capacity)]

    def reset(self, rows, connections):
        for row, connection in zip(rows, connections, strict=True):
            self.rows[row] = Row(int(connection))

    def remember(self, rows, actions):
        for row, action in zip(rows, actions, strict=True):
            self.rows[row].previous_action = min(max(float(action), -1.0), 1.0) if math.isfinite(action) else 0.0

    def get_rate(self, rows):
        return np.array([self.rows[row].rate for row in rows])

    def get_steps(self, rows):
        """Return what STEP_DTYPE names of each row."""
        found = [self.rows[row] for row in rows]
        return [
            (
                *(row.coupled, row.dither_step, row.wanted, row.held, float(row.is_congested)),
                float(row.is_rising and row.coupled > 0.0),
                0.0 if row.is_alien else 1.0 + row.is_clear,
            )
            for row in found
        ]

    def get_loss(self, rows):
        return np.array([self.rows[row].loss_short for row in rows])

    def update(self, rows, samples):
        out = np.zeros((len(rows), OBSERVATION_SIZE), np.float32)
        live = []
        for i, place in enumerate(rows):
            sample = {name: samples[name][i].tolist() for name in samples.dtype.names}
            if is_live(sample):
                self.rows[place].advance(sample)
                live.append((i, self.rows[place]))
            else:
                self.rows[place].coupled = self.rows[place].dither_step = 0.0
                self.rows[place].wanted = self.rows[place].held = 0.0
                self.rows[place].is_alien = self.rows[place].is_clear = False
                self.rows[place].is_congested = self.rows[place].is_rising = False
        for i, row in live:
            siblings = [each for _, each in live if each.connection == row.connection]
            row.coupled = couple(row, siblings)
            pooled = pool(row, siblings)
            row.wanted = 0.8 * pooled["rate_share"] / math.sqrt(row.cwnd / row.mss) if row.is_led else 0.0
            columns = row.own | {"coupled_step": row.coupled} | pooled
            columns = {name: min(max(value, -OBSERVATION_LIMIT), OBSERVATION_LIMIT) for name, value in columns.items()}
            for age in range(1, HISTORY_LENGTH + 1):
                past = row.history[-age] if age <= len(row.history) else dict.fromkeys(HISTORY_COLUMNS, 0.0)
                columns |= {f"{name}_{age}": past[name] for name in HISTORY_COLUMNS}
            row.history.append({name: columns[name] for name in HISTORY_COLUMNS})
            assert columns.keys() == set(OBSERVATION_NAMES)
            out[i] = [columns[name] for name in OBSERVATION_NAMES]
        return out
