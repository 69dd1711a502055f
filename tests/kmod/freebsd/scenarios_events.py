# SPDX-License-Identifier: BSD-2-Clause
"""What must hold for the callbacks of the controller. Each function is a test on its own (test_module.py), and what
notices a planted fault (test_planted_faults.py). `start` gives a kernel with the module loaded.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ccdrl.bindings.library import Event, Flag, State
from ccdrl.tests.kmod.freebsd.harness import Kernel, make_actions

Start = Callable[..., Kernel]
MSS = 1448
INITIAL_WINDOW = 10 * MSS  # RFC 6928: 10 segments, at most 14600 bytes
UNSET = 2**32 - 1
FALLBACK = int(Flag.FALLBACK)


def read_one(kernel: Kernel) -> Any:
    """The only record that waits."""
    errno, samples = kernel.get_buffer(16)
    assert errno == 0
    assert len(samples) == 1
    return samples[0]


def lease(kernel: Kernel, cwnd_bytes: int, lease_us: int = 1_000_000) -> None:
    """Let the only subflow, which has a record waiting, have this window at its next ACK."""
    errno, results = kernel.update_cwnd(make_actions(np.array([read_one(kernel)]), cwnd_bytes, lease_us=lease_us))
    assert errno == 0
    assert results[0] < 2


def pass_ack(kernel: Kernel, sf: int, n_bytes: int = MSS, rtt_us: int = 20_000) -> None:
    """One round trip of `n_bytes`, with an RTT sample."""
    kernel.send(sf, n_bytes)
    kernel.advance(rtt_us)
    kernel.ack(sf, n_bytes, rtt_us=rtt_us)


def begin_avoidance(kernel: Kernel, cwnd_bytes: int = 20 * MSS, **create: Any) -> int:
    """A subflow in congestion avoidance, with an RTT of 20 ms and all records read."""
    sf = kernel.create_subflow(**create)
    pass_ack(kernel, sf)
    kernel.set(sf, snd_cwnd=cwnd_bytes, snd_ssthresh=cwnd_bytes)
    kernel.get_buffer(64)
    return sf


def created_record(start: Start) -> None:
    kernel = start()
    kernel.create_subflow(("10.1.2.3", 4000), ("192.0.2.9", 443), conn_id=77)
    sample = read_one(kernel)
    assert sample["abi"] == 2
    assert sample["event"] == Event.CREATED
    assert sample["subflow_id"] > 0
    assert sample["conn_id"] == 77
    assert sample["family"] == 2
    assert bytes(sample["local_addr"]) == bytes([10, 1, 2, 3]) + bytes(12)
    assert bytes(sample["foreign_addr"]) == bytes([192, 0, 2, 9]) + bytes(12)
    assert (sample["local_port"], sample["foreign_port"]) == (4000, 443)
    assert sample["mss_bytes"] == MSS
    assert sample["cwnd_bytes"] == INITIAL_WINDOW
    assert sample["ssthresh_bytes"] == UNSET
    assert 0 <= kernel.now_us - int(sample["timestamp_us"]) <= 1, "binary fractions of a second, cut off"
    assert sample["flags"] & FALLBACK
    assert sample["reserved"] == sample["srtt_us"] == sample["sent_bytes"] == 0
    assert kernel.get_buffer(16)[1].size == 0


def created_record_ipv6(start: Start) -> None:
    kernel = start()
    kernel.create_subflow(("2001:db8::1", 4000), ("2001:db8::ff", 443))
    sample = read_one(kernel)
    assert sample["family"] == 28
    assert bytes(sample["local_addr"]).hex() == "20010db8000000000000000000000001"
    assert bytes(sample["foreign_addr"]).hex() == "20010db80000000000000000000000ff"
    assert sample["conn_id"] == 0


def round_trip_times(start: Start) -> None:
    kernel = start()
    sf = kernel.create_subflow()
    pass_ack(kernel, sf, rtt_us=40_000)
    sample = read_one(kernel)
    # tcp_xmit_timer() counts the running tick too: 40 ms are 41 ticks.
    assert 40_000 <= sample["srtt_us"] <= 41_000
    assert 40_000 <= sample["last_rtt_us"] <= 41_000
    assert 19_500 <= sample["rttvar_us"] <= 20_500
    for _ in range(60):
        pass_ack(kernel, sf, rtt_us=80_000)
    sample = read_one(kernel)
    assert 78_000 <= sample["srtt_us"] <= 82_000
    assert 40_000 <= sample["min_rtt_us"] <= 41_000
    assert 79_000 <= sample["last_rtt_us"] <= 82_000
    kernel.event(sf, "rttsample", 12_345)  # from a stack that measures in microseconds
    kernel.event(sf, "newround", 3)
    pass_ack(kernel, sf)
    sample = read_one(kernel)
    assert sample["min_rtt_us"] <= 12_345


def slow_start(start: Start) -> None:
    kernel = start()
    sf = kernel.create_subflow()
    kernel.send(sf, INITIAL_WINDOW)
    kernel.ack(sf, 2 * MSS, rtt_us=20_000)
    assert kernel.get(sf, "snd_cwnd") == INITIAL_WINDOW + 2 * MSS
    kernel.ack(sf, 2 * MSS, cwnd_limited=False)
    assert kernel.get(sf, "snd_cwnd") == INITIAL_WINDOW + 2 * MSS, "RFC 7661: no growth where the window is not used"
    kernel.dupack(sf)
    assert kernel.get(sf, "snd_cwnd") == INITIAL_WINDOW + 2 * MSS


def reno_alone(start: Start) -> None:
    kernel = start()
    sf = begin_avoidance(kernel)
    for _ in range(20):
        pass_ack(kernel, sf)
    grown = kernel.get(sf, "snd_cwnd") - 20 * MSS
    # Each ACK adds MSS^2 / cwnd, and cwnd grows by at most one segment on the way: 1 / (1 + 1/20).
    assert MSS * 20 / 21 - 1 <= grown <= MSS


def grow(kernel: Kernel, sf: int) -> int:
    before = kernel.get(sf, "snd_cwnd")
    for _ in range(16):
        pass_ack(kernel, sf)
    return kernel.get(sf, "snd_cwnd") - before


def lia_over_siblings(start: Start) -> None:
    kernel = start()
    first = begin_avoidance(kernel, 100 * MSS, conn_id=9)
    second = begin_avoidance(kernel, 100 * MSS, conn_id=9)
    stranger = begin_avoidance(kernel, 100 * MSS, conn_id=10)
    for sf in (first, second, stranger):
        pass_ack(kernel, sf)
    # RFC 6356 for n equal subflows: alpha = 1 / n, a share of 1 / n^2 of Reno's increase each.
    coupled, reno = grow(kernel, first), grow(kernel, stranger)
    assert abs(coupled / reno - 0.25) < 0.01
    kernel.close_subflow(second)
    assert abs(grow(kernel, first) / reno - 1) < 0.02


def fast_recovery(start: Start) -> None:
    kernel = start()
    sf = begin_avoidance(kernel)
    kernel.send(sf, 20 * MSS)
    kernel.loss(sf)
    assert kernel.get(sf, "snd_ssthresh") == 10 * MSS
    assert kernel.get(sf, "is_recovering") == 2
    sample = read_one(kernel)
    assert sample["state"] == State.RECOVERY
    assert sample["loss_events"] == 1
    assert sample["event"] == Event.STATE
    kernel.loss(sf)
    assert kernel.get(sf, "snd_ssthresh") == 10 * MSS, "RFC 6582: one reduction a window"
    kernel.dupack(sf, sacked_bytes=5 * MSS)
    kernel.send(sf, MSS, again=True)
    kernel.recovered(sf)
    assert kernel.get(sf, "snd_cwnd") == 10 * MSS
    assert kernel.get(sf, "is_recovering") == 0
    pass_ack(kernel, sf)
    sample = read_one(kernel)
    assert sample["state"] == State.OPEN
    assert sample["loss_events"] == 1
    assert sample["retransmitted_bytes"] == MSS


def time_out(start: Start) -> None:
    kernel = start()
    sf = begin_avoidance(kernel)
    kernel.send(sf, 20 * MSS)
    kernel.rto(sf)
    assert kernel.get(sf, "snd_cwnd") == MSS, "RFC 5681 section 3.1: loss window"
    assert kernel.get(sf, "snd_ssthresh") == 10 * MSS
    sample = read_one(kernel)
    assert sample["state"] == State.LOSS
    assert sample["rto_events"] == 1
    assert sample["cwnd_bytes"] == MSS
    kernel.rto(sf)
    assert kernel.get(sf, "snd_ssthresh") == 10 * MSS, "RFC 5681: held constant at further time-outs of a segment"
    kernel.ack(sf, 20 * MSS)
    assert kernel.get(sf, "snd_cwnd") > MSS
    pass_ack(kernel, sf)
    assert read_one(kernel)["state"] == State.OPEN


def time_out_ends_lease(start: Start) -> None:
    kernel = start()
    sf = kernel.create_subflow()
    sample = read_one(kernel)
    old = make_actions(np.array([sample]), 50 * MSS)
    assert kernel.update_cwnd(old)[1][0] == 0
    kernel.send(sf, MSS)
    kernel.ack(sf, MSS)
    assert kernel.get(sf, "snd_cwnd") == 50 * MSS
    kernel.send(sf, 50 * MSS)
    kernel.rto(sf)
    assert kernel.get(sf, "snd_cwnd") == MSS
    assert kernel.update_cwnd(old)[1][0] == 2, "an answer to a record from before the time-out is stale"
    sample = read_one(kernel)
    assert sample["flags"] & FALLBACK
    kernel.ack(sf, MSS)
    assert kernel.get(sf, "snd_cwnd") <= 3 * MSS
    assert kernel.update_cwnd(make_actions(np.array([sample]), 8 * MSS))[1][0] == 0
    kernel.ack(sf, 49 * MSS)
    pass_ack(kernel, sf, 8 * MSS)
    assert kernel.get(sf, "snd_cwnd") == 8 * MSS


def spurious_time_out(start: Start) -> None:
    kernel = start()
    sf = begin_avoidance(kernel)
    kernel.send(sf, 20 * MSS)
    kernel.rto(sf)
    kernel.event(sf, "rto_err")
    assert kernel.get(sf, "snd_cwnd") == 20 * MSS
    kernel.ack(sf, 20 * MSS)
    assert read_one(kernel)["state"] == State.OPEN


def ecn_echo(start: Start) -> None:
    kernel = start()
    sf = begin_avoidance(kernel)
    kernel.send(sf, 20 * MSS)
    kernel.ecn(sf)
    assert kernel.get(sf, "snd_cwnd") == 10 * MSS
    assert kernel.get(sf, "is_recovering") == 1
    sample = read_one(kernel)
    assert sample["ecn_marks"] == 1
    assert sample["state"] == State.CWR
    kernel.ecn(sf)
    assert kernel.get(sf, "snd_cwnd") == 10 * MSS, "RFC 3168 section 6.1.2: once a window"
    kernel.recovered(sf)
    pass_ack(kernel, sf)
    assert read_one(kernel)["state"] == State.OPEN


def idle_restart(start: Start) -> None:
    kernel = start()
    sf = begin_avoidance(kernel, 40 * MSS)
    kernel.idle(sf)
    assert kernel.get(sf, "snd_cwnd") == INITIAL_WINDOW, "RFC 5681 section 4.1"
    assert kernel.get(sf, "snd_ssthresh") >= 30 * MSS


def foreign_signals(start: Start) -> None:
    kernel = start()
    sf = begin_avoidance(kernel)
    for name in ("private", "ecnpkt", "newround"):
        kernel.event(sf, name)
    assert kernel.get(sf, "snd_cwnd") == 20 * MSS
    pass_ack(kernel, sf)


def lease_holds(start: Start) -> None:
    kernel = start()
    sf = kernel.create_subflow()
    lease(kernel, 33 * MSS + 7)
    assert kernel.get(sf, "snd_cwnd") == INITIAL_WINDOW, "applied under the inpcb lock, not by the call"
    pass_ack(kernel, sf)
    assert kernel.get(sf, "snd_cwnd") == 33 * MSS + 7
    assert not read_one(kernel)["flags"] & FALLBACK
    pass_ack(kernel, sf)
    assert kernel.get(sf, "snd_cwnd") == 33 * MSS + 7
    kernel.send(sf, 33 * MSS)
    kernel.loss(sf)
    assert kernel.get(sf, "snd_ssthresh") == 33 * MSS + 7, "the agent sees the loss and answers"
    kernel.recovered(sf)
    assert kernel.get(sf, "snd_cwnd") == 33 * MSS + 7


def lease_expires(start: Start) -> None:
    kernel = start()
    sf = kernel.create_subflow()
    lease(kernel, 40 * MSS, lease_us=100_000)
    pass_ack(kernel, sf)
    assert kernel.get(sf, "snd_cwnd") == 40 * MSS
    kernel.send(sf, 30 * MSS)
    kernel.advance(79_999)  # 20 ms went by before
    kernel.ack(sf, MSS)
    assert kernel.get(sf, "snd_cwnd") == 40 * MSS
    assert not read_one(kernel)["flags"] & FALLBACK
    kernel.advance(2)
    kernel.ack(sf, MSS)
    # From the present window, but not above what was in the network: 29 segments, less or more the ACK's own.
    assert 28 * MSS <= kernel.get(sf, "snd_cwnd") <= 30 * MSS
    assert read_one(kernel)["flags"] & FALLBACK
    assert kernel.sysctl("net.inet.tcp.cc.ccdrl.expired") == 1


def counters_never_lose(start: Start) -> None:
    kernel = start()
    sf = kernel.create_subflow()
    for _ in range(100):
        pass_ack(kernel, sf, 2 * MSS)
    sample = read_one(kernel)
    assert sample["event"] == Event.CREATED
    assert sample["sent_bytes"] == sample["delivered_bytes"] == 200 * MSS
    kernel.send(sf, 4 * MSS)
    kernel.dupack(sf, sacked_bytes=3 * MSS)
    sample = read_one(kernel) if kernel.sysctl("net.inet.tcp.cc.ccdrl.pending") else sample
    kernel.rto(sf)
    kernel.send(sf, MSS, again=True)
    kernel.ack(sf, 4 * MSS)
    sample = read_one(kernel)
    assert sample["sent_bytes"] == 205 * MSS
    assert sample["delivered_bytes"] == 204 * MSS
    assert sample["retransmitted_bytes"] == sample["lost_bytes"] == MSS
    assert sample["inflight_bytes"] == 0


def delivery_rate(start: Start) -> None:
    kernel = start()
    sf = kernel.create_subflow()
    for _ in range(10):
        pass_ack(kernel, sf, 10 * MSS, rtt_us=20_000)
    # 14480 bytes every 20 ms
    assert abs(int(read_one(kernel)["delivery_rate_bytes_per_s"]) / (INITIAL_WINDOW * 50) - 1) < 0.02


def closed_record(start: Start) -> None:
    kernel = start()
    sf = kernel.create_subflow()
    first = read_one(kernel)
    pass_ack(kernel, sf, 5 * MSS)
    kernel.close_subflow(sf)
    last = read_one(kernel)
    assert last["event"] == Event.CLOSED
    assert last["subflow_id"] == first["subflow_id"]
    assert last["seq"] > first["seq"]
    assert last["delivered_bytes"] == 5 * MSS
    assert kernel.get_buffer(16)[1].size == 0
    assert kernel.update_cwnd(make_actions(np.array([last]), 20 * MSS))[1][0] == 3


def listening_socket(start: Start) -> None:
    kernel = start()
    listeners = [kernel.create_subflow(foreign=("0.0.0.0", 0)) for _ in range(50)]
    assert kernel.get_buffer(16)[1].size == 0
    for sf in listeners:
        kernel.close_subflow(sf)
    assert kernel.get_buffer(16)[1].size == 0


SCENARIOS: tuple[Callable[[Start], None], ...] = (
    created_record,
    created_record_ipv6,
    round_trip_times,
    slow_start,
    reno_alone,
    lia_over_siblings,
    fast_recovery,
    time_out,
    time_out_ends_lease,
    spurious_time_out,
    ecn_echo,
    idle_restart,
    foreign_signals,
    lease_holds,
    lease_expires,
    counters_never_lose,
    delivery_rate,
    closed_record,
    listening_socket,
)
