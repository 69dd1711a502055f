# SPDX-License-Identifier: BSD-2-Clause
"""What every datapath keeps, whatever is behind it: one class, run on each instance."""

from typing import Any

import numpy as np
import pytest

from ccdrl.bindings.datapath import Counters, Datapath
from ccdrl.bindings.errors import DatapathError, InputError
from ccdrl.bindings.fake_datapath import FakeDatapath
from ccdrl.bindings.library import (
    ABI_VERSION,
    LEASE_MAX_US,
    ActionResult,
    Event,
    Flag,
    State,
    make_actions,
)
from ccdrl.bindings.network import EventConfig, FlowConfig, LinkConfig, PathConfig
from ccdrl.bindings.sim_datapath import SimDatapath
from ccdrl.bindings.simulator import Simulator

US_PER_S = 1_000_000
CUMULATIVE = (
    "sent_bytes",
    "delivered_bytes",
    "lost_bytes",
    "retransmitted_bytes",
    "loss_events",
    "rto_events",
    "ecn_marks",
)


class SimRig:
    """One connection over two links; the first link goes dark at 20 s."""

    DARK_NS = 20 * 10**9

    def __init__(self, capacity: int) -> None:
        self.simulator = Simulator(seed=1)
        self.links = [
            self.simulator.add_link(LinkConfig(rate_bps=10e6, delay_ns=10_000_000, limit_bytes=25_000)),
            self.simulator.add_link(LinkConfig(rate_bps=20e6, delay_ns=20_000_000, limit_bytes=100_000)),
        ]
        self.flow = self.simulator.add_flow(FlowConfig("drl", tuple(PathConfig((link,)) for link in self.links)))
        self.simulator.add_event(EventConfig(self.DARK_NS, self.links[0], "down"))
        self.datapath: Datapath = SimDatapath(self.simulator, capacity)

    def advance(self, duration_us: int) -> None:
        self.simulator.run(self.simulator.now_ns + duration_us * 1000)

    def strike_rto(self) -> None:
        """Time the first subflow out: the RTO of a path of 20 to 40 ms is below 300 ms (RFC 6298, minimum 200 ms)."""
        self.simulator.run(self.DARK_NS + 400_000_000)

    def close_first(self) -> None:
        self.simulator.remove_subflow(self.flow, 0)
        self.advance(US_PER_S)

    def close(self) -> None:
        self.simulator.close()


class FakeRig:
    """The fake without faults."""

    def __init__(self, capacity: int) -> None:
        self.fake = FakeDatapath((2,), capacity=capacity)
        self.datapath: Datapath = self.fake

    def advance(self, duration_us: int) -> None:
        self.fake.advance(duration_us)

    def strike_rto(self) -> None:
        self.fake.strike_rto(1)

    def close_first(self) -> None:
        self.fake.close_subflow(1)

    def close(self) -> None:
        pass


RIGS = {"sim": SimRig, "fake": FakeRig}


@pytest.fixture(params=RIGS)
def make_rig(request):
    """Return a function that makes a rig of the kind under test with a capacity."""
    rigs = []

    def make(capacity: int = 16) -> Any:
        rigs.append(RIGS[request.param](capacity))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(make_rig):
    """Return a rig after two seconds of life, read once."""
    rig = make_rig()
    rig.advance(2 * US_PER_S)
    rig.first = read_rows(rig)
    return rig


def read_rows(rig: Any) -> dict[int, Any]:
    """Return the records of one read by subflow."""
    samples = rig.datapath.read_samples().copy()
    assert len(set(samples["subflow_id"])) == samples.size
    return {int(row["subflow_id"]): row for row in samples}


def make_action(row: Any, cwnd_bytes: int, lease_us: int = LEASE_MAX_US) -> np.ndarray:
    action = make_actions(1)
    action["subflow_id"], action["seq"] = row["subflow_id"], row["seq"]
    action["cwnd_bytes"], action["lease_us"] = cwnd_bytes, lease_us
    return action


def write_one(rig: Any, action: np.ndarray) -> ActionResult:
    (result,) = rig.datapath.write_actions(action)
    return ActionResult(result)


