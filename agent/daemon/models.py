# SPDX-License-Identifier: BSD-2-Clause
"""Models that are ready to serve: loaded, checked, and rehearsed."""

from pathlib import Path

import numpy as np

from ccdrl.agent.controller import Controller
from ccdrl.agent.policy import Policy, load_policy
from ccdrl.bindings.library import ABI_VERSION, Event, make_samples

_SRTT_US = 20_000
_MSS_BYTES = 1448


def load_model(path: Path) -> Policy:
    """Return the policy of an artifact after one decision for a made-up subflow.

    Whatever is slow the first time, or fails, does so here and not between two live decisions. Raises InputError for an
    artifact that cannot be used.
    """
    policy = load_policy(path)
    samples = make_samples(1)
    samples["abi"], samples["event"] = ABI_VERSION, Event.SAMPLE
    samples["subflow_id"] = samples["seq"] = 1
    samples["timestamp_us"] = 1_000_000
    samples["mss_bytes"], samples["cwnd_bytes"] = _MSS_BYTES, 10 * _MSS_BYTES
    samples["srtt_us"] = samples["min_rtt_us"] = samples["last_rtt_us"] = _SRTT_US
    with np.errstate(all="ignore"):
        Controller(policy, capacity=1).step(samples)
    return policy
