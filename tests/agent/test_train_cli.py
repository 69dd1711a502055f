# SPDX-License-Identifier: BSD-2-Clause
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ccdrl.agent import training
from ccdrl.agent.config import TrainingConfig
from ccdrl.agent.policy import load_policy
from ccdrl.agent.settings import list_entries
from ccdrl.models.artifact import load_artifact

TINY = ["rollout_steps=8", "minibatch_rows=64", "actor_layers=[8]", "critic_layers=[8]", "epochs=1"]
TINY += [
    "validation_steps=0",
    "torch_threads=1",
    "threads=1",
    "env.slot_rows=[2]",
    "env.rate_mbps=[1, 5]",
    "env.wide_probability=0",
]


SCENARIO = """
name = "short"
duration_s = 4
warmup_s = 1
[[links]]
id = "a"
rate_mbps = 2.0
delay_ms = 10
queue = { kind = "droptail", bdp = 1.0 }
[[flows]]
id = "mp"
cc = "@"
paths = [["a"]]
"""


def command(*arguments):
    return [sys.executable, "-c", "import sys; from ccdrl.agent.training import main; sys.exit(main())", *arguments]


def train(capsys, *arguments):
    status = training.main(arguments)
    return status, capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--engine", "ray"], "--engine ray: not available; 'local' expected"),
        (["--steps", "many"], "--steps: invalid int value"),
        (["--steps", "0"], "total_steps: 0 is out of range"),
        (["--envs", "-3"], "simulators: -3 is out of range"),
        (["--seed", "-1"], "seed: -1 is out of range"),
        (["--set", "gama=1"], "nearest one is 'gamma'"),
        (["--config", "none.toml"], "no such configuration"),
        (["--resume", "nowhere"], "no checkpoint there"),
        (["--resume", "x", "--seed", "0"], "--seed: not with --resume"),
        (["--resume", "x", "--set", "gamma=1"], "--set: not with --resume"),
        (["--resume", "x", "--from", "y"], "--from: not with --resume"),
        (["--from", "nowhere"], "--from nowhere: no checkpoint there"),
        (["--out", "/proc/x", "--envs", "2", "--set", *TINY], "/proc/x: No such file or directory"),
        (["--set", "log_std_min=0"], "log_std_min: must not exceed log_std"),
        (["--unknown"], "unrecognized arguments"),
        (["--set"], "expected at least one argument"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(capsys, tmp_path, monkeypatch, arguments, match):
    monkeypatch.chdir(tmp_path)
    status, output = train(capsys, *arguments)
    assert status == 2
    assert output.err.startswith("train.py: error: ")
    assert output.err.count("\n") == 1
    assert match in output.err
    assert output.out == ""
    assert not list(tmp_path.iterdir())


def test_help_lists_every_setting():
    text = subprocess.run(command("--help"), capture_output=True, text=True, check=True).stdout
    for entry in list_entries(TrainingConfig):
        assert f"{entry.key} = " in text


def test_train_resume_and_use(capsys, tmp_path):
    out = tmp_path / "run"
    arguments = ["--steps", "64", "--seed", "5", "--envs", "2", "--out", str(out), "--set", *TINY]
    status, output = train(capsys, *arguments)
    assert status == 0, output.err
    assert "done" in output.out
    document = json.loads((out / "policy" / "policy.json").read_text())
    assert document["training"]["seed"] == 5
    assert document["training"]["config"]["simulators"] == 2
    policy = load_policy(out / "best")
    assert np.isfinite(policy.act(np.zeros((3, policy.observation_size), np.float32))).all()
    assert list((out / "tensorboard").glob("events.*"))
    status, output = train(capsys, *arguments)
    assert (status, "exists already" in output.err) == (2, True)
    status, output = train(capsys, "--resume", str(out))
    assert (status, "steps are done already" in output.err) == (2, True)
    status, output = train(capsys, "--resume", str(out), "--steps", "160")
    assert status == 0, output.err
    assert json.loads((out / "policy" / "policy.json").read_text())["training"]["steps"] >= 160


def test_a_run_begins_with_the_networks_of_another(capsys, tmp_path):
    """--from takes weights and statistics of any run with networks of the same size, and says so in the artifact."""
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    common = ["--steps", "64", "--envs", "2"]
    status, output = train(capsys, *common, "--out", str(first), "--set", *TINY)
    assert status == 0, output.err
    other = [
        *TINY,
        "gamma=0.9",
        "learning_rate=1e-8",
        "learning_rate_end=0",
        "log_std=-1",
        "log_std_min=-2",
        "imitation.steps=0",
    ]
    status, output = train(capsys, *common, "--from", str(first), "--out", str(second), "--set", *other)
    assert status == 0, output.err
    a, b = (load_artifact(folder / "policy") for folder in (first, second))
    # Adam moves each weight by about the learning rate at most; float32 has 1e-7 of it.
    for name in ("actor.0.weight", "actor.1.bias"):
        np.testing.assert_allclose(b.weights[name], a.weights[name], rtol=1e-6, atol=1e-6)
    assert float(b.weights["log_std"][0]) == pytest.approx(-1.0, abs=1e-6)
    assert b.normaliser.count > a.normaliser.count
    assert (a.training["origin"], b.training["origin"]["steps"]) == (None, a.training["steps"])
    assert b.training["origin"]["config"]["gamma"] == a.training["config"]["gamma"]
    larger = [*TINY, "actor_layers=[9]"]
    status, output = train(capsys, *common, "--from", str(first), "--out", str(third), "--set", *larger)
    assert (status, output.err.count("\n")) == (2, 1)
    assert "--from: the checkpoint does not fit this configuration" in output.err
    assert not third.exists()


def test_same_command_same_policy(capsys, tmp_path):
    for name in ("a", "b"):
        status, output = train(capsys, "--steps", "128", "--envs", "2", "--out", str(tmp_path / name), "--set", *TINY)
        assert status == 0, output.err
    a, b = ((tmp_path / name / "policy" / "policy.safetensors").read_bytes() for name in ("a", "b"))
    assert a == b


def test_a_run_resumed_from_its_middle_equals_the_whole(capsys, tmp_path):
    """With the simulator itself: bit for bit from every scheduled checkpoint."""
    settings = [*TINY, "checkpoint_steps=64", "checkpoints_kept=10"]
    whole = tmp_path / "whole"
    status, output = train(capsys, "--steps", "256", "--envs", "2", "--out", str(whole), "--set", *settings)
    assert status == 0, output.err
    middle = whole / "checkpoints" / "step-000000000128"
    status, output = train(capsys, "--resume", str(middle), "--out", str(tmp_path / "rest"))
    assert status == 0, output.err
    for path in ("policy/policy.safetensors", "checkpoints/step-000000000256/state.safetensors"):
        assert (whole / path).read_bytes() == (tmp_path / "rest" / path).read_bytes()


def test_validation_picks_the_best_and_unknown_scenarios_are_refused(capsys, tmp_path):
    scenario = tmp_path / "short.toml"
    scenario.write_text(SCENARIO)
    settings = [*TINY[:-6], "validation_steps=64", f'validation_scenarios=["{scenario}"]', *TINY[-5:]]
    out = tmp_path / "run"
    status, output = train(capsys, "--steps", "128", "--envs", "2", "--out", str(out), "--set", *settings)
    assert status == 0, output.err
    results = json.loads((out / "best" / "policy.json").read_text())["results"]
    assert set(results["validation"]) >= {"score/short", "goodput_mbps_vs_lia", "rtt_p95_ms_vs_olia"}
    assert results["validation_score"] == results["validation"]["score/short"]
    assert not list(out.glob(".validation*"))
    for name, match in (("nowhere", "nowhere"), (str(tmp_path), str(tmp_path))):
        status, output = train(capsys, "--out", str(tmp_path / "x"), "--set", f'validation_scenarios=["{name}"]')
        assert (status, output.err.count("\n"), match in output.err) == (2, 1, True)


def test_interrupt_ends_with_130_and_a_checkpoint(tmp_path):
    out = tmp_path / "run"
    arguments = command("--envs", "2", "--out", str(out), "--set", *TINY)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not list((out / "tensorboard").glob("events.*")) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1.0)
        os.kill(process.pid, signal.SIGINT)
        text, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert f"--resume {out}" in text
    assert "Traceback" not in errors
    assert list((out / "checkpoints").glob("step-*/state.json"))
