# SPDX-License-Identifier: BSD-2-Clause
import numpy as np
import pytest

from ccdrl.bindings.network import EventConfig, FlowConfig, LinkConfig, LossConfig, PathConfig, TraceConfig
from ccdrl.envs.coupled_share import compute_coupled_rates
from ccdrl.envs.fair_share import Demand
from ccdrl.envs.timeline import FOREVER_NS, Timeline, compute_loss_ratio

S = 10**9
PAYLOAD = 1448 / 1500


def link(rate_mbps, delay_ms=10, **more):
    return LinkConfig(rate_bps=rate_mbps * 1e6, delay_ns=delay_ms * 10**6, limit_bytes=150_000, **more)


def flow(cc, *links, **more):
    return FlowConfig(cc, tuple(PathConfig((k,)) for k in links), **more)


def test_idle_pair():
    conditions = Timeline([link(10), link(20, 25)], [flow("drl", 0, 1)], [], (0,)).compute(0)
    assert conditions.ideal_bps == pytest.approx([30e6 * PAYLOAD], rel=0.01)
    assert conditions.capacity_bps == pytest.approx([10e6 * PAYLOAD, 20e6 * PAYLOAD])
    assert conditions.base_us == pytest.approx([20_000 + 1_200, 50_000 + 600])
    assert conditions.buffer_us == pytest.approx([120_000, 60_000])
    assert (conditions.is_shared.any(), conditions.has_rival.any(), conditions.until_ns) == (False, False, FOREVER_NS)


def test_rival_comes_and_goes():
    flows = [flow("drl", 0, 1), flow("cubic", 1, start_ns=2 * S, stop_ns=5 * S)]
    timeline = Timeline([link(10), link(20)], flows, [], (0,))
    alone, together, again = (timeline.compute(t) for t in (0, 2 * S, 5 * S))
    assert [c.until_ns for c in (alone, together, again)] == [2 * S, 5 * S, FOREVER_NS]
    ours, _ = compute_coupled_rates([10.0, 20.0], [Demand(((0,), (1,))), Demand(((1,),))])
    assert together.target_bps == pytest.approx(ours * 1e6 * PAYLOAD, rel=0.01)
    assert together.ideal_bps == pytest.approx([together.target_bps.sum()])
    assert together.has_stranger.tolist() == [False, True]
    assert again.ideal_bps == pytest.approx(alone.ideal_bps)
    assert together.has_rival.tolist() == [False, True]
    assert together.n_users.tolist() == [1, 2]
    assert together.is_shared.all()


def test_rival_that_random_loss_holds_down_leaves_its_share():
    lossy = link(100, 20, loss=LossConfig("bernoulli", p=0.01))
    conditions = Timeline([lossy], [flow("drl", 0), flow("reno", 0)], [], (0,)).compute(0)
    reno_bps = 1.5 * 1448 * 8 / 0.04012 * np.sqrt(1.5 / 0.01)
    assert conditions.ideal_bps == pytest.approx([100e6 * PAYLOAD * 0.99 - reno_bps], rel=0.01)
    assert conditions.random_loss == pytest.approx([0.01])


def test_events_change_links():
    events = [
        EventConfig(1 * S, 0, "rate", rate_bps=5e6),
        EventConfig(2 * S, 0, "delay", delay_ns=50_000_000),
        EventConfig(3 * S, 0, "loss", loss=LossConfig("bernoulli", p=0.1)),
        EventConfig(4 * S, 0, "down"),
        EventConfig(5 * S, 0, "up"),
    ]
    timeline = Timeline([link(10)], [flow("drl", 0), flow("reno", 0)], events, (0,))
    conditions = [timeline.compute(t * S) for t in range(6)]
    assert [c.until_ns for c in conditions[:5]] == [t * S for t in range(1, 6)]
    assert conditions[1].capacity_bps == pytest.approx([5e6 * PAYLOAD])
    assert conditions[2].base_us == pytest.approx([100_000 + 2_400])
    assert conditions[3].capacity_bps == pytest.approx([4.5e6 * PAYLOAD])
    assert conditions[4].capacity_bps.tolist() == [0.0]
    assert 0 < conditions[4].ideal_bps[0] < 1e6  # a segment an RTT: ratios stay finite
    assert not conditions[4].is_shared.any()
    assert conditions[5].capacity_bps == pytest.approx([4.5e6 * PAYLOAD])


def test_rate_trace_repeats():
    trace = TraceConfig("rate", np.array([0, S]), 2 * S, np.array([1e6, 3e6]))
    timeline = Timeline([link(0, trace=trace)], [flow("drl", 0)], [], (0,))
    assert [timeline.compute(t * S).capacity_bps[0] / PAYLOAD for t in (0, 1, 2, 3)] == pytest.approx([1e6, 3e6] * 2)
    assert timeline.compute(5 * S // 2).until_ns == 3 * S


def test_opportunities_count_in_seconds():
    times = np.concatenate([np.linspace(1, S - 1, 100), np.linspace(S, 2 * S - 1, 300)]).astype(np.int64)
    timeline = Timeline([link(0, trace=TraceConfig("opportunities", times, 2 * S))], [flow("drl", 0)], [], (0,))
    assert timeline.compute(0).capacity_bps == pytest.approx([100 * 12_000 * PAYLOAD])
    assert timeline.compute(S).capacity_bps == pytest.approx([300 * 12_000 * PAYLOAD])


def test_loss_ratio_of_a_chain():
    chain = LossConfig("gilbert-elliott", good_to_bad=0.01, bad_to_good=0.09, loss_good=0.0, loss_bad=0.5)
    assert compute_loss_ratio(chain) == pytest.approx(0.05)
    assert compute_loss_ratio(LossConfig()) == 0.0
