# SPDX-License-Identifier: BSD-2-Clause
"""Finds subflows that a policy starves: held at the lowest window although nothing on the link asks for it.

A window of two segments that is full, while RTTs are those of an empty queue and nothing is lost, is no congestion
control: a sound policy grows there, and so does every classic controller. A policy that keeps it for long is broken, or
far from what it was trained on. This subflow then gets the initial window once more and nothing after it for a while:
the lease runs out and the fallback takes over. Afterwards the policy may try again, each time after twice as long.
"""

from dataclasses import dataclass

import numpy as np

from ccdrl.agent.controller import Decision
from ccdrl.bindings.library import Flag

WINDOW_MAX_SEGMENTS = 3
"""An action below this counts as the lowest; it is two, but for rounding."""
RTT_RATIO_MAX = 1.5
RTT_SLACK_US = 200
"""An empty queue: RTTs up to the ratio, or so much above the lowest. (On a short link two segments are a queue.)"""
RESTART_SEGMENTS = 10
"""What the fallback begins with: the initial window of RFC 6928."""
PATIENCE_US = 1_000_000
PATIENCE_SRTTS = 10
"""For the longer of both a policy may do so."""
HOLD_US = 30_000_000
HOLD_MAX_US = 600_000_000
FORGET_US = 600_000_000


@dataclass(slots=True)
class _Case:
    """One subflow: since when it starves (None: it does not), the losses then, and until when it is withheld."""

    seen_us: int
    losses: int = 0
    since_us: int | None = None
    hold_us: int = HOLD_US
    until_us: int = 0


class StarvationGuard:
    """Reviews decisions before they are written. `withheld` counts the actions that were changed or not let through."""

    def __init__(self) -> None:
        self.withheld = 0
        self._cases: dict[int, _Case] = {}

    def reset(self) -> None:
        """Forget everything: another policy decides from now on."""
        self._cases.clear()

    def review(self, decision: Decision) -> int:
        """Replace the first action for a starved subflow, take out the others; return how many subflows are new."""
        if not self._cases and decision.segments_min >= WINDOW_MAX_SEGMENTS:
            return 0
        records, actions = decision.records, decision.cwnd_actions
        mss_bytes = records["mss_bytes"]
        is_lowest = (actions["subflow_id"] != 0) & (actions["cwnd_bytes"] < WINDOW_MAX_SEGMENTS * mss_bytes)
        rtt_us, lowest_us = records["last_rtt_us"].astype(np.int64), records["min_rtt_us"].astype(np.int64)
        is_empty = rtt_us <= np.maximum(RTT_RATIO_MAX * lowest_us, lowest_us + RTT_SLACK_US)
        is_full = (records["flags"] & Flag.CWND_LIMITED) != 0
        is_suspect = is_lowest & is_empty & is_full
        losses = records["loss_events"].astype(np.int64) + records["rto_events"] + records["ecn_marks"]
        ids = records["subflow_id"].tolist()
        n_new = 0
        for row, subflow_id in enumerate(ids):
            case = self._cases.get(subflow_id)
            if case is None:
                if not is_suspect[row]:
                    continue
                case = self._cases[subflow_id] = _Case(decision.now_us)
            case.seen_us = decision.now_us
            if case.until_us > decision.now_us:
                self._withhold(decision, row)
            elif self._is_starved(case, bool(is_suspect[row]), bool(is_lowest[row]), int(losses[row]), decision, row):
                case.until_us, case.hold_us = decision.now_us + case.hold_us, min(2 * case.hold_us, HOLD_MAX_US)
                case.since_us = None
                actions["cwnd_bytes"][row] = RESTART_SEGMENTS * mss_bytes[row]
                actions["pacing_rate_bytes_per_s"][row] = 0
                self.withheld += 1
                n_new += 1
        self._forget(decision.now_us)
        return n_new

    @staticmethod
    def _is_starved(case: _Case, is_suspect: bool, is_lowest: bool, losses: int, decision: Decision, row: int) -> bool:
        if not is_lowest or losses != case.losses:
            case.since_us, case.losses = None, losses
        if is_suspect and case.since_us is None:
            case.since_us = decision.now_us
        if case.since_us is None or not is_suspect:
            return False
        patience_us = max(PATIENCE_US, PATIENCE_SRTTS * int(decision.records["srtt_us"][row]))
        return decision.now_us - case.since_us >= patience_us

    def _withhold(self, decision: Decision, row: int) -> None:
        self.withheld += int(decision.cwnd_actions["subflow_id"][row] != 0)
        decision.cwnd_actions["subflow_id"][row] = 0

    def _forget(self, now_us: int) -> None:
        """Drop subflows that came to nothing: gone, or well again."""
        done = [
            subflow_id
            for subflow_id, case in self._cases.items()
            if (case.since_us is None and case.hold_us == HOLD_US) or now_us - case.seen_us > FORGET_US
        ]
        for subflow_id in done:
            del self._cases[subflow_id]
