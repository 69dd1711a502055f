# SPDX-License-Identifier: BSD-2-Clause
"""What a window does apart from the policy: the coupled step, the dither, and whose queue it says it is."""

import numpy as np
import pytest

from ccdrl.bindings.library import Flag, State, make_samples
from ccdrl.envs.action import COUPLED_STEP_MIN
from ccdrl.envs.observation import Observer
from ccdrl.tests.envs.observation_reference import ReferenceObserver
from ccdrl.tests.envs.path import AT, BASE_US, MSS, UNSET, Path

INCREASE_OF_200 = 0.85 * (200 / 38) ** 0.3
"""Segments, for a window of ACKs."""


def test_a_queue_that_follows_the_swing_is_ours():
    steps, columns = Path(1.0).stay(200)
    assert columns[AT["dither_response"]] > 0.7
    assert steps["freedom"] == 2.0 and (columns[AT["is_alien"]], columns[AT["is_clear"]]) == (0.0, 1.0)


def test_a_queue_that_does_not_is_not():
    path = Path(0.1)
    steps, columns = path.share(5)
    assert steps["freedom"] == 1.0 and columns[AT["is_clear"]] == 0.0, "nothing is known yet"
    steps, columns = path.share(200)
    assert columns[AT["dither_response"]] < 0.2
    assert steps["freedom"] == 0.0 and columns[AT["is_alien"]] == 1.0


@pytest.mark.parametrize(("begins_after", "is_ours"), [(1, False), (140, True)])
def test_what_a_start_up_leaves_behind_says_nothing_of_the_queue(begins_after, is_ours):
    """A stranger's queue that goes up and down with our swing by chance, by much, as after two start-ups at once.

    Later it counts in full: on a link whose capacity varies our answer is a small part of what the queue does.
    """
    path = Path(0.0)
    path.step(queue=0.4)
    path.share(begins_after)
    for _ in range(9 * 2):
        path.step(queue=1.0 + 8.0 * (path.log_window - path.middle))
    for _ in range(64):
        steps, columns = path.share(1)
    assert (columns[AT["dither_response"]] > 0.4) == is_ours
    assert (steps["freedom"] > 0.0) == is_ours


def test_a_window_alone_is_told_how_much_of_it_is_to_queue_and_does():
    """A queue of half an octave is 1 - 2^-0.5 of the window; what answers of it is ours, as far as that is known."""
    steps, columns = Path(1.0, 400.0).stay(200)
    assert steps["wanted"] == pytest.approx(0.8 / np.sqrt(400), rel=0.1)
    assert steps["held"] == pytest.approx((1 - 2**-0.5) * columns[AT["dither_response"]], rel=0.25)


def test_of_a_queue_that_is_partly_ours_that_part_counts():
    held = [Path(own).stay(200)[0]["held"] for own in (0.5, 1.0)]
    assert held[0] == pytest.approx(held[1] / 2, rel=0.2)


def test_a_window_is_led_from_a_short_queue_on_before_its_swing_is_known():
    """A fifth is supposed to be ours at first; with the start-up's queue of 0.4 the start-up is over."""
    path = Path(0.0)
    path.step(queue=0.4)
    steps, columns = path.stay(3, queue=0.12)
    assert columns[AT["is_clear"]] == 1.0 and steps["wanted"] > 0.0
    assert steps["held"] <= 0.2 * (1 - 2**-0.12)


@pytest.mark.parametrize("case", ["a stranger's", "no queue", "just lost", "no data"])
def test_a_window_is_not_led(case):
    path = Path({"a stranger's": 0.1}.get(case, 1.0))
    path.step(queue=0.4)
    if case == "a stranger's":
        steps = path.share(200)[0]
    elif case == "no queue":
        steps = path.stay(40, queue=0.01)[0]
    elif case == "just lost":
        steps = path.step(loss_events=1)[0]
    else:
        steps = path.step(flags=Flag.APP_LIMITED)[0]
    assert (steps["wanted"], steps["held"]) == (0.0, 0.0)


def test_a_stalled_path_is_not_somebody_elses():
    """The swing stops while nothing comes back, or its variance would grow without its covariance."""
    path = Path(1.0)
    path.stay(200)
    window = path.log_window
    steps, columns = path.stay(100, acked=0)
    assert columns[AT["dither_response"]] > 0.6 and steps["freedom"] == 2.0
    assert abs(path.log_window - window) <= 0.115 + 1e-9, "back in the middle"


