# SPDX-License-Identifier: BSD-2-Clause
"""Draws of one group of the suite, and the small words in which its scenarios are written.

Each group draws from a stream of its own, so that a new scenario at the end of one group changes no other group.
`random.Random` keeps its streams over Python's versions: the same seed is the same suite everywhere.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ccdrl.bindings.library import HEADER_BYTES
from ccdrl.envs.scenario import Event, Flow, Generator, Link, Loss, Queue, Scenario
from ccdrl.envs.scenario_schema import UNDER_TEST

T = TypeVar("T")

MSS_BYTES = 1448
WIRE_BYTES = MSS_BYTES + HEADER_BYTES
QUEUE_PACKETS_MIN = 4
"""A buffer below four packets is a policer; those are in the calibrated paths."""
QUEUE_S_MAX = 3.0
PACKETS_MAX = 1.2e6
"""Fast scenarios are cut short here, so that the whole suite stays affordable."""
DURATION_S_MIN = 12.0


@dataclass(frozen=True)
class Case:
    """One scenario of the suite; `group` and `tags` say which criteria and which items of RFC 9743 it serves."""

    group: str
    scenario: Scenario
    tags: frozenset[str] = field(default_factory=frozenset)

    @property
    def name(self) -> str:
        """The scenario's name."""
        return self.scenario.name

    def has(self, *tags: str) -> bool:
        """Return whether the case has all these tags."""
        return self.tags.issuperset(tags)


def round_digits(value: float, digits: int = 3) -> float:
    """Return the value with so many significant digits: listed numbers are the simulated ones."""
    return float(f"{value:.{digits}g}")


class Draw:
    """The random stream of one group of one suite."""

    def __init__(self, seed: int, group: str) -> None:
        self._random = random.Random(f"ccdrl suite {seed} {group}")

    def log(self, low: float, high: float) -> float:
        """Return a log-uniform value of three digits."""
        return round_digits(math.exp(self._random.uniform(math.log(low), math.log(high))))

    def uniform(self, low: float, high: float) -> float:
        """Return a uniform value of three digits."""
        return round_digits(self._random.uniform(low, high))

    def integer(self, low: int, high: int) -> int:
        """Return a uniform whole number, both ends included."""
        return self._random.randint(low, high)

    def seed(self) -> int:
        """Return a seed for a generated trace."""
        return self._random.randrange(2**32)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in random order."""
        return self._random.sample(list(items), len(items))


def bdp_queue(rate_mbps: float, rtt_ms: float, bdp: float) -> Queue:
    """Return a drop-tail queue of so many BDP, at least 4 packets and at most 3 s long."""
    bdp = min(bdp, round_digits(QUEUE_S_MAX * 1e3 / rtt_ms))
    if bdp * rate_mbps * rtt_ms * 1e3 / 8 < QUEUE_PACKETS_MIN * WIRE_BYTES:
        return Queue(packets=QUEUE_PACKETS_MIN)
    return Queue(bdp=bdp)


def make_link(
    label: str, rate_mbps: float, rtt_ms: float, bdp: float = 1.0, loss: Loss | None = None, queue: Queue | None = None
) -> Link:
    """Return a link whose two-way propagation is rtt_ms, with a queue or a drop-tail one of so many BDP."""
    return Link(label, rtt_ms / 2, rate_mbps, queue=queue or bdp_queue(rate_mbps, rtt_ms, bdp), loss=loss)


def lte_link(label: str, mean_mbps: float, rtt_ms: float, seed: int, bdp: float = 3.0) -> Link:
    """Return a link with a generated LTE-like capacity."""
    queue = bdp_queue(mean_mbps, rtt_ms, bdp)
    return Link(label, rtt_ms / 2, generator=Generator("lte", mean_mbps, seed), queue=queue)


def random_loss(p: float) -> Loss:
    """Return independent losses."""
    return Loss("bernoulli", p=p)


def red_queue(rate_mbps: float) -> Queue:
    """Return RED as in the shipped Khalili scenarios: thresholds of 30 and 60 ms, 120 ms in all."""
    unit = round(rate_mbps * 3750)
    return Queue("red", bytes=4 * unit, min_bytes=unit, max_bytes=2 * unit, max_p=0.1)


def make_flow(
    label: str, cc: str, paths: Sequence[Sequence[str]], path_delay_ms: Sequence[float] = (), **options: Any
) -> Flow:
    """Return a flow; cc "@" is the controller under test, `options` are further fields of `Flow`."""
    routes = tuple(tuple(path) for path in paths)
    return Flow(label, cc, routes, tuple(path_delay_ms) or (0.0,) * len(routes), **options)


def flow_over(links: Sequence[Link], label: str = "mp") -> Flow:
    """Return the flow under test with one subflow for each link."""
    return make_flow(label, UNDER_TEST, [[link.id] for link in links])


def duration_s(links: Sequence[Link], round_trips: float = 200, low: float = 30.0, high: float = 75.0) -> float:
    """Return how long to simulate: so many of the longest RTT within [low, high], less where links are fast."""
    rtt_s = max(2 * link.delay_ms for link in links) / 1e3
    rate = sum(mean_rate_mbps(link) for link in links) * 1e6
    affordable = max(DURATION_S_MIN, PACKETS_MAX * 8 * WIRE_BYTES / rate)
    return float(round(min(max(round_trips * rtt_s, low), high, affordable)))


def mean_rate_mbps(link: Link) -> float:
    """Return the capacity of a link, a generated one's mean; 20 Mbit/s stands for a trace file's."""
    if link.rate_mbps is not None:
        return link.rate_mbps
    return 20.0 if link.generator is None else link.generator.mean_mbps


def describe(link: Link) -> str:
    """Return a link in a few words."""
    capacity = f"{mean_rate_mbps(link):g} Mbit/s"
    if link.generator is not None:
        capacity = f"{link.generator.kind} {capacity}"
    elif link.trace is not None:
        capacity = link.trace.rsplit("/", 1)[-1]
    queue = link.queue
    size = (
        f"{queue.packets} packets"
        if queue.packets is not None
        else "RED"
        if queue.bdp is None
        else f"{queue.bdp:g} BDP"
    )
    return f"{capacity} {2 * link.delay_ms:g} ms {size}"


def make_case(
    name: str,
    links: Sequence[Link],
    flows: Sequence[Flow],
    *,
    summary: str = "",
    duration: float | None = None,
    warmup: float | None = None,
    events: Sequence[Event] = (),
    tags: Sequence[str] = (),
) -> Case:
    """Return a case of the group that its name begins with; the warm-up is a third of the time where none is given."""
    length = duration_s(links) if duration is None else duration
    paths = " + ".join(describe(link) for link in links[:3])
    more = f" + {len(links) - 3} more" if len(links) > 3 else ""
    scenario = Scenario(
        name=name,
        summary=(f"{summary}: " if summary else "") + paths + more,
        duration_s=length,
        warmup_s=round_digits(length / 3) if warmup is None else warmup,
        mss=MSS_BYTES,
        links=tuple(links),
        flows=tuple(flows),
        events=tuple(sorted(events, key=lambda event: event.at_s)),
        source=f"suite:{name}",
    )
    return Case(name.rsplit("-", 1)[0], scenario, frozenset(tags))
