# SPDX-License-Identifier: BSD-2-Clause

import numpy as np
import pytest

from ccdrl.agent.controller import Controller
from ccdrl.agent.guard import Guard
from ccdrl.bindings.library import Event, make_samples
from ccdrl.bindings.network import FlowConfig, LinkConfig, PathConfig
from ccdrl.bindings.sim_datapath import SimDatapath
from ccdrl.bindings.simulator import Simulator
from ccdrl.envs.action import FINE_STEP, NEUTRAL
from ccdrl.envs.observation import OBSERVATION_NAMES, OBSERVATION_SIZE

MSS = 1000


class Recorder:
    """Answers every row with a constant and keeps what it saw."""

    def __init__(self, answer=0.0):
        self.answer = answer
        self.seen = []

    def act(self, observations):
        self.seen.append(observations.copy())
        return np.full(len(observations), self.answer, np.float32)


def make(ids, conn_id=1, now_ms=0, srtt_ms=40, event=Event.SAMPLE, seq=1):
    samples = make_samples(len(ids))
    samples["abi"] = 2
    samples["subflow_id"] = ids
    samples["conn_id"] = conn_id
    samples["seq"] = seq
    samples["timestamp_us"] = 1_000_000 + now_ms * 1000
    samples["event"] = event
    samples["mss_bytes"] = MSS
    samples["cwnd_bytes"] = samples["inflight_bytes"] = 20 * MSS
    samples["srtt_us"] = samples["last_rtt_us"] = samples["min_rtt_us"] = np.asarray(srtt_ms) * 1000
    return samples


def test_first_record_is_answered():
    controller = Controller(Recorder(NEUTRAL + (1 - NEUTRAL) * 0.5))
    actions = controller.step(make([3, 4], seq=[7, 8]))
    assert actions["subflow_id"].tolist() == [3, 4]
    assert actions["seq"].tolist() == [7, 8]
    assert actions["cwnd_bytes"].tolist() == [round(20 * MSS * 2 ** (FINE_STEP + 0.5 * (1 - FINE_STEP)))] * 2
    assert controller.n_subflows == 2


def test_connections_keep_their_own_intervals():
    """20 ms and 80 ms of lowest srtt; records every 10 ms."""
    controller, answered = Controller(Recorder()), {1: 0, 2: 0, 3: 0}
    for now_ms in range(0, 400, 10):
        samples = make([1, 2, 3], [1, 1, 2], now_ms, [20, 70, 80], seq=now_ms + 1)
        for subflow_id in controller.step(samples)["subflow_id"].tolist():
            answered[subflow_id] += 1
    assert answered == {1: 20, 2: 20, 3: 5}


@pytest.mark.parametrize(("srtt_ms", "interval_ms"), [(1, 10), (33, 40), (700, 100)])
def test_interval_is_bounded(srtt_ms, interval_ms):
    controller, times = Controller(Recorder()), []
    for now_ms in range(0, 1000, 10):
        if len(controller.step(make([1], 1, now_ms, srtt_ms, seq=now_ms + 1))):
            times.append(now_ms)
    assert set(np.diff(times)) == {interval_ms}


def test_silence_is_answered_from_the_newest_record():
    policy = Recorder()
    controller = Controller(policy)
    controller.step(make([1]))
    actions = controller.step(make_samples(0), now_us=1_200_000)
    assert actions["subflow_id"].tolist() == [1]
    interval = policy.seen[-1][0, OBSERVATION_NAMES.index("interval")]
    assert interval == pytest.approx(np.log2(200 / 40))


def test_conn_id_zero_is_a_connection_of_its_own():
    policy = Recorder()
    Controller(policy).step(make([1, 2], conn_id=0))
    assert policy.seen[0][:, OBSERVATION_NAMES.index("n_subflows")].tolist() == [0.125, 0.125]


def test_more_than_eight_subflows_of_a_connection():
    policy = Recorder()
    actions = Controller(policy).step(make(np.arange(1, 13)))
    assert len(actions) == 12
    assert policy.seen[0].shape == (12, OBSERVATION_SIZE)
    assert np.isfinite(policy.seen[0]).all()
    assert policy.seen[0][0, OBSERVATION_NAMES.index("n_subflows")] == 1.5


def test_rows_are_given_back():
    controller = Controller(Recorder(), capacity=2)
    for n in range(1, 50):
        assert len(controller.step(make([n], n, now_ms=200 * n))) == 1
        assert len(controller.step(make([n], n, 200 * n + 1, event=Event.CLOSED, seq=2))) == 0
        assert controller.n_subflows == 0
    assert controller.refused == 0


