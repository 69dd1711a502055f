# SPDX-License-Identifier: BSD-2-Clause
"""Criteria, ranking, weaknesses and the RFC's list on made-up runs whose verdicts are known."""

import json
import math

import numpy as np
import pytest

from ccdrl.agent.suite import rfc9743
from ccdrl.agent.suite.criteria import CRITERIA, Criterion, Finding
from ccdrl.agent.suite.ranking import MEASURES, bootstrap, log_table, rank
from ccdrl.agent.suite.transients import Figures, Recovery, Start
from ccdrl.agent.suite.verdicts import count_passed, describe_suite, find_verdicts
from ccdrl.agent.suite.weaknesses import find_weaknesses

CONTENDERS = ("drl", "lia", "olia", "balia", "cubic")
BY_KEY = {criterion.key: criterion for criterion in CRITERIA}
MEASURE = {measure.key: measure for measure in MEASURES}


@pytest.fixture
def shared(case_of, evidence_of, run_of):
    """From the share that drl leaves a TCP of 10 Mbit/s under LIA, to evidence over tcp-01 and tcp-04."""

    def build(kept, own=10.0, delay_ms=10.0, seeds=(1, 2, 3)):
        cases = [case_of("tcp-01"), case_of("tcp-04")]
        runs = []
        for case in cases:
            for cc in CONTENDERS:
                for seed in seeds:
                    noise = 0.01 * seed
                    rates = {"mp": 10.0 + noise, "tcp": 10.0}
                    if cc == "drl":
                        rates = {"mp": own + noise, "tcp": 10.0 * kept}
                    runs.append(run_of(case, cc, seed, rates.get, delay_ms if cc == "drl" else 20.0))
        return evidence_of(cases, runs)

    return build


@pytest.mark.parametrize(
    ("low", "high", "value", "passed", "wanted"),
    [
        (0.9, math.inf, 0.9, True, "≥ 0.9"),
        (0.9, math.inf, 0.899, False, "≥ 0.9"),
        (-math.inf, 0.5, 0.5, True, "≤ 0.5"),
        (0.4, 0.55, 0.56, False, "0.4 to 0.55"),
        (0.4, 0.55, None, None, "0.4 to 0.55"),
    ],
)
def test_bounds(low, high, value, passed, wanted):
    criterion = Criterion("", "", "", lambda evidence, cc: Finding(None), low, high)
    assert criterion.passes(Finding(value)) is passed
    assert criterion.wanted == wanted


@pytest.mark.parametrize(("kept", "passed"), [(0.96, True), (0.9, False)])
def test_a_tcp_in_a_shallow_buffer_keeps_what_lia_leaves_it(case_of, evidence_of, run_of, kept, passed):
    cases = [case_of("short-01"), case_of("short-08")]
    runs = [
        run_of(case, cc, 1, lambda name, cc=cc: 10.0 * kept if (name, cc) == ("tcp", "drl") else 10.0, 10.0)
        for case in cases
        for cc in CONTENDERS
    ]
    finding = BY_KEY["short-kept"].measure(evidence_of(cases, runs), "drl")
    assert finding.value == pytest.approx(kept)
    assert BY_KEY["short-kept"].passes(finding) is passed


def test_harmless_and_harmful_sharing(shared):
    kind = shared(1.0)
    assert BY_KEY["tcp-kept"].measure(kind, "drl").value == pytest.approx(1.0)
    assert BY_KEY["tcp-share"].measure(kind, "drl").value == pytest.approx(0.5, abs=0.001)
    assert BY_KEY["tcp-inside"].measure(kind, "drl") == Finding(1.0, "2 of 2 scenarios")
    greedy = shared(0.5, own=15.0)
    finding = BY_KEY["tcp-kept"].measure(greedy, "drl")
    assert finding.value == pytest.approx(0.5)
    assert finding.note.startswith("lowest 0.50 in tcp-0")
    assert BY_KEY["tcp-share"].measure(greedy, "drl").value == pytest.approx(0.75, abs=0.001)
    assert BY_KEY["tcp-inside"].measure(greedy, "drl").value == 0.0
    assert BY_KEY["tcp-kept"].measure(greedy, "lia").value == pytest.approx(1.0)


def test_goodput_and_delay(shared):
    evidence = shared(1.0, own=12.0, delay_ms=8.0)
    assert BY_KEY["goodput-mean"].measure(evidence, "drl").value == pytest.approx(1.2, abs=0.01)
    assert BY_KEY["goodput-near"].measure(evidence, "drl") == Finding(1.0, "2 of 2 scenarios")
    assert BY_KEY["goodput-worst"].measure(evidence, "drl").value == pytest.approx(1.2, abs=0.01)
    assert BY_KEY["delay-mean"].measure(evidence, "drl").value == pytest.approx(0.4)


