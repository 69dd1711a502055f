# SPDX-License-Identifier: BSD-2-Clause
"""Recorded states: the same for the same seed, and files that are refused."""

import numpy as np
import pytest

from ccdrl.agent.policy import load_policy
from ccdrl.agent.verification.states import read_states, record_states, thin
from ccdrl.bindings.errors import InputError
from ccdrl.envs.observation import OBSERVATION_SIZE
from ccdrl.envs.observation_layout import OBSERVATION_LIMIT
from ccdrl.serve import main as serve


@pytest.fixture(scope="module")
def model(tmp_path_factory, save_agent):
    return save_agent(tmp_path_factory.mktemp("agents") / "random", 5)


def test_equal_seeds_give_equal_states(model):
    policy = load_policy(model)
    once, again, other = (record_states(model, policy, seed, ["single-path"]) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert once.dtype == np.float32 and once.shape[1] == OBSERVATION_SIZE
    assert len(once) > 500
    assert (np.abs(once) <= OBSERVATION_LIMIT).all()
    assert once.any(axis=1).all()
    assert once.shape != other.shape or (once != other).any()


def test_thinning_keeps_the_ends():
    rows = np.arange(20, dtype=np.float32).reshape(10, 2)
    assert thin(rows, 4)[:, 0].tolist() == [0, 6, 12, 18]
    assert thin(rows, 10) is rows


def test_recordings_and_arrays_are_read(tmp_path, model):
    artifact = load_policy(model).artifact
    recording = tmp_path / "idle.rec"
    options = ["--model", str(model), "--scenario", "idle-pair", "--speed", "1000", "--duration-s", "2", "--quiet"]
    assert serve([*options, "--record", str(recording)]) == 0
    rows = read_states(recording, artifact)
    assert len(rows) > 10 and rows.any(axis=1).all()
    np.save(tmp_path / "rows.npy", rows)
    np.testing.assert_array_equal(read_states(tmp_path / "rows.npy", artifact), rows)


@pytest.mark.parametrize(
    "content",
    [
        np.zeros((4, OBSERVATION_SIZE - 1), np.float32),
        np.zeros(OBSERVATION_SIZE, np.float32),
        np.zeros((0, OBSERVATION_SIZE), np.float32),
        np.full((2, OBSERVATION_SIZE), np.nan, np.float32),
        np.full((2, OBSERVATION_SIZE), 11, np.float32),
        np.zeros((2, OBSERVATION_SIZE), "U3"),
        np.array([{"a": 1}], object),
        b"no array",
        b"",
    ],
    ids=["columns", "one row", "no row", "nan", "beyond", "text", "objects", "garbage", "empty"],
)
def test_other_files_are_refused(tmp_path, model, content):
    path = tmp_path / "rows.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(InputError, match="accepted") as caught:
        read_states(path, load_policy(model).artifact)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_files_are_refused(tmp_path, model):
    artifact = load_policy(model).artifact
    for name in ("none.npy", "none.rec"):
        with pytest.raises(InputError, match=name):
            read_states(tmp_path / name, artifact)
