# SPDX-License-Identifier: BSD-2-Clause
"""The columns that remember: loss events, jitter, trends of window and delay."""

import numpy as np
import pytest

from ccdrl.bindings.library import make_samples
from ccdrl.envs.observation import OBSERVATION_NAMES, Observer

AT = {name: i for i, name in enumerate(OBSERVATION_NAMES)}
MSS = 1000
SRTT_US = 40_000
WINDOW = 20
EVENT_GAIN = 0.25
TRENDS = ("cwnd_trend_8", "cwnd_trend_32", "srtt_trend_8", "srtt_trend_32")


class Stream:
    """One subflow's samples, a step at a time."""

    def __init__(self):
        self.sample = make_samples(1)
        for name, value in {
            "abi": 2, "conn_id": 1, "subflow_id": 1, "seq": 1, "timestamp_us": 1_000_000, "event": 2, "mss_bytes": MSS,
            "cwnd_bytes": WINDOW * MSS, "ssthresh_bytes": 2**32 - 1, "srtt_us": SRTT_US, "min_rtt_us": SRTT_US,
            "last_rtt_us": SRTT_US, "sent_bytes": MSS, "delivered_bytes": MSS,
        }.items():  # fmt: skip
            self.sample[name] = value
        self.observer = Observer(1)
        self.observer.reset(np.arange(1), np.zeros(1, np.int64))
        self.row = self.observer.update(np.arange(1), self.sample)[0]

    def step(self, segments, srtts=1.0, losses=0, marks=0, last_rtt_us=SRTT_US, cwnd=None, srtt_us=None):
        self.sample["timestamp_us"] += np.uint64(srtts * SRTT_US)
        self.sample["last_rtt_us"] = last_rtt_us
        if cwnd is not None:
            self.sample["cwnd_bytes"] = cwnd
        if srtt_us is not None:
            self.sample["srtt_us"] = self.sample["last_rtt_us"] = srtt_us
        for name, count in (("sent_bytes", segments * MSS), ("delivered_bytes", segments * MSS)):
            self.sample[name] += np.uint64(count)
        self.sample["lost_bytes"] += np.uint64(losses * MSS)
        self.sample["loss_events"] += np.uint32(losses > 0)
        self.sample["ecn_marks"] += np.uint32(marks)
        self.row = self.observer.update(np.arange(1), self.sample)[0]
        return self.row[AT["tcp_window"]]


def tcp_window(segments_between):
    return np.log2(WINDOW) - 0.5 * np.log2(1.5 * segments_between)


@pytest.mark.parametrize("signal", [{"losses": 1}, {"marks": 1}])
def test_the_window_is_held_against_renos_at_the_same_loss_events(signal):
    """sqrt(1.5 g) segments with a loss event every g segments: Mathis et al., CCR 1997."""
    stream = Stream()
    for i in range(1, 51):
        shown = stream.step(10, **(signal if i % 5 == 0 else {}))
    assert shown == pytest.approx(tcp_window(50), abs=1e-5)


def test_losses_within_one_rtt_are_one_event():
    stream = Stream()
    for _ in range(10):
        stream.step(10)
    stream.step(10, losses=3)
    for _ in range(3):
        shown = stream.step(5, srtts=0.3, losses=2)
    assert shown == pytest.approx(tcp_window(110), abs=1e-5)


def test_a_present_run_that_is_longer_than_the_average_counts():
    stream = Stream()
    assert stream.step(30) == pytest.approx(tcp_window(30), abs=1e-5)
    stream.step(20, losses=1)
    assert stream.step(40) == pytest.approx(tcp_window(50), abs=1e-5)
    assert stream.step(40) == pytest.approx(tcp_window(80), abs=1e-5)
    assert stream.step(20, losses=1) == pytest.approx(tcp_window(50 + EVENT_GAIN * 50), abs=1e-5)


def test_deviation_is_the_mean_distance_of_rtts():
    stream = Stream()
    for i in range(80):
        stream.step(10, last_rtt_us=int(SRTT_US * (1.5 if i % 2 else 1.0)))
    # Half of the RTTs are 0.5 away; the last one weighs 1 - exp(-1/8) = 0.12.
    assert stream.row[AT["rtt_deviation"]] == pytest.approx(0.25, abs=0.5 * 0.06)


def test_trends_are_the_distance_from_the_recent_course():
    stream = Stream()
    assert [stream.row[AT[name]] for name in TRENDS] == [0.0] * 4
    stream.step(10, cwnd=2 * WINDOW * MSS)
    shown = [stream.row[AT[name]] for name in TRENDS]
    assert shown == pytest.approx([np.exp(-1 / 8), np.exp(-1 / 32), 0.0, 0.0], abs=1e-6)
    stream.step(10, srtt_us=2 * SRTT_US)
    half = 0.5  # an srtt that doubles halves the periods in the same time
    assert stream.row[AT["srtt_trend_8"]] == pytest.approx(np.exp(-half / 8), abs=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_elasticity_is_our_part_of_a_full_queue(share):
    """srtt = (own + others) / capacity with our window moving by 20 % around its mean, slowly."""
    stream = Stream()
    own, shown = WINDOW * MSS, []
    for i in range(400):
        window = own * (1 + 0.2 * np.sin(i / 5))
        delay = SRTT_US * 2 * (share * window / own + (1 - share))
        stream.step(10, cwnd=int(window), srtt_us=int(delay), srtts=2.0)
        shown.append(stream.row[AT["elasticity"]])
    assert np.mean(shown[200:]) == pytest.approx(share, abs=0.03)


def test_nothing_is_said_of_a_window_that_does_not_move():
    stream = Stream()
    for i in range(50):
        stream.step(10, srtt_us=SRTT_US + 10_000 * (i % 2))
    assert stream.row[AT["elasticity"]] == 0.0
