# SPDX-License-Identifier: BSD-2-Clause
"""What must hold for the two system calls, with raw registers and any memory. See scenarios_events.py."""

from collections.abc import Callable

import numpy as np

from ccdrl.bindings.library import ACTION_DTYPE, SAMPLE_DTYPE, ActionResult, Event
from ccdrl.tests.kmod.freebsd import harness
from ccdrl.tests.kmod.freebsd.harness import EFAULT, EINVAL, EPERM, Kernel, make_actions
from ccdrl.tests.kmod.freebsd.scenarios_events import INITIAL_WINDOW, MSS, Start, pass_ack, read_one

PAGE = 4096
GARBAGE = 0xDEADBEEF << 32
KERNEL_ADDRESS = 0xFFFFFFFF80200000
NON_CANONICAL = 0x8000000000000000
SIZE = SAMPLE_DTYPE.itemsize


def count_set(kernel: Kernel, count: int) -> None:
    kernel.write(harness.COUNT_AT, np.uint32(count).tobytes())


def count_get(kernel: Kernel) -> int:
    return int.from_bytes(kernel.read(harness.COUNT_AT, 4), "little")


def unprivileged_reader(start: Start) -> None:
    kernel = start()
    kernel.create_subflow()
    assert kernel.get_buffer(16, privileged=False)[0] == EPERM
    assert kernel.syscall("drl_get_buffer", 0, 0, privileged=False) == EPERM, "the privilege comes before the arguments"
    read_one(kernel)


def unprivileged_writer(start: Start) -> None:
    kernel = start()
    sf = kernel.create_subflow()
    actions = make_actions(np.array([read_one(kernel)]), 50 * MSS)
    assert kernel.update_cwnd(actions, privileged=False)[0] == EPERM
    assert kernel.syscall("drl_update_cwnd", 0, 0, 0, privileged=False) == EPERM
    kernel.send(sf, MSS)
    kernel.ack(sf, MSS)
    assert kernel.get(sf, "snd_cwnd") == INITIAL_WINDOW + MSS
    assert kernel.sysctl("net.inet.tcp.cc.ccdrl.applied") == 0