class TestDatapath:
    def test_it_is_a_datapath_of_this_abi(self, rig):
        assert isinstance(rig.datapath, Datapath)
        assert rig.datapath.capabilities.abi == ABI_VERSION
        assert rig.datapath.capabilities.name
        assert rig.datapath.capabilities.subflows_max >= 2

    def test_first_records_are_created_with_unique_ids(self, rig):
        assert len(rig.first) == 2
        assert 0 not in rig.first
        for row in rig.first.values():
            assert row["abi"] == ABI_VERSION
            assert row["event"] == Event.CREATED
            assert row["reserved"] == 0
        assert len({int(row["conn_id"]) for row in rig.first.values()}) == 1

    def test_created_comes_once(self, rig):
        for _ in range(20):
            rig.advance(100_000)
            assert all(row["event"] in (Event.SAMPLE, Event.STATE) for row in read_rows(rig).values())

    def test_nothing_changed_gives_no_records(self, rig):
        assert rig.datapath.read_samples().size == 0

    def test_many_changes_give_one_record(self, rig):
        rig.advance(5 * US_PER_S)
        rows = read_rows(rig)
        assert set(rows) == set(rig.first)
        for subflow_id, row in rows.items():
            assert row["delivered_bytes"] > rig.first[subflow_id]["delivered_bytes"] + 100_000

    def test_capacity_is_kept_and_the_rest_comes_next(self, make_rig):
        rig = make_rig(capacity=1)
        rig.advance(US_PER_S)
        seen = [read_rows(rig), read_rows(rig)]
        assert [len(rows) for rows in seen] == [1, 1]
        assert set(seen[0]) != set(seen[1])
        assert not read_rows(rig)

    def test_a_slow_reader_loses_no_subflow(self, make_rig):
        rig = make_rig(capacity=1)
        seen = set()
        for _ in range(10):
            rig.advance(100_000)
            seen.update(read_rows(rig))
        assert len(seen) == 2

    def test_seq_time_and_counters_only_grow(self, rig):
        last = rig.first
        for _ in range(50):
            rig.advance(50_000)
            for subflow_id, row in read_rows(rig).items():
                before = last[subflow_id]
                assert row["seq"] > before["seq"]
                assert row["timestamp_us"] > before["timestamp_us"]
                assert all(row[name] >= before[name] for name in CUMULATIVE)
                last[subflow_id] = row

    def test_records_are_plausible(self, rig):
        rig.advance(US_PER_S)
        for row in read_rows(rig).values():
            assert row["min_rtt_us"] <= row["srtt_us"] <= US_PER_S
            assert row["mss_bytes"] > 0
            assert row["cwnd_bytes"] >= row["mss_bytes"]
            assert row["delivered_bytes"] <= row["sent_bytes"]
            assert row["retransmitted_bytes"] <= row["sent_bytes"]
            assert row["state"] in list(State)

    def test_without_a_lease_the_fallback_rules(self, rig):
        assert all(row["flags"] & Flag.FALLBACK for row in rig.first.values())

    def test_an_action_sets_the_window_for_its_lease(self, rig):
        subflow_id, row = next(iter(rig.first.items()))
        cwnd_bytes = 4 * int(row["mss_bytes"])
        assert write_one(rig, make_action(row, cwnd_bytes)) is ActionResult.APPLIED
        for _ in range(10):
            rig.advance(200_000)
            now = read_rows(rig)[subflow_id]
            assert now["cwnd_bytes"] == cwnd_bytes
            assert not now["flags"] & Flag.FALLBACK
        assert rig.datapath.counters() == Counters(applied=1)

    def test_a_window_is_clamped_and_counted(self, rig):
        subflow_id, row = next(iter(rig.first.items()))
        assert write_one(rig, make_action(row, 1)) is ActionResult.CLAMPED
        rig.advance(100_000)
        assert read_rows(rig)[subflow_id]["cwnd_bytes"] == 2 * row["mss_bytes"]
        assert rig.datapath.counters() == Counters(clamped=1)

    def test_an_action_older_than_the_last_one_is_stale(self, rig):
        subflow_id, old = next(iter(rig.first.items()))
        rig.advance(200_000)
        new = read_rows(rig)[subflow_id]
        cwnd_bytes = 6 * int(new["mss_bytes"])
        assert write_one(rig, make_action(new, cwnd_bytes)) is ActionResult.APPLIED
        assert write_one(rig, make_action(old, 3 * cwnd_bytes)) is ActionResult.STALE
        rig.advance(200_000)
        assert read_rows(rig)[subflow_id]["cwnd_bytes"] == cwnd_bytes
        assert rig.datapath.counters() == Counters(applied=1, stale=1)

    def test_an_answer_to_a_record_yet_to_come_is_stale(self, rig):
        row = next(iter(rig.first.values())).copy()
        row["seq"] += 10**6
        assert write_one(rig, make_action(row, 20_000)) is ActionResult.STALE

    def test_an_action_for_nobody_is_unknown(self, rig):
        row = next(iter(rig.first.values()))
        action = make_action(row, 10_000)
        for subflow_id in (0, 2**40, 2**64 - 1):
            action["subflow_id"] = subflow_id
            assert write_one(rig, action) is ActionResult.UNKNOWN
        assert rig.datapath.counters() == Counters(unknown=3)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("abi", 0),
            ("abi", ABI_VERSION + 1),
            ("cwnd_bytes", 0),
            ("lease_us", 0),
            ("lease_us", LEASE_MAX_US + 1),
            ("reserved", 1),
        ],
    )
    def test_a_malformed_action_changes_nothing(self, rig, field, value):
        row = next(iter(rig.first.values()))
        action = make_action(row, 10_000)
        action[field] = value
        assert write_one(rig, action) is ActionResult.MALFORMED
        assert rig.datapath.counters() == Counters(malformed=1)
        rig.advance(50_000)
        assert all(row["flags"] & Flag.FALLBACK for row in read_rows(rig).values())

    def test_each_action_has_its_own_result(self, rig):
        rows = list(rig.first.values())
        actions = np.concatenate([make_action(rows[0], 20_000), make_action(rows[1], 1), make_action(rows[0], 0)])
        assert list(rig.datapath.write_actions(actions)) == [
            ActionResult.APPLIED,
            ActionResult.CLAMPED,
            ActionResult.MALFORMED,
        ]
        assert rig.datapath.write_actions(make_actions(0)).size == 0

    def test_the_wrong_array_is_refused(self, rig):
        with pytest.raises(InputError, match="actions"):
            rig.datapath.write_actions(np.zeros(3))

    def test_a_lease_runs_out_into_the_fallback_from_the_present_window(self, rig):
        subflow_id, row = next(iter(rig.first.items()))
        cwnd_bytes = 5 * int(row["mss_bytes"])
        write_one(rig, make_action(row, cwnd_bytes, lease_us=300_000))
        rig.advance(250_000)
        assert not read_rows(rig)[subflow_id]["flags"] & Flag.FALLBACK
        assert rig.datapath.counters().expired == 0
        rig.advance(100_000)
        now = read_rows(rig)[subflow_id]
        assert now["flags"] & Flag.FALLBACK
        assert rig.datapath.counters() == Counters(applied=1, expired=1)
        # 50 ms at RTTs of 20 ms or more: slow start doubles at most three times, and nothing was lost at five segments.
        assert cwnd_bytes <= now["cwnd_bytes"] <= 8 * cwnd_bytes

    def test_a_renewed_lease_does_not_expire(self, rig):
        subflow_id, row = next(iter(rig.first.items()))
        for _ in range(10):
            write_one(rig, make_action(row, 5 * int(row["mss_bytes"]), lease_us=300_000))
            rig.advance(200_000)
            row = read_rows(rig)[subflow_id]
        assert rig.datapath.counters() == Counters(applied=10)

    def test_a_timeout_collapses_the_window_and_makes_actions_stale(self, rig):
        subflow_id = min(rig.first)
        write_one(rig, make_action(rig.first[subflow_id], 8 * int(rig.first[subflow_id]["mss_bytes"])))
        rig.advance(50_000)
        before = read_rows(rig)[subflow_id]
        rig.strike_rto()
        after = read_rows(rig)[subflow_id]
        assert after["rto_events"] > before["rto_events"]
        assert after["state"] == State.LOSS
        assert after["cwnd_bytes"] == after["mss_bytes"]
        assert after["flags"] & Flag.FALLBACK
        assert write_one(rig, make_action(before, 50_000)) is ActionResult.STALE
        assert write_one(rig, make_action(after, 50_000)) is ActionResult.APPLIED

    def test_closed_comes_once_and_last(self, rig):
        subflow_id = min(rig.first)
        rig.advance(100_000)
        row = read_rows(rig)[subflow_id]
        rig.close_first()
        assert read_rows(rig)[subflow_id]["event"] == Event.CLOSED
        rig.advance(US_PER_S)
        assert set(read_rows(rig)) == set(rig.first) - {subflow_id}
        assert write_one(rig, make_action(row, 10_000)) is ActionResult.UNKNOWN

    def test_close_may_come_twice_and_ends_everything(self, rig):
        rig.datapath.close()
        rig.datapath.close()
        for call in (
            rig.datapath.read_samples,
            lambda: rig.datapath.write_actions(make_actions(1)),
            rig.datapath.counters,
        ):
            with pytest.raises(DatapathError, match="closed"):
                call()
