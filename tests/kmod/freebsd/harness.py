# SPDX-License-Identifier: BSD-2-Clause
"""The FreeBSD module's object, loaded into a model of the kernel that runs as a Linux process: class `Kernel`.

    with Kernel(release=14) as kernel:              # also invariants=True, sanitize=True, module=Path, first_tick=...
        kernel.load()                               # what kldload does; unload() is kldunload
        sf = kernel.create_subflow(local=("10.0.0.1", 4000), foreign=("10.0.0.2", 5001), mss_bytes=1448, conn_id=0)
        kernel.send(sf, 14480)                      # TCP sends (snd_max moves); send(sf, n, again=True) retransmits
        kernel.ack(sf, 2896, rtt_us=20_000)         # the peer ACKs: RTT sample, then cc_algo.ack_received
        kernel.dupack(sf, sacked_bytes=1448)        # a duplicate ACK
        kernel.loss(sf); kernel.recovered(sf)       # fast recovery entered (CC_NDUPACK) and left (post_recovery)
        kernel.rto(sf); kernel.ecn(sf); kernel.idle(sf)
        kernel.advance(10_000)                      # the clock, in microseconds; kernel.now_us reads it
        errno, samples = kernel.get_buffer(64)      # numpy array of ccdrl.h's drl_subflow_sample
        errno, results = kernel.update_cwnd(actions)  # int32 array, one result an action
        kernel.get(sf, "snd_cwnd")                  # a field of the tcpcb; kernel.set(sf, snd_una=2**32 - 1)
        kernel.sysctl("net.inet.tcp.cc.ccdrl.applied")  # and kernel.sysctl(name, value)
        kernel.close_subflow(sf)

`get_buffer(capacity, privileged=True)` and `update_cwnd(actions, privileged=True)` are the two system calls with the
user's memory set up; `errno` is FreeBSD's number (below 35 as Linux's), 0 for success. For tests of the calls
themselves `syscall(name, *registers, privileged=True)` passes raw 64-bit registers.

`interrupt(place, commands)` makes a race: at that place of the next event or call another CPU runs these commands.

RTTs reach the module as TCP knows them: in ticks of 1 ms, at least one. `loss` leaves snd_cwnd at one segment, as PRR
does; `dupack` grows it; `recovered` ACKs all that was out when the loss was found.

Whatever the kernel forbids (a lock held at copyin, a lock released by another thread, memory used after it was freed or
left behind at unload, a failed KASSERT ...) raises `KernelFault` in the call that noticed it.
"""

import contextlib
import subprocess
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ccdrl.bindings.library import ACTION_DTYPE, SAMPLE_DTYPE
from ccdrl.tests.kmod.freebsd import harness_build

USER_BASE = 0x60000000
SAMPLES_AT = USER_BASE + 0x1000
SAMPLES_MAX = 16_384
COUNT_AT = USER_BASE
ACTIONS_AT = USER_BASE + 0x400000
RESULTS_AT = USER_BASE + 0x600000
FREE_AT = USER_BASE + 0xC00000
"""From here to USER_BASE + 16 MiB tests may map memory of their own."""

BATCH = 500
"""Commands under way at once: their answers fit into a pipe."""

CALLS = {"drl_get_buffer": "sys/drl_get_buffer", "drl_update_cwnd": "sys/drl_update_cwnd"}
SYSCTLS = "net.inet.tcp.cc.ccdrl."
EPERM, ENOENT, ENOMEM, EFAULT, EBUSY, EINVAL = 1, 2, 12, 14, 16, 22


Address = tuple[str, int]


class KernelFault(RuntimeError):
    """The module broke a rule of the kernel; the text says which."""


