# SPDX-License-Identifier: BSD-2-Clause
"""Puts the BPF controllers into the kernel and takes them out again.

    PIN_DIR/states changes info     read by agents of the group; frozen, so that nobody can write them
    PIN_DIR/controls tally          written by them
    PIN_DIR/ops/NAME                one registered controller each; the loader's alone

A pin comes before its registration, so that a loader which dies leaves nothing that `unload` cannot find. Connections
outlive an unload: the kernel keeps a controller's code for the sockets that use it, and they go on in fallback.
"""

import errno
import grp
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ccdrl.bindings.checks import check_integer
from ccdrl.bindings.errors import DatapathError, InputError
from ccdrl.bindings.library import ABI_VERSION
from ccdrl.bindings.linux.library import (
    CWND_MAX_BYTES,
    LAYOUT,
    MAGIC,
    SLOTS_MAX,
    check_errno,
    ffi,
    lib,
)
from ccdrl.bindings.linux.machine import check_machine, list_controllers
from ccdrl.bindings.linux.maps import DTYPES, MAP_PREFIX, PIN_DIR, WRITABLE

OBJECTS = Path(__file__).resolve().parent / "objects"
"""Compiled controllers that came with the package."""
SLOTS_DEFAULT = 4096
CWND_MAX_DEFAULT_BYTES = 1 << 26
CWND_MIN_BYTES = 1 << 16
LOG_BYTES = 1 << 16
OPS = "ops"
STRUCT_OPS: int = lib.CCDRL_MAP_STRUCT_OPS


def find_objects() -> list[Path]:
    """Return the compiled controllers of the package; DatapathError if there are none."""
    objects = sorted(OBJECTS.glob("*.bpf.o"))
    if not objects:
        raise DatapathError(
            f"load: no BPF objects in {OBJECTS}; "
            "install clang, llvm, bpftool and libbpf-dev and run `make -C kmod/linux`"
        )
    return objects


def load(
    objects: Sequence[Path] = (),
    *,
    pin_dir: Path = Path(PIN_DIR),
    slots: int = SLOTS_DEFAULT,
    cwnd_max_bytes: int = CWND_MAX_DEFAULT_BYTES,
    group: str | None = None,
) -> list[str]:
    """Load objects (the package's by default), register their controllers, and return the controllers' names.

    slots           subflows that agents can see at once; later ones run in fallback
    cwnd_max_bytes  highest window that an action or the fallback may set
    group           whose members may read samples and write windows; without one, root's alone

    Raises InputError, DatapathError and PermissionError, each with one line; then nothing stays behind.
    """
    check_integer("slots", slots, 1, SLOTS_MAX)
    check_integer("cwnd_max_bytes", cwnd_max_bytes, CWND_MIN_BYTES, CWND_MAX_BYTES)
    gid = _find_group(group)
    for path in objects:
        if not path.is_file():
            raise InputError(f"objects: no such file: {path}")
    check_machine(pin_dir)
    if pin_dir.exists():
        raise DatapathError(f"load: {pin_dir} exists: ccdrl is loaded already; unload it first")
    loader = _Loader(pin_dir, slots, cwnd_max_bytes)
    try:
        (pin_dir / OPS).mkdir(mode=0o700, parents=True)
        for path in objects or find_objects():
            loader.add(path)
        loader.share(gid)
        loader.register()
    except OSError as error:
        loader.undo()
        if error.errno in (errno.EPERM, errno.EACCES):
            raise PermissionError(error.errno, f"load: not permitted: {error.filename or error}") from None
        raise DatapathError(f"load: {error.strerror or error}") from None
    except BaseException:
        loader.undo()
        raise
    finally:
        loader.close()
    return sorted(loader.controllers)


def _find_group(group: str | None) -> int | None:
    if group is None:
        return None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise InputError(f"group: no group named {group!r} on this machine") from None


