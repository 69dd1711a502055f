# SPDX-License-Identifier: BSD-2-Clause
"""Single runs in the simulator: the figures, their window, and the loop around an agent."""

import math

import numpy as np
import pytest

from ccdrl.agent import results
from ccdrl.agent.contenders import Contender
from ccdrl.agent.evaluation import Drive, RunSpec, evaluate, expand_flows, ids_under_test
from ccdrl.agent.timeseries import record, step_of
from ccdrl.envs.scenario import parse_scenario

TWO_PATHS = """
name = "two"
duration_s = 12
warmup_s = {warmup_s}
[[links]]
id = "fast"
rate_mbps = 10
delay_ms = 10
[[links]]
id = "slow"
rate_mbps = 4
delay_ms = 25
[[flows]]
id = "mp"
cc = "@"
paths = [["fast"], ["slow"]]
[[flows]]
id = "tcp"
cc = "reno"
paths = [["slow"]]
count = 2
"""

ONE_PATH = """
name = "one"
duration_s = {duration_s}
warmup_s = {warmup_s}
[[links]]
id = "l"
rate_mbps = 10
delay_ms = 20
[[flows]]
id = "f"
cc = "@"
paths = [["l"]]
{more}
"""


def two_paths(warmup_s=2):
    return parse_scenario(TWO_PATHS.format(warmup_s=warmup_s), "two.toml")


def one_path(duration_s=20, warmup_s=5, more=""):
    return parse_scenario(ONE_PATH.format(duration_s=duration_s, warmup_s=warmup_s, more=more), "one.toml")


def spec_of(scenario, cc="lia", seed=1, agent=None):
    return RunSpec(scenario, Contender(cc, agent), seed, agent)


def without_wall(run):
    return {key: value for key, value in run.items() if key != "wall_s"}


@pytest.fixture(scope="module")
def agent(tmp_path_factory, save_agent):
    """An untrained agent."""
    return save_agent(tmp_path_factory.mktemp("agents") / "random", 5)


def test_a_run_has_the_schema_and_the_flows_of_the_scenario():
    run = evaluate(spec_of(two_paths()))
    assert results.fault_in(run, results.RUN_FIELDS, "run") is None
    assert set(run) == set(results.RUN_FIELDS)
    assert set(run["flows"][0]) == set(results.FLOW_FIELDS)
    assert set(run["flows"][0]["subflows"][0]) == set(results.SUBFLOW_FIELDS)
    assert [(flow["id"], flow["cc"]) for flow in run["flows"]] == [("mp", "lia"), ("tcp/0", "reno"), ("tcp/1", "reno")]
    assert [subflow["path"] for subflow in run["flows"][0]["subflows"]] == [0, 1]
    assert [link["id"] for link in run["links"]] == ["fast", "slow"]
    assert (run["duration_s"], run["warmup_s"], run["seed"], run["datapath"]) == (12, 2, 1, "sim")
    assert ids_under_test(two_paths()) == {"mp"}


def test_a_lone_flow_fills_its_link():
    run = evaluate(spec_of(one_path(), "reno"))
    (flow,) = run["flows"]
    # A buffer of one BDP keeps Reno's link busy; of 1500 wire bytes 1448 are payload.
    assert flow["goodput_mbps"] == pytest.approx(10 * 1448 / 1500, rel=0.02)
    assert run["links"][0]["utilization"] == pytest.approx(1.0, abs=0.02)
    assert run["jain"] == pytest.approx(1.0)
    assert flow["rtt_mean_ms"] - flow["queue_delay_mean_ms"] == pytest.approx(40, abs=0.5)
    assert flow["queue_delay_mean_ms"] <= flow["queue_delay_p95_ms"] <= 42


def test_goodputs_and_utilizations_agree():
    run = evaluate(spec_of(two_paths()))
    carried = sum(subflow["throughput_mbps"] for flow in run["flows"] for subflow in flow["subflows"])
    left = sum(link["utilization"] * rate for link, rate in zip(run["links"], (10, 4), strict=True))
    assert carried == pytest.approx(left * 1448 / 1500, rel=0.01)
    assert sum(flow["goodput_mbps"] for flow in run["flows"]) == pytest.approx(carried, rel=0.02)


def test_the_warm_up_is_left_out():
    stopped = one_path(more="stop_s = 3")
    run = evaluate(spec_of(stopped))
    (flow,) = run["flows"]
    assert flow["goodput_mbps"] == 0.0
    assert flow["rtt_mean_ms"] is None
    assert flow["retransmit_ratio"] is None
    assert run["packets"] > 1000
    assert run["jain"] is None
    assert run["links"][0]["utilization"] == 0.0


