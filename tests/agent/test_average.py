# SPDX-License-Identifier: BSD-2-Clause
"""`python -m ccdrl.agent.average`."""

import numpy as np
import pytest

from ccdrl.agent.average import main
from ccdrl.agent.contenders import PRETRAINED
from ccdrl.agent.policy import load_policy
from ccdrl.envs.observation import OBSERVATION_SIZE


def test_the_mean_of_a_policy_with_itself_acts_alike(tmp_path):
    """Served as it comes: within float32's rounding, with twice the units."""
    assert main([str(PRETRAINED / "default")] * 2 + ["--out", str(tmp_path / "mean")]) == 0
    rows = np.random.default_rng(1).normal(size=(200, OBSERVATION_SIZE)).astype(np.float32)
    mean, own = load_policy(tmp_path / "mean"), load_policy(PRETRAINED / "default")
    assert mean.act(rows) == pytest.approx(own.act(rows), abs=1e-4)
    assert mean.artifact.layers == tuple(2 * size for size in own.artifact.layers)


def test_what_is_no_policy_gets_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "none"), "--out", str(tmp_path / "mean")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "mean").exists()
