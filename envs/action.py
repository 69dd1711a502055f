# SPDX-License-Identifier: BSD-2-Clause
"""From actions to windows, pacing rates and leases: the same code for the environments and for a live agent."""

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.library import ABI_VERSION, CWND_MIN_SEGMENTS, ActionArray, SampleArray
from ccdrl.envs.observation import SampleColumns

ACTION_VERSION = "1-multiplicative"
"""Names the mapping below; an artifact of another one is refused."""
INTERVAL_MIN_US = 10_000
INTERVAL_MAX_US = 100_000
LEASE_MIN_US = 100_000.0
LEASE_MAX_US = 2_000_000.0
LEASE_SRTTS = 4.0
PACING_GAIN = 1.25
"""The pacing rate above cwnd / srtt: a window that grows within an RTT is not held back, a burst is spread."""
CWND_MAX_BYTES = float(1 << 30)
GROWTH_SEGMENTS = 10.0
"""A window may exceed twice what is in the network by this much (IW10), so that it grows only where it is used."""


def compute_monitor_interval_us(srtt_us: float) -> int:
    """Return how long a connection waits between decisions, from the lowest srtt of its live subflows."""
    return int(min(max(srtt_us, INTERVAL_MIN_US), INTERVAL_MAX_US))


def map_actions(
    actions: NDArray[np.float32],
    samples: SampleArray,
    interval_us: NDArray[np.float64] | float,
    out: ActionArray,
    fields: SampleColumns | None = None,
) -> None:
    """Fill `out` with one cwnd action for each sample.

    The window (see `select_window`) becomes window * 2 ** (a * min(1, interval / r)), within [2 MSS, 1 GiB]; r is the
    lower of srtt and the newest RTT, as an srtt that a stalled path has inflated would freeze window and pacing. Growth
    stops at twice the bytes in the network plus ten segments, as an unused window says nothing about the path (RFC
    7661). Pacing is 1.25 * cwnd / r. The lease is 4 srtt within [100 ms, 2 s]. An action that is not finite, and one
    for a subflow without an RTT sample, becomes no action (subflow_id 0). Actions outside [-1, 1] are clipped.
    `interval_us` is the time until the next decision, for each row or for all. `fields` are those of the samples, where
    the caller has read them.
    """
    if fields is None:
        fields = SampleColumns(samples)
    srtt, mss, now = fields.srtt, fields.mss, fields.window
    wanted = actions.astype(np.float64)
    valid = np.isfinite(wanted) & (srtt > 0.0) & (mss > 0.0)
    wanted = np.minimum(np.maximum(wanted, -1.0), 1.0)
    is_refusing = not valid.all()
    if is_refusing:
        wanted = np.where(valid, wanted, 0.0)
    period = np.maximum(np.minimum(srtt, fields.last_rtt), 1.0)
    cwnd = now * np.exp2(wanted * np.minimum(1.0, interval_us / period))
    ceiling = np.maximum(now, 2.0 * fields.get_inflight(now) + GROWTH_SEGMENTS * mss)
    cwnd = np.maximum(np.minimum(cwnd, ceiling), CWND_MIN_SEGMENTS * mss)
    cwnd = np.rint(np.minimum(cwnd, CWND_MAX_BYTES))
    out["abi"] = ABI_VERSION
    out["cwnd_bytes"] = cwnd
    out["subflow_id"] = np.where(valid, samples["subflow_id"], np.uint64(0)) if is_refusing else samples["subflow_id"]
    out["seq"] = samples["seq"]
    out["pacing_rate_bytes_per_s"] = PACING_GAIN * cwnd * 1e6 / period
    out["lease_us"] = np.minimum(np.maximum(LEASE_SRTTS * srtt, LEASE_MIN_US), LEASE_MAX_US)
    out["reserved"] = 0
