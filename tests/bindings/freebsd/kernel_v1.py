# SPDX-License-Identifier: BSD-2-Clause
"""A replica of the deployed FreeBSD 13.1 CC-DRL kernel: its two calls, over subflows that the simulator carries.

As that kernel does it: one record for each ACK and for each congestion signal; a queue of 10 000 that drops the oldest;
-1 without an errno where it is empty; a window that nothing but `update_cwnd` moves, not even a loss or a time-out; any
value taken from anybody; look-up by local address and port, in silence where there is none; t_srtt in ticks scaled by
32, smoothed as tcp_xmit_timer() does. The simulator cannot send less than two segments: lower windows count as two.
"""

from collections import deque

import numpy as np

from ccdrl.bindings.freebsd.transport import V1_QUEUE_RECORDS, V1_RECORD_DTYPE
from ccdrl.bindings.library import LEASE_MAX_US, State, make_actions
from ccdrl.bindings.network import EventConfig, FlowConfig, LinkConfig, PathConfig
from ccdrl.bindings.records import Kind, enable_records, read_records
from ccdrl.bindings.sim_datapath import SimDatapath
from ccdrl.bindings.simulator import Simulator

STEP_US = 10_000
RECORDS_MAX = 1 << 16
MSS_BYTES = 1448
INITIAL_SEGMENTS = 10
RTT_SHIFT, DELTA_SHIFT = 5, 2
"""TCP_RTT_SHIFT and TCP_DELTA_SHIFT of netinet/tcp_var.h."""
REDUCING = (int(State.CWR), int(State.RECOVERY))


class SubflowV1State:
    """tcpcb, as far as the calls show it; address and port in network byte order."""

    def __init__(self, path):
        self.local_addr = int(np.frombuffer(bytes([10, 0, 0, path + 1]), np.uint32)[0])
        self.local_port = int(np.frombuffer((40_000 + path).to_bytes(2, "big"), np.uint16)[0])
        self.cwnd_bytes = INITIAL_SEGMENTS * MSS_BYTES
        self.t_srtt = 0
        self.sent_ns = {}
        self.wanted = 0
        self.state = 0
        self.seq = 0
        self.is_gone = False

    def sample_rtt(self, ticks):
        """tcp_xmit_timer(); `ticks` is its rtt, counted from 1."""
        if self.t_srtt == 0:
            self.t_srtt = ticks << RTT_SHIFT
        else:
            delta = ((ticks - 1) << DELTA_SHIFT) - (self.t_srtt >> (RTT_SHIFT - DELTA_SHIFT))
            self.t_srtt = max(self.t_srtt + delta, 1)


class KernelV1:
    """One connection, a subflow for each link; a `TransportV1` itself. Times in µs, `hz` ticks in a second."""

    def __init__(self, links, events=(), hz=1000, seed=1, flows=()):
        self.simulator = Simulator(seed)
        for config in links:
            assert isinstance(config, LinkConfig)
            self.simulator.add_link(config)
        paths = tuple(PathConfig((index,)) for index in range(len(links)))
        self.flow = self.simulator.add_flow(FlowConfig("drl", paths))
        for config in flows:
            self.simulator.add_flow(config)
        for event in events:
            assert isinstance(event, EventConfig)
            self.simulator.add_event(event)
        enable_records(self.simulator, RECORDS_MAX)
        self.hz = hz
        self.subflows = [SubflowV1State(path) for path in range(len(links))]
        self.queue = deque(maxlen=V1_QUEUE_RECORDS)
        self.writes = []
        self.is_closed = False
        self._windows = SimDatapath(self.simulator)

    def advance(self, duration_us):
        """Let time pass."""
        end_ns = self.simulator.now_ns + duration_us * 1000
        while self.simulator.now_ns < end_ns:
            self.simulator.run(min(end_ns, self.simulator.now_ns + STEP_US * 1000))
            self._collect()
            self.hold_windows()

    def _collect(self):
        """Turn what the simulator recorded into the kernel's records."""
        records = read_records(self.simulator, RECORDS_MAX)
        assert len(records) < RECORDS_MAX
        records = records[records["flow"] == self.flow]
        columns = (records[name].tolist() for name in ("path", "kind", "seq", "state", "time_ns"))
        for path, kind, seq, state, time_ns in zip(*columns, strict=True):
            subflow = self.subflows[path]
            if kind == Kind.SEND:
                subflow.sent_ns[seq] = time_ns
            elif kind == Kind.RETRANSMIT:
                subflow.sent_ns.pop(seq, None)
            elif kind == Kind.RTO:
                subflow.state = int(State.LOSS)
                self._queue(subflow, 1)
            elif kind == Kind.ACK:
                self._acknowledge(subflow, seq, time_ns)
                is_signal = state in REDUCING and subflow.state not in REDUCING
                subflow.state = state
                self._queue(subflow, 0)
                if is_signal:
                    self._queue(subflow, 1)

    def _acknowledge(self, subflow, seq, time_ns):
        """Take the RTT of the newest segment that was sent once (Karn)."""
        if seq <= subflow.wanted:
            return
        sent_ns = subflow.sent_ns.get(seq - 1)
        for old in range(subflow.wanted, seq):
            subflow.sent_ns.pop(old, None)
        subflow.wanted = seq
        if sent_ns is not None:
            tick_ns = 10**9 // self.hz
            subflow.sample_rtt(time_ns // tick_ns - sent_ns // tick_ns + 1)

    def _queue(self, subflow, cong_events):
        if not subflow.is_gone:
            fields = (subflow.cwnd_bytes, subflow.t_srtt, cong_events, subflow.local_addr, subflow.local_port)
            self.queue.append(fields)

    def hold_windows(self):
        """Make the simulator's windows those that were set, whatever happened to them."""
        for row in self._windows.read_samples():
            self.subflows[int(row["foreign_port"]) - 1].seq = int(row["seq"])
        actions = make_actions(len(self.subflows))
        for path, (action, subflow) in enumerate(zip(actions, self.subflows, strict=True)):
            action["subflow_id"], action["seq"], action["lease_us"] = path + 1, subflow.seq, LEASE_MAX_US
            action["cwnd_bytes"] = max(subflow.cwnd_bytes, 1)
        self._windows.write_actions(actions)

    def remove(self, path):
        """End a subflow: no record tells."""
        self.subflows[path].is_gone = True
        self.simulator.remove_subflow(self.flow, path)

    def get_buffer(self, records):
        """Call 584, its -1 already read as "nothing"."""
        assert records.dtype == V1_RECORD_DTYPE and len(records) >= V1_QUEUE_RECORDS
        count = len(self.queue)
        if count:
            records[:count] = list(self.queue)
            self.queue.clear()
        return count

    def update_cwnd(self, cwnd_bytes, local_addr, local_port):
        """Call 583: whoever asks, whatever the value."""
        self.writes.append((cwnd_bytes, local_addr, local_port))
        for subflow in self.subflows:
            if (subflow.local_addr, subflow.local_port) == (local_addr, local_port) and not subflow.is_gone:
                subflow.cwnd_bytes = cwnd_bytes
                break
        self.hold_windows()

    def clock_us(self):
        """Return the simulated time."""
        return self.simulator.now_ns // 1000

    def close(self):
        """Nothing to let go of."""
        self.is_closed = True
