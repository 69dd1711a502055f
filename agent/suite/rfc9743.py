# SPDX-License-Identifier: BSD-2-Clause
"""What RFC 9743 (BCP 133) asks of the evaluation of a congestion controller, item by item.

The RFC gives no thresholds. Ours say "no worse than what is deployed": against LIA, the coupling that RFC 6356
specifies, and with a small margin for noise. An item without a measure says why.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ccdrl.agent import statistics
from ccdrl.agent.digest import Row
from ccdrl.agent.suite import criteria
from ccdrl.agent.suite.criteria import Criterion, Finding
from ccdrl.agent.suite.draw import Case
from ccdrl.agent.suite.evidence import REFERENCE, Evidence

MUST, SHOULD, PLAIN = "MUST", "SHOULD", "should"
RESENT_MARGIN = 0.01
NOT_STARVED = 0.2
CALL_KEPT = 0.95

Select = Callable[[Evidence], list[Case]]


@dataclass(frozen=True)
class Item:
    """One demand: where it stands, how strongly it is put, what it asks, which scenarios show it, and the bound."""

    section: str
    level: str
    text: str
    select: Select | None = None
    criterion: Criterion | None = None
    why: str = ""
    """Why there is no verdict."""


def tagged(*names: str) -> Select:
    """Select the cases that have one of these tags."""
    return lambda evidence: [case for case in evidence.suite.cases if case.tags.intersection(names)]


def grouped(*names: str) -> Select:
    """Select the cases of these groups."""
    return lambda evidence: evidence.suite.group(*names)


def judge(select: Select, figure: Callable[[Row], float | None], text: str, bound: tuple[float, float]) -> Criterion:
    """Return a criterion over the geometric mean of a figure of the digest over the selected cases."""

    def measure(evidence: Evidence, cc: str) -> Finding:
        pairs = [(row.scenario, figure(row)) for row in evidence.rows(select(evidence), cc)]
        is_low_better = bound[0] <= 0
        return criteria.geometric(pairs, "worst", max if is_low_better else min)

    return Criterion("", "", text, measure, *bound)


def at_least(select: Select, text: str, figure: Callable[[Row], float | None], low: float) -> Criterion:
    """Return a lower bound."""
    return judge(select, figure, text, (low, float("inf")))


def at_most(select: Select, text: str, figure: Callable[[Row], float | None], high: float) -> Criterion:
    """Return an upper bound."""
    return judge(select, figure, text, (float("-inf"), high))


def resent_criterion(select: Select) -> Criterion:
    """Return a bound on what is resent above LIA's, mean over the cases; nothing is lost at random in them."""

    def measure(evidence: Evidence, cc: str) -> Finding:
        pairs = []
        for case in select(evidence):
            own, lia = evidence.row(case, cc), evidence.row(case, REFERENCE)
            if own and lia and own.retransmit.mean is not None and lia.retransmit.mean is not None:
                pairs.append((case.name, own.retransmit.mean - lia.retransmit.mean))
        return criteria.arithmetic(pairs, "worst", max)

    return Criterion("", "", "resent ratio above LIA’s, mean", measure, high=RESENT_MARGIN)


def clean_alone(evidence: Evidence) -> list[Case]:
    """Select cases alone whose losses are all the contender's own; a policer drops whatever one does."""
    cases = evidence.suite.select("alone")
    return [case for case in cases if evidence.random_loss(case) == 0 and case.group != "calibrated"]


def starvation(evidence: Evidence, cc: str) -> Finding:
    """Return the least that competitors keep of what LIA leaves them, over all scenarios."""
    return criteria.lowest([(row.scenario, row.rivals_relative) for row in evidence.rows(evidence.suite.cases, cc)])


def call_kept(evidence: Evidence, cc: str) -> Finding:
    """Return the goodput of a call over what it offers."""
    pairs: list[tuple[str, float | None]] = []
    for case in evidence.suite.select("real-time"):
        offered = next(flow.app_rate_mbps for flow in case.scenario.flows if flow.app_rate_mbps is not None)
        pairs.append((case.name, statistics.ratio(evidence.goodputs(case, cc).get("call"), offered)))
    return criteria.lowest(pairs)


