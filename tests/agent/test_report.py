# SPDX-License-Identifier: BSD-2-Clause
"""Digest, table and report on made-up runs: figures by hand, well-formed pages, nothing from outside, same bytes."""

import io
import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from ccdrl.agent.digest import digest_runs, find_losses
from ccdrl.agent.report import Provenance, render_report
from ccdrl.agent.report.palette import AGENT_STYLES, CLASSIC_STYLES, style_of
from ccdrl.agent.table import format_number, print_table
from ccdrl.agent.timeseries import Series, SubflowSeries
from ccdrl.envs.scenario import parse_scenario

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"
HOSTILE = "<script>alert('1')</script>&\\\"$x_1$--"
CONTENDERS = ("drl", "lia", "olia", "cubic")
LEVELS = {"drl": (9.0, 8.0, 3.0), "lia": (10.0, 40.0, 4.0), "olia": (8.0, 30.0, 5.0), "cubic": (12.0, 90.0, 2.0)}

TOML = """
name = "{name}"
summary = "{name}"
duration_s = 30
warmup_s = 5
[[links]]
id = "one"
rate_mbps = 10
delay_ms = 10
loss = {{ kind = "bernoulli", p = 0.01 }}
[[flows]]
id = "mp"
cc = "@"
paths = [["one"], ["one"]]
[[flows]]
id = "tcp"
cc = "cubic"
paths = [["one"]]
[[events]]
at_s = 20
link = "one"
down = true
"""


def make_scenario(name="plain"):
    return parse_scenario(TOML.format(name=name), "file.toml")


def make_flow(name, goodput, delay, completion=None):
    return {
        "id": name,
        "cc": "x",
        "goodput_mbps": goodput,
        "completion_s": completion,
        "queue_delay_p95_ms": delay,
        "retransmit_ratio": 0.01,
        "subflows": [],
    }


def make_runs(scenario, completions=None):
    runs = []
    for cc, (goodput, delay, rival) in LEVELS.items():
        for seed in (1, 2, 3, 4):
            shift = 0.1 * (seed - 2.5)
            done = completions[cc] if completions else None
            flows = [make_flow("mp", goodput + shift, delay - 10 * shift**2, done), make_flow("tcp", rival, 5.0)]
            runs.append({"scenario": scenario, "cc": cc, "seed": seed, "flows": flows, "jain": 0.9})
    return runs


def make_series(scenario):
    steps = np.arange(120)
    series = []
    for cc in CONTENDERS:
        rtt = np.where(steps > 100, math.nan, 30.0 + steps % 9).tolist()
        subflows = [SubflowSeries(label, (20.0 + steps % 7).tolist(), rtt, [5.0] * 120) for label in ("one", "two")]
        series.append(Series(scenario, cc, 1, "mp", 0.25, (0.25 * steps).tolist(), subflows))
    return series


def digest_of(scenarios, runs=None):
    names = [scenario.name for scenario in scenarios]
    runs = [run for name in names for run in make_runs(name)] if runs is None else runs
    return digest_runs(runs, names, CONTENDERS, {name: frozenset({"mp"}) for name in names})


def render(scenarios, series=(), command="compare.py"):
    return render_report(digest_of(scenarios), scenarios, series, Provenance("1.2.3", command, (1, 2, 3, 4), "sim"))


def parse(page):
    return ET.fromstring(page.removeprefix("<!DOCTYPE html>\n"))


def test_digest_by_hand():
    digest = digest_of([make_scenario()])
    row = digest.rows["plain", "drl"]
    assert row.goodput.mean == pytest.approx(9.0)
    assert row.relative == pytest.approx(0.9)  # LIA's 10 is the best coupling; CUBIC is none
    assert row.delay_relative == pytest.approx((8 - 0.125) / (40 - 0.125))
    assert row.rivals.mean == pytest.approx(3.0)
    assert row.rivals_relative == pytest.approx(0.75)
    assert len(row.points) == row.seeds == 4
    assert digest.rows["plain", "olia"].relative == pytest.approx(0.8)


def test_losses_are_found_worst_first():
    losses = find_losses(digest_of([make_scenario()]))
    assert [(loss.figure, loss.reference_name, round(loss.change, 3)) for loss in losses] == [
        ("competitors’ goodput", "LIA", -0.25),
        ("goodput", "LIA", -0.1),
    ]
    assert all(loss.is_significant for loss in losses)


def test_finite_transfers_are_judged_by_completion():
    times = {"drl": 3.0, "lia": 2.0, "olia": 2.5, "cubic": 1.6}
    digest = digest_of([make_scenario()], make_runs("plain", times))
    # The rival is unlimited and has no completion time; only the flows under test count.
    assert digest.rows["plain", "drl"].relative == pytest.approx(2 / 3)
    assert digest.rows["plain", "cubic"].relative == pytest.approx(1.25)
    assert ("completion", "s") in {(loss.figure, loss.unit) for loss in find_losses(digest)}


