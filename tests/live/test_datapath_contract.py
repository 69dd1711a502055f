# SPDX-License-Identifier: BSD-2-Clause
"""What every datapath keeps, kept by this machine's kernel: the class that simulator and fake pass too."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "bindings")]
from support_datapath import LiveRig, loaded  # noqa: E402
from test_datapath_conformance import TestDatapath as Conformance  # noqa: E402
from test_datapath_conformance import rig  # noqa: E402, F401


@pytest.fixture(scope="module")
def kernel(network):
    """Return a network and the pins of a loaded controller."""
    with loaded() as pin_dir:
        yield network, pin_dir


@pytest.fixture
def make_rig(kernel):
    """Return a function that makes a rig with a capacity."""
    rigs = []

    def make(capacity=16):
        rigs.append(LiveRig(*kernel, capacity))
        return rigs[-1]

    yield make
    for made in rigs:
        made.close()


class TestLinuxDatapath(Conformance):
    """Nothing of its own."""