def test_what_a_suite_lacks_has_no_verdict(shared):
    verdicts = {verdict.criterion.key: verdict for verdict in find_verdicts(shared(1.0))}
    for key in ("loss-capacity", "together-jain", "recovery-median", "power", "buffer-use", "balance", "range"):
        assert verdicts[key].passed("drl") is None
    passed, known = count_passed(list(verdicts.values()), "drl")
    assert 0 < passed <= known < len(CRITERIA)


def test_the_distance_from_the_optimum_is_zero_at_the_optimum(case_of, evidence_of, run_of):
    case = case_of("balance-03")
    fair = evidence_of([case], []).optima[case.name].proportional_mbps
    rates = {"olia": 0.9, "drl": 1.0}
    runs = [run_of(case, cc, 1, lambda label, cc=cc: fair[label.split("/")[0]] * rates[cc]) for cc in ("drl", "olia")]
    evidence = evidence_of([case], runs, contenders=("drl", "olia"))
    assert evidence.distance(case, "drl") == pytest.approx(0.0, abs=1e-9)
    assert evidence.distance(case, "olia") == pytest.approx(0.1)
    finding = BY_KEY["balance"].measure(evidence, "drl")
    assert finding.value == pytest.approx(0.0, abs=1e-9)
    assert finding.note.endswith("nearer in 1 of 1")


def test_recoveries_and_starts(case_of, evidence_of, run_of):
    step, pair = case_of("step-01"), case_of("together-01")
    grown = [Recovery(1.0, 50.0, 5.0, 10.0, rtts, rtts) for rtts in (2.0, 8.0, None)]
    shrunk = [Recovery(1.0, 50.0, 10.0, 5.0, 0.0, 0.0)]
    starts = (Start(6.0, 50.0, 0.99, 3.0, 0.8), Start(12.0, 50.0, 0.95, None, 1.25))
    figures = {(step.name, "drl"): Figures(recoveries=(*grown, *shrunk)), (pair.name, "drl"): Figures(starts=starts)}
    runs = [run_of(case, "drl", 1, 5.0) for case in (step, pair)]
    evidence = evidence_of([step, pair], runs, figures, ("drl",))
    median = BY_KEY["recovery-median"].measure(evidence, "drl")
    assert median == Finding(8.0, "1 of 3 not before the next change")
    assert BY_KEY["recovery-near"].measure(evidence, "drl").value == 0.5
    assert BY_KEY["together-jain"].measure(evidence, "drl").value == pytest.approx(0.97)
    assert BY_KEY["together-newcomer"].measure(evidence, "drl").value == pytest.approx(0.8)


def test_the_delay_is_held_against_the_buffer(case_of, evidence_of, run_of):
    case = case_of("buffer-04")
    run = run_of(case, "drl", 1, 5.0)
    for subflow, link in zip(run["flows"][0]["subflows"], case.scenario.links, strict=True):
        serialisation_ms = 1500 * 8e-3 / link.rate_mbps
        subflow["rtt_p95_ms"] = 2 * link.delay_ms * 1.25 + serialisation_ms
    assert evidence_of([case], [run]).buffer_share(case, "drl") == pytest.approx(0.25)


def test_the_ranking_is_paired_and_its_interval_holds_the_mean(shared):
    evidence = shared(0.8, own=15.0, delay_ms=5.0)
    goodput = rank(evidence, MEASURE["goodput"])
    assert goodput.places[0].cc == "drl"
    assert goodput.places[0].first == 1.0
    assert goodput.places[0].mean == pytest.approx(1.5, abs=0.01)
    by_cc = {place.cc: place for place in goodput.places}
    assert (by_cc["lia"].mean, by_cc["lia"].low, by_cc["lia"].high) == (1.0, 1.0, 1.0)
    assert (by_cc["olia"].low, by_cc["olia"].high) == (1.0, 1.0), "equal in each seed: paired, no noise is left"
    for place in goodput.places:
        assert place.low <= place.mean <= place.high
    delay = rank(evidence, MEASURE["delay"])
    assert [place.cc for place in delay.places][0] == "drl"
    assert delay.places[0].mean == pytest.approx(0.25)
    rivals = {place.cc: place.mean for place in rank(evidence, MEASURE["rivals"]).places}
    assert rivals["drl"] == pytest.approx(0.8)
    assert rank(evidence, MEASURE["goodput"]) == goodput, "the same evidence, the same resamples"


