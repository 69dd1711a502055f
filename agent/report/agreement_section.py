# SPDX-License-Identifier: BSD-2-Clause
"""The report's section that holds two datapaths beside each other: the test of the simulator."""

from collections.abc import Sequence

from ccdrl.agent.agreement import GOODPUT_BOUND, RTT_BOUND, Agreement, Pair, count_agreeing
from ccdrl.agent.report.agreement_figure import agreement_figure
from ccdrl.agent.report.markup import Markup, contender_mark, element, figure, join, table
from ccdrl.agent.table import format_estimate, format_number, format_percent

HEAD = (
    "Scenario",
    "Controller",
    "Goodput, Mbit/s: sim",
    "kernel",
    "ratio",
    "Mean RTT, ms: sim",
    "kernel",
    "ratio",
    "Resent, %: sim",
    "kernel",
)


def render_agreement(rows: Sequence[Agreement], contenders: Sequence[str]) -> Markup:
    """Return the section; nothing without rows."""
    if not rows:
        return Markup("")
    goodput, goodput_of = count_agreeing((row.goodput for row in rows), GOODPUT_BOUND)
    rtt, rtt_of = count_agreeing((row.rtt for row in rows), RTT_BOUND)
    text = (
        f"Goodput within {100 * GOODPUT_BOUND:.0f} % in {goodput} of {goodput_of} pairs, mean RTT within "
        f"{100 * RTT_BOUND:.0f} % in {rtt} of {rtt_of}. Bold ratios are outside; the bands show the bounds."
    )
    body = [
        (
            row.scenario,
            contender_mark(row.cc, contenders),
            *cells(row.goodput, GOODPUT_BOUND),
            *cells(row.rtt, RTT_BOUND),
            format_percent(row.retransmit.simulated.mean),
            format_percent(row.retransmit.measured.mean),
        )
        for row in rows
    ]
    caption = "Measured on the kernel over simulated, means over the seeds; hollow: beyond the scale."
    parts = (
        element("h2", "Simulator against kernel"),
        element("p", text),
        figure(agreement_figure("agreement", rows, contenders), caption),
        table(HEAD, body, 2),
    )
    return element("section", join(parts))


def cells(pair: Pair, bound: float) -> tuple[object, object, object]:
    """Return simulated, measured and their ratio, bold where it is outside the bound."""
    ratio = format_number(pair.ratio)
    shown = element("b", ratio) if pair.agrees(bound) is False else ratio
    return format_estimate(pair.simulated), format_estimate(pair.measured), shown
