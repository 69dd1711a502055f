# SPDX-License-Identifier: BSD-2-Clause
"""The calls of this machine's FreeBSD kernel, and what the kernel must be before they are made.

A kernel that lacks them is one DatapathError that says what to do. ABI v1 has fixed numbers, which other kernels gave
to other calls (FreeBSD 14: kqueuex and membarrier): they are called only on FreeBSD 13 with the controller `drl`.
"""

import errno
import re
import time
from typing import Any

from ccdrl.bindings.datapath import ResultArray
from ccdrl.bindings.errors import DatapathError
from ccdrl.bindings.freebsd.datapath import FreeBSDDatapath
from ccdrl.bindings.freebsd.datapath_v1 import FreeBSDV1Datapath
from ccdrl.bindings.freebsd.library import check_errno, ffi, lib, pin
from ccdrl.bindings.freebsd.transport import RecordArray
from ccdrl.bindings.library import ActionArray, SampleArray

CALLS = ("drl_get_buffer", "drl_update_cwnd")
MODULE_PREFIX = b"sys/"
"""SYSCALL_MODULE's, of the module that carries a call."""
EXPIRED = b"net.inet.tcp.cc.ccdrl.expired"
CONTROLLERS = b"net.inet.tcp.cc.available"
TEXT_BYTES = 4096
V1_CONTROLLER = "drl"
V1_MAJOR = 13
RELEASES_PER_MAJOR = 100_000
"""kern.osreldate counts so many for each major release: 1301000 is 13.1."""
NS_PER_US = 1000


class SystemTransport:
    """ABI v2 in the kernel that we run on. Raises DatapathError if the module `ccdrl` is not loaded."""

    def __init__(self) -> None:
        lib.ccdrl_calls_begin()
        self._calls = [_find_call(name) for name in CALLS]
        self._count = ffi.new("uint32_t *")
        self._samples: tuple[SampleArray, Any] | None = None

    def get_buffer(self, samples: SampleArray) -> int:
        """As Transport; a reader's one array is pinned once."""
        number = self._get_number(0)
        if self._samples is None or self._samples[0] is not samples:
            self._samples = samples, pin("struct drl_subflow_sample", samples)
        self._count[0] = len(samples)
        check_errno(lib.ccdrl_call_get_buffer(number, self._samples[1], self._count), CALLS[0])
        return int(self._count[0])

    def update_cwnd(self, actions: ActionArray, results: ResultArray) -> None:
        """As Transport."""
        number = self._get_number(1)
        source, target = pin("struct drl_cwnd_action", actions), pin("int32_t", results)
        check_errno(lib.ccdrl_call_update_cwnd(number, source, len(actions), target), CALLS[1])

    def read_expired(self) -> int:
        """As Transport, from the sysctl."""
        return _read_number(EXPIRED)

    def close(self) -> None:
        """Forget the arrays."""
        self._samples = None

    def _get_number(self, index: int) -> int:
        """Return a call's number: after an unload another module may have it, so ask first."""
        call = self._calls[index]
        if lib.ccdrl_call_check(call) != 0:
            raise DatapathError("datapath freebsd: the module ccdrl was unloaded")
        return int(call.number)


class SystemTransportV1:
    """ABI v1 in the kernel that we run on. Raises DatapathError on any other kernel."""

    def __init__(self) -> None:
        check_v1_kernel(_read_number(b"kern.osreldate"), _read_text(CONTROLLERS))
        lib.ccdrl_calls_begin()
        self._count = ffi.new("int *")
        self._records: tuple[RecordArray, Any] | None = None

    def get_buffer(self, records: RecordArray) -> int:
        """As TransportV1."""
        if self._records is None or self._records[0] is not records:
            self._records = records, pin("struct ccdrl_v1_record", records)
        check_errno(lib.ccdrl_v1_get_buffer(self._records[1], self._count), CALLS[0])
        return int(self._count[0])

    def update_cwnd(self, cwnd_bytes: int, local_addr: int, local_port: int) -> None:
        """As TransportV1."""
        check_errno(lib.ccdrl_v1_update_cwnd(cwnd_bytes, local_addr, local_port), CALLS[1])

    def clock_us(self) -> int:
        """As TransportV1: CLOCK_MONOTONIC."""
        return time.monotonic_ns() // NS_PER_US

    def close(self) -> None:
        """Forget the array."""
        self._records = None


def open_v2() -> FreeBSDDatapath:
    """Return the subflows of this kernel's module `ccdrl`. Raises DatapathError and PermissionError."""
    return FreeBSDDatapath(SystemTransport())


def open_v1(mss_bytes: int, cwnd_max_bytes: int) -> FreeBSDV1Datapath:
    """Return the subflows of this kernel's controller `drl`. Raises DatapathError."""
    return FreeBSDV1Datapath(
        SystemTransportV1(), hz=read_clock_hz(), mss_bytes=mss_bytes, cwnd_max_bytes=cwnd_max_bytes
    )


def read_clock_hz() -> int:
    """Return the kernel's ticks in a second (sysctl kern.clockrate)."""
    out = ffi.new("uint32_t *")
    check_errno(lib.ccdrl_clock_hz(out), "kern.clockrate")
    return int(out[0])


def check_v1_kernel(osreldate: int, controllers: str) -> None:
    """Check kern.osreldate and net.inet.tcp.cc.available, which lists names between anything that is no name."""
    major = osreldate // RELEASES_PER_MAJOR
    if major != V1_MAJOR:
        raise DatapathError(f"datapath freebsd: ABI v1 is FreeBSD {V1_MAJOR}'s, this is FreeBSD {major}; use --abi v2")
    if V1_CONTROLLER not in re.findall(r"\w+", controllers):
        raise DatapathError(
            f"datapath freebsd: this kernel has no controller {V1_CONTROLLER}, so not ABI v1; use --abi v2"
        )


def _find_call(name: str) -> Any:
    call = ffi.new("struct ccdrl_call *")
    result = lib.ccdrl_call_find(MODULE_PREFIX + name.encode(), call)
    if result == -errno.ENOENT:
        raise DatapathError(f"datapath freebsd: no system call {name}; load the module with `kldload ccdrl` (root)")
    check_errno(result, name)
    return call


def _read_number(name: bytes) -> int:
    out = ffi.new("uint64_t *")
    check_errno(lib.ccdrl_sysctl_number(name, out), name.decode())
    return int(out[0])


def _read_text(name: bytes) -> str:
    out = ffi.new("char[]", TEXT_BYTES)
    check_errno(lib.ccdrl_sysctl_text(name, out, TEXT_BYTES), name.decode())
    return str(ffi.string(out).decode("ascii", "replace"))
