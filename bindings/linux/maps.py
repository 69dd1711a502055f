# SPDX-License-Identifier: BSD-2-Clause
"""The five shared maps: opened from a folder of pins and checked before a byte of them is believed."""

import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.errors import DatapathError
from ccdrl.bindings.library import ABI_VERSION, COUNTERS_DTYPE
from ccdrl.bindings.linux.library import (
    CHANGES_DTYPE,
    CONTROL_DTYPE,
    INFO_DTYPE,
    LAYOUT,
    MAGIC,
    SLOTS_MAX,
    STATE_DTYPE,
    check_errno,
    ffi,
    lib,
)

PIN_DIR = "/sys/fs/bpf/ccdrl"
"""Where the loader pins what agents need."""
MAP_PREFIX = "ccdrl_"
DTYPES = {
    "states": STATE_DTYPE,
    "changes": CHANGES_DTYPE,
    "info": INFO_DTYPE,
    "controls": CONTROL_DTYPE,
    "tally": COUNTERS_DTYPE,
}
WRITABLE = ("controls", "tally")
SINGLE = ("info", "tally")


@dataclass(frozen=True)
class Maps:
    """The maps as numpy arrays: one row for each slot, one row of info and of tally.

    controls and tally are None for a process that may only read.
    """

    states: NDArray[Any]
    changes: NDArray[Any]
    info: NDArray[Any]
    controls: NDArray[Any] | None
    tally: NDArray[Any] | None

    @property
    def slots(self) -> int:
        """How many subflows have a place."""
        return int(self.states.size)


def make_memory_maps(slots: int, *, cwnd_max_bytes: int = 1 << 24) -> Maps:
    """Return maps in plain memory, empty: no kernel behind them. Whoever writes states and changes plays the kernel."""
    info = np.zeros(1, INFO_DTYPE)
    info["magic"], info["abi"], info["layout"] = MAGIC, ABI_VERSION, LAYOUT
    info["slots"], info["cwnd_max_bytes"] = slots, cwnd_max_bytes
    return Maps(
        states=np.zeros(slots, STATE_DTYPE),
        changes=np.zeros(slots, CHANGES_DTYPE),
        info=info,
        controls=np.zeros(slots, CONTROL_DTYPE),
        tally=np.zeros(1, COUNTERS_DTYPE),
    )


def open_maps(pin_dir: str | Path) -> Maps:
    """Return the maps pinned in a folder; DatapathError if there are none or not ours, PermissionError if refused.

    A process that may read but not write the controls gets `controls=None` and `tally=None`.
    """
    folder = Path(pin_dir)
    info = _map_pin(folder, "info", 1, is_writable=False)
    _check_info(folder, info[0])
    slots = int(info[0]["slots"])
    arrays: dict[str, NDArray[Any] | None] = {}
    for name in ("states", "changes", *WRITABLE):
        rows = 1 if name in SINGLE else slots
        try:
            arrays[name] = _map_pin(folder, name, rows, is_writable=name in WRITABLE)
        except PermissionError:
            if name not in WRITABLE:
                raise
            arrays[name] = None
    is_writable = all(arrays[name] is not None for name in WRITABLE)
    states, changes = arrays["states"], arrays["changes"]
    assert states is not None and changes is not None
    return Maps(
        states=states,
        changes=changes,
        info=info,
        controls=arrays["controls"] if is_writable else None,
        tally=arrays["tally"] if is_writable else None,
    )


def _check_info(folder: Path, info: Any) -> None:
    if info["magic"] != MAGIC:
        raise DatapathError(f"datapath linux: {folder}/info is not of ccdrl")
    if info["abi"] != ABI_VERSION or info["layout"] != LAYOUT:
        raise DatapathError(
            f"datapath linux: {folder} speaks ABI {info['abi']} layout {info['layout']}, "
            f"this program ABI {ABI_VERSION} layout {LAYOUT}; unload and load again with this version"
        )
    if not 1 <= info["slots"] <= SLOTS_MAX:
        raise DatapathError(f"datapath linux: {folder}/info names {info['slots']} slots, expected 1 to {SLOTS_MAX}")


def _map_pin(folder: Path, name: str, rows: int, *, is_writable: bool) -> NDArray[Any]:
    """Map one pin: its shape must be that of `rows` structs of our layout."""
    path = str(folder / name)
    try:
        fd = check_errno(lib.ccdrl_bpf_open(os.fsencode(path)), path)
    except PermissionError as error:
        if os.access(path, os.R_OK):  # a file of another kind
            raise DatapathError(f"datapath linux: {path} is no pinned map") from None
        raise PermissionError(error.errno, f"datapath linux: no permission to open {path}; see load --group") from None
    except FileNotFoundError:
        raise DatapathError(f"datapath linux: nothing is loaded: no {path}; run `ccdrl-linux load` as root") from None
    except OSError as error:
        raise DatapathError(f"datapath linux: {path} is no pinned map ({error.strerror})") from None
    try:
        dtype = DTYPES[name]
        shape = ffi.new("struct ccdrl_map_shape *")
        is_map = lib.ccdrl_bpf_shape(fd, shape) == 0
        if not is_map or (shape.key_bytes, shape.value_bytes, shape.entries) != (4, dtype.itemsize, rows):
            raise DatapathError(
                f"datapath linux: {path} has {shape.entries} entries of {shape.value_bytes} bytes, "
                f"expected {rows} of {dtype.itemsize}"
            )
        access = mmap.PROT_READ | (mmap.PROT_WRITE if is_writable else 0)
        page = mmap.PAGESIZE
        # Elements stand 8 bytes aligned and the kernel maps whole pages.
        size = (rows * -(-dtype.itemsize // 8) * 8 + page - 1) // page * page
        memory = mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=access)
    except OSError as error:
        raise DatapathError(f"datapath linux: {path} cannot be mapped ({error.strerror})") from None
    finally:
        os.close(fd)
    return np.frombuffer(memory, dtype, rows)
