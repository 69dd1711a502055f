# SPDX-License-Identifier: BSD-2-Clause
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ccdrl.bindings.decision.library import STEP_DTYPE
from ccdrl.bindings.library import LEASE_MAX_US, SAMPLE_DTYPE, Absent, State, make_actions, make_samples
from ccdrl.envs.action import (
    CWND_MAX_BYTES,
    FINE_STEP,
    LEAD_GAIN,
    LEAD_RANGE,
    NEUTRAL,
    RELEASE_BEGIN,
    RELEASE_END,
    compute_monitor_interval_us,
    map_actions,
)

MSS = 1000


def make(count=1, **fields):
    samples = make_samples(count)
    defaults = {
        "subflow_id": np.arange(5, 5 + count), "seq": 77, "mss_bytes": MSS, "cwnd_bytes": 20 * MSS,
        "ssthresh_bytes": 2**32 - 1, "inflight_bytes": 20 * MSS, "srtt_us": 40_000,
    }  # fmt: skip
    for name, value in (defaults | fields).items():
        samples[name] = value
    return samples


def make_steps(count, coupled=0.0, dither=0.0, freedom=1.0, **others):
    steps = np.zeros(count, STEP_DTYPE)
    for name, value in {"coupled": coupled, "dither": dither, "freedom": freedom, **others}.items():
        steps[name] = value
    return steps


def map_one(action, interval_us=40_000.0, steps=None, **fields):
    out = make_actions(1)
    steps = make_steps(1) if steps is None else steps
    map_actions(np.array([action], np.float32), steps, make(**fields), interval_us, out)
    return out[0]


@pytest.mark.parametrize(
    ("action", "interval_us", "cwnd_bytes"),
    [
        (0.0, 40_000.0, 20_000),
        (1.0, 40_000.0, 40_000),
        (-1.0, 40_000.0, 10_000),
        (1.0, 20_000.0, round(20_000 * 2**0.5)),
        (0.6, 40_000.0, round(20_000 * 2**0.5)),  # half way from NEUTRAL to 1
        (1.0, 90_000.0, 40_000),  # never more than a factor of two
        (7.0, 40_000.0, 40_000),
        (-7.0, 40_000.0, 10_000),
    ],
)
def test_window_is_multiplied(action, interval_us, cwnd_bytes):
    assert map_one(action, interval_us)["cwnd_bytes"] == cwnd_bytes


@pytest.mark.parametrize(
    ("action", "coupled_step"),
    [(0.99 * NEUTRAL, 0.01)]
    + [(a, step) for a in (-0.99 * NEUTRAL, -0.05, 0.0, RELEASE_BEGIN) for step in (-0.5, 0.01)],
)
def test_neutral_action_leaves_the_window_to_the_coupling(action, coupled_step):
    assert map_one(action, steps=make_steps(1, coupled_step))["cwnd_bytes"] == round(20_000 * 2**coupled_step)


@pytest.mark.parametrize(
    ("action", "left"),
    [((RELEASE_BEGIN + RELEASE_END) / 2, 0.5), (RELEASE_END, 0.0), (0.99 * NEUTRAL, 0.0)],
)
def test_a_decrease_is_withheld_little_by_little(action, left):
    record = map_one(action, steps=make_steps(1, -0.5))
    assert record["cwnd_bytes"] == pytest.approx(20_000 * 2 ** (-0.5 * left), abs=1)


@pytest.mark.parametrize(
    ("action", "coupled_step", "step"),
    [(1.0, -0.5, 1.0), (0.6, 0.6, 0.6), (-0.6, -0.7, -0.7), (-0.6, 0.3, -0.5), (-0.6, -0.2, -0.5)],
)
def test_an_action_goes_at_least_as_far_as_the_coupling(action, coupled_step, step):
    assert map_one(action, steps=make_steps(1, coupled_step))["cwnd_bytes"] == pytest.approx(20_000 * 2**step, abs=1)


