# SPDX-License-Identifier: BSD-2-Clause
"""Recordings: what was decided comes back, bounded on disk, and no file makes the reader do anything but refuse."""

import json
import os
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccdrl.agent.controller import Decision
from ccdrl.agent.daemon import recorder as recorder_module
from ccdrl.agent.daemon.recorder import Recorder
from ccdrl.agent.daemon.recording import (
    HEAD,
    HEAD_BYTES,
    KIND_DECISION,
    KIND_POLICY,
    KIND_SESSION,
    NOT_WRITTEN,
    Session,
    encode_session,
    make_head,
    read_recording,
    row_bytes,
)
from ccdrl.agent.policy import load_policy
from ccdrl.bindings.errors import InputError
from ccdrl.bindings.fake_datapath import FakeDatapath
from ccdrl.bindings.library import ACTION_DTYPE, SAMPLE_DTYPE, make_actions, make_samples
from ccdrl.envs.observation import OBSERVATION_SIZE

MB = 10**6
SESSION = Session(
    2, "1-test", ("a", "b", "c"), "1-multiplicative", "abc", "fake", False, "0.1.0", "2026-01-01T00:00:00Z"
)


def make_decision(n=2, now_us=5, seed=0):
    rng = np.random.default_rng(seed)
    actions = make_actions(n)
    actions["subflow_id"] = np.arange(n)  # the first was refused
    return Decision(
        now_us,
        rng.integers(0, 256, n * SAMPLE_DTYPE.itemsize, np.uint8).view(SAMPLE_DTYPE),
        rng.normal(size=n),
        rng.normal(size=(n, 3)).astype(np.float32),
        rng.normal(size=n).astype(np.float32),
        actions,
        np.inf,
    )


def write(path, decisions=1, session=SESSION, max_bytes=MB):
    recorder = Recorder(path, session, max_bytes)
    for i in range(decisions):
        recorder.write(make_decision(now_us=i, seed=i), np.array([0], np.int32))
    recorder.close()
    return path


def refuse(path, said):
    with pytest.raises(InputError) as caught:
        read_recording(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_was_written_comes_back(tmp_path):
    path = tmp_path / "a.rec"
    recorder = Recorder(path, SESSION, MB)
    first, second = make_decision(3, 10, 1), make_decision(1, 20, 2)
    recorder.write(first, np.array([1, 2], np.int32))
    recorder.write_policy("def", 15)
    recorder.write(second, None)
    assert recorder.written_bytes == path.stat().st_size  # no buffer of ours: a SIGKILL now would lose nothing
    recording = read_recording(path)
    assert recording.sessions == (SESSION,)
    assert not recording.is_truncated
    for wrote, got in zip((first, second), recording.decisions, strict=True):
        assert got.time_us == wrote.now_us
        for name in ("records", "age_us", "observations", "actions", "cwnd_actions"):
            assert getattr(got, name).tobytes() == getattr(wrote, name).tobytes(), name
            assert getattr(got, name).shape == getattr(wrote, name).shape
    assert recording.decisions[0].results.tolist() == [NOT_WRITTEN, 1, 2]
    assert recording.decisions[1].results.tolist() == [NOT_WRITTEN]
    assert [each.policy for each in recording.decisions] == ["abc", "def"]
    recorder.close()


def test_a_daemon_records_what_it_decides(tmp_path, make_run):
    datapath = FakeDatapath((2,))
    run = make_run(datapath, record=tmp_path / "a.rec", record_max_mb=10)
    run.daemon.run()
    recording = read_recording(tmp_path / "a.rec")
    (session,) = recording.sessions
    assert (session.datapath, session.is_shadow) == ("fake", False)
    assert session.policy == load_policy(run.daemon.options.model).artifact.checksum
    assert sum(len(each.records) for each in recording.decisions) == run.daemon.controller.decisions
    results = np.concatenate([each.results for each in recording.decisions])
    applied = run.daemon.metrics.results["applied"]
    assert np.count_nonzero(results == 0) == applied > 0
    policy = load_policy(run.daemon.options.model)
    for each in recording.decisions:  # the observations are those that the policy saw
        assert each.observations.shape[1] == OBSERVATION_SIZE
        assert policy.act(each.observations).tobytes() == each.actions.tobytes()
    run.daemon.render_metrics()


def test_shadow_records_that_nothing_was_written(tmp_path, make_run):
    make_run(FakeDatapath((2,)), record=tmp_path / "a.rec", is_shadow=True).daemon.run()
    recording = read_recording(tmp_path / "a.rec")
    assert recording.sessions[0].is_shadow
    assert all((each.results == NOT_WRITTEN).all() for each in recording.decisions)


@pytest.mark.parametrize("cut", [1, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1, row_bytes(3)])
def test_a_tail_that_is_cut_is_left_out_and_written_over(tmp_path, cut):
    path = write(tmp_path / "a.rec", 3)
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    recording = read_recording(path)
    assert recording.is_truncated
    assert len(recording.decisions) == 2
    write(path, 1)
    again = read_recording(path)
    assert (len(again.sessions), len(again.decisions), again.is_truncated) == (2, 3, False)


def test_size_is_bounded(tmp_path):
    path = tmp_path / "a.rec"
    limit = 20_000
    write(path, 200, max_bytes=limit)
    older = tmp_path / "a.rec.1"
    assert path.stat().st_size <= limit // 2
    assert older.stat().st_size <= limit // 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.rec", "a.rec.1"]
    times = [each.time_us for place in (older, path) for each in read_recording(place).decisions]
    assert times == list(range(times[0], 200))  # the newest, without a hole


def test_a_full_disk_stops_the_recording_not_the_daemon(tmp_path, make_run, monkeypatch):
    run = make_run(FakeDatapath((2,)), record=tmp_path / "a.rec")
    written = []

    def fail_later(handle, content):
        written.append(len(content))
        if len(written) > 10:
            raise OSError(28, "No space left on device")
        return os.pwrite(handle, content, os.fstat(handle).st_size)

    monkeypatch.setattr(recorder_module.os, "write", fail_later)
    run.daemon.run()
    assert run.daemon.metrics.ticks == 200
    assert run.daemon.recorder is None
    (line,) = run.events("recording_stopped")
    assert "No space left" in line["reason"]
    assert len(read_recording(tmp_path / "a.rec").decisions) == 10


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 100, b"hello world, this is no recording at all"])
def test_other_files_are_refused_and_kept(tmp_path, content):
    path = tmp_path / "a.rec"
    path.write_bytes(content)
    refuse(path, "session" if len(content) < HEAD_BYTES else "no frame")
    if content:
        with pytest.raises(InputError, match="accepted: a recording, or a new file"):
            Recorder(path, SESSION, MB)
        assert path.read_bytes() == content


