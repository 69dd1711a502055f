# SPDX-License-Identifier: BSD-2-Clause
"""The mean of policies as one policy."""

import dataclasses

import numpy as np
import pytest

from ccdrl.models.artifact import Artifact, weight_shapes
from ccdrl.models.averaging import average
from ccdrl.models.fields import ArtifactError
from ccdrl.models.normaliser import Normaliser

SIZE = 6


def make(seed, layers=(4, 3), **changes):
    generator = np.random.default_rng(seed)
    weights = {n: generator.normal(size=s).astype(np.float32) for n, s in weight_shapes(SIZE, layers).items()}
    artifact = Artifact(
        observation_names=tuple(f"column_{i}" for i in range(SIZE)),
        observation_version="1-abc",
        history=3,
        abi_version=2,
        layers=layers,
        weights=weights,
        normaliser=Normaliser(generator.normal(size=SIZE), generator.uniform(0.5, 2.0, SIZE), 1000 * seed, 10.0),
        training={"seed": seed, "steps": 100, "wall_s": 1.5, "config_sha256": "abc"},
    )
    return dataclasses.replace(artifact, **changes)


def act(artifact, rows):
    """Return the mean action, not clipped, in float64."""
    normaliser = artifact.normaliser
    values = np.clip((rows - normaliser.mean) * normaliser.scale(), -normaliser.limit, normaliser.limit)
    for index in range(len(artifact.layers) + 1):
        values = values @ artifact.weights[f"actor.{index}.weight"].T + artifact.weights[f"actor.{index}.bias"]
        values = np.tanh(values) if index < len(artifact.layers) else values
    return values[:, 0]


@pytest.mark.parametrize("layers", [((4, 3), (5, 2), (4, 3)), ((7,), (2,)), ((3, 3, 3), (2, 4, 3))])
def test_its_action_is_the_mean_of_theirs(layers):
    """Wherever no column is at its clip; float32 weights."""
    members = [make(seed, sizes) for seed, sizes in enumerate(layers, start=1)]
    mean, rows = average(members), np.random.default_rng(9).normal(size=(200, SIZE))
    assert act(mean, rows) == pytest.approx(np.mean([act(member, rows) for member in members], axis=0), abs=1e-5)
    assert mean.layers == tuple(map(sum, zip(*layers, strict=True)))


def test_one_policy_is_its_own_mean():
    rows = np.random.default_rng(9).normal(size=(50, SIZE))
    assert act(average([make(1)]), rows) == pytest.approx(act(make(1), rows), abs=1e-6)


def test_statistics_are_those_of_all_rows():
    rng = np.random.default_rng(4)
    parts = [rng.normal(size=(100, SIZE)), 3.0 + 2.0 * rng.normal(size=(300, SIZE))]
    members = [make(1, normaliser=Normaliser(part.mean(axis=0), part.var(axis=0), len(part), 10.0)) for part in parts]
    pooled, rows = average(members).normaliser, np.concatenate(parts)
    assert pooled.mean == pytest.approx(rows.mean(axis=0))
    assert pooled.variance == pytest.approx(rows.var(axis=0))
    assert pooled.count == 400


def test_a_column_that_was_constant_for_one_is_still_nothing_to_it():
    variance = make(1).normaliser.variance.copy()
    variance[2] = 0.0
    first = make(1, normaliser=dataclasses.replace(make(1).normaliser, variance=variance))
    rows = np.random.default_rng(9).normal(size=(50, SIZE))
    both = average([first, make(2)])
    assert act(both, rows) == pytest.approx((act(first, rows) + act(make(2), rows)) / 2, abs=1e-5)


def test_it_says_what_it_is_the_mean_of():
    members = [make(1), make(2)]
    training = average(members).training
    assert training["seed"] == [1, 2]
    assert training["steps"] == 200
    assert training["wall_s"] == 3.0
    assert training["mean_of"] == [member.checksum for member in members]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action_version": "1-x"}, "action_version: the policies differ"),
        ({"observation_version": "1-x"}, "observation_version: the policies differ"),
        ({"abi_version": 3}, "abi_version: the policies differ"),
        ({"action_high": 2.0}, "action: the policies' bounds differ"),
    ],
)
def test_policies_that_do_not_do_the_same_have_no_mean(changes, message):
    with pytest.raises(ArtifactError, match=message):
        average([make(1), make(2, **changes)])


@pytest.mark.parametrize("layers", [(4,), (4, 3, 2)])
def test_nor_have_networks_of_other_depths(layers):
    with pytest.raises(ArtifactError, match="equally many layers"):
        average([make(1), make(2, layers)])
