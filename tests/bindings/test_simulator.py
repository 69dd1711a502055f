# SPDX-License-Identifier: BSD-2-Clause
"""The thin layer over the C simulator: arguments, errors, lifetimes, batches. What the network does has other tests."""

import math
import threading
from dataclasses import replace

import numpy as np
import pytest

from ccdrl.bindings.errors import InputError, SimulatorError
from ccdrl.bindings.library import (
    LEASE_MAX_US,
    SAMPLE_DTYPE,
    ActionResult,
    Event,
    Flag,
    State,
    make_actions,
    make_samples,
)
from ccdrl.bindings.sim_datapath import SimDatapath
from ccdrl.bindings.simulator import (
    EventConfig,
    FlowConfig,
    LinkConfig,
    LossConfig,
    PathConfig,
    Simulator,
    SimulatorBatch,
    TraceConfig,
)

S = 10**9
LINK = LinkConfig(rate_bps=10e6, delay_ns=10_000_000, limit_bytes=25_000)
FLOW = FlowConfig("reno", (PathConfig((0,)),))


@pytest.fixture
def simulator():
    with Simulator(seed=1) as simulator:
        simulator.add_link(LINK)
        yield simulator


def make_simulator(seed, n_drl=1):
    """Return two links with some loss and one connection of n_drl drl subflows."""
    simulator = Simulator(seed)
    loss = LossConfig("bernoulli", p=0.01)
    links = [simulator.add_link(replace(LINK, loss=loss)), simulator.add_link(replace(LINK, rate_bps=20e6, loss=loss))]
    simulator.add_flow(FlowConfig("drl", tuple(PathConfig((link,)) for link in links[:n_drl])))
    simulator.add_flow(FlowConfig("reno", (PathConfig((links[0],)),)))
    return simulator


def test_a_first_run(simulator):
    flow = simulator.add_flow(FLOW)
    simulator.run(10 * S)
    assert (flow, simulator.n_links, simulator.n_flows, simulator.now_ns) == (0, 1, 1, 10 * S)
    assert simulator.packets > 1000
    stats = simulator.flow_stats(flow)
    # One Reno on 10 Mbit/s with one BDP of queue keeps the link busy but for slow start: 1448 of 1500 wire bytes.
    assert stats.goodput_bytes * 8 / 10 == pytest.approx(10e6 * 1448 / 1500, rel=0.05)
    assert stats.completion_ns is None
    assert simulator.subflow_stats(flow, 0).is_established
    link = simulator.link_stats(0)
    assert link.capacity_bytes == pytest.approx(10e6 / 8 * 10)
    assert 0.9 < link.departed_bytes / link.capacity_bytes <= 1
    simulator.check()


def test_a_finite_transfer_completes(simulator):
    flow = simulator.add_flow(replace(FLOW, size_bytes=100_000))
    simulator.run(5 * S)
    stats = simulator.flow_stats(flow)
    assert stats.goodput_bytes == 100_000
    assert stats.completion_ns is not None
    assert 80_000_000 < stats.completion_ns < S  # 100 kB take 80 ms on the link alone


def test_reset_and_histograms(simulator):
    flow = simulator.add_flow(FLOW)
    simulator.run(2 * S)
    simulator.reset_stats()
    assert simulator.flow_stats(flow).goodput_bytes == 0
    assert math.isnan(simulator.flow_stats(flow).rtt_p95_ms)
    simulator.run(4 * S)
    assert 20 <= simulator.flow_stats(flow).rtt_mean_ms <= 42  # propagation, and that plus a full queue
    other = Simulator(seed=1)
    other.add_link(LINK)
    other.enable_stats(False)
    other.add_flow(FLOW)
    other.run(4 * S)
    assert math.isnan(other.flow_stats(0).rtt_p95_ms)


