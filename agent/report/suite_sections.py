# SPDX-License-Identifier: BSD-2-Clause
"""The suite's sections of judgement: verdicts, ranking, where the contender loses, and the list of RFC 9743."""

from collections.abc import Sequence

from ccdrl.agent.report.document import loss_cells
from ccdrl.agent.report.markup import Markup, contender_mark, element, figure, join, table
from ccdrl.agent.report.suite_ranking_figure import ranking_figure
from ccdrl.agent.suite.criteria import ELSEWHERE
from ccdrl.agent.suite.evidence import Evidence
from ccdrl.agent.suite.ranking import RESAMPLES, rank_all
from ccdrl.agent.suite.rfc9743 import MUST, SHOULD, ItemVerdict, judge_items
from ccdrl.agent.suite.verdicts import Verdict, count_passed, find_verdicts
from ccdrl.agent.suite.weaknesses import find_weaknesses, worst_scenarios
from ccdrl.agent.table import format_number

PASS, FAIL, UNKNOWN = "#1a7f37", "#b42318", "#667079"
WEAKNESSES_SHOWN = 40
NAMES_SHOWN = 4


def words(text: object) -> Markup:
    """Return small print of a table that keeps a readable width on a phone."""
    return element("small", text, style="display:inline-block;min-width:22ch")


def mark(passed: bool | None, words: tuple[str, str] = ("pass", "fail")) -> Markup:
    """Return a coloured word for a verdict, a dash where there is none."""
    color = UNKNOWN if passed is None else PASS if passed else FAIL
    text = "–" if passed is None else words[0] if passed else words[1]
    return element("b", text, style=f"color:{color}")


def describe(topic: str, text: str) -> Markup:
    """Return a topic and below it what is measured."""
    return join((topic, element("small", text, style="display:block")))


def verdict_row(verdict: Verdict, evidence: Evidence) -> tuple[object, ...]:
    """Return one criterion's line: verdicts of the judged, values of all."""
    criterion = verdict.criterion
    notes = [verdict.findings[cc].note for cc in evidence.judged]
    prefix = [f"{cc}: " if len(evidence.judged) > 1 else "" for cc in evidence.judged]
    note = "; ".join(f"{start}{text}" for start, text in zip(prefix, notes, strict=True) if text)
    verdicts = join((mark(verdict.passed(cc)) for cc in evidence.judged), " / ")
    values = [criterion.show(verdict.findings[cc]) for cc in evidence.contenders]
    shown = [
        element("b", value) if cc in evidence.judged else value
        for cc, value in zip(evidence.contenders, values, strict=True)
    ]
    wanted = element("span", criterion.wanted, style="white-space:nowrap")
    return describe(criterion.topic, criterion.text), words(note), wanted, verdicts, *shown


def render_verdicts(evidence: Evidence) -> Markup:
    """Return the table of criteria, with pass or fail for the agents."""
    verdicts = find_verdicts(evidence)
    rows = [verdict_row(verdict, evidence) for verdict in verdicts]
    blank = [""] * len(evidence.contenders)
    for topic, wanted, why in ELSEWHERE:
        rows.append((describe(topic, wanted), words(why), "", mark(None), *blank))
    head = ("Criterion", "Detail", "Wanted", "Verdict", *evidence.contenders)
    passed = [count_passed(verdicts, cc) for cc in evidence.judged]
    counts = ", ".join(f"{cc} passes {one} of {of}" for cc, (one, of) in zip(evidence.judged, passed, strict=True))
    text = f"{counts} criteria. The other controllers’ values stand beside them for comparison."
    return element("section", element("h2", "Verdicts"), element("p", text), table(head, rows, 2))


