# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD as a datapath: the subflows of the module `ccdrl`, through its two system calls (ABI v2)."""

from collections import Counter

import numpy as np

from ccdrl.bindings.checks import check_array, check_integer
from ccdrl.bindings.datapath import Capabilities, Counters, ResultArray
from ccdrl.bindings.errors import DatapathError
from ccdrl.bindings.freebsd.transport import Transport, report_errors
from ccdrl.bindings.library import (
    ABI_VERSION,
    ACTION_DTYPE,
    SUBFLOWS_MAX,
    Absent,
    ActionArray,
    ActionResult,
    SampleArray,
    make_samples,
)

NAME = "freebsd"
CAPACITY_DEFAULT = 4096
ACTIONS_MAX = 1024
"""Actions in one call; more are written in several."""


class FreeBSDDatapath:
    """All subflows of a loaded `ccdrl`, read and written with the privilege that its calls ask for (root).

    transport  what answers the calls: `system.SystemTransport`, or a model of the kernel
    capacity   records that one read returns at most
    absent     fields that this kernel's stack does not have

    `counters` counts this object's actions and the leases that ran out since it was opened. After an unload every call
    raises DatapathError; without the privilege, PermissionError.
    """

    def __init__(self, transport: Transport, *, capacity: int = CAPACITY_DEFAULT, absent: Absent | None = None) -> None:
        rows = check_integer("capacity", capacity, 1, 2**20)
        self._transport: Transport | None = transport
        self._samples = make_samples(rows)
        self._absent = absent if absent is not None else Absent(0)
        self._counts: Counter[int] = Counter()
        with report_errors(NAME):
            self._expired_before = transport.read_expired()

    @property
    def capabilities(self) -> Capabilities:
        """What FreeBSD can do. Stock kernels pace only in other TCP stacks than the default one."""
        return Capabilities(
            name=NAME,
            abi=ABI_VERSION,
            absent=self._absent,
            is_simulated_time=False,
            has_pacing=False,
            subflows_max=SUBFLOWS_MAX,
        )

    def read_samples(self) -> SampleArray:
        """Return a view of the records that changed, at most the capacity."""
        transport = self._require_open()
        with report_errors(NAME):
            count = transport.get_buffer(self._samples)
        return self._samples[:count]

    def write_actions(self, actions: ActionArray) -> ResultArray:
        """Write windows and return one `ActionResult` each; the kernel takes each with the subflow's next ACK."""
        transport = self._require_open()
        rows = check_array("actions", actions, ACTION_DTYPE)
        results = np.empty(rows.size, np.int32)
        for begin in range(0, rows.size, ACTIONS_MAX):
            part = slice(begin, begin + ACTIONS_MAX)
            with report_errors(NAME):
                transport.update_cwnd(rows[part], results[part])
            self._counts.update(results[part].tolist())
        return results

    def counters(self) -> Counters:
        """Return what became of this object's actions, and all leases that ran out since it was opened."""
        transport = self._require_open()
        counts = {result.name.lower(): self._counts[int(result)] for result in ActionResult}
        with report_errors(NAME):
            expired = transport.read_expired() - self._expired_before
        return Counters(**counts, expired=expired)

    def close(self) -> None:
        """Let go of the calls: leases run out and the kernel's fallback takes over."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _require_open(self) -> Transport:
        if self._transport is None:
            raise DatapathError(f"datapath {NAME}: it is closed")
        return self._transport