def test_packets_under_way_when_a_delay_rises_have_no_negative_queueing_delay():
    simulator = Simulator(seed=1)
    simulator.add_link(replace(LINK, delay_ns=100_000_000, limit_bytes=10**6))
    simulator.add_flow(FlowConfig("fixed", (PathConfig((0,)),), fixed_cwnd_segments=100))
    simulator.add_event(EventConfig(5 * S, 0, "delay", delay_ns=400_000_000))
    simulator.run(5 * S)
    simulator.reset_stats()
    simulator.run(5 * S + 90_000_000)
    stats = simulator.flow_stats(0)
    assert simulator.subflow_stats(0, 0).received_packets > 0
    assert stats.queue_delay_mean_ms == 0
    assert 500 <= stats.rtt_mean_ms < 640  # 100 ms there, up to 100 packets of 1.2 ms and 400 ms back


def test_same_seed_same_bytes():
    def record(seed):
        with make_simulator(seed, 2) as simulator:
            rows = []
            for time in range(1, 20):
                simulator.run(time * S // 4)
                rows.append(simulator.peek_samples().tobytes())
            return rows

    assert record(1) == record(1)
    assert record(1) != record(2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate_bps": 0}, "rate_bps: expected a number above 0"),
        ({"rate_bps": float("nan")}, "rate_bps"),
        ({"rate_bps": -1.0}, "rate_bps"),
        ({"rate_bps": 1e300}, "rate_bps"),
        ({"delay_ns": -1}, "delay_ns: expected an integer from 0"),
        ({"delay_ns": 1.5}, "delay_ns"),
        ({"jitter_ns": 2**62}, "jitter_ns"),
        ({"queue_kind": "fifo"}, "queue_kind: expected one of droptail, red, codel, pie, got 'fifo'"),
        ({"limit_bytes": -5}, "limit_bytes"),
        ({"red_max_p": 1.5}, "red_max_p"),
        ({"red_min_bytes": 3e3, "red_max_bytes": 2e3}, "link 1: red: min bytes must be below max bytes"),
        ({"loss": LossConfig("bernoulli", p=1.1)}, "loss.p: expected a number from 0 to 1, got 1.1"),
        ({"loss": LossConfig("rain")}, "loss.kind"),
        ({"trace": TraceConfig("rate", np.array([0]), 0, np.array([1e6]))}, "trace.period_ns"),
        ({"trace": TraceConfig("rate", np.array([5, 0]), 10, np.ones(2))}, "trace.time_ns: expected ascending"),
        ({"trace": TraceConfig("rate", np.array([], int), 10, np.array([]))}, "trace.time_ns"),
        ({"trace": TraceConfig("rate", np.array([0]), 10)}, "trace.rate_bps: expected 1 rates"),
        ({"trace": TraceConfig("rate", np.array([0]), 10, np.array([np.nan]))}, "trace.rate_bps"),
        ({"trace": TraceConfig("opportunities", np.array([0, 11]), 10)}, "trace.time_ns"),
    ],
)
def test_a_bad_link_is_refused(simulator, change, message):
    with pytest.raises(InputError, match=f"^{message}"):
        simulator.add_link(replace(LINK, **change))
    assert simulator.n_links == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cc": "vegas"}, "cc: expected one of reno, cubic"),
        ({"cc": None}, "cc"),
        ({"scheduler": "fast"}, "scheduler"),
        ({"paths": ()}, "paths: expected 1 to 8 paths, got 0"),
        ({"paths": (PathConfig((0,)),) * 9}, "paths"),
        ({"paths": (PathConfig(()),)}, r"paths\[0\]\.links: expected 1 to 8 links, got 0"),
        ({"paths": (PathConfig((1,)),)}, r"paths\[0\]\.links: expected an integer from 0 to 0, got 1"),
        ({"paths": (PathConfig((0,), -1),)}, r"paths\[0\]\.extra_delay_ns"),
        ({"mss_bytes": 0}, "mss_bytes"),
        ({"mss_bytes": 70_000}, "mss_bytes"),
        ({"start_ns": -1}, "start_ns"),
        ({"stop_ns": -1}, "stop_ns"),
        ({"size_bytes": -1}, "size_bytes"),
        ({"app_rate_bps": float("inf")}, "app_rate_bps"),
        ({"cc": "fixed"}, "fixed_cwnd_segments: cc"),
    ],
)
def test_a_bad_flow_is_refused(simulator, change, message):
    with pytest.raises(InputError, match=f"^{message}"):
        simulator.add_flow(replace(FLOW, **change))
    assert simulator.n_flows == 0


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (EventConfig(-1, 0, "down"), "at_ns"),
        (EventConfig(0, 1, "down"), "link"),
        (EventConfig(0, 0, "explode"), "kind: expected one of rate, delay, loss, down, up"),
        (EventConfig(0, 0, "rate"), "rate_bps"),
        (EventConfig(0, 0, "loss", loss=LossConfig("bernoulli", p=-1)), "loss.p"),
    ],
)
def test_a_bad_event_is_refused(simulator, event, message):
    with pytest.raises(InputError, match=f"^{message}"):
        simulator.add_event(event)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, None])
