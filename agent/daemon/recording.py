# SPDX-License-Identifier: BSD-2-Clause
"""The format of --record, ccdrl-recording/1, and its reader.

A recording is a row of frames; everything is little-endian. A frame is a head of 32 bytes and a payload:

    offset  type   field
    0       4 s    magic, "CCDR"
    4       u16    kind: 1 session, 2 decision, 3 policy
    6       u16    version, 1
    8       u32    rows: subflows of a decision, else 0
    12      u32    payload length in bytes
    16      u64    time in µs of the datapath's clock
    24      u32    CRC-32 of the payload
    28      u32    CRC-32 of the head's first 28 bytes

    session   JSON: what a reader needs to know of the decisions after it (see `Session`). It comes first, and again
              wherever a daemon went on with an existing file.
    decision  arrays one after the other: records (struct drl_subflow_sample), age (float64, µs), observations (float32,
              rows x columns), actions (float32, NaN where the guard refused), cwnd actions (struct drl_cwnd_action,
              subflow_id 0 where there was none), results (int32, enum drl_action_result; -1: not written)
    policy    JSON with the checksum of a policy that replaced the one before

A file may end within a frame, where the writer was killed: the rest is left out. Anything else that does not fit is an
InputError; nothing in a file is executed, and no length is trusted before it was checked.
"""

import json
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.errors import InputError
from ccdrl.bindings.library import ABI_VERSION, ACTION_DTYPE, SAMPLE_DTYPE, ActionArray, SampleArray

SCHEMA = "ccdrl-recording/1"
MAGIC = b"CCDR"
VERSION = 1
HEAD = struct.Struct("<4sHHIIQI")
HEAD_BYTES = HEAD.size + 4
KIND_SESSION, KIND_DECISION, KIND_POLICY = 1, 2, 3
NOT_WRITTEN = -1
JSON_MAX_BYTES = 1 << 20
ROWS_MAX = 1 << 20
COLUMNS_MAX = 1024


@dataclass(frozen=True, slots=True)
class Session:
    """What one run of the daemon says of its decisions."""

    abi: int
    observation_version: str
    observation_names: tuple[str, ...]
    action_version: str
    policy: str
    """Checksum of the artifact."""
    datapath: str
    is_shadow: bool
    version: str
    """Of ccdrl."""
    started: str
    """UTC, ISO 8601."""


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """One decision for n subflows; arrays as in `agent.controller.Decision`, results int32 (n,), -1: not written."""

    time_us: int
    records: SampleArray
    age_us: NDArray[np.float64]
    observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    cwnd_actions: ActionArray
    results: NDArray[np.int32]
    policy: str
    """Checksum of the policy that decided."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A whole recording: sessions and decisions in the order of the file."""

    sessions: tuple[Session, ...] = ()
    decisions: tuple[RecordedDecision, ...] = ()
    is_truncated: bool = False
    """The file ends within a frame, which is left out."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it stands in the file."""

    kind: int
    rows: int
    time_us: int
    payload: bytes = field(repr=False)
    end: int
    """Offset of the byte after it."""


def row_bytes(n_columns: int) -> int:
    """Return the bytes of one subflow in a decision."""
    return SAMPLE_DTYPE.itemsize + 8 + 4 * n_columns + 4 + ACTION_DTYPE.itemsize + 4


def make_head(kind: int, rows: int, payload_bytes: int, time_us: int, crc: int) -> bytes:
    """Return the head of a frame."""
    head = HEAD.pack(MAGIC, kind, VERSION, rows, payload_bytes, time_us, crc)
    return head + zlib.crc32(head).to_bytes(4, "little")


def describe_layout(dtype: np.dtype[np.void]) -> list[list[Any]]:
    """Return names, formats and offsets of a struct, as they stand in a session."""
    fields: Any = dtype.fields
    return [
        [name, fields[name][0].base.str, list(fields[name][0].shape), fields[name][1]] for name in dtype.names or ()
    ]


def encode_session(session: Session) -> bytes:
    """Return a session's payload."""
    document = {
        "schema": SCHEMA,
        "abi": session.abi,
        "observation": {"version": session.observation_version, "names": list(session.observation_names)},
        "action_version": session.action_version,
        "policy": session.policy,
        "datapath": session.datapath,
        "shadow": session.is_shadow,
        "version": session.version,
        "started": session.started,
        "sample_layout": describe_layout(SAMPLE_DTYPE),
        "action_layout": describe_layout(ACTION_DTYPE),
    }
    return json.dumps(document).encode()


def _parse_json(payload: bytes) -> dict[str, Any]:
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        raise InputError("not valid JSON") from None
    if not isinstance(document, dict):
        raise InputError("expected a JSON object")
    return document


def _take(document: dict[str, Any], key: str, kind: type) -> Any:
    value = document.get(key)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f"{key}: expected {kind.__name__}, found {type(value).__name__}")
    return value