def test_links_pipes_and_folders_are_refused(tmp_path):
    write(tmp_path / "real.rec")
    (tmp_path / "link.rec").symlink_to(tmp_path / "real.rec")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, said in (("link.rec", "symbolic link"), ("pipe", "not a regular file"), ("folder", "")):
        refuse(tmp_path / name, said)
        with pytest.raises(InputError, match="--record: "):
            Recorder(tmp_path / name, SESSION, MB)
    refuse(tmp_path / "none", "not found")
    with pytest.raises(InputError, match="folder that may be written"):
        Recorder(tmp_path / "none" / "a.rec", SESSION, MB)


def frame(kind, payload, rows=0):
    return make_head(kind, rows, len(payload), 0, zlib.crc32(payload)) + payload


def session_with(**changes):
    document = json.loads(encode_session(SESSION))
    for key, value in changes.items():
        document[key] = value
    return frame(KIND_SESSION, json.dumps(document).encode())


LAYOUT = json.loads(encode_session(SESSION))["sample_layout"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (frame(KIND_DECISION, b"\0" * row_bytes(3), 1), "does not begin with a session"),
        (frame(KIND_SESSION, b"{"), "not valid JSON"),
        (frame(KIND_SESSION, b"[" * 100_000), "not valid JSON"),
        (frame(KIND_SESSION, b"[]"), "JSON object"),
        (frame(KIND_SESSION, b"\xff\xfe"), "not valid JSON"),
        (session_with(schema="ccdrl-recording/2"), "schema"),
        (session_with(abi=1), "abi"),
        (session_with(abi=True), "abi"),
        (session_with(sample_layout=LAYOUT[:-1]), "sample_layout"),
        (session_with(observation={"version": "1", "names": []}), "observation.names"),
        (session_with(observation={"version": "1", "names": [1]}), "observation.names"),
        (session_with(observation={"version": "1", "names": ["a"] * 2000}), "observation.names"),
        (session_with(policy=None), "policy"),
        (session_with() + frame(KIND_DECISION, b"\0" * row_bytes(3), 2), "2 rows"),
        (session_with() + frame(KIND_DECISION, b"", 1), "1 rows"),
        (session_with() + frame(KIND_DECISION, b"", 0), "0 rows"),
        (session_with() + frame(KIND_POLICY, b"{}"), "policy"),
        (session_with() + frame(9, b""), "another version"),
        (session_with() + frame(KIND_POLICY, b"\0" * (2 << 20)), "frame of"),
        (session_with() + make_head(KIND_DECISION, 1, row_bytes(3), 0, 1) + b"\0" * row_bytes(3), "checksum"),
    ],
)
def test_hostile_frames_are_refused(tmp_path, content, said):
    path = tmp_path / "a.rec"
    path.write_bytes(content)
    refuse(path, said)


def test_a_length_beyond_the_file_costs_no_memory(tmp_path):
    path = tmp_path / "a.rec"
    path.write_bytes(session_with() + make_head(KIND_DECISION, 1 << 20, 1 << 31, 0, 0))
    assert read_recording(path).is_truncated


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), value=st.integers(1, 255))
def test_a_flipped_byte_is_found(tmp_path, place, value):
    """Every byte of a recording is under a checksum: one that differs is an InputError, never another recording."""
    path = tmp_path / "flipped.rec"
    if not (tmp_path / "a.rec").exists():
        write(tmp_path / "a.rec", 2)
    content = bytearray((tmp_path / "a.rec").read_bytes())
    content[place % len(content)] ^= value
    path.write_bytes(content)
    with pytest.raises(InputError):
        read_recording(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.binary(max_size=600), kind=st.integers(0, 4), rows=st.integers(0, 3))
def test_any_bytes_in_a_frame_are_read_or_refused(tmp_path, payload, kind, rows):
    path = tmp_path / "a.rec"
    path.write_bytes(session_with() + frame(kind, payload, rows))
    try:
        recording = read_recording(path)
    except InputError:
        return
    assert len(recording.sessions) == 1


def test_sizes_stand_in_the_documentation():
    assert (HEAD.size, HEAD_BYTES) == (28, 32)
    assert row_bytes(51) == 176 + 8 + 4 * 51 + 4 + 40 + 4
    assert make_samples(1).dtype.itemsize == 176
    assert ACTION_DTYPE.itemsize == 40
