# SPDX-License-Identifier: BSD-2-Clause
"""serve.py as a user meets it: options, exit statuses, signals, sockets, and what it does not load."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import ccdrl
from ccdrl.agent.daemon.options import PRETRAINED, make_parser, parse_options
from ccdrl.agent.daemon.recording import read_recording
from ccdrl.bindings.errors import InputError
from ccdrl.serve import main

PROGRAM = Path(ccdrl.__file__).parent / "serve.py"
READY_S = 60.0
RESIDENT_MAX_KB = 120_000


@pytest.fixture(scope="module")
def model(tmp_path_factory, save_agent):
    """A small untrained agent."""
    return save_agent(tmp_path_factory.mktemp("model") / "agent", 1)


class Server:
    """serve.py in a process of its own, whose NOTIFY_SOCKET is ours."""

    def __init__(self, folder, *arguments):
        place = str(folder / "notify")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(place)
        self.notify.settimeout(READY_S)
        environment = {**os.environ, "NOTIFY_SOCKET": place, "WATCHDOG_USEC": "200000"}
        command = [sys.executable, str(PROGRAM), *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def wait_for(self, message):
        """Return once systemd would have heard this."""
        while message not in (heard := self.notify.recv(4096).decode().splitlines()):
            assert heard

    def end(self, number=None):
        """Send a signal, if any, and return exit status, stdout, stderr."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.notify.close()


@pytest.fixture
def start(tmp_path):
    servers = []

    def make(*arguments):
        servers.append(Server(tmp_path, *arguments))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def simulate(model, *arguments, scenario="idle-pair"):
    return ["--model", model, "--datapath", "sim", "--scenario", scenario, *arguments]


@pytest.fixture
def refuse(capsys):
    """Check that a command line is refused: exit status 2, one line on stderr, nothing on stdout."""

    def check(*arguments, said, status=2):
        assert main([str(argument) for argument in arguments]) == status
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("serve.py: error: ")
        assert err.count("\n") == 1
        assert said in err

    return check


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nonsense"], "--nonsense"),
        (["--datapath", "bsd"], "--datapath"),
        (["--datapath", "sim"], "--scenario: missing"),
        (["--datapath", "linux", "--scenario", "idle-pair"], "--scenario: the datapath is linux"),
        (["--datapath", "linux", "--speed", "2"], "--speed"),
        (["--interval-ms", "0"], "from 1, at most 1000"),
        (["--interval-ms", "nan"], "from 1, at most 1000"),
        (["--duration-s", "-1"], "above 0"),
        (["--max-subflows", "0"], "from 1 to 65536"),
        (["--metrics", "example.org:80"], "[ADDR:]PORT"),
        (["--record-max-mb", "1"], "from 2"),
        (["--log-level", "loud"], "--log-level"),
        (["--seed", "-1"], "--seed"),
        (["--scenario", "no-such-scenario"], "no-such-scenario"),
        (["--scenario", "idle-pair", "--traces", "/no/such/folder"], "--traces"),
        (["--datapath", "freebsd"], "accepted: on FreeBSD only"),
    ],
)
def test_bad_command_lines(refuse, model, arguments, said):
    refuse("--model", model, *arguments, said=said)


def test_bad_models(refuse, tmp_path, model):
    refuse("--model", tmp_path / "none", "--scenario", "idle-pair", said="not found")
    (tmp_path / "policy.json").write_text("{}")
    (tmp_path / "policy.safetensors").write_bytes(b"x")
    refuse("--model", tmp_path, "--scenario", "idle-pair", said=str(tmp_path))


def test_nothing_loaded_in_the_kernel(refuse, model, tmp_path):
    refuse("--model", model, "--pin-dir", tmp_path, said=f"no controller is loaded at {tmp_path}", status=1)
    refuse("--model", model, "--datapath", "linux", "--pin-dir", tmp_path / "none", said="ccdrl-linux load", status=1)


def test_a_scenario_without_an_agent(refuse, model, tmp_path):
    place = tmp_path / "plain.toml"
    place.write_text(
        'name = "plain"\nduration_s = 5\nwarmup_s = 1\n'
        '[[links]]\nid = "a"\nrate_mbps = 5\ndelay_ms = 10\n[[flows]]\nid = "tcp"\ncc = "cubic"\npaths = [["a"]]\n'
    )
    refuse(*simulate(model, scenario=place), said="no flow for the agent")


