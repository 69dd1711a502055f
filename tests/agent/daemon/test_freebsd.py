# SPDX-License-Identifier: BSD-2-Clause
"""serve.py on FreeBSD: its options, what it says without a kernel that answers, and a run over both ABIs.

The binding's C is compiled here and asks a stand-in kernel; only the platform's name is pretended.
"""

import sys
import time
from types import SimpleNamespace

import pytest

from ccdrl.agent.daemon import sources
from ccdrl.agent.daemon.options import parse_options
from ccdrl.agent.daemon.recording import read_recording
from ccdrl.bindings.fake_datapath import FakeDatapath
from ccdrl.bindings.library import Absent
from ccdrl.serve import main
from ccdrl.tests.bindings.freebsd.conftest import machine, native  # noqa: F401 (fixtures)
from ccdrl.tests.bindings.freebsd.kernel_v1 import KernelV1
from ccdrl.tests.bindings.networks import link


@pytest.fixture
def model(tmp_path, save_agent):
    return save_agent(tmp_path / "agent", 1)


@pytest.fixture
def freebsd(monkeypatch):
    """Let serve.py think that it is there."""
    monkeypatch.setattr(sources, "sys", SimpleNamespace(platform="freebsd13"))


@pytest.fixture
def refuse(capsys):
    """Check that a command line ends in one line."""

    def check(*arguments, said, status):
        assert main([str(argument) for argument in arguments]) == status
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith("serve.py: error: ")
        assert said in err

    return check


class LiveKernel(KernelV1):
    """The replica in real time: it catches up whenever it is asked."""

    def __init__(self, links):
        super().__init__(links)
        self._begin_s = time.monotonic()

    def get_buffer(self, records):
        behind_us = int((time.monotonic() - self._begin_s) * 1e6) - self.clock_us()
        if behind_us > 0:
            self.advance(behind_us)
        return super().get_buffer(records)


def test_options():
    assert (parse_options([]).abi, parse_options([]).mss_bytes) == ("v2", 1448)
    given = parse_options(["--datapath", "freebsd", "--abi", "v1", "--mss-bytes", "8948"])
    assert (given.abi, given.mss_bytes) == ("v1", 8948)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--datapath", "freebsd"], "--datapath: freebsd on Linux, accepted: on FreeBSD only"),
        (["--datapath", "freebsd", "--abi", "v1"], "--datapath: freebsd on Linux, accepted: on FreeBSD only"),
        (["--datapath", "freebsd", "--abi", "v3"], "--abi"),
        (["--abi", "v1"], "--abi: the datapath is auto, accepted: only with --datapath freebsd"),
        (["--datapath", "linux", "--abi", "v2"], "--abi: the datapath is linux"),
        (["--datapath", "freebsd", "--mss-bytes", "1448"], "--mss-bytes: accepted: only with --abi v1"),
        (["--datapath", "freebsd", "--abi", "v1", "--mss-bytes", "1"], "from 536 to 65495"),
        (["--datapath", "freebsd", "--scenario", "idle-pair"], "--scenario: the datapath is freebsd"),
    ],
)
def test_bad_command_lines(refuse, model, arguments, said):
    refuse("--model", model, *arguments, said=said, status=2)


def test_an_installation_without_the_binding(refuse, model, freebsd, monkeypatch):
    monkeypatch.delattr("ccdrl.bindings.freebsd.system", raising=False)
    monkeypatch.setitem(sys.modules, "ccdrl.bindings.freebsd.system", None)
    refuse("--model", model, "--datapath", "freebsd", said="this installation is without it", status=1)


def test_nothing_loaded(refuse, model, freebsd, machine):  # noqa: F811
    refuse("--model", model, "--datapath", "freebsd", said="load the module with `kldload ccdrl` (root)", status=1)
    refuse("--model", model, said="load the module with `kldload ccdrl` (root)", status=1)
    machine.sysctls["kern.osreldate"] = (1400097).to_bytes(4, "little")
    machine.sysctls["net.inet.tcp.cc.available"] = b"newreno"
    arguments = ("--datapath", "freebsd", "--abi", "v1")
    refuse("--model", model, *arguments, said="ABI v1 is FreeBSD 13's, this is FreeBSD 14; use --abi v2", status=1)
    assert machine.asked == []


def test_a_run_over_v1(model, freebsd, machine, tmp_path):  # noqa: F811
    kernel = LiveKernel([link(4, 15, 30), link(2, 25, 30)])
    machine.serve_v1(kernel)
    place = tmp_path / "v1.rec"
    arguments = ["--datapath", "freebsd", "--abi", "v1", "--duration-s", "2", "--quiet", "--record", str(place)]
    assert main(["--model", str(model), *arguments]) == 0
    recording = read_recording(place)
    assert recording.sessions[0].datapath == "freebsd-v1"
    # An interval is an srtt, 30 to 100 ms, on each of the two.
    assert len(recording.decisions) >= 20
    assert all((decision.records["absent"] & Absent.COUNTERS).all() for decision in recording.decisions)
    assert {583, 584} == set(machine.asked)
    assert all(subflow.cwnd_bytes <= 10 * 1448 for subflow in kernel.subflows), "what is left behind is safe"
    kernel.simulator.close()


def test_a_shadow_run_over_v1_writes_nothing(model, freebsd, machine):  # noqa: F811
    kernel = LiveKernel([link(4, 15, 30)])
    machine.serve_v1(kernel)
    arguments = ["--datapath", "freebsd", "--abi", "v1", "--shadow", "--duration-s", "0.5", "--quiet"]
    assert main(["--model", str(model), *arguments]) == 0
    assert set(machine.asked) == {584}
    kernel.simulator.close()


def test_a_run_over_v2(model, freebsd, machine):  # noqa: F811
    fake = FakeDatapath((2,))
    fake.now_us = time.monotonic_ns() // 1000
    machine.serve_v2(fake)
    fake.advance(100_000)
    assert main(["--model", str(model), "--duration-s", "0.5", "--quiet"]) == 0
    assert fake.counters().applied + fake.counters().clamped >= 2
