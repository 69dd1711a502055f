# SPDX-License-Identifier: BSD-2-Clause
"""The agent over ABI v1 in a closed loop: without counters and congestion state, windows must stay sensible.

The shipped agent was trained with all fields and with pacing, which this kernel has not, so it is not held to what it
does in the simulator: to be of use it has to fill the link without flooding it. At 0.5 % random loss the ceiling that
keeps it from flooding (subflow_v1.py) is CUBIC's window, and that does not fill this link.
"""

import numpy as np
import pytest

from ccdrl.agent.controller import Controller
from ccdrl.agent.daemon.options import DEFAULT_MODEL
from ccdrl.agent.policy import load_policy
from ccdrl.bindings.freebsd.datapath_v1 import FreeBSDV1Datapath
from ccdrl.tests.bindings.freebsd.kernel_v1 import MSS_BYTES, STEP_US, KernelV1
from ccdrl.tests.bindings.networks import S, link

US_PER_S = 1_000_000


def make_policy():
    if not DEFAULT_MODEL.is_dir():
        pytest.skip("this machine lacks a shipped agent")
    return load_policy(DEFAULT_MODEL)


class Loop:
    """serve.py's turn, 10 ms each, over the replica."""

    def __init__(self, kernel, policy, **options):
        self.kernel = kernel
        self.datapath = FreeBSDV1Datapath(kernel, hz=kernel.hz, **options)
        self.observations = []
        self.controller = Controller(policy, tap=self.note)
        self.windows = []

    def note(self, decision):
        self.observations.append(decision.observations.copy())

    def run(self, duration_s):
        for _ in range(round(duration_s * US_PER_S / STEP_US)):
            self.kernel.advance(STEP_US)
            actions = self.controller.step(self.datapath.read_samples(), self.kernel.clock_us())
            if len(actions):
                self.datapath.write_actions(actions)
            self.windows.append([subflow.cwnd_bytes / MSS_BYTES for subflow in self.kernel.subflows])


NETWORKS = {
    "random-loss": ([link(6, 20, 60, 0.005)], 0.7),
    "two": ([link(4, 10, 40), link(8, 25, 80)], 0.9),
}
"""Links, and the part of their capacity that must be delivered."""


@pytest.mark.parametrize("network", NETWORKS)
def test_the_shipped_agent_fills_links_without_flooding_them(network):
    links, part = NETWORKS[network]
    kernel = KernelV1(links)
    loop = Loop(kernel, make_policy())
    loop.run(6)
    kernel.simulator.reset_stats()
    loop.run(6)
    observations = np.concatenate(loop.observations)
    assert np.isfinite(observations).all()
    windows = np.array(loop.windows)
    for path, config in enumerate(links):
        packet_ns = 1500 * 8 / config.rate_bps * 1e9
        room = 2 * config.delay_ns / packet_ns + config.limit_packets
        assert windows[:, path].min() >= 2
        # What fits into path and queue; more is only seen on the way up, where a window may double in an RTT.
        assert windows[600:, path].mean() <= 1.1 * room
        assert windows[:, path].max() <= 4 * room
        stats = kernel.simulator.subflow_stats(kernel.flow, path)
        assert stats.delivered_bytes * 8 / 6 >= part * config.rate_bps * MSS_BYTES / 1500
        assert stats.retransmitted_bytes <= 0.01 * stats.sent_bytes
    loop.datapath.close()
    assert all(subflow.cwnd_bytes <= 10 * MSS_BYTES for subflow in kernel.subflows)
    kernel.simulator.close()


class Silent:
    """A policy that goes to four times the window in 40 decisions, and is refused by the guard after `fails_at`."""

    def __init__(self, fails_at):
        self.fails_at = fails_at
        self.decisions = 0

    def act(self, observations):
        self.decisions += 1
        value = np.nan if self.decisions > self.fails_at else 0.05
        return np.full(len(observations), value, np.float32)


def test_when_the_policy_fails_the_fallback_halves_and_grows():
    """Leases run out, Reno goes on: the link stays full, and windows show more than one cut."""
    kernel = KernelV1([link(4, 20, 40)])
    loop = Loop(kernel, Silent(40))
    loop.run(5)
    assert loop.datapath.counters().expired == 1
    kernel.simulator.reset_stats()
    loop.run(20)
    windows = np.array(loop.windows)[500:, 0]
    cuts = np.count_nonzero(windows[1:] < 0.6 * windows[:-1])
    assert cuts >= 2
    assert kernel.simulator.flow_stats(kernel.flow).goodput_bytes * 8 / 20 >= 0.85 * 4e6
    stats = kernel.simulator.subflow_stats(kernel.flow, 0)
    assert stats.retransmitted_bytes <= 0.05 * stats.sent_bytes
    assert kernel.simulator.now_ns == 25 * S
    kernel.simulator.close()
