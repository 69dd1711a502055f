# SPDX-License-Identifier: BSD-2-Clause
"""Scenarios for what RFC 9743 asks and the other groups leave open: short flows, AQM, varying delay, overload."""

import dataclasses

from ccdrl.agent.suite.draw import Case, Draw, flow_over, make_case, make_flow, make_link, random_loss
from ccdrl.envs.scenario import Event, Queue
from ccdrl.envs.scenario_schema import UNDER_TEST

GROUP = "practice"
DURATION_S = 45.0
WARMUP_S = 12.0
SHORT_BYTES = (60_000, 1_500_000)
AQM = (
    ("codel", Queue("codel", bdp=4.0)),
    ("PIE", Queue("pie", bdp=4.0)),
    ("CoDel with ECN", Queue("codel", bdp=4.0, ecn=True)),
)


def make_short_flows(draw: Draw, number: int) -> Case:
    """Return short transfers of the controller under test against a long CUBIC."""
    links = [make_link(label, draw.log(8, 30), draw.log(20, 80), 1.5) for label in ("one", "two")]
    flows = [
        make_flow(f"short{i}", UNDER_TEST, [["one"], ["two"]], start_s=6.0 + 4.0 * i, size_bytes=round(size))
        for i, size in enumerate(draw.log(*SHORT_BYTES) for _ in range(6))
    ]
    flows.append(make_flow("long", "cubic", [["two"]]))
    summary = "six short transfers beside a long cubic"
    return make_case(
        f"{GROUP}-{number:02d}",
        links,
        flows,
        summary=summary,
        duration=DURATION_S,
        warmup=5.0,
        tags=("short", "short-own"),
    )


def make_short_rivals(draw: Draw, number: int) -> Case:
    """Return a long connection under test and short CUBIC transfers on one of its links."""
    links = [make_link(label, draw.log(8, 30), draw.log(20, 80), 1.5) for label in ("one", "two")]
    flows = [flow_over(links)]
    flows += [
        make_flow(f"short{i}", "cubic", [["two"]], start_s=12.0 + 3.0 * i, size_bytes=round(size))
        for i, size in enumerate(draw.log(*SHORT_BYTES) for _ in range(8))
    ]
    summary = "a long connection, eight short cubic transfers"
    tags = ("short", "short-rival")
    return make_case(
        f"{GROUP}-{number:02d}",
        links,
        flows,
        summary=summary,
        duration=DURATION_S,
        warmup=WARMUP_S,
        tags=tags,
    )


def make_aqm(draw: Draw, number: int, index: int) -> Case:
    """Return a queue discipline on both links, with a CUBIC on one."""
    name, queue = AQM[index]
    links = [make_link(label, draw.log(8, 40), draw.log(20, 80), queue=queue) for label in ("one", "two")]
    rivals = make_flow("tcp", "cubic", [["two"]])
    summary = f"{name} on both links, cubic on two"
    flows = [flow_over(links), rivals]
    return make_case(f"{GROUP}-{number:02d}", links, flows, summary=summary, duration=DURATION_S, tags=("aqm",))


def make_delay_steps(draw: Draw, number: int) -> Case:
    """Return a minimum delay that doubles, and later halves."""
    links = [make_link(label, draw.log(8, 40), draw.log(20, 80), 1.5) for label in ("one", "two")]
    delay = links[0].delay_ms
    events = [Event(18.0, "one", delay_ms=2 * delay), Event(32.0, "one", delay_ms=delay / 2)]
    summary = "delay of one × 2 at 18 s, ÷ 4 at 32 s"
    flows = [flow_over(links)]
    tags = ("alone", "varying-delay", "path-change")
    return make_case(
        f"{GROUP}-{number:02d}",
        links,
        flows,
        summary=summary,
        duration=DURATION_S,
        warmup=WARMUP_S,
        events=events,
        tags=tags,
    )


def make_jitter(draw: Draw, number: int) -> Case:
    """Return jitter of a fifth of the RTT on both links."""
    links = [make_link(label, draw.log(8, 40), draw.log(20, 80), 1.5) for label in ("one", "two")]
    links = [dataclasses.replace(link, jitter_ms=round(0.4 * link.delay_ms, 2)) for link in links]
    tags = ("alone", "varying-delay", "wireless")
    summary = "jitter of up to RTT/5"
    return make_case(
        f"{GROUP}-{number:02d}", links, [flow_over(links)], summary=summary, duration=DURATION_S, tags=tags
    )


def make_real_time(draw: Draw, number: int) -> Case:
    """Return a flow of a fixed rate, as of a call, on a link that the connection under test would fill."""
    links = [make_link(label, draw.log(6, 20), draw.log(20, 80), 2.0) for label in ("one", "two")]
    call = make_flow("call", "cubic", [["two"]], app_rate_mbps=draw.log(0.5, 1.5))
    summary = "a call of fixed rate on two"
    return make_case(
        f"{GROUP}-{number:02d}",
        links,
        [flow_over(links), call],
        summary=summary,
        duration=DURATION_S,
        tags=("real-time",),
    )


def make_thin_acks(draw: Draw, number: int) -> Case:
    """Return a receiver that acknowledges every eighth segment only."""
    links = [make_link(label, draw.log(8, 40), draw.log(20, 80), 1.5) for label in ("one", "two")]
    flows = [make_flow("mp", UNDER_TEST, [["one"], ["two"]], ack_segments=8)]
    tags = ("alone", "thin-acks")
    summary = "an ACK every eight segments"
    return make_case(f"{GROUP}-{number:02d}", links, flows, summary=summary, duration=DURATION_S, tags=tags)


def make_overload(draw: Draw, number: int) -> Case:
    """Return six connections of two subflows on a link that holds less than their smallest windows."""
    link = make_link("link", draw.uniform(0.8, 1.2), draw.uniform(30, 50), 3.0)
    flows = [make_flow("mp", UNDER_TEST, [["link"], ["link"]], count=6)]
    summary = "12 subflows on a link of a few packets"
    return make_case(
        f"{GROUP}-{number:02d}", [link], flows, summary=summary, duration=DURATION_S, tags=("collapse", "overload")
    )


def make_heavy_loss(draw: Draw, number: int) -> Case:
    """Return losses that leave little to send: the sender must not answer with more."""
    links = [make_link(label, draw.log(4, 20), draw.log(30, 100), 1.0, random_loss(0.2)) for label in ("one", "two")]
    summary = "20 % random loss"
    tags = ("alone", "collapse")
    return make_case(
        f"{GROUP}-{number:02d}", links, [flow_over(links)], summary=summary, duration=DURATION_S, tags=tags
    )


def make_high_delay(draw: Draw, number: int) -> Case:
    """Return a satellite beside a terrestrial link."""
    links = [
        make_link("satellite", draw.log(10, 40), draw.uniform(550, 650), 0.5),
        make_link("dsl", draw.log(2, 8), 40),
    ]
    tags = ("alone", "high-delay")
    flows = [flow_over(links)]
    return make_case(f"{GROUP}-{number:02d}", links, flows, summary="satellite and DSL", duration=75.0, tags=tags)


def make_practice(draw: Draw) -> list[Case]:
    """Return the group."""
    cases = [make_short_flows(draw, 1), make_short_rivals(draw, 2)]
    cases += [make_aqm(draw, 3 + index, index) for index in range(len(AQM))]
    makers = (
        make_delay_steps,
        make_jitter,
        make_real_time,
        make_thin_acks,
        make_overload,
        make_heavy_loss,
        make_high_delay,
    )
    return cases + [maker(draw, number) for number, maker in enumerate(makers, len(cases) + 1)]
