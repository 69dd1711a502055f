# SPDX-License-Identifier: BSD-2-Clause
"""Which decisions are taken for starvation, and how long a policy that starves a subflow is kept from it."""

import numpy as np
import pytest

from ccdrl.agent.controller import Decision
from ccdrl.agent.daemon.starvation import HOLD_US, RESTART_SEGMENTS, StarvationGuard
from ccdrl.bindings.library import Flag, make_actions, make_samples

MSS = 1000
STEP_US = 20_000


class Subflow:
    """Decides for one subflow every 20 ms: the lowest window on an empty link, unless told otherwise."""

    def __init__(self):
        self.guard = StarvationGuard()
        self.now_us = 5_000_000
        self.new = 0

    def decide(
        self, duration_us=STEP_US, *, segments=2.0, rtt_us=20_000, lowest_us=20_000, losses=0, flags=Flag.CWND_LIMITED
    ):
        """Return whether the last action went through."""
        for _ in range(duration_us // STEP_US):
            self.now_us += STEP_US
            records, actions = make_samples(1), make_actions(1)
            records["subflow_id"] = actions["subflow_id"] = 77
            records["mss_bytes"], records["flags"], records["loss_events"] = MSS, flags, losses
            records["last_rtt_us"] = records["srtt_us"] = rtt_us
            records["min_rtt_us"] = lowest_us
            actions["cwnd_bytes"] = segments * MSS
            none = np.zeros(1, np.float32)
            self.new += self.guard.review(
                Decision(self.now_us, records, np.zeros(1), np.zeros((1, 1), np.float32), none, actions, segments)
            )
            self.last_segments = int(actions["cwnd_bytes"][0]) // MSS
        return bool(actions["subflow_id"][0])


@pytest.fixture
def subflow():
    return Subflow()


def test_a_starved_subflow_is_left_to_the_fallback_after_a_second(subflow):
    assert subflow.decide(1_000_000)
    assert subflow.last_segments == 2
    assert subflow.decide()
    assert subflow.last_segments == RESTART_SEGMENTS, "a last action, which the fallback begins with"
    assert (subflow.new, subflow.guard.withheld) == (1, 1)
    assert not subflow.decide(HOLD_US - 2 * STEP_US)
    assert not subflow.decide(STEP_US, segments=50), "whatever it wants meanwhile"
    assert subflow.decide(STEP_US)


def test_the_second_time_lasts_twice_as_long(subflow):
    subflow.decide(1_020_000)
    subflow.decide(HOLD_US - STEP_US)
    assert subflow.decide(1_020_000), "it may try again"
    assert not subflow.decide(2 * HOLD_US - STEP_US)
    assert subflow.decide()
    assert subflow.new == 2


@pytest.mark.parametrize(
    "reason",
    [
        pytest.param({"segments": 3}, id="window"),
        pytest.param({"rtt_us": 31_000}, id="queue"),
        pytest.param({"flags": Flag(0)}, id="nothing to send"),
    ],
)
def test_a_low_window_with_a_reason_is_the_policys_business(subflow, reason):
    assert subflow.decide(10_000_000, **reason)
    assert subflow.guard.withheld == 0


def test_losses_and_higher_windows_start_the_patience_anew(subflow):
    for losses in range(20):
        assert subflow.decide(800_000, losses=losses)
    for _ in range(20):
        assert subflow.decide(STEP_US, losses=19, segments=4)
        assert subflow.decide(800_000, losses=19)
    assert subflow.guard.withheld == 0


def test_a_long_round_trip_gets_ten_of_them(subflow):
    slow = {"rtt_us": 400_000, "lowest_us": 400_000}
    assert subflow.decide(4_000_000, **slow)
    assert subflow.new == 0
    subflow.decide(**slow)
    assert subflow.new == 1


def test_another_policy_gets_its_chance(subflow):
    subflow.decide(1_020_000)
    assert not subflow.decide()
    subflow.guard.reset()
    assert subflow.decide(1_000_000)


def test_a_short_link_that_two_segments_fill(subflow):
    """20 Mbit/s behind an RTT of 0.02 ms: two segments wait 1.1 ms for each other, and the link is full."""
    assert subflow.decide(10_000_000, rtt_us=1_100, lowest_us=20)
    assert subflow.guard.withheld == 0
