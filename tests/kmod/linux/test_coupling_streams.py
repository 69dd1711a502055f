# SPDX-License-Identifier: BSD-2-Clause
"""The kernel's integers against the simulator's controllers on event streams that the simulator recorded."""

import functools
from typing import Any

import numpy as np
import pytest

from ccdrl.bindings.library import State
from ccdrl.tests.bindings.networks import MS, down, link, up
from ccdrl.tests.kmod.linux.stream import REDUCING, Event, KernelConnection, record_stream

RULES = ("lia", "olia", "balia")
DURATION_S = 10.0
NETWORKS: dict[str, dict[str, Any]] = {
    "drop-tail": {"links": (link(10, 10, 30), link(5, 40, 40))},
    "random-loss": {"links": (link(10, 10, 200, 0.003), link(6, 40, 200, 0.001), link(15, 80, 400, 0.0005))},
    "outage": {"links": (link(8, 20, 40), link(4, 5, 20)), "events": (down(1, 4000), up(1, 6500))},
}
GAIN_TOLERANCE = 5e-4
"""Of Reno's increase: RTT ratios in these streams are above 1/10, cut to 2^-16 of one, and enter squared."""
WINDOW_TOLERANCE_SEGMENTS, WINDOW_TOLERANCE = 1.5, 0.02
"""Mean distance of the windows when both sides run on their own, and as a part of the mean window; see the test."""


@functools.cache
def stream(rule: str, network: str) -> list[Event]:
    return list(record_stream(rule, **NETWORKS[network], duration_s=DURATION_S))


def sync(oracle: Any, kernel: KernelConnection) -> None:
    """The simulator's subflows get the kernel's state."""
    for index, subflow in enumerate(kernel.subflows):
        sf = oracle[index]
        ssthresh = float(subflow.ssthresh)
        sf.set(cwnd=float(subflow.cwnd), ssthresh=ssthresh, srtt_ns=subflow.srtt_us * 1000, state=int(subflow.state))
        if kernel.rule == "olia":
            sf.private.l1_segments = subflow.last_interval
            sf.private.l2_segments = subflow.delivered - subflow.delivered_at_loss


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rule", RULES)
def test_every_increase_and_decrease_is_the_simulators(coupling: Any, bench: Any, rule: str, network: str) -> None:
    """The oracle is put into the kernel's state before each event, so that errors cannot add up or cancel."""
    events = stream(rule, network)
    n = len(NETWORKS[network]["links"])
    kernel, oracle = KernelConnection(coupling, rule, n), bench(rule, n)
    n_gains = n_signals = 0
    for event in events:
        own, subflow = event.subflow, kernel.subflows[event.subflow]
        is_signal = event.kind == "signal" or (event.kind == "timeout" and subflow.state != State.LOSS)
        is_growth = event.kind == "ack" and event.state not in REDUCING and subflow.cwnd >= subflow.ssthresh
        if event.kind == "ack":
            subflow.srtt_us, subflow.state = event.srtt_us or subflow.srtt_us, event.state
        if is_growth and kernel.is_coupled(own):
            sync(oracle, kernel)
            cwnd = subflow.cwnd
            want = oracle[own].ack(event.acked) - cwnd
            subflow.delivered += event.acked
            got = event.acked * coupling.gain(rule, kernel.rows(own))
            subflow.delivered -= event.acked
            assert got == pytest.approx(want, abs=GAIN_TOLERANCE * event.acked / cwnd)
            n_gains += 1
        elif is_signal:
            sync(oracle, kernel)
            want = oracle[own].ssthresh_ask()
        kernel.take(event)
        if is_signal:
            # Whole segments, rounded down; at least two.
            assert want - 1 - 1e-3 * want <= subflow.ssthresh <= want * (1 + 1e-3)
            n_signals += 1
    assert n_gains > 500
    assert n_signals >= 3


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rule", RULES)
def test_windows_stay_together_over_a_whole_stream(coupling: Any, bench: Any, rule: str, network: str) -> None:
    """Both sides run freely. At a halving the kernel loses the fraction of its window and rounds down, up to one and a
    half segments that additive growth does not give back; the siblings follow that by a part of it.
    """
    n = len(NETWORKS[network]["links"])
    kernel, oracle = KernelConnection(coupling, rule, n), bench(rule, n)
    for index in range(n):
        oracle[index].init()
    pairs: list[list[tuple[float, float]]] = [[] for _ in range(n)]
    for event in stream(rule, network):
        sf, previous = oracle[event.subflow], kernel.subflows[event.subflow].state
        if event.kind == "signal" or (event.kind == "timeout" and previous != State.LOSS):
            sf.ssthresh = sf.ssthresh_ask()
        if event.kind == "timeout":
            sf.cwnd = 1.0
        elif event.kind == "recovered":
            sf.cwnd = sf.ssthresh
        sf.state = int(event.state)
        if event.kind == "ack":
            sf.srtt_ns = event.srtt_us * 1000 or sf.srtt_ns
            sf.ack(event.acked)
        kernel.take(event)
        subflow = kernel.subflows[event.subflow]
        exact = subflow.cwnd + subflow.fraction / coupling.ONE + subflow.cwnd_count / max(subflow.cwnd, 1)
        pairs[event.subflow].append((exact, sf.cwnd))
    for each in pairs:
        ours, theirs = np.array(each).T
        assert np.mean(np.abs(ours - theirs)) < WINDOW_TOLERANCE_SEGMENTS + WINDOW_TOLERANCE * np.mean(theirs)


def test_the_streams_hold_what_they_are_for() -> None:
    kinds = {network: [event.kind for event in stream("lia", network)] for network in NETWORKS}
    assert all(each.count("ack") > 3000 and each.count("signal") > 5 for each in kinds.values())
    assert kinds["outage"].count("timeout") > 0
    assert max(event.acked for event in stream("lia", "random-loss")) > 1
    lowest, highest = (f(e.srtt_us for e in stream("lia", "random-loss") if e.srtt_us) for f in (min, max))
    assert lowest * 1000 < 50 * MS < highest * 1000
