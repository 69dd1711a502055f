# SPDX-License-Identifier: BSD-2-Clause
"""The report's page: provenance, summary, overview, where the contender loses, and a section for each scenario.

The same results give the same bytes: the page has a date only where SOURCE_DATE_EPOCH sets one.
"""

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from ccdrl.agent import statistics
from ccdrl.agent.agreement import Agreement
from ccdrl.agent.digest import Digest, Loss, Row, find_losses, judged_contenders
from ccdrl.agent.report.agreement_section import render_agreement
from ccdrl.agent.report.facts import describe_scenario
from ccdrl.agent.report.markup import Markup, contender_mark, element, figure, join, table
from ccdrl.agent.report.overview_figure import MEASURES, matrix_figure
from ccdrl.agent.report.scenario_figure import scenario_figure
from ccdrl.agent.report.series_figure import series_figure
from ccdrl.agent.table import format_estimate, format_number, format_percent
from ccdrl.agent.timeseries import Series
from ccdrl.envs.scenario import Scenario

LOSSES_SHOWN = 40

DEFINITIONS = (
    (
        "Goodput",
        "payload handed in order to the receiving application, summed over the flows under test, in Mbit/s over the "
        "time after the warm-up.",
    ),
    (
        "p95 queueing delay",
        "95th percentile, over all RTT samples of data packets on all subflows, of the RTT minus the "
        "path’s two-way propagation delay; averaged over the flows under test.",
    ),
    (
        "÷ best coupling",
        "mean goodput over the highest mean goodput of LIA, OLIA and BALIA in the same scenario; for finite transfers, "
        "the shortest of their mean completion times over the own.",
    ),
    ("Resent", "retransmitted over sent bytes."),
    (
        "Jain’s index",
        "(Σx)² ÷ (n·Σx²) over the goodputs of all flows; 1 means equal shares, which is not the goal where flows "
        "have different paths.",
    ),
    (
        "Competitors",
        "sum of the goodputs of the flows that are not under test. Their goodput divided by what LIA leaves them "
        "is one minus the harm (Ware et al., HotNets 2019) with LIA as the baseline.",
    ),
    ("±", "half width of the 95 % confidence interval of the mean over the seeds (Student’s t)."),
    (
        "Ellipse",
        "one standard deviation of the seeds’ joint distribution, as in the Pantheon papers (Yan et al., ATC 2018).",
    ),
)


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from."""

    version: str
    command: str
    seeds: tuple[int, ...]
    datapath: str


def describe_seeds(seeds: Sequence[int]) -> str:
    """Return seeds as a range where they are one."""
    ordered = sorted(seeds)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]} to {ordered[-1]}"
    return ", ".join(str(seed) for seed in ordered)


def page_date() -> str | None:
    """Return the date of SOURCE_DATE_EPOCH, None without a valid one."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not (text.isascii() and text.isdecimal() and len(text) < 12):
        return None
    return datetime.datetime.fromtimestamp(int(text), datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def render_header(digest: Digest, provenance: Provenance) -> Markup:
    """Return the head of the page: what was compared, and how."""
    facts: list[tuple[str, object]] = [
        ("Version", f"ccdrl {provenance.version}, datapath {provenance.datapath}"),
        ("Contenders", join((contender_mark(cc, digest.contenders) for cc in digest.contenders), " ")),
        ("Scenarios", len(digest.scenarios)),
        ("Seeds", describe_seeds(provenance.seeds)),
        ("Command", element("code", provenance.command)),
    ]
    if date := page_date():
        facts.append(("Date", date))
    title = "Multipath congestion control: a comparison"
    return element("header", element("h1", title), render_facts(facts))


def render_facts(facts: Sequence[tuple[str, object]]) -> Markup:
    """Return (word, text) pairs as a definition list."""
    return element("dl", *(join((element("dt", word), element("dd", text))) for word, text in facts))


def render_summary(digest: Digest) -> Markup:
    """Return one line for each contender over all scenarios; with one scenario, its figures."""
    if len(digest.scenarios) == 1:
        numbers = render_numbers(digest.of_scenario(digest.scenarios[0]), digest.contenders)
        return element("section", element("h2", "Summary"), numbers)
    rows = []
    for cc in digest.contenders:
        own = digest.of_contender(cc)
        worst = min((row for row in own if row.relative is not None), key=lambda row: row.relative or 0.0, default=None)
        rows.append(
            (
                contender_mark(cc, digest.contenders),
                format_number(statistics.geometric_mean(row.relative for row in own)),
                "–" if worst is None else join((format_number(worst.relative), element("small", f" {worst.scenario}"))),
                format_number(statistics.geometric_mean(row.delay_relative for row in own)),
                format_number(statistics.mean(row.jain.mean for row in own)),
                format_number(statistics.geometric_mean(row.rivals_relative for row in own)),
                format_percent(statistics.mean(row.retransmit.mean for row in own)),
            )
        )
    head = (
        "Controller",
        "Goodput ÷ best coupling",
        "worst scenario",
        "p95 queueing delay ÷ LIA’s",
        "Jain’s index",
        "Competitors ÷ with LIA",
        "Resent, %",
    )
    note = f"Over {len(digest.scenarios)} scenarios; ratios are geometric means, the others arithmetic means."
    return element("section", element("h2", "Summary"), table(head, rows), element("p", note, class_="note"))


def render_overview(digest: Digest) -> Markup:
    """Return a matrix of bars for each measure; for one scenario its own section says it all."""
    if len(digest.scenarios) < 2:
        return Markup("")
    figures = []
    for index, measure in enumerate(MEASURES):
        caption = join((element("b", measure.title), f" ({measure.better})"))
        figures.append(figure(matrix_figure(f"overview{index}", digest, measure), caption, is_titled=True))
    note = "Bars of ratios start at 1 and grow on a logarithmic scale; a bar with a pointed end leaves the scale."
    return element("section", element("h2", "Overview"), element("p", note, class_="note"), *figures)


def render_losses(digest: Digest) -> Markup:
    """Return the table of what the judged contenders lose to the couplings."""
    judged = judged_contenders(digest)
    if not judged or not any(row.relative is not None for row in digest.rows.values()):
        return Markup("")
    losses = find_losses(digest)
    names = ", ".join(judged)
    if not losses:
        text = f"{names}: by more than 1 %, nowhere."
        return element("section", element("h2", "Where it loses"), element("p", text))
    head = ("Controller", "Scenario", "Figure", "Value", "Reference", "Change", "Intervals")
    shown = losses[:LOSSES_SHOWN]
    rest = f" The {len(losses) - len(shown)} smallest are left out." if len(losses) > len(shown) else ""
    note = (
        f"Where {names} is worse by more than 1 %: goodput against the best coupling, p95 queueing delay and "
        f"competitors’ goodput against LIA, largest change first.{rest}"
    )
    body = [loss_cells(loss, digest.contenders) for loss in shown]
    return element("section", element("h2", "Where it loses"), element("p", note, class_="note"), table(head, body, 3))


def loss_cells(loss: Loss, contenders: Sequence[str]) -> tuple[object, ...]:
    """Return one line of the losses' table."""
    return (
        contender_mark(loss.cc, contenders),
        loss.scenario,
        f"{loss.figure}, {loss.unit}",
        format_estimate(loss.value),
        join((format_estimate(loss.reference), element("small", f" {loss.reference_name}"))),
        f"{100 * loss.change:+.0f} %".replace("-", "−"),
        "apart" if loss.is_significant else "overlap" if loss.value.ci95 is not None else "one seed",
    )


def render_numbers(rows: Sequence[Row], contenders: Sequence[str]) -> Markup:
    """Return a scenario's figures; columns that are empty throughout are left out."""
    columns = [
        ("Goodput, Mbit/s", [format_estimate(row.goodput, 4) for row in rows]),
        ("÷ best coupling", [format_number(row.relative) for row in rows]),
        ("p95 queueing delay, ms", [format_estimate(row.delay) for row in rows]),
        ("Resent, %", [format_percent(row.retransmit.mean) for row in rows]),
        ("Jain’s index", [format_estimate(row.jain) for row in rows]),
        ("Competitors, Mbit/s", [format_estimate(row.rivals, 4) for row in rows]),
        ("÷ with LIA", [format_number(row.rivals_relative) for row in rows]),
        ("Completion, s", [format_estimate(row.completion) for row in rows]),
    ]
    kept = [(head, cells) for head, cells in columns if any(cell != "–" for cell in cells)]
    body = [
        (contender_mark(row.cc, contenders), *(cells[index] for _, cells in kept)) for index, row in enumerate(rows)
    ]
    return table(("Controller", *(head for head, _ in kept)), body)


def render_scenario(index: int, scenario: Scenario, digest: Digest, series: Sequence[Series]) -> Markup:
    """Return one scenario's section."""
    rows = digest.of_scenario(scenario.name)
    heading = element("h2", scenario.name)
    facts = render_facts(describe_scenario(scenario))
    intro = element("p", scenario.summary) if scenario.summary else Markup("")
    if not rows:
        return element("section", heading, intro, facts, element("p", "No finished runs."))
    seeds = max(row.seeds for row in rows)
    spread = "dots are seeds, ellipses one standard deviation" if seeds > 2 else "dots are seeds"
    caption = f"Left: {spread}, symbols their mean. Right: bars of the means, whiskers 95 % confidence."
    parts = [
        heading,
        intro,
        facts,
        figure(scenario_figure(f"scenario{index}", scenario.name, rows, digest.contenders), caption),
    ]
    if len(digest.scenarios) > 1:
        parts.append(render_numbers(rows, digest.contenders))
    own = [one for one in series if one.scenario == scenario.name]
    if own:
        shown = (
            f"Subflows of flow {own[0].flow} with seed {own[0].seed}, means over {own[0].step_s * 1e3:.0f} ms; scales "
            f"are common to a column. Shaded: warm-up.{' Dashed: events.' if scenario.events else ''}"
        )
        parts.append(figure(series_figure(f"series{index}", scenario, own, digest.contenders), shown))
    return element("section", *parts, class_="scenario")


def render_report(
    digest: Digest,
    scenarios: Sequence[Scenario],
    series: Sequence[Series],
    provenance: Provenance,
    agreement: Sequence[Agreement] = (),
) -> str:
    """Return the whole page; `agreement` fills the section that holds two datapaths beside each other."""
    shown = {one.scenario for one in series}
    note = Markup("")
    if series and len(shown) < len(scenarios):
        note = element("p", f"Time series: the first {len(shown)} of {len(scenarios)} scenarios.", class_="note")
    style = resources.files("ccdrl.agent.report").joinpath("style.css").read_text(encoding="utf-8")
    body = [
        render_header(digest, provenance),
        render_summary(digest),
        render_overview(digest),
        render_losses(digest),
        render_agreement(agreement, digest.contenders),
        note,
        *(render_scenario(index, scenario, digest, series) for index, scenario in enumerate(scenarios)),
        element("section", element("h2", "Definitions"), render_facts(DEFINITIONS)),
    ]
    head = element(
        "head",
        Markup('<meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>'),
        element("title", "ccdrl comparison"),
        element("style", Markup(style)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', element('main', *body)), lang='en')}\n"
