# SPDX-License-Identifier: BSD-2-Clause
"""The results file: shape, order, summary, refusals and atomic writing."""

import copy
import json
import math

import pytest

from ccdrl import __version__
from ccdrl.agent import results
from ccdrl.bindings.errors import InputError

TESTED = {"s": frozenset({"mp"})}


def make_flow(name="mp", goodput=10.0, delay=5.0):
    subflow = {
        "path": 0,
        "throughput_mbps": goodput,
        "rtt_mean_ms": 20.0,
        "rtt_p95_ms": None,
        "loss_ratio": 0.0,
        "cwnd_mean_bytes": 3e4,
    }
    return {
        "id": name,
        "cc": "lia",
        "goodput_mbps": goodput,
        "completion_s": None,
        "rtt_mean_ms": 20.0,
        "rtt_p95_ms": 30.0,
        "queue_delay_mean_ms": 2.0,
        "queue_delay_p95_ms": delay,
        "retransmit_ratio": 0.001,
        "subflows": [subflow],
    }


def make_run(scenario="s", cc="lia", seed=1, flows=None):
    return {
        "scenario": scenario,
        "cc": cc,
        "datapath": "sim",
        "seed": seed,
        "duration_s": 10,
        "warmup_s": 2.5,
        "wall_s": 0.1,
        "packets": 1000,
        "flows": flows or [make_flow()],
        "links": [{"id": "one", "utilization": 0.9, "queue_mean_bytes": 100.0, "drops": 3}],
        "jain": 1.0,
    }


def make_document():
    return results.make_document([make_run(seed=seed) for seed in (2, 1)], TESTED)


def test_a_document_survives_the_file(tmp_path):
    path = tmp_path / "out.json"
    results.write_results(path, make_document())
    assert results.read_results(path) == make_document()
    assert set(make_document()) == {"schema", "version", "runs", "summary"}
    assert make_document()["version"] == __version__


def test_runs_are_ordered_by_scenario_cc_and_seed_as_a_number():
    runs = [make_run("b", "lia", 1), make_run("a", "olia", 1), make_run("a", "lia", 10), make_run("a", "lia", 9)]
    keys = [results.run_key(run) for run in results.make_document(runs, {})["runs"]]
    assert keys == [("a", "lia", "sim", 9), ("a", "lia", "sim", 10), ("a", "olia", "sim", 1), ("b", "lia", "sim", 1)]


def test_the_later_of_two_equal_runs_stays():
    old, new = make_run(), make_run() | {"packets": 7}
    assert results.merge_runs([old], [new]) == [new]


def test_summary_by_hand():
    flows = [make_flow("mp/0", 3.0, 10.0), make_flow("mp/1", 5.0, 20.0), make_flow("tcp", 100.0, 90.0)]
    other = [make_flow("mp/0", 4.0, 14.0), make_flow("mp/1", 8.0, None), make_flow("tcp", 100.0, 90.0)]
    runs = [make_run(seed=1, flows=flows), make_run(seed=2, flows=other)]
    (row,) = results.summarize(runs, {"s": frozenset({"mp/0", "mp/1"})})
    assert row["goodput_mbps"]["mean"] == pytest.approx(10.0)
    assert row["goodput_mbps"]["ci95"] == pytest.approx(
        12.706 * 2.0, rel=1e-4
    )  # t of one degree, deviation of 8 and 12
    assert row["queue_delay_p95_ms"]["mean"] == pytest.approx(14.5)


def test_one_seed_has_no_interval_and_no_sample_no_mean():
    (row,) = results.summarize([make_run(flows=[make_flow(delay=None)])], TESTED)
    assert row["goodput_mbps"] == {"mean": 10.0, "ci95": None}
    assert row["queue_delay_p95_ms"] == {"mean": None, "ci95": None}


def test_a_scenario_without_a_flow_under_test_reports_all_flows():
    flows = [make_flow("a", 1.0), make_flow("b", 2.0)]
    (row,) = results.summarize([make_run(flows=flows)], {"s": frozenset()})
    assert row["goodput_mbps"]["mean"] == pytest.approx(3.0)


def test_carried_summary_rows_stay_unless_made_anew():
    carried = [
        {"scenario": "gone", "cc": "lia", "goodput_mbps": {}, "queue_delay_p95_ms": {}},
        {"scenario": "s", "cc": "lia", "goodput_mbps": {}, "queue_delay_p95_ms": {}},
    ]
    rows = results.make_document([make_run()], TESTED, carried)["summary"]
    assert [row["scenario"] for row in rows] == ["gone", "s"]
    assert rows[1]["goodput_mbps"]["mean"] == 10.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_becomes_null(value):
    assert results.finite(value) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(schema="ccdrl-compare/2"), "ccdrl-compare/1"),
        (lambda d: d.pop("runs"), "no 'runs'"),
        (lambda d: d.update(runs={}), "runs: not a list"),
        (lambda d: d["runs"][0].pop("seed"), "runs[0]: no 'seed'"),
        (lambda d: d["runs"][0].update(seed=True), "runs[0].seed"),
        (lambda d: d["runs"][0].update(seed="1"), "a whole number"),
        (lambda d: d["runs"][0].update(seed=-1), "runs[0].seed: -1, accepted: 0 to"),
        (lambda d: d["runs"][0]["flows"][0].update(goodput_mbps=-0.5), "goodput_mbps: -0.5, accepted: 0 to"),
        (lambda d: d["runs"][0]["flows"][0].update(goodput_mbps=10**400), "runs[0].flows[0].goodput_mbps"),
        (lambda d: d["runs"][1]["flows"][0].update(goodput_mbps=None), "runs[1].flows[0].goodput_mbps"),
        (lambda d: d["runs"][1]["links"].append(3), "runs[1].links[1]: not an object"),
        (lambda d: d["runs"].append(copy.deepcopy(d["runs"][0])), "more than once"),
        (lambda d: d["summary"][0].pop("goodput_mbps"), "summary[0]: no 'goodput_mbps'"),
    ],
)
def test_a_wrong_document_is_refused_in_one_line(tmp_path, change, said):
    document = make_document()
    change(document)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        results.read_results(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"schema": NaN}', b'{"schema": 1e999}', b"[" * 100_000, b"null"]
)
def test_what_is_no_document_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_bytes(text)
    with pytest.raises(InputError) as caught:
        results.read_results(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        results.read_results(tmp_path / "none.json")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "out.json"
    results.write_results(path, make_document())
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        results.write_results(path, make_document() | {"runs": [math.nan]})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]


def test_unwritable_places_are_told_beforehand(tmp_path):
    results.check_writable(tmp_path / "new.json", "--json")
    assert list(tmp_path.iterdir()) == []
    for path in (tmp_path, tmp_path / "none" / "out.json"):
        with pytest.raises(InputError, match="--json"):
            results.check_writable(path, "--json")
