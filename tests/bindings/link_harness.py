# SPDX-License-Identifier: BSD-2-Clause
"""One simulated link alone in Python: link_driver.c, compiled once a session, behind the class `Link`."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import cffi
import numpy as np

from ccdrl.bindings.stats import LinkStats

ROOT = Path(__file__).resolve().parents[2]
CSIM = ROOT / "bindings" / "csim"
SOURCES = ["link", "link_setup", "link_stats", "aqm_red", "aqm_pie", "aqm_codel", "trace", "loss", "ring"]
FLAGS = ["-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-shared", "-fPIC"]
INCLUDES = [f"-I{CSIM}", f"-I{ROOT / 'kmod' / 'include'}"]
DRIVER = Path(__file__).with_name("link_driver.c")

MS = 1_000_000
S = 1_000_000_000
CE, LOST = 1, 2

RECORD = np.dtype(
    [
        ("time_ns", "i8"),
        ("sent_ns", "i8"),
        ("departure_ns", "i8"),
        ("seq", "u4"),
        ("flags", "u4"),
        ("is_dropped", "u4"),
        ("subflow", "u4"),
    ]
)


def _run(*command: str | Path) -> str:
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


@functools.cache
def _library() -> tuple[Any, Any]:
    """(ffi, lib); CCDRL_TEST_CFLAGS adds compiler flags, for instance -fsanitize=address,undefined."""
    ffi = cffi.FFI()
    header = _run("gcc", "-E", "-P", "-DCCDRL_CFFI", CSIM / "csim.h")
    ffi.cdef(header[: header.index("struct ccdrl_sim;")])
    prototypes = re.findall(r"^\w[\w *]*\bdriver_\w+\([^)]*\)", DRIVER.read_text(), flags=re.MULTILINE)
    ffi.cdef("struct driver; struct record;")
    ffi.cdef("\n".join(f"{line};" for line in prototypes if not line.startswith("static")))
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "liblink.so"
        extra = os.environ.get("CCDRL_TEST_CFLAGS", "").split()
        sources = [CSIM / f"{name}.c" for name in SOURCES]
        _run("gcc", *FLAGS, *extra, *INCLUDES, DRIVER, *sources, "-o", library, "-lm")
        return ffi, ffi.dlopen(str(library))


class Link:
    """A link under test; keyword arguments are fields of struct ccdrl_link_config, `loss` a dict, `trace` see below.

    trace: (period_ns, times_ns) for delivery opportunities, (period_ns, times_ns, rates_bps) for a rate.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        index: int = 0,
        loss: dict[str, Any] | None = None,
        trace: tuple[Any, ...] | None = None,
        **fields: Any,
    ) -> None:
        self.ffi, self.lib = _library()
        config = self.ffi.new("struct ccdrl_link_config *", fields)
        config.loss = loss or {}
        if trace is not None:
            times = self.ffi.new("int64_t[]", [int(time) for time in trace[1]])
            rates = self.ffi.new("double[]", list(trace[2])) if len(trace) > 2 else self.ffi.NULL
            kind = self.lib.CCDRL_TRACE_RATE if len(trace) > 2 else self.lib.CCDRL_TRACE_OPPORTUNITIES
            arrays = {"time_ns": times, "rate_bps": rates}
            config.trace = {"kind": kind, "n": len(trace[1]), "period_ns": trace[0], **arrays}
        driver = self.lib.driver_new(seed, index, config)
        self.driver = self.ffi.gc(driver, self.lib.driver_free)
        error = self.ffi.string(self.lib.driver_error(self.driver)).decode()
        if error:
            raise ValueError(error)
        self._next_seq = 0

    def send(self, time_ns: int, wire_bytes: int = 1500, *, count: int = 1, subflow: int = 0) -> None:
        """`count` packets arrive at one time; they are numbered in the order of arrival."""
        for _ in range(count):
            self.lib.driver_send(self.driver, int(time_ns), wire_bytes, self._next_seq, subflow)
            self._next_seq += 1

    def run(self, until_ns: int) -> None:
        self.lib.driver_run(self.driver, int(until_ns))

    def event(self, at_ns: int, kind: str, **fields: Any) -> None:
        """`kind`: rate, delay, loss, down, up."""
        fields["kind"] = getattr(self.lib, f"CCDRL_EVENT_{kind.upper()}")
        self.lib.driver_event(self.driver, self.ffi.new("struct ccdrl_event_config *", {"at_ns": int(at_ns), **fields}))

    def records(self, start: int = 0) -> np.ndarray[Any, Any]:
        """What came out so far, but for the first `start`: dtype RECORD, in the order of time."""
        n = self.lib.driver_record_count(self.driver) - start
        if n == 0:
            return np.zeros(0, RECORD)
        address = self.ffi.cast("char *", self.lib.driver_records(self.driver)) + start * RECORD.itemsize
        return np.frombuffer(self.ffi.buffer(address, n * RECORD.itemsize), RECORD).copy()

    def arrived(self) -> np.ndarray[Any, Any]:
        records = self.records()
        return np.asarray(records[records["is_dropped"] == 0])

    def dropped(self) -> np.ndarray[Any, Any]:
        records = self.records()
        return np.asarray(records[records["is_dropped"] == 1])

    def arrival_times(self) -> list[int]:
        return [int(time) for time in self.arrived()["time_ns"]]

    def stats(self) -> LinkStats:
        out = self.ffi.new("struct ccdrl_link_stats *")
        self.lib.driver_stats(self.driver, out)
        return LinkStats(*(getattr(out, field.name) for field in fields(LinkStats)))

    def stats_reset(self) -> None:
        self.lib.driver_stats_reset(self.driver)

    def inside(self, subflow: int = 0) -> int:
        return int(self.lib.driver_packets_of(self.driver, subflow))

    def backlog_ns(self) -> int:
        return int(self.lib.driver_backlog_ns(self.driver))


def queue_kind(name: str) -> int:
    """The value of enum ccdrl_queue_kind."""
    return int(getattr(_library()[1], f"CCDRL_QUEUE_{name.upper()}"))


def bernoulli(p: float) -> dict[str, Any]:
    return {"kind": _library()[1].CCDRL_LOSS_BERNOULLI, "p": p}


def gilbert_elliott(
    good_to_bad: float, bad_to_good: float, loss_good: float = 0.0, loss_bad: float = 1.0
) -> dict[str, Any]:
    return {
        "kind": _library()[1].CCDRL_LOSS_GILBERT_ELLIOTT,
        "good_to_bad": good_to_bad,
        "bad_to_good": bad_to_good,
        "loss_good": loss_good,
        "loss_bad": loss_bad,
    }
