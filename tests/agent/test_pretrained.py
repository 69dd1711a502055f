# SPDX-License-Identifier: BSD-2-Clause
"""The shipped agents: whole, small, described, and as good as their cards say."""

import pytest

from ccdrl.agent.contenders import AGENT, Contender, shipped_agents
from ccdrl.agent.evaluation import RunSpec, evaluate
from ccdrl.agent.model_card import CARD_NAME, show
from ccdrl.agent.policy import load_policy
from ccdrl.envs.scenario import load_scenario
from ccdrl.models.artifact import load_artifact

AGENTS = shipped_agents()
SCENARIOS = ("idle-pair", "random-loss-1", "shared-bottleneck-reno")


def test_an_agent_is_shipped():
    assert AGENTS


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_artifact_and_card(name):
    folder = AGENTS[name]
    artifact = load_artifact(folder)
    load_policy(folder)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 500_000
    card = (folder / CARD_NAME).read_text()
    assert artifact.checksum in card
    assert "## Where it loses" in card and "## Limits" in card
    for scenario, figures in artifact.results["scenarios"].items():
        assert f"| {scenario} | {show(figures['goodput_over_lia'])} |" in card


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("name", sorted(AGENTS))
def test_measures_what_the_card_says(name, scenario):
    """One seed against the card's mean over seeds: seeds differ by starting phase and losses, less than 15 % here."""
    spec = RunSpec(load_scenario(scenario), Contender(AGENT, AGENTS[name]), 1, AGENTS[name])
    flow = evaluate(spec)["flows"][0]
    expected = load_artifact(AGENTS[name]).results["scenarios"][scenario]
    assert flow["goodput_mbps"] == pytest.approx(expected["goodput_mbps"], rel=0.15)
