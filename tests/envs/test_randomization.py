# SPDX-License-Identifier: BSD-2-Clause
import numpy as np
import pytest

from ccdrl.envs.randomization import WIRE_BYTES, RandomizationConfig, draw_network

CONFIG = RandomizationConfig()


def draw(seed, n_rows=2, config=CONFIG, **more):
    return draw_network(np.random.default_rng(seed), n_rows, config, **more)


@pytest.fixture(scope="module")
def networks():
    return [draw((seed, n_rows), n_rows) for n_rows in (1, 2, 3, 4, 5, 8) for seed in range(120)]


@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 5, 6, 8])
def test_rows_are_as_asked(n_rows):
    for seed in range(40):
        assert len(draw(seed, n_rows).connections()) == n_rows
        assert set(draw(seed, n_rows, is_single=True).connections()) == {0}


def test_equal_generators_draw_equal_networks():
    for seed in range(30):
        one, two = draw(seed), draw(seed)
        assert (one.flows, one.events, one.tick_ns, one.n_ticks) == (two.flows, two.events, two.tick_ns, two.n_ticks)
        for a, b in zip(one.links, two.links, strict=True):
            assert (a.rate_bps, a.delay_ns, a.limit_bytes, a.loss) == (b.rate_bps, b.delay_ns, b.limit_bytes, b.loss)
            assert (a.trace is None) == (b.trace is None)
            assert a.trace is None or np.array_equal(a.trace.rate_bps, b.trace.rate_bps)


def test_draws_stay_in_their_bounds(networks):
    for network in networks:
        assert 100 <= network.n_ticks <= 300
        assert 10e6 <= network.tick_ns <= 100e6
        for link in network.links:
            assert link.limit_bytes >= 2 * WIRE_BYTES
            assert 0 <= link.loss.p <= 0.05
        own = [link for link in network.links if link.trace is None]
        packets = sum(link.rate_bps for link in own) * network.tick_ns * 1e-9 / (8 * WIRE_BYTES)
        assert packets <= 2.2 * CONFIG.packets_per_tick_max  # a common second link counts again
        for event in network.events:
            assert 0 <= event.link < len(network.links)


def test_draws_are_diverse(networks):
    def share(predicate):
        return np.mean([predicate(network) for network in networks])

    assert 0.2 < share(lambda n: len(n.flows) > len(n.agents)) < 0.5
    assert 0.15 < share(lambda n: len(n.agents) > 1) < 0.5
    assert share(lambda n: any(link.loss.kind != "none" for link in n.links)) > 0.4
    assert share(lambda n: all(link.loss.kind == "none" for link in n.links)) > 0.1
    for kind in ("droptail", "red", "codel", "pie"):
        assert any(link.queue_kind == kind for n in networks for link in n.links)
    for kind in ("rate", "delay", "down", "up"):
        assert any(event.kind == kind for n in networks for event in n.events)
    for cc in ("reno", "cubic", "bbr"):
        assert any(flow.cc == cc for n in networks for flow in n.flows)
    rates = np.array([link.rate_bps for n in networks for link in n.links])
    assert rates.min() < 0.5e6
    assert rates.max() > 80e6
    assert any(link.trace is not None for n in networks for link in n.links)


def test_every_draw_builds_and_its_agents_get_through():
    for seed in range(60):
        network = draw((9, seed), 4)
        with network.build(seed) as simulator:
            simulator.run(network.ready_ns)
            assert simulator.count_drl_subflows() == 4
        assert network.timeline().compute(network.ready_ns).ideal_bps.min() > 0