def decode_session(payload: bytes) -> Session:
    """Return the session of a payload. Raises InputError for another schema, ABI or layout than this program's."""
    document = _parse_json(payload)
    schema = _take(document, "schema", str)
    if schema != SCHEMA:
        raise InputError(f"schema: expected {SCHEMA}, found {schema[:40]!r}")
    if _take(document, "abi", int) != ABI_VERSION:
        raise InputError(f"abi: expected {ABI_VERSION}, found {document['abi']}")
    for key, dtype in (("sample_layout", SAMPLE_DTYPE), ("action_layout", ACTION_DTYPE)):
        if _take(document, key, list) != describe_layout(dtype):
            raise InputError(f"{key}: differs from this program's")
    observation = _take(document, "observation", dict)
    names = _take(observation, "names", list)
    if not 1 <= len(names) <= COLUMNS_MAX or not all(isinstance(name, str) for name in names):
        raise InputError(f"observation.names: expected 1 to {COLUMNS_MAX} names")
    return Session(
        abi=ABI_VERSION,
        observation_version=_take(observation, "version", str),
        observation_names=tuple(names),
        action_version=_take(document, "action_version", str),
        policy=_take(document, "policy", str),
        datapath=_take(document, "datapath", str),
        is_shadow=_take(document, "shadow", bool),
        version=_take(document, "version", str),
        started=_take(document, "started", str),
    )


def decode_decision(frame: Frame, n_columns: int, policy: str) -> RecordedDecision:
    """Return the arrays of a decision; they share one read-only copy of the payload. Raises InputError."""
    n = frame.rows
    if not 1 <= n <= ROWS_MAX or len(frame.payload) != n * row_bytes(n_columns):
        raise InputError(f"a decision of {n} rows in {len(frame.payload)} bytes")
    parts: list[Any] = []
    offset = 0
    for dtype, width in (
        (SAMPLE_DTYPE, 1),
        (np.dtype("<f8"), 1),
        (np.dtype("<f4"), n_columns),
        (np.dtype("<f4"), 1),
        (ACTION_DTYPE, 1),
        (np.dtype("<i4"), 1),
    ):
        parts.append(np.frombuffer(frame.payload, dtype, n * width, offset))
        offset += n * width * dtype.itemsize
    records, age_us, observations, actions, cwnd_actions, results = parts
    shaped = observations.reshape(n, n_columns)
    return RecordedDecision(frame.time_us, records, age_us, shaped, actions, cwnd_actions, results, policy)


def open_regular(path: Path, flags: int) -> BinaryIO:
    """Open a regular file; a link, FIFO or device is refused. Raises InputError, or FileNotFoundError."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for its other end.
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o640)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = "is a symbolic link" if path.is_symlink() else (error.strerror or str(error))
        raise InputError(f"{path}: {reason}, accepted: a recording, or a new file") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InputError(f"{path}: not a regular file, accepted: a recording, or a new file")
    return os.fdopen(handle, "rb" if flags & os.O_ACCMODE == os.O_RDONLY else "r+b", buffering=0)


def read_exactly(file: BinaryIO, count: int) -> bytes:
    """Return up to `count` bytes; fewer only at the end of the file."""
    parts, left = [], count
    while left and (part := file.read(min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def iterate_frames(file: BinaryIO) -> Iterator[Frame]:
    """Yield the whole frames of an open file, checked; stop at its end or within the last frame. Raises InputError."""
    size, offset = os.fstat(file.fileno()).st_size, 0
    while offset + HEAD_BYTES <= size:
        head = read_exactly(file, HEAD_BYTES)
        if len(head) < HEAD_BYTES:
            return
        if int.from_bytes(head[HEAD.size :], "little") != zlib.crc32(head[: HEAD.size]):
            raise InputError(f"byte {offset}: no frame of {SCHEMA}")
        magic, kind, version, rows, payload_bytes, time_us, crc = HEAD.unpack(head[: HEAD.size])
        if magic != MAGIC or version != VERSION or kind not in (KIND_SESSION, KIND_DECISION, KIND_POLICY):
            raise InputError(f"byte {offset}: a frame of another version than {SCHEMA}")
        limit = ROWS_MAX * row_bytes(COLUMNS_MAX) if kind == KIND_DECISION else JSON_MAX_BYTES
        if payload_bytes > limit or (kind == KIND_DECISION) != (rows > 0):
            raise InputError(f"byte {offset}: a frame of {payload_bytes} bytes and {rows} rows")
        end = offset + HEAD_BYTES + payload_bytes
        if end > size:
            return
        payload = read_exactly(file, payload_bytes)
        if len(payload) < payload_bytes:
            return
        if zlib.crc32(payload) != crc:
            raise InputError(f"byte {offset}: the frame's checksum differs, the file is damaged")
        yield Frame(kind, rows, time_us, payload, end)
        offset = end


def read_recording(path: str | Path) -> Recording:
    """Read a recording of --record.

    Raises InputError, one line that begins with the path, for a file that is missing, damaged or something else; a file
    that ends within a frame is read up to there.
    """
    place = Path(path)
    sessions: list[Session] = []
    decisions: list[RecordedDecision] = []
    policy, end = "", 0
    try:
        with open_regular(place, os.O_RDONLY) as file:
            for frame in iterate_frames(file):
                if frame.kind == KIND_SESSION:
                    sessions.append(decode_session(frame.payload))
                    policy = sessions[-1].policy
                elif not sessions:
                    raise InputError("it does not begin with a session")
                elif frame.kind == KIND_POLICY:
                    policy = _take(_parse_json(frame.payload), "policy", str)
                else:
                    decisions.append(decode_decision(frame, len(sessions[-1].observation_names), policy))
                end = frame.end
            is_truncated = os.fstat(file.fileno()).st_size > end
    except FileNotFoundError:
        raise InputError(f"{place}: not found, accepted: a recording of serve.py --record") from None
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(f"{place}: ") else f"{place}: {text}") from None
    except OSError as error:
        raise InputError(f"{place}: {error.strerror or error}") from None
    if not sessions:
        raise InputError(f"{place}: no session in it, accepted: a recording of serve.py --record")
    return Recording(tuple(sessions), tuple(decisions), is_truncated)
