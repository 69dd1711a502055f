# SPDX-License-Identifier: BSD-2-Clause
"""Between a policy and a kernel: nothing leaves that is not finite, bounded and fresh, and refusals are counted."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.decision.actions import limit_actions, limit_windows
from ccdrl.bindings.decision.table import Intake
from ccdrl.bindings.library import ActionArray


@dataclass(slots=True)
class GuardCounters:
    """What the guard did, since its creation."""

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
    """Bounds what comes out of the policy, and counts what was refused on either side of it.

    Records are judged where they are stored (bindings/decision/table.py).
    `cwnd_max_bytes` is the highest window that leaves. A row whose action is refused gets no cwnd action, so that its
    lease runs out and the datapath's fallback takes over.
    """

    def __init__(self, cwnd_max_bytes: int = 1 << 30) -> None:
        self.cwnd_max_bytes = cwnd_max_bytes
        self.counters = GuardCounters()

    def count_records(self, n_records: int, intake: Intake) -> None:
        """Count what the table of subflows believed of a read, and what not."""
        self.counters.samples += n_records
        self.counters.samples_foreign += intake.foreign
        self.counters.samples_future += intake.future
        self.counters.samples_stale += intake.stale

    def limit_actions(self, actions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the actions clipped to [-1, 1]; those that are not finite become NaN, which maps to no action."""
        limited, n_not_finite, n_clipped = limit_actions(actions)
        self.counters.actions += len(actions)
        self.counters.actions_not_finite += n_not_finite
        self.counters.actions_clipped += n_clipped
        return limited

    def limit_windows(self, actions: ActionArray) -> None:
        """Lower windows above the maximum, and their pacing rates as much, in place."""
        self.counters.windows_bounded += limit_windows(actions, self.cwnd_max_bytes)

    def snapshot(self) -> dict[str, int]:
        """Return the counters by name."""
        return asdict(self.counters)
