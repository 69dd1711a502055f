# SPDX-License-Identifier: BSD-2-Clause
"""The user side, built for FreeBSD with its own headers: the binding's C, and the simulator that comes with it."""

import shutil
import struct
import subprocess

import pytest

from ccdrl.bindings import _build
from ccdrl.tests.bindings.freebsd.standin import NATIVE
from ccdrl.tests.kmod.freebsd import toolchain

RELEASES = (14, 15)
MACHINES = {"x86_64": 62, "aarch64": 183}
"""e_machine of an ELF header."""
ET_DYN, ELFOSABI_NONE, ELFOSABI_FREEBSD = 3, 0, 9
FLAGS = ("-std=c11", "-O1", "-fPIC", "-shared", "-ffp-contract=off", "-pthread", "-Wall", "-Wextra", "-Werror")
SIMULATOR = [path for path in (*_build.CSIM.glob("*.c"), *_build.CSIM.glob("cc/*.c")) if path.name != "main.c"]
LIBRARIES = {
    "binding": (sorted(NATIVE.glob("*.c")), "ccdrl_call_find"),
    "simulator": (sorted(SIMULATOR), "drl_sim_get_buffer"),
}


@pytest.fixture(scope="module", params=RELEASES)
def compile_for(request):
    """Return (release, a function that compiles for a machine of that release)."""
    try:
        toolchain.ziglang(request.param)
    except toolchain.ToolchainError as error:
        pytest.skip(f"this machine lacks FreeBSD's headers: {error}")

    def run(machine, *arguments):
        target = f"{machine}-freebsd.{request.param}.0-none"
        command = [*toolchain.zig(request.param), "cc", "-target", target]
        command += [f"-I{folder}" for folder in (_build.KMOD, _build.CSIM, NATIVE)]
        return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False)

    return request.param, run


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("machine", MACHINES)
def test_a_shared_library_for_freebsd(compile_for, tmp_path, machine, library):
    _, run = compile_for
    sources, symbol = LIBRARIES[library]
    target = tmp_path / f"{library}.so"
    done = run(machine, *FLAGS, "-o", target, *sources, "-lm")
    assert done.returncode == 0, done.stderr
    header = target.read_bytes()[:64]
    assert header[:4] == b"\x7fELF"
    assert header[7] in (ELFOSABI_NONE, ELFOSABI_FREEBSD)
    assert struct.unpack_from("<HH", header, 16) == (ET_DYN, MACHINES[machine])
    assert symbol.encode() in target.read_bytes()
    if shutil.which("readelf"):
        needed = subprocess.run(["readelf", "-d", target], capture_output=True, text=True, check=True).stdout
        assert "libc.so.7" in needed


def test_the_numbers_of_v1_are_other_calls_in_these_releases(compile_for, tmp_path):
    """Why system.py calls them on FreeBSD 13 alone."""
    source = tmp_path / "numbers.c"
    source.write_text(
        '#include <sys/syscall.h>\n#include "native.h"\n'
        '_Static_assert(SYS_kqueuex == CCDRL_V1_UPDATE_CWND, "583");\n'
        '_Static_assert(SYS_membarrier == CCDRL_V1_GET_BUFFER, "584");\n'
    )
    done = compile_for[1]("x86_64", "-std=c11", "-c", source, "-o", tmp_path / "numbers.o")
    assert done.returncode == 0, done.stderr
