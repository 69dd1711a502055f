# SPDX-License-Identifier: BSD-2-Clause
"""The shipped agents: each loads, is what its card says it is, and does what its card says it does."""

from statistics import mean

import pytest

from ccdrl.agent.contenders import AGENT, Contender, shipped_agents
from ccdrl.agent.evaluation import RunSpec, evaluate, ids_under_test
from ccdrl.agent.model_card import CARD_NAME, show
from ccdrl.agent.policy import load_policy
from ccdrl.envs.scenario import load_scenario

SCENARIOS = ("idle-pair", "shared-bottleneck-reno", "random-loss-1-short")
SIZE_MAX_BYTES = 300_000

AGENTS = pytest.mark.parametrize("path", shipped_agents().values(), ids=shipped_agents().keys())


def test_there_is_a_default():
    assert "default" in shipped_agents()


@AGENTS
def test_the_card_is_of_this_artifact(path):
    artifact = load_policy(path).artifact
    card = (path / CARD_NAME).read_text(encoding="utf-8")
    assert f"| checksum | `{artifact.checksum}` |" in card
    assert f"layout `{artifact.observation_version}`; action `{artifact.action_version}` |" in card
    for name, row in artifact.results["scenarios"].items():
        assert f"| {name} | {show(row['goodput_over_lia'])} | {show(row['goodput_over_best_coupling'])} |" in card
    assert sum(file.stat().st_size for file in path.iterdir()) < SIZE_MAX_BYTES


@AGENTS
@pytest.mark.parametrize("name", SCENARIOS)
def test_it_does_what_the_card_says(path, name):
    """The same on the machine that measured; another one's rounding may take another course, hence a tolerance."""
    results = load_policy(path).artifact.results
    scenario = load_scenario(name)
    tested = ids_under_test(scenario)
    goodputs, delays = [], []
    for seed in range(1, results["seeds"] + 1):
        run = evaluate(RunSpec(scenario, Contender(AGENT, path), seed, path))
        flows = [flow for flow in run["flows"] if flow["id"] in tested]
        goodputs.append(sum(flow["goodput_mbps"] for flow in flows))
        delays.append(mean(flow["queue_delay_p95_ms"] for flow in flows))
    expected = results["scenarios"][name]
    assert mean(goodputs) == pytest.approx(expected["goodput_mbps"], rel=0.05)
    assert mean(delays) == pytest.approx(expected["queue_delay_p95_ms"], rel=0.2, abs=1.0)
