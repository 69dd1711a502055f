# SPDX-License-Identifier: BSD-2-Clause
"""The one owner of the test bed's `ffi`: errors become exceptions, descriptions become its C structs."""

import os
from typing import Any

from ccdrl.bindings import conversion
from ccdrl.bindings import library as simulator
from ccdrl.bindings.network import EventConfig, LinkConfig

try:
    from ccdrl.bindings.testbed._testbed import ffi as ffi
    from ccdrl.bindings.testbed._testbed import lib as lib
except ImportError as error:  # a checkout that was never compiled, or another system than Linux
    raise ImportError("the test bed is not built; it needs Linux and `make setup`") from error

ADDRESS_RECEIVER: int = lib.TESTBED_ADDRESS_RECEIVER
ADDRESS_SENDERS: int = lib.TESTBED_ADDRESS_SENDERS


class BedError(RuntimeError):
    """The test bed failed: the system refused a call, or a run is void (exit status 1)."""


def check(result: int, what: str) -> int:
    """Return the result of a C call. Raises BedError, with the system's words, where it is a negative errno."""
    if result < 0:
        raise BedError(f"test bed: {what}: {os.strerror(-result)}")
    return result


def die_with_parent() -> None:
    """Let this process be killed when the thread that started it ends. Raises BedError."""
    check(lib.testbed_die_with_parent(), "parent death signal")


def own(pointer: Any, free: Any) -> Any:
    """Return a C object that is freed with its last reference. Raises BedError where there is none."""
    if pointer == ffi.NULL:
        raise BedError("test bed: out of memory")
    return ffi.gc(pointer, free)


def link_struct(config: LinkConfig) -> tuple[Any, list[Any]]:
    """Return a struct ccdrl_link_config * of this library and what must stay alive with it. Raises InputError."""
    theirs, kept = conversion.convert_link(config)
    return copy_struct("struct ccdrl_link_config *", theirs), [theirs, *kept]


def event_struct(config: EventConfig, n_links: int) -> Any:
    """Return a struct ccdrl_event_config * of this library. Raises InputError."""
    return copy_struct("struct ccdrl_event_config *", conversion.convert_event(config, n_links))


def copy_struct(ctype: str, theirs: Any) -> Any:
    """Return a copy of a struct of the simulator's library: the same headers, so the same layout; pointers stay."""
    ours = ffi.new(ctype)
    ffi.buffer(ours)[:] = simulator.ffi.buffer(theirs)[:]
    return ours


def address(index: int | None) -> str:
    """Return the address of the sender's end of a route, None for the receiver's."""
    value = ADDRESS_RECEIVER if index is None else ADDRESS_SENDERS + index
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))
