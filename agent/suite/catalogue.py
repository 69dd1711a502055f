# SPDX-License-Identifier: BSD-2-Clause
"""The suite's table of contents: which groups there are, what `full` and `quick` hold, and the list of `--list`.

Scenarios are generated from the suite's seed alone (and the recorded traces' names), so a suite is held out as long as
nobody tunes on it; another seed makes another one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ccdrl.agent.suite.alone import make_buffers, make_calibrated, make_losses, make_pairs, make_subflows
from ccdrl.agent.suite.changing import make_cellular, make_failovers, make_recorded, make_steps
from ccdrl.agent.suite.draw import Case, Draw
from ccdrl.agent.suite.practice import make_practice
from ccdrl.agent.suite.shared import make_balance, make_short, make_tcp, make_together
from ccdrl.bindings.errors import InputError

FULL, QUICK = "full", "quick"
KINDS = (FULL, QUICK)
SEED = 9743
SEED_MAX = 2**32 - 1
CONTROLLERS = ("drl", "lia", "olia", "balia", "cubic", "bbr")
SEEDS = {FULL: 5, QUICK: 2}
RECORDED = "recorded"

GROUPS: dict[str, tuple[str, Callable[[Draw], list[Case]]]] = {
    "pair": ("Idle pairs over the whole range", make_pairs),
    "subflows": ("1 to 8 unlike subflows", make_subflows),
    "loss": ("Random loss", make_losses),
    "tcp": ("One link shared with one TCP", make_tcp),
    "short": ("One TCP where queues stay short", make_short),
    "balance": ("Congestion balance", make_balance),
    "together": ("Several together", make_together),
    "buffer": ("Buffers", make_buffers),
    "step": ("Rate steps", make_steps),
    "failover": ("Fail-over", make_failovers),
    "cellular": ("Cellular capacity", make_cellular),
    "practice": ("Other demands of RFC 9743", make_practice),
    "calibrated": ("Calibrated paths", make_calibrated),
}
"""Title and maker of each group, by the first part of its scenarios' names; recorded traces come last."""
TITLES = {group: title for group, (title, _) in GROUPS.items()} | {RECORDED: "Recorded traces"}

QUICK_NAMES = (
    "pair-03",
    "subflows-02",
    "loss-01",
    "loss-08",
    "tcp-01",
    "tcp-04",
    "balance-01",
    "balance-08",
    "together-01",
    "buffer-04",
    "step-01",
    "failover-01",
    "cellular-01",
    "practice-01",
)


@dataclass(frozen=True)
class Suite:
    """A suite: its kind and seed, and its cases in order."""

    kind: str
    seed: int
    cases: tuple[Case, ...]

    def select(self, *tags: str) -> list[Case]:
        """Return the cases with all these tags."""
        return [case for case in self.cases if case.has(*tags)]

    def group(self, *names: str) -> list[Case]:
        """Return the cases of these groups."""
        return [case for case in self.cases if case.group in names]

    @property
    def groups(self) -> list[str]:
        """The groups that have cases, in order."""
        return [group for group in TITLES if any(case.group == group for case in self.cases)]


def make_suite(kind: str, seed: int = SEED, traces: Path | None = None, only: Sequence[str] = ()) -> Suite:
    """Return a suite; `only` keeps the scenarios and groups of these names. Raises InputError."""
    if kind not in KINDS:
        raise InputError(f"--suite: {kind!r}, accepted: {', '.join(KINDS)}")
    if not 0 <= seed <= SEED_MAX:
        raise InputError(f"--suite-seed: {seed}, accepted: 0 to {SEED_MAX}")
    cases = [case for group, (_, make) in GROUPS.items() for case in make(Draw(seed, group))]
    if kind == QUICK:
        cases = [case for case in cases if case.name in QUICK_NAMES]
    else:
        cases += make_recorded(Draw(seed, RECORDED), traces)
    known = {case.name for case in cases} | {case.group for case in cases}
    for name in only:
        if name not in known:
            raise InputError(f"{name}: not in suite {kind} of seed {seed}, accepted: names of --suite {kind} --list")
    if only:
        cases = [case for case in cases if case.name in only or case.group in only]
    return Suite(kind, seed, tuple(cases))


def list_suite(suite: Suite) -> str:
    """Return the suite's scenarios, a line each."""
    width = max((len(case.name) for case in suite.cases), default=0)
    return "".join(f"{case.name:<{width}}  {case.scenario.summary}\n" for case in suite.cases)
