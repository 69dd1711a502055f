# SPDX-License-Identifier: BSD-2-Clause
import numpy as np
import pytest

from ccdrl.envs.action import FINE_STEP, NEUTRAL
from ccdrl.envs.observation_layout import OBSERVATION_NAMES
from ccdrl.envs.randomization import RandomizationConfig
from ccdrl.envs.scoring import PRIVILEGED_NAMES, PRIVILEGED_SIZE
from ccdrl.envs.teacher import SHARED_MARGIN, compute_teacher_actions
from ccdrl.envs.vector import VectorEnv


def teach(**columns):
    row = np.zeros((1, len(OBSERVATION_NAMES) + PRIVILEGED_SIZE), np.float32)
    for name, value in columns.items():
        row[0, (OBSERVATION_NAMES + PRIVILEGED_NAMES).index(name)] = value
    return float(compute_teacher_actions(row)[0])


def test_alone_it_goes_a_part_of_the_way_and_all_of_a_long_one():
    assert teach(target_cwnd=0.6) == pytest.approx(NEUTRAL + (1 - NEUTRAL) * 0.6)
    assert teach(target_cwnd=-0.2) == pytest.approx(-NEUTRAL - (1 - NEUTRAL) * 0.12)
    assert teach(target_cwnd=9.0) == 1.0
    assert teach() == 0.0


def test_it_asks_for_nothing_where_an_action_changes_nothing():
    assert teach(target_cwnd=2.0, is_alien=1.0) == teach(target_cwnd=-2.0, is_alien=1.0, has_stranger=1.0) == 0.0


def test_alone_it_stops_a_decrease_that_it_does_not_want():
    assert teach(coupled_step=-0.5) == pytest.approx(NEUTRAL)
    # Half of the decrease: 0.4 + 0.3162 of the way of -0.3162 is -0.2265 of -0.4529.
    assert teach(coupled_step=-0.4529, target_cwnd=-0.3162) == pytest.approx(NEUTRAL / 2, abs=1e-3)
    assert teach(coupled_step=-0.5, target_cwnd=-0.6) == pytest.approx(-NEUTRAL - (1 - NEUTRAL) * 0.6)
    assert teach(coupled_step=-0.5, target_cwnd=-2.0) == -1.0


def test_near_the_coupling_it_asks_for_next_to_nothing():
    assert abs(teach(coupled_step=0.01, target_cwnd=0.02)) < 0.01
    assert 0 < teach(coupled_step=0.01, target_cwnd=0.08) < NEUTRAL


def test_where_neutral_actions_count_they_go_the_small_distances():
    clear = {"is_clear": 1.0, "coupled_step": 0.01}
    assert teach(target_cwnd=0.025, **clear) == pytest.approx(0.0, abs=0.01)  # 0.4 of the way is the coupled step
    assert teach(target_cwnd=0.08, **clear) == pytest.approx(NEUTRAL * (0.48 * 0.08 - 0.01) / FINE_STEP)
    assert teach(target_cwnd=-0.05, **clear) == pytest.approx(-NEUTRAL * (0.45 * 0.05 + 0.01) / FINE_STEP)
    assert teach(target_cwnd=0.6, **clear) == pytest.approx(NEUTRAL + (1 - NEUTRAL) * (0.6 - FINE_STEP))
    assert teach(target_cwnd=-0.6, **clear) == pytest.approx(-NEUTRAL - (1 - NEUTRAL) * (0.6 - FINE_STEP))
    assert teach(target_cwnd=0.1, is_clear=1.0, coupled_step=0.6) == pytest.approx(-NEUTRAL), "less than the coupling"
    assert teach(is_clear=1.0, coupled_step=-0.5) == teach(coupled_step=-0.5), "a decrease is withheld as ever"


def test_among_strangers_the_coupling_is_trusted_near_the_equilibrium():
    for error in (-SHARED_MARGIN, -0.2, 0.3, SHARED_MARGIN):
        assert teach(target_cwnd=error, has_stranger=1.0, true_queue=1.0) == 0.0
    assert teach(target_cwnd=2.0, has_stranger=1.0, true_queue=1.0) > NEUTRAL
    assert teach(target_cwnd=-2.0, has_stranger=1.0) < -NEUTRAL


def test_what_strangers_leave_is_taken():
    assert teach(target_cwnd=1.0, has_stranger=1.0, true_queue=0.0) == teach(target_cwnd=1.0)


@pytest.mark.parametrize("rival_probability", [0.0, 1.0])
def test_it_controls_what_it_teaches(rival_probability):
    """On its own actions the delivery rate is near the target and, alone, queues are short."""
    config = RandomizationConfig(
        slot_rows=(1, 2), rival_probability=rival_probability, rival_bbr_probability=0.0, rival_late_probability=0.0,
        late_agent_probability=0.0, loss_probability=0.0, jitter_probability=0.0, aqm_probability=0.0,
        step_probability=0.0, outage_probability=0.0, delay_step_probability=0.0, trace_probability=0.0,
        wide_probability=0.0, core_probability=0.0, episode_ticks=(400, 400),
    )  # fmt: skip
    env = VectorEnv(16, 3, 1, config)
    rows, errors, delays = env.reset(), [], []
    for t in range(380):
        rows, _, _, cut, _, info = env.step(compute_teacher_actions(rows))
        if t > 150:
            errors.append(np.where(cut, np.nan, rows[:, -PRIVILEGED_SIZE + PRIVILEGED_NAMES.index("target_cwnd")]))
            delays.append(info["queue_delay_ratio"])
    env.close()
    typical = np.nanmedian(np.abs(errors))
    if rival_probability == 0.0:
        assert typical < 0.1
        assert np.median(delays) < 0.25
    else:
        assert typical < 0.6
