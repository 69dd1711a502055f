# SPDX-License-Identifier: BSD-2-Clause
"""The criteria of the suite: what is measured of a contender, and within which bounds it passes.

Every criterion is computed for every contender; the verdict that counts is the agents'. A value of None means that the
suite at hand has no such scenario or no finished run, and is neither passed nor failed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ccdrl.agent import statistics
from ccdrl.agent.suite.draw import Case
from ccdrl.agent.suite.evidence import Evidence, count_share, power
from ccdrl.agent.suite.transients import FAIR_JAIN, Recovery, Start
from ccdrl.agent.table import format_number

NEAR_SHARE = 0.98
SHARE_LOW, SHARE_HIGH = 0.40, 0.55
RECOVERY_RTTS = 5.0
HARM_TOLERANCE = 0.01
"""Competitors' goodput is known to about a per cent."""


@dataclass(frozen=True)
class Finding:
    """A measured value and what stands behind it."""

    value: float | None
    note: str = ""


@dataclass(frozen=True)
class Criterion:
    """One bound: the value lies within [low, high]; `topic` is the line of the bar that it belongs to."""

    key: str
    topic: str
    text: str
    measure: Callable[[Evidence, str], Finding]
    low: float = -math.inf
    high: float = math.inf

    @property
    def wanted(self) -> str:
        """The bound in words."""
        if math.isinf(self.high):
            return f"≥ {self.low:g}"
        return f"≤ {self.high:g}" if math.isinf(self.low) else f"{self.low:g} to {self.high:g}"

    def show(self, finding: Finding) -> str:
        """Return the value in as many digits as it takes to see on which side of the bounds it is."""
        if finding.value is None:
            return format_number(None)
        for digits in range(3, 7):
            text = format_number(finding.value, digits)
            if self.passes(Finding(float(text))) == self.passes(finding):
                break
        return text

    def passes(self, finding: Finding) -> bool | None:
        """Return whether a value is within the bounds, None where there is none."""
        return None if finding.value is None else self.low <= finding.value <= self.high


def worst_note(pairs: Sequence[tuple[str, float | None]], word: str, pick: Callable[..., tuple[str, float]]) -> str:
    """Return the scenario that sticks out, by `min` or `max`."""
    kept = [(name, value) for name, value in pairs if value is not None]
    if not kept:
        return ""
    name, value = pick(kept, key=lambda pair: pair[1])
    return f"{word} {format_number(value)} in {name}"


def geometric(pairs: Sequence[tuple[str, float | None]], word: str, pick: Callable[..., tuple[str, float]]) -> Finding:
    """Return the geometric mean of the values, and the one that sticks out."""
    return Finding(statistics.geometric_mean(value for _, value in pairs), worst_note(pairs, word, pick))


def arithmetic(pairs: Sequence[tuple[str, float | None]], word: str, pick: Callable[..., tuple[str, float]]) -> Finding:
    """Return the mean of the values, and the one that sticks out."""
    return Finding(statistics.mean(value for _, value in pairs), worst_note(pairs, word, pick))


def relatives(evidence: Evidence, cc: str, cases: Sequence[Case]) -> list[tuple[str, float | None]]:
    """Return the goodput over the best coupling's of each case."""
    return [(row.scenario, row.relative) for row in evidence.rows(cases, cc)]


def goodput_mean(evidence: Evidence, cc: str) -> Finding:
    """Geometric mean of goodput over the best coupling's; the note tells it for the connection alone."""
    pairs = relatives(evidence, cc, evidence.suite.cases)
    value = statistics.geometric_mean(value for _, value in pairs)
    alone = statistics.geometric_mean(value for _, value in relatives(evidence, cc, evidence.suite.select("alone")))
    clean = [case for case in evidence.suite.cases if evidence.random_loss(case) == 0]
    lossless = statistics.geometric_mean(value for _, value in relatives(evidence, cc, clean))
    note = f"alone {format_number(alone)}, without random loss {format_number(lossless)}"
    return Finding(value, note)


def goodput_near(evidence: Evidence, cc: str) -> Finding:
    """Part of the scenarios in which the goodput is near the best coupling's or above."""
    values = [value for _, value in relatives(evidence, cc, evidence.suite.cases)]
    known = statistics.present(values)
    return Finding(count_share(values, NEAR_SHARE), f"{sum(v >= NEAR_SHARE for v in known)} of {len(known)} scenarios")


