# SPDX-License-Identifier: BSD-2-Clause
"""The suite's page on made-up runs: well formed, self-contained, with every section, the same bytes each time."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from ccdrl.agent.report import Provenance
from ccdrl.agent.report.suite_document import render_suite
from ccdrl.agent.report.suite_ranking_figure import choose_ticks
from ccdrl.agent.report.suite_series_figure import find_fairness, smooth
from ccdrl.agent.report.suite_shares_figure import list_rows
from ccdrl.agent.suite.phase import Phase
from ccdrl.agent.suite.sampling import GoodputSeries
from ccdrl.agent.suite.transients import Figures, Recovery, Start

SVG = "{http://www.w3.org/2000/svg}"
CONTENDERS = ("drl", "lia", "olia", "balia", "cubic")
NAMES = ("pair-03", "tcp-01", "together-01", "step-01", "practice-01")
PROVENANCE = Provenance("1.0", "compare.py --suite full & <more>", (1, 2), "sim")


@pytest.fixture(scope="module")
def evidence(case_of, evidence_of, run_of):
    cases = [case_of(name) for name in NAMES]
    figures = {}
    runs = []
    for index, cc in enumerate(CONTENDERS):
        recoveries = tuple(Recovery(at, 50.0, 1.0, 2.0, None if at > 30 else 3.0, 4.0) for at in (14.0, 24.0, 34.0))
        figures["step-01", cc] = Figures(recoveries=recoveries)
        figures["together-01", cc] = Figures(starts=(Start(6.0, 50.0, 0.9, 12.0, 0.8),))
        for case in cases:
            for seed in (1, 2):
                runs.append(run_of(case, cc, seed, 5.0 + index + 0.1 * seed, 30.0 - index, completion_s=1.0))
    return evidence_of(cases, runs, figures)


def make_series(scenario, flows):
    random = np.random.default_rng(1)
    return [
        GoodputSeries(scenario, cc, 1, 0.05, flows, 10 + random.normal(0, 1, (1000, len(flows)))) for cc in CONTENDERS
    ]


def make_phase():
    axis = np.linspace(1, 4, 9)
    loss = np.linspace(0, 0.1, 7)
    action = np.add.outer(-5 * loss, 0.6 - 0.3 * axis)
    return Phase("drl", axis, loss, action, np.array([1.1, 2.0]), np.array([0.0, 0.01]))


@pytest.fixture(scope="module")
def page(evidence):
    series = [*make_series("together-01", ("agent0", "agent1")), *make_series("step-01", ("mp",))]
    return render_suite(evidence, series, [make_phase()], PROVENANCE)


def test_the_page_has_every_section(page):
    tree = ET.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
    headings = ["".join(heading.itertext()) for heading in tree.iter("h2")]
    assert headings == [
        "Verdicts",
        "Ranking",
        "Where it loses, and why",
        "Convergence, fairness and recovery over time",
        "What the policy does",
        "RFC 9743, item by item",
        "Idle pairs over the whole range",
        "One link shared with one TCP",
        "Several together",
        "Rate steps",
        "Other demands of RFC 9743",
        "Definitions",
    ]
    text = "".join(tree.itertext())
    assert "compare.py --suite full & <more>" in text
    figures = list(tree.iter(f"{SVG}svg"))
    assert all(figure.get("aria-label") and figure.get("viewBox") for figure in figures)


def test_ids_are_unique_and_nothing_is_loaded(page):
    tree = ET.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)
    outside = re.sub(r'xmlns(:xlink)?="http://www\.w3\.org/[^"]+"', "", page)
    assert "//" not in outside.replace("</", "")
    assert not re.search(r"(?i)<(script|link|img|iframe|object|embed|foreignObject)|@import|\ssrc=", page)


def test_the_same_evidence_gives_the_same_bytes(page, evidence, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    series = [*make_series("together-01", ("agent0", "agent1")), *make_series("step-01", ("mp",))]
    assert render_suite(evidence, series, [make_phase()], PROVENANCE) == page


def test_a_page_without_series_agents_or_runs(case_of, evidence_of):
    empty = evidence_of([case_of("pair-03"), case_of("tcp-01")], [], contenders=("lia", "cubic"))
    text = render_suite(empty, [], [], PROVENANCE)
    assert "Verdicts" in text
    assert "What the policy does" not in text


def test_references_stand_beside_every_flow(evidence):
    rows = list_rows(evidence, [case for case in evidence.suite.cases if case.name in ("tcp-01", "practice-01")])
    assert [row.label for row in rows] == ["tcp-01  mp", "tcp"], "transfers that end have no reference"
    assert rows[0].max_min_mbps == pytest.approx(6.13 / 2 * 1448 / 1500)
    assert dict(rows[0].goodputs)["lia"] == pytest.approx(6.15)


def test_fairness_counts_the_connections_that_are_active(case_of):
    case = case_of("together-01")
    values = np.zeros((360, 2))
    values[:, 0] = 20.0
    values[240:, 1] = 20.0
    series = GoodputSeries(case.name, "drl", 1, 0.05, ("agent0", "agent1"), values)
    times, index = find_fairness(series, case.scenario)
    assert len(smooth(series)[0]) == len(times) == 36
    assert np.isnan(index[times < 6]).all(), "one alone"
    assert index[(times > 6.5) & (times < 11.5)] == pytest.approx(0.5)
    assert index[times > 12.5] == pytest.approx(1.0)


def test_ticks_stand_apart():
    ticks = choose_ticks(0.5, 2.5)
    assert 1.0 in ticks
    assert all(b / a > 1.3 for a, b in zip(ticks, ticks[1:], strict=False))
    assert choose_ticks(0.97, 1.04) == [1.0]