def test_a_bad_seed_is_refused(seed):
    with pytest.raises(InputError, match="^seed"):
        Simulator(seed)


def test_time_does_not_go_back(simulator):
    simulator.run(S)
    with pytest.raises(InputError, match=f"until_ns: expected an integer from {S}"):
        simulator.run(S - 1)


def test_indices_are_checked(simulator):
    simulator.add_flow(FLOW)
    for call in (
        lambda: simulator.flow_stats(1),
        lambda: simulator.subflow_stats(0, 1),
        lambda: simulator.link_stats(-1),
        lambda: simulator.set_reading(1, False),
        lambda: simulator.remove_subflow(0, 1),
        lambda: simulator.join_subflow(1, 0),
    ):
        with pytest.raises(InputError, match="expected an integer from 0 to 0"):
            call()


def test_a_closed_simulator_says_so():
    simulator = Simulator(1)
    simulator.close()
    simulator.close()
    with pytest.raises(SimulatorError, match="closed"):
        simulator.run(1)


def test_peek_fills_the_given_rows():
    with make_simulator(1, 2) as simulator, make_simulator(1, 2) as twin:
        simulator.run(S)
        twin.run(S)
        rows = make_samples(5)
        peeked = simulator.peek_samples(rows)
        assert peeked.base is rows
        assert peeked.tobytes() == twin.peek_samples().tobytes()
        with pytest.raises(InputError, match="at least 2 rows, got 1"):
            simulator.peek_samples(make_samples(1))


def test_run_releases_the_gil():
    """While C runs, another thread counts: it would stand still under the GIL."""
    with make_simulator(1, 2) as simulator:
        ticks, is_done = 0, threading.Event()
        thread = threading.Thread(target=lambda: (simulator.run(2000 * S), is_done.set()))
        thread.start()
        while not is_done.wait(0.002):
            ticks += 1
        thread.join()
        assert ticks >= 3


