# SPDX-License-Identifier: BSD-2-Clause
"""The comparison as a table on the terminal."""

from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ccdrl.agent.digest import Digest, Row
from ccdrl.agent.statistics import Estimate

NO_VALUE = "–"
PLAIN_WIDTH = 110


def format_number(value: float | None, digits: int = 3) -> str:
    """Return a number with about so many significant digits, and never an exponent."""
    if value is None:
        return NO_VALUE
    magnitude = abs(value)
    decimals = digits - 1
    while magnitude >= 10 and decimals > 0:
        magnitude /= 10
        decimals -= 1
    return f"{value:.{decimals}f}"


def format_estimate(value: Estimate, digits: int = 3) -> str:
    """Return mean ± half width, both with the mean's decimals."""
    text = format_number(value.mean, digits)
    if value.mean is None or value.ci95 is None:
        return text
    decimals = len(text.partition(".")[2])
    return f"{text} ±{value.ci95:.{decimals}f}"


def format_percent(value: float | None) -> str:
    """Return a ratio as a percentage."""
    return NO_VALUE if value is None else f"{100 * value:.2f}"


def add_rows(table: Table, rows: list[Row], has_completion: bool) -> None:
    """Add one scenario's rows, best goodput in bold."""
    best = max((row.goodput.mean or 0.0 for row in rows), default=0.0)
    for index, row in enumerate(rows):
        cells = [
            Text(row.scenario if index == 0 else ""),
            Text(row.cc),
            Text(format_estimate(row.goodput, 4), style="bold" if row.goodput.mean == best else ""),
            Text(format_number(row.relative)),
            Text(format_estimate(row.delay)),
            Text(format_percent(row.retransmit.mean)),
            Text(format_number(row.jain.mean)),
            Text(format_estimate(row.rivals, 4)),
        ]
        if has_completion:
            cells.append(Text(format_estimate(row.completion)))
        table.add_row(*cells, end_section=index == len(rows) - 1)


def make_table(digest: Digest) -> Table:
    """Return the table: a section for each scenario, a row for each contender."""
    has_completion = any(row.completion.mean is not None for row in digest.rows.values())
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("scenario", no_wrap=True)
    table.add_column("cc", no_wrap=True)
    headings = [
        "goodput\nMbit/s",
        "÷ best\ncoupling",
        "p95 queueing\ndelay ms",
        "resent\n%",
        "Jain",
        "competitors\nMbit/s",
    ]
    for heading in [*headings, *(["completion\ns"] if has_completion else [])]:
        table.add_column(heading, justify="right", no_wrap=True)
    for number, scenario in enumerate(digest.scenarios):
        if number:
            table.add_section()
        add_rows(table, digest.of_scenario(scenario), has_completion)
    seeds = sorted({row.seeds for row in digest.rows.values()})
    if seeds:
        count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        plural = "" if seeds == [1] else "s, ± 95 % confidence"
        table.caption = f"mean over {count} seed{plural}; couplings: LIA, OLIA, BALIA"
        table.caption_justify = "left"
    return table


def print_table(digest: Digest, stream: TextIO) -> None:
    """Print the table; where no terminal sets a width, wide enough for its columns."""
    console = Console(file=stream, highlight=False)
    table = make_table(digest)
    if not console.is_terminal:
        needed = Console(file=stream, width=10_000).measure(table).maximum
        console = Console(file=stream, highlight=False, width=max(PLAIN_WIDTH, needed))
    console.print(table)
