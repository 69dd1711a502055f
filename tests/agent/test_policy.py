# SPDX-License-Identifier: BSD-2-Clause
import tracemalloc

import numpy as np
import pytest

from ccdrl.agent.policy import Policy, load_policy
from ccdrl.bindings import library
from ccdrl.bindings.errors import InputError
from ccdrl.envs.action import ACTION_VERSION
from ccdrl.envs.observation import OBSERVATION_NAMES, OBSERVATION_VERSION
from ccdrl.models.artifact import Artifact, save_artifact, weight_shapes
from ccdrl.models.normaliser import Normaliser


def make_artifact(seed=1, **changes):
    generator = np.random.default_rng(seed)
    size = len(changes.get("observation_names", OBSERVATION_NAMES))
    shapes = weight_shapes(size, (16, 16))
    values = {
        "observation_names": tuple(OBSERVATION_NAMES),
        "observation_version": str(OBSERVATION_VERSION),
        "history": 3,
        "action_version": ACTION_VERSION,
        "abi_version": library.ABI_VERSION,
        "layers": (16, 16),
        "weights": {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()},
        "normaliser": Normaliser(np.zeros(size), np.ones(size), 1, 10.0),
    }
    return Artifact(**(values | changes))


@pytest.fixture
def rows():
    return np.random.default_rng(2).normal(size=(64, len(OBSERVATION_NAMES))).astype(np.float32)


def test_actions_follow_the_formula(rows):
    artifact = make_artifact()
    weights, hidden = artifact.weights, np.clip(rows.astype(np.float64), -10, 10)
    for i in range(2):
        hidden = np.tanh(hidden @ weights[f"actor.{i}.weight"].T + weights[f"actor.{i}.bias"])
    expected = np.clip(hidden @ weights["actor.2.weight"][0] + weights["actor.2.bias"], -1, 1)
    # float32 against float64, through tanh layers with weights of order one.
    np.testing.assert_allclose(Policy(artifact).act(rows), expected, atol=3e-5)


def test_actions_are_bounded_and_deterministic(rows):
    policy = Policy(make_artifact())
    first = policy.act(rows * 1e6).copy()
    assert (np.abs(first) <= 1.0).all()
    assert np.unique(np.abs(first)).size > 1
    np.testing.assert_array_equal(policy.act(rows * 1e6), first)
    assert policy.act(rows[:0]).shape == (0,)


def test_input_is_left_alone_and_need_not_be_contiguous(rows):
    policy = Policy(make_artifact())
    wide = np.concatenate([rows, rows], axis=1)
    before = wide.copy()
    np.testing.assert_allclose(policy.act(wide[:, : rows.shape[1]]), policy.act(rows).copy(), atol=1e-6)
    np.testing.assert_array_equal(wide, before)


def test_a_step_allocates_nothing_that_grows_with_the_batch(rows):
    policy, many = Policy(make_artifact()), np.tile(rows, (1024, 1))
    policy.act(many)
    tracemalloc.start()
    policy.act(many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # One float32 for each of 65536 rows would be 256 KiB; numpy's own buffer for a broadcast is 32 KiB.
    assert peak < 65536


def test_wrong_shapes_are_refused(rows):
    policy = Policy(make_artifact())
    for wrong in (rows[:, :-1], rows[0], rows[None]):
        with pytest.raises(ValueError, match="shape"):
            policy.act(wrong)


def test_load_checks_this_programs_layout_and_abi(tmp_path, rows):
    artifact = make_artifact()
    for name in ("folder", "file.safetensors"):
        loaded = load_policy(save_artifact(artifact, tmp_path / name))
        np.testing.assert_array_equal(loaded.act(rows), Policy(artifact).act(rows))
    for changes, match in (
        ({"abi_version": 1}, "abi_version"),
        ({"observation_version": "0"}, "observation.version"),
        ({"action_version": "0"}, "action.version"),
        ({"observation_names": ("a", *OBSERVATION_NAMES[1:])}, "observation.names"),
        ({"observation_names": tuple(OBSERVATION_NAMES[1:])}, "observation.names"),
    ):
        path = save_artifact(make_artifact(**changes), tmp_path / "other")
        with pytest.raises(InputError, match=match) as caught:
            load_policy(path)
        assert str(path) in str(caught.value)
    with pytest.raises(InputError, match="not found"):
        load_policy(tmp_path / "nowhere")


def test_the_artifacts_default_is_this_programs_action():
    """models/ cannot import envs/, so the default is checked here."""
    assert Artifact.action_version == ACTION_VERSION