def test_a_finite_transfer_has_a_completion_time():
    run = evaluate(spec_of(one_path(warmup_s=0, more="size_bytes = 2000000")))
    # 1.66 s on the wire at least; slow start and the handshakes take a few RTTs more.
    assert 1.66 < run["flows"][0]["completion_s"] < 2.2
    assert run["flows"][0]["goodput_mbps"] == pytest.approx(2e6 * 8 / 20 / 1e6)


def test_the_same_seed_gives_the_same_run_and_another_another():
    first, again, other = (evaluate(spec_of(two_paths(), seed=seed)) for seed in (1, 1, 2))
    assert without_wall(first) == without_wall(again)
    assert first["flows"] != other["flows"]


def test_an_agent_drives_its_flows_alike_every_time(agent):
    first, again = (evaluate(spec_of(two_paths(), "drl:x", agent=agent)) for _ in range(2))
    assert without_wall(first) == without_wall(again)
    assert first["flows"][0]["cc"] == "drl:x"
    assert first["flows"][0]["goodput_mbps"] > 0
    assert without_wall(first)["flows"] != evaluate(spec_of(two_paths()))["flows"]


@pytest.mark.parametrize("cc", ["lia", "drl"])
def test_stopping_the_clock_changes_nothing(cc, agent):
    once, often = (Drive(spec_of(two_paths(), cc, agent=agent)) for _ in range(2))
    once.run(5 * 10**9)
    for until_ns in [*range(0, 5 * 10**9, 7_300_000), 5 * 10**9]:
        often.run(until_ns)
    assert once.simulator.flow_stats(0) == often.simulator.flow_stats(0)
    assert once.simulator.packets == often.simulator.packets


@pytest.mark.parametrize("cc", ["olia", "drl"])
def test_the_series_belong_to_the_run(cc, agent):
    spec = spec_of(two_paths(warmup_s=0), cc, agent=agent)
    run, series = evaluate(spec), record(spec)
    assert (series.flow, series.cc, len(series.time_s)) == ("mp", cc, round(12 / step_of(spec.scenario)))
    assert [subflow.label for subflow in series.subflows] == ["fast", "slow"]
    for measured, subflow in zip(run["flows"][0]["subflows"], series.subflows, strict=True):
        mean_mbps = math.fsum(subflow.throughput_mbps) / len(subflow.throughput_mbps)
        assert mean_mbps == pytest.approx(measured["throughput_mbps"], rel=1e-9)
        assert np.nanmin(subflow.rtt_ms) >= 20
        assert min(subflow.cwnd_kbytes) >= 0


def test_series_steps_stay_within_100_to_250_ms():
    assert [step_of(one_path(duration_s=d)) for d in (6, 60, 600)] == [0.1, pytest.approx(0.15), 0.25]


def test_flow_ids_count_from_zero():
    assert [label for label, _ in expand_flows(two_paths())] == ["mp", "tcp/0", "tcp/1"]


def test_a_run_of_an_agent_carries_what_guard_and_datapath_counted(agent):
    spec = spec_of(two_paths(), "drl", agent=agent)
    run = evaluate(spec)
    assert results.fault_in(run, results.RUN_FIELDS, "run") is None
    assert set(run) == {*results.RUN_FIELDS, "guard"}
    guard = run["guard"]
    assert all(isinstance(count, int) for count in guard.values())
    assert guard["samples"] > 100 and guard["actions"] > 100
    refused = ("samples_foreign", "samples_future", "samples_stale", "actions_not_finite", "windows_bounded")
    assert {guard[name] for name in (*refused, "actions_clipped", "subflows_refused", "datapath_malformed")} == {0}
    # Every action reached the datapath, which gave each one result.
    results_of = ("applied", "clamped", "stale", "unknown", "malformed")
    assert sum(guard[f"datapath_{name}"] for name in results_of) == guard["actions"]
    assert without_wall(evaluate(spec)) == without_wall(run)


def test_decisions_can_be_tapped_without_a_trace(agent):
    seen = []
    spec = spec_of(two_paths(), "drl", agent=agent)
    tapped, plain = Drive(spec, tap=lambda decision: seen.append(len(decision.actions))), Drive(spec)
    for drive in (tapped, plain):
        drive.run(3_000_000_000)
    assert sum(seen) == tapped.count_safety()["actions"] > 0
    assert tapped.count_safety() == plain.count_safety()
    assert Drive(spec_of(two_paths())).count_safety() is None