class Kernel:
    """One run of the kernel model. Errors of the module's own (errno) are results, not exceptions."""

    def __init__(
        self,
        release: int = 14,
        *,
        invariants: bool = True,
        sanitize: bool = False,
        module: Path | None = None,
        first_tick: int = 0,
        first_us: int = 1_000_000,
    ) -> None:
        program = harness_build.build_kernel(release, invariants=invariants, sanitize=sanitize)
        self.module = module or harness_build.build_module(release, invariants=invariants, sanitize=sanitize)
        self._process = subprocess.Popen(
            [program, str(first_tick), str(first_us)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={
                "ASAN_OPTIONS": "detect_leaks=0:exitcode=3:allocator_may_return_null=1",
                "UBSAN_OPTIONS": "exitcode=3",
            },
        )
        self._numbers: dict[str, int] = {}
        self._interrupt: list[object] = []
        self.places = 0
        for address, size in ((COUNT_AT, 4096), (SAMPLES_AT, SAMPLES_MAX * SAMPLE_DTYPE.itemsize)):
            self.map(address, size)
        self.map(ACTIONS_AT, 0x200000)
        self.map(RESULTS_AT, 0x100000)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever state it is in."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def command(self, *words: object) -> list[str]:
        """One command of harness/main.c; raises KernelFault where the module broke a rule, or stopped the kernel."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(" ".join(str(word) for word in words).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline().decode()
        except BrokenPipeError:
            line = ""
        return self._parse(line)

    def batch(self, commands: Sequence[Sequence[object]]) -> list[list[str]]:
        """Many short commands without waiting for the answer of each."""
        assert self._process.stdin is not None and self._process.stdout is not None
        answers: list[list[str]] = []
        for first in range(0, len(commands), BATCH):
            lines = [" ".join(str(word) for word in words) for words in commands[first : first + BATCH]]
            try:
                self._process.stdin.write("\n".join([*lines, ""]).encode())
                self._process.stdin.flush()
            except BrokenPipeError:
                raise KernelFault(self._last_words()) from None
            answers += [self._parse(self._process.stdout.readline().decode()) for _ in lines]
        return answers

    def _parse(self, line: str) -> list[str]:
        if not line:
            raise KernelFault(self._last_words())
        kind, *answer = line.split()
        if kind != "ok":
            raise KernelFault(" ".join(answer))
        return answer

    def _last_words(self) -> str:
        assert self._process.stderr is not None
        status = self._process.wait(timeout=30)
        text = self._process.stderr.read().decode(errors="replace")
        lines = [
            line for line in text.splitlines() if "fault: " in line or "ERROR: " in line or "runtime error" in line
        ]
        return lines[0] if lines else f"the kernel ended with status {status}: {text.strip()[-500:]}"

    def interrupt(self, place: int, commands: Sequence[Sequence[object]]) -> None:
        """Let another CPU run these commands at the nth place of the next event or call: between two instructions
        of the module where it holds no lock of its own. `places` then says how many there were.
        """
        for words in commands:
            self.command("later", *words)
        self._interrupt = ["interrupt", place]

    def _command_interrupted(self, *words: object) -> list[str]:
        """A command, with the interrupt that was asked for unless it is one of the user's memory."""
        if not self._interrupt or words[0] in ("map", "write"):
            return self.command(*words)
        prefix, self._interrupt = self._interrupt, []
        places, *answer = self.command(*prefix, *words)
        self.places = int(places)
        return answer

    def call_words(self, name: str, *registers: int) -> list[object]:
        """The command of a privileged `syscall`, for an interrupt."""
        return [
            "call",
            self._numbers[name],
            1,
            *(f"{register:x}" for register in registers),
            *([0] * (8 - len(registers))),
        ]

    # Module

    def load(self) -> None:
        """What kldload does; raises KernelFault where the kernel would refuse the file."""
        errno, *problem = self.command("load", self.module)
        if errno != "0":
            raise KernelFault(f"load: errno {errno} {' '.join(problem)}")
        self._numbers = {name: int(self.command("number", module)[0]) for name, module in CALLS.items()}

    def unload(self, *, forced: bool = False) -> int:
        """What kldunload does: an errno."""
        return int(self.command("unload", int(forced))[0])

    def sysctl(self, name: str, value: int | None = None, *, privileged: bool = True) -> Any:
        """A number, or a list of them; raises OSError with FreeBSD's errno."""
        words = ["sysctl", int(privileged), name] + ([] if value is None else [value])
        errno, *text = self.command(*words)
        if errno != "0":
            raise OSError(int(errno), name)
        numbers = [int(number) for number in text[0].split(",")]
        return numbers[0] if len(numbers) == 1 else numbers

    def sysctls(self) -> list[str]:
        """Names of all sysctls of the module."""
        return self.command("sysctls")

    def vnet(self, index: int) -> None:
        """Choose the network stack, 0 or 1, of the following calls and connections."""
        assert self.command("vnet", index) == ["0"]

    def fail_allocation(self, nth: int) -> None:
        """Let the nth allocation from now on fail that may; 0: none."""
        self.command("fail", nth)

    def allocations(self) -> tuple[int, int]:
        """Allocations so far that could have failed; live ones."""
        possible, live = self.command("allocations")
        return int(possible), int(live)

    # Time and connections

    @property
    def now_us(self) -> int:
        """Microseconds since boot."""
        return int(self.command("now")[0])

    def advance(self, us: int) -> None:
        """Let time pass."""
        self.command("advance", us)

    def create_subflow(
        self,
        local: Address = ("10.0.0.1", 4000),
        foreign: Address = ("10.0.0.2", 5001),
        *,
        mss_bytes: int = 1448,
        conn_id: int = 0,
    ) -> int:
        """A connection, established: cb_init, conn_init. Raises OSError where cb_init refuses it. Foreign port 0: a
        listener, without conn_init.
        """
        errno, subflow = self.command(*create_words(local, foreign, mss_bytes, conn_id))
        if errno != "0":
            raise OSError(int(errno), "cb_init")
        return int(subflow)

    def _event(self, *words: object) -> None:
        errno = int(self._command_interrupted(*words)[0])
        if errno != 0:
            raise OSError(errno, " ".join(str(word) for word in words))

    def close_subflow(self, subflow: int) -> None:
        """cb_destroy; the number is not used again."""
        self._event("close", subflow)

    def switch(self, subflow: int, *, is_on: bool) -> None:
        """setsockopt(TCP_CONGESTION): away from the module; to it, from another controller or from itself."""
        self._event("switch", subflow, int(is_on))

    def send(self, subflow: int, n_bytes: int, *, again: bool = False) -> None:
        """TCP sends this payload, or retransmits it."""
        self._event("send", subflow, n_bytes, int(again))

    def ack(self, subflow: int, n_bytes: int, *, rtt_us: int = 0, cwnd_limited: bool = True) -> None:
        """The peer ACKs in order, with an RTT sample where rtt_us > 0."""
        self._event("ack", subflow, n_bytes, rtt_us, int(cwnd_limited))

    def dupack(self, subflow: int, *, sacked_bytes: int = 0) -> None:
        """A duplicate ACK that SACKs so much."""
        self._event("dupack", subflow, sacked_bytes)

    def event(self, subflow: int, name: str, argument: int = 0) -> None:
        """One of loss, recovered, rto, rto_err, ecn, ecnpkt, idle, newround, rttsample, private."""
        self._event("event", subflow, name, argument)

    def loss(self, subflow: int) -> None:
        """Fast recovery begins."""
        self.event(subflow, "loss")

    def recovered(self, subflow: int, *, rtt_us: int = 0) -> None:
        """Fast recovery ends with an ACK of all that was out when it began."""
        self.event(subflow, "recovered", rtt_us)

    def rto(self, subflow: int) -> None:
        """The retransmission timer fires."""
        self.event(subflow, "rto")

    def ecn(self, subflow: int) -> None:
        """An ACK echoes congestion."""
        self.event(subflow, "ecn")

    def idle(self, subflow: int) -> None:
        """Sending starts again after an idle time."""
        self.event(subflow, "idle")

    def get(self, subflow: int, field: str) -> int:
        """A field of the tcpcb, or `is_recovering`: 2 fast recovery, 1 answer to ECN, 0 neither."""
        errno, value = self.command("get", subflow, field)
        if errno != "0":
            raise OSError(int(errno), field)
        return int(value)

    def set(self, subflow: int, **fields: int) -> None:
        """Fields of the tcpcb."""
        for field, value in fields.items():
            self._event("set", subflow, field, value)

    # System calls

    def map(self, address: int, size: int, *, is_writable: bool = True) -> None:
        """Memory of the user: whole pages."""
        self._event("map", address, size, int(is_writable))

    def unmap(self, address: int, size: int) -> None:
        """Take pages away from the user; their content is kept."""
        self.command("unmap", address, size)

    def write(self, address: int, content: bytes) -> None:
        """The user writes, whatever the access of the pages."""
        if content:
            self._event("write", address, content.hex())

    def read(self, address: int, size: int) -> bytes:
        """The user reads."""
        errno, *content = self.command("read", address, size)
        if errno != "0":
            raise OSError(int(errno), hex(address))
        return bytes.fromhex(content[0]) if content else b""

    def syscall(self, name: str, *registers: int, privileged: bool = True) -> int:
        """Raw 64-bit registers into drl_get_buffer or drl_update_cwnd; its errno."""
        words = [f"{register % 2**64:x}" for register in [*registers, *([0xD0D0D0D0D0D0D0D0] * (8 - len(registers)))]]
        return int(self._command_interrupted("call", self._numbers[name], int(privileged), *words)[0])

    def get_buffer(self, capacity: int, *, privileged: bool = True) -> tuple[int, np.ndarray]:
        """drl_get_buffer with room for `capacity` records: errno, what it filled in."""
        self.write(COUNT_AT, np.uint32(capacity).tobytes())
        errno = self.syscall("drl_get_buffer", SAMPLES_AT, COUNT_AT, privileged=privileged)
        count = int.from_bytes(self.read(COUNT_AT, 4), "little") if errno == 0 else 0
        content = self.read(SAMPLES_AT, count * SAMPLE_DTYPE.itemsize)
        return errno, np.frombuffer(content, dtype=SAMPLE_DTYPE).copy()

    def update_cwnd(self, actions: np.ndarray, *, privileged: bool = True) -> tuple[int, np.ndarray]:
        """drl_update_cwnd of an array of drl_cwnd_action: errno, one result an action."""
        actions = np.ascontiguousarray(actions, dtype=ACTION_DTYPE)
        self.write(ACTIONS_AT, actions.tobytes())
        errno = self.syscall("drl_update_cwnd", ACTIONS_AT, len(actions), RESULTS_AT, privileged=privileged)
        count = len(actions) if errno == 0 else 0
        return errno, np.frombuffer(self.read(RESULTS_AT, 4 * count), dtype=np.int32).copy()

    def hammer(self, ms: int, subflows: int, seed: int) -> dict[str, int]:
        """Threads at once (harness/hammer.c); the figures that they end with."""
        return {
            key: int(value) for key, value in (word.split("=") for word in self.command("hammer", ms, subflows, seed))
        }


def create_words(local: Address, foreign: Address, mss_bytes: int, conn_id: int) -> list[object]:
    """The command of `create_subflow`."""
    hosts = [ip_address(local[0]), ip_address(foreign[0])]
    is_ipv6 = int(hosts[0].version == 6)
    return ["create", is_ipv6, hosts[0].packed.hex(), local[1], hosts[1].packed.hex(), foreign[1], mss_bytes, conn_id]


def make_actions(samples: np.ndarray, cwnd_bytes: int | Sequence[int], *, lease_us: int = 1_000_000) -> np.ndarray:
    """One action for each sample, which it answers."""
    actions = np.zeros(len(samples), dtype=ACTION_DTYPE)
    actions["abi"] = 2
    actions["subflow_id"] = samples["subflow_id"]
    actions["seq"] = samples["seq"]
    actions["cwnd_bytes"] = cwnd_bytes
    actions["lease_us"] = lease_us
    return actions
