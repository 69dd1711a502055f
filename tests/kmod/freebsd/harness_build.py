# SPDX-License-Identifier: BSD-2-Clause
"""Builds the kernel that harness.py runs, into build/freebsd/harness, again only when a source changed.

The model is compiled with FreeBSD's headers and the module's own flags, the host with gcc. The model's names (malloc,
printf, free ...) would clash with libc's: so its objects are linked into one, which gets a table of its symbols for the
loader, and then keeps none of them global but the host's.
"""

import fcntl
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ccdrl.tests.kmod.freebsd import toolchain

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SOURCES = HERE / "harness"
BUILD = ROOT / "build" / "freebsd" / "harness"
HOST_SOURCES = ("host", "loader", "main", "interrupt", "hammer")
HOST_FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fno-pie")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-sanitize=null,alignment")
LIBC = ("memcmp", "memcpy", "memmove", "memset", "strcmp", "strlen", "strncmp", "bcmp", "bzero", "strnlen", "strchr")
"""What the kernel has of libc's functions, and compilers call."""


def run(command: Sequence[object]) -> str:
    """The command's output; raises RuntimeError with what it wrote on stderr."""
    words = [str(word) for word in command]
    process = subprocess.run(words, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {process.stderr.strip()}")
    return process.stdout


@contextmanager
def building(target: Path) -> Iterator[None]:
    """One process at a time builds this file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_kernel(release: int, *, invariants: bool, sanitize: bool) -> Path:
    """The harness for this release of FreeBSD, with `sanitize` for modules built with gcc's sanitizers."""
    name = f"kernel-{release}{'-invariants' if invariants else ''}{'-sanitize' if sanitize else ''}"
    target = BUILD / name / "kernel"
    with building(target):
        if not is_current(target, [*SOURCES.iterdir(), Path(__file__), Path(toolchain.__file__)]):
            link_kernel(target, release, invariants=invariants, sanitize=sanitize)
    return target


def link_kernel(target: Path, release: int, *, invariants: bool, sanitize: bool) -> None:
    """Compile host and model, and link them to `target`."""
    folder = target.parent
    model = build_model(folder, release, invariants=invariants, sanitize=sanitize)
    flags = [*HOST_FLAGS, f"-I{SOURCES}", f"-I{ROOT / 'kmod' / 'include'}"]
    # Without sanitizers the host must be static: the module's memory and libc's functions then lie within 2 GiB.
    link = ["-static", "-no-pie"]
    if sanitize:
        flags += ["-fsanitize=address,undefined"]
        link = ["-no-pie", "-static-libasan", "-static-libubsan"]
    objects = []
    for source in HOST_SOURCES:
        objects.append(folder / f"{source}.o")
        run(["gcc", *flags, "-c", SOURCES / f"{source}.c", "-o", objects[-1]])
    run(["gcc", *flags, *link, "-o", f"{target}.new", *objects, model, "-lpthread"])
    Path(f"{target}.new").replace(target)


def build_model(folder: Path, release: int, *, invariants: bool, sanitize: bool) -> Path:
    """All of the model as one object whose only global names are those of host.h."""
    compiler = [*toolchain.compiler(release), *toolchain.compile_flags(release, invariants=invariants)]
    objects = []
    for source in sorted(SOURCES.glob("model*.c")):
        objects.append(folder / f"{source.stem}.o")
        run([*compiler, f"-I{SOURCES}", "-c", source, "-o", objects[-1]])
    whole = folder / "model.o"
    run(["ld", "-r", "-o", whole, *objects])
    table = folder / "symbols.s"
    table.write_text(symbol_table(list_symbols(whole), sanitize=sanitize))
    run(["gcc", "-c", table, "-o", folder / "symbols.o"])
    linked = folder / "linked.o"
    run(["ld", "-r", "-o", linked, whole, folder / "symbols.o"])
    keep = folder / "keep.txt"
    keep.write_text("\n".join(["host_symbols", "host_symbols_count", *host_interface()]))
    run(["objcopy", f"--keep-global-symbols={keep}", linked, folder / "kernel_model.o"])
    return folder / "kernel_model.o"


def host_interface() -> list[str]:
    """The model's functions in host.h."""
    return re.findall(r"\b(model_\w+)\(", (SOURCES / "host.h").read_text())


def list_symbols(path: Path) -> list[str]:
    """Global symbols that an object defines, but for the interface to the host."""
    names = [line.split()[0] for line in run(["nm", "-P", "-g", "--defined-only", path]).splitlines()]
    return [name for name in names if not name.startswith("model_")]


def symbol_table(names: Iterable[str], *, sanitize: bool) -> str:
    """Assembly of `host_symbols`: names and addresses that modules may import."""
    wanted = sorted({*names, *LIBC, *(list_sanitizer_symbols() if sanitize else ())})
    lines = [".section .rodata", ".balign 8", ".globl host_symbols", "host_symbols:"]
    for index, name in enumerate(wanted):
        lines.append(f".quad name_{index}, {name}")
    lines += [".globl host_symbols_count", "host_symbols_count:", f".quad {len(wanted)}"]
    lines += [f'name_{index}: .asciz "{name}"' for index, name in enumerate(wanted)]
    return "\n".join([*lines, '.section .note.GNU-stack,"",@progbits', ""])


def list_sanitizer_symbols() -> list[str]:
    """Functions that gcc's instrumentation calls, from the libraries that have them."""
    wanted = re.compile(
        r"__asan_(option|report|handle|register|unregister|version|init|stack|alloca|load|store|before|after|poison|unpoison)\w*"
        r"|__ubsan_handle_(?!dynamic|cfi|function_type)\w*"  # these three are of C++
    )
    found: set[str] = set()
    for library in ("libasan.a", "libubsan.a"):
        path = run(["gcc", f"-print-file-name={library}"]).strip()
        names = (
            line.split()[0] for line in run(["nm", "-P", "-g", "--defined-only", path]).splitlines() if " " in line
        )
        found |= {name for name in names if wanted.fullmatch(name)}
    return sorted(found)


def build_module(
    release: int, *, invariants: bool, sanitize: bool, units: Sequence[Path] | None = None, folder: Path | None = None
) -> Path:
    """The module's object from the project's sources; from other `units`, into a `folder` of their own, where given."""
    name = f"module-{release}{'-invariants' if invariants else ''}{'-sanitize' if sanitize else ''}"
    target = (folder or BUILD / name) / "ccdrl.ko"
    units = units or toolchain.list_units()
    headers = [path for each in (toolchain.SOURCES_FOLDER, toolchain.INCLUDE_FOLDER) for path in each.glob("*.h")]
    with building(target):
        if not is_current(target, [*units, *headers, Path(__file__), Path(toolchain.__file__)]):
            if sanitize:
                link_sanitized(target, release, units, invariants=invariants)
            else:
                toolchain.build_module(release, invariants=invariants, sources=units, out=target)
    return target


def link_sanitized(target: Path, release: int, units: Sequence[Path], *, invariants: bool) -> None:
    """The same sources through gcc, which checks every access to memory and what C leaves undefined."""
    flags = [*toolchain.header_flags(release, invariants=invariants), f"-D__FreeBSD_version={kernel_version(release)}"]
    flags += ["-std=gnu17", "-fwrapv", "-ffreestanding", "-g", "-O1", "-fno-omit-frame-pointer", "-fno-pic"]
    objects = []
    for unit in units:
        objects.append(target.parent / f"{unit.stem}.o")
        run(["gcc", *SANITIZERS, *flags, f"-I{unit.parent}", "-c", unit, "-o", objects[-1]])
    run(["ld", "-r", "-o", f"{target}.new", *objects])
    Path(f"{target}.new").replace(target)


def kernel_version(release: int) -> int:
    """__FreeBSD_version, which zig derives from its target and gcc has to be told."""
    command = [*toolchain.compiler(release), *toolchain.compile_flags(release, invariants=True)]
    macros = run([*command, "-dM", "-E", "-x", "c", "/dev/null"])
    found = re.search(r"#define __FreeBSD_version (\d+)", macros)
    if found is None:
        raise RuntimeError(f"no __FreeBSD_version for release {release}")
    return int(found[1])


def is_current(target: Path, sources: Iterable[Path]) -> bool:
    """Whether `target` is newer than everything it is made of."""
    return target.exists() and all(path.stat().st_mtime <= target.stat().st_mtime for path in sources)


def lacking() -> str | None:
    """A tool that this machine lacks, None when it has all."""
    return next((tool for tool in ("gcc", "ld", "nm", "objcopy") if shutil.which(tool) is None), None)