def test_an_address_in_use(refuse, model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refuse(*simulate(model, "--metrics", port, "--quiet"), said=f"cannot listen at 127.0.0.1:{port}", status=1)


def test_a_recording_that_is_something_else(refuse, model, tmp_path):
    place = tmp_path / "notes.txt"
    place.write_text("dear diary")
    refuse(*simulate(model, "--record", place), said="not a recording")
    assert place.read_text() == "dear diary"


def test_defaults_and_conclusions():
    if not (PRETRAINED / "default").is_dir():
        with pytest.raises(InputError, match="no agent is shipped"):
            parse_options(["--scenario", "idle-pair"])
        return
    options = parse_options(["--scenario", "idle-pair"])
    assert options.model == PRETRAINED / "default"
    assert options.datapath == "sim"
    assert parse_options(["--model", "default"]).model == PRETRAINED / "default"
    assert parse_options([]).datapath == "auto"


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(action.option_strings[-1] in text for action in make_parser()._actions)


def test_the_scenario_ends_it(model):
    command = [sys.executable, str(PROGRAM), *map(str, simulate(model, "--speed", 1000, "--duration-s", 3))]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0
    assert run.stdout == ""  # no terminal
    events = [line.split("event=")[1].split()[0] for line in run.stderr.splitlines()]
    assert events == ["serving", "stopped"]


def test_quiet_is_quiet(model):
    arguments = simulate(model, "--speed", 1000, "--duration-s", 1, "--quiet")
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_a_terminal_sees_a_line_a_second(model):
    leader, follower = os.openpty()
    arguments = simulate(model, "--duration-s", 2.6, "--log-level", "error")
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    subprocess.run(command, stdout=follower, check=True, timeout=60)
    os.close(follower)
    text = os.read(leader, 65536).decode()
    os.close(leader)
    lines = [line for line in text.splitlines() if "Mbit/s" in line]
    assert 1 <= len(lines) <= 3
    assert all("srtt" in line and "cwnd" in line for line in lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it(start, model, number):
    server = start(*simulate(model, "--log-json"))
    server.wait_for("READY=1")
    server.wait_for("WATCHDOG=1")
    status, out, err = server.end(number)
    assert (status, out) == (0, "")
    server.wait_for("STOPPING=1")
    assert [json.loads(line)["event"] for line in err.splitlines()][-1] == "stopped"


def test_hangup_reloads_and_keeps_the_old_model_if_the_new_one_is_broken(start, tmp_path, save_agent):
    agent = save_agent(tmp_path / "agent", 1)
    server = start(*simulate(agent, "--log-json"))
    server.wait_for("READY=1")
    save_agent(agent, 2)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("READY=1")
    (agent / "policy.json").write_text("{}")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("READY=1")
    status, _, err = server.end(signal.SIGTERM)
    assert status == 0
    events = [json.loads(line) for line in err.splitlines()]
    assert [line["event"] for line in events] == ["serving", "reloaded", "reload_failed", "stopped"]
    assert events[2]["level"] == "error"
    assert events[2]["kept"] == events[1]["policy"] != events[0]["policy"]


def test_a_recording_survives_a_kill(start, model, tmp_path):
    place = tmp_path / "killed.rec"
    server = start(*simulate(model, "--record", place, "--quiet", "--speed", 20))
    server.wait_for("READY=1")
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s and (not place.exists() or place.stat().st_size < 20_000):
        time.sleep(0.05)
    server.end(signal.SIGKILL)
    recording = read_recording(place)
    assert len(recording.decisions) > 10
    assert times_ascend(recording)


def times_ascend(recording):
    times = [decision.time_us for decision in recording.decisions]
    return times == sorted(times)


def test_metrics_light_imports_and_memory(start, model, tmp_path):
    """One running daemon: its metrics over HTTP, what it has loaded, and its resident memory."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = start(*simulate(model, "--metrics", port, "--quiet", "--speed", 5))
    server.wait_for("READY=1")
    time.sleep(0.5)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        page = answer.read().decode()
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    decisions = float(page.split("\nccdrl_decisions_total ")[1].split()[0])
    assert decisions > 0
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    assert int(status.split("VmRSS:")[1].split()[0]) < RESIDENT_MAX_KB
    maps = Path(f"/proc/{server.process.pid}/maps").read_text(encoding="utf-8")
    assert not {"torch", "matplotlib"} & {part for line in maps.splitlines() for part in line.split("/")}
    assert int(status.split("Threads:")[1].split()[0]) == 1
    assert server.end(signal.SIGTERM)[0] == 0


def test_import_closure_is_light():
    code = "import sys, ccdrl.serve; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "stable_baselines3", "tensorboard", "matplotlib", "rich", "asyncio", "http"}
    assert not heavy & set(run.stdout.split())
