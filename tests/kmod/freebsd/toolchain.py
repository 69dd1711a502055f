# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD's headers and a compiler for them, on Linux: builds kmod/freebsd as bsd.kmod.mk does on FreeBSD.

The package `ziglang` carries the headers of a FreeBSD release, those of the kernel too; ck's, which the kernel has of
its own, come from libck-dev. Everything is installed and built below build/freebsd, once.

    python -m ccdrl.tests.kmod.freebsd.toolchain        installs all of it, and builds a module for each release
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SOURCES_FOLDER = ROOT / "kmod" / "freebsd"
INCLUDE_FOLDER = ROOT / "kmod" / "include"
BUILD = ROOT / "build" / "freebsd"

ZIGLANG = {14: "0.15.2", 15: "0.17.0"}
"""The version of ziglang that carries the headers of a FreeBSD release."""

# What config(8) writes for GENERIC; kmod.mk makes the same file for modules built outside a kernel's tree.
OPT_GLOBAL = "#define SMP 1\n#define MAC 1\n#define VIMAGE 1\n#define INET 1\n#define INET6 1\n"
CHECKS = ("-DINVARIANTS", "-DINVARIANT_SUPPORT", "-DWITNESS")
DEFINES = ("-D_KERNEL", "-DKLD_MODULE", "-DHAVE_KERNEL_OPTION_HEADERS")

# Of sys/conf/kern.mk for amd64; ours are stricter in warnings. The last two are what FreeBSD's own macros and handlers
# give cause for: SYSCALL_MODULE leaves fields out, and a handler of a sysctl has parameters that it does not need.
FLAGS = (
    *("-std=gnu17", "-O2", "-pipe", "-fno-common", "-fwrapv", "-ffreestanding", "-fno-strict-aliasing"),
    *(
        "-mcmodel=kernel",
        "-mno-red-zone",
        "-mno-mmx",
        "-mno-sse",
        "-msoft-float",
        "-fno-asynchronous-unwind-tables",
        "-fno-unwind-tables",
    ),
    *("-fno-omit-frame-pointer", "-fno-stack-protector", "-fno-sanitize=undefined", "-fno-pic", "-g0"),
    *("-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers", "-Wno-unused-parameter"),
)
KERNEL_WARNINGS = (  # kern.mk's CWARNFLAGS, for the module's own files
    *("-Wstrict-prototypes", "-Wmissing-prototypes", "-Wpointer-arith", "-Wcast-qual", "-Wundef", "-Wswitch"),
    *("-Wnested-externs", "-Wredundant-decls", "-Wvla", "-Wshadow"),
)
PROCESSOR = "x86_64-mmx-sse-sse2+soft_float"
UNITS_FIRST = "ccdrl_cc.c"
"""The module of the controller comes first in the object: kldunload asks modules in this order."""


class ToolchainError(RuntimeError):
    """This machine cannot build the module; the text says what it lacks."""


