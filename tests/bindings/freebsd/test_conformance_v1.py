# SPDX-License-Identifier: BSD-2-Clause
"""What every datapath keeps, kept over ABI v1: the common class, less what that kernel cannot tell, said otherwise."""

import pytest

from ccdrl.bindings.freebsd.datapath_v1 import ABSENT, FreeBSDV1Datapath
from ccdrl.bindings.library import Absent, ActionResult, Flag
from ccdrl.bindings.network import EventConfig, LinkConfig
from ccdrl.tests.bindings.freebsd.kernel_v1 import STEP_US, KernelV1
from ccdrl.tests.bindings.test_datapath_conformance import (
    US_PER_S,
    make_action,
    read_rows,
    rig,  # noqa: F401 (a fixture)
    write_one,
)
from ccdrl.tests.bindings.test_datapath_conformance import TestDatapath as Conformance

SILENCE_US = 3 * US_PER_S
DARK_NS = 20 * 10**9


class V1Rig:
    """The simulator's rig of the common tests, seen through the replica; the first link goes dark at 20 s."""

    def __init__(self, capacity):
        links = [
            LinkConfig(rate_bps=10e6, delay_ns=10_000_000, limit_bytes=25_000),
            LinkConfig(rate_bps=20e6, delay_ns=20_000_000, limit_bytes=100_000),
        ]
        self.kernel = KernelV1(links, events=[EventConfig(DARK_NS, 0, "down")])
        self.datapath = FreeBSDV1Datapath(self.kernel, capacity=capacity, silence_us=SILENCE_US)

    def advance(self, duration_us):
        self.kernel.advance(duration_us)

    def strike_rto(self):
        """Let the first subflow time out while samples are read, as a daemon does; its record waits."""
        self.kernel.advance(DARK_NS // 1000 - self.kernel.clock_us())
        first = self.kernel.subflows[0]
        while not any(fields[2] and fields[3] == first.local_addr for fields in self.kernel.queue):
            self.datapath.read_samples()
            self.kernel.advance(STEP_US)
            assert self.kernel.clock_us() < DARK_NS // 1000 + US_PER_S

    def close_first(self):
        self.kernel.remove(0)
        self.kernel.advance(SILENCE_US + STEP_US)

    def close(self):
        self.datapath.close()
        self.kernel.simulator.close()


@pytest.fixture
def make_rig():
    """Return a function that makes a rig with a capacity."""
    rigs = []

    def make(capacity=16):
        rigs.append(V1Rig(capacity))
        return rigs[-1]

    yield make
    for made in rigs:
        made.close()


class TestFreeBSDV1Datapath(Conformance):
    """Overridden: what asks for counters or the congestion state."""

    def test_it_is_a_datapath_of_this_abi(self, rig):  # noqa: F811
        capabilities = rig.datapath.capabilities
        assert capabilities.absent == ABSENT
        assert (Absent.COUNTERS | Absent.CONN_ID | Absent.STATE) in capabilities.absent
        assert not capabilities.has_pacing
        assert capabilities.subflows_max == 1

    def test_many_changes_give_one_record(self, rig):  # noqa: F811
        rig.advance(5 * US_PER_S)
        rows = read_rows(rig)
        assert set(rows) == set(rig.first)
        assert all(rows[subflow_id]["seq"] == row["seq"] + 1 for subflow_id, row in rig.first.items())
        assert all(row["absent"] == ABSENT for row in rows.values())

    def test_a_timeout_collapses_the_window_and_makes_actions_stale(self, rig):  # noqa: F811
        subflow_id = min(rig.first)
        write_one(rig, make_action(rig.first[subflow_id], 8 * int(rig.first[subflow_id]["mss_bytes"])))
        rig.advance(50_000)
        before = read_rows(rig)[subflow_id]
        rig.strike_rto()
        after = read_rows(rig)[subflow_id]
        assert after["rto_events"] == before["rto_events"] + 1
        assert after["cwnd_bytes"] == after["mss_bytes"] == rig.kernel.subflows[0].cwnd_bytes
        assert after["flags"] & Flag.FALLBACK
        assert write_one(rig, make_action(before, 50_000)) is ActionResult.STALE
        assert write_one(rig, make_action(after, 50_000)) is ActionResult.APPLIED