def reader_pointers(start: Start) -> None:
    """Whatever the reader points to: EFAULT at worst, and no record is lost."""
    kernel = start()
    kernel.create_subflow()
    kernel.map(harness.FREE_AT, PAGE, is_writable=False)
    kernel.write(harness.FREE_AT, np.uint32(16).tobytes())
    count_set(kernel, 16)
    read_only, unmapped = harness.FREE_AT, harness.FREE_AT + PAGE
    for bad in (0, read_only, unmapped, KERNEL_ADDRESS, NON_CANONICAL, 2**64 - 1, unmapped - SIZE // 2):
        assert kernel.syscall("drl_get_buffer", bad, harness.COUNT_AT) == EFAULT
    for bad in (0, unmapped, KERNEL_ADDRESS, NON_CANONICAL, 2**64 - 2, unmapped - 2):
        assert kernel.syscall("drl_get_buffer", harness.SAMPLES_AT, bad) == EFAULT
    assert kernel.syscall("drl_get_buffer", harness.SAMPLES_AT, read_only) == EFAULT
    sample = read_one(kernel)
    assert sample["event"] == Event.CREATED
    assert sample["sent_bytes"] == 0


def reader_faults_midway(start: Start) -> None:
    kernel = start()
    for _ in range(40):
        kernel.create_subflow()
    closed = kernel.create_subflow()
    kernel.close_subflow(closed)
    kernel.map(harness.FREE_AT, PAGE)  # room for 23 of 41
    count_set(kernel, 64)
    assert kernel.syscall("drl_get_buffer", harness.FREE_AT, harness.COUNT_AT) == EFAULT
    _, samples = kernel.get_buffer(64)
    assert len(set(samples["subflow_id"])) == len(samples) == 41
    assert sorted(set(samples["event"])) == [Event.CREATED, Event.CLOSED]


def reader_capacities(start: Start) -> None:
    kernel = start()
    for _ in range(5):
        kernel.create_subflow()
    errno, samples = kernel.get_buffer(0)
    assert errno == 0
    assert samples.size == 0
    count_set(kernel, 0)
    assert kernel.syscall("drl_get_buffer", 0, harness.COUNT_AT) == 0, "no room asked for, no memory needed"
    ids = [int(read["subflow_id"]) for _ in range(3) for read in kernel.get_buffer(1)[1]]
    assert len(set(ids)) == 3
    # one record may be written, not two
    kernel.write(harness.SAMPLES_AT, b"\xee" * (2 * SIZE))
    kernel.get_buffer(1)
    assert kernel.read(harness.SAMPLES_AT + SIZE, SIZE) == b"\xee" * SIZE
    for huge in (2**20 + 1, 2**31 - 1, 2**31, 2**32 - 1):
        count_set(kernel, huge)
        errno = kernel.syscall("drl_get_buffer", harness.SAMPLES_AT, harness.COUNT_AT)
        assert errno in (0, EINVAL)
        if errno == 0:
            assert count_get(kernel) <= 1
            kernel.create_subflow()
    errno, samples = kernel.get_buffer(16)
    assert errno == 0
    assert samples.size == 1


def readers_share(start: Start) -> None:
    """Two readers with little room: each record goes to one of them, and nobody starves."""
    kernel = start()
    subflows = [kernel.create_subflow() for _ in range(30)]
    seen = [int(i) for _ in range(10) for i in kernel.get_buffer(3)[1]["subflow_id"]]
    assert sorted(seen) == sorted(set(seen))
    assert len(seen) == 30
    for _ in range(40):
        for sf in subflows:
            pass_ack(kernel, sf)
        seen.extend(int(i) for i in kernel.get_buffer(3)[1]["subflow_id"])
    # 120 records of 30 busy subflows
    counts = np.unique(seen[30:], return_counts=True)[1]
    assert len(counts) == 30
    assert counts.min() >= 2


def garbage_in_high_half(start: Start) -> None:
    kernel = start()
    kernel.create_subflow()
    actions = make_actions(np.array([read_one(kernel)]), 20 * MSS)
    kernel.write(harness.ACTIONS_AT, actions.tobytes())
    kernel.write(harness.RESULTS_AT, b"\xee" * 16)
    errno = kernel.syscall("drl_update_cwnd", harness.ACTIONS_AT, GARBAGE | 1, harness.RESULTS_AT)
    assert errno == 0, "a 32-bit argument has 32 bits"
    assert kernel.read(harness.RESULTS_AT, 8) == np.int32(0).tobytes() + b"\xee" * 4
    errno = kernel.syscall("drl_update_cwnd", harness.ACTIONS_AT, GARBAGE, harness.RESULTS_AT)
    assert errno == 0


def writer_counts(start: Start) -> None:
    kernel = start()
    kernel.create_subflow()
    kernel.write(harness.ACTIONS_AT, make_actions(np.array([read_one(kernel)]), 20 * MSS).tobytes())
    assert kernel.syscall("drl_update_cwnd", 0, 0, 0) == 0
    for huge in (2**20 + 1, 2**31 - 1, 2**31, 2**32 - 1, 2**64 - 1):
        assert kernel.syscall("drl_update_cwnd", harness.ACTIONS_AT, huge, harness.RESULTS_AT) in (EINVAL, EFAULT)
    assert kernel.sysctl("net.inet.tcp.cc.ccdrl.applied") == 0


def writer_pointers(start: Start) -> None:
    """EFAULT takes no action."""
    kernel = start()
    sf = kernel.create_subflow()
    kernel.map(harness.FREE_AT, PAGE, is_writable=False)
    actions = make_actions(np.array([read_one(kernel)]), 20 * MSS).tobytes()
    kernel.write(harness.ACTIONS_AT, actions)
    kernel.write(harness.FREE_AT, actions)
    unmapped = harness.FREE_AT + PAGE
    for bad in (0, unmapped, KERNEL_ADDRESS, NON_CANONICAL, 2**64 - 8, unmapped - 8):
        assert kernel.syscall("drl_update_cwnd", bad, 1, harness.RESULTS_AT) == EFAULT
        assert (
            kernel.syscall("drl_update_cwnd", harness.ACTIONS_AT, 1, bad if bad % PAGE != PAGE - 8 else bad + 6)
            == EFAULT
        )
    assert kernel.syscall("drl_update_cwnd", harness.ACTIONS_AT, 1, harness.FREE_AT) == EFAULT
    kernel.send(sf, MSS)
    kernel.ack(sf, MSS)
    assert kernel.get(sf, "snd_cwnd") == INITIAL_WINDOW + MSS
    assert kernel.sysctl("net.inet.tcp.cc.ccdrl.applied") == 0
    errno = kernel.syscall("drl_update_cwnd", harness.FREE_AT, 1, harness.RESULTS_AT + 1)
    assert errno == 0, "actions may be read-only, and results unaligned"


def results_per_action(start: Start) -> None:
    kernel = start()
    kernel.sysctl("net.inet.tcp.cc.ccdrl.cwnd_max_bytes", 100 * MSS)
    for _ in range(4):
        kernel.create_subflow()
    _, samples = kernel.get_buffer(16)
    cases = [
        (ActionResult.APPLIED, {"cwnd_bytes": 20 * MSS}),
        (ActionResult.APPLIED, {"cwnd_bytes": 100 * MSS}),
        (ActionResult.CLAMPED, {"cwnd_bytes": 100 * MSS + 1}),
        (ActionResult.CLAMPED, {"cwnd_bytes": 2**32 - 1}),
        (ActionResult.CLAMPED, {"cwnd_bytes": 2 * MSS - 1}),
        (ActionResult.CLAMPED, {"cwnd_bytes": 1}),
        (ActionResult.STALE, {"seq": 2**63}),
        (ActionResult.UNKNOWN, {"subflow_id": 0}),
        (ActionResult.UNKNOWN, {"subflow_id": 2**64 - 1}),
        (ActionResult.MALFORMED, {"abi": 1}),
        (ActionResult.MALFORMED, {"reserved": 1}),
        (ActionResult.MALFORMED, {"cwnd_bytes": 0}),
        (ActionResult.MALFORMED, {"lease_us": 0}),
        (ActionResult.MALFORMED, {"lease_us": 10_000_001}),
        (ActionResult.APPLIED, {"lease_us": 10_000_000}),
        (ActionResult.APPLIED, {"pacing_rate_bytes_per_s": 2**64 - 1}),
    ]
    actions = np.zeros(len(cases), ACTION_DTYPE)
    for index, (_, changes) in enumerate(cases):
        actions[index] = make_actions(samples[index % 4 : index % 4 + 1], 30 * MSS)[0]
        for field, value in changes.items():
            actions[index][field] = value
    errno, results = kernel.update_cwnd(actions)
    assert errno == 0
    assert results.tolist() == [int(result) for result, _ in cases]
    for result in ActionResult:
        counted = kernel.sysctl(f"net.inet.tcp.cc.ccdrl.{result.name.lower()}")
        assert counted == sum(wanted == result for wanted, _ in cases)


def windows_are_bounded(start: Start) -> None:
    kernel = start()
    kernel.sysctl("net.inet.tcp.cc.ccdrl.cwnd_max_bytes", 30 * MSS)
    sf = kernel.create_subflow()
    for wanted, given in ((2**32 - 1, 30 * MSS), (1, 2 * MSS), (17 * MSS, 17 * MSS)):
        errno, _ = kernel.update_cwnd(make_actions(kernel.get_buffer(4)[1], wanted))
        assert errno == 0
        pass_ack(kernel, sf)
        assert kernel.get(sf, "snd_cwnd") == given
    kernel.advance(2_000_000)
    for _ in range(100):
        pass_ack(kernel, sf, 10 * MSS)
    assert kernel.get(sf, "snd_cwnd") <= 30 * MSS, "the fallback's window too"


def identities(start: Start) -> None:
    """An id names one subflow for ever: what comes after it in the same memory has another."""
    kernel = start()
    seen: set[int] = set()
    for _ in range(300):
        sf = kernel.create_subflow()
        sample = read_one(kernel)
        assert int(sample["subflow_id"]) not in seen
        seen.add(int(sample["subflow_id"]))
        kernel.close_subflow(sf)
        kernel.create_subflow()
        assert kernel.update_cwnd(make_actions(np.array([sample]), 20 * MSS))[1][0] == ActionResult.UNKNOWN
        for again in kernel.get_buffer(8)[1]:
            seen.add(int(again["subflow_id"]))
    assert len(seen) == 600


def answers_in_order(start: Start) -> None:
    kernel = start()
    sf = kernel.create_subflow()
    first = read_one(kernel)
    pass_ack(kernel, sf)
    second = read_one(kernel)
    assert second["seq"] > first["seq"]
    newer, older = (make_actions(np.array([sample]), 20 * MSS) for sample in (second, first))
    assert kernel.update_cwnd(newer)[1][0] == ActionResult.APPLIED
    assert kernel.update_cwnd(older)[1][0] == ActionResult.STALE, "older than an action already taken"
    assert kernel.update_cwnd(newer)[1][0] == ActionResult.APPLIED, "the same record may be answered again"


def network_stacks_are_apart(start: Start) -> None:
    kernel = start()
    kernel.vnet(1)
    sf = kernel.create_subflow()
    kernel.vnet(0)
    assert kernel.get_buffer(16)[1].size == 0
    kernel.vnet(1)
    sample = read_one(kernel)
    kernel.vnet(0)
    actions = make_actions(np.array([sample]), 20 * MSS)
    assert kernel.update_cwnd(actions)[1][0] == ActionResult.UNKNOWN
    kernel.vnet(1)
    assert kernel.update_cwnd(actions)[1][0] == ActionResult.APPLIED
    kernel.close_subflow(sf)
    kernel.vnet(0)
    assert kernel.get_buffer(16)[1].size == 0


def random_calls(start: Start) -> None:
    """Registers and contents at random: errors, but no fault, and the module goes on."""
    kernel = start()
    random = np.random.default_rng(1)
    sf = kernel.create_subflow()
    sample = read_one(kernel)
    kernel.map(harness.FREE_AT, PAGE, is_writable=False)
    places = [
        0,
        1,
        harness.COUNT_AT,
        harness.SAMPLES_AT,
        harness.ACTIONS_AT,
        harness.RESULTS_AT,
        harness.FREE_AT,
        KERNEL_ADDRESS,
    ]

    def register() -> int:
        kind = random.integers(4)
        if kind == 0:
            return int(random.integers(2**63)) * 2 + int(random.integers(2))
        if kind == 1:
            return int(random.integers(64))
        return places[random.integers(len(places))] + int(random.integers(2) * random.integers(PAGE))

    for _ in range(1000):
        count_set(kernel, int(random.choice([0, 1, 5, 1000, 2**31, int(random.integers(2**32))])))
        actions = np.frombuffer(random.bytes(8 * ACTION_DTYPE.itemsize), ACTION_DTYPE).copy()
        if random.integers(2):
            actions["abi"], actions["reserved"], actions["subflow_id"] = 2, 0, sample["subflow_id"]
            actions["seq"], actions["lease_us"] = sample["seq"], random.integers(1, 10_000_000, 8)
        kernel.write(harness.ACTIONS_AT, actions.tobytes())
        assert kernel.syscall("drl_get_buffer", register(), register(), register()) in (0, EFAULT, EINVAL)
        assert kernel.syscall("drl_update_cwnd", register(), register(), register()) in (0, EFAULT, EINVAL)
        assert kernel.update_cwnd(actions)[0] == 0
        pass_ack(kernel, sf)
        assert 2 * MSS <= kernel.get(sf, "snd_cwnd") <= 2**30
    kernel.close_subflow(sf)
    kernel.get_buffer(16)
    assert kernel.unload() == 0


SCENARIOS: tuple[Callable[[Start], None], ...] = (
    unprivileged_reader,
    unprivileged_writer,
    reader_pointers,
    reader_faults_midway,
    reader_capacities,
    readers_share,
    garbage_in_high_half,
    writer_counts,
    writer_pointers,
    results_per_action,
    windows_are_bounded,
    identities,
    answers_in_order,
    network_stacks_are_apart,
    random_calls,
)
