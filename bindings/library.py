# SPDX-License-Identifier: BSD-2-Clause
"""The one owner of `ffi`: numpy layouts, enumerations and name tables, all read from the C headers.

Nothing here repeats a layout or a number: dtypes follow the C structs field by field, and every enumerator's value
comes from the compiled library. Only the modules of `ccdrl.bindings` import `ffi` and `lib`.
"""

from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from ccdrl.bindings._csim import ffi as ffi
    from ccdrl.bindings._csim import lib as lib
except ImportError as error:  # a checkout whose C core was never compiled
    raise ImportError("the simulator is not built; run `make setup`") from error


def derive_dtype(struct: str, owner: Any = ffi) -> np.dtype[np.void]:
    """Return the numpy layout of a C struct: the same names, offsets and size; arrays become subarrays.

    `owner` is the `ffi` of the extension that declares the struct.
    """
    dtype: np.dtype[np.void] = _derive(owner.typeof(struct))
    return dtype


def _derive(ctype: Any) -> Any:
    if ctype.kind == "array":
        return np.dtype((_derive(ctype.item), (ctype.length,)))
    if ctype.kind == "struct":
        return np.dtype(
            {
                "names": [name for name, _ in ctype.fields],
                "formats": [_derive(field.type) for _, field in ctype.fields],
                "offsets": [field.offset for _, field in ctype.fields],
                "itemsize": ffi.sizeof(ctype),
            }
        )
    name = ctype.cname
    if name in ("double", "float"):
        kind = "f"
    elif "int" in name:
        kind = "u" if name.startswith("u") else "i"
    else:
        raise TypeError(f"no numpy type for C type {name}")
    return np.dtype(f"{kind}{ffi.sizeof(ctype)}")


SAMPLE_DTYPE = derive_dtype("struct drl_subflow_sample")
ACTION_DTYPE = derive_dtype("struct drl_cwnd_action")
COUNTERS_DTYPE = derive_dtype("struct drl_counters")

SampleArray = NDArray[np.void]
"""Rows of SAMPLE_DTYPE (struct drl_subflow_sample)."""
ActionArray = NDArray[np.void]
"""Rows of ACTION_DTYPE (struct drl_cwnd_action)."""

ABI_VERSION: int = lib.DRL_ABI_VERSION
SUBFLOWS_MAX: int = lib.DRL_SUBFLOWS_MAX
CWND_MIN_SEGMENTS: int = lib.DRL_CWND_MIN_SEGMENTS
LEASE_MAX_US: int = lib.DRL_LEASE_MAX_US
PATH_LINKS_MAX: int = lib.CCDRL_PATH_LINKS_MAX
HEADER_BYTES: int = lib.CCDRL_HEADER_BYTES


class Event(IntEnum):
    """The last thing that happened to a subflow (enum drl_event)."""

    CREATED = lib.DRL_EVENT_CREATED
    SAMPLE = lib.DRL_EVENT_SAMPLE
    STATE = lib.DRL_EVENT_STATE
    CLOSED = lib.DRL_EVENT_CLOSED


class State(IntEnum):
    """Congestion state (enum drl_state)."""

    OPEN = lib.DRL_STATE_OPEN
    DISORDER = lib.DRL_STATE_DISORDER
    CWR = lib.DRL_STATE_CWR
    RECOVERY = lib.DRL_STATE_RECOVERY
    LOSS = lib.DRL_STATE_LOSS


class Flag(IntFlag):
    """Bits of drl_subflow_sample.flags (enum drl_flag)."""

    APP_LIMITED = lib.DRL_FLAG_APP_LIMITED
    CWND_LIMITED = lib.DRL_FLAG_CWND_LIMITED
    FALLBACK = lib.DRL_FLAG_FALLBACK
    BACKUP = lib.DRL_FLAG_BACKUP
    RWND_LIMITED = lib.DRL_FLAG_RWND_LIMITED


class Absent(IntFlag):
    """Fields that a datapath cannot give (enum drl_absent)."""

    RTTVAR = lib.DRL_ABSENT_RTTVAR
    MIN_RTT = lib.DRL_ABSENT_MIN_RTT
    COUNTERS = lib.DRL_ABSENT_COUNTERS
    DELIVERY_RATE = lib.DRL_ABSENT_DELIVERY_RATE
    RWND = lib.DRL_ABSENT_RWND
    STATE = lib.DRL_ABSENT_STATE
    CONN_ID = lib.DRL_ABSENT_CONN_ID
    INFLIGHT = lib.DRL_ABSENT_INFLIGHT


class ActionResult(IntEnum):
    """What became of one action (enum drl_action_result)."""

    APPLIED = lib.DRL_RESULT_APPLIED
    CLAMPED = lib.DRL_RESULT_CLAMPED
    STALE = lib.DRL_RESULT_STALE
    UNKNOWN = lib.DRL_RESULT_UNKNOWN
    MALFORMED = lib.DRL_RESULT_MALFORMED


def enumerators(enum: str) -> dict[str, int]:
    """Return the C names and values of an enum, e.g. `enumerators("enum drl_event")`."""
    return {name: value for value, name in ffi.typeof(enum).elements.items()}


def _ids(enum: str, prefix: str) -> dict[str, int]:
    """Return {"gilbert-elliott": 2, …}: enumerators under the names that scenarios use."""
    return {
        name.removeprefix(prefix).lower().replace("_", "-"): value
        for name, value in sorted(enumerators(enum).items(), key=lambda item: item[1])
        if not name.endswith("_COUNT")
    }


CC_IDS = _ids("enum ccdrl_cc_id", "CCDRL_CC_")
SCHEDULER_IDS = _ids("enum ccdrl_scheduler_id", "CCDRL_SCHEDULER_")
QUEUE_IDS = _ids("enum ccdrl_queue_kind", "CCDRL_QUEUE_")
LOSS_IDS = _ids("enum ccdrl_loss_kind", "CCDRL_LOSS_")
TRACE_IDS = _ids("enum ccdrl_trace_kind", "CCDRL_TRACE_")
EVENT_IDS = _ids("enum ccdrl_event_kind", "CCDRL_EVENT_")


def pin(ctype: str, array: NDArray[Any], *, is_written: bool = True, owner: Any = ffi) -> Any:
    """Return a C pointer into a contiguous array; `owner` as for `derive_dtype`.

    The pointer keeps the array alive only while it lives itself (a cast of it keeps nothing), so hold on to it for as
    long as C may use it.
    """
    return owner.from_buffer(f"{ctype}[]", array, require_writable=is_written)


def make_samples(count: int) -> SampleArray:
    """Return `count` zeroed rows of SAMPLE_DTYPE."""
    return np.zeros(count, SAMPLE_DTYPE)


def make_actions(count: int) -> ActionArray:
    """Return `count` rows of ACTION_DTYPE, zero but for the ABI: subflow_id 0 means "no action"."""
    actions = np.zeros(count, ACTION_DTYPE)
    actions["abi"] = ABI_VERSION
    return actions


def measure_heap_s(operations: int) -> float:
    """Return the seconds of `operations` pop-min and push pairs on a 4096-entry binary heap of 16-byte events."""
    return float(lib.ccdrl_bench_heap(operations))