@pytest.mark.parametrize(
    ("action", "coupled_step", "interval_us", "step"),
    [
        (NEUTRAL / 2, 0.01, 40_000.0, 0.01 + FINE_STEP / 2),
        (-0.99 * NEUTRAL, 0.01, 40_000.0, 0.01 - 0.99 * FINE_STEP),
        (0.99 * NEUTRAL, 0.0, 10_000.0, 0.99 * FINE_STEP / 4),
        (0.6, 0.0, 40_000.0, FINE_STEP + 0.5 * (1 - FINE_STEP)),
        (1.0, 0.0, 40_000.0, 1.0),
        (-1.0, 0.0, 40_000.0, -1.0),
        (0.3, 0.6, 40_000.0, 0.6 + FINE_STEP),
        (-NEUTRAL / 2, -0.5, 40_000.0, -0.5),
        (NEUTRAL, -0.5, 40_000.0, 0.0),
    ],
)
def test_where_nobody_else_is_neutral_actions_move_the_window_a_little(action, coupled_step, interval_us, step):
    record = map_one(action, interval_us, make_steps(1, coupled_step, freedom=2.0))
    assert record["cwnd_bytes"] == pytest.approx(20_000 * 2**step, abs=1)


@pytest.mark.parametrize(
    ("action", "wanted", "held", "step"),
    [
        (0.0, 0.06, 0.02, LEAD_GAIN * 0.04),
        (0.0, 0.02, 0.06, -LEAD_GAIN * 0.04),
        (NEUTRAL, 0.01, 0.02, LEAD_GAIN * (0.01 * 2**LEAD_RANGE - 0.02)),
        (-NEUTRAL / 2, 0.06, 0.02, LEAD_GAIN * (0.06 * 2 ** (-LEAD_RANGE / 2) - 0.02)),
        (0.0, 0.5, 0.0, FINE_STEP),
        (0.0, 0.01, 0.9, -FINE_STEP),
        (0.6, 0.01, 0.9, -FINE_STEP + 0.5 * (1 + FINE_STEP)),
        (-0.6, 1.0, 0.0, FINE_STEP - 0.5 * (1 + FINE_STEP)),
        (1.0, 0.01, 0.9, 1.0),
        (-1.0, 0.5, 0.0, -1.0),
    ],
)
def test_where_a_queue_is_wanted_the_window_is_led_to_it(action, wanted, held, step):
    record = map_one(action, steps=make_steps(1, freedom=2.0, wanted=wanted, held=held))
    assert record["cwnd_bytes"] == pytest.approx(20_000 * 2**step, abs=1)


@pytest.mark.parametrize(("coupled_step", "freedom"), [(0.01, 1.0), (0.01, 0.0), (-0.4, 2.0)])
def test_a_window_that_another_may_need_is_not_led(coupled_step, freedom):
    record = map_one(0.0, steps=make_steps(1, coupled_step, freedom=freedom, wanted=0.1))
    assert record["cwnd_bytes"] == round(20_000 * 2**coupled_step)


@pytest.mark.parametrize("action", [0.0, 1.0])
def test_dither_comes_on_top(action):
    without = map_one(action, steps=make_steps(1, 0.01))["cwnd_bytes"]
    assert map_one(action, steps=make_steps(1, 0.01, 0.09))["cwnd_bytes"] == pytest.approx(without * 2**0.09, abs=1)


