# SPDX-License-Identifier: BSD-2-Clause
"""Exports of a run with a preference: constants of the actor become a bias."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch (extra 'train')")

from ccdrl.agent.export import main  # noqa: E402
from ccdrl.agent.policy import load_policy  # noqa: E402
from ccdrl.agent.training import main as train  # noqa: E402
from ccdrl.envs.observation import OBSERVATION_SIZE  # noqa: E402
from ccdrl.models.network import ActorCritic  # noqa: E402


def test_constants_of_the_actor_become_a_bias():
    torch.manual_seed(1)
    network = ActorCritic(6, 2, (8, 8), (8,), limit=3.0)
    network.shift.copy_(torch.randn(8))
    network.scale.copy_(torch.rand(8) + 0.5)
    whole, folded = network.export_weights(), network.export_weights([1.0, -0.5])
    rows = torch.randn(20, 8)
    rows[:, 4], rows[:, 5] = 1.0, -0.5
    normal = network.normalise(rows)[:, :4].detach().numpy()
    first = np.tanh(normal @ folded["actor.0.weight"].T + folded["actor.0.bias"])
    second = np.tanh(first @ folded["actor.1.weight"].T + folded["actor.1.bias"])
    action = second @ folded["actor.2.weight"].T + folded["actor.2.bias"]
    assert action == pytest.approx(network.mean_action(rows).detach().numpy(), abs=1e-6)
    assert whole["actor.0.weight"].shape == (8, 6)
    assert folded["actor.0.weight"].shape == (8, 4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "run"
    settings = [
        "reward.delay_preference=1.0", "reward.harm_preference=0", "env.packets_per_tick_max=20", "minibatch_rows=64",
        "rollout_steps=16",
    ]  # fmt: skip
    status = train(["--steps", "1000", "--envs", "2", "--out", str(out), "--set", *settings, "validation_steps=0"])
    assert status == 0
    return out


def test_a_preference_changes_the_policy_and_is_written_down(run, tmp_path):
    assert main([str(run), "--delay", "1", "--out", str(tmp_path / "low")]) == 0
    assert main([str(run), "--out", str(tmp_path / "same")]) == 0
    same, low, own = (load_policy(path) for path in (tmp_path / "same", tmp_path / "low", run / "policy"))
    rows = np.random.default_rng(1).normal(size=(50, OBSERVATION_SIZE)).astype(np.float32)
    assert (same.act(rows) == own.act(rows)).all()
    assert (low.act(rows) != own.act(rows)).any()
    document = json.loads((tmp_path / "low" / "policy.json").read_text())
    assert document["training"]["preference"] == {"delay_preference": 1.0, "harm_preference": 0.0}


@pytest.mark.parametrize("arguments", [["--delay", "1.5"], ["--harm", "0.1"], ["--delay", "nan"]])
def test_a_preference_that_was_not_trained_is_refused(run, tmp_path, capsys, arguments):
    assert main([str(run), *arguments, "--out", str(tmp_path / "x")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "this run was trained from" in message


def test_no_checkpoint(tmp_path, capsys):
    assert main([str(tmp_path), "--out", str(tmp_path / "x")]) == 2
    assert "no checkpoint there" in capsys.readouterr().err