def render_ranking(evidence: Evidence) -> Markup:
    """Return the ranking with its intervals and the chance of the first place."""
    rankings = rank_all(evidence)
    if not rankings:
        return Markup("")
    order = [place.cc for place in rankings[0].places]
    head = ("Controller", *(ranking.measure.title for ranking in rankings))
    rows = []
    for cc in order:
        cells: list[object] = [contender_mark(cc, evidence.contenders)]
        for ranking in rankings:
            place = next(one for one in ranking.places if one.cc == cc)
            interval = f"[{format_number(place.low)}, {format_number(place.high)}]"
            chance = element("small", f" first {100 * place.first:.0f} %") if place.first >= 0.005 else ""
            cells.append(join((element("b", format_number(place.mean)), f" {interval}", chance)))
        rows.append(cells)
    counts = ", ".join(f"{ranking.measure.key} {ranking.scenarios}" for ranking in rankings)
    text = (
        "Geometric means with 95 % intervals, ordered by welfare: the geometric mean over all connections, competitors "
        "included, of goodput over its proportionally fair value. Paired by scenario and seed; "
        f"{RESAMPLES} bootstrap resamples of scenarios and of seeds within them; “first” is how often a controller led "
        f"in them. Scenarios: {counts}."
    )
    return element(
        "section",
        element("h2", "Ranking"),
        element("p", text, class_="note"),
        figure(ranking_figure("ranking", rankings, evidence.contenders), "Means and 95 % intervals."),
        table(head, rows),
    )


def render_weaknesses(evidence: Evidence) -> Markup:
    """Return where the judged lose, and the likely cause of each loss."""
    found = find_weaknesses(evidence)
    heading = element("h2", "Where it loses, and why")
    if not found:
        return element("section", heading, element("p", "By more than 2 %, nowhere."))
    parts: list[object] = [heading]
    for cc in evidence.judged:
        counts = worst_scenarios(found, cc)
        if counts:
            causes = "; ".join(f"{cause} ({count})" for cause, count in counts.items())
            parts.append(element("p", contender_mark(cc, evidence.contenders), f"Likely causes, by number: {causes}."))
    shown = found[:WEAKNESSES_SHOWN]
    rest = f" The {len(found) - len(shown)} smallest are left out." if len(found) > len(shown) else ""
    note = (
        "Goodput against the best coupling, p95 queueing delay and competitors’ goodput against LIA, worse by more "
        f"than 2 %, largest change first. Causes are read from figures of the same scenario: hints where to look.{rest}"
    )
    head = ("Controller", "Scenario", "Figure", "Likely cause", "Value", "Reference", "Change", "Intervals")
    rows = []
    for one in shown:
        cells = loss_cells(one.loss, evidence.contenders)
        rows.append((*cells[:3], words(one.cause), *cells[3:]))
    return element("section", *parts, element("p", note, class_="note"), table(head, rows, 4))


def list_names(names: Sequence[str]) -> str:
    """Return a few scenarios' names."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN + 1 else ""
    return ", ".join(names[: NAMES_SHOWN if more else None]) + more


def item_row(verdict: ItemVerdict) -> tuple[object, ...]:
    """Return one item's line."""
    item, finding = verdict.item, verdict.finding
    measured: object = ""
    if item.criterion is not None:
        value = f"{item.criterion.text}: {item.criterion.show(finding)}, wanted {item.criterion.wanted}"
        measured = join((value, element("small", f" {finding.note}") if finding.note else ""))
    is_met = {"met": True, "not met": False}.get(verdict.verdict)
    shown = mark(is_met, ("met", "not met")) if is_met is not None else words(verdict.verdict)
    level = element("b", item.level) if item.level in (MUST, SHOULD) else item.level
    scenarios = words(list_names(verdict.scenarios))
    return element("b", item.section), level, item.text, scenarios, measured, shown


def render_rfc9743(evidence: Evidence) -> Markup:
    """Return the list of RFC 9743 for each judged contender."""
    head = ("Section", "Level", "What is asked", "Scenarios", "Measured", "Verdict")
    parts: list[object] = [element("h2", "RFC 9743, item by item")]
    for cc in evidence.judged:
        verdicts = judge_items(evidence, cc)
        strong = [one for one in verdicts if one.item.level == MUST and one.verdict in ("met", "not met")]
        met = sum(one.verdict == "met" for one in strong)
        text = f"{met} of {len(strong)} measured MUST items met. The RFC sets no thresholds; ours are in the table."
        parts += [
            element("p", contender_mark(cc, evidence.contenders), text),
            table(head, [item_row(one) for one in verdicts], 6),
        ]
    return element("section", *parts)
