# SPDX-License-Identifier: BSD-2-Clause
"""The table of guarantees against the mapping and the guard themselves, on samples of every kind."""

import numpy as np
import pytest

from ccdrl.agent.verification.guarantees import COUPLED_STEP_RTT, list_guarantees
from ccdrl.bindings.decision.library import STEP_DTYPE
from ccdrl.bindings.library import SAMPLE_DTYPE, State, make_actions, make_samples
from ccdrl.envs.action import COUPLED_STEP_MAX, COUPLED_STEP_MIN, DITHER_MAX, FINE_STEP, map_actions
from ccdrl.envs.observation import select_window
from ccdrl.tests.bindings.decision.parts import limit_actions, limit_windows

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
    samples, out = draw_samples(rng), make_actions(COUNT)
    interval_us = 10.0 ** rng.uniform(3, 8, COUNT)
    actions, _, _ = limit_actions(np.clip(rng.uniform(-3, 0.4, COUNT), -1, 1).astype(np.float32))
    actions[:50] = np.nan
    steps = np.empty(COUNT, STEP_DTYPE)
    steps["coupled"] = rng.uniform(COUPLED_STEP_MIN, COUPLED_STEP_MAX, COUNT)
    steps["dither"] = rng.uniform(-2 * DITHER_MAX, 2 * DITHER_MAX, COUNT)
    steps["freedom"] = rng.integers(0, 3, COUNT)
    steps["is_congested"], steps["is_rising"] = rng.integers(0, 2, (2, COUNT))
    steps["wanted"], steps["held"] = rng.choice([0.0, 0.1, 1.0], COUNT), rng.uniform(0, 1, COUNT)
    map_actions(actions, steps, samples, interval_us, out)
    limit_windows(out, cwnd_max_bytes)
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
    expected = np.where(steps["is_congested"][sent] > 0, 0.0, table["pacing rate"].high) * after / period_s
    assert (np.abs(rate - expected) <= 2.0 + 1e-6 * expected).all()


@pytest.mark.parametrize("n_decisions", [1, 3, 10])
@pytest.mark.parametrize("direction", [-1.0, 1.0])
def test_windows_of_many_round_trips(direction, n_decisions):
    """The most extreme action in each of n decisions an RTT, and with it all that the coupling may do in that RTT."""
    row = next(row for row in list_guarantees(-9.0, 9.0, (-1.0, 1.0)) if "k RTTs" in row.quantity)
    k, mss, rtt_us = 4, 1000, 60_000
    window = start = 2_000.0 if direction > 0 else 1e9
    for decision in range(k * n_decisions + 1):
        sample = make_samples(1)
        sample["abi"], sample["subflow_id"], sample["mss_bytes"] = 2, 1, mss
        sample["cwnd_bytes"] = sample["ssthresh_bytes"] = sample["inflight_bytes"] = int(window)
        sample["srtt_us"] = sample["last_rtt_us"] = sample["min_rtt_us"] = rtt_us
        steps = np.zeros(1, STEP_DTYPE)
        steps["freedom"], steps["wanted"], steps["held"] = 2.0, direction > 0, direction < 0
        if direction > 0:  # slow start: a window for a window of ACKs
            steps["coupled"] = np.log2(1.0 + 1.0 / n_decisions)
        elif decision % n_decisions == 0:  # a loss event in every RTT
            steps["coupled"] = COUPLED_STEP_MIN
        out = make_actions(1)
        map_actions(np.array([direction], np.float32), steps, sample, rtt_us / n_decisions, out)
        window = float(out["cwnd_bytes"][0])
    moved = np.log2(window / start)
    assert row.low * (k + 1) <= moved <= row.high * (k + 1)
    if direction < 0 and n_decisions > 1:
        assert moved < -(k + 1), "actions and loss events add up"


def test_bounds_beyond_the_clip_do_not_matter():
    wide = {row.quantity: row for row in list_guarantees(-50.0, 50.0, (-4.0, 4.0))}
    assert (wide["action"].low, wide["action"].high) == (-1.0, 1.0)
    factor = wide["window factor of one decision"]
    assert (factor.low, factor.high) == pytest.approx(
        (2.0 ** (-1 - 2 * DITHER_MAX), 2.0 ** (1 + FINE_STEP + 2 * DITHER_MAX))
    )
    falling = {row.quantity: row for row in list_guarantees(-0.5, -0.1, (-1.0, 1.0))}
    assert falling["window factor of k RTTs, log2"].high == FINE_STEP + COUPLED_STEP_RTT, "or it is led"
