# SPDX-License-Identifier: BSD-2-Clause
"""cffi builder of ccdrl.bindings._csim, run by setup.py: declarations come from the C headers, never retyped here."""

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent
CSIM = ROOT / "bindings" / "csim"
HEADERS = (ROOT / "kmod" / "include" / "ccdrl.h", CSIM / "csim.h")
# No fused multiply-add: the same seed gives the same bytes on every machine. LTO inlines across the small files.
OPTIMIZE = ["-O3", "-flto=auto", "-ffp-contract=off"]
SANITIZE = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
WARNINGS = ["-Wall", "-Wextra", "-Werror"]

# What cffi writes around our functions is not ours to fix.
PREAMBLE = """
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include "csim.h"
"""


def preprocess(header: Path) -> str:
    """Return a header as cffi reads it: comments, directives and system types gone."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    command = [*compiler, "-x", "c", "-E", "-P", "-DCCDRL_CFFI", str(header)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def relative(paths: list[Path]) -> list[str]:
    """Return paths relative to the working directory, sorted: setuptools takes no absolute sources."""
    return sorted(os.path.relpath(path) for path in paths)


def make_builder() -> FFI:
    """Return the builder: both headers declared, every C file of the simulator but its own main compiled."""
    builder = FFI()
    for header in HEADERS:
        builder.cdef(preprocess(header))
    sources = [path for path in CSIM.glob("*.c") if path.name != "main.c"] + list(CSIM.glob("cc/*.c"))
    headers = [*HEADERS, *CSIM.glob("*.h"), *CSIM.glob("cc/*.h"), *(ROOT / "kmod" / "include").glob("*.h")]
    # `make sanitize` sets this; CCDRL_DEBUG checks conservation after every run.
    is_sanitized = bool(os.environ.get("CCDRL_SANITIZE"))
    flags = [*SANITIZE, "-ffp-contract=off"] if is_sanitized else OPTIMIZE
    builder.set_source(
        "ccdrl.bindings._csim",
        PREAMBLE,
        sources=relative(sources),
        include_dirs=relative([ROOT / "kmod" / "include", CSIM]),
        depends=relative([*headers, Path(__file__)]),
        extra_compile_args=["-std=c11", "-pthread", "-fvisibility=hidden", *flags, *WARNINGS],
        extra_link_args=["-pthread", *flags],
        define_macros=[("CCDRL_DEBUG", "1")] if is_sanitized else [],
        libraries=["m"],
    )
    return builder


ffibuilder = make_builder()
