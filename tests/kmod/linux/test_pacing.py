# SPDX-License-Identifier: BSD-2-Clause
"""When the Linux datapath paces: its own source in user space."""

import shutil
import subprocess
from pathlib import Path

import cffi
import pytest

from ccdrl.tests.parity.fallbacks import FLAGS, ROOT, SANITIZE
from ccdrl.tests.parity.fallbacks import HERE as STAND_IN

NONE, NEEDED, FQ = range(3)
UNBOUND = 2**64 - 1


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("this machine lacks gcc")
    library = tmp_path_factory.mktemp("pacing") / "pacing.so"
    folders = (STAND_IN, ROOT / "kmod" / "linux", ROOT / "kmod" / "include")
    includes = [f"-I{folder}" for folder in folders]
    source = Path(__file__).parent / "pacing_shim.c"
    subprocess.run(["gcc", *FLAGS, *SANITIZE, *includes, str(source), "-o", str(library)], check=True)
    ffi = cffi.FFI()
    ffi.cdef("uint32_t shim_pacing_status(uint32_t status, uint64_t wanted, uint64_t owners);")
    # Not its function alone: cffi closes a library that nobody holds.
    return ffi.dlopen(str(library))


@pytest.mark.parametrize(
    ("status", "wanted", "owners", "after"),
    [
        (NONE, 10**6, UNBOUND, NEEDED),
        (NEEDED, 10**6, UNBOUND, NEEDED),
        (NONE, 0, UNBOUND, NONE),
        (NEEDED, 0, UNBOUND, NONE),
        (NEEDED, 0, 10**6, NEEDED),  # its owner asked for a rate: SO_MAX_PACING_RATE
        (FQ, 0, UNBOUND, FQ),
        (FQ, 10**6, UNBOUND, FQ),
    ],
)
def test_a_socket_is_paced_while_an_action_or_its_owner_says_so(shim, status, wanted, owners, after):
    assert shim.shim_pacing_status(status, wanted, owners) == after
