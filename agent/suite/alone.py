# SPDX-License-Identifier: BSD-2-Clause
"""Groups of the suite in which the connection under test is alone, but for the two lossy links with a competitor."""

from ccdrl.agent.suite.draw import (
    Case,
    Draw,
    flow_over,
    make_case,
    make_flow,
    make_link,
    random_loss,
    round_digits,
)
from ccdrl.envs.scenario import Generator, Link, Loss, Queue

PAIR_RATES = ((0.1, 0.6), (0.3, 2), *(((1, 12), (4, 60)) * 4), (60, 250), (400, 1000))
"""A range for each pair of links: both ends of 0.1 Mbit/s to 1 Gbit/s are met, the costly end once."""
SUBFLOW_COUNTS = (1, 3, 4, 5, 6, 8)
LOSSES_ALONE = (0.01, 0.01, 0.01, 0.001, 0.003, 0.03)
BUFFERS_BDP = (0.1, 0.2, 0.5, 1.0, 3.0, 10.0)
RANGE_RTT_MS = (1.0, 800.0)


def make_pairs(draw: Draw) -> list[Case]:
    """Return idle pairs: rates from 0.1 Mbit/s to 1 Gbit/s, RTTs from 1 to 800 ms, buffers from BDP/10 to 10 BDP."""
    cases = []
    for number, bounds in enumerate(PAIR_RATES, 1):
        is_fast = bounds[0] >= 60
        rtts = (2.0, 80.0) if is_fast else RANGE_RTT_MS
        links = [
            make_link(label, draw.log(*bounds), draw.log(*rtts), draw.log(0.1, 2.0 if is_fast else 10.0))
            for label in ("one", "two")
        ]
        cases.append(make_case(f"pair-{number:02d}", links, [flow_over(links)], tags=("alone", "range")))
    return cases


def make_subflows(draw: Draw) -> list[Case]:
    """Return connections of 1 to 8 subflows over unlike links."""
    cases = []
    for number, count in enumerate(SUBFLOW_COUNTS, 1):
        links = [make_link(f"l{i}", draw.log(0.8, 30), draw.log(5, 300), draw.log(0.3, 4)) for i in range(count)]
        summary = f"{count} subflow{'s' if count > 1 else ''}"
        case = make_case(f"subflows-{number:02d}", links, [flow_over(links)], summary=summary, tags=("alone", "range"))
        cases.append(case)
    return cases


def make_losses(draw: Draw) -> list[Case]:
    """Return random loss, alone and (at 1 %) with a competitor; one link loses in bursts."""
    cases = []
    for number, p in enumerate(LOSSES_ALONE, 1):
        links = [make_link(label, draw.log(10, 80), draw.log(10, 120), 1.0, random_loss(p)) for label in ("one", "two")]
        tags = ("alone", "wireless", *(("one-percent",) if p == 0.01 else ()))
        flows = [flow_over(links)]
        cases.append(make_case(f"loss-{number:02d}", links, flows, summary=f"{100 * p:g} % random loss", tags=tags))
    leave = round_digits(1 / draw.uniform(4, 12))
    bursty = Loss("gilbert-elliott", good_to_bad=round_digits(0.01 * leave), bad_to_good=leave, loss_bad=0.7)
    links = [make_link(label, draw.log(10, 60), draw.log(10, 100), 1.0, bursty) for label in ("one", "two")]
    number = len(cases) + 1
    flows = [flow_over(links)]
    cases.append(make_case(f"loss-{number:02d}", links, flows, summary="losses in bursts", tags=("alone", "wireless")))
    for cc in ("cubic", "reno"):
        link = make_link("one", draw.log(10, 40), draw.log(15, 80), 1.0, random_loss(0.01))
        clean = make_link("two", draw.log(10, 40), draw.log(15, 80), 1.0, random_loss(0.01))
        flows = [flow_over([link, clean]), make_flow("tcp", cc, [["one"]])]
        summary = f"1 % random loss, {cc} on one link"
        number += 1
        cases.append(
            make_case(f"loss-{number:02d}", [link, clean], flows, summary=summary, tags=("one-percent-rival",))
        )
    return cases


def make_buffers(draw: Draw) -> list[Case]:
    """Return two links with equal buffers of BDP/10 to 10 BDP, alone."""
    cases = []
    for number, bdp in enumerate(BUFFERS_BDP, 1):
        links = [make_link(label, draw.log(10, 60), draw.log(25, 120), bdp) for label in ("one", "two")]
        flows = [flow_over(links)]
        cases.append(
            make_case(f"buffer-{number:02d}", links, flows, summary=f"buffers of {bdp:g} BDP", tags=("alone",))
        )
    return cases


CALIBRATED = (
    # Mbit/s, Poisson?, one-way ms, loss, packets
    (0.57, True, 28.0, 0.0477, 14),
    (2.64, True, 88.0, 0.0, 130),
    (3.04, True, 130.0, 0.0, 426),
    (100.42, False, 27.0, 0.0, 173),
    (77.72, False, 51.0, 0.0006, 94),
    (114.68, False, 45.0, 0.0, 450),
    (12.0, False, 10.0, 0.0, 1),
    (60.0, False, 50.0, 0.0, 1),
)
"""Emulator settings fitted to measured paths (Pantheon, ATC 2018), and two policers."""
CALIBRATED_PAIRS = ((0, 1), (0, 2), (1, 3), (2, 4), (3, 4), (3, 5), (4, 5), (3, 6), (1, 6))
CALIBRATED_COUNT = 5


def calibrated_link(draw: Draw, label: str, index: int) -> Link:
    """Return a calibrated path with its rate moved by up to a quarter."""
    rate, is_poisson, delay_ms, loss, packets = CALIBRATED[index]
    rate = round_digits(rate * draw.log(0.8, 1.25))
    queue = Queue(packets=packets)
    lossy = random_loss(loss) if loss else None
    if is_poisson:
        return Link(label, delay_ms, generator=Generator("poisson", rate, draw.seed()), queue=queue, loss=lossy)
    return Link(label, delay_ms, rate, queue=queue, loss=lossy)


def make_calibrated(draw: Draw) -> list[Case]:
    """Return random pairs of the calibrated paths."""
    cases = []
    for number, pair in enumerate(draw.shuffled(CALIBRATED_PAIRS)[:CALIBRATED_COUNT], 1):
        links = [calibrated_link(draw, label, index) for label, index in zip(("one", "two"), pair, strict=True)]
        cases.append(make_case(f"calibrated-{number:02d}", links, [flow_over(links)], tags=("alone",)))
    return cases