class TestBatch:
    def test_it_equals_the_single_simulators(self):
        singles = [make_simulator(seed, 1 + seed % 2) for seed in range(5)]
        batch = SimulatorBatch([make_simulator(seed, 1 + seed % 2) for seed in range(5)], n_threads=2)
        assert list(batch.first_row) == [0, 1, 3, 4, 6, 7]
        for step in range(1, 30):
            until_ns = np.arange(1, 6) * step * S // 20
            batch.step(until_ns)
            for index, single in enumerate(singles):
                single.run(int(until_ns[index]))
                first, end = batch.first_row[index : index + 2]
                assert single.peek_samples().tobytes() == batch.samples[first:end].tobytes()

    def test_threads_do_not_change_the_bytes(self):
        batches = [SimulatorBatch([make_simulator(seed) for seed in range(7)], n_threads=n) for n in (1, 2, 7)]
        for step in range(1, 20):
            samples = [batch.step(step * S // 10).tobytes() for batch in batches]
            assert samples[0] == samples[1] == samples[2]

    def test_actions_reach_their_rows(self):
        with SimulatorBatch([make_simulator(seed, 2) for seed in range(3)], n_threads=2) as batch:
            batch.step(S)
            batch.actions["subflow_id"] = batch.samples["subflow_id"]
            batch.actions["seq"] = batch.samples["seq"]
            batch.actions["lease_us"] = LEASE_MAX_US
            windows = batch.samples["mss_bytes"] * np.arange(3, 9)
            batch.actions["cwnd_bytes"] = windows
            batch.step(S + 1)
            assert not (batch.samples["flags"] & Flag.FALLBACK).any()
            is_free = batch.samples["state"] < State.CWR  # in recovery PRR rules (RFC 6937)
            assert is_free.sum() >= 4
            np.testing.assert_array_equal(batch.samples["cwnd_bytes"][is_free], windows[is_free])

    def test_the_bound_on_windows_clamps(self):
        with make_simulator(1) as simulator:
            simulator.set_cwnd_max(20_000)
            simulator.run(S)
            (row,) = simulator.peek_samples()
            action = make_actions(1)
            action["subflow_id"], action["seq"] = row["subflow_id"], row["seq"]
            action["cwnd_bytes"], action["lease_us"] = 20_001, LEASE_MAX_US
            datapath = SimDatapath(simulator)
            assert list(datapath.write_actions(action)) == [ActionResult.CLAMPED]
            action["cwnd_bytes"] = 20_000
            assert list(datapath.write_actions(action)) == [ActionResult.APPLIED]
            with pytest.raises(InputError, match="cwnd_max_bytes"):
                simulator.set_cwnd_max(0)

    def test_an_empty_action_does_nothing(self):
        with SimulatorBatch([make_simulator(1)], 1) as batch, make_simulator(1) as single:
            batch.step(S)
            single.run(S)
            assert batch.samples.tobytes() == single.peek_samples().tobytes()

    def test_replace_keeps_the_rows(self):
        batch = SimulatorBatch([make_simulator(seed, 2) for seed in range(3)])
        batch.step(S)
        kept = batch.samples[[0, 1, 4, 5]].tobytes()
        fresh = make_simulator(9, 2)
        batch.replace(1, fresh).close()
        assert batch.samples[[0, 1, 4, 5]].tobytes() == kept
        assert batch.samples[2:4].tobytes() == fresh.peek_samples().tobytes()
        batch.step(np.array([2 * S, S // 2, 2 * S]))
        assert fresh.now_ns == S // 2
        assert set(batch.samples["event"]) <= {int(event) for event in Event} | {0}

    def test_replace_wants_the_same_rows(self):
        batch = SimulatorBatch([make_simulator(1, 2)])
        with pytest.raises(InputError, match="expected 2 drl subflows"):
            batch.replace(0, make_simulator(2, 1))

    def test_bad_arguments_are_refused(self):
        simulator = make_simulator(1)
        with pytest.raises(InputError, match="at least one"):
            SimulatorBatch([])
        with pytest.raises(InputError, match="n_threads"):
            SimulatorBatch([simulator], n_threads=0)
        with pytest.raises(InputError, match="one batch at a time"):
            SimulatorBatch([simulator, simulator])
        batch = SimulatorBatch([simulator])
        for until_ns in (1.5, [1, 2], None, [[1]]):
            with pytest.raises(InputError, match="until_ns"):
                batch.step(until_ns)

    def test_time_does_not_go_back(self):
        batch = SimulatorBatch([make_simulator(1), make_simulator(2)])
        batch.step(S)
        with pytest.raises((InputError, SimulatorError), match="of the batch"):
            batch.step([2 * S, 0])

    def test_lifetimes(self):
        simulator = make_simulator(1)
        batch = SimulatorBatch([simulator])
        with pytest.raises(SimulatorError, match="part of a batch"):
            simulator.close()
        batch.close()
        batch.close()
        with pytest.raises(SimulatorError, match="closed"):
            batch.step(S)
        simulator.run(S)
        simulator.close()
        with pytest.raises(SimulatorError, match="closed"):
            SimulatorBatch([simulator])

    def test_the_arrays_outlive_the_batch(self):
        batch = SimulatorBatch([make_simulator(1)])
        samples = batch.step(S)
        assert samples.dtype == SAMPLE_DTYPE
        del batch
        assert samples["subflow_id"][0] != 0
