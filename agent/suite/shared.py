# SPDX-License-Identifier: BSD-2-Clause
"""Groups of the suite in which connections share links: one TCP, congestion balance, several agents together."""

from ccdrl.agent.suite.draw import Case, Draw, duration_s, flow_over, make_case, make_flow, make_link, red_queue
from ccdrl.envs.scenario import Link, Queue
from ccdrl.envs.scenario_schema import UNDER_TEST

RIVALS = ("reno", "reno", "reno", "cubic", "cubic", "cubic", "bbr", "bbr")
SHORT = ("drop-tail", "codel", "drop-tail", "pie", "drop-tail", "codel", "drop-tail", "pie")
"""Queue of each scenario with one TCP where no queue stands: twice a Reno, then twice a CUBIC."""
TOGETHER = (2, 2, 3, 3, 4)
STAGGER_ROUND_TRIPS = 60
USER_MBPS = 1.0
"""C2 of Khalili et al.: what one single-path user has of the shared access point."""


def make_tcp(draw: Draw) -> list[Case]:
    """Return two subflows and one TCP on one link: RFC 6356, goals 1 and 2."""
    cases = []
    for number, cc in enumerate(RIVALS, 1):
        link = make_link("link", draw.log(5, 60), draw.log(15, 120), draw.log(0.5, 3))
        flows = [make_flow("mp", UNDER_TEST, [["link"], ["link"]]), make_flow("tcp", cc, [["link"]])]
        length = duration_s([link], 500, 40, 75)
        tags = ("tcp", cc, *(("standard",) if cc != "bbr" else ()))
        summary = f"two subflows and one {cc}"
        cases.append(make_case(f"tcp-{number:02d}", [link], flows, summary=summary, duration=length, tags=tags))
    return cases


