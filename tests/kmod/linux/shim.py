# SPDX-License-Identifier: BSD-2-Clause
"""C sources compiled for user space and called through cffi; undefined behaviour ends the process."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cffi
import pytest

import ccdrl

ROOT = Path(ccdrl.__file__).parent
INCLUDES = (ROOT / "kmod" / "linux", ROOT / "kmod" / "include")
FLAGS = ("-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-shared", "-fPIC")
SANITIZE = ("-fsanitize=undefined", "-fno-sanitize-recover=all")


def build_shim(
    library: Path,
    sources: Sequence[Path],
    declarations: str,
    *,
    includes: Sequence[Path] = INCLUDES,
    sanitize: Sequence[str] = SANITIZE,
    compiler: str = "gcc",
) -> tuple[Any, Any]:
    """Return (ffi, lib) of a shared library, compiled unless it is there; skips where the compiler is missing.

    declarations: the C text of what is called. Hold lib for as long as its functions: cffi closes a library that nobody
    holds.
    """
    if shutil.which(compiler) is None:
        pytest.skip(f"this machine lacks {compiler}")
    if not library.exists():
        folders = [f"-I{folder}" for folder in includes]
        command = [compiler, *FLAGS, *sanitize, *folders, *map(str, sources), "-o", str(library), "-lm"]
        subprocess.run(command, check=True)
    ffi = cffi.FFI()
    ffi.cdef(declarations)
    return ffi, ffi.dlopen(str(library))


def read_declarations(header: Path) -> str:
    """Return what a header of the tree declares for cffi (with CCDRL_CFFI defined); skips without gcc."""
    if shutil.which("gcc") is None:
        pytest.skip("this machine lacks gcc")
    command = ["gcc", "-E", "-P", "-x", "c", "-DCCDRL_CFFI", str(header)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
