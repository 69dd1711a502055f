# SPDX-License-Identifier: BSD-2-Clause
"""The scripts behind docs/agent.md and docs/safety.md, run for an untrained agent: only the trained one is slow."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ccdrl.agent.contenders import shipped_agents
from ccdrl.agent.policy import load_policy
from ccdrl.agent.verification.job import verify
from ccdrl.agent.verification.report import make_document
from ccdrl.agent.verification.states import record_networks
from ccdrl.bindings.errors import InputError

DOCS = Path(__file__).resolve().parents[2] / "docs"
PNG = b"\x89PNG\r\n\x1a\n"


def load_script(name):
    """Return a script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, DOCS / name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def artifact(save_agent, tmp_path_factory):
    return save_agent(tmp_path_factory.mktemp("model") / "policy", 1)


@pytest.fixture(scope="module")
def tables():
    return load_script("safety_tables.py")


def run_script(name, *arguments):
    command = [sys.executable, str(DOCS / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_picture_is_drawn_and_the_same_bytes_again(artifact, tmp_path):
    agent = load_script("images/agent.py")
    scenario = agent.parse_scenario(f"duration_s = 6\n{agent.LINK}", "here")
    pictures = [tmp_path / "one.png", tmp_path / "two.png"]
    for picture in pictures:
        agent.draw(picture, scenario, artifact, ((0, "alone"), (3, "still alone")))
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    assert pictures[0].read_bytes().startswith(PNG)


@pytest.mark.parametrize("name", ["ALONE", "BESIDE_CUBIC"])
def test_the_pictures_scenarios_have_one_path_and_end_after_their_last_change(name):
    agent = load_script("images/agent.py")
    scenario = agent.parse_scenario(getattr(agent, name), name)
    assert [flow.paths for flow in scenario.flows] == [(("link",),)] * len(scenario.flows)
    changes = [event.at_s for event in scenario.events] + [flow.stop_s or 0 for flow in scenario.flows]
    assert max(changes) < scenario.duration_s


def test_the_course_holds_every_step_and_decision(artifact):
    agent = load_script("images/agent.py")
    scenario = agent.parse_scenario(agent.BESIDE_CUBIC.replace("duration_s = 90", "duration_s = 30"), "here")
    course = agent.follow(scenario, "drl", artifact)
    assert len(course.time_s) == len(course.queue_delay_ms) == 30 / agent.STEP_S
    before = [step[1] for time_s, step in zip(course.time_s, course.cwnd_segments, strict=True) if time_s < 19]
    after = [step[1] for time_s, step in zip(course.time_s, course.cwnd_segments, strict=True) if time_s > 22]
    assert max(before) == 0, "the CUBIC starts at 20 s"
    assert min(after) > 1
    assert len(course.decided_s) == len(course.actions) == len(course.responses) > 100
    assert all(-1 <= action <= 1 for action in course.actions)


@pytest.mark.parametrize("script", ["images/agent.py", "safety_tables.py"])
def test_an_unknown_model_is_one_line_and_status_2(script):
    run = run_script(script, "no-such-model")
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert "no-such-model" in run.stderr
    assert "Traceback" not in run.stderr


def test_the_tables_say_what_the_document_says(artifact, tables):
    policy = load_policy(artifact)
    document = make_document(verify(policy, record_networks(policy, 1)[:400], count=2, boxes=20))
    text = tables.format_tables(document)
    for row in document["properties"]:
        assert f"| `{row['name']}` | {row['limit']} | {row['n_members_broken']} of {row['n_members']} |" in text
    assert document["policy"][:16] in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 2, "two tables, each with as many cells in every line"


def test_a_share_that_is_not_whole_is_not_shown_as_whole(tables):
    assert [tables.percent(share) for share in (0.0, 1e-9, 0.5, 1 - 1e-9, 1.0)] == [
        "0 %", "0.1 %", "50.0 %", "99.9 %", "100 %",
    ]  # fmt: skip


def test_tables_stand_between_the_markers_and_nothing_else_changes(tables):
    page = f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n"
    assert tables.place_tables(page, "new") == page.replace("old", "new")
    with pytest.raises(InputError, match="accepted: docs/safety.md"):
        tables.place_tables("a page without markers", "new")


def test_the_page_is_about_the_shipped_agent():
    checksum = json.loads((shipped_agents()["default"] / "policy.json").read_text(encoding="utf-8"))["checksum"]
    page = (DOCS / "safety.md").read_text(encoding="utf-8")
    assert f"Policy `{checksum[:16]}`" in page, "run python docs/safety_tables.py"