class _Loader:
    """One load in progress."""

    def __init__(self, pin_dir: Path, slots: int, cwnd_max_bytes: int) -> None:
        self.controllers: list[str] = []
        self._pin_dir = pin_dir
        self._slots = slots
        self._cwnd_max_bytes = cwnd_max_bytes
        self._objects: list[tuple[Path, Any, list[str]]] = []
        self._log = ffi.new("char[]", LOG_BYTES)

    def add(self, path: Path) -> None:
        """Load one object, fill its maps and pin what is shared."""
        error = ffi.new("int *")
        handle = lib.ccdrl_object_load(os.fsencode(path), self._slots, self._log, LOG_BYTES, error)
        if handle == ffi.NULL:
            raise self._explain(path.name, -error[0])
        names: list[str] = []
        self._objects.append((path, handle, names))
        maps = ffi.new("struct ccdrl_object_map[]", lib.CCDRL_OBJECT_MAPS_MAX)
        for found in maps[0 : lib.ccdrl_object_maps(handle, maps, len(maps))]:
            name = ffi.string(found.name).decode()
            shared = name.removeprefix(MAP_PREFIX)
            if found.type == STRUCT_OPS:
                names.append(name)
                self._pin(found.fd, Path(OPS) / name)
            elif name == f"{MAP_PREFIX}slots":
                self._fill_slots(found.fd)
            elif shared in DTYPES and name != shared:
                if shared == "info":
                    self._fill_info(found.fd)
                if shared not in WRITABLE:
                    check_errno(lib.ccdrl_bpf_freeze(found.fd), name)
                self._pin(found.fd, Path(shared))

    def _pin(self, fd: int, name: Path) -> None:
        path = str(self._pin_dir / name)
        check_errno(lib.ccdrl_bpf_pin(fd, os.fsencode(path)), path)

    def _fill_slots(self, fd: int) -> None:
        slot = ffi.new("uint32_t *")
        for index in range(self._slots):
            slot[0] = index
            check_errno(lib.ccdrl_bpf_update(fd, ffi.NULL, slot), f"{MAP_PREFIX}slots")

    def _fill_info(self, fd: int) -> None:
        info = ffi.new("struct ccdrl_linux_info *")
        info.magic, info.abi, info.layout = MAGIC, ABI_VERSION, LAYOUT
        info.slots, info.cwnd_max_bytes = self._slots, self._cwnd_max_bytes
        info.loaded_us = lib.ccdrl_clock_us()
        check_errno(lib.ccdrl_bpf_update(fd, ffi.new("uint32_t *"), info), f"{MAP_PREFIX}info")

    def share(self, gid: int | None) -> None:
        """Let a group map what is shared, of which it can write controls and tally; without one, only the owner."""
        for name in DTYPES:
            path = self._pin_dir / name
            if not path.exists():
                continue
            if gid is not None:
                os.chown(path, -1, gid)
            path.chmod(0o660 if gid is not None else 0o600)
        if gid is not None:
            os.chown(self._pin_dir, -1, gid)
        self._pin_dir.chmod(0o750 if gid is not None else 0o700)

    def register(self) -> None:
        """Make the controllers known to TCP: from here on connections may come."""
        for path, handle, names in self._objects:
            for name in names:
                if name in list_controllers():
                    raise DatapathError(f"load: a controller named {name} is registered already; unload it first")
                result = lib.ccdrl_object_register(handle, name.encode(), self._log, LOG_BYTES)
                if result < 0:
                    raise self._explain(f"{path.name}: {name}", -result)
                self.controllers.append(name)

    def _explain(self, what: str, code: int) -> Exception:
        if code == errno.ELIBACC:
            return DatapathError("load: no libbpf.so.1: install libbpf1")
        if code == errno.ELIBBAD:
            return DatapathError("load: libbpf.so.1 lacks a function that the loader needs: update libbpf1")
        lines = [line for line in ffi.string(self._log).decode(errors="replace").splitlines() if line.strip()]
        reason = f": {lines[-1].removeprefix('libbpf: ')}" if lines else ""
        message = f"load: {what}: {os.strerror(code)}{reason}"
        return PermissionError(code, message) if code in (errno.EPERM, errno.EACCES) else DatapathError(message)

    def undo(self) -> None:
        """Take out what is in; a pin without a registration goes alike."""
        _remove(self._pin_dir)

    def close(self) -> None:
        """Let go of the objects: what is pinned or registered stays in the kernel."""
        for _, handle, _ in self._objects:
            lib.ccdrl_object_close(handle)
        self._objects.clear()


def unload(pin_dir: Path = Path(PIN_DIR)) -> list[str]:
    """Take the controllers out of the kernel and return their names; live connections go on in fallback."""
    if not (pin_dir / OPS).is_dir():
        raise DatapathError(f"unload: nothing is loaded: no {pin_dir / OPS}")
    try:
        return _remove(pin_dir)
    except PermissionError as error:
        raise PermissionError(error.errno, f"unload: not permitted: {error.filename}") from None
    except OSError as error:
        raise DatapathError(f"unload: {error.strerror}: {error.filename}") from None


def _remove(pin_dir: Path) -> list[str]:
    names = sorted(path.name for path in (pin_dir / OPS).glob("*"))
    for name in names:
        path = str(pin_dir / OPS / name)
        fd = check_errno(lib.ccdrl_bpf_open(os.fsencode(path)), path)
        try:
            result = lib.ccdrl_bpf_delete(fd, ffi.new("uint32_t *"))
        finally:
            os.close(fd)
        if result != -errno.ENOENT:  # pinned, but never registered
            check_errno(result, path)
    shutil.rmtree(pin_dir)
    return names