def test_bootstrap_intervals_cover_the_truth():
    """Normal data: the share of 95 % intervals over 12 scenarios that hold the true mean, within binomial bounds."""
    random = np.random.default_rng(5)
    covered = 0
    for _ in range(120):
        table = random.normal(0.3, 0.2, (12, 1, 1)) + random.normal(0, 0.05, (12, 3, 1))
        low, high = np.percentile(bootstrap(table, 400)[:, 0], [2.5, 97.5])
        covered += low <= 0.3 <= high
    # a percentile bootstrap of 12 scenarios covers a little less than 95 %
    assert 0.84 <= covered / 120 <= 1.0


def test_a_scenario_with_a_missing_seed_is_not_ranked(shared):
    evidence = shared(1.0)
    assert log_table(evidence, MEASURE["goodput"]).shape == (2, 3, 5)
    runs = tuple(
        run for run in evidence.runs if not (run["cc"] == "olia" and run["seed"] == 2 and "04" in run["scenario"])
    )
    partial = type(evidence)(evidence.suite, evidence.digest, runs, evidence.figures, evidence.optima, evidence.tested)
    assert log_table(partial, MEASURE["goodput"]).shape == (1, 3, 5)


def test_causes_of_losses(shared, case_of, evidence_of, run_of):
    timid = find_weaknesses(shared(1.5, own=5.0))
    assert {one.loss.figure for one in timid} == {"goodput"}
    assert all(one.cause.startswith("gives up share: the competitors get 1.50 times") for one in timid)
    greedy = find_weaknesses(shared(0.5, own=15.0))
    assert {one.loss.figure for one in greedy} == {"competitors’ goodput"}
    assert all(one.cause.startswith("takes more of the shared link: 0.75 of all goodput") for one in greedy)
    case = case_of("pair-03")
    runs = [run_of(case, cc, 1, 3.0 if cc == "drl" else 6.0, 20.0, 0.2 if cc == "drl" else 0.0) for cc in CONTENDERS]
    (lazy,) = find_weaknesses(evidence_of([case], runs))
    assert lazy.cause.startswith("underuse when alone: 40 % of the optimum, lia 80 %")
    assert lazy.cause.endswith("; loses more: resends 20.00 %, lia 0.00 %")
    queued = [run_of(case, cc, 1, 6.0, 90.0 if cc == "drl" else 20.0) for cc in CONTENDERS]
    (slow,) = find_weaknesses(evidence_of([case], queued))
    assert slow.cause == "a longer standing queue at like utilisation"


def test_the_list_names_every_item_once_and_covers_every_must(suite, evidence_of):
    sections = [item.section for item in rfc9743.ITEMS]
    assert len(set(sections)) == len(sections)
    for verdict in rfc9743.judge_items(evidence_of(suite.cases, []), "drl"):
        has_measure = verdict.item.criterion is not None
        assert has_measure != bool(verdict.item.why)
        assert bool(verdict.scenarios) == has_measure, verdict.item.section
        assert verdict.verdict == (verdict.item.why or "not in this suite")
    musts = [item for item in rfc9743.ITEMS if item.level == rfc9743.MUST]
    assert {item.section.split()[0] for item in musts} >= {
        "5.1.5",
        "5.2",
        "5.2.1",
        "5.2.3",
        "6.1",
        "6.2",
        "7.9",
        "7.10",
    }


def test_rfc_verdicts(shared):
    verdicts = {one.item.section: one.verdict for one in rfc9743.judge_items(shared(0.1, own=19.0), "drl")}
    assert verdicts["5.2 Starvation"] == "not met"
    assert verdicts["5.2.1 Standard controllers"] == "not met"
    assert verdicts["7.11 Data centres"].startswith("not applicable")
    verdicts = {one.item.section: one.verdict for one in rfc9743.judge_items(shared(1.0), "drl")}
    assert verdicts["5.2 Starvation"] == "met"
    assert verdicts["5.2.1 Standard controllers"] == "met"


def test_the_section_of_the_results_file(shared):
    evidence = shared(1.0)
    section = json.loads(json.dumps(describe_suite(evidence, is_complete=True), allow_nan=False))
    assert (section["kind"], section["seed"]) == ("full", 9743)
    assert [case["scenario"] for case in section["cases"]] == ["tcp-01", "tcp-04"]
    assert section["cases"][0]["optimum"]["mp"]["max_min_mbps"] == pytest.approx(6.13 / 2 * 1448 / 1500)
    assert [row["key"] for row in section["criteria"]] == [criterion.key for criterion in CRITERIA]
    assert section["criteria"][0]["findings"]["drl"]["passed"] is False
    assert {row["measure"] for row in section["ranking"]} == set(MEASURE)
    assert len(section["rfc9743"]["drl"]) == len(rfc9743.ITEMS)
    assert "criteria" not in describe_suite(evidence, is_complete=False)
