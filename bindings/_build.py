# SPDX-License-Identifier: BSD-2-Clause
"""cffi builders of the extensions, run by setup.py: declarations come from the C headers, never retyped here.

_csim            the simulator
decision._decision what an agent computes around its policy
linux._linux     the Linux datapath's side in user space; needs the kernel's headers for user space. The BPF objects are
                 built by kmod/linux/Makefile
freebsd._freebsd the FreeBSD datapath's side in user space: system calls
testbed._testbed the live test bed. Its links are the simulator's own sources, compiled a second time: here packets
                 that leave a link go to a device, there to a simulated receiver, so one library cannot serve both
"""

import os
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent
KMOD = ROOT / "kmod" / "include"
BPF = ROOT / "kmod" / "linux"
CSIM = ROOT / "bindings" / "csim"
DECISION = ROOT / "bindings" / "decision"
NATIVE = ROOT / "bindings" / "linux" / "native"
FREEBSD = ROOT / "bindings" / "freebsd" / "native"
TESTBED = ROOT / "bindings" / "testbed"
LINKS = ("link", "link_setup", "link_stats", "aqm_red", "aqm_pie", "aqm_codel", "trace", "loss", "ring", "tournament")
# `make sanitize` sets this; CCDRL_DEBUG checks conservation after every run.
IS_SANITIZED = bool(os.environ.get("CCDRL_SANITIZE"))
SANITIZE = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
# No fused multiply-add: the same seed gives the same bytes on every machine. LTO inlines across the small files; clang
# takes its "auto" from version 15 on, and FreeBSD has dlopen in libc.
IS_LINUX = sys.platform == "linux"
OPTIMISE = ["-O3", "-flto=auto" if IS_LINUX else "-flto"]
FLAGS = ["-ffp-contract=off", "-pthread", *(SANITIZE if IS_SANITIZED else OPTIMISE)]
WARNINGS = ["-std=c11", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"]

# What cffi writes around our functions is not ours to fix.
PREAMBLE = """
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include "{header}"
"""


def preprocess(header: Path) -> str:
    """Return a header as cffi reads it: comments, directives and system types gone."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    command = [*compiler, "-x", "c", "-E", "-P", "-DCCDRL_CFFI", str(header)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def relative(paths: Iterable[Path]) -> list[str]:
    """Return paths relative to the working directory, sorted: setuptools takes no absolute sources."""
    return sorted(os.path.relpath(path) for path in paths)


def make_builder(
    name: str, header: str, declarations: Sequence[str], sources: Iterable[Path], includes: Sequence[Path]
) -> FFI:
    """Return the builder of ccdrl.bindings.<name>: `header` is included, `declarations` are what Python sees."""
    builder = FFI()
    for text in declarations:
        builder.cdef(text)
    headers = [path for folder in (*includes, CSIM / "cc") for path in folder.glob("*.h")]
    builder.set_source(
        f"ccdrl.bindings.{name}",
        PREAMBLE.format(header=header),
        sources=relative(sources),
        include_dirs=relative(includes),
        depends=relative([*headers, Path(__file__)]),
        extra_compile_args=[*FLAGS, *WARNINGS],
        extra_link_args=FLAGS,
        define_macros=[("CCDRL_DEBUG", "1")] if IS_SANITIZED else [],
        libraries=["m", "dl"] if IS_LINUX else ["m"],
    )
    return builder


SIMULATOR = preprocess(CSIM / "csim.h")
INTERFACE = preprocess(KMOD / "ccdrl.h")

csim = make_builder(
    "_csim",
    "csim.h",
    (INTERFACE, SIMULATOR),
    [path for path in (*CSIM.glob("*.c"), *CSIM.glob("cc/*.c")) if path.name != "main.c"],
    (KMOD, CSIM),
)
decision = make_builder(
    "decision._decision",
    "decision.h",
    (INTERFACE, preprocess(DECISION / "decision.h")),
    (path for path in DECISION.glob("*.c") if path.name != "_decision.c"),
    (KMOD, DECISION),
)
linux = make_builder(
    "linux._linux",
    "native.h",
    (INTERFACE, preprocess(BPF / "ccdrl_linux.h"), preprocess(NATIVE / "native.h")),
    NATIVE.glob("*.c"),
    (KMOD, BPF, NATIVE),
)
freebsd = make_builder(
    "freebsd._freebsd",
    "native.h",
    (INTERFACE, preprocess(FREEBSD / "native.h")),
    FREEBSD.glob("*.c"),
    (KMOD, FREEBSD),
)
testbed = make_builder(
    "testbed._testbed",
    "testbed.h",
    # The calls that follow are the simulator's, and not in this library.
    (SIMULATOR[: SIMULATOR.index("struct ccdrl_sim;")], preprocess(TESTBED / "testbed.h")),
    [
        *(path for path in TESTBED.glob("*.c") if path.name != "_testbed.c"),
        *(CSIM / f"{n}.c" for n in (*LINKS, "histogram")),
    ],
    (KMOD, CSIM, TESTBED),
)
