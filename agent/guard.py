# SPDX-License-Identifier: BSD-2-Clause
"""Between a policy and a kernel: nothing leaves that is not finite, bounded and fresh, and refusals are counted."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.library import ABI_VERSION, ActionArray, SampleArray

FUTURE_MAX_US = 1_000_000
"""A record may be this much newer than the decision's clock, which stands on a grid."""


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
    """Checks samples before and actions after the policy.

    `cwnd_max_bytes` is the highest window that leaves. A row whose action is refused gets no cwnd action, so that its
    lease runs out and the datapath's fallback takes over.
    """

    def __init__(self, cwnd_max_bytes: int = 1 << 30) -> None:
        self.cwnd_max_bytes = cwnd_max_bytes
        self.counters = GuardCounters()

    def select_samples(self, samples: SampleArray, now_us: int | None = None) -> NDArray[np.bool_]:
        """Return which samples speak our ABI, name a subflow and, where the clock is known, are not of the future."""
        good = np.asarray((samples["abi"] == ABI_VERSION) & (samples["subflow_id"] != 0))
        n_good = int(np.count_nonzero(good))
        self.counters.samples += len(samples)
        self.counters.samples_foreign += len(samples) - n_good
        if now_us is not None:
            good &= samples["timestamp_us"] <= now_us + FUTURE_MAX_US
            self.counters.samples_future += n_good - int(np.count_nonzero(good))
        return good

    def select_fresh(self, seq: NDArray[np.uint64], previous_seq: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which records are not older than the newest one seen of their subflow."""
        fresh = np.asarray(seq >= previous_seq)
        self.counters.samples_stale += int(np.count_nonzero(~fresh))
        return fresh

    def limit_actions(self, actions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the actions clipped to [-1, 1]; those that are not finite become NaN, which maps to no action."""
        limited = np.minimum(np.maximum(actions, np.float32(-1.0)), np.float32(1.0))
        n_finite = int(np.count_nonzero(np.isfinite(actions)))
        n_changed = int(np.count_nonzero(limited != actions))
        self.counters.actions += len(actions)
        if n_finite < len(actions):
            finite = np.isfinite(actions)
            n_changed = int(np.count_nonzero(finite & (limited != actions)))
            limited = np.where(finite, limited, np.float32(np.nan))
            self.counters.actions_not_finite += len(actions) - n_finite
        self.counters.actions_clipped += n_changed
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