def goodput_worst(evidence: Evidence, cc: str) -> Finding:
    """Lowest goodput over the best coupling's."""
    return lowest(relatives(evidence, cc, evidence.suite.cases))


def range_worst(evidence: Evidence, cc: str) -> Finding:
    """Lowest goodput over the best coupling's, in the scenarios of the range."""
    return lowest(relatives(evidence, cc, evidence.suite.select("range")))


def lowest(pairs: Sequence[tuple[str, float | None]]) -> Finding:
    """Return the lowest value and where it is."""
    return Finding(min(statistics.present(v for _, v in pairs), default=None), worst_note(pairs, "lowest", min))


def highest(pairs: Sequence[tuple[str, float | None]]) -> Finding:
    """Return the highest value and where it is."""
    return Finding(max(statistics.present(v for _, v in pairs), default=None), worst_note(pairs, "highest", max))


def delay_mean(evidence: Evidence, cc: str) -> Finding:
    """Geometric mean of the p95 queueing delay over LIA's; the note leaves random loss out, where LIA has no queue."""
    cases = evidence.suite.cases
    rows = evidence.rows(cases, cc)
    clean = evidence.rows([case for case in cases if evidence.random_loss(case) == 0], cc)
    lossless = statistics.geometric_mean(row.delay_relative for row in clean)
    value = statistics.geometric_mean(row.delay_relative for row in rows)
    return Finding(value, f"without random loss {format_number(lossless)}")


def rivals_kept(evidence: Evidence, cc: str, cases: Sequence[Case]) -> Finding:
    """Goodput of the competitors over what LIA leaves them."""
    return geometric([(row.scenario, row.rivals_relative) for row in evidence.rows(cases, cc)], "lowest", min)


def tcp_kept(evidence: Evidence, cc: str) -> Finding:
    """Goodput that LIA's one standard TCP keeps."""
    return rivals_kept(evidence, cc, evidence.suite.select("tcp", "standard"))


def tcp_shares(evidence: Evidence, cc: str) -> list[tuple[str, float | None]]:
    """Return the part of the link that the multipath flow takes beside one standard TCP."""
    return [(case.name, evidence.share(case, cc)) for case in evidence.suite.select("tcp", "standard")]


def tcp_share(evidence: Evidence, cc: str) -> Finding:
    """Mean of `tcp_shares`."""
    pairs = tcp_shares(evidence, cc)
    low, high = worst_note(pairs, "lowest", min), worst_note(pairs, "highest", max)
    return Finding(statistics.mean(value for _, value in pairs), ", ".join(filter(None, (low, high))))


def tcp_inside(evidence: Evidence, cc: str) -> Finding:
    """Part of the scenarios whose share is within the bounds."""
    values = statistics.present(value for _, value in tcp_shares(evidence, cc))
    inside = sum(SHARE_LOW <= value <= SHARE_HIGH for value in values)
    return Finding(count_share(values, SHARE_LOW, SHARE_HIGH), f"{inside} of {len(values)} scenarios" if values else "")


def short_kept(evidence: Evidence, cc: str) -> Finding:
    """Goodput that one TCP keeps in shallow buffers and behind AQMs, of what LIA leaves it."""
    return rivals_kept(evidence, cc, evidence.suite.group("short"))


def goal_one(evidence: Evidence, cc: str) -> Finding:
    """Goodput over what a single-path TCP would have on the best path, over all scenarios that have an optimum."""
    pairs = []
    for case in evidence.suite.cases:
        optimum, goodputs = evidence.optima.get(case.name), evidence.goodputs(case, cc)
        if optimum is not None and goodputs and evidence.random_loss(case) == 0:
            pairs += [
                (case.name, statistics.ratio(goodputs[name], wanted))
                for name, wanted in optimum.best_single_mbps.items()
            ]
    return geometric(pairs, "lowest", min)


