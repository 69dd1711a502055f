# SPDX-License-Identifier: BSD-2-Clause
"""The FreeBSD binding's C, compiled on this machine against stand-ins for FreeBSD's headers and kernel."""

import functools
import importlib
import sys

import cffi
import pytest

from ccdrl.bindings import _build
from ccdrl.tests.bindings.freebsd.standin import DECLARATIONS, HERE, NATIVE, StandInKernel


@functools.cache
def load_native(folder):
    """Build and import `ccdrl.bindings.freebsd.system`, once for all modules that use the fixture below."""
    builder = cffi.FFI()
    builder.cdef(_build.INTERFACE)
    builder.cdef(_build.preprocess(NATIVE / "native.h"))
    builder.cdef(DECLARATIONS)
    builder.set_source(
        "_freebsd",
        _build.PREAMBLE.format(header="native.h") + '#include "standin.h"\n',
        sources=[str(path) for path in (*sorted(NATIVE.glob("*.c")), HERE / "standin.c")],
        include_dirs=[str(HERE / "standin"), str(HERE), str(NATIVE), str(_build.KMOD)],
        extra_compile_args=["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-g"],
    )
    builder.compile(tmpdir=str(folder))
    sys.path.insert(0, str(folder))
    try:
        sys.modules["ccdrl.bindings.freebsd._freebsd"] = importlib.import_module("_freebsd")
    finally:
        sys.path.remove(str(folder))
    return importlib.import_module("ccdrl.bindings.freebsd.system")


@pytest.fixture(scope="session")
def native(tmp_path_factory):
    """Return `ccdrl.bindings.freebsd.system` over the compiled calls; syscall(2) and its like are not FreeBSD's."""
    return load_native(tmp_path_factory.getbasetemp())


@pytest.fixture
def machine(native):
    """Return the kernel that answers the compiled calls, empty."""
    kernel = StandInKernel(native.ffi, native.lib)
    yield kernel
    kernel.close()
