# SPDX-License-Identifier: BSD-2-Clause
"""What the loader says to a machine that lacks something; no privilege and no kernel feature is needed here."""

from pathlib import Path

import pytest

from ccdrl.bindings.errors import DatapathError, InputError

pytest.importorskip("ccdrl.bindings.linux._linux", reason="this machine lacks the Linux binding (it is no Linux)")

from ccdrl.bindings.linux import loader, machine, maps  # noqa: E402
from ccdrl.bindings.linux.command import main  # noqa: E402
from ccdrl.bindings.linux.machine import check_capabilities, check_file_system, check_kernel  # noqa: E402

MOUNTS = """\
sysfs /sys sysfs rw 0 0
bpf /sys/fs/bpf bpf rw,mode=700 0 0
tmpfs /tmp tmpfs rw 0 0
bpf /tmp/covered bpf rw 0 0
tmpfs /tmp/covered tmpfs rw 0 0
"""


@pytest.mark.parametrize("release", ["6.10.0", "6.18.44-fc", "7.0.0-rc1", "10.2"])
def test_new_kernels(release):
    check_kernel(release)


@pytest.mark.parametrize("release", ["6.9.12", "5.15.0-91-generic", "6.1.0-18-amd64", "unknown"])
def test_old_kernels(release):
    with pytest.raises(DatapathError, match=r"too old: 6\.10 or newer"):
        check_kernel(release)


def test_a_kernel_without_types(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "check_kernel", lambda release: None)
    monkeypatch.setattr(machine, "BTF", tmp_path / "vmlinux")
    with pytest.raises(DatapathError, match="CONFIG_DEBUG_INFO_BTF"):
        machine.check_machine(tmp_path)


@pytest.mark.parametrize("effective", [1 << 21, 1 << 38 | 1 << 39, 2**41 - 1])
def test_enough_capabilities(effective):
    check_capabilities(f"Name:\tx\nCapEff:\t{effective:016x}\n")


@pytest.mark.parametrize("effective", [0, 1 << 38, 1 << 39, 1 << 39 | 1 << 12])
def test_too_few_capabilities(effective):
    with pytest.raises(PermissionError, match="CAP_BPF and CAP_PERFMON"):
        check_capabilities(f"CapEff:\t{effective:016x}\n")


def test_file_systems():
    check_file_system(Path("/sys/fs/bpf/ccdrl"), MOUNTS)
    for folder in ("/sys/fs/bpf-not", "/tmp/ccdrl", "/tmp/covered/ccdrl", "/nowhere"):
        with pytest.raises(DatapathError, match="not on a BPF file system"):
            check_file_system(Path(folder), MOUNTS)


def test_no_compiled_objects(monkeypatch, tmp_path):
    monkeypatch.setattr(loader, "OBJECTS", tmp_path)
    with pytest.raises(DatapathError, match="install clang"):
        loader.find_objects()


def test_info_of_something_else():
    info = maps.make_memory_maps(4).info[0].copy()
    maps._check_info(Path("/pins"), info)
    for field, value, words in (
        ("magic", 1, "not of ccdrl"),
        ("abi", 1, "speaks ABI 1"),
        ("slots", 0, "names 0 slots"),
    ):
        broken = info.copy()
        broken[field] = value
        with pytest.raises(DatapathError, match=words):
            maps._check_info(Path("/pins"), broken)


def test_nothing_loaded(tmp_path):
    with pytest.raises(DatapathError, match="nothing is loaded"):
        maps.open_maps(tmp_path)
    (tmp_path / "info").write_bytes(b"")
    with pytest.raises(DatapathError, match="is no pinned map"):
        maps.open_maps(tmp_path)


@pytest.mark.parametrize("arguments", [[], ["fly"], ["load", "--slots", "0"], ["load", "--group", "no such group"]])
def test_bad_usage(capsys, arguments):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ccdrl-linux: error: ")
    assert len(err.splitlines()) == 1


def test_status_of_nothing(capsys, tmp_path):
    assert main(["status", "--pin-dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("ccdrl-linux: error: datapath linux: nothing is loaded")


def test_unload_of_nothing(tmp_path):
    with pytest.raises(DatapathError, match="nothing is loaded"):
        loader.unload(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        loader.load([tmp_path / "x.bpf.o"], pin_dir=tmp_path / "pins")
