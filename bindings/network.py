# SPDX-License-Identifier: BSD-2-Clause
"""What a simulated network is made of: frozen descriptions of links, flows and events, in SI units and plain names.

Rates are bits a second, times nanoseconds, amounts bytes. A description is checked when a `Simulator` takes it.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Random loss on the wire, drawn once for each packet: "none", "bernoulli" (p) or "gilbert-elliott" (the rest)."""

    kind: str = "none"
    p: float = 0.0
    good_to_bad: float = 0.0
    bad_to_good: float = 0.0
    loss_good: float = 0.0
    loss_bad: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class TraceConfig:
    """Varying capacity, repeating with period_ns.

    kind "opportunities": at each time_ns up to 1500 wire bytes may leave (mahimahi). kind "rate": rate_bps[i] holds
    from time_ns[i] to the next entry, the last one to period_ns. time_ns ascends from 0 or later, up to period_ns.
    """

    kind: str
    time_ns: NDArray[np.int64]
    period_ns: int
    rate_bps: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """One link: a queue, a server of wire bits and a propagation delay, in this order.

    queue_kind is "droptail", "red", "codel" or "pie". A limit of 0 is no limit of this kind. Zeros of red_* and aqm_*
    take the defaults of csim.h (RFC 8289, RFC 8033).
    """

    rate_bps: float = 0.0
    delay_ns: int = 0
    jitter_ns: int = 0
    queue_kind: str = "droptail"
    is_ecn: bool = False
    limit_bytes: int = 0
    limit_packets: int = 0
    red_min_bytes: float = 0.0
    red_max_bytes: float = 0.0
    red_max_p: float = 0.0
    red_weight: float = 0.0
    aqm_target_ns: int = 0
    aqm_interval_ns: int = 0
    loss: LossConfig = field(default_factory=LossConfig)
    trace: TraceConfig | None = None


@dataclass(frozen=True, slots=True)
class PathConfig:
    """The route of one subflow: link indices from sender to receiver, and an extra one-way delay in each direction."""

    links: tuple[int, ...]
    extra_delay_ns: int = 0


@dataclass(frozen=True, slots=True)
class FlowConfig:
    """One connection of 1 to 8 subflows.

    cc is a name of `library.CC_IDS`, scheduler one of `library.SCHEDULER_IDS`. stop_ns None: never stops. size_bytes 0:
    unlimited. rwnd_bytes 0: 1 GiB. app_rate_bps 0: unlimited. initial_cwnd_segments 0: 10 (RFC 6928).
    ack_segments: in-order segments for each ACK of the receiver; 0: 2, the delayed ACKs of RFC 5681 section 4.2.
    """

    cc: str
    paths: tuple[PathConfig, ...]
    scheduler: str = "minrtt"
    mss_bytes: int = 1448
    start_ns: int = 0
    stop_ns: int | None = None
    size_bytes: int = 0
    rwnd_bytes: int = 0
    app_rate_bps: float = 0.0
    initial_cwnd_segments: float = 0.0
    fixed_cwnd_segments: float = 0.0
    ack_segments: int = 0


@dataclass(frozen=True, slots=True)
class EventConfig:
    """A change of one link at a time: kind "rate" (rate_bps), "delay" (delay_ns), "loss" (loss), "down" or "up"."""

    at_ns: int
    link: int
    kind: str
    rate_bps: float = 0.0
    delay_ns: int = 0
    loss: LossConfig = field(default_factory=LossConfig)
