# SPDX-License-Identifier: BSD-2-Clause
"""The suite's page: verdicts, ranking, losses, convergence, the policy's phase plot, RFC 9743, and every group.

The same results give the same bytes: the page has a date only where SOURCE_DATE_EPOCH sets one.
"""

from collections.abc import Sequence
from importlib import resources

from ccdrl.agent.digest import Digest
from ccdrl.agent.report.document import DEFINITIONS, Provenance, describe_seeds, page_date, render_facts
from ccdrl.agent.report.markup import Markup, contender_mark, element, figure, join, table
from ccdrl.agent.report.overview_figure import MEASURES, matrix_figure
from ccdrl.agent.report.phase_figure import phase_figure
from ccdrl.agent.report.suite_sections import render_ranking, render_rfc9743, render_verdicts, render_weaknesses
from ccdrl.agent.report.suite_series_figure import convergence_figure
from ccdrl.agent.report.suite_shares_figure import shares_figure
from ccdrl.agent.statistics import Estimate, estimate
from ccdrl.agent.suite.catalogue import TITLES
from ccdrl.agent.suite.draw import Case
from ccdrl.agent.suite.evidence import Evidence
from ccdrl.agent.suite.phase import Phase
from ccdrl.agent.suite.sampling import GoodputSeries
from ccdrl.agent.table import format_estimate, format_number

SUITE_DEFINITIONS = (
    ("Max-min fair", "progressive filling; a multipath connection counts as one TCP at each link."),
    (
        "Proportionally fair",
        "the rates that maximise the sum of their logarithms, with a segment an RTT on every path for probing.",
    ),
    ("Distance from the optimum", "Σ|x − x*| ÷ Σx* over all connections, x* the proportionally fair goodput."),
    ("Power", "goodput over p95 queueing delay."),
    (
        "Recovery",
        "round trips (longest propagation RTT of the paths that are up) from a change until the subflows deliver 0.9 "
        "of the new max-min share over two round trips.",
    ),
    ("Fairness after a start", "Jain’s index of goodput ÷ fair share, from 20 to 30 round trips after it."),
)


def render_suite_header(evidence: Evidence, provenance: Provenance) -> Markup:
    """Return the head of the page."""
    suite = evidence.suite
    facts: list[tuple[str, object]] = [
        ("Version", f"ccdrl {provenance.version}, datapath {provenance.datapath}"),
        ("Contenders", join((contender_mark(cc, evidence.contenders) for cc in evidence.contenders), " ")),
        ("Suite", f"{suite.kind}, seed {suite.seed}: {len(suite.cases)} scenarios in {len(suite.groups)} groups"),
        ("Seeds", describe_seeds(provenance.seeds)),
        ("Command", element("code", provenance.command)),
    ]
    if date := page_date():
        facts.append(("Date", date))
    return element("header", element("h1", "Multipath congestion control: the held-out suite"), render_facts(facts))


def render_convergence(evidence: Evidence, series: Sequence[GoodputSeries]) -> Markup:
    """Return goodput and fairness over time in the scenarios that change."""
    parts: list[object] = []
    for index, case in enumerate(evidence.suite.cases):
        own = [one for one in series if one.scenario == case.name]
        if not own:
            continue
        caption = join(
            (
                element("b", case.name),
                f" {case.scenario.summary}. Seed {own[0].seed}, means over about half a second; dashed: max-min fair "
                "shares; dotted: changes of a link.",
            )
        )
        svg = convergence_figure(f"convergence{index}", case.scenario, own, evidence.contenders)
        parts.append(figure(svg, caption, is_titled=True))
        parts.append(render_transients(evidence, case))
    if not parts:
        return Markup("")
    return element("section", element("h2", "Convergence, fairness and recovery over time"), *parts)


