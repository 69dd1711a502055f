# SPDX-License-Identifier: BSD-2-Clause
"""Between a policy and a kernel: nothing leaves that is not finite, bounded and fresh, and refusals are counted."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.library import ABI_VERSION, ActionArray, SampleArray


@dataclass(slots=True)
class GuardCounters:
    """What the guard did, since its creation."""

    samples: int = 0
    samples_foreign: int = 0
    """Another ABI version, or no subflow id."""
    samples_stale: int = 0
    """Older than one already seen of the same subflow."""
    actions: int = 0
    actions_not_finite: int = 0
    actions_clipped: int = 0
    """Outside [-1, 1]: the window would have changed by more than a factor of two in an RTT."""
    windows_bounded: int = 0
    """Above the administrator's maximum."""


class Guard:
    """Checks samples before and actions after the policy.

    `cwnd_max_bytes` is the highest window that leaves. A row whose action is refused gets no cwnd action, so that its
    lease runs out and the datapath's fallback takes over.
    """

    def __init__(self, cwnd_max_bytes: int = 1 << 30) -> None:
        self.cwnd_max_bytes = cwnd_max_bytes
        self.counters = GuardCounters()

    def select_samples(self, samples: SampleArray) -> NDArray[np.bool_]:
        """Return which samples speak our ABI and name a subflow."""
        good = np.asarray((samples["abi"] == ABI_VERSION) & (samples["subflow_id"] != 0))
        self.counters.samples += len(samples)
        self.counters.samples_foreign += int(np.count_nonzero(~good))
        return good

    def select_fresh(self, seq: NDArray[np.uint64], previous_seq: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which records are not older than the newest one seen of their subflow."""
        fresh = np.asarray(seq >= previous_seq)
        self.counters.samples_stale += int(np.count_nonzero(~fresh))
        return fresh

    def limit_actions(self, actions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the actions clipped to [-1, 1]; those that are not finite become NaN, which maps to no action."""
        finite = np.isfinite(actions)
        limited = np.where(finite, np.clip(actions, -1.0, 1.0), np.float32(np.nan)).astype(np.float32)
        self.counters.actions += len(actions)
        self.counters.actions_not_finite += int(np.count_nonzero(~finite))
        self.counters.actions_clipped += int(np.count_nonzero(finite & (limited != actions)))
        return limited

    def limit_windows(self, actions: ActionArray) -> None:
        """Lower windows above the maximum, in place."""
        above = actions["cwnd_bytes"] > self.cwnd_max_bytes
        count = int(np.count_nonzero(above))
        if count:
            actions["cwnd_bytes"][above] = self.cwnd_max_bytes
            self.counters.windows_bounded += count

    def snapshot(self) -> dict[str, int]:
        """Return the counters by name."""
        return asdict(self.counters)
