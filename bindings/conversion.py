# SPDX-License-Identifier: BSD-2-Clause
"""From the descriptions of `bindings.network` to C structs, checked on the way.

Each function returns a cdata struct and what must stay alive with it; bad values raise `InputError` naming the field.
"""

from typing import Any

import numpy as np

from ccdrl.bindings.checks import (
    AMOUNT_MAX_BYTES,
    DELAY_MAX_NS,
    RATE_MAX_BPS,
    TIME_MAX_NS,
    check_integer,
    check_name,
    check_number,
)
from ccdrl.bindings.errors import InputError
from ccdrl.bindings.library import (
    CC_IDS,
    EVENT_IDS,
    LOSS_IDS,
    PATH_LINKS_MAX,
    QUEUE_IDS,
    SCHEDULER_IDS,
    SUBFLOWS_MAX,
    TRACE_IDS,
    ffi,
    pin,
)
from ccdrl.bindings.network import EventConfig, FlowConfig, LinkConfig, LossConfig, PathConfig, TraceConfig

MSS_MIN_BYTES, MSS_MAX_BYTES = 64, 65000
CWND_MAX_SEGMENTS = 1e6
PACKETS_MAX = 2**31 - 1


def convert_loss(name: str, loss: LossConfig) -> dict[str, Any]:
    """Return the fields of struct ccdrl_loss_config."""
    fields: dict[str, Any] = {"kind": check_name(f"{name}.kind", loss.kind, LOSS_IDS)}
    for field in ("p", "good_to_bad", "bad_to_good", "loss_good", "loss_bad"):
        fields[field] = check_number(f"{name}.{field}", getattr(loss, field), 0.0, 1.0)
    return fields


def convert_trace(name: str, trace: TraceConfig) -> tuple[dict[str, Any], list[Any]]:
    """Return the fields of struct ccdrl_trace_config and the pinned arrays."""
    kind = check_name(f"{name}.kind", trace.kind, TRACE_IDS)
    period_ns = check_integer(f"{name}.period_ns", trace.period_ns, 1, TIME_MAX_NS)
    time_ns = np.ascontiguousarray(trace.time_ns)
    if time_ns.ndim != 1 or time_ns.size == 0 or time_ns.dtype.kind not in "iu":
        raise InputError(f"{name}.time_ns: expected an array of at least one integer, got {trace.time_ns!r}")
    time_ns = time_ns.astype(np.int64)
    if time_ns[0] < 0 or time_ns[-1] > period_ns or np.any(np.diff(time_ns) < 0):
        raise InputError(f"{name}.time_ns: expected ascending times from 0 to period_ns = {period_ns}")
    fields: dict[str, Any] = {"kind": kind, "n": time_ns.size, "period_ns": period_ns}
    fields["time_ns"] = pin("int64_t", time_ns, is_written=False)
    if trace.kind == "rate":
        if trace.rate_bps is None or np.shape(trace.rate_bps) != time_ns.shape:
            raise InputError(f"{name}.rate_bps: expected {time_ns.size} rates, one for each time")
        rate_bps = np.ascontiguousarray(trace.rate_bps, np.float64)
        if not np.all(np.isfinite(rate_bps) & (rate_bps >= 0) & (rate_bps <= RATE_MAX_BPS)):
            raise InputError(f"{name}.rate_bps: expected numbers from 0 to {RATE_MAX_BPS:g}")
        fields["rate_bps"] = pin("double", rate_bps, is_written=False)
    return fields, [fields["time_ns"], fields.get("rate_bps")]


def convert_link(config: LinkConfig) -> tuple[Any, list[Any]]:
    """Return a struct ccdrl_link_config * and what it points to."""
    fields: dict[str, Any] = {
        "delay_ns": check_integer("delay_ns", config.delay_ns, 0, DELAY_MAX_NS),
        "jitter_ns": check_integer("jitter_ns", config.jitter_ns, 0, DELAY_MAX_NS),
        "queue_kind": check_name("queue_kind", config.queue_kind, QUEUE_IDS),
        "is_ecn": bool(config.is_ecn),
        "limit_bytes": check_integer("limit_bytes", config.limit_bytes, 0, AMOUNT_MAX_BYTES),
        "limit_packets": check_integer("limit_packets", config.limit_packets, 0, PACKETS_MAX),
        "red_min_bytes": check_number("red_min_bytes", config.red_min_bytes, 0.0, AMOUNT_MAX_BYTES),
        "red_max_bytes": check_number("red_max_bytes", config.red_max_bytes, 0.0, AMOUNT_MAX_BYTES),
        "red_max_p": check_number("red_max_p", config.red_max_p, 0.0, 1.0),
        "red_weight": check_number("red_weight", config.red_weight, 0.0, 1.0),
        "aqm_target_ns": check_integer("aqm_target_ns", config.aqm_target_ns, 0, DELAY_MAX_NS),
        "aqm_interval_ns": check_integer("aqm_interval_ns", config.aqm_interval_ns, 0, DELAY_MAX_NS),
        "loss": convert_loss("loss", config.loss),
    }
    kept: list[Any] = []
    if config.trace is None or config.trace.kind == "none":
        fields["rate_bps"] = check_rate("rate_bps", config.rate_bps)
    else:
        fields["trace"], kept = convert_trace("trace", config.trace)
    return ffi.new("struct ccdrl_link_config *", fields), kept