def balance(evidence: Evidence, cc: str) -> Finding:
    """Mean distance from the optimum with probing, over OLIA's."""
    cases = evidence.suite.select("balance")
    pairs = [(evidence.distance(case, cc), evidence.distance(case, "olia")) for case in cases]
    kept = [(own, other) for own, other in pairs if own is not None and other is not None]
    if not kept:
        return Finding(None)
    own, other = (math.fsum(column) / len(kept) for column in zip(*kept, strict=True))
    nearer = sum(one < two for one, two in kept)
    note = f"{format_number(own)} against {format_number(other)}, nearer in {nearer} of {len(kept)}"
    return Finding(statistics.ratio(own, other), note)


def loss_capacity(evidence: Evidence, cc: str) -> Finding:
    """Goodput at 1 % random loss over what gets through."""
    cases = evidence.suite.select("one-percent")
    return arithmetic([(case.name, evidence.utilization(case, cc)) for case in cases], "lowest", min)


def loss_harm(evidence: Evidence, cc: str) -> Finding:
    """Competitors' goodput at 1 % random loss over what LIA leaves them."""
    return rivals_kept(evidence, cc, evidence.suite.select("one-percent-rival"))


def starts_of(evidence: Evidence, cc: str) -> list[tuple[str, Start]]:
    """Return the starts of all seeds in the group of several agents."""
    cases = evidence.suite.group("together")
    return [(case.name, start) for case in cases for one in evidence.figures_of(case, cc) for start in one.starts]


def fair_after_start(evidence: Evidence, cc: str) -> Finding:
    """Mean of Jain's index 20 to 30 round trips after a start."""
    values = [start.jain for _, start in starts_of(evidence, cc)]
    known = statistics.present(values)
    note = f"{sum(v >= FAIR_JAIN for v in known)} of {len(known)} starts at {FAIR_JAIN} or above" if known else ""
    return Finding(statistics.mean(values), note)


def newcomer_share(evidence: Evidence, cc: str) -> Finding:
    """Mean over the starts of the newcomer's goodput and its fair share, the smaller over the larger.

    Measured in the last third before the next start: drifting apart later counts as well.
    """
    known = [(name, start.newcomer) for name, start in starts_of(evidence, cc) if start.newcomer is not None]
    pairs = [(name, min(value, 1 / value) if value > 0 else 0.0) for name, value in known]
    return arithmetic(pairs, "lowest", min)


def buffer_use(evidence: Evidence, cc: str) -> Finding:
    """Lowest utilisation over the buffers."""
    return lowest([(case.name, evidence.utilization(case, cc)) for case in evidence.suite.group("buffer")])


def buffer_delay(evidence: Evidence, cc: str) -> Finding:
    """Highest p95 queueing delay over the buffer."""
    return highest([(case.name, evidence.buffer_share(case, cc)) for case in evidence.suite.group("buffer")])


def recoveries_of(evidence: Evidence, cc: str) -> list[tuple[str, Recovery]]:
    """Return the recoveries of all seeds after rate steps and outages."""
    cases = evidence.suite.select("recovery")
    return [(case.name, item) for case in cases for one in evidence.figures_of(case, cc) for item in one.recoveries]


