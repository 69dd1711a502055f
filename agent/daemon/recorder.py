# SPDX-License-Identifier: BSD-2-Clause
"""Writes decisions into a recording (recording.py): whole frames, straight to the file, bounded in size."""

import dataclasses
import json
import os
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ccdrl.agent.controller import Decision
from ccdrl.agent.daemon.recording import (
    HEAD_BYTES,
    KIND_DECISION,
    KIND_POLICY,
    KIND_SESSION,
    NOT_WRITTEN,
    Session,
    encode_session,
    iterate_frames,
    make_head,
    open_regular,
)
from ccdrl.bindings.errors import InputError

MB = 1_000_000


class Recorder:
    """Appends to `path`, and keeps it and the file before it, `path`.1, together within `max_bytes`.

    A file of half that size is renamed to `path`.1, which replaces an older one, and a new one begins. An existing
    recording is gone on with, a frame that its writer left unfinished is cut off. Raises InputError if `path` is
    something else. Frames are written without buffers of ours: what was recorded survives a SIGKILL. Writing raises
    OSError (disk full, for example); the file is then closed and stays readable.
    """

    def __init__(self, path: Path, session: Session, max_bytes: int) -> None:
        self._path, self._session, self._limit = path, session, max_bytes // 2
        self.written_bytes = 0
        self._size = 0
        self._file: BinaryIO | None = None
        try:
            self._size = self._mend()
            self._file = open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        except OSError as error:
            accepted = "accepted: a file in a folder that may be written"
            raise InputError(f"--record: {path}: {error.strerror or error}, {accepted}") from None
        except InputError as error:
            raise InputError(f"--record: {error}") from None
        self._write_session()

    def _mend(self) -> int:
        """Cut an unfinished frame off an existing file; return what is left. Raises InputError for something else."""
        try:
            file = open_regular(self._path, os.O_RDWR)
        except FileNotFoundError:
            return 0
        with file:
            end = 0
            try:
                for frame in iterate_frames(file):
                    if end == 0 and frame.kind != KIND_SESSION:
                        raise InputError("it does not begin with a session")
                    end = frame.end
            except InputError as error:
                raise InputError(f"{self._path}: {error}, accepted: a recording, or a new file") from None
            size = os.fstat(file.fileno()).st_size
            if end == 0 and size > 0:
                raise InputError(f"{self._path}: not a recording, accepted: a recording, or a new file")
            if size > end:
                os.ftruncate(file.fileno(), end)
            return end

    def write(self, decision: Decision, results: NDArray[np.int32] | None) -> None:
        """Append a decision; `results` are those of its cwnd actions that were written, None where none were."""
        scattered = np.full(len(decision.records), NOT_WRITTEN, np.int32)
        if results is not None:
            scattered[decision.cwnd_actions["subflow_id"] != 0] = results
        payload = b"".join(
            (
                decision.records.tobytes(),
                decision.age_us.tobytes(),
                decision.observations.tobytes(),
                decision.actions.tobytes(),
                decision.cwnd_actions.tobytes(),
                scattered.tobytes(),
            )
        )
        self._append(KIND_DECISION, len(decision.records), decision.now_us, payload)

    def write_policy(self, checksum: str, now_us: int) -> None:
        """Note that another policy decides from now on."""
        self._session = dataclasses.replace(self._session, policy=checksum)
        self._append(KIND_POLICY, 0, now_us, json.dumps({"policy": checksum}).encode())

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write_session(self) -> None:
        self._append(KIND_SESSION, 0, 0, encode_session(self._session))

    def _append(self, kind: int, rows: int, time_us: int, payload: bytes) -> None:
        if self._file is None:
            return
        frame_bytes = HEAD_BYTES + len(payload)
        if kind != KIND_SESSION and self._size + frame_bytes > self._limit:
            self._rotate()
        frame = memoryview(make_head(kind, rows, len(payload), time_us, zlib.crc32(payload)) + payload)
        try:
            while frame:
                frame = frame[os.write(self._file.fileno(), frame) :]
        except OSError:
            os.ftruncate(self._file.fileno(), self._size)
            self.close()
            raise
        self._size += frame_bytes
        self.written_bytes += frame_bytes

    def _rotate(self) -> None:
        assert self._file is not None
        self._file.close()
        self._file = None
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        self._file = open_regular(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND)
        self._size = 0
        self._write_session()
