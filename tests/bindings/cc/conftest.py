# SPDX-License-Identifier: BSD-2-Clause
"""The congestion controllers compiled on their own, with a test bench in place of the simulator.

`bench("lia", 2)` is one connection of two subflows; each is set by its attributes (those of `struct driver_view`) and
driven with `ack`, `ssthresh_ask` and `set_state`. Windows are in segments, times in nanoseconds. Layouts come from the
C headers.
"""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cffi
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CSIM = ROOT / "bindings" / "csim"
CONTROLLERS = ("reno", "cubic", "bbr", "lia", "olia", "balia", "wvegas", "ewtcp", "fixed")
C_FLAGS = ("-std=c11", "-O3", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-fPIC", "-shared")


def c_struct(name: str) -> str:
    """The definition of one struct of a controller's interface, for cffi."""
    text = (CSIM / "controller.h").read_text()
    match = re.search(rf"^struct {name} \{{.*?\}};$", text, re.MULTILINE | re.DOTALL)
    assert match is not None, f"struct {name} is not in controller.h"
    return match.group()


class Subflow:
    """One subflow of the bench: reads and writes the C state field by field."""

    def __init__(self, ffi: Any, lib: Any, driver: Any, index: int, controller: str) -> None:
        self.__dict__.update(_ffi=ffi, _lib=lib, _driver=driver, _index=index)
        self.__dict__["_view"] = ffi.new("struct driver_view *")
        kind = f"struct {controller}_state *"
        private = lib.driver_private(driver, index)
        self.__dict__["private"] = ffi.cast(kind, private) if controller in {"cubic", "bbr", "olia", "wvegas"} else None

    def __getattr__(self, name: str) -> Any:
        self._lib.driver_read(self._driver, self._index, self._view)
        return getattr(self._view, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self.set(**{name: value})

    def set(self, **values: Any) -> None:
        """Sets fields of `struct driver_view`."""
        self._lib.driver_read(self._driver, self._index, self._view)
        for name, value in values.items():
            setattr(self._view, name, value)
        self._lib.driver_write(self._driver, self._index, self._view)

    def init(self, now_ns: int = 1) -> None:
        """The controller's init, on zeroed state."""
        self._lib.driver_init(self._driver, self._index, now_ns)

    def ack(self, acked: int = 1, *, is_limited: bool = True, **fields: Any) -> float:
        """One ACK; returns the new window."""
        values = {"now_ns": 1, "delivered_segments": acked, "acked_segments": acked, "rtt_ns": -1} | fields
        ack = self._ffi.new("struct ack_info *", values | {"is_cwnd_limited": is_limited})
        self._lib.driver_on_ack(self._driver, self._index, ack)
        return float(self.cwnd)

    def ssthresh_ask(self) -> float:
        """What the controller wants ssthresh to be at a congestion episode."""
        return float(self._lib.driver_ssthresh(self._driver, self._index))

    def set_state(self, state: int) -> None:
        """The congestion state changes, and the controller is told."""
        self._lib.driver_set_state(self._driver, self._index, state)

    def undo(self) -> None:
        """The time-out was spurious."""
        self._lib.driver_undo(self._driver, self._index)


class Bench:
    """A connection: `bench[0]` is its first subflow."""

    def __init__(self, ffi: Any, lib: Any, controller: str, n_subflows: int, seed: int) -> None:
        raw = lib.driver_new(controller.encode(), n_subflows, seed)
        assert raw != ffi.NULL
        self.lib = lib
        self.driver = ffi.gc(raw, lib.driver_free)
        self.subflows = [Subflow(ffi, lib, self.driver, index, controller) for index in range(n_subflows)]

    def __getitem__(self, index: int) -> Subflow:
        return self.subflows[index]

    def time_acks(self, n: int) -> float:
        """Seconds that n ACKs take."""
        return float(self.lib.driver_time_acks(self.driver, n))


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bench]:
    """A maker of connections: bench(controller, n_subflows=1, seed=1)."""
    library = tmp_path_factory.mktemp("cc") / "cc_driver.so"
    sources = [HERE / "cc_driver.c", *(CSIM / "cc" / f"cc_{name}.c" for name in CONTROLLERS)]
    command = [os.environ.get("CC", "gcc"), *C_FLAGS, f"-I{CSIM}", f"-I{ROOT / 'kmod' / 'include'}"]
    subprocess.run([*command, *map(str, sources), "-o", str(library), "-lm"], check=True)
    ffi = cffi.FFI()
    for name in ("ack_info", "cubic_state", "olia_state", "wvegas_state", "bbr_state"):
        ffi.cdef(c_struct(name))
    ffi.cdef((HERE / "cc_driver.h").read_text())
    lib = ffi.dlopen(str(library))

    def make(controller: str, n_subflows: int = 1, seed: int = 1) -> Bench:
        return Bench(ffi, lib, controller, n_subflows, seed)

    return make
