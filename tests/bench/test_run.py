# SPDX-License-Identifier: BSD-2-Clause
"""The benchmark command: its registry, its JSON, its errors. Figures are for `make bench`, not for a test."""

import json
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).with_name("run.py")
NAMES = {
    *("simulator_speed", "controllers_speed", "batch_speed", "memory", "cost_of_packets", "cost_of_flows"),
    *("linux_datapath_cost", "decision_cost", "daemon_cost", "daemon_start", "vector_env_speed", "training_speed"),
}


def bench(*arguments):
    return subprocess.run([sys.executable, str(RUN), *arguments], capture_output=True, text=True, check=False)


def test_list_names_every_benchmark():
    run = bench("--list")
    assert run.returncode == 0
    assert {line.split()[0] for line in run.stdout.splitlines()} == NAMES
    assert all(len(line.split()) > 3 for line in run.stdout.splitlines())


def test_an_unknown_name_is_refused():
    run = bench("speed")
    assert run.returncode == 2
    assert run.stderr.startswith("bench: error: NAME: expected some of simulator_speed")
    assert len(run.stderr.splitlines()) == 1


def test_memory_of_a_connection_pair(tmp_path):
    """The one figure that does not depend on the machine's load: below 1 MB for each pair at 10 Mbit/s."""
    out = tmp_path / "bench.json"
    assert bench("memory", "--out", str(out)).returncode == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["schema"] == "ccdrl-bench/1"
    assert 0 < report["results"]["memory"]["bytes_per_connection_pair"] < 1e6


def test_the_cost_of_a_decision(tmp_path):
    """Every figure is there; a decision for two subflows stays far below the shortest monitor interval (10 ms)."""
    out = tmp_path / "bench.json"
    assert bench("decision_cost", "--out", str(out)).returncode == 0
    points = json.loads(out.read_text(encoding="utf-8"))["results"]["decision_cost"]["points"]
    assert [point["subflows"] for point in points] == [2, 16, 200]
    assert all(0 < point["inference_wall_us"] < point["wall_us"] for point in points)
    assert points[0]["cpu_us"] < 5000
