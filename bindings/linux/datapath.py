# SPDX-License-Identifier: BSD-2-Clause
"""Linux as a datapath: the subflows of the BPF controller `ccdrl`, through its pinned maps.

Reading and writing are memory accesses: no system call, no capability, no lock that the kernel would wait for.
"""

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import numpy as np

from ccdrl.bindings.checks import check_array, check_integer
from ccdrl.bindings.datapath import Capabilities, Counters, ResultArray
from ccdrl.bindings.errors import DatapathError
from ccdrl.bindings.library import (
    ABI_VERSION,
    ACTION_DTYPE,
    SUBFLOWS_MAX,
    Absent,
    ActionArray,
    SampleArray,
    make_samples,
)
from ccdrl.bindings.linux.library import ffi, lib, pin
from ccdrl.bindings.linux.maps import PIN_DIR, Maps, open_maps

CAPACITY_DEFAULT = 4096


class LinuxDatapath:
    """All subflows of a loaded `ccdrl`, of every network namespace.

    pin_dir    where the loader pinned the maps
    capacity   records that one read returns at most
    maps       maps that are open already, instead of those in pin_dir

    `counters` counts this object's actions and the leases that ran out since it was opened. Where the group may not
    write, samples can be read and `write_actions` raises PermissionError. After an unload `read_samples` raises
    DatapathError: open a new one when `ccdrl` is loaded again.
    """

    def __init__(
        self, pin_dir: str | Path = PIN_DIR, *, capacity: int = CAPACITY_DEFAULT, maps: Maps | None = None
    ) -> None:
        rows = check_integer("capacity", capacity, 1, 2**20)
        self._pin_dir = str(pin_dir)
        self._claim: int | None = None
        self._pin = None if maps is not None else f"{pin_dir}/info"
        self._pin_id = _identify(self._pin) if self._pin is not None else None
        self._maps: Maps | None = maps if maps is not None else open_maps(pin_dir)
        self._samples = self._changed = make_samples(rows)
        # All of these are held for as long as C uses them.
        self._pointer = pin("struct drl_subflow_sample", self._samples)
        self._seen = ffi.new("struct ccdrl_seen[]", self._maps.slots)
        self._seen_changes = ffi.new("uint64_t[]", self._maps.slots)
        self._pins = {
            name: pin(ctype, getattr(self._maps, name), is_written=name in ("controls", "tally"))
            for name, ctype in (
                ("states", "struct ccdrl_state_slot"),
                ("changes", "uint64_t"),
                ("info", "struct ccdrl_linux_info"),
                ("controls", "struct ccdrl_control_slot"),
                ("tally", "struct drl_counters"),
            )
            if getattr(self._maps, name) is not None
        }
        self._reader = ffi.new("struct ccdrl_reader *")
        self._reader.seen, self._reader.seen_changes = self._seen, self._seen_changes
        self._reader.slots = self._maps.slots
        for name, pointer in self._pins.items():
            setattr(self._reader.maps, name, pointer)
        lib.ccdrl_reader_begin(self._reader)
        self._info = self._pins["info"][0]
        self._expired_before = self._info.counters.expired

    @property
    def capabilities(self) -> Capabilities:
        """What Linux can do."""
        return Capabilities(
            name="linux",
            abi=ABI_VERSION,
            absent=Absent(0),
            is_simulated_time=False,
            has_pacing=True,
            subflows_max=SUBFLOWS_MAX,
        )

    def claim(self) -> None:
        """Keep other processes that claim from writing until `close`; the kernel ends it with the process, too.

        Two agents at once undo each other's windows, and each takes what the other does for the network. Raises
        DatapathError where another process has the claim.
        """
        self._require_open()
        if self._claim is not None:
            return
        folder = os.open(self._pin_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(folder)
            raise DatapathError(
                f"datapath linux: another agent sets the windows of {self._pin_dir} already; end it first"
            ) from None
        self._claim = folder

    def read_samples(self) -> SampleArray:
        """Return a view of the records that changed, at most the capacity."""
        self._require_loaded()
        count = lib.ccdrl_reader_read(self._reader, self._pointer, self._samples.size)
        if count != len(self._changed):  # the same array as before, if it can be: users keep pointers to it
            self._changed = self._samples[:count]
        return self._changed

    def write_actions(self, actions: ActionArray) -> ResultArray:
        """Write windows and return one `ActionResult` each; the kernel takes each with the subflow's next ACK."""
        maps = self._require_open()
        rows: Any = check_array("actions", actions, ACTION_DTYPE)
        if maps.controls is None:
            raise PermissionError(errno.EACCES, f"datapath linux: no permission to write {self._pin_dir}/controls")
        results = np.empty(rows.size, np.int32)
        if rows.size:
            source, target = pin("struct drl_cwnd_action", rows), pin("int32_t", results)
            lib.ccdrl_reader_write(self._reader, source, rows.size, target)
        return results

    def counters(self) -> Counters:
        """Return what became of this object's actions, and all leases that ran out since it was opened."""
        self._require_open()
        mine = self._reader.counters
        expired = self._info.counters.expired - self._expired_before
        return Counters(mine.applied, mine.clamped, mine.stale, mine.unknown, mine.malformed, expired)

    def clock_us(self) -> int:
        """Return the time now on the clock of the records (CLOCK_MONOTONIC)."""
        return int(lib.ccdrl_clock_us())

    def close(self) -> None:
        """Let go of the maps: leases run out and the kernel's fallback takes over."""
        if self._maps is not None:
            # Arrays that a caller still holds stay readable: they own their memory.
            self._reader = ffi.NULL
            self._pins.clear()
            self._info = None
            self._maps = None
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def _require_open(self) -> Maps:
        if self._maps is None:
            raise DatapathError("datapath linux: it is closed")
        return self._maps

    def _require_loaded(self) -> None:
        """Maps outlive their pins, but no new subflow would ever come."""
        self._require_open()
        if self._pin is not None and _identify(self._pin) != self._pin_id:
            raise DatapathError(f"datapath linux: {self._pin_dir} was unloaded")


def _identify(path: str) -> tuple[int, int] | None:
    """Return what tells a pin from a later one of the same name, None if it is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