def blackout(evidence: Evidence, cc: str) -> Finding:
    """Return the part of the runs that come back after all feedback was lost."""
    items = [
        recovery
        for case in evidence.suite.select("blackout")
        for one in evidence.figures_of(case, cc)
        for recovery in one.recoveries
    ]
    if not items:
        return Finding(None)
    times = statistics.present(item.rtts for item in items)
    note = f"within {statistics.mean(times):.0f} round trips in the mean" if times else ""
    return Finding(len(times) / len(items), note)


def failover_goodput(evidence: Evidence, cc: str) -> Finding:
    """Return the goodput over the best coupling's in the outages."""
    return criteria.geometric(criteria.relatives(evidence, cc, evidence.suite.group("failover")), "lowest", min)


def relative(row: Row) -> float | None:
    """Return goodput over the best coupling's."""
    return row.relative


def delay_relative(row: Row) -> float | None:
    """Return p95 queueing delay over LIA's."""
    return row.delay_relative


def rivals_relative(row: Row) -> float | None:
    """Return competitors' goodput over what LIA leaves them."""
    return row.rivals_relative


BEST = "goodput ÷ best coupling"
KEPT = "competitors ÷ with LIA"
BY_KEY = {criterion.key: criterion for criterion in criteria.CRITERIA}

