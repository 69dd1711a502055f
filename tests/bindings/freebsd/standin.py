# SPDX-License-Identifier: BSD-2-Clause
"""A FreeBSD kernel as libc shows it: modules, sysctls, and system calls by number. `standin.c` asks this object."""

import errno
import struct
from pathlib import Path

import numpy as np

import ccdrl
from ccdrl.bindings.freebsd.transport import V1_QUEUE_RECORDS, V1_RECORD_DTYPE
from ccdrl.bindings.library import ACTION_DTYPE, SAMPLE_DTYPE

HERE = Path(__file__).resolve().parent
NATIVE = Path(ccdrl.__file__).parent / "bindings" / "freebsd" / "native"
DECLARATIONS = """
struct standin_answer { int result; int error; };
extern void (*standin_call)(int number, uint64_t a, uint64_t b, uint64_t c, struct standin_answer *out);
extern void (*standin_modfind)(const char *name, struct standin_answer *out);
extern void (*standin_modstat)(int id, int *number, struct standin_answer *out);
extern void (*standin_sysctl)(const char *name, void *old, size_t *size, struct standin_answer *out);
"""
GET_BUFFER, UPDATE_CWND = "sys/drl_get_buffer", "sys/drl_update_cwnd"
UINT32 = 2**32 - 1


class StandInKernel:
    """modules   {name: (module id, call number)}
    sysctls   {name: bytes}
    calls     {number: function of three words that returns (result, errno)}
    """

    def __init__(self, ffi, lib):
        self._ffi, self._lib = ffi, lib
        self.modules, self.sysctls, self.calls = {}, {}, {}
        self.asked = []
        word = "uint64_t"
        self._kept = [
            ffi.callback(f"void(int, {word}, {word}, {word}, struct standin_answer *)", self._call),
            ffi.callback("void(char *, struct standin_answer *)", self._modfind),
            ffi.callback("void(int, int *, struct standin_answer *)", self._modstat),
            ffi.callback("void(char *, void *, size_t *, struct standin_answer *)", self._sysctl),
        ]
        lib.standin_call, lib.standin_modfind, lib.standin_modstat, lib.standin_sysctl = self._kept

    def close(self):
        """Answer no more."""
        for name in ("standin_call", "standin_modfind", "standin_modstat", "standin_sysctl"):
            setattr(self._lib, name, self._ffi.NULL)

    def _call(self, number, a, b, c, out):
        self.asked.append(number)
        out.result, out.error = self.calls[number](a, b, c) if number in self.calls else (-1, errno.ENOSYS)

    def _modfind(self, name, out):
        module = self.modules.get(self._ffi.string(name).decode())
        out.result, out.error = (module[0], 0) if module is not None else (-1, errno.ENOENT)

    def _modstat(self, module_id, number, out):
        for known, call in self.modules.values():
            if known == module_id:
                number[0] = call
                return
        out.error = errno.ENOENT

    def _sysctl(self, name, old, size, out):
        value = self.sysctls.get(self._ffi.string(name).decode())
        if value is None:
            out.error = errno.ENOENT
            return
        kept = value[: size[0]]
        self._ffi.memmove(old, kept, len(kept))
        size[0] = len(kept)
        out.error = errno.ENOMEM if len(kept) < len(value) else 0

    def load_v2(self, get_buffer, update_cwnd, first_id=100, first_number=210):
        """Do what kldload does: the calls get the numbers first_number and the next one."""
        self.modules = {GET_BUFFER: (first_id, first_number), UPDATE_CWND: (first_id + 1, first_number + 1)}
        self.calls = {first_number: get_buffer, first_number + 1: update_cwnd}
        self.sysctls["net.inet.tcp.cc.ccdrl.expired"] = struct.pack("=Q", 0)

    def serve_v2(self, datapath):
        """Put a datapath of ABI v2 behind the two calls."""

        def get_buffer(samples, count, _):
            room = self._ffi.cast("uint32_t *", count)
            rows = datapath.read_samples()
            assert len(rows) <= room[0]
            self._view(samples, SAMPLE_DTYPE, len(rows))[:] = rows
            room[0] = len(rows)
            return 0, 0

        def update_cwnd(actions, n, results):
            rows = self._view(actions, ACTION_DTYPE, n & UINT32)
            self._view(results, np.dtype(np.int32), n & UINT32)[:] = datapath.write_actions(rows.copy())
            return 0, 0

        self.load_v2(get_buffer, update_cwnd)

    def serve_v1(self, kernel, osreldate=1301000, controllers=b"newreno\ncubic\ndrl"):
        """Put a replica of ABI v1 behind its numbers."""

        def get_buffer(data, size, _):
            records = np.zeros(V1_QUEUE_RECORDS, V1_RECORD_DTYPE)
            count = kernel.get_buffer(records)
            if count == 0:
                return -1, 0
            self._view(data, V1_RECORD_DTYPE, count)[:] = records[:count]
            self._ffi.cast("int *", size)[0] = count
            return 0, 0

        def update_cwnd(cwnd, local_addr, local_port):
            kernel.update_cwnd(cwnd & UINT32, local_addr & UINT32, local_port & UINT32)
            return 0, 0

        self.calls = {583: update_cwnd, 584: get_buffer}
        self.sysctls["kern.osreldate"] = struct.pack("=i", osreldate)
        self.sysctls["net.inet.tcp.cc.available"] = controllers
        self.sysctls["kern.clockrate"] = struct.pack("=5i", kernel.hz, 10**6 // kernel.hz, 0, 127, 8128)

    def _view(self, address, dtype, count):
        buffer = self._ffi.buffer(self._ffi.cast("char *", address), count * dtype.itemsize)
        return np.frombuffer(buffer, dtype)
