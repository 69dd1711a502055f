# SPDX-License-Identifier: BSD-2-Clause
"""The command, and the shipped agent: whatever the verdicts, they must be sound."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ccdrl
from ccdrl.agent.contenders import shipped_agents
from ccdrl.agent.policy import load_policy
from ccdrl.agent.verification.families import tie
from ccdrl.agent.verification.job import main, make_parser, verify
from ccdrl.agent.verification.monotonicity import DIRECTIONS, compute_actions, make_lines
from ccdrl.agent.verification.network import make_network
from ccdrl.agent.verification.regions import PROPERTIES
from ccdrl.agent.verification.report import SCHEMA, format_text, make_document
from ccdrl.agent.verification.selection import select_states
from ccdrl.agent.verification.states import record_states
from ccdrl.envs.observation import OBSERVATION_SIZE
from ccdrl.envs.observation_layout import OBSERVATION_LIMIT

COUNT, BOXES, SEED = 4, 40, 3


@pytest.fixture(scope="module")
def model():
    return next(iter(shipped_agents().values()))


@pytest.fixture(scope="module")
def policy(model):
    return load_policy(model)


@pytest.fixture(scope="module")
def recorded(model, policy):
    return record_states(model, policy, SEED, ["wifi-3g"])


@pytest.fixture(scope="module")
def result(policy, recorded):
    return verify(policy, recorded, seed=SEED, count=COUNT, boxes=BOXES)


def test_no_observation_leaves_the_bounds_of_the_box(policy, recorded, result, rng):
    box = rng.uniform(-OBSERVATION_LIMIT, OBSERVATION_LIMIT, (20_000, OBSERVATION_SIZE))
    corners = np.where(rng.random(box.shape) < 0.5, -OBSERVATION_LIMIT, OBSERVATION_LIMIT)
    actions = policy.act(np.concatenate([box, corners, recorded]).astype(np.float32))
    row = next(row for row in result.guarantees if row.quantity == "action")
    assert row.low <= actions.min() and actions.max() <= row.high
    extremes = result.extremes
    assert extremes.bound_low <= extremes.found_low < extremes.found_high <= extremes.bound_high


def test_no_sample_of_a_region_leaves_its_bound(policy, recorded, result, rng):
    artifact = policy.artifact
    network = make_network(artifact)
    expected = [(wanted.name, choice) for wanted in PROPERTIES for choice in ("drawn", "worst")]
    assert [(each.wanted.name, each.choice) for each in result.properties] == expected
    for each in result.properties:
        states = select_states(policy, network, recorded, each.wanted, COUNT, SEED)[each.choice]
        tied = tie(artifact, network, each.wanted.family, states)
        at = rng.integers(0, len(states), 3000)
        actions = policy.act(tied.place(at, rng.uniform(tied.box_low, tied.box_high, (3000, len(tied.box_low)))))
        verdict, sign = each.verdict, each.wanted.limit.sign
        assert (sign * actions <= sign * verdict.bound).all(), each.wanted.name
        is_broken = each.wanted.limit.is_broken(actions)
        assert verdict.broken - 0.05 <= is_broken.mean() <= 1 - verdict.proven + 0.05
        assert not (verdict.word == "proven" and is_broken.any())
        # A row alone is summed in another order than a batch.
        assert policy.act(each.observation[None])[0] == pytest.approx(verdict.found, abs=1e-5)
        assert verdict.proven + verdict.broken + verdict.open == pytest.approx(1.0)


def test_no_line_rises_above_its_bound(policy, result):
    network = make_network(policy.artifact)
    for direction, found in zip(DIRECTIONS, result.directions, strict=True):
        start, way = make_lines(policy.artifact, result.states, direction)
        for i in range(len(result.states)):
            line = start[i : i + 1], way[i : i + 1]
            actions = compute_actions(policy.artifact, network, line, np.linspace(0, 1, 3000))
            assert (actions - np.minimum.accumulate(actions)).max() <= found.rise_bound + 1e-9
        assert found.open < 0.2


def test_the_document_is_json_and_repeatable(policy, recorded, result):
    document = make_document(result)
    assert document["schema"] == SCHEMA and document["policy"] == policy.artifact.checksum
    text = json.dumps(document, allow_nan=False)
    again = make_document(verify(policy, recorded, seed=SEED, count=COUNT, boxes=BOXES))
    assert json.dumps(again, allow_nan=False) == text
    shown = format_text(result)
    assert all(wanted.name in shown for wanted in PROPERTIES)
    assert max(map(len, shown.splitlines())) < 200


def test_the_command_writes_its_result(tmp_path, recorded, capsys):
    np.save(tmp_path / "rows.npy", recorded)
    out = tmp_path / "out.json"
    options = ["--states", str(tmp_path / "rows.npy"), "--count", "2", "--boxes", "10", "--json", str(out)]
    assert main(["default", *options]) == 0
    assert "Proven for every observation" in capsys.readouterr().out
    assert json.loads(out.read_text())["n_recorded_states"] == len(recorded)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "MODEL"),
        (["nowhere"], "'nowhere' does not exist, accepted: an artifact, or a shipped agent (default"),
        (["default", "--states", "none.npy"], "none.npy"),
        (["default", "--json", "/nowhere/out.json"], "--json"),
        (["default", "--count", "0"], "accepted: a whole number"),
        (["default", "--seed", "x"], "accepted: a whole number"),
    ],
)
def test_bad_input_is_one_line(arguments, part, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("verification: error: ") and error.count("\n") == 1
    assert part in error


def test_the_documented_commands_are_understood():
    text = (Path(ccdrl.__file__).parent / "docs" / "safety.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("python -m ccdrl.agent.verification")]
    assert len(lines) >= 3
    for line in lines:
        make_parser().parse_args(shlex.split(line, comments=True)[3:])
    options = {option for action in make_parser()._actions for option in action.option_strings if option[:2] == "--"}
    assert all(f"`{option}" in text for option in options - {"--help"})
    assert all(f"`{wanted.name}`" in text for wanted in PROPERTIES)


def test_it_runs_as_a_module():
    command = [sys.executable, "-m", "ccdrl.agent.verification", "nowhere"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("verification: error: ")
