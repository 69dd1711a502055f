# SPDX-License-Identifier: BSD-2-Clause
"""Between a policy and a kernel: nothing leaves that is not finite, bounded and fresh, and refusals are counted."""

from dataclasses import asdict, dataclass

import numpy as np

from ccdrl.bindings.decision.library import GUARD_DTYPE


@dataclass(frozen=True, slots=True)
class GuardCounters:
    """What the guard did, since its creation (struct ccdrl_guard_counts)."""

    samples: int = 0
    samples_foreign: int = 0
    """Another ABI version, or no subflow id."""
    samples_future: int = 0
    """Taken later than now: broken, and would make every honest record of the subflow look old."""
    samples_stale: int = 0
    """Older than one already seen of the same subflow."""
    actions: int = 0
    actions_not_finite: int = 0
    actions_clipped: int = 0
    """Outside [-1, 1]: the window would have changed by more than a factor of two in an RTT."""
    windows_bounded: int = 0
    """Above the administrator's maximum."""


class Guard:
    """The bounds of what comes out of a policy, and the counts of what was refused on either side of it.

    Both are kept in a turn's C (bindings/decision): records are judged where they are stored, actions and windows where
    they are mapped. `cwnd_max_bytes` is the highest window that leaves. A row whose action is refused gets no cwnd
    action, so that its lease runs out and the datapath's fallback takes over.
    """

    def __init__(self, cwnd_max_bytes: int = 1 << 30) -> None:
        self.cwnd_max_bytes = cwnd_max_bytes
        self.counts = np.zeros(1, GUARD_DTYPE)

    @property
    def counters(self) -> GuardCounters:
        """The counts of this moment."""
        return GuardCounters(**{name: int(self.counts[name][0]) for name in GUARD_DTYPE.names or ()})

    def snapshot(self) -> dict[str, int]:
        """Return the counters by name."""
        return asdict(self.counters)
