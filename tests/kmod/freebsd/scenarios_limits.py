# SPDX-License-Identifier: BSD-2-Clause
"""What must hold at the ends of ranges, without memory, in crowds, and from load to unload. See scenarios_events.py."""

from collections.abc import Callable

import numpy as np
import pytest

from ccdrl.bindings.library import ActionResult, Event, Flag, State
from ccdrl.tests.kmod.freebsd.harness import EBUSY, EINVAL, ENOMEM, EPERM, SYSCTLS, Kernel, create_words, make_actions
from ccdrl.tests.kmod.freebsd.scenarios_events import (
    FALLBACK,
    INITIAL_WINDOW,
    MSS,
    Start,
    begin_avoidance,
    grow,
    lease,
    pass_ack,
    read_one,
)

CROWD = 10_000


def sequence_numbers_wrap(start: Start) -> None:
    kernel = start()
    sf = begin_avoidance(kernel)
    before = 0
    kernel.set(sf, **dict.fromkeys(("snd_una", "snd_nxt", "snd_max", "snd_recover"), 2**32 - 15 * MSS))
    kernel.switch(sf, is_on=False)
    kernel.switch(sf, is_on=True)
    kernel.get_buffer(16)
    for round_trip in range(1, 31):
        pass_ack(kernel, sf)
        sample = read_one(kernel)
        assert sample["delivered_bytes"] == sample["sent_bytes"] == before + round_trip * MSS
        assert sample["inflight_bytes"] == sample["retransmitted_bytes"] == 0
        assert sample["state"] == State.OPEN
    assert kernel.get(sf, "snd_una") == 15 * MSS


def recovery_wraps(start: Start) -> None:
    """Losses and time-outs of a window that lies across 2^32."""
    kernel = start()
    for event in ("loss", "rto"):
        sf = begin_avoidance(kernel)
        kernel.set(sf, **dict.fromkeys(("snd_una", "snd_nxt", "snd_max", "snd_recover"), 2**32 - 10 * MSS))
        kernel.send(sf, 20 * MSS)
        kernel.event(sf, event)
        assert kernel.get(sf, "snd_ssthresh") == 10 * MSS
        kernel.ack(sf, 15 * MSS)
        assert kernel.get_buffer(16)[1]["state"][-1] in (State.RECOVERY, State.LOSS), "5 segments are still out"
        kernel.ack(sf, 5 * MSS)
        pass_ack(kernel, sf)
        sample = read_one(kernel)
        assert sample["state"] == State.OPEN
        assert sample["inflight_bytes"] == 0
        kernel.close_subflow(sf)
        kernel.get_buffer(16)


def clock_ticks_wrap(start: Start) -> None:
    """Ticks are 32 bits, and pass 2^31 after 25 days; leases and RTTs do not notice."""
    kernel = start(first_tick=2**31 - 60, first_us=2**41)
    sf = kernel.create_subflow()
    lease(kernel, 40 * MSS, lease_us=100_000)
    for _ in range(4):
        pass_ack(kernel, sf)
        sample = read_one(kernel)
        assert kernel.get(sf, "snd_cwnd") == 40 * MSS
        assert not sample["flags"] & FALLBACK
        assert 20_000 <= sample["srtt_us"] <= 21_000
        assert 0 <= kernel.now_us - int(sample["timestamp_us"]) <= 1
    pass_ack(kernel, sf)
    assert read_one(kernel)["flags"] & FALLBACK
    assert kernel.get(sf, "snd_cwnd") < 40 * MSS


def extreme_connections(start: Start) -> None:
    """Segments of a byte, RTTs of nothing and of minutes, windows of the whole range: bounded, and no fault."""
    kernel = start()
    for mss_bytes in (1, 88, 1448, 65_495):
        sf = kernel.create_subflow(mss_bytes=mss_bytes)
        for rtt_us in (0, 1, 999, 800_000, 240_000_000):
            for cwnd_bytes in (0, 1, mss_bytes, 2**30, 2**32 - 1):
                kernel.set(sf, snd_cwnd=cwnd_bytes, snd_ssthresh=cwnd_bytes)
                kernel.send(sf, mss_bytes)
                kernel.advance(rtt_us)
                kernel.ack(sf, mss_bytes, rtt_us=rtt_us)
                assert kernel.get(sf, "snd_cwnd") <= 2**30
                for event in ("loss", "ecn", "recovered", "idle", "rto", "rto_err", "recovered"):
                    kernel.event(sf, event)
        samples = kernel.get_buffer(4)[1]
        assert kernel.update_cwnd(make_actions(samples, 1))[1][0] == ActionResult.CLAMPED
        kernel.ack(sf, 0)
        assert kernel.get(sf, "snd_cwnd") >= mss_bytes
        kernel.close_subflow(sf)
        kernel.get_buffer(4)


