# SPDX-License-Identifier: BSD-2-Clause
"""When the Linux datapath paces: its own source in user space."""

from pathlib import Path

import pytest

from ccdrl.tests.kmod.linux.shim import INCLUDES, build_shim
from ccdrl.tests.parity.fallbacks import HERE as STAND_IN

NONE, NEEDED, FQ = range(3)
UNBOUND = 2**64 - 1


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return build_shim(
        tmp_path_factory.mktemp("pacing") / "pacing.so",
        [Path(__file__).parent / "pacing_shim.c"],
        "uint32_t shim_pacing_status(uint32_t status, uint64_t wanted, uint64_t owners);",
        includes=(STAND_IN, *INCLUDES),
    )[1]


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