def test_a_transfer_that_does_not_finish_leaves_the_goodput_as_the_measure():
    runs = make_runs("plain", {"drl": 3.0, "lia": 2.0, "olia": 2.5, "cubic": 1.6})
    runs[0]["flows"][0]["completion_s"] = None
    row = digest_of([make_scenario()], runs).rows["plain", "drl"]
    assert row.completion.mean is None
    assert row.relative == pytest.approx(0.9)


@pytest.mark.parametrize("count", [1, 3, 14])
def test_the_page_is_well_formed_with_a_section_for_each_scenario(count):
    scenarios = [make_scenario(f"scenario-{i}") for i in range(count)]
    page = parse(render(scenarios, make_series("scenario-0")))
    headings = [heading.text for heading in page.iter("h2")]
    assert [name for name in headings if name.startswith("scenario-")] == [scenario.name for scenario in scenarios]
    assert "Where it loses" in headings
    assert ("Overview" in headings) == (count > 1)
    figures = list(page.iter(f"{SVG}svg"))
    assert len(figures) == count + 1 + (4 if count > 1 else 0)
    assert all(figure.get("aria-label") and figure.get("viewBox") for figure in figures)
    assert (f"Time series: the first 1 of {count} scenarios." in "".join(page.itertext())) == (count > 1)


def test_ids_are_unique_and_references_resolve():
    page = parse(render([make_scenario("a"), make_scenario("b")], make_series("a")))
    ids = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    links = [element.get(f"{XLINK}href") or element.get("href") for element in page.iter()]
    clips = re.findall(r"url\(#([^)]+)\)", ET.tostring(page, encoding="unicode"))
    assert {link.removeprefix("#") for link in links if link} | set(clips) <= set(ids)


def test_nothing_is_loaded_from_outside():
    text = render([make_scenario()], make_series("plain"))
    outside = re.sub(r'xmlns(:xlink)?="http://www\.w3\.org/[^"]+"', "", text)
    assert "//" not in outside.replace("</", "")
    assert not re.search(r"(?i)<(script|link|img|iframe|object|embed|foreignObject)|@import|\ssrc=", text)
    assert not re.search(r"url\((?!#)", text)


def test_hostile_names_stay_text():
    scenario = make_scenario(HOSTILE)
    name = scenario.name
    assert "<script>" in name
    text = render([scenario, make_scenario("other")], make_series(name), command=f"compare.py '{name}'")
    assert "<script" not in text
    page = parse(text)
    assert name in [heading.text for heading in page.iter("h2")]
    assert any(name in (code.text or "") for code in page.iter("code"))
    labels = ["".join(label.itertext()) for label in page.iter(f"{SVG}text")]
    assert name[:20] in "".join(labels), "drawn as it is, dollars included"


def test_the_same_results_give_the_same_bytes(monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    pages = [render([make_scenario()], make_series("plain")) for _ in range(2)]
    assert pages[0] == pages[1]
    assert "Date" not in pages[0]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    assert "2001-09-09 01:46 UTC" in render([make_scenario()])
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    assert render([make_scenario()], make_series("plain")) == pages[0]


def test_a_page_of_runs_without_samples():
    runs = [
        {"scenario": "plain", "cc": cc, "seed": 1, "jain": None, "flows": [make_flow("mp", 0.0, None)]}
        for cc in ("drl", "lia")
    ]
    scenario = make_scenario()
    digest = digest_of([scenario], runs)
    page = parse(render_report(digest, [scenario], [], Provenance("1", "compare.py", (1,), "sim")))
    assert "no RTT samples" in "".join(page.itertext())
    empty = digest_runs([], ["plain"], CONTENDERS, {"plain": frozenset({"mp"})})
    page = parse(render_report(empty, [scenario], [], Provenance("1", "compare.py", (1,), "sim")))
    assert "No finished runs." in "".join(page.itertext())


def test_colours_and_markers_are_told_apart():
    styles = [*CLASSIC_STYLES.values(), *AGENT_STYLES]
    assert len({color for color, _ in styles}) == len({marker for _, marker in styles}) == len(styles)
    labels = ["drl:a", "lia", "drl:b"]
    assert style_of("lia", labels) == CLASSIC_STYLES["lia"]
    assert [style_of(label, labels) for label in ("drl:a", "drl:b")] == list(AGENT_STYLES[:2])


def test_the_table_shows_the_digest():
    stream = io.StringIO()
    print_table(digest_of([make_scenario("[bold]odd[/bold]")]), stream)
    text = stream.getvalue()
    assert "[bold]odd[/bold]" in text, "names are no markup"
    (line,) = [line for line in text.splitlines() if line.split()[:1] == ["olia"]]
    assert line.split()[1:5] == ["8.000", "±0.205", "0.80", "29.9"]
    assert "mean over 4 seeds" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0.00"),
        (0.1234, "0.12"),
        (9.876, "9.88"),
        (12.34, "12.3"),
        (123.4, "123"),
        (12345.6, "12346"),
    ],
)
def test_numbers_have_three_digits_and_no_exponent(value, text):
    assert format_number(value) == text
