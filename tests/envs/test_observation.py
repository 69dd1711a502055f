# SPDX-License-Identifier: BSD-2-Clause
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ccdrl.bindings.decision.library import COLUMN_IDS
from ccdrl.bindings.library import SAMPLE_DTYPE, Absent, Event, Flag, State, make_samples
from ccdrl.envs.observation import OBSERVATION_NAMES, OBSERVATION_SIZE, OBSERVATION_VERSION, Observer, select_window
from ccdrl.envs.observation_layout import (
    COLUMNS,
    HISTORY_COLUMNS,
    HISTORY_LENGTH,
    SIBLING_COLUMNS,
    SUBFLOW_COLUMNS,
    SYMBOLS,
    format_table,
)

AT = {name: i for i, name in enumerate(OBSERVATION_NAMES)}
MSS = 1000


def make(count=1, **fields):
    samples = make_samples(count)
    defaults = {
        "abi": 2, "conn_id": 1, "subflow_id": np.arange(1, count + 1), "seq": 1, "timestamp_us": 1_000_000,
        "event": Event.SAMPLE, "mss_bytes": MSS, "cwnd_bytes": 20 * MSS, "ssthresh_bytes": 2**32 - 1,
        "inflight_bytes": 10 * MSS, "srtt_us": 40_000, "min_rtt_us": 20_000, "last_rtt_us": 40_000,
        "sent_bytes": 100 * MSS, "delivered_bytes": 100 * MSS,
    }  # fmt: skip
    for name, value in (defaults | fields).items():
        samples[name] = value
    return samples


def after(samples, **steps):
    following = samples.copy()
    for name, step in steps.items():
        following[name] += np.asarray(step).astype(following[name].dtype)
    return following


def observe(*batches, connections=None):
    """Return the last observation of a fresh observer that sees the batches in turn."""
    count = len(batches[0])
    observer = Observer(count)
    rows = np.arange(count)
    observer.reset(rows, np.zeros(count, np.int64) if connections is None else np.asarray(connections))
    for samples in batches:
        result = observer.update(rows, samples)
    return result


def test_layout_is_one_table():
    assert OBSERVATION_SIZE == len(COLUMNS) == len(set(OBSERVATION_NAMES))
    assert OBSERVATION_NAMES[-HISTORY_LENGTH * len(HISTORY_COLUMNS) :][0] == f"{HISTORY_COLUMNS[0]}_1"
    assert re.fullmatch(r"1-[0-9a-f]{8}", OBSERVATION_VERSION)
    assert format_table().count("\n") == 2 + len(COLUMNS) - HISTORY_LENGTH * len(HISTORY_COLUMNS)


def test_every_column_is_computed_and_every_computed_one_is_used():
    assert COLUMN_IDS.keys() == {column.name for column in (*SUBFLOW_COLUMNS, *SIBLING_COLUMNS)}


def test_manual_holds_the_generated_table():
    page = (Path(__file__).parents[2] / "docs" / "environment.md").read_text(encoding="utf-8")
    assert f"<!-- observation: begin -->\n{SYMBOLS}\n\n{format_table()}\n<!-- observation: end -->" in page


def test_columns_by_hand():
    first = make()
    second = after(
        first, timestamp_us=20_000, sent_bytes=8 * MSS, delivered_bytes=6 * MSS, lost_bytes=2 * MSS, last_rtt_us=20_000,
        loss_events=1, flags=int(Flag.CWND_LIMITED),
    )  # fmt: skip
    second["delivery_rate_bytes_per_s"] = 250 * MSS
    row = observe(first, second)[0]
    rate = 500 * MSS + (1 - np.exp(-0.5)) * (300 * MSS - 500 * MSS)  # from cwnd / srtt, towards 6 MSS in 20 ms
    top = rate + (500 * MSS - rate) * np.exp(-0.5 / 16)
    expected = {
        "srtt_ratio": 1.0,
        "rtt_ratio": np.log2(60 / 20),
        "rtt_gradient": 1.0,
        "loss_now": np.sqrt(2 / 8),
        "loss_short": np.sqrt(2 / 8),
        "loss_long": np.sqrt(2 / 8),
        "utilization": 6 / (20 * 0.5),
        "rate_ratio": rate / top,
        "rate_sample": np.log2(250 * MSS / top),
        "cwnd_bdp": np.log2(20 * MSS / (top * 0.02)),
        "inflight_ratio": 0.5,
        "sent_acked": np.log2(9 / 7),
        "queue_min_8": 1.0,
        "queue_max_32": 1.0,
        "interval": -1.0,
        "is_cwnd_limited": 1.0,
        "since_loss": 0.0,
        "cwnd_mss": np.log2(20) / 8,
        "is_startup": 0.0,
        "n_subflows": 1 / 8,
        "rate_share": 1.0,
        "srtt_above_best": 0.0,
        "queue_mean": 1.0,
        "loss_mean": 0.5,
        "top_share": 0.0,
        "queue_weighted": 1.0,
        "rtt_ratio_1": 1.0,
        "loss_now_1": 0.0,
    }
    for name, value in expected.items():
        assert row[AT[name]] == pytest.approx(value, abs=1e-5), name


