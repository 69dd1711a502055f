# SPDX-License-Identifier: BSD-2-Clause
"""`ccdrl-linux` on this machine's kernel: what it says when it refuses, whom it lets in, what it leaves behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support_datapath import OBJECT, bpf_folder, loaded, require_machine, run_linux  # noqa: E402

from ccdrl.bindings.errors import DatapathError  # noqa: E402
from ccdrl.bindings.linux.datapath import LinuxDatapath  # noqa: E402
from ccdrl.bindings.linux.library import lib  # noqa: E402
from ccdrl.bindings.linux.machine import list_controllers  # noqa: E402

AGENT = """
import sys
import numpy as np
from ccdrl.bindings.library import make_actions
from ccdrl.bindings.linux.datapath import LinuxDatapath
from ccdrl.bindings.linux.library import lib, ffi, pin
folder = sys.argv[1]
datapath = LinuxDatapath(folder)
print(datapath.read_samples().size, list(datapath.write_actions(make_actions(1))))
fd = lib.ccdrl_bpf_open(f"{folder}/states".encode())
print(lib.ccdrl_bpf_update(fd, ffi.new("uint32_t *"), ffi.new("struct ccdrl_state_slot *")))
"""


@pytest.fixture(autouse=True)
def machine():
    require_machine()


def expect_line(done, status, *words):
    """One line on stderr, nothing on stdout, no traceback."""
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("ccdrl-linux: error: ")
    for word in words:
        assert word in line


def as_nobody(*command, group):
    prefix = ["setpriv", "--reuid", "65534", "--regid", group, "--clear-groups"]
    return subprocess.run([*prefix, *command], capture_output=True, text=True, timeout=60, check=False)


def test_load_status_unload():
    with bpf_folder() as pin_dir, loaded() as other:
        expect_line(run_linux("load", "--pin-dir", str(pin_dir), str(OBJECT)), 1, "ccdrl is registered already")
        assert not pin_dir.exists(), "nothing stays behind"
        expect_line(run_linux("load", "--pin-dir", str(other), str(OBJECT)), 1, "loaded already")
        status = json.loads(run_linux("status", "--json", "--pin-dir", str(other)).stdout)
        assert status["controllers"] == ["ccdrl"]
        assert status["slots"] == {"total": 64, "used": 0, "free": 64, "in_lease": 0}
        table = run_linux("status", "--pin-dir", str(other))
        assert table.returncode == 0
        assert "64 free of 64" in table.stdout
        done = run_linux("unload", "--pin-dir", str(other))
        assert (done.returncode, done.stdout, done.stderr) == (0, "unloaded ccdrl\n", "")
        assert "ccdrl" not in list_controllers()
        assert not other.exists()
        expect_line(run_linux("unload", "--pin-dir", str(other)), 1, "nothing is loaded")
        expect_line(run_linux("status", "--pin-dir", str(other)), 1, "nothing is loaded")


def test_status_of_the_couplings_alone():
    couplings = OBJECT.with_name("ccdrl_couplings.bpf.o")
    with loaded(objects=[couplings]) as pin_dir:
        done = run_linux("status", "--json", "--pin-dir", str(pin_dir))
        assert (done.returncode, done.stderr) == (0, "")
        status = json.loads(done.stdout)
        assert status["controllers"] == ["ccdrl_balia", "ccdrl_lia", "ccdrl_olia"]
        assert "slots" not in status
        table = run_linux("status", "--pin-dir", str(pin_dir))
        assert (table.returncode, table.stderr) == (0, "")
        assert "ccdrl_balia ccdrl_lia ccdrl_olia" in table.stdout
        with pytest.raises(DatapathError, match="nothing is loaded"):
            LinuxDatapath(pin_dir)


def test_bad_usage_is_status_2(tmp_path):
    expect_line(run_linux(), 2, "load|unload|status")
    expect_line(run_linux("load", "--slots", "many"), 2, "--slots")
    expect_line(run_linux("load", "--slots", "70000"), 2, "slots: expected an integer from 1 to 65534, got 70000")
    expect_line(run_linux("load", "--cwnd-max-bytes", "1"), 2, "cwnd_max_bytes")
    expect_line(run_linux("load", "--group", "no-such-group"), 2, "group", "no-such-group")
    expect_line(run_linux("load", str(tmp_path / "none.bpf.o")), 2, "none.bpf.o")


def test_a_folder_that_is_no_bpf_file_system(tmp_path):
    expect_line(run_linux("load", "--pin-dir", str(tmp_path / "pins")), 1, "not on a BPF file system", "mount -t bpf")


def test_an_object_that_is_none(tmp_path):
    with bpf_folder() as pin_dir:
        path = tmp_path / "text.bpf.o"
        path.write_text("not a program")
        expect_line(run_linux("load", "--pin-dir", str(pin_dir), str(path)), 1, "text.bpf.o")
        assert not pin_dir.exists()


def test_loading_needs_two_capabilities_and_no_more():
    with loaded() as pin_dir:  # waits for its turn
        unloaded = run_linux("unload", "--pin-dir", str(pin_dir))
        assert unloaded.returncode == 0
        command = [sys.executable, "-m", "ccdrl.bindings.linux", "load", "--pin-dir", str(pin_dir), str(OBJECT)]
        for capabilities, is_enough in (("+bpf", False), ("+perfmon", False), ("+bpf,+perfmon", True)):
            done = subprocess.run(
                ["setpriv", "--bounding-set", f"-all,{capabilities}", "--inh-caps", "-all", *command],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            if is_enough:
                assert (done.returncode, done.stderr) == (0, "")
            else:
                expect_line(done, 1, "CAP_BPF and CAP_PERFMON")


def test_the_group_runs_an_agent_without_privileges():
    with loaded(group="nogroup") as pin_dir:
        pin_dir.parent.chmod(0o755)
        inside = as_nobody(sys.executable, "-c", AGENT, str(pin_dir), group="65534")
        # 4: an empty action is malformed; then EPERM: the states are frozen for everybody.
        assert inside.stdout.split("\n")[:2] == ["0 [np.int32(4)]", "-1"], inside.stderr
        outside = as_nobody(sys.executable, "-c", AGENT, str(pin_dir), group="100")
        assert "PermissionError" in outside.stderr
        assert "load --group" in outside.stderr
        command = [sys.executable, "-m", "ccdrl.bindings.linux", "unload", "--pin-dir", str(pin_dir)]
        loading = as_nobody(*command, group="100")
        assert loading.returncode == 1
        assert len(loading.stderr.splitlines()) == 1


def test_a_pin_of_another_shape_is_refused():
    with loaded() as pin_dir:
        states, tally = pin_dir / "states", pin_dir / "tally"
        states.unlink()
        fd = lib.ccdrl_bpf_open(str(tally).encode())
        assert lib.ccdrl_bpf_pin(fd, str(states).encode()) == 0
        os.close(fd)
        with pytest.raises(DatapathError, match="states has 1 entries of 48 bytes, expected 64 of 256"):
            LinuxDatapath(pin_dir)
        states.unlink()
        with pytest.raises(DatapathError, match="nothing is loaded: no .*states"):
            LinuxDatapath(pin_dir)