ITEMS: Sequence[Item] = (
    Item("5.1.1 Congestion collapse", PLAIN, "backs off in full when losses persist", tagged("collapse"),
         resent_criterion(tagged("overload"))),
    Item("5.1.2 Bufferbloat", PLAIN, "no excessive standing queues", grouped("buffer"),
         at_most(grouped("buffer"), "p95 delay ÷ LIA’s", delay_relative, 1.0)),
    Item("5.1.3 High packet loss", PLAIN, "does not cause high loss itself", clean_alone,
         resent_criterion(clean_alone)),
    Item("5.1.4 Fairness within the algorithm", PLAIN, "how capacity is shared among its own connections",
         grouped("together"), BY_KEY["together-jain"]),
    Item("5.1.5 Short flows", MUST, "own short flows against long ones", tagged("short-own"),
         at_least(tagged("short-own"), "speed of transfers ÷ best coupling", relative, 0.95)),
    Item("5.2 Starvation", MUST, "nobody is starved", tagged("tcp", "shallow", "balance", "aqm", "one-percent-rival"),
         Criterion("", "", "least of competitors ÷ with LIA, anywhere", starvation, NOT_STARVED)),
    Item("5.2 Loss of all feedback", MUST, "leads to back-off, and ends", tagged("blackout"),
         Criterion("", "", "runs that come back to 0.9 of their share", blackout, 1.0)),
    Item("5.2.1 Standard controllers", MUST, "competes with Reno and CUBIC without harm", tagged("standard"),
         BY_KEY["tcp-kept"]),
    Item("5.2.1 Widely deployed others", PLAIN, "competes with BBR", tagged("bbr"),
         at_least(tagged("bbr"), KEPT, rivals_relative, 0.95)),
    Item("5.2.2 Real-time controllers", SHOULD, "coexists with a call of fixed rate", tagged("real-time"),
         Criterion("", "", "call’s goodput over what it offers", call_kept, CALL_KEPT)),
    Item("5.2.3 Short and long flows", MUST, "effect on short flows of others", tagged("short-rival"),
         at_least(tagged("short-rival"), KEPT, rivals_relative, 0.95)),
    Item("5.3.1 Deviations from principles", MUST, "explains deviations from RFC 2914 and RFC 7141",
         why="for a text: docs/suite.md"),
    Item("5.3.2 Incremental deployment", MUST, "discusses it", why="for a text: docs/suite.md"),
    Item("6 Range", SHOULD, "a representative range of rates, delays and queues", grouped("pair", "subflows"),
         BY_KEY["range"]),
    Item("6.1 Drop-tail queues", MUST, "evaluated with drop-tail", grouped("pair", "subflows", "buffer", "tcp"),
         at_least(grouped("pair", "subflows", "buffer", "tcp"), BEST, relative, 0.98)),
    Item("6.2 Tunnels", MUST, "considers tunnels where it relies on explicit signals",
         why="not applicable: it relies on none, ECN marks only add to losses"),
    Item("6.3 Wired paths", PLAIN, "baseline without random loss", clean_alone,
         at_least(clean_alone, BEST, relative, 0.98)),
    Item("6.4 Wireless paths", PLAIN, "radio losses, varying capacity, jitter", tagged("wireless"),
         at_least(tagged("wireless"), BEST, relative, 1.0)),
    Item("7.1 AQM", SHOULD, "a variety of queue disciplines", tagged("aqm", "khalili"),
         at_least(tagged("aqm", "khalili"), KEPT, rivals_relative, 0.95)),
    Item("7.2 Circuit breakers", PLAIN, "stays within their envelope",
         why="not applicable: no such breaker is simulated; see 5.1.1 and 5.1.3 for the losses that trip one"),
    Item("7.3 Varying delay", SHOULD, "robust when the minimum delay changes", tagged("varying-delay"),
         at_least(tagged("varying-delay"), BEST, relative, 0.95)),
    Item("7.4 Internet of Things", PLAIN, "very low rates, constrained nodes", None,
         why="not applicable: an agent of this kind runs on hosts; rates from 0.1 Mbit/s are in 6"),
    Item("7.5 High delay", PLAIN, "satellite links", tagged("high-delay"),
         at_least(tagged("high-delay"), BEST, relative, 0.98)),
    Item("7.6 Misbehaving nodes", SHOULD, "receivers that thin out ACKs", tagged("thin-acks"),
         at_least(tagged("thin-acks"), BEST, relative, 0.95)),
    Item("7.7 Extreme reordering", PLAIN, "does not presume order",
         why="not measured: the simulator’s paths keep order (ARCHITECTURE.md)"),
    Item("7.8 Transient events", SHOULD, "sudden congestion, outages, mobility", tagged("recovery"),
         BY_KEY["recovery-near"]),
    Item("7.9 Changes of the path", MUST, "robust to changes of rate and delay", tagged("path-change"),
         at_least(tagged("path-change"), BEST, relative, 0.95)),
    Item("7.10 Fail-over", MUST, "harm of a change of path, no starvation", grouped("failover"),
         Criterion("", "", BEST, failover_goodput, 0.95)),
    Item("7.10 Synchronised fail-over", PLAIN, "several connections fail over at once", tagged("synchronised"),
         at_least(tagged("synchronised"), BEST, relative, 0.95)),
    Item("7.10 Shared bottleneck of paths", MUST, "no more than one TCP where paths meet", tagged("standard"),
         BY_KEY["tcp-share"]),
    Item("7.10 Harm of coupled resources", SHOULD, "moves traffic off the congested path", tagged("balance"),
         BY_KEY["balance"]),
    Item("7.11 Data centres", SHOULD, "says which algorithms coexist there",
         why="not applicable: not meant for data centres"),
    Item("8 Security", MUST, "examines security and privacy", why="for a text: docs/serve.md, the guard"),
)  # fmt: skip


@dataclass(frozen=True)
class ItemVerdict:
    """One item of the list for one contender."""

    item: Item
    scenarios: tuple[str, ...]
    finding: Finding

    @property
    def verdict(self) -> str:
        """Met, not met, or why there is none."""
        if self.item.criterion is None:
            return self.item.why
        passed = self.item.criterion.passes(self.finding)
        return "not in this suite" if passed is None else "met" if passed else "not met"


def judge_items(evidence: Evidence, cc: str) -> list[ItemVerdict]:
    """Return the list for one contender."""
    found = []
    for item in ITEMS:
        names = tuple(case.name for case in item.select(evidence)) if item.select else ()
        finding = item.criterion.measure(evidence, cc) if item.criterion else Finding(None)
        found.append(ItemVerdict(item, names, finding))
    return found
