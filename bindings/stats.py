# SPDX-License-Identifier: BSD-2-Clause
"""Figures since the last `reset_stats`, one frozen class for each *_stats struct of csim.h.

Amounts are payload bytes unless the name says otherwise; means and percentiles are NaN where nothing was measured.
"""

from dataclasses import dataclass, fields
from typing import Any

from ccdrl.bindings.library import State


@dataclass(frozen=True, slots=True)
class SubflowStats:
    """One subflow; delivered_bytes reached the receiver, duplicates included; cwnd_bytes and srtt_ms are of now."""

    sent_packets: int
    sent_bytes: int
    retransmitted_bytes: int
    lost_bytes: int
    delivered_bytes: int
    received_packets: int
    rto_events: int
    loss_events: int
    rtt_mean_ms: float
    rtt_p95_ms: float
    queue_delay_mean_ms: float
    queue_delay_p95_ms: float
    cwnd_mean_bytes: float
    cwnd_bytes: float
    srtt_ms: float
    is_established: bool
    state: State


@dataclass(frozen=True, slots=True)
class FlowStats:
    """One connection; goodput_bytes were handed in order to the receiver; completion_ns None: not complete."""

    goodput_bytes: int
    sent_packets: int
    sent_bytes: int
    retransmitted_bytes: int
    reinjected_bytes: int
    completion_ns: int | None
    rtt_mean_ms: float
    rtt_p95_ms: float
    queue_delay_mean_ms: float
    queue_delay_p95_ms: float
    n_subflows: int
    send_buffer_bytes: int
    send_buffer_held_bytes: int


@dataclass(frozen=True, slots=True)
class LinkStats:
    """One link, in wire bytes; capacity_bytes is what it could have carried in that time."""

    departed_bytes: int
    capacity_bytes: float
    queue_mean_bytes: float
    dropped_packets: int
    lost_packets: int
    marked_packets: int
    queue_bytes: int


def _read(kind: type[Any], struct: Any) -> dict[str, Any]:
    return {field.name: getattr(struct, field.name) for field in fields(kind)}


def convert_subflow_stats(struct: Any) -> SubflowStats:
    """Return struct ccdrl_subflow_stats as Python values."""
    values = _read(SubflowStats, struct)
    return SubflowStats(**{**values, "is_established": bool(values["is_established"]), "state": State(values["state"])})


def convert_flow_stats(struct: Any) -> FlowStats:
    """Return struct ccdrl_flow_stats as Python values."""
    values = _read(FlowStats, struct)
    return FlowStats(**{**values, "completion_ns": None if struct.completion_ns < 0 else struct.completion_ns})


def convert_link_stats(struct: Any) -> LinkStats:
    """Return struct ccdrl_link_stats as Python values."""
    return LinkStats(**_read(LinkStats, struct))
