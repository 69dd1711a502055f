# SPDX-License-Identifier: BSD-2-Clause
"""The table of guarantees against the mapping and the guard themselves, on samples of every kind."""

import numpy as np
import pytest

from ccdrl.agent.guard import Guard
from ccdrl.agent.verification.guarantees import list_guarantees
from ccdrl.bindings.library import SAMPLE_DTYPE, State, make_actions, make_samples
from ccdrl.envs.action import map_actions
from ccdrl.envs.observation import select_window

COUNT = 20_000


def draw_samples(rng):
    """Return plausible and absurd samples: every level log-uniform over its type, or zero."""
    samples = make_samples(COUNT)
    for name in ("cwnd_bytes", "ssthresh_bytes", "inflight_bytes", "srtt_us", "last_rtt_us", "min_rtt_us"):
        samples[name] = (2.0 ** rng.uniform(0, 32, COUNT)).astype(np.uint32)
        samples[name][rng.random(COUNT) < 0.02] = 0
    assert SAMPLE_DTYPE["cwnd_bytes"] == np.uint32
    samples["mss_bytes"] = rng.choice([0, 1, 536, 1448, 8948, 65495], COUNT, p=[0.02, 0.02, 0.2, 0.5, 0.2, 0.06])
    samples["state"] = rng.choice([int(State.OPEN), int(State.RECOVERY), int(State.LOSS)], COUNT)
    samples["subflow_id"] = np.arange(1, COUNT + 1)
    return samples


@pytest.mark.parametrize("cwnd_max_bytes", [1 << 30, 1 << 20])
def test_no_action_leaves_the_table(rng, cwnd_max_bytes):
    table = {row.quantity: row for row in list_guarantees(-3.0, 0.4, (-1.0, 1.0), cwnd_max_bytes)}
    assert (table["action"].low, table["action"].high) == (-1.0, 0.4)
    samples, guard, out = draw_samples(rng), Guard(cwnd_max_bytes), make_actions(COUNT)
    interval_us = 10.0 ** rng.uniform(3, 8, COUNT)
    actions = guard.limit_actions(np.clip(rng.uniform(-3, 0.4, COUNT), -1, 1).astype(np.float32))
    actions[:50] = np.nan
    map_actions(actions, samples, interval_us, out)
    guard.limit_windows(out)
    assert (out["subflow_id"][:50] == 0).all()
    sent = out["subflow_id"] != 0
    assert sent.sum() > COUNT * 0.8
    out, samples, actions = out[sent], samples[sent], actions[sent]
    before, after = select_window(samples), out["cwnd_bytes"].astype(float)
    floor, top = table["lowest window"].low * samples["mss_bytes"], table["highest window"].high
    assert (after <= top).all()
    assert (after >= np.minimum(floor, top)).all()
    # Rounding to whole bytes moves a window by half a byte; raising to the floor and lowering to the top come after.
    factor = table["window factor of one decision"]
    assert (after <= np.maximum(before * factor.high + 0.5, floor)).all()
    assert (after >= np.minimum(before * factor.low - 0.5, top)).all()
    room = 2.0 * samples["inflight_bytes"] + table["growth beyond 2 inflight"].high * samples["mss_bytes"]
    assert (after <= np.maximum(np.maximum(before, room), floor) + 0.5).all()
    lease = table["lease"]
    assert (out["lease_us"] >= lease.low * 1e6).all() and (out["lease_us"] <= lease.high * 1e6).all()
    last = np.where(samples["last_rtt_us"] > 0, samples["last_rtt_us"], samples["srtt_us"])
    period_s = np.maximum(np.minimum(samples["srtt_us"], last), 1) * 1e-6
    rate = out["pacing_rate_bytes_per_s"].astype(float)
    # Whole bytes a second, twice where the guard lowers them; 1e-9 for float64.
    expected = table["pacing rate"].high * after / period_s
    assert (np.abs(rate - expected) <= 2.0 + 1e-6 * expected).all()


def test_windows_of_many_decisions(rng):
    """Decisions an interval apart: over k RTTs the window moves by at most 2^(k + 1), wherever the k RTTs begin."""
    row = next(row for row in list_guarantees(-9.0, 9.0, (-1.0, 1.0)) if "k RTTs" in row.quantity)
    for _ in range(200):
        rtt_us, interval_us = 10.0 ** rng.uniform(3, 6), 10.0 ** rng.uniform(4, 5)
        k = int(rng.integers(1, 6))
        n_decisions = int(k * rtt_us / interval_us) + 1  # as many as fit into k RTTs, both ends included
        total = n_decisions * min(1.0, interval_us / rtt_us)
        assert total * row.high <= row.high * (k + 1) + 1e-9
        assert total * row.low >= row.low * (k + 1) - 1e-9


def test_bounds_beyond_the_clip_do_not_matter():
    wide = {row.quantity: row for row in list_guarantees(-50.0, 50.0, (-4.0, 4.0))}
    assert (wide["action"].low, wide["action"].high) == (-1.0, 1.0)
    assert (wide["window factor of one decision"].low, wide["window factor of one decision"].high) == (0.5, 2.0)
    falling = {row.quantity: row for row in list_guarantees(-0.5, -0.1, (-1.0, 1.0))}
    assert falling["window factor of one decision"].high == 1.0