def test_siblings_are_pooled_within_their_connection_only():
    samples = make(3, conn_id=[1, 1, 2], srtt_us=[40_000, 80_000, 10_000], min_rtt_us=[20_000, 40_000, 10_000],
                   last_rtt_us=[40_000, 80_000, 10_000])  # fmt: skip
    result = observe(samples, connections=[7, 7, 9])
    assert result[:, AT["n_subflows"]] == pytest.approx([2 / 8, 2 / 8, 1 / 8])
    assert result[:, AT["srtt_above_best"]] == pytest.approx([0, 1, 0])
    assert result[:, AT["base_above_best"]] == pytest.approx([0, 1, 0])
    assert result[:, AT["queue_mean"]] == pytest.approx([1, 1, 0])
    assert result[:, AT["rate_share"]] == pytest.approx([2 / 3, 1 / 3, 1])
    assert result[:, AT["top_share"]] == pytest.approx([np.log2(2 / 3), np.log2(1 / 3), 0])


@pytest.mark.parametrize("count", [2, 3, 8])
def test_order_of_siblings_does_not_matter(count):
    rng = np.random.default_rng(count)
    first = make(count, srtt_us=rng.integers(30_000, 90_000, count), cwnd_bytes=rng.integers(5_000, 90_000, count))
    second = after(
        first, timestamp_us=25_000, sent_bytes=rng.integers(0, 50_000, count), lost_bytes=rng.integers(0, 2_000, count),
        delivered_bytes=rng.integers(0, 50_000, count),
    )  # fmt: skip
    order = rng.permutation(count)
    assert observe(first[order], second[order]) == pytest.approx(observe(first, second)[order], abs=1e-5)


def test_scale_does_not_matter():
    """Eight times the bytes in eight times the time: the same observation, but for the segments' number (cwnd_mss)."""
    small = [make(), after(make(), timestamp_us=20_000, sent_bytes=9 * MSS, delivered_bytes=7 * MSS)]
    large = [batch.copy() for batch in small]
    for batch in large:
        for name in SAMPLE_DTYPE.names:
            if name.endswith(("_us", "_bytes")) and name != "ssthresh_bytes":
                batch[name] *= 8
    assert observe(*large) == pytest.approx(observe(*small), abs=1e-5)


def test_closed_and_unmeasured_rows_are_zero_and_unknown():
    samples = make(3, srtt_us=[40_000, 0, 40_000], event=[Event.SAMPLE, Event.CREATED, Event.CLOSED])
    result = observe(samples)
    assert not result[1:].any()
    assert result[0, AT["n_subflows"]] == pytest.approx(1 / 8)


def test_window_is_ssthresh_while_reducing():
    samples = make(4, ssthresh_bytes=[7_000, 7_000, 7_000, 2**32 - 1], state=[State.OPEN, State.RECOVERY, State.CWR, 3])
    assert select_window(samples).tolist() == [20_000, 7_000, 7_000, 20_000]


