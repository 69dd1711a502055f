# SPDX-License-Identifier: BSD-2-Clause
"""Where a contender loses and why: the likely cause, read from figures of the same scenario.

A loss is one of digest.find_losses: goodput below the best coupling, delay or competitors' goodput worse than LIA's.
The cause is the first that the figures support; it is a hint where to look, not a proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ccdrl.agent import statistics
from ccdrl.agent.digest import Loss, Row, find_losses
from ccdrl.agent.suite.draw import Case
from ccdrl.agent.suite.evidence import Evidence
from ccdrl.agent.table import format_number, format_percent

TOLERANCE = 0.02
RIVALS_GAIN = 1.03
RESENT_FACTOR = 1.5
RESENT_EXTRA = 0.005
UNDERUSE = 0.95
DELAY_NOTICED_MS = 1.0


@dataclass(frozen=True)
class Weakness:
    """One loss, its group and likely cause."""

    loss: Loss
    group: str
    cause: str

    def to_json(self) -> dict[str, object]:
        """Return plain values for the results file."""
        loss = self.loss
        return {
            "scenario": loss.scenario,
            "cc": loss.cc,
            "figure": loss.figure,
            "value": loss.value.mean,
            "reference": loss.reference.mean,
            "reference_cc": loss.reference_name.lower(),
            "is_significant": loss.is_significant,
            "cause": self.cause,
        }


def find_weaknesses(evidence: Evidence) -> list[Weakness]:
    """Return where the judged contenders lose, by group and size; delays that nobody notices are left out."""
    cases = {case.name: case for case in evidence.suite.cases}
    found = []
    for loss in find_losses(evidence.digest, TOLERANCE):
        if loss.figure.startswith("p95") and (loss.value.mean or 0.0) < DELAY_NOTICED_MS:
            continue
        case = cases[loss.scenario]
        found.append(Weakness(loss, case.group, explain(evidence, case, loss)))
    return found


def explain(evidence: Evidence, case: Case, loss: Loss) -> str:
    """Return the likely cause of one loss."""
    own = evidence.row(case, loss.cc)
    reference = evidence.row(case, loss.reference_name.lower())
    assert own is not None and reference is not None
    if loss.figure.startswith("p95"):
        return explain_delay(evidence, case, own, reference)
    if loss.figure.startswith("competitors"):
        return explain_harm(evidence, case, own, reference)
    return explain_goodput(evidence, case, own, reference)


def explain_delay(evidence: Evidence, case: Case, own: Row, reference: Row) -> str:
    """Return why a queue is longer than LIA's."""
    low, high = evidence.link_use(case, reference.cc), evidence.link_use(case, own.cc)
    if low is not None and high is not None and low < UNDERUSE * high:
        return f"LIA leaves links idle, which have no queue then: {use(low)} used, {own.cc} {use(high)}"
    return "a longer standing queue at like utilisation"


def explain_harm(evidence: Evidence, case: Case, own: Row, reference: Row) -> str:
    """Return why competitors have less."""
    shares = [evidence.share(case, row.cc) for row in (own, reference)]
    text = "takes more of the shared link"
    if None not in shares:
        text += f": {format_number(shares[0])} of all goodput, LIA {format_number(shares[1])}"
    return text + resent(own, reference)


def explain_goodput(evidence: Evidence, case: Case, own: Row, reference: Row) -> str:
    """Return why there is less goodput: given up to competitors, not used at all, or sent twice."""
    kept = statistics.ratio(own.rivals.mean, reference.rivals.mean)
    if kept is not None and kept > RIVALS_GAIN:
        return f"gives up share: the competitors get {format_number(kept)} times what {reference.cc} leaves them"
    figures = [evidence.utilization(case, row.cc) for row in (own, reference)]
    if slow := slow_recovery(evidence, case, own.cc, reference.cc):
        return slow
    if figures[0] is not None and figures[1] is not None and figures[0] < figures[1]:
        used = f"{use(figures[0])} of the optimum, {reference.cc} {use(figures[1])}"
        return f"underuse{' when alone' if kept is None else ''}: {used}" + resent(own, reference)
    return "slower" + (resent(own, reference) or ": no single figure tells why")


def slow_recovery(evidence: Evidence, case: Case, cc: str, reference: str) -> str:
    """Return a sentence where a contender comes back later after a change."""
    medians = [median_rtts(evidence, case, label) for label in (cc, reference)]
    if None in medians or not medians[0] > max(5.0, 1.5 * medians[1]):  # type: ignore[operator]
        return ""
    return f"slow after a change: {format_number(medians[0])} round trips, {reference} {format_number(medians[1])}"


def median_rtts(evidence: Evidence, case: Case, cc: str) -> float | None:
    """Return the slowest change's mean recovery over the seeds, those that never came left out."""
    times: dict[float, list[float | None]] = {}
    for one in evidence.figures_of(case, cc):
        for item in one.recoveries:
            times.setdefault(item.at_s, []).append(item.rtts)
    return max(statistics.present(statistics.mean(values) for values in times.values()), default=None)


def resent(own: Row, reference: Row) -> str:
    """Return a clause where a contender resends much more."""
    mine, theirs = own.retransmit.mean, reference.retransmit.mean
    if mine is None or theirs is None or mine < RESENT_FACTOR * theirs + RESENT_EXTRA:
        return ""
    return f"; loses more: resends {format_percent(mine)} %, {reference.cc} {format_percent(theirs)} %"


def use(value: float) -> str:
    """Return a part in per cent."""
    return f"{100 * value:.0f} %"


def worst_scenarios(weaknesses: Sequence[Weakness], cc: str) -> dict[str, int]:
    """Return how many losses each group of causes has, by its first words."""
    counts: dict[str, int] = {}
    for one in weaknesses:
        if one.loss.cc == cc:
            name = one.cause.split(":")[0].split(";")[0]
            counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
