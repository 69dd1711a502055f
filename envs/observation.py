# SPDX-License-Identifier: BSD-2-Clause
"""From samples to observations: the same code for the environments and for a live agent.

`Observer` keeps what one sample cannot tell (previous counters, smoothed rates, queues of the last RTTs) for a fixed
number of rows, one row for each subflow, and turns a batch of samples into the columns of envs/observation_layout.py.
The arithmetic is C, in float64; bindings/decision/columns.h has a line for each column. Equal samples in equal order
give equal bytes on one machine; siblings in another order differ by the rounding of sums only. Whatever the samples
hold, the result is finite and bounded.
"""

from ccdrl.bindings.decision.actions import select_live, select_window
from ccdrl.bindings.decision.observer import RowObserver, Rows
from ccdrl.envs.observation_layout import (
    HISTORY_COLUMNS,
    HISTORY_LENGTH,
    OBSERVATION_LIMIT,
    OBSERVATION_NAMES,
    OBSERVATION_SIZE,
    OBSERVATION_VERSION,
    SIBLING_COLUMNS,
    SUBFLOW_COLUMNS,
)

__all__ = [
    "OBSERVATION_NAMES",
    "OBSERVATION_SIZE",
    "OBSERVATION_VERSION",
    "Observer",
    "Rows",
    "select_live",
    "select_window",
]

_COLUMNS = [column.name for column in (*SUBFLOW_COLUMNS, *SIBLING_COLUMNS)]


class Observer(RowObserver):
    """State for `capacity` rows; row numbers are the caller's.

    A row belongs to a connection, named by any integer in [0, 2**31): rows of one connection are siblings. Call `reset`
    before a row's first sample, `update` once a monitor interval with the rows of whole connections, and `remember`
    with the actions that answer it.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity, _COLUMNS, HISTORY_COLUMNS, HISTORY_LENGTH, OBSERVATION_LIMIT)
