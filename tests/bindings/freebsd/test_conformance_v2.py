# SPDX-License-Identifier: BSD-2-Clause
"""What every datapath keeps, kept by the FreeBSD module: its object runs in the kernel model, behind the binding."""

import numpy as np
import pytest

from ccdrl.bindings.errors import DatapathError
from ccdrl.bindings.freebsd.datapath import FreeBSDDatapath
from ccdrl.bindings.library import make_actions
from ccdrl.tests.bindings.freebsd.kernel_v2 import HarnessTransport, Network
from ccdrl.tests.bindings.test_datapath_conformance import TestDatapath as Conformance
from ccdrl.tests.bindings.test_datapath_conformance import rig  # noqa: F401 (a fixture)

BOTTLENECKS = [(1_250_000, 20_000, 25_000), (2_500_000, 40_000, 100_000)]


class V2Rig:
    """Two subflows of 10 and 20 Mbit/s."""

    def __init__(self, capacity):
        self.network = Network(BOTTLENECKS)
        self.transport = HarnessTransport(self.network.kernel)
        self.datapath = FreeBSDDatapath(self.transport, capacity=capacity)

    def advance(self, duration_us):
        self.network.advance(duration_us)

    def strike_rto(self):
        self.network.senders[0].strike_rto()

    def close_first(self):
        self.network.senders[0].close()
        self.advance(1_000_000)

    def close(self):
        self.network.close()


@pytest.fixture
def make_rig():
    """Return a function that makes a rig with a capacity."""
    rigs = []

    def make(capacity=16):
        rigs.append(V2Rig(capacity))
        return rigs[-1]

    yield make
    for made in rigs:
        made.close()


class TestFreeBSDDatapath(Conformance):
    """Besides: what only a kernel refuses."""

    def test_without_privilege(self, make_rig):
        rig = make_rig()  # noqa: F811
        rig.advance(200_000)
        rig.transport.is_privileged = False
        for call in (rig.datapath.read_samples, lambda: rig.datapath.write_actions(make_actions(1))):
            with pytest.raises(PermissionError, match="datapath freebsd: drl_"):
                call()
        rig.transport.is_privileged = True
        assert rig.datapath.read_samples().size == 2, "what was refused is not lost"

    def test_addresses_are_the_connections(self, rig):  # noqa: F811
        for row in rig.first.values():
            path = int(row["local_addr"][2])
            assert bytes(row["local_addr"][:4]) == bytes([10, 0, path, 1])
            assert bytes(row["foreign_addr"][:4]) == bytes([10, 9, 0, 2])
            assert (row["family"], row["local_port"], row["foreign_port"]) == (2, 4000 + path, 5001)

    def test_other_errors_are_one_line(self, make_rig, monkeypatch):
        rig = make_rig()  # noqa: F811
        monkeypatch.setattr(rig.network.kernel, "get_buffer", lambda *_, **__: (14, np.zeros(0)))
        with pytest.raises(DatapathError, match="datapath freebsd: drl_get_buffer: Bad address"):
            rig.datapath.read_samples()
