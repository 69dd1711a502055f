# SPDX-License-Identifier: BSD-2-Clause
"""The verdicts as a table on the terminal."""

from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ccdrl.agent.suite.evidence import Evidence
from ccdrl.agent.suite.ranking import rank_all
from ccdrl.agent.suite.verdicts import Verdict, count_passed, find_verdicts
from ccdrl.agent.table import PLAIN_WIDTH, format_number

MARKS = {True: "pass", False: "fail", None: "–"}
STYLES = {True: "green", False: "bold red", None: "dim"}


def verdict_cell(verdict: Verdict, cc: str, is_judged: bool) -> Text:
    """Return a value, with pass or fail for those whose verdict counts."""
    passed = verdict.passed(cc)
    value = verdict.criterion.show(verdict.findings[cc])
    if not is_judged:
        return Text(value)
    return Text(f"{value} {MARKS[passed]}" if passed is not None else value, style=STYLES[passed])


def print_verdicts(evidence: Evidence, stream: TextIO) -> None:
    """Print a line for each criterion and one for each ranking."""
    verdicts = find_verdicts(evidence)
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.title = f"suite {evidence.suite.kind}, seed {evidence.suite.seed}: {len(evidence.suite.cases)} scenarios"
    table.add_column("criterion", overflow="fold")
    table.add_column("wanted", no_wrap=True)
    for cc in evidence.contenders:
        table.add_column(cc, justify="right", no_wrap=True)
    for verdict in verdicts:
        cells = [verdict_cell(verdict, cc, cc in evidence.judged) for cc in evidence.contenders]
        table.add_row(Text(verdict.criterion.key), Text(verdict.criterion.wanted), *cells)
    console = Console(file=stream, width=None if stream.isatty() else PLAIN_WIDTH)
    console.print(table)
    for cc in evidence.judged:
        passed, known = count_passed(verdicts, cc)
        console.print(Text(f"{cc}: {passed} of {known} criteria passed"))
    for ranking in rank_all(evidence):
        places = ", ".join(
            f"{one.cc} {format_number(one.mean)} [{format_number(one.low)}, {format_number(one.high)}]"
            for one in ranking.places
        )
        console.print(Text(f"{ranking.measure.title}: {places}"))
