# SPDX-License-Identifier: BSD-2-Clause
"""Response functions: what a controller makes of a loss rate or a buffer, against closed forms; fairness among equals.

Paths with random loss have a capacity that is never reached, so that the loss rate is the given one.
"""

import math

import numpy as np
import pytest

from ccdrl.bindings.simulator import EventConfig, LossConfig
from ccdrl.tests.bindings.networks import MS, MSS, WIRE, S, build, flow, link, measure, medians, spread, wire

AMPLE_MBPS = 10_000
SEEDS = range(1, 6)


def under_random_loss(cc, loss_p, rtt_ms, seed, ack_segments=1, losses=400):
    """Return (segments a round trip of goodput, time mean of the window), over about `losses` losses."""
    window = 1.31 / math.sqrt(loss_p)
    duration_s = losses / loss_p / window * rtt_ms / 1e3
    links = [link(AMPLE_MBPS, rtt_ms / 2, loss_p=loss_p)]
    simulator = build(links, [flow(cc, 0, ack_segments=ack_segments)], seed)
    (goodput_mbps,) = measure(simulator, 0.2 * duration_s + 2, duration_s)
    segments = goodput_mbps * 1e6 / 8 / MSS * rtt_ms / 1e3
    return segments, simulator.subflow_stats(0, 0).cwnd_mean_bytes / MSS


