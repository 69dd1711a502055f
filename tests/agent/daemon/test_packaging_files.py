# SPDX-License-Identifier: BSD-2-Clause
"""The files of packaging/: units that systemd takes, and a dashboard whose every figure exists."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import ccdrl
from ccdrl.agent.daemon.metrics import Metrics, Snapshot, render
from ccdrl.agent.guard import GuardCounters
from ccdrl.bindings.datapath import Counters

FOLDER = Path(ccdrl.__file__).parent / "packaging"
UNITS = ("ccdrl-load.service", "ccdrl.service")


def read_unit(name):
    """Return {key: [values]} of a unit's sections together."""
    values = {}
    for line in (FOLDER / name).read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            values.setdefault(key, []).append(value)
    return values


def test_systemd_takes_the_units(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("this machine lacks systemd-analyze")
    for name in UNITS:  # the installed programs are not here: any program stands for them
        text = re.sub(r"/opt/ccdrl/bin/[a-z-]+", "/bin/true", (FOLDER / name).read_text())
        (tmp_path / name).write_text(text)
    command = [
        "systemd-analyze",
        "verify",
        "--man=no",
        "--recursive-errors=no",
        *(str(tmp_path / name) for name in UNITS),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    complaints = [line for line in run.stderr.splitlines() if "ccdrl" in line]
    assert (run.returncode, complaints) == (0, [])


def test_the_agent_runs_without_privileges():
    unit = read_unit("ccdrl.service")
    assert unit["Type"] == ["notify"]
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == [""]
    assert unit["DynamicUser"] == unit["NoNewPrivileges"] == ["yes"]
    assert unit["ProtectSystem"] == ["strict"]
    assert int(unit["WatchdogSec"][0]) > 0
    assert unit["RestartPreventExitStatus"] == ["2"]


def test_the_agents_user_has_not_the_groups_name():
    """Where a group of the unit's name exists, systemd refuses to make the dynamic user (exit status 217)."""
    unit = read_unit("ccdrl.service")
    assert unit["User"] == ["ccdrl-agent"] != unit["SupplementaryGroups"] == ["ccdrl"]


def test_the_agent_may_call_bpf():
    """bpf is one of @privileged: a line that takes these away must not stand after the one that gives it."""
    filters = read_unit("ccdrl.service")["SystemCallFilter"]
    taken = next(i for i, line in enumerate(filters) if line.startswith("~") and "@privileged" in line)
    assert filters.index("bpf") > taken


def make_page():
    snapshot = Snapshot("fake", "abc", False, 0, 0, 0, dict.fromkeys(GuardCounters.__slots__, 0), Counters(), [], 0)
    return render(Metrics(), snapshot, 1)


def test_every_figure_of_the_dashboard_exists():
    dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    used = {name for text in expressions for name in re.findall(r"ccdrl_[a-z_]+", text)}
    served = set(re.findall(r"^# TYPE (\S+)", make_page(), re.MULTILINE))
    assert {re.sub(r"_bucket$", "", name) for name in used} <= served
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in dashboard["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def test_the_manual_names_every_metric():
    page = (FOLDER.parent / "docs" / "serve.md").read_text(encoding="utf-8")
    for name in re.findall(r"^# TYPE (\S+)", make_page(), re.MULTILINE):
        assert f"`{name}" in page, name