def test_a_reused_row_starts_fresh():
    policy = Recorder(1.0)
    controller = Controller(policy, capacity=1)
    for now_ms in (0, 100, 200):
        controller.step(make([1], 1, now_ms, seq=now_ms + 1))
    controller.step(make([1], 1, 250, event=Event.CLOSED, seq=900))
    controller.step(make([2], 1, 300))
    assert policy.seen[-1].tobytes() == policy.seen[0].tobytes()


def test_subflows_beyond_capacity_are_counted():
    controller = Controller(Recorder(), capacity=2)
    assert len(controller.step(make([1, 2, 3]))) == 2
    assert (controller.n_subflows, controller.refused) == (2, 1)


def test_vanished_subflows_are_dropped():
    controller = Controller(Recorder(), idle_us=1_000_000)
    controller.step(make([1, 2]))
    controller.step(make([2], now_ms=600, seq=2))
    controller.step(make([2], now_ms=1300, seq=3))
    assert controller.n_subflows == 1


def test_unknown_closing_record_is_ignored():
    controller = Controller(Recorder())
    assert len(controller.step(make([9], event=Event.CLOSED))) == 0
    assert controller.n_subflows == 0


def test_record_of_an_unmeasured_subflow_waits():
    controller = Controller(Recorder())
    assert len(controller.step(make([1], srtt_ms=0, event=Event.CREATED))) == 0
    assert len(controller.step(make([1], now_ms=40, seq=2))) == 1


def test_repeated_ids_in_one_read_keep_the_newest():
    policy = Recorder()
    controller = Controller(policy)
    both = make([1, 1], seq=[1, 2])
    both["cwnd_bytes"] = [10 * MSS, 30 * MSS]
    assert controller.step(both)["cwnd_bytes"].tolist() == [30 * MSS]
    assert controller.n_subflows == 1


def test_nan_gives_no_action_and_is_counted():
    guard = Guard()
    assert len(Controller(Recorder(np.nan), guard=guard).step(make([1, 2]))) == 0
    assert guard.counters.actions_not_finite == 2


def test_foreign_abi_is_refused():
    samples = make([1])
    samples["abi"] = 1
    controller = Controller(Recorder())
    assert len(controller.step(samples)) == 0
    assert controller.guard.counters.samples_foreign == 1


def test_random_bytes_never_raise():
    rng = np.random.default_rng(0)
    controller = Controller(Recorder(0.1), capacity=16)
    for _ in range(200):
        raw = rng.integers(0, 256, 5 * make_samples(1).itemsize, np.uint8)
        samples = raw.view(make_samples(1).dtype).copy()
        samples["abi"] = 2
        samples["subflow_id"] = rng.integers(0, 40, 5)
        samples["event"] = rng.integers(1, 5, 5)
        actions = controller.step(samples)
        assert (actions["cwnd_bytes"] > 0).all()
        assert controller.n_subflows <= 16


class Filler:
    """Aims at 1.1 estimated BDPs: enough to fill idle links."""

    def act(self, observations):
        step = 0.25 - observations[:, OBSERVATION_NAMES.index("cwnd_bdp")]
        return np.clip(np.sign(step) * NEUTRAL + (1 - NEUTRAL) * step, -1, 1).astype(np.float32)


def test_drives_the_simulator_through_its_datapath():
    """Two idle paths of 20 and 10 Mbit/s: at least 85 % of both, and every window taken."""
    simulator = Simulator(seed=1)
    for rate_bps, delay_ns in ((20e6, 10_000_000), (10e6, 40_000_000)):
        simulator.add_link(LinkConfig(rate_bps=rate_bps, delay_ns=delay_ns, limit_bytes=200_000))
    flow = simulator.add_flow(FlowConfig("drl", (PathConfig((0,)), PathConfig((1,)))))
    datapath, controller = SimDatapath(simulator), Controller(Filler())
    for tick in range(1, 1000):
        simulator.run(tick * 10_000_000)
        if tick == 200:
            simulator.reset_stats()
        datapath.write_actions(controller.step(datapath.read_samples().copy(), tick * 10_000))
    goodput_bps = simulator.flow_stats(flow).goodput_bytes * 8 / (999 * 0.01 - 2.0)
    assert goodput_bps > 0.85 * 30e6 * 1448 / 1500
    counters = datapath.counters()
    assert counters.applied + counters.clamped > 500
    assert counters.malformed == counters.unknown == counters.expired == 0
