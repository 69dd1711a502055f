# SPDX-License-Identifier: BSD-2-Clause
"""One subflow on a path that a test describes interval by interval, observed as by an agent."""

import numpy as np

from ccdrl.bindings.decision.library import STEP_DTYPE
from ccdrl.bindings.library import make_samples
from ccdrl.envs.observation import OBSERVATION_NAMES, Observer

AT = {name: i for i, name in enumerate(OBSERVATION_NAMES)}
MSS, BASE_US, UNSET = 1000, 40_000, 2**32 - 1
ROWS = np.array([0])


def triangle(i, period):
    """Return the i-th of values that rise from 0 to 1 and fall again in a period."""
    return 1 - abs(1 - i % period / (period / 2))


class Path:
    """One subflow on a path whose queue follows its window by `own` (log2 of the RTT over log2 of the window)."""

    def __init__(self, own, segments=200.0, observer=None):
        self.own, self.middle, self.log_window = own, np.log2(segments * MSS), np.log2(segments * MSS)
        self.now_us, self.bytes, self.lost, self.shared = 0, 0, 0, 0
        self.observer = observer or Observer(1)
        self.observer.reset(ROWS, np.array([1]))

    def step(self, *, acked=None, action=0.0, queue=0.5, **fields):
        """Observe one interval of an RTT; the window then makes the dither's step. Return steps and columns."""
        srtt_us = round(BASE_US * 2 ** (queue + self.own * (self.log_window - self.middle)))
        window = round(2**self.log_window)
        self.now_us += srtt_us
        self.bytes += window if acked is None else acked
        sample = make_samples(1)
        values = {
            "abi": 2, "conn_id": 1, "subflow_id": 1, "seq": 1, "timestamp_us": self.now_us, "mss_bytes": MSS,
            "cwnd_bytes": window, "inflight_bytes": window, "ssthresh_bytes": UNSET, "srtt_us": srtt_us,
            "min_rtt_us": BASE_US, "last_rtt_us": srtt_us, "sent_bytes": self.bytes, "delivered_bytes": self.bytes,
            "loss_events": self.lost,
        }  # fmt: skip
        for name, value in (values | fields).items():
            sample[name] = value
        columns = self.observer.update(ROWS, sample)[0].copy()
        self.observer.remember(ROWS, np.array([action], np.float32))
        steps = np.array(self.observer.get_steps(ROWS), STEP_DTYPE)[0]
        self.log_window += steps["dither"]
        return steps, columns

    def stay(self, count, **fields):
        for _ in range(count):
            result = self.step(**fields)
        return result

    def share(self, count, queue=0.5):
        """Stay with a stranger, whose window makes the queue rise and fall by a fifth of an octave in 64 RTTs."""
        for _ in range(count):
            self.shared += 1
            result = self.step(queue=queue + 0.2 * triangle(self.shared, 64))
        return result
