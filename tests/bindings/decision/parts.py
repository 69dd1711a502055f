# SPDX-License-Identifier: BSD-2-Clause
"""The parts of a turn (bindings/decision/turn.c), each by itself, as the tests look at them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ccdrl.bindings.decision.library import ffi, lib, pin_in, pin_out, pin_samples
from ccdrl.bindings.decision.table import TIME_UNKNOWN_US, SubflowTable
from ccdrl.bindings.library import SAMPLE_DTYPE


@dataclass(frozen=True)
class Intake:
    """struct ccdrl_intake, and the rows that were opened with the numbers of their connections."""

    newest_us: int
    foreign: int
    future: int
    stale: int
    refused: int
    rows: Any
    connections: Any


@dataclass(frozen=True)
class Due:
    """struct ccdrl_due."""

    rows: Any
    records: Any
    intervals_us: Any
    ages_us: Any


class Table(SubflowTable):
    """The table without observer and policy."""

    @property
    def wake_us(self):
        return self.handle.wake_us

    def absorb(self, samples, now_us=None):
        clock_us = TIME_UNKNOWN_US if now_us is None else now_us
        intake = lib.ccdrl_table_absorb(self.handle, pin_samples(samples), len(samples), clock_us)
        opened = self.handle.opened_rows, self.handle.opened_connections
        rows, connections = (np.array(list(each[0 : intake.opened]), np.int64) for each in opened)
        return Intake(intake.newest_us, intake.foreign, intake.future, intake.stale, intake.refused, rows, connections)

    def select_due(self, now_us):
        n, due = self.n_subflows, ffi.new("struct ccdrl_due *")
        arrays = np.empty(n, np.int64), np.empty(n, SAMPLE_DTYPE), np.empty(n), np.empty(n)
        pins = [pin_out(array) for array in arrays]
        due.rows, due.records, due.intervals_us, due.ages_us = pins
        n_due = lib.ccdrl_table_select(self.handle, now_us, due)
        return Due(*(array[:n_due] for array in arrays))


def limit_actions(actions):
    """Return the actions within [-1, 1] or NaN, and how many were not finite and clipped."""
    out = np.empty(len(actions), np.float32)
    limited = lib.ccdrl_actions_limit(pin_in("actions", actions, np.float32, len(out)), len(out), pin_out(out))
    return out, limited.not_finite, limited.clipped


def limit_windows(actions, cwnd_max_bytes):
    """Lower windows above the maximum, in place; return how many."""
    return lib.ccdrl_windows_limit(pin_out(actions), len(actions), cwnd_max_bytes)
