# SPDX-License-Identifier: BSD-2-Clause
import os
import stat
import threading

import pytest

from ccdrl.models.storage import replace_file, replacing_folder


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "out.json"
    replace_file(path, b"old")

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.json"]


def test_a_file_is_as_readable_as_other_files(tmp_path):
    replace_file(tmp_path / "out.json", b"x")
    (tmp_path / "other").write_text("x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("out.json", "other")}
    assert len(modes) == 1


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    replace_file(tmp_path / "link.json", b"new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "new"


def test_a_pipe_is_written_to(tmp_path):
    path, seen = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: seen.append(path.read_bytes()))
    reader.start()
    replace_file(path, b"new")
    reader.join(timeout=10)
    assert seen == [b"new"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "folder"
    for name in ("one", "two"):
        with replacing_folder(target) as scratch:
            (scratch / name).write_text("x")
        assert os.listdir(target) == [name]
    with pytest.raises(KeyError), replacing_folder(target) as scratch:
        (scratch / "three").write_text("x")
        raise KeyError
    assert os.listdir(target) == ["two"]
    assert os.listdir(tmp_path) == ["folder"]
