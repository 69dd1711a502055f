# SPDX-License-Identifier: BSD-2-Clause
"""Whether losses are taken for congestion (bindings/decision/losses.c)."""

import numpy as np
import pytest

from ccdrl.bindings.library import State
from ccdrl.tests.envs.observation_reference import ReferenceObserver
from ccdrl.tests.envs.path import AT, MSS, Path, triangle

PERIOD = 16
"""Round trips in which the queue of these tests fills and empties once."""


def fill(path, rounds, loses, deepest=0.3):
    """Let the queue rise to `deepest` and fall again; `loses` says from its part of that whether a segment is lost."""
    for i in range(rounds):
        part = triangle(i, PERIOD)
        path.lost += loses(part)
        result = path.step(queue=deepest * part)
    return result


def overflow(part):
    return part == 1.0


@pytest.mark.parametrize("deepest", [0.1, 0.3, 0.55])
def test_losses_of_a_shallow_buffer_are_congestion(deepest):
    path, twin = Path(0.0), Path(0.0, observer=ReferenceObserver(1))
    for rounds, is_congested in ((3 * PERIOD, 0.0), (3 * PERIOD, 1.0)):
        steps = [fill(each, rounds, overflow, deepest)[0] for each in (path, twin)]
        assert steps[0]["is_congested"] == steps[1]["is_congested"] == is_congested, "not before four of them"
        assert steps[0]["coupled"] == pytest.approx(steps[1]["coupled"], rel=1e-9)


def test_then_the_window_is_a_slower_aimds():
    path = Path(0.0)
    fill(path, 6 * PERIOD, overflow)
    assert path.step(queue=0.1)[0]["coupled"] == pytest.approx(np.log2(1 + 0.1 / 200), rel=0.02)
    path.lost += 1
    assert path.step(queue=0.3)[0]["coupled"] == pytest.approx(np.log2(0.9))
    steps, columns = path.stay(14, queue=0.0)
    assert steps["is_congested"] == 1.0 and columns[AT["srtt_ratio"]] == 0.0
    assert steps["coupled"] < 0.01, "nor does it take what an empty queue seems to leave"


def test_random_losses_are_not():
    """The mean of ten standard scores is above 0.2 by chance in one case of four; not for long."""
    rng, path = np.random.default_rng(1), Path(0.0)
    congested = 0.0
    for _ in range(1000):
        congested += fill(path, PERIOD, lambda part: rng.random() < 0.3)[0]["is_congested"]
    assert congested / 1000 < 0.35


def test_it_is_the_queue_before_the_loss_that_counts():
    """Who comes after a full buffer has dropped finds it drained: the interval's newest RTT is short then."""
    path = Path(0.0)
    for i in range(6 * PERIOD):
        is_drained = i % PERIOD == PERIOD // 2 + 1
        path.lost += is_drained
        steps = path.step(queue=0.0 if is_drained else 0.3 * triangle(i, PERIOD))[0]
    assert steps["is_congested"] == 1.0


def test_when_it_is_over_the_window_rises_from_slow_to_fast():
    path, rises = Path(0.0), []
    fill(path, 8 * PERIOD, overflow)
    while len(rises) < 3:
        steps = path.step(queue=0.0)[0]
        if not steps["is_congested"]:
            rises.append(steps["coupled"])
    assert rises == pytest.approx([0.0, 0.4, 0.6], abs=0.02), "anew, however long the queue was empty before"


def test_losses_of_a_deep_buffer_are_left_to_the_swing():
    assert fill(Path(0.0), 8 * PERIOD, overflow, deepest=0.7)[0]["is_congested"] == 0.0


@pytest.mark.parametrize(("rounds", "is_congested"), [(40, 1.0), (80, 0.0)])
def test_it_is_over_when_losses_stay_away_for_longer_than_usual(rounds, is_congested):
    path = Path(0.0)
    fill(path, 8 * PERIOD + PERIOD // 2 + 1, overflow)
    assert path.stay(rounds, queue=0.1)[0]["is_congested"] == is_congested


def test_and_where_they_are_rare_after_128_round_trips():
    path = Path(0.0)
    for _ in range(6):
        fill(path, PERIOD, overflow)
        path.stay(44, queue=0.1)
    assert path.stay(70, queue=0.1)[0]["is_congested"] == 1.0
    assert path.stay(10, queue=0.1)[0]["is_congested"] == 0.0


def test_a_time_out_forgets_them():
    path = Path(0.0)
    assert fill(path, 6 * PERIOD, overflow)[0]["is_congested"] == 1.0
    assert path.step(queue=0.1, state=State.LOSS, ssthresh_bytes=100 * MSS)[0]["is_congested"] == 0.0


def test_marks_count_as_losses():
    path, marks = Path(0.0), 0
    for i in range(6 * PERIOD):
        part = triangle(i, PERIOD)
        marks += overflow(part)
        steps = path.step(queue=0.3 * part, ecn_marks=marks)[0]
    assert steps["is_congested"] == 1.0


def test_marks_of_one_round_trip_are_one_event():
    """At long RTTs a decision comes before the round trip is over."""
    path = Path(0.0)
    path.stay(3, queue=0.4)
    assert path.step(ecn_marks=1)[0]["coupled"] == pytest.approx(np.log2(0.74))
    assert path.step(ecn_marks=2, timestamp_us=path.now_us + 20_000)[0]["coupled"] == 0.0