def check_rate(name: str, rate_bps: float) -> float:
    """Return a rate above 0: a link that stands still is down, not slow."""
    if check_number(name, rate_bps, 0.0, RATE_MAX_BPS) == 0.0:
        raise InputError(f"{name}: expected a number above 0, up to {RATE_MAX_BPS:g}, got 0")
    return float(rate_bps)


def convert_path(name: str, path: PathConfig, n_links: int) -> dict[str, Any]:
    """Return the fields of struct ccdrl_path_config."""
    if not 1 <= len(path.links) <= PATH_LINKS_MAX:
        raise InputError(f"{name}.links: expected 1 to {PATH_LINKS_MAX} links, got {len(path.links)}")
    return {
        "n_links": len(path.links),
        "links": [check_integer(f"{name}.links", link, 0, n_links - 1) for link in path.links],
        "extra_delay_ns": check_integer(f"{name}.extra_delay_ns", path.extra_delay_ns, 0, DELAY_MAX_NS),
    }


def convert_flow(config: FlowConfig, n_links: int) -> Any:
    """Return a struct ccdrl_flow_config *."""
    if not 1 <= len(config.paths) <= SUBFLOWS_MAX:
        raise InputError(f"paths: expected 1 to {SUBFLOWS_MAX} paths, got {len(config.paths)}")
    stop_ns = -1 if config.stop_ns is None else check_integer("stop_ns", config.stop_ns, 0, TIME_MAX_NS)
    fixed_segments = check_number("fixed_cwnd_segments", config.fixed_cwnd_segments, 0.0, CWND_MAX_SEGMENTS)
    if config.cc == "fixed" and fixed_segments < 1.0:
        raise InputError(f'fixed_cwnd_segments: cc "fixed" expects at least 1 segment, got {fixed_segments:g}')
    fields = {
        "cc": check_name("cc", config.cc, CC_IDS),
        "scheduler": check_name("scheduler", config.scheduler, SCHEDULER_IDS),
        "n_paths": len(config.paths),
        "paths": [convert_path(f"paths[{i}]", path, n_links) for i, path in enumerate(config.paths)],
        "mss_bytes": check_integer("mss_bytes", config.mss_bytes, MSS_MIN_BYTES, MSS_MAX_BYTES),
        "start_ns": check_integer("start_ns", config.start_ns, 0, TIME_MAX_NS),
        "stop_ns": stop_ns,
        "size_bytes": check_integer("size_bytes", config.size_bytes, 0, AMOUNT_MAX_BYTES),
        "rwnd_bytes": check_integer("rwnd_bytes", config.rwnd_bytes, 0, AMOUNT_MAX_BYTES),
        "app_rate_bps": check_number("app_rate_bps", config.app_rate_bps, 0.0, RATE_MAX_BPS),
        "initial_cwnd_segments": check_number(
            "initial_cwnd_segments", config.initial_cwnd_segments, 0.0, CWND_MAX_SEGMENTS
        ),
        "fixed_cwnd_segments": fixed_segments,
        "ack_segments": check_integer("ack_segments", config.ack_segments, 0, PACKETS_MAX),
    }
    return ffi.new("struct ccdrl_flow_config *", fields)


def convert_event(config: EventConfig, n_links: int) -> Any:
    """Return a struct ccdrl_event_config *."""
    fields = {
        "at_ns": check_integer("at_ns", config.at_ns, 0, TIME_MAX_NS),
        "link": check_integer("link", config.link, 0, n_links - 1),
        "kind": check_name("kind", config.kind, EVENT_IDS),
        "delay_ns": check_integer("delay_ns", config.delay_ns, 0, DELAY_MAX_NS),
        "loss": convert_loss("loss", config.loss),
    }
    if config.kind == "rate":
        fields["rate_bps"] = check_rate("rate_bps", config.rate_bps)
    return ffi.new("struct ccdrl_event_config *", fields)
