# SPDX-License-Identifier: BSD-2-Clause
"""Recovery and fairness figures on made-up rates whose answers are known, and on real runs."""

import json

import numpy as np
import pytest

from ccdrl.agent.contenders import Contender
from ccdrl.agent.evaluation import RunSpec, evaluate
from ccdrl.agent.suite.sampling import measure, record_goodput, step_of
from ccdrl.agent.suite.transients import Figures, find_figures, has_transients, late_starts, longest_rtt_s
from ccdrl.envs.scenario import parse_scenario

LINKS = """
name = "x"
duration_s = 20
warmup_s = 2
[[links]]
id = "a"
rate_mbps = 15
delay_ms = 25
[[links]]
id = "b"
rate_mbps = 15
delay_ms = 50
"""
STEP = """
[[flows]]
id = "mp"
cc = "@"
paths = [["a"], ["b"]]
[[events]]
at_s = 5
link = "a"
down = true
[[events]]
at_s = 10
link = "a"
down = false
"""
PAIR = """
[[flows]]
id = "one"
cc = "@"
paths = [["a"], ["b"]]
[[flows]]
id = "two"
cc = "@"
paths = [["a"], ["b"]]
start_s = 8
"""
PAYLOAD = 1448 / 1500
STEP_S = 0.05


def scenario_of(text):
    return parse_scenario(LINKS + text, "f.toml")


def rates_of(goodput, throughput=None):
    both = [goodput, goodput if throughput is None else throughput]
    return np.array([np.array(one, float) for one in both])


def times():
    return np.arange(round(20 / STEP_S)) * STEP_S


def test_recovery_is_counted_from_the_change():
    """RTT 100 ms; back at 10 s, the full rate comes at 10.6 s: six round trips, and the application's one later."""
    scenario = scenario_of(STEP)
    low, full = 15 * PAYLOAD, 30 * PAYLOAD
    now = times()
    throughput = np.where((now >= 5 - 1e-9) & (now < 10.6 - 1e-9), low, full)[:, None]
    goodput = np.where((now >= 5 - 1e-9) & (now < 10.7 - 1e-9), low, full)[:, None]
    down, up = find_figures(scenario, STEP_S, rates_of(goodput, throughput), None).recoveries
    assert (down.at_s, down.before_mbps, down.share_mbps) == pytest.approx((5.0, full, low), rel=1e-5)
    assert (up.before_mbps, up.share_mbps) == pytest.approx((low, full), rel=1e-5)
    assert down.rtts == 0.0
    # a window of two RTTs from 10.56 s on would hold 0.9 of it; on the grid of 50 ms that is 10.6 s
    assert up.rtts == pytest.approx(6.0)
    assert up.goodput_rtts == pytest.approx(7.0)
    assert up.rtt_ms == pytest.approx(100.0)


def test_what_never_recovers_says_so():
    scenario = scenario_of(STEP)
    rates = np.full((400, 1), 15 * PAYLOAD)
    down, up = find_figures(scenario, STEP_S, rates_of(rates), None).recoveries
    assert (down.rtts, up.rtts, up.goodput_rtts) == (0.0, None, None)


def test_fairness_after_a_start():
    """20 to 30 round trips after 8 s are 10 to 11 s: shares 2 : 1 give an index of 0.9, equal ones from 12 s on 1."""
    scenario = scenario_of(PAIR)
    assert late_starts(scenario) == [8.0]
    now = times()
    one = np.where(now < 8 - 1e-9, 30, np.where(now < 12 - 1e-9, 20, 15))
    two = np.where(now < 8 - 1e-9, 0, np.where(now < 12 - 1e-9, 10, 15))
    (start,) = find_figures(scenario, STEP_S, rates_of(np.stack([one, two], axis=1)), None).starts
    assert start.jain == pytest.approx(0.9, abs=1e-6)
    assert start.newcomer == pytest.approx(15 / (15 * PAYLOAD), rel=1e-5)
    # an index of 0.97 needs a mean difference of 5.3 of 30: that window of 0.5 s begins at 11.75 s
    assert start.rtts == pytest.approx(37.5, abs=1.0)


def test_round_trips_are_those_of_paths_that_are_up():
    scenario = scenario_of(STEP.replace('link = "a"', 'link = "b"'))
    assert longest_rtt_s(scenario) == pytest.approx(0.1)
    assert longest_rtt_s(scenario, 6.0) == pytest.approx(0.05)
    assert step_of(scenario) == pytest.approx(0.05)


def test_figures_survive_the_results_file():
    scenario = scenario_of(STEP)
    figures = find_figures(scenario, STEP_S, rates_of(np.full((400, 1), 10.0)), None)
    assert Figures.from_json(json.loads(json.dumps(figures.to_json()))) == figures


@pytest.mark.parametrize("text", [STEP, PAIR])
def test_a_measured_run_is_the_run_that_evaluate_gives(text):
    spec = RunSpec(scenario_of(text), Contender("lia"), 3)
    measured, plain = measure(spec).run, evaluate(spec)
    for run in (measured, plain):
        del run["wall_s"]
        for flow in run["flows"]:
            flow["subflows"] = [
                {
                    name: pytest.approx(value, rel=1e-9) if name == "cwnd_mean_bytes" else value
                    for name, value in s.items()
                }
                if run is plain
                else s
                for s in flow["subflows"]
            ]
    assert measured == plain


def test_transients_of_a_real_run():
    """LIA alone has its links again within a second of their return, and what it got adds up to the goodput."""
    spec = RunSpec(scenario_of(STEP), Contender("lia"), 1)
    assert has_transients(spec.scenario)
    measured = measure(spec)
    down, up = measured.figures.recoveries
    assert down.rtts is not None
    assert down.rtts < 20
    assert up.share_mbps == pytest.approx(30 * PAYLOAD, rel=1e-5)
    series = record_goodput(spec)
    kept = series.goodput_mbps[round(2 / series.step_s) :].mean()
    assert kept == pytest.approx(measured.run["flows"][0]["goodput_mbps"], rel=1e-9)


def test_a_scenario_without_changes_is_simply_evaluated():
    text = '[[flows]]\nid = "mp"\ncc = "@"\npaths = [["a"], ["b"]]\n'
    measured = measure(RunSpec(scenario_of(text), Contender("lia"), 1))
    assert measured.figures == Figures()
    assert measured.run["flows"][0]["goodput_mbps"] > 20
