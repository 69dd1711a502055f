# SPDX-License-Identifier: BSD-2-Clause
import dataclasses

import numpy as np
import pytest

from ccdrl.agent.config import load_config
from ccdrl.bindings.errors import InputError
from ccdrl.envs.randomization import RandomizationConfig, draw_network
from ccdrl.envs.trace_pieces import RATIO_MIN, STEP_MIN_NS, STEPS_MAX, carry_bits, draw_piece, load_recorded
from ccdrl.envs.vector import VectorEnv

S = 1_000_000_000


@pytest.fixture
def steps(tmp_path):
    """4 and 12 Mbit/s by turns of a second, 8 in the mean."""
    path = tmp_path / "steps.tsv"
    path.write_text("0\t4\n1\t12\n")
    return str(path)


@pytest.fixture
def opportunities(tmp_path):
    """The same as delivery opportunities: one each 3 ms, then one each ms."""
    path = tmp_path / "steps.mahi"
    path.write_text("\n".join(map(str, [*range(3, 1000, 3), *range(1001, 2001)])))
    return str(path)


@pytest.mark.parametrize("name", ["steps", "opportunities"])
def test_bits_are_counted_over_many_periods(name, request):
    trace = load_recorded(request.getfixturevalue(name))
    seconds = np.array([0.0, 1.0, 2.0, 2.5, 21.0])
    bits = carry_bits(trace, (seconds * S).astype(np.int64))
    # One opportunity of 12 kbit either way; a period of them lacks a third of one.
    assert bits == pytest.approx([0, 4e6, 16e6, 18e6, 164e6], rel=1e-3, abs=1.3e4)


@pytest.mark.parametrize("name", ["steps", "opportunities"])
def test_a_piece_has_the_shape_and_the_wanted_mean(name, request):
    piece = draw_piece(np.random.default_rng(1), [request.getfixturevalue(name)], 2e6, 6 * S)
    assert piece.period_ns >= 6 * S
    assert len(piece.rate_bps) <= STEPS_MAX
    assert piece.time_ns[1] == STEP_MIN_NS
    assert piece.rate_bps[:60].mean() == pytest.approx(2e6, rel=0.02)
    # A step of 100 ms has 33 opportunities at least: one more or less is 3 %.
    assert np.percentile(piece.rate_bps, [10, 90]) == pytest.approx([1e6, 3e6], rel=0.05)


def test_pieces_begin_anywhere_and_equal_generators_draw_equal_ones(steps):
    pieces = [draw_piece(np.random.default_rng(seed), [steps], 1e6, 3 * S).rate_bps for seed in (1, 1, 2)]
    assert (pieces[0] == pieces[1]).all()
    assert (pieces[0] != pieces[2]).any()


def test_an_outage_is_not_zero(tmp_path):
    path = tmp_path / "outage.tsv"
    path.write_text("0\t0\n5\t10\n")
    piece = draw_piece(np.random.default_rng(1), [str(path)], 1e6, 60 * S)
    assert piece.rate_bps.min() == pytest.approx(RATIO_MIN * 1e6)


def test_networks_take_them_and_nothing_else_changes(steps):
    plain = RandomizationConfig(trace_probability=1.0, step_probability=0.0)
    recorded = dataclasses.replace(plain, trace_files=(steps,))
    links = draw_network(np.random.default_rng(5), 2, recorded).links
    assert all(
        link.trace is not None and len(set(np.round(link.trace.rate_bps / link.rate_bps, 1))) > 2 for link in links
    )
    without = dataclasses.replace(recorded, trace_probability=0.0)
    assert draw_network(np.random.default_rng(5), 2, without) == draw_network(
        np.random.default_rng(5), 2, dataclasses.replace(plain, trace_probability=0.0)
    )


def test_an_env_runs_on_them(steps):
    env = VectorEnv(4, 1, config=RandomizationConfig(trace_probability=1.0, trace_files=(steps,)))
    try:
        env.reset()
        rows = [env.step(np.zeros(env.n_rows, np.float32))[0] for _ in range(100)]
    finally:
        env.close()
    assert np.isfinite(rows).all()


def test_files_are_checked_before_training(steps, tmp_path):
    assert load_config(None, [f'env.trace_files=["{steps}"]']).env.trace_files == (steps,)
    with pytest.raises(InputError, match=r"env\.trace_files: .*missing\.tsv"):
        load_config(None, [f'env.trace_files=["{tmp_path}/missing.tsv"]'])
