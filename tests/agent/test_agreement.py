# SPDX-License-Identifier: BSD-2-Clause
import copy

import pytest

from ccdrl.agent.agreement import GOODPUT_BOUND, RTT_BOUND, compare_datapaths, count_agreeing
from ccdrl.agent.report.agreement_section import render_agreement

TESTED = {"s": frozenset({"mp"})}


def run(cc, seed, goodput, rtt, datapath="sim"):
    flow = {"id": "mp", "cc": cc, "goodput_mbps": goodput, "rtt_mean_ms": rtt, "retransmit_ratio": 0.01}
    other = {"id": "tcp", "cc": "cubic", "goodput_mbps": 99.0, "rtt_mean_ms": 99.0, "retransmit_ratio": 0.5}
    return {"scenario": "s", "cc": cc, "seed": seed, "datapath": datapath, "flows": [flow, other]}


def test_pairs_are_means_over_seeds_of_the_flows_under_test():
    simulated = [run("lia", 1, 10.0, 50.0), run("lia", 2, 12.0, 70.0), run("cubic", 1, 1.0, 1.0)]
    measured = [run("lia", 1, 9.9, 72.0, "linux"), run("balia", 1, 1.0, 1.0, "linux")]
    [row] = compare_datapaths(simulated, measured, TESTED)
    assert (row.scenario, row.cc) == ("s", "lia")
    assert row.goodput.ratio == pytest.approx(0.9)
    assert row.rtt.ratio == pytest.approx(1.2)
    assert row.retransmit.ratio == pytest.approx(1.0)
    assert row.goodput.agrees(GOODPUT_BOUND + 1e-9) is True
    assert row.rtt.agrees(RTT_BOUND) is False
    assert count_agreeing([row.goodput, row.rtt], RTT_BOUND) == (1, 2)


def test_a_scenario_that_is_not_asked_for_is_left_out():
    assert compare_datapaths([run("lia", 1, 1.0, 1.0)], [run("lia", 1, 1.0, 1.0)], {}) == []


def test_missing_and_zero_figures_have_no_ratio():
    simulated = [run("lia", 1, 0.0, None)]
    [row] = compare_datapaths(simulated, copy.deepcopy(simulated), TESTED)
    assert (row.goodput.ratio, row.rtt.ratio) == (None, None)
    assert count_agreeing([row.goodput, row.rtt], 0.1) == (0, 0)


def test_the_section_says_how_many_agree_and_marks_the_others():
    rows = compare_datapaths(
        [run("lia", 1, 10.0, 50.0), run("cubic", 1, 10.0, 50.0)],
        [run("lia", 1, 10.5, 100.0), run("cubic", 1, 50.0, 51.0)],
        TESTED,
    )
    page = render_agreement(rows, ["lia", "cubic"])
    assert "Goodput within 10 % in 1 of 2 pairs, mean RTT within 15 % in 1 of 2." in page
    assert "<b>5.00</b>" in page
    assert "<b>2.00</b>" in page
    assert page.count("<svg") == 1
    assert render_agreement([], ["lia"]) == ""
