# SPDX-License-Identifier: BSD-2-Clause
import numpy as np
import pytest
import torch

from ccdrl.agent.policy import Policy
from ccdrl.models.artifact import Artifact, load_artifact, save_artifact
from ccdrl.models.network import ActorCritic
from ccdrl.models.normaliser import RewardScaler, RunningMoments


@pytest.fixture
def generator():
    return np.random.default_rng(5)


def trained_like(generator, size=12, privileged=3, layers=(64, 64)):
    """A network with weights and statistics far from their initial values."""
    torch.manual_seed(3)
    network = ActorCritic(size, privileged, layers, (16,))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    moments = RunningMoments(size + privileged)
    moments.update(generator.normal(4.0, generator.uniform(0.1, 9.0, size + privileged), (500, size + privileged)))
    normaliser = moments.freeze(10.0)
    network.set_normaliser(normaliser)
    names = tuple(f"column_{i}" for i in range(size))
    artifact = Artifact(names, "1", 3, 2, tuple(layers), network.export_weights(), normaliser.head(size))
    return network, artifact


@pytest.mark.parametrize("layers", [(64, 64), (8,), (32, 16, 8)])
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_numpy_policy_equals_torch(generator, layers, rows, tmp_path):
    network, artifact = trained_like(generator, layers=layers)
    policy = Policy(load_artifact(save_artifact(artifact, tmp_path / "p")))
    observations = generator.normal(4.0, 6.0, (rows, 15)).astype(np.float32)
    expected = network.mean_action(torch.from_numpy(observations)).detach().numpy()[:, 0].clip(-1, 1)
    actions = policy.act(observations[:, :12])
    assert actions.dtype == np.float32
    assert actions.shape == (rows,)
    # Both are float32; only the order of sums differs.
    np.testing.assert_allclose(actions, expected, atol=1e-6)
    assert np.ptp(actions) > 0.01 or rows == 1


def test_actor_sees_nothing_privileged_and_the_critic_does(generator):
    network, _ = trained_like(generator)
    rows = torch.from_numpy(generator.normal(size=(20, 15)).astype(np.float32))
    other = rows.clone()
    other[:, 12:] += 3.0
    assert torch.equal(network.mean_action(rows), network.mean_action(other))
    assert not torch.allclose(network.value(rows), network.value(other))


def test_hidden_columns_move_nothing_in_training_or_in_service(generator):
    network = ActorCritic(12, 0, (8, 8), (8,), hidden_columns=[2, 7])
    rows = torch.from_numpy(generator.normal(size=(20, 12)).astype(np.float32))
    other = rows.clone()
    other[:, [2, 7]] += 3.0
    assert torch.equal(network.mean_action(rows), network.mean_action(other))
    assert torch.equal(network(rows)[0], network.mean_action(other))
    assert not torch.allclose(network.value(rows), network.value(other))
    for weights in (network.export_weights(), network.export_weights([1.0])):
        first = weights["actor.0.weight"]
        assert np.flatnonzero((first == 0.0).all(axis=0)).tolist() == [2, 7]


def test_rows_do_not_see_each_other(generator):
    """One row's action does not depend on which rows stand beside it; siblings are pooled in the observation."""
    _, artifact = trained_like(generator)
    policy = Policy(artifact)
    observations = generator.normal(4.0, 6.0, (40, 12)).astype(np.float32)
    together = policy.act(observations).copy()
    alone = [float(policy.act(observations[i : i + 1])[0]) for i in range(40)]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_first_policy_keeps_the_window():
    network = ActorCritic(12, 0, (64, 64), (64,))
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(100, 12)).astype(np.float32))
    assert float(network.mean_action(rows).detach().abs().max()) < 0.1


def test_log_probability_and_entropy_are_those_of_a_normal_distribution(generator):
    network, _ = trained_like(generator)
    mean, actions = torch.randn(50, 1), torch.randn(50, 1)
    reference = torch.distributions.Normal(mean, network.bounded_log_std().exp())
    torch.testing.assert_close(network.log_probability(mean, actions), reference.log_prob(actions)[:, 0])
    torch.testing.assert_close(network.entropy(), reference.entropy()[0])


def test_running_moments_equal_those_of_all_rows_at_once(generator):
    rows = generator.normal(1e4, 1e-2, (1000, 3)).astype(np.float64)
    moments = RunningMoments(3)
    for part in np.split(rows, [1, 10, 400]):
        moments.update(part)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-12)
    # A deviation of 1e-2 around 1e4: naive sums of squares would lose all digits of it.
    np.testing.assert_allclose(moments.variance, rows.var(axis=0), rtol=1e-6)
    assert moments.count == 1000


def test_a_column_that_was_constant_in_training_says_nothing_in_service():
    """Its weights were never learned: a flag that training never saw, once set, would be 10 in each of them."""
    moments = RunningMoments(3)
    rows = np.tile([7.0, 0.0, 0.0], (1000, 1))
    rows[::2, 1], rows[0, 2] = 1.0, 0.1  # the last one hardly varies
    moments.update(rows)
    scale = moments.freeze(5.0).scale()
    assert scale[0] == scale[2] == 0.0
    assert scale[1] == pytest.approx(2.0, rel=1e-6)


def test_reward_scaler_forgets_finished_episodes():
    scaler = RewardScaler(2, 0.9)
    scaler.scale(np.array([1.0, 1.0], np.float32), np.array([True, False]))
    assert scaler.returns.tolist() == [0.0, 1.0]