def busy_day(kernel: Kernel) -> int:
    """Everything that allocates; returns how often it was refused memory, which is all that may go wrong."""
    refused = 0
    subflows = []
    for index in range(6):
        try:
            subflows.append(kernel.create_subflow(conn_id=index // 2))
        except OSError as error:
            assert error.errno == ENOMEM
            refused += 1
    for sf in subflows:
        pass_ack(kernel, sf)
    errno, samples = kernel.get_buffer(16)
    assert errno in (0, ENOMEM)
    refused += errno != 0
    errno, results = kernel.update_cwnd(make_actions(samples, 20 * MSS))
    assert errno in (0, ENOMEM)
    refused += errno != 0
    for sf in subflows:
        pass_ack(kernel, sf)
        try:
            kernel.switch(sf, is_on=False)
            kernel.switch(sf, is_on=True)
        except OSError as error:
            assert error.errno == ENOMEM
            refused += 1
        kernel.close_subflow(sf)
    kernel.get_buffer(64)
    return refused


def memory_runs_out(start: Start) -> None:
    """Each allocation that may fail does, one after the other; then the module works, and goes without a trace."""
    kernel = start()
    before = kernel.allocations()[0]
    assert busy_day(kernel) == 0
    sites = kernel.allocations()[0] - before
    assert sites >= 6
    noticed = 0
    for nth in range(1, sites + 1):
        kernel.fail_allocation(nth)
        noticed += busy_day(kernel) > 0
    assert noticed >= 6
    assert kernel.sysctl(SYSCTLS + "no_memory") >= 6
    kernel.fail_allocation(0)
    assert busy_day(kernel) == 0
    assert kernel.unload() == 0
    assert kernel.allocations()[1] == 0


def crowd(start: Start) -> None:
    kernel = start()
    foreign = ("10.0.0.2", 5001)
    created = kernel.batch([create_words(("10.0.0.1", 1 + i), foreign, MSS, 1 + i // 4) for i in range(CROWD)])
    assert {errno for errno, _ in created} == {"0"}
    subflows = [subflow for _, subflow in created]
    errno, samples = kernel.get_buffer(2 * CROWD)
    assert errno == 0
    assert len(set(samples["subflow_id"])) == len(samples) == CROWD
    assert set(samples["event"]) == {Event.CREATED}
    errno, results = kernel.update_cwnd(make_actions(samples, 20 * MSS))
    assert errno == 0
    assert (results == ActionResult.APPLIED).all()
    kernel.batch([words for sf in subflows for words in (("send", sf, MSS, 0), ("ack", sf, MSS, 20_000, 1))])
    samples = kernel.get_buffer(2 * CROWD)[1]
    assert len(samples) == CROWD
    assert (samples["cwnd_bytes"] == 20 * MSS).all()
    assert not (samples["flags"] & FALLBACK).any()
    kernel.batch([("close", sf) for sf in subflows])
    samples = kernel.get_buffer(2 * CROWD)[1]
    assert len(samples) == CROWD
    assert set(samples["event"]) == {Event.CLOSED}
    assert kernel.unload() == 0


def crowd_beyond_bound(start: Start) -> None:
    kernel = start()
    kernel.sysctl(SYSCTLS + "subflows_max", 3)
    subflows = [kernel.create_subflow() for _ in range(5)]
    assert len(kernel.get_buffer(16)[1]) == 3
    assert kernel.sysctl(SYSCTLS + "unlisted") == 2
    for sf in subflows:
        pass_ack(kernel, sf)
        assert kernel.get(sf, "snd_cwnd") == INITIAL_WINDOW + MSS, "the others are in fallback"
    for sf in subflows:
        kernel.close_subflow(sf)
    assert len(kernel.get_buffer(16)[1]) == 3
    kernel.create_subflow()
    assert len(kernel.get_buffer(16)[1]) == 1


def nobody_reads(start: Start) -> None:
    """Records of closed subflows do not pile up without end."""
    kernel = start()
    kernel.sysctl(SYSCTLS + "closed_max", 128)
    live = kernel.allocations()[1]
    for _ in range(2000):
        kernel.close_subflow(kernel.create_subflow())
    assert kernel.sysctl(SYSCTLS + "pending") <= 128
    assert kernel.allocations()[1] - live <= 128
    assert kernel.sysctl(SYSCTLS + "closed_lost") >= 2000 - 128
    assert kernel.unload() == 0


def unload_is_refused(start: Start) -> None:
    """With a connection the module stays, whole."""
    kernel = start()
    sf = kernel.create_subflow()
    assert kernel.unload() == EBUSY
    lease(kernel, 20 * MSS)
    pass_ack(kernel, sf)
    assert kernel.get(sf, "snd_cwnd") == 20 * MSS
    second = kernel.create_subflow()
    assert len(kernel.get_buffer(16)[1]) == 2
    kernel.close_subflow(sf)
    assert kernel.unload() == EBUSY
    kernel.close_subflow(second)
    assert kernel.unload() == 0


def unload_by_force(start: Start) -> None:
    """kldunload -f with a connection: refused too, at whatever cost to the calls, and the connection goes on."""
    kernel = start()
    sf = kernel.create_subflow()
    assert kernel.unload(forced=True) == EBUSY
    for _ in range(10):
        pass_ack(kernel, sf)
    kernel.loss(sf)
    kernel.recovered(sf)
    kernel.close_subflow(sf)
    assert kernel.unload(forced=True) == 0


def unload_with_unread_records(start: Start) -> None:
    kernel = start()
    for vnet in (0, 1):
        kernel.vnet(vnet)
        for _ in range(10):
            kernel.close_subflow(kernel.create_subflow(conn_id=3))
    assert kernel.unload() == 0
    assert kernel.allocations()[1] == 0


def reload(start: Start) -> None:
    """Nothing of the former life is left but the ids, which go on."""
    kernel = start()
    seen: list[int] = []
    for _ in range(4):
        sf = kernel.create_subflow()
        sample = read_one(kernel)
        assert sample["event"] == Event.CREATED
        assert sample["seq"] < 4
        seen.append(int(sample["subflow_id"]))
        assert kernel.sysctl(SYSCTLS + "applied") == 0
        lease(kernel, 20 * MSS) if kernel.sysctl(SYSCTLS + "pending") else pass_ack(kernel, sf)
        kernel.update_cwnd(make_actions(np.array([sample]), 20 * MSS))
        kernel.close_subflow(sf)
        kernel.advance(10)
        assert kernel.unload() == 0
        kernel.load()
    assert seen == sorted(set(seen))


def administrator(start: Start) -> None:
    kernel = start()
    names = kernel.sysctls()
    for name in names:
        kernel.sysctl(name)
    for name in ("cwnd_max_bytes", "lease_max_us", "subflows_max", "closed_max"):
        value = kernel.sysctl(SYSCTLS + name)
        for bad in (0, 2**32 - 1):
            with pytest.raises(OSError) as caught:
                kernel.sysctl(SYSCTLS + name, bad)
            assert caught.value.errno == EINVAL
        with pytest.raises(OSError) as caught:
            kernel.sysctl(SYSCTLS + name, value, privileged=False)
        assert caught.value.errno == EPERM
        kernel.sysctl(SYSCTLS + name, value // 2)
        assert kernel.sysctl(SYSCTLS + name) == value // 2
    with pytest.raises(OSError):
        kernel.sysctl(SYSCTLS + "applied", 0)
    assert kernel.sysctl(SYSCTLS + "abi") == 2
    kernel.create_subflow()
    actions = make_actions(kernel.get_buffer(4)[1], 20 * MSS, lease_us=5_000_001)
    assert kernel.update_cwnd(actions)[1][0] == ActionResult.MALFORMED, "lease_max_us was halved"


def flags_tell_limits(start: Start) -> None:
    kernel = start()
    sf = kernel.create_subflow()
    kernel.send(sf, INITIAL_WINDOW)
    kernel.ack(sf, MSS)
    assert read_one(kernel)["flags"] & int(Flag.CWND_LIMITED)
    kernel.ack(sf, 9 * MSS)
    pass_ack(kernel, sf)
    kernel.get_buffer(4)
    pass_ack(kernel, sf)
    assert not read_one(kernel)["flags"] & int(Flag.CWND_LIMITED)


def switched_controller(start: Start) -> None:
    kernel = start()
    sf = kernel.create_subflow()
    first = read_one(kernel)
    kernel.switch(sf, is_on=False)
    assert read_one(kernel)["event"] == Event.CLOSED
    kernel.switch(sf, is_on=True)
    again = read_one(kernel)
    assert again["event"] == Event.CREATED
    assert again["subflow_id"] != first["subflow_id"]
    assert again["sent_bytes"] == 0
    pass_ack(kernel, sf)
    kernel.close_subflow(sf)


def switched_to_itself(start: Start) -> None:
    """cb_init of the new life comes before cb_destroy of the old one; siblings count one of them."""
    kernel = start()
    first, second = (begin_avoidance(kernel, 100 * MSS, conn_id=9) for _ in range(2))
    for sf in (first, second):
        pass_ack(kernel, sf)
    coupled = grow(kernel, first)
    kernel.get_buffer(16)
    window = kernel.get(second, "snd_cwnd")
    kernel.switch(second, is_on=True)
    assert kernel.get(second, "snd_cwnd") == window
    samples = kernel.get_buffer(16)[1]
    assert sorted(samples["event"]) == [Event.CREATED, Event.CLOSED]
    assert len(set(samples["subflow_id"])) == 2
    pass_ack(kernel, second)
    assert abs(grow(kernel, first) / coupled - 1) < 0.1
    for sf in (first, second):
        kernel.close_subflow(sf)
    assert kernel.unload() == 0


SCENARIOS: tuple[Callable[[Start], None], ...] = (
    sequence_numbers_wrap,
    recovery_wraps,
    clock_ticks_wrap,
    extreme_connections,
    memory_runs_out,
    crowd,
    crowd_beyond_bound,
    nobody_reads,
    unload_is_refused,
    unload_by_force,
    unload_with_unread_records,
    reload,
    administrator,
    flags_tell_limits,
    switched_controller,
    switched_to_itself,
)