def run(command: Sequence[object], **options: object) -> str:
    """The command's output; raises ToolchainError with what it wrote on stderr."""
    words = [str(word) for word in command]
    process = subprocess.run(words, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if process.returncode != 0:
        raise ToolchainError(f"{' '.join(words)}: {process.stderr.strip()}")
    return str(process.stdout)


@contextmanager
def locked() -> Iterator[None]:
    """One installation at a time."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ziglang(release: int) -> Path:
    """The folder of the installed package `ziglang` for this release."""
    version = ZIGLANG[release]
    folder = BUILD / f"ziglang-{version}"
    with locked():
        if not folder.exists():
            fresh = folder.with_suffix(".new")
            shutil.rmtree(fresh, ignore_errors=True)
            pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps")
            run([*pip, "--target", fresh, f"ziglang=={version}"])
            fresh.rename(folder)
    return folder / "ziglang"


def ck_headers() -> Path:
    """A folder with ck's headers, from the system or out of Debian's package."""
    folder = BUILD / "ck"
    with locked():
        if folder.exists():
            return folder
        fresh = BUILD / "ck.new"
        shutil.rmtree(fresh, ignore_errors=True)
        source = Path("/usr/include")
        with tempfile.TemporaryDirectory() as scratch:
            if not (source / "ck_epoch.h").exists():
                run(["apt-get", "download", "libck-dev"], cwd=scratch)
                (package,) = Path(scratch).glob("*.deb")
                run(["dpkg-deb", "-x", package, scratch])
                source = Path(scratch) / "usr" / "include"
            (fresh / "gcc").mkdir(parents=True)
            for header in source.glob("ck_*.h"):
                shutil.copy(header, fresh)
            for header in [*(source / "gcc").glob("ck_*.h"), source / "gcc" / "x86_64"]:
                (shutil.copytree if header.is_dir() else shutil.copy)(header, fresh / "gcc" / header.name)
        fresh.rename(folder)
    return folder


def opt_global() -> Path:
    """The file of kernel options that every unit includes first."""
    path = BUILD / "opt" / "opt_global.h"
    with locked():
        if not path.exists() or path.read_text() != OPT_GLOBAL:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(OPT_GLOBAL)
    return path


def zig(release: int) -> list[str]:
    """The command `zig` of a release, with its caches in the project's folder."""
    caches = [f"ZIG_{kind}_CACHE_DIR={BUILD / 'zig-cache'}" for kind in ("GLOBAL", "LOCAL")]
    return ["env", *caches, str(ziglang(release) / "zig")]


def compiler(release: int) -> list[str]:
    """The compiler and its target, which brings FreeBSD's headers and macros.

    zig takes no notice of -mno-sse: what a kernel may not use is part of the processor's name.
    """
    return [*zig(release), "cc", "-target", f"x86_64-freebsd.{release}.0-none", f"-mcpu={PROCESSOR}"]


def option_flags(*, invariants: bool) -> list[str]:
    """What a unit is told of the kernel that it is for."""
    return [*DEFINES, *(CHECKS if invariants else ()), "-include", str(opt_global()), f"-I{INCLUDE_FOLDER}"]


def compile_flags(release: int, *, invariants: bool = False) -> list[str]:
    """Flags for `compiler(release)`."""
    return [*FLAGS, *option_flags(invariants=invariants), "-idirafter", str(ck_headers())]


def header_flags(release: int, *, invariants: bool = False) -> list[str]:
    """Flags that make another compiler see FreeBSD: its headers and nothing of this system's."""
    include = ziglang(release) / "lib" / "libc" / "include"
    folders = [include / name for name in ("x86_64-freebsd-none", "x86-freebsd-none", "generic-freebsd")]
    system = ["-nostdinc", "-U__linux__", "-Ulinux", "-U__gnu_linux__", f"-D__FreeBSD__={release}"]
    for folder in [*folders, ck_headers()]:
        system += ["-isystem", str(folder)]
    return [*system, *option_flags(invariants=invariants)]


def list_units(folder: Path = SOURCES_FOLDER) -> list[Path]:
    """The module's C files, in the order of the object."""
    return sorted(folder.glob("*.c"), key=lambda path: (path.name != UNITS_FIRST, path.name))


def build_module(
    release: int,
    *,
    invariants: bool = False,
    sources: Sequence[Path] | None = None,
    out: Path | None = None,
    flags: Sequence[str] = (),
) -> Path:
    """Compile and link the module as kmod.mk does for amd64: a relocatable object without debugging information.

    sources  the C files; those of kmod/freebsd if none are given
    out      the object to write
    flags    further flags of the compiler, before all others
    """
    name = f"ccdrl-{release}{'-invariants' if invariants else ''}.ko"
    target = out or BUILD / "modules" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    units = list(sources) if sources is not None else list_units()
    units.sort(key=lambda path: (path.name != UNITS_FIRST, path.name))
    command = [*compiler(release), *flags, *compile_flags(release, invariants=invariants), *KERNEL_WARNINGS]
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        objects = [Path(scratch) / f"{unit.stem}.o" for unit in units]
        for unit, output in zip(units, objects, strict=True):
            run([*command, f"-I{unit.parent}", "-c", unit, "-o", output])
        linked = Path(scratch) / target.name
        run([*zig(release), "ld.lld", "-m", "elf_x86_64_fbsd", "-r", "-o", linked, *objects])
        os.replace(linked, target)
    return target


def main() -> int:
    """Install everything and build a module for each release, with and without the kernel's own checks."""
    for release in ZIGLANG:
        for invariants in (False, True):
            print(build_module(release, invariants=invariants).relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