@pytest.mark.parametrize("action", [-1.0, -0.3, 0.0, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("coupled_step", [-0.5, 0.01])
def test_without_freedom_the_coupling_decides(action, coupled_step):
    record = map_one(action, steps=make_steps(1, coupled_step, 0.05, freedom=0.0))
    assert record["cwnd_bytes"] == pytest.approx(20_000 * 2 ** (coupled_step + 0.05), abs=1)


@pytest.mark.parametrize("action", [0.0, RELEASE_END, NEUTRAL, 0.6, 1.0])
@pytest.mark.parametrize("coupled_step", [-0.5, 0.01])
@pytest.mark.parametrize("lead", [{}, {"wanted": 0.5, "held": 0.0}])
def test_where_losses_are_congestion_actions_take_no_more_than_the_coupling(action, coupled_step, lead):
    record = map_one(action, steps=make_steps(1, coupled_step, freedom=2.0, is_congested=1.0, **lead))
    assert record["cwnd_bytes"] == pytest.approx(20_000 * 2**coupled_step, abs=1)


@pytest.mark.parametrize(
    ("action", "lead", "step"),
    [
        (-NEUTRAL / 2, {}, 0.01 - FINE_STEP / 2),
        (0.0, {"wanted": 0.01, "held": 0.9}, 0.01 - FINE_STEP),
        (-0.6, {}, -FINE_STEP - 0.5 * (1 - FINE_STEP)),
        (-1.0, {"wanted": 0.5, "held": 0.0}, -1.0),
    ],
)
def test_but_may_take_less(action, lead, step):
    record = map_one(action, steps=make_steps(1, 0.01, freedom=2.0, is_congested=1.0, **lead))
    assert record["cwnd_bytes"] == pytest.approx(20_000 * 2**step, abs=1)


@pytest.mark.parametrize(("action", "step"), [(-1.0, 0.5 - FINE_STEP), (-0.3, 0.5 - FINE_STEP), (0.0, 0.5), (1.0, 1.0)])
def test_an_empty_queue_is_taken_up_whatever_the_action(action, step):
    """Networks that have learned that a queue is mostly empty for a moment would wait until it no longer is."""
    record = map_one(action, steps=make_steps(1, 0.5, freedom=2.0, is_rising=1.0))
    assert record["cwnd_bytes"] == pytest.approx(20_000 * 2**step, abs=1)


def test_without_freedom_no_action_is_still_no_action():
    assert map_one(np.nan, steps=make_steps(1, 0.01, freedom=0.0))["subflow_id"] == 0


def test_all_fields():
    record = map_one(0.0)
    assert (record["abi"], record["subflow_id"], record["seq"], record["reserved"]) == (2, 5, 77, 0)
    assert record["pacing_rate_bytes_per_s"] == 1.25 * 20_000 / 0.04
    assert record["lease_us"] == 160_000


def test_where_losses_are_congestion_pacing_is_the_datapaths():
    assert map_one(0.0, steps=make_steps(1, is_congested=True))["pacing_rate_bytes_per_s"] == 0


@pytest.mark.parametrize(("srtt_us", "lease_us"), [(1_000, 100_000), (30_000, 120_000), (900_000, 2_000_000)])
def test_lease_is_four_srtt_within_bounds(srtt_us, lease_us):
    assert map_one(0.0, srtt_us=srtt_us)["lease_us"] == lease_us


def test_bounds_of_the_window():
    assert map_one(-1.0, cwnd_bytes=2 * MSS)["cwnd_bytes"] == 2 * MSS
    assert map_one(1.0, cwnd_bytes=2**32 - 1, inflight_bytes=2**32 - 1)["cwnd_bytes"] == CWND_MAX_BYTES


def test_unused_window_does_not_grow():
    assert map_one(1.0, inflight_bytes=MSS)["cwnd_bytes"] == 20_000
    assert map_one(1.0, inflight_bytes=8 * MSS)["cwnd_bytes"] == 26_000
    assert map_one(1.0, inflight_bytes=0, absent=int(Absent.INFLIGHT))["cwnd_bytes"] == 40_000


def test_reducing_datapath_is_told_where_to_end():
    assert map_one(0.0, state=State.RECOVERY, ssthresh_bytes=15_000)["cwnd_bytes"] == 15_000


@pytest.mark.parametrize("fields", [{"srtt_us": 0}, {"mss_bytes": 0}])
def test_no_action_for_an_unmeasured_subflow(fields):
    assert map_one(1.0, **fields)["subflow_id"] == 0


@pytest.mark.parametrize("action", [np.nan, np.inf, -np.inf])
def test_no_action_for_what_is_not_finite(action):
    assert map_one(action)["subflow_id"] == 0


@pytest.mark.parametrize(("srtt_us", "interval_us"), [(0, 10_000), (9_000, 10_000), (33_333.7, 33_333), (5e5, 100_000)])
def test_monitor_interval(srtt_us, interval_us):
    assert compute_monitor_interval_us(srtt_us) == interval_us


@settings(max_examples=150, deadline=None)
@given(
    data=hnp.arrays(np.uint8, (4, SAMPLE_DTYPE.itemsize)),
    actions=hnp.arrays(np.float32, 4),
    coupled_step=st.floats(-1.0, 2.0),
    dither_step=st.floats(-0.2, 0.2),
    interval_us=st.floats(1.0, 1e9),
)
def test_any_bytes_give_a_wellformed_action(data, actions, coupled_step, dither_step, interval_us):
    samples, out = data.reshape(-1).view(SAMPLE_DTYPE), make_actions(4)
    with np.errstate(all="raise", under="ignore"):
        map_actions(actions, make_steps(4, coupled_step, dither_step), samples, interval_us, out)
    asked = out[out["subflow_id"] != 0]
    assert (asked["abi"] == 2).all()
    assert (asked["cwnd_bytes"] > 0).all()
    assert ((asked["lease_us"] > 0) & (asked["lease_us"] <= LEASE_MAX_US)).all()


def map_reference(action, coupled_step, dither_step, freedom, causes, queue, sample, interval_us):
    """Return (cwnd_bytes, pacing rate, lease_us) by the docstring of `map_actions`, in plain Python."""
    mss, srtt = int(sample["mss_bytes"]), int(sample["srtt_us"])
    is_congested, is_rising = causes
    action = min(action, 0.0) if is_congested else action
    action = max(action, -NEUTRAL) if is_rising else action
    is_reducing, ssthresh = sample["state"] in (State.RECOVERY, State.CWR), int(sample["ssthresh_bytes"])
    now = ssthresh if is_reducing and ssthresh not in (0, 2**32 - 1) else int(sample["cwnd_bytes"])
    inflight = now if sample["absent"] & Absent.INFLIGHT else int(sample["inflight_bytes"])
    period = max(min(srtt, int(sample["last_rtt_us"]) or srtt), 1)
    part = min(1.0, interval_us / period)
    way, (wanted, held) = min(max(action / NEUTRAL, -1.0), 1.0), queue
    fine = FINE_STEP * way
    if wanted > 0:
        fine = min(max(LEAD_GAIN * (wanted * 2 ** (LEAD_RANGE * way) - held), -FINE_STEP), FINE_STEP)
    fine = min(fine, 0.0) if is_congested else fine
    fine *= part if freedom == 2 and coupled_step >= 0 else 0.0
    beyond = (min(abs(action), 1.0) - NEUTRAL) / (1.0 - NEUTRAL)
    left = (RELEASE_END - action) / (RELEASE_END - RELEASE_BEGIN)
    step = coupled_step * min(max(left, 0.0), 1.0) if coupled_step < 0 else coupled_step
    if abs(action) > NEUTRAL:
        rise, fall = fine + beyond * (part - fine), fine - beyond * (part + fine)
        step = max(rise, coupled_step + fine) if action > 0 else min(fall, coupled_step + fine)
    else:
        step += fine
    if freedom == 0:
        step = coupled_step
    cwnd = now * 2 ** (step + dither_step)
    cwnd = min(max(min(cwnd, max(now, 2 * inflight + 10 * mss)), 2 * mss), 2**30)
    return cwnd, (0 if is_congested else 1.25) * cwnd * 1e6 / period, min(max(4 * srtt, 100_000), 2_000_000)


@settings(max_examples=100, deadline=None)
@given(
    data=hnp.arrays(np.uint8, (4, SAMPLE_DTYPE.itemsize)),
    shift=st.integers(0, 31),
    action=st.floats(-2, 2, width=32),
    coupled_step=st.floats(-1.0, 1.0),
    dither_step=st.floats(-0.2, 0.2),
    freedom=st.sampled_from((0.0, 1.0, 2.0)),
    causes=st.tuples(st.booleans(), st.booleans()),
    queue=st.tuples(st.sampled_from((0.0, 0.01, 0.1)), st.floats(0.0, 1.0)),
    interval_us=st.floats(1.0, 1e6),
)
def test_equal_to_the_docstring(data, shift, action, coupled_step, dither_step, freedom, causes, queue, interval_us):
    """Within the rounding to whole bytes; the window is at most 2^30, so a double's error is far below that."""
    samples, out = data.reshape(-1).view(SAMPLE_DTYPE).copy(), make_actions(4)
    for name in ("mss_bytes", "cwnd_bytes", "ssthresh_bytes", "inflight_bytes", "srtt_us", "last_rtt_us"):
        samples[name] >>= np.uint32(shift)
    samples["subflow_id"], samples["mss_bytes"] = 9, np.maximum(samples["mss_bytes"] % 65536, 1)
    samples["srtt_us"] = np.maximum(samples["srtt_us"], 1)
    wanted, held = queue
    steps = make_steps(4, coupled_step, dither_step, freedom, wanted=wanted, held=held)
    steps["is_congested"], steps["is_rising"] = causes
    map_actions(np.full(4, action, np.float32), steps, samples, interval_us, out)
    for sample, record in zip(samples, out, strict=True):
        cwnd, pacing, lease = map_reference(
            action, coupled_step, dither_step, freedom, causes, queue, sample, interval_us
        )
        assert record["cwnd_bytes"] == pytest.approx(cwnd, abs=0.5 + 1e-6)
        # The window is rounded, the rate cut off.
        assert record["pacing_rate_bytes_per_s"] == pytest.approx(pacing, abs=pacing * (0.5 / cwnd + 1e-9) + 1)
        assert (record["lease_us"], record["seq"], record["subflow_id"]) == (lease, sample["seq"], 9)
