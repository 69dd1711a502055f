# SPDX-License-Identifier: BSD-2-Clause
"""A kernel of ABI v1 whose records a test writes by hand."""

import numpy as np

from ccdrl.bindings.freebsd.transport import V1_RECORD_DTYPE
from ccdrl.bindings.library import ABI_VERSION, make_actions

ADDR = int(np.frombuffer(bytes([192, 0, 2, 1]), np.uint32)[0])
PORT = int(np.frombuffer((443).to_bytes(2, "big"), np.uint16)[0])
MSS_BYTES = 1448


class ScriptedKernel:
    """A `TransportV1`: `say` queues records, `clock` is the time, `error` is what the next calls raise."""

    def __init__(self, clock=1_000_000):
        self.clock = clock
        self.records = np.zeros(0, V1_RECORD_DTYPE)
        self.writes = []
        self.error = None

    def say(self, *srtts, cong=0, cwnd=14480, addr=ADDR, port=PORT):
        """Queue one record for each t_srtt (ticks scaled by 32)."""
        rows = np.array([(cwnd, srtt, cong, addr, port) for srtt in srtts], V1_RECORD_DTYPE)
        self.records = np.concatenate([self.records, rows])

    def get_buffer(self, records):
        if self.error is not None:
            raise self.error
        count = len(self.records)
        records[:count] = self.records
        self.records = self.records[:0]
        return count

    def update_cwnd(self, cwnd_bytes, local_addr, local_port):
        if self.error is not None:
            raise self.error
        self.writes.append((cwnd_bytes, local_addr, local_port))

    def clock_us(self):
        return self.clock

    def close(self):
        self.error = AssertionError("called after close")


def ask(row, cwnd_bytes, lease_us=1_000_000):
    """Return one action that answers a sample."""
    action = make_actions(1)
    action["abi"], action["cwnd_bytes"], action["lease_us"] = ABI_VERSION, cwnd_bytes, lease_us
    action["subflow_id"], action["seq"] = row["subflow_id"], row["seq"]
    return action