def make_short(draw: Draw) -> list[Case]:
    """Return one TCP where queues stay short: 0.1 to 0.4 BDP, or an AQM; the second four have a path more."""
    cases = []
    for number, kind in enumerate(SHORT, 1):
        queue = None if kind == "drop-tail" else Queue(kind, bdp=4.0)
        link = make_link("link", draw.log(5, 60), draw.log(15, 120), draw.log(0.1, 0.4), queue=queue)
        other = make_link("other", draw.log(5, 60), draw.log(15, 120))
        links = [link, other] if number > len(SHORT) / 2 else [link]
        cc = ("reno", "cubic")[(number - 1) // 2 % 2]
        flows = [flow_over(links), make_flow("tcp", cc, [["link"]])]
        length = duration_s(links, 500, 40, 75)
        tags = ("shallow" if queue is None else "aqm",)
        summary = f"{cc} behind {kind}"
        cases.append(make_case(f"short-{number:02d}", links, flows, summary=summary, duration=length, tags=tags))
    return cases


def make_busy_path(draw: Draw, number: int) -> Case:
    """Return A on both links, B and C on one each, and guests on the second for a while."""
    rate, guests = draw.log(20, 60), draw.integer(2, 4)
    links = [make_link("one", rate, draw.log(15, 40)), make_link("two", rate, draw.log(15, 150))]
    flows = [
        make_flow("a", UNDER_TEST, [["one"], ["two"]]),
        make_flow("b", UNDER_TEST, [["one"]]),
        make_flow("c", UNDER_TEST, [["two"]]),
        make_flow("guest", UNDER_TEST, [["two"]], count=guests, start_s=20.0, stop_s=40.0),
    ]
    summary = f"busy path with {guests} guests from 20 to 40 s"
    return make_case(
        f"balance-{number:02d}", links, flows, summary=summary, duration=60.0, warmup=8.0, tags=("balance",)
    )


def red_link(label: str, rate_mbps: float, delay_ms: float) -> Link:
    """Return a link with RED; delay_ms is one way."""
    return Link(label, delay_ms, rate_mbps, queue=red_queue(rate_mbps))


def make_khalili_a(draw: Draw, number: int) -> Case:
    """Return Khalili A: the second subflows of type 1 cost type 2 and gain nothing."""
    n1, n2 = draw.integer(4, 8), draw.integer(4, 8)
    ratio = draw.uniform(0.75, 1.5)
    links = [red_link("server", n1 * USER_MBPS * ratio, 20.0), red_link("ap", n2 * USER_MBPS, 20.0)]
    flows = [
        make_flow("type1", UNDER_TEST, [["server"], ["server", "ap"]], [20.0, 0.0], count=n1),
        make_flow("type2", "reno", [["ap"]], [20.0], count=n2),
    ]
    summary = f"Khalili A, {n1} and {n2} users, C1/C2 = {ratio:g}"
    tags = ("balance", "khalili")
    return make_case(f"balance-{number:02d}", links, flows, summary=summary, duration=60.0, tags=tags)


def make_khalili_b(draw: Draw, number: int) -> Case:
    """Return Khalili B after the upgrade: red users add a path through both access points."""
    users = draw.integer(5, 7)
    unit = draw.uniform(0.9, 1.3)
    links = [red_link("x", users * 1.8 * unit, 20.0), red_link("t", users * 2.4 * unit, 20.0)]
    flows = [
        make_flow("blue", UNDER_TEST, [["x"], ["t"]], [20.0, 20.0], count=users),
        make_flow("red", UNDER_TEST, [["t"], ["x", "t"]], [20.0, 0.0], count=users),
    ]
    summary = f"Khalili B upgraded, {users} and {users} users"
    tags = ("balance", "khalili")
    return make_case(f"balance-{number:02d}", links, flows, summary=summary, duration=60.0, tags=tags)


def make_khalili_c(draw: Draw, number: int) -> Case:
    """Return Khalili C: a private and a shared access point for the multipath users."""
    n1, n2 = draw.integer(4, 8), draw.integer(4, 8)
    ratio = draw.uniform(0.75, 1.5)
    links = [red_link("private", n1 * USER_MBPS * ratio, 40.0), red_link("shared", n2 * USER_MBPS, 40.0)]
    flows = [
        make_flow("mp", UNDER_TEST, [["private"], ["shared"]], count=n1),
        make_flow("tcp", "reno", [["shared"]], count=n2),
    ]
    summary = f"Khalili C, {n1} and {n2} users, C1/C2 = {ratio:g}"
    tags = ("balance", "khalili")
    return make_case(f"balance-{number:02d}", links, flows, summary=summary, duration=60.0, tags=tags)


def make_one_busy(draw: Draw, number: int) -> Case:
    """Return two like links with CUBIC flows on one of them: the multipath flow should leave that one."""
    rate, rtt, rivals = draw.log(10, 40), draw.log(20, 80), draw.integer(1, 3)
    links = [make_link("free", rate, rtt), make_link("busy", rate, rtt)]
    flows = [flow_over(links), make_flow("tcp", "cubic", [["busy"]], count=rivals)]
    summary = f"one link free, {rivals} cubic on the other"
    return make_case(f"balance-{number:02d}", links, flows, summary=summary, tags=("balance", "one-busy"))


def make_balance(draw: Draw) -> list[Case]:
    """Return the scenarios of congestion balance, RFC 6356 goal 3."""
    makers = (
        make_busy_path,
        make_busy_path,
        make_khalili_a,
        make_khalili_a,
        make_khalili_b,
        make_khalili_c,
        make_khalili_c,
        make_one_busy,
        make_one_busy,
    )
    return [maker(draw, number) for number, maker in enumerate(makers, 1)]


def stagger_s(links: list[Link]) -> float:
    """Return the time between two starts: enough round trips to settle, within 6 to 12 s."""
    rtt_s = max(2 * link.delay_ms for link in links) / 1e3
    return float(round(min(max(STAGGER_ROUND_TRIPS * rtt_s, 6.0), 12.0)))


def make_together(draw: Draw) -> list[Case]:
    """Return two to four connections of the same controller that start one after the other."""
    cases = []
    for number, count in enumerate(TOGETHER, 1):
        links = [make_link(label, draw.log(8, 40), draw.log(15, 120), draw.log(0.7, 3)) for label in ("one", "two")]
        gap_s = stagger_s(links)
        flows = [
            make_flow(f"agent{i}", UNDER_TEST, [["one"], ["two"]], start_s=round(i * gap_s, 3)) for i in range(count)
        ]
        summary = f"{count} together, a start every {gap_s:g} s"
        length, warmup = gap_s * (count + 1), gap_s * (count - 0.5)
        case = make_case(
            f"together-{number:02d}", links, flows, summary=summary, duration=length, warmup=warmup, tags=("together",)
        )
        cases.append(case)
    rate, rtt = draw.log(10, 30), draw.log(20, 80)
    links = [make_link(label, rate, rtt, 1.5) for label in ("one", "two", "three")]
    gap_s = stagger_s(links)
    rings = ([["one"], ["two"]], [["two"], ["three"]], [["three"], ["one"]])
    flows = [make_flow(f"agent{i}", UNDER_TEST, ring, start_s=round(i * gap_s, 3)) for i, ring in enumerate(rings)]
    case = make_case(
        f"together-{len(cases) + 1:02d}",
        links,
        flows,
        summary=f"a ring of three, a start every {gap_s:g} s",
        duration=gap_s * 4,
        warmup=gap_s * 2.5,
        tags=("together",),
    )
    return [*cases, case]