def under_periodic_loss(cc, period, rtt_ms, skipped, counted):
    """Return the time mean of the window when one packet in `period` is lost, over `counted` losses after `skipped`.

    The loss is switched on between two packets and off after the next; ACKs for each packet keep packets apart.
    """
    simulator = build([link(AMPLE_MBPS, rtt_ms / 2)], [flow(cc, 0, ack_segments=1)])
    lossy = LossConfig("bernoulli", p=1.0)
    for number in range(skipped + counted):
        wanted = (number + 1) * period
        while (left := wanted - simulator.packets) > 0:
            simulator.run(simulator.now_ns + (5 * MS if left > 4000 else MS // 10))
        simulator.add_event(EventConfig(simulator.now_ns, 0, "loss", loss=lossy))
        before = simulator.packets
        while simulator.packets == before:
            simulator.run(simulator.now_ns + MS // 100)
        simulator.add_event(EventConfig(simulator.now_ns, 0, "loss"))
        if number + 1 == skipped:
            simulator.reset_stats()
    assert simulator.subflow_stats(0, 0).rto_events == 0
    return simulator.subflow_stats(0, 0).cwnd_mean_bytes / MSS


def rounds_of_reno(loss_p, losses=20_000):
    """Return segments a round trip of AIMD by rounds, played with dice: floor(w) segments a round, each ACKed one adds
    1/w; a loss halves w to whole segments and takes a round without growth to repair. No simulator in it.
    """
    dice = np.random.default_rng(1)
    window, rounds, segments = 1.31 / math.sqrt(loss_p), 0.0, 0.0
    for until_loss in dice.geometric(loss_p, losses).tolist():
        left = until_loss
        while left > (burst := math.floor(window)):
            left, rounds, segments, window = left - burst, rounds + 1, segments + burst, window + burst / window
        rounds, segments, window = rounds + left / burst, segments + left, window + left / window
        window = max(window // 2, 2.0)
        rounds, segments = rounds + 1, segments + math.floor(window)
    return segments / rounds


@pytest.mark.parametrize("loss_p", [1e-4, 1e-3])
def test_reno_under_random_loss_with_an_ack_for_each_packet(loss_p):
    """sqrt(2 / p) segments a round trip, 10 %: that form knows no variance of the window (1.3098 in place of 1.4142,
    see below), no whole segments and no recovery, which all take a little.
    """
    segments, _ = medians([under_random_loss("reno", loss_p, 50, seed) for seed in SEEDS])
    assert segments == pytest.approx(math.sqrt(2 / loss_p), rel=0.10)


@pytest.mark.parametrize("loss_p", [1e-4, 1e-3])
def test_reno_under_random_loss_with_delayed_acks(loss_p):
    """sqrt(3 / 2p), 10 %; as above it holds for windows of many segments."""
    segments, _ = medians([under_random_loss("reno", loss_p, 50, seed, ack_segments=2) for seed in SEEDS])
    assert segments == pytest.approx(math.sqrt(1.5 / loss_p), rel=0.10)


@pytest.mark.parametrize("loss_p", [1e-4, 1e-3, 1e-2, 3e-2])
def test_reno_under_random_loss_round_by_round(loss_p):
    """5 % of the same rules played by hand; 8 % at windows of six, where they know no second loss in a recovery and no
    time-out. At p = 0.01 and a window of 12 segments they give 0.85 of sqrt(2 / p).
    """
    segments, _ = medians([under_random_loss("reno", loss_p, 50, seed) for seed in SEEDS])
    assert segments == pytest.approx(rounds_of_reno(loss_p), rel=0.05 if loss_p < 0.02 else 0.08)


def test_reno_under_random_loss_has_the_known_constant():
    """Time mean of the window 1.3098 / sqrt(p) for rare losses at random (Ott, Kemperman, Mathis 1996); 3 % over 2000
    losses.
    """
    (_, window) = medians([under_random_loss("reno", 1e-4, 50, seed) for seed in SEEDS])
    assert window == pytest.approx(1.3098 / math.sqrt(1e-4), rel=0.03)


def test_reno_under_periodic_loss_is_the_sawtooth():
    """sqrt(3 / 2p): between W/2 and W, one segment a round trip. A round trip of 40 goes to each recovery; 5 %."""
    assert under_periodic_loss("reno", 1000, 20, 10, 40) == pytest.approx(math.sqrt(1.5 * 1000), rel=0.05)


def cubic_window(loss_p, rtt_ms):
    """Return RFC 9438 section 5.1, figure 5, for C = 0.4: 1.054 (RTT / p)^(3/4) segments."""
    return 1.054 * (rtt_ms / 1e3 / loss_p) ** 0.75


def test_cubic_under_periodic_loss():
    """Figure 5, 20 %. The formula knows no fast convergence (section 4.7), which takes 15 % off every plateau that the
    window does not quite reach again, as in whole segments happens often, and no round trip in recovery; both lower the
    measured mean.
    """
    window = under_periodic_loss("cubic", 10_000, 100, 20, 20)
    assert 0.80 * cubic_window(1e-4, 100) <= window <= cubic_window(1e-4, 100)


@pytest.mark.parametrize("rtt_ms", [100, 200])
def test_cubic_under_random_loss(rtt_ms):
    """Figure 5, 20 %: the window is convex in the time since a loss, so gaps of random length raise the mean."""
    _, window = medians([under_random_loss("cubic", 1e-4, rtt_ms, seed) for seed in (1, 2, 3)])
    assert cubic_window(1e-4, rtt_ms) <= window <= 1.20 * cubic_window(1e-4, rtt_ms)


def test_cubic_in_the_reno_friendly_region():
    """Section 4.3: with 20 ms and p = 0.001 the cubic is far below Reno's sqrt(3 / 2p), and CUBIC is Reno; 5 %."""
    assert cubic_window(1e-3, 20) < 0.3 * math.sqrt(1.5e3)
    assert under_periodic_loss("cubic", 1000, 20, 10, 40) == pytest.approx(math.sqrt(1.5e3), rel=0.05)


def test_slow_start_overshoots_by_a_pipe():
    """Reno doubles until a queue of one BDP overflows, and loses about what pipe and queue hold: 834 packets; 10 %."""
    simulator = build([link(100, 25, 417)], [flow("reno", 0)])
    simulator.run(3 * S)
    assert simulator.link_stats(0).dropped_packets == pytest.approx(834, rel=0.10)


@pytest.mark.parametrize("queue_packets", [417, 4 * 417])
def test_hystart_overshoots_less(queue_packets):
    """HyStart++ (RFC 9406) goes on by a quarter a round once the RTT has risen, so what it loses is nearer to a
    quarter of pipe and queue than to all of it: below a half, and the link is full.
    """
    simulator = build([link(100, 25, queue_packets)], [flow("cubic", 0)])
    simulator.run(S)
    lost_bytes = simulator.subflow_stats(0, 0).lost_bytes
    simulator.reset_stats()
    simulator.run(3 * S)
    lost_bytes += simulator.subflow_stats(0, 0).lost_bytes
    assert lost_bytes / MSS < (417 + queue_packets) / 2
    assert simulator.link_stats(0).departed_bytes >= 0.99 * simulator.link_stats(0).capacity_bytes


@pytest.mark.parametrize(("loss_p", "least"), [(0.0, 0.90), (0.01, 0.85)])
def test_bbr_alone(loss_p, least):
    """A buffer of four BDP stays all but empty, and losses at random do not slow it (draft-cardwell-iccrg-bbr)."""
    bdp = 50e6 * 0.04 / 8 / WIRE
    simulator = build([link(50, 20, round(4 * bdp), loss_p=loss_p)], [flow("bbr", 0)])
    (goodput,) = measure(simulator, 5, 60)
    assert wire(goodput) >= least * 50
    assert simulator.link_stats(0).queue_mean_bytes < 0.25 * bdp * WIRE
    assert simulator.subflow_stats(0, 0).queue_delay_p95_ms < 0.5 * 40


def test_wvegas_keeps_the_queue_short():
    """Its target is total_alpha = 10 packets in the queue, 2.4 ms here, of a buffer that takes 160 ms."""
    simulator = build([link(50, 20, 666)], [flow("wvegas", 0)])
    (goodput,) = measure(simulator, 10, 60)
    assert simulator.subflow_stats(0, 0).queue_delay_p95_ms <= 10 * WIRE * 8 / 50e3 + 0.5
    assert simulator.subflow_stats(0, 0).lost_bytes == 0
    assert wire(goodput) >= 0.85 * 50


@pytest.mark.parametrize("cc", ["reno", "cubic"])
def test_four_equal_flows_are_fair(cc):
    rates = medians(
        [measure(build([link(40, 20, 133)], spread([flow(cc, 0)] * 4, seed, 40), seed), 20, 120) for seed in SEEDS]
    )
    assert sum(rates) ** 2 / (4 * sum(rate**2 for rate in rates)) >= 0.95
    assert wire(sum(rates)) >= 0.97 * 40