def render_transients(evidence: Evidence, case: Case) -> Markup:
    """Return what was measured after each change and start, mean over the seeds."""
    rows = []
    by_cc = {cc: evidence.figures_of(case, cc) for cc in evidence.contenders}
    first = next((figures[0] for figures in by_cc.values() if figures), None)
    if first is None:
        return Markup("")
    for index, recovery in enumerate(first.recoveries):
        cells = [mean_or_never([one.recoveries[index].rtts for one in by_cc[cc]]) for cc in evidence.contenders]
        rows.append((f"change at {recovery.at_s:g} s: round trips to 0.9 of {recovery.share_mbps:.4g} Mbit/s", *cells))
    for index, start in enumerate(first.starts):
        values = [[one.starts[index].jain for one in by_cc[cc]] for cc in evidence.contenders]
        text = f"start at {start.at_s:g} s: Jain’s index 20 to 30 round trips later"
        rows.append((text, *(format_estimate(estimate(seeds)) for seeds in values)))
        settled = [mean_or_never([one.starts[index].rtts for one in by_cc[cc]]) for cc in evidence.contenders]
        rows.append((f"start at {start.at_s:g} s: round trips to an index of 0.97", *settled))
    return table(("", *evidence.contenders), rows) if rows else Markup("")


def mean_or_never(values: Sequence[float | None]) -> str:
    """Return the mean over the seeds that came there, and how many did not."""
    mean: Estimate = estimate(values)
    never = sum(value is None for value in values)
    if not values or never == len(values):
        return "never" if values else "–"
    return format_number(mean.mean) + (f" ({never} of {len(values)} never)" if never else "")


def render_phases(phases: Sequence[Phase]) -> Markup:
    """Return the policy's phase plot."""
    svg = phase_figure("phase", phases)
    if svg is None:
        return Markup("")
    caption = (
        "The policy’s action where a queue and a loss ratio have held for a while, the other observations at their "
        "medians over recorded decisions (dots). Between the heavy lines the coupling decides."
    )
    return element("section", element("h2", "What the policy does"), figure(svg, caption))


def render_group(evidence: Evidence, index: int, group: str) -> Markup:
    """Return one group: its scenarios, references and matrices of figures."""
    cases = evidence.suite.group(group)
    names = tuple(case.name for case in cases)
    rows = {key: row for key, row in evidence.digest.rows.items() if key[0] in names}
    digest = Digest(names, evidence.contenders, rows)
    facts = render_facts([(case.name, case.scenario.summary) for case in cases])
    caption = (
        "Marks: controllers; line at 1: the max-min fair share; upright bar: the proportionally fair share with "
        "probing; hollow marks lie beyond the scale. Grey names: competitors."
    )
    shares = shares_figure(f"shares{index}", evidence, cases, TITLES[group])
    parts = [element("h2", TITLES[group]), facts, figure(shares, caption)]
    for place, measure in enumerate(MEASURES[:3]):
        title = join((element("b", measure.title), f" ({measure.better})"))
        svg = matrix_figure(f"group{index}-{place}", digest, measure)
        parts.append(figure(svg, title, is_titled=True))
    return element("section", *parts, class_="scenario")


def render_suite(
    evidence: Evidence, series: Sequence[GoodputSeries], phases: Sequence[Phase], provenance: Provenance
) -> str:
    """Return the whole page."""
    style = resources.files("ccdrl.agent.report").joinpath("style.css").read_text(encoding="utf-8")
    body = [
        render_suite_header(evidence, provenance),
        render_verdicts(evidence),
        render_ranking(evidence),
        render_weaknesses(evidence),
        render_convergence(evidence, series),
        render_phases(phases),
        render_rfc9743(evidence),
        *(render_group(evidence, index, group) for index, group in enumerate(evidence.suite.groups)),
        element("section", element("h2", "Definitions"), render_facts((*SUITE_DEFINITIONS, *DEFINITIONS))),
    ]
    head = element(
        "head",
        Markup('<meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>'),
        element("title", "ccdrl suite"),
        element("style", Markup(style)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', element('main', *body)), lang='en')}\n"