@pytest.mark.parametrize(("segments", "queue", "freedom"), [(4.0, 0.3, 2.0), (4.0, 0.5, 0.0), (9.0, 0.31, 0.0)])
def test_a_wait_for_delayed_acks_is_not_a_queue(segments, queue, freedom):
    """Over 4 segments 40 ms make 10 ms, which is what 0.3 of a base RTT of 40 ms (9.2 ms) may be, 0.5 (16.6 ms) not."""
    assert Path(0.0, segments).share(192, queue)[0]["freedom"] == freedom


@pytest.mark.parametrize(("queue", "loss"), [(0.06, 0.01), (0.2, 0.0), (0.5, 0.0), (0.24, 0.01), (1.5, 0.0)])
def test_a_delay_that_stands_still_is_the_paths(queue, loss):
    """A longer route, or jitter: nobody's queue stands still for so long, and the rate follows the window."""
    path, twin = Path(0.0), Path(0.0, observer=ReferenceObserver(1))
    path.step(queue=0.4), twin.step(queue=0.4)  # or start-up would go on
    for i in range(430):
        lost_bytes = round(path.bytes * loss)
        steps, columns = path.step(queue=queue, lost_bytes=lost_bytes)
        assert columns == pytest.approx(twin.step(queue=queue, lost_bytes=lost_bytes)[1], abs=1e-5)
        assert i > 30 or columns[AT["srtt_ratio"]] == pytest.approx(queue, abs=0.001)
    assert columns[AT["srtt_ratio"]] == pytest.approx(0.0, abs=0.001)
    assert (steps["freedom"], columns[AT["is_alien"]], columns[AT["is_clear"]]) == (2.0, 0.0, 1.0)
    assert path.step(queue=queue + 0.2)[1][AT["srtt_ratio"]] == pytest.approx(0.2, abs=0.001)
    path.step(queue=queue - 0.05)
    assert path.step(queue=queue)[1][AT["srtt_ratio"]] == pytest.approx(0.05, abs=0.001), "no queue was there"


@pytest.mark.parametrize(("queue", "loss"), [(0.06, 0.0), (0.3, 0.01)])
def test_a_short_delay_is_not_worth_it_without_losses_and_with_them_a_long_one_may_be_many_tcps_behind_red(queue, loss):
    path = Path(0.0)
    path.step(queue=0.4)
    for _ in range(400):
        columns = path.step(queue=queue, lost_bytes=round(path.bytes * loss))[1]
    assert columns[AT["srtt_ratio"]] == pytest.approx(queue, abs=0.001)


@pytest.mark.parametrize("case", ["ours", "a stranger's", "full"])
def test_a_queue_is_not_the_paths(case):
    """One that follows our window, one that moves by itself, and one that no rate follows the window over."""
    path = Path({"ours": 0.5, "a stranger's": 0.0, "full": 0.1}[case])
    for _ in range(20):
        if case == "a stranger's":
            columns = path.share(20)[1]
        else:  # and where it is full it carries what it carries, whatever the window
            columns = path.stay(20, acked=200 * MSS if case == "full" else None)[1]
        assert columns[AT["srtt_ratio"]] > 0.25


def test_where_no_queue_stands_there_is_nobody():
    steps, columns = Path(0.1).stay(50, queue=0.1)
    assert steps["freedom"] == 2.0 and columns[AT["is_clear"]] == 1.0


def test_a_time_out_forgets_whose_queue_it_was():
    path = Path(0.1)
    assert path.share(200)[0]["freedom"] == 0.0
    steps, columns = path.step(state=State.LOSS, ssthresh_bytes=100 * MSS)
    assert (steps["freedom"], columns[AT["is_alien"]]) == (1.0, 0.0)


def test_start_up_is_slow_start_until_less_is_asked_for():
    path = Path(0.0)
    path.step(queue=0.0)
    assert path.step(queue=0.0)[0]["coupled"] == pytest.approx(1.0)
    assert path.step(queue=0.0, action=-0.19)[0]["coupled"] == pytest.approx(1.0)
    path.step(queue=0.0, action=-0.21)
    steps, columns = path.step(queue=0.0)
    assert columns[AT["is_startup"]] == 0.0
    assert steps["coupled"] == pytest.approx(np.log2(1 + INCREASE_OF_200 / 200))