def test_decayed_minimum_forgets_a_queue():
    batches = [make(srtt_us=20_000, last_rtt_us=20_000)]
    for _ in range(200):
        batches.append(after(batches[-1], timestamp_us=40_000))
        batches[-1]["srtt_us"] = batches[-1]["last_rtt_us"] = 40_000
    short, long = observe(*batches[:17])[0], observe(*batches)[0]
    assert 0.8 < short[AT["queue_min_8"]] < 0.9  # two time constants
    assert short[AT["queue_min_32"]] < 0.5
    assert long[AT["queue_min_32"]] == pytest.approx(1.0, abs=0.01)


def test_datapath_without_counters_is_taken_to_circulate_its_window():
    fields = {
        "absent": int(Absent.COUNTERS | Absent.INFLIGHT),
        "sent_bytes": 0,
        "delivered_bytes": 0,
        "inflight_bytes": 0,
    }
    row = observe(make(**fields), after(make(**fields), timestamp_us=40_000))[0]
    assert row[AT["utilization"]] == pytest.approx(1.0)
    assert row[AT["inflight_ratio"]] == pytest.approx(1.0)
    assert row[AT["loss_now"]] == 0.0


def test_without_counters_the_rate_flows_and_an_event_loses_a_segment():
    fields = {"absent": int(Absent.COUNTERS), "sent_bytes": 0, "delivered_bytes": 0}
    first = make(**fields, delivery_rate_bytes_per_s=10 * MSS * 25)  # half of the window of 20 in each 40 ms
    row = observe(first, after(first, timestamp_us=40_000, loss_events=1))[0]
    assert row[AT["utilization"]] == pytest.approx(0.5)
    assert row[AT["sent_acked"]] == 0.0
    assert row[AT["loss_now"]] == pytest.approx(0.1**0.5)


def test_previous_action_and_its_history():
    observer, rows = Observer(1), np.arange(1)
    observer.reset(rows, np.zeros(1, np.int64))
    seen = []
    for action in (0.5, np.nan, 3.0, -0.25):
        observer.remember(rows, np.array([action], np.float32))
        seen.append(observer.update(rows, make())[0])
    assert [float(row[AT["previous_action"]]) for row in seen] == [0.5, 0.0, 1.0, -0.25]
    assert [float(seen[3][AT[f"previous_action_{k}"]]) for k in (1, 2, 3)] == [1.0, 0.0, 0.5]


def test_reset_forgets():
    observer, rows = Observer(1), np.arange(1)
    observer.reset(rows, np.zeros(1, np.int64))
    fresh = observer.update(rows, make())
    observer.update(rows, after(make(), timestamp_us=50_000, lost_bytes=5 * MSS, sent_bytes=9 * MSS))
    observer.reset(rows, np.zeros(1, np.int64))
    assert observer.update(rows, make()).tobytes() == fresh.tobytes()


@settings(max_examples=150, deadline=None)
@given(
    data=hnp.arrays(np.uint8, (3, 4, SAMPLE_DTYPE.itemsize)),
    seen=st.booleans(),
    connections=st.lists(st.integers(0, 2), min_size=4, max_size=4),
)
def test_any_bytes_give_a_finite_bounded_observation(data, seen, connections):
    batches = [block.reshape(-1).view(SAMPLE_DTYPE).copy() for block in data]
    if seen:  # most random records are not live; make them so
        for batch in batches:
            batch["event"] = Event.SAMPLE
    observer, rows = Observer(4), np.arange(4)
    observer.reset(rows, np.array(connections))
    with np.errstate(all="raise", under="ignore"):
        for batch in batches:
            result = observer.update(rows, batch)
            assert np.isfinite(result).all()
            assert np.abs(result).max() <= 10.0
            observer.remember(rows, result[:, 0])


@pytest.mark.parametrize("extreme", [0, 1, 2**32 - 1, 2**64 - 1])
def test_extreme_fields_are_bounded(extreme):
    first, second = make(2), make(2)
    for name in SAMPLE_DTYPE.names:
        if first[name].ndim == 1 and name not in ("abi", "event", "subflow_id"):
            second[name] = min(extreme, np.iinfo(SAMPLE_DTYPE[name]).max)
    for pair in ((first, second), (second, first), (second, second)):
        result = observe(*pair)
        assert np.isfinite(result).all()
        assert np.abs(result).max() <= 10.0
