# SPDX-License-Identifier: BSD-2-Clause
"""What must hold whatever another CPU does meanwhile: each scenario stops a call, or a callback, between two of its
instructions, lets the rest of the world go on there, and does so at one place after the other. See scenarios_events.py.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ccdrl.bindings.library import SAMPLE_DTYPE, ActionResult, Event
from ccdrl.tests.kmod.freebsd import harness
from ccdrl.tests.kmod.freebsd.harness import EFAULT, Kernel, create_words, make_actions
from ccdrl.tests.kmod.freebsd.scenarios_calls import KERNEL_ADDRESS
from ccdrl.tests.kmod.freebsd.scenarios_events import MSS, Start, pass_ack

PLACES = 24
"""Places that are tried of each call: every one in short calls, in long ones so many all over it."""
SUBFLOWS = 8
OTHER_SAMPLES_AT = harness.FREE_AT
OTHER_COUNT_AT = harness.FREE_AT + 0x10000
OTHER_ROOM = 64


def spread(places: int) -> Iterator[int]:
    """Places from the first to the one after the last, where nothing is interrupted."""
    yield from range(1, places + 2, max(1, places // PLACES))


def acks(subflows: Sequence[int]) -> list[list[object]]:
    return [["ack", sf, 0, 0, 1] for sf in subflows]


def closes(subflows: Sequence[int]) -> list[list[object]]:
    return [["close", sf] for sf in subflows]


def crowd_open(kernel: Kernel) -> list[int]:
    """Subflows whose records are read."""
    subflows = [kernel.create_subflow(foreign=("10.0.0.2", 1 + index)) for index in range(SUBFLOWS)]
    kernel.get_buffer(64)
    return subflows


def other_reader(kernel: Kernel) -> list[object]:
    """The call of a reader with memory of its own."""
    kernel.map(OTHER_SAMPLES_AT, 0x11000)
    kernel.write(OTHER_COUNT_AT, np.uint32(OTHER_ROOM).tobytes())
    return kernel.call_words("drl_get_buffer", OTHER_SAMPLES_AT, OTHER_COUNT_AT)


def other_read(kernel: Kernel) -> np.ndarray:
    """What that reader got; nothing if its call did not happen."""
    count = int.from_bytes(kernel.read(OTHER_COUNT_AT, 4), "little")
    if count == OTHER_ROOM:
        return np.zeros(0, SAMPLE_DTYPE)
    return np.frombuffer(kernel.read(OTHER_SAMPLES_AT, count * SAMPLE_DTYPE.itemsize), SAMPLE_DTYPE)


def check_lives(records: Sequence[np.ndarray]) -> None:
    """Of each subflow no record comes twice, and CLOSED is the newest."""
    samples = np.concatenate(records)
    for subflow_id in set(samples["subflow_id"]):
        own = samples[samples["subflow_id"] == subflow_id]
        assert len(set(own["seq"])) == len(own)
        closed = own[own["event"] == Event.CLOSED]
        assert len(closed) <= 1
        assert len(closed) == 0 or closed["seq"][0] == own["seq"].max()


def room_is_kept(start: Start) -> None:
    """However many records come while the reader is in the call, it gets no more than it has room for."""
    kernel = start()
    subflows = crowd_open(kernel)
    kernel.interrupt(0, [])
    kernel.get_buffer(2)
    for place in spread(kernel.places):
        kernel.write(harness.SAMPLES_AT, b"\xee" * (SUBFLOWS * SAMPLE_DTYPE.itemsize))
        kernel.interrupt(place, acks(subflows))
        errno, first = kernel.get_buffer(2)
        assert errno == 0
        assert len(first) <= 2
        behind = kernel.read(harness.SAMPLES_AT, SUBFLOWS * SAMPLE_DTYPE.itemsize)[2 * SAMPLE_DTYPE.itemsize :]
        assert set(behind) == {0xEE}
        rest = kernel.get_buffer(64)[1]
        check_lives([first, rest])
        if place <= kernel.places:
            assert len(first) + len(rest) == SUBFLOWS


def readers_meet(start: Start) -> None:
    """Two readers at once, and subflows that close: every record goes to one of them."""
    kernel = start()
    place, places = 1, 1
    while place <= places + 1:
        subflows = crowd_open(kernel)
        for sf in subflows:
            pass_ack(kernel, sf)
        other = other_reader(kernel)
        kernel.interrupt(place, [*closes(subflows[:4]), *acks(subflows[4:]), other, *closes(subflows[4:])])
        errno, first = kernel.get_buffer(64)
        assert errno == 0
        is_interrupted = place <= kernel.places
        places = max(places, kernel.places)
        second, rest = other_read(kernel), kernel.get_buffer(64)[1]
        check_lives([first, second, rest])
        if is_interrupted:
            closed = np.concatenate([first, second, rest])
            assert sum(closed["event"] == Event.CLOSED) == SUBFLOWS
        else:
            for sf in subflows:
                kernel.close_subflow(sf)
            kernel.get_buffer(64)
        place += max(1, places // PLACES)
    assert kernel.unload() == 0


def reader_faults_meanwhile(start: Start) -> None:
    """A reader whose memory faults puts its records back, though the subflows have changed or closed by then."""
    kernel = start()
    place, places = 1, 1
    while place <= places + 1:
        subflows = [kernel.create_subflow(foreign=("10.0.0.2", 1 + index)) for index in range(SUBFLOWS)]
        kernel.close_subflow(subflows[0])
        kernel.write(harness.COUNT_AT, np.uint32(64).tobytes())
        kernel.interrupt(place, [*acks(subflows[1:4]), *closes(subflows[4:])])
        assert kernel.syscall("drl_get_buffer", KERNEL_ADDRESS, harness.COUNT_AT) == EFAULT
        is_interrupted = place <= kernel.places
        places = max(places, kernel.places)
        samples = kernel.get_buffer(64)[1]
        assert len(set(samples["subflow_id"])) == len(samples) == SUBFLOWS
        live, gone = (3, 5) if is_interrupted else (7, 1)
        assert sum(samples["event"] == Event.CREATED) == live, "nobody has read that they were created"
        assert sum(samples["event"] == Event.CLOSED) == gone
        for sf in subflows[1 : 1 + live]:
            kernel.close_subflow(sf)
        kernel.get_buffer(64)
        place += max(1, places // PLACES)
    assert kernel.unload() == 0


def answers_meet_the_end(start: Start) -> None:
    """Subflows close, time out and come while the agent's answers are taken: taken or refused, one by one."""
    kernel = start()
    place, places = 1, 1
    newcomer = create_words(("10.0.0.1", 9), ("10.0.0.2", 9), MSS, 0)
    allowed = (ActionResult.APPLIED, ActionResult.STALE, ActionResult.UNKNOWN)
    while place <= places + 1:
        subflows = crowd_open(kernel)
        for sf in subflows:
            pass_ack(kernel, sf)
        samples = kernel.get_buffer(64)[1]
        time_outs = [["event", sf, "rto", 0] for sf in subflows[4:]]
        kernel.interrupt(place, [*closes(subflows[:4]), *time_outs, newcomer])
        errno, results = kernel.update_cwnd(make_actions(samples, 50 * MSS))
        assert errno == 0
        assert set(results) <= set(allowed)
        is_interrupted = place <= kernel.places
        places = max(places, kernel.places)
        for sf in subflows[4 if is_interrupted else 0 :]:
            kernel.ack(sf, 0)
            assert kernel.get(sf, "snd_cwnd") == (MSS if is_interrupted else 50 * MSS), (
                "a time-out collapses in any case"
            )
            kernel.close_subflow(sf)
        kernel.get_buffer(64)
        place += max(1, places // PLACES)


def agent_meets_the_end(start: Start) -> None:
    """The agent reads and answers while a subflow goes: what it gets has one end, and no answer is taken after that."""
    kernel = start()
    place, places = 1, 1
    while place <= places + 1:
        sf = kernel.create_subflow()
        first = kernel.get_buffer(4)[1]
        pass_ack(kernel, sf)
        kernel.write(harness.ACTIONS_AT, make_actions(first, 20 * MSS).tobytes())
        kernel.write(harness.RESULTS_AT, b"\xee" * 4)
        answer = kernel.call_words("drl_update_cwnd", harness.ACTIONS_AT, 1, harness.RESULTS_AT)
        kernel.interrupt(place, [other_reader(kernel), answer])
        kernel.close_subflow(sf)
        places = max(places, kernel.places)
        second, rest = other_read(kernel), kernel.get_buffer(4)[1]
        check_lives([first, second, rest])
        result = np.frombuffer(kernel.read(harness.RESULTS_AT, 4), np.int32)[0]
        if place <= kernel.places:
            is_closed = sum(second["event"] == Event.CLOSED) == 1
            assert result == (ActionResult.UNKNOWN if is_closed else ActionResult.APPLIED)
        assert sum(np.concatenate([second, rest])["event"] == Event.CLOSED) == 1
        place += max(1, places // PLACES)
    assert kernel.unload() == 0
    assert kernel.allocations()[1] == 0


SCENARIOS: tuple[Callable[[Start], None], ...] = (
    room_is_kept,
    readers_meet,
    reader_faults_meanwhile,
    answers_meet_the_end,
    agent_meets_the_end,
)
