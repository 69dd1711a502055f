# SPDX-License-Identifier: BSD-2-Clause
"""The fake breaks what it is told to break, and nothing else."""

import pytest

from ccdrl.bindings.errors import DatapathError, InputError
from ccdrl.bindings.fake_datapath import FakeDatapath, Fault
from ccdrl.bindings.library import ABI_VERSION, SUBFLOWS_MAX, ActionResult, Event, make_actions


def read_with(fault):
    """Return an honest read and the next one, struck by a fault."""
    fake = FakeDatapath((2, 1), script={1: fault})
    fake.advance(500_000)
    honest = fake.read_samples()
    fake.advance(500_000)
    return honest, fake.read_samples()


def test_truncation_loses_records():
    _, broken = read_with(Fault.TRUNCATE)
    assert broken.size == 1


def test_duplicates():
    _, broken = read_with(Fault.DUPLICATE)
    assert sorted(broken["subflow_id"]) == [1, 1, 2, 2, 3, 3]


def test_extreme_values():
    _, broken = read_with(Fault.EXTREME)
    assert set(broken["srtt_us"]) == {2**32 - 1}
    assert set(broken["delivered_bytes"]) == {2**64 - 1}
    assert set(broken["abi"]) == {ABI_VERSION}


def test_wrong_abi():
    assert set(read_with(Fault.WRONG_ABI)[1]["abi"]) == {ABI_VERSION + 1}


def test_stale_seq():
    assert not read_with(Fault.STALE_SEQ)[1]["seq"].any()


def test_unknown_ids():
    honest, broken = read_with(Fault.UNKNOWN_ID)
    assert not set(honest["subflow_id"]) & set(broken["subflow_id"])


def test_time_goes_backwards():
    honest, broken = read_with(Fault.TIME_BACKWARDS)
    assert (broken["timestamp_us"] < honest["timestamp_us"]).all()


def test_latency_repeats_the_last_read():
    honest, broken = read_with(Fault.LATENCY)
    assert honest.tobytes() == broken.tobytes()


def test_close_in_mid_life():
    with pytest.raises(DatapathError, match="closed"):
        read_with(Fault.CLOSE)


def test_refused_write_leaves_the_fallback():
    fake = FakeDatapath((1,), script={1: Fault.REFUSE})
    fake.advance(100_000)
    (row,) = fake.read_samples()
    action = make_actions(1)
    action["subflow_id"], action["seq"], action["cwnd_bytes"], action["lease_us"] = 1, row["seq"], 20_000, 1000
    with pytest.raises(PermissionError):
        fake.write_actions(action)
    assert list(fake.write_actions(action)) == [ActionResult.APPLIED]


def test_random_faults_follow_the_seed():
    def record(seed):
        fake = FakeDatapath((2,), fault_ratio=0.5, seed=seed)
        rows = []
        for _ in range(50):
            fake.advance(20_000)
            rows.append(fake.read_samples().tobytes())
        return rows

    assert record(1) == record(1)
    assert record(1) != record(2)


def test_faults_leave_the_model_whole():
    """Counters seen after a storm of faults are the true ones: a slow reader loses resolution, never bytes."""
    stormy, calm = FakeDatapath((2,), fault_ratio=0.9, seed=3), FakeDatapath((2,))
    for _ in range(100):
        for fake in (stormy, calm):
            fake.advance(20_000)
            fake.read_samples()
    for subflow_id, subflow in calm.subflows.items():
        assert stormy.subflows[subflow_id].delivered_bytes == subflow.delivered_bytes


def test_windows_under_the_fallback_oscillate_around_the_capacity():
    fake = FakeDatapath((1,))
    cwnds = []
    for _ in range(2000):
        fake.advance(20_000)
        cwnds.append(fake.subflows[1].cwnd_bytes)
    # Reno on a queue of one BDP moves between 1 and 2 BDP: 25 kB and 50 kB.
    assert 24_000 <= min(cwnds[500:]) <= 30_000
    assert 48_000 <= max(cwnds[500:]) <= 53_000


def test_closed_event_wins_over_created():
    fake = FakeDatapath((1,))
    fake.close_subflow(1)
    assert list(fake.read_samples()["event"]) == [Event.CLOSED]


@pytest.mark.parametrize("subflows", [(0,), (SUBFLOWS_MAX + 1,), (1, -1)])
def test_bad_shapes_are_refused(subflows):
    with pytest.raises(InputError, match="subflows"):
        FakeDatapath(subflows)


def test_an_unknown_subflow_is_refused():
    with pytest.raises(InputError, match="no live subflow 9"):
        FakeDatapath((1,)).strike_rto(9)