@pytest.mark.parametrize(("segments", "increase"), [(4, 0.4325), (38, 0.85), (380, 1.696)])
def test_a_large_window_grows_faster_than_a_tcps_and_a_small_one_slower(segments, increase):
    """In segments for a window of ACKs, by hand: 0.85 times (4 / 38)^0.3, one, and 10^0.3."""
    path = Path(1.0, segments)
    path.step(queue=0.4)
    assert path.step()[0]["coupled"] == pytest.approx(np.log2(1 + increase / segments), rel=1e-3)


@pytest.mark.parametrize("end", ["queue", "loss", "mark"])
def test_start_up_ends_with_a_queue_or_a_loss(end):
    path = Path(0.0)
    path.stay(3, queue=0.0)
    path.lost += end == "loss"
    path.step(queue=0.4 if end == "queue" else 0.0, ecn_marks=end == "mark")
    # A little queue: start-up would go on with it, and without one the step rises for another reason (below).
    assert path.stay(3, queue=0.05)[0]["coupled"] < 0.02


@pytest.mark.parametrize("fields", [{}, {"flags": Flag.APP_LIMITED}, {"state": State.LOSS}])
def test_neither_a_start_up_nor_an_idle_window_takes_up_an_empty_queue(fields):
    """A network may end its start-up, and what an idle window finds empty says nothing."""
    path = Path(0.0)
    if fields:
        path.stay(3, queue=0.4)
    assert path.stay(4, queue=0.0, **fields)[0]["is_rising"] == 0.0


def test_a_path_whose_queue_stays_empty_gets_more_and_more():
    path = Path(0.0)
    path.stay(3, queue=0.4)
    steps = np.array([path.step(queue=0.0)[0] for _ in range(5)])
    assert steps["coupled"][0] < 0.02, "an RTT may be a drain"
    assert steps["coupled"][1:] == pytest.approx([0.4, 0.6, 0.6, 0.6], abs=0.01)
    assert steps["is_rising"].tolist() == [0.0, 1.0, 1.0, 1.0, 1.0]
    steps = path.step(queue=0.05)[0]
    assert steps["coupled"] < 0.02 and steps["is_rising"] == 0.0
    path.lost += 1
    path.step(queue=0.0)
    assert path.stay(8, queue=0.0)[0]["coupled"] < 0.02, "a loss may have been for a queue that is too short to be seen"
    assert path.stay(2, queue=0.0)[0]["coupled"] > 0.1


def test_after_a_time_out_the_window_doubles_up_to_ssthresh():
    path = Path(0.0, segments=10.0)
    path.stay(3, queue=0.4)
    assert path.step(state=State.LOSS, ssthresh_bytes=40 * MSS)[0]["coupled"] == 0.0, "the datapath's own slow start"
    slow = {segments: np.log2(1 + 0.85 * (segments / 38) ** 0.3 / segments) for segments in (10, 40)}
    for segments, coupled in ((10, 1.0), (39, 1.0), (40, slow[40]), (10, slow[10])):
        path.log_window = path.middle = np.log2(segments * MSS)
        assert path.step()[0]["coupled"] == pytest.approx(coupled), "not again once it was reached"


def test_a_worse_path_decreases_by_more():
    """BALIA: as the best path is faster, up to 1.3 times as much."""
    observer, samples = Observer(2), make_samples(2)
    rows = np.arange(2)
    observer.reset(rows, np.array([1, 1]))
    for name, value in {
        "abi": 2, "conn_id": 1, "subflow_id": [1, 2], "mss_bytes": MSS, "cwnd_bytes": [40 * MSS, 30 * MSS],
        "inflight_bytes": 30 * MSS, "ssthresh_bytes": UNSET, "srtt_us": BASE_US, "min_rtt_us": BASE_US,
    }.items():  # fmt: skip
        samples[name] = value
    for second in range(4):
        samples["timestamp_us"] = BASE_US * (second + 1)
        samples["delivered_bytes"] = samples["sent_bytes"] = 30 * MSS * second
        samples["loss_events"] = second == 3
        observer.update(rows, samples)
    assert observer.get_steps(rows)["coupled"] == pytest.approx(np.log2([0.74, 1 - 0.26 * 1.3]))
    assert observer.get_steps(rows)["coupled"][1] == pytest.approx(COUPLED_STEP_MIN), "what is proven counts on it"