def recovery_median(evidence: Evidence, cc: str) -> Finding:
    """Median of the round trips until 0.9 of a share that has grown; never counts as longer than any.

    A share that shrinks is met at once by whoever fills the link.
    """
    grown = [item for _, item in recoveries_of(evidence, cc) if item.share_mbps > item.before_mbps]
    times = sorted(math.inf if item.rtts is None else item.rtts for item in grown)
    if not times:
        return Finding(None)
    never = sum(math.isinf(value) for value in times)
    middle = times[(len(times) - 1) // 2]
    return Finding(None if math.isinf(middle) else middle, f"{never} of {len(times)} not before the next change")


def recovery_near(evidence: Evidence, cc: str) -> Finding:
    """Part of the recoveries within five round trips."""
    pairs = recoveries_of(evidence, cc)
    if not pairs:
        return Finding(None)
    times = [(name, math.inf if item.rtts is None else item.rtts) for name, item in pairs]
    slow: dict[str, int] = {}
    for name, value in times:
        slow[name] = slow.get(name, 0) + (value > RECOVERY_RTTS)
    worst = max(slow, key=lambda name: slow[name])
    note = f"most late ones in {worst}" if slow[worst] else ""
    return Finding(count_share([value if math.isfinite(value) else 1e9 for _, value in times], 0, RECOVERY_RTTS), note)


def power_wins(evidence: Evidence, cc: str) -> Finding:
    """Part of the traces on which no other controller has more goodput over p95 delay."""
    rivals = [other for other in evidence.contenders if other != cc and other not in evidence.judged]
    wins, lost = [], ""
    for case in evidence.suite.select("trace"):
        own = [power(row) for row in evidence.rows([case], cc)]
        others = [(power(row) or 0.0, row.cc) for other in rivals for row in evidence.rows([case], other)]
        if not own or own[0] is None or not others:
            continue
        best, name = max(others)
        wins.append(own[0] > best)
        lost = lost or ("" if own[0] > best else f"{name} is better in {case.name}")
    return Finding(sum(wins) / len(wins) if wins else None, lost)


GOODPUT = "Goodput against the best of LIA, OLIA, BALIA"
TCP = "One Reno or CUBIC on a shared link"
LOSS = "Random loss of 1 %"
TOGETHER = "Two to four together"
BUFFERS = "Buffers of BDP/10 to 10 BDP, alone"
CHANGES = "Rate steps and fail-over"
RANGE = "Range: 1 to 8 subflows, 1 to 800 ms, 0.1 Mbit/s to 1 Gbit/s"

# fmt: off
CRITERIA = (
    Criterion("goodput-mean", GOODPUT, "geometric mean", goodput_mean, 1.15),
    Criterion("goodput-near", GOODPUT, "scenarios at 0.98 or above", goodput_near, 0.95),
    Criterion("goodput-worst", GOODPUT, "lowest", goodput_worst, 0.9),
    Criterion("delay-mean", "p95 queueing delay against LIA’s", "geometric mean", delay_mean, high=0.5),
    Criterion("tcp-kept", TCP, "keeps, of what LIA leaves it", tcp_kept, 0.95),
    Criterion("tcp-share", TCP, "part of the link taken, mean", tcp_share, SHARE_LOW, SHARE_HIGH),
    Criterion("tcp-inside", TCP, "scenarios with a part of 0.4 to 0.55", tcp_inside, 1.0),
    Criterion("short-kept", "One Reno or CUBIC in a shallow buffer, or behind an AQM", "keeps, of what LIA leaves it",
              short_kept, 0.95),
    Criterion("goal-one", "RFC 6356, goal 1", "goodput over a single-path TCP’s fair share of the best path", goal_one,
              1.0),
    Criterion("balance", "Congestion balance (goal 3)", "distance from the optimum with probing over OLIA’s", balance,
              high=1.0),
    Criterion("loss-capacity", LOSS, "goodput over capacity", loss_capacity, 0.9),
    Criterion("loss-harm", LOSS, "competitors keep, of what LIA leaves them", loss_harm, 1 - HARM_TOLERANCE),
    Criterion("together-jain", TOGETHER, "Jain’s index 20 to 30 round trips after a start", fair_after_start,
              FAIR_JAIN),
    Criterion("together-newcomer", TOGETHER, "newcomer’s goodput and its fair share later on, smaller ÷ larger",
              newcomer_share, 0.9),
    Criterion("buffer-use", BUFFERS, "lowest utilisation", buffer_use, 0.9),
    Criterion("buffer-delay", BUFFERS, "highest p95 delay over buffer", buffer_delay, high=0.3),
    Criterion("recovery-median", CHANGES, "median round trips to 0.9 of a share that has grown", recovery_median,
              high=RECOVERY_RTTS),
    Criterion("recovery-near", CHANGES, "recoveries within 5 round trips", recovery_near, 0.95),
    Criterion("power", "Traces", "traces with more power than every other", power_wins, 1.0),
    Criterion("range", RANGE, "lowest goodput ÷ best coupling", range_worst, 0.9),
)
# fmt: on

ELSEWHERE = (
    (
        "Training",
        "from scratch in at most 2 h on two cores, three seeds",
        "not measured by a comparison: see the model card and docs/experiments.md",
    ),
    (
        "The real kernel",
        "the same ranking live in five scenarios",
        "not measured by the suite: compare.py --datapath linux --against",
    ),
)
"""Lines of the bar that a simulated comparison cannot judge: topic, wanted, why."""
