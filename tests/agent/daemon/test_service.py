# SPDX-License-Identifier: BSD-2-Clause
"""The loop against a datapath that misbehaves, models that are broken, and the evaluation that it must agree with."""

import shutil
import time

import numpy as np
import pytest

from ccdrl.agent.contenders import Contender
from ccdrl.agent.daemon.logs import Log
from ccdrl.agent.daemon.models import load_model
from ccdrl.agent.daemon.notify import Notifier
from ccdrl.agent.daemon.options import Options
from ccdrl.agent.daemon.service import Daemon
from ccdrl.agent.daemon.sources import SimulatorSource
from ccdrl.agent.evaluation import Drive, RunSpec
from ccdrl.agent.policy import Policy, load_policy
from ccdrl.bindings.datapath import Capabilities
from ccdrl.bindings.errors import DatapathError
from ccdrl.bindings.fake_datapath import FakeDatapath, Fault
from ccdrl.bindings.fake_subflow import CWND_MAX_BYTES, MSS_BYTES
from ccdrl.bindings.library import Flag
from ccdrl.envs.scenario import load_scenario


class Answer:
    """A policy that answers every row with the same number, beside an artifact's checksum."""

    def __init__(self, value, artifact):
        self.value, self.artifact = value, artifact

    def act(self, observations):
        return np.full(len(observations), self.value, np.float32)


@pytest.fixture
def answer(agent):
    artifact = load_policy(agent).artifact
    return lambda value: Answer(value, artifact)


class Spy:
    """Keeps what was written to a datapath."""

    def __init__(self, datapath):
        self._datapath = datapath
        self.written = []

    def __getattr__(self, name):
        return getattr(self._datapath, name)

    def write_actions(self, actions):
        self.written.append(actions.copy())
        return self._datapath.write_actions(actions)


def test_grants_leases_and_counts(make_run):
    datapath = FakeDatapath((2, 1))
    run = make_run(datapath)
    run.daemon.run()
    counters = datapath.counters()
    assert counters.applied + counters.clamped == run.daemon.controller.decisions > 60
    assert counters.expired == counters.malformed == counters.unknown == counters.stale == 0
    assert all(subflow.is_in_lease for subflow in datapath.subflows.values())
    results = run.daemon.metrics.results
    assert (results["applied"], results["clamped"]) == (counters.applied, counters.clamped)
    assert [line["event"] for line in run.events()] == ["serving", "stopped"]


def test_the_fallback_takes_over_after_the_end(make_run):
    datapath = FakeDatapath((2,))
    make_run(datapath, duration_s=1.0).daemon.run()
    datapath.advance(2_000_000)  # the longest lease
    assert datapath.counters().expired == 2
    assert (datapath.read_samples()["flags"] & Flag.FALLBACK).all()


def test_shadow_writes_nothing_and_logs_what_it_wants(make_run):
    datapath = Spy(FakeDatapath((2,)))
    run = make_run(datapath, is_shadow=True)
    run.daemon._status_s -= 10.0
    run.daemon.run()
    assert datapath.written == []
    assert run.daemon.controller.decisions > 20
    assert datapath.counters().applied == 0
    wanted = run.events("shadow")
    assert {line["subflow"] for line in wanted} == {"0x1", "0x2"}
    assert all(line["wanted_bytes"] >= 2 * MSS_BYTES for line in wanted)


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.CLOSE])
def test_a_fault_does_not_end_it(make_run, fault):
    """One kind of fault on half of the calls: the daemon lives, windows stay bounded, and it recovers."""
    script = {call: fault for call in range(10, 200, 2)}
    datapath = FakeDatapath((2, 2), script=script)
    run = make_run(datapath, duration_s=3.0)
    run.daemon.run()
    assert run.daemon.metrics.ticks == 300
    assert all(2 * MSS_BYTES <= each.cwnd_bytes <= CWND_MAX_BYTES for each in datapath.subflows.values())
    assert all(each.is_in_lease for each in datapath.subflows.values())
    if fault is Fault.REFUSE:
        assert run.daemon.metrics.write_refusals > 0
        assert run.events("write_refused")
    guard = run.daemon.controller.guard.counters
    assert (guard.samples_foreign > 0) == (fault is Fault.WRONG_ABI)
    assert (guard.samples_future > 0) == (fault is Fault.EXTREME)


@pytest.mark.parametrize("seed", range(3))
def test_random_faults_do_not_end_it(make_run, seed):
    datapath = FakeDatapath((3, 1, 2), fault_ratio=0.3, seed=seed)
    run = make_run(datapath, duration_s=5.0)
    run.daemon.run()
    assert run.daemon.metrics.ticks == 500
    assert all(each.cwnd_bytes <= CWND_MAX_BYTES for each in datapath.subflows.values())
    run.daemon.render_metrics()


def test_a_datapath_that_goes_away_is_an_error(make_run):
    run = make_run(FakeDatapath((2,), script={50: Fault.CLOSE}))
    with pytest.raises(DatapathError, match="closed"):
        run.daemon.run()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_model_that_is_not_finite_leaves_the_fallback(make_run, answer, value):
    datapath = Spy(FakeDatapath((2,)))
    run = make_run(datapath, policy=answer(value))
    run.daemon.run()
    assert datapath.written == []
    assert run.daemon.controller.guard.counters.actions_not_finite == run.daemon.controller.decisions > 20
    assert (datapath.read_samples()["flags"] & Flag.FALLBACK).all()


@pytest.mark.parametrize("value", [1e30, -1e30])
def test_a_model_of_extremes_stays_bounded(make_run, answer, value):
    datapath = Spy(FakeDatapath((2,)))
    run = make_run(datapath, policy=answer(value), cwnd_max_bytes=100_000)
    run.daemon.run()
    windows = np.concatenate([actions["cwnd_bytes"] for actions in datapath.written])
    assert windows.min() >= 2 * MSS_BYTES
    assert windows.max() <= 100_000
    assert run.daemon.controller.guard.counters.actions_clipped == run.daemon.controller.decisions


def test_weights_that_overflow_leave_the_fallback(make_run, agent):
    """Finite weights, infinite sums: inf - inf inside the network."""
    policy = load_policy(agent)
    for weights in policy._weights:
        weights[::2], weights[1::2] = 3e38, -3e38
    run = make_run(FakeDatapath((2,)), policy=policy)
    run.daemon.run()
    assert run.daemon.controller.guard.counters.actions_not_finite > 20
    assert run.daemon.metrics.results["applied"] == 0


def test_a_model_that_cannot_decide_is_not_taken(agent, monkeypatch):
    """The rehearsal finds it before it is in service."""
    monkeypatch.setattr(Policy, "act", lambda policy, observations: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load_model(agent)


def wait_for_loader(daemon):
    """Called between two turns: lets the loading thread finish, so that the swap comes with the next one."""
    deadline_s = time.monotonic() + 20
    while daemon._loader.is_busy and daemon._loader._loaded.empty() and time.monotonic() < deadline_s:
        time.sleep(0.005)


def test_reload_swaps_the_model_without_a_gap(make_run, agent, save_agent):
    datapath = FakeDatapath((2,))

    def change():
        save_agent(agent, 2)
        run.daemon.reload()
        run.daemon.reload()

    run = make_run(datapath, at={50: change, 51: lambda: wait_for_loader(run.daemon)})
    before = load_policy(agent).artifact.checksum
    run.daemon.run()
    assert load_policy(agent).artifact.checksum != before
    assert run.daemon._policy.artifact.checksum == load_policy(agent).artifact.checksum
    assert run.daemon.controller.policy is run.daemon._policy
    assert run.daemon.metrics.reloads == 1  # two requests at once are one
    assert run.daemon.metrics.reload_failures == 0
    assert datapath.counters().expired == 0
    assert run.events("reloaded")


def break_weights(agent):
    place = agent / "policy.safetensors"
    content = bytearray(place.read_bytes())
    content[-5] ^= 0xFF
    place.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        break_weights,
        lambda agent: (agent / "policy.json").write_text("{"),
        lambda agent: (agent / "policy.json").write_text("[" * 100_000),
        shutil.rmtree,
    ],
    ids=["weights", "json", "nested", "gone"],
)
def test_a_broken_new_model_leaves_the_old_one(make_run, agent, damage):
    datapath = FakeDatapath((2,))

    def change():
        damage(agent)
        run.daemon.reload()

    run = make_run(datapath, at={50: change, 51: lambda: wait_for_loader(run.daemon)})
    old = run.daemon._policy
    run.daemon.run()
    assert run.daemon.controller.policy is run.daemon._policy is old
    assert (run.daemon.metrics.reloads, run.daemon.metrics.reload_failures) == (0, 1)
    (line,) = run.events("reload_failed")
    assert line["level"] == "error"
    assert str(agent) in line["reason"]
    assert datapath.counters().expired == 0


def test_subflows_that_come_and_go_do_not_leak(make_run):
    datapath = FakeDatapath((2,))
    run = make_run(datapath, duration_s=4.0, max_subflows=4)
    reach = run.daemon.source.reach

    def churn(now_us):
        reach(now_us)
        if run.daemon.source.turns % 5 == 0:
            live = datapath._live()
            datapath.close_subflow(live[0].subflow_id)
            datapath._add(live[0].conn_id, 0)

    run.daemon.source.reach = churn
    run.daemon.run()
    assert len(datapath.subflows) > 70
    assert run.daemon.controller.n_subflows == 2
    assert run.daemon.controller.refused == 0


def test_restart_takes_over_where_the_fallback_was(make_run):
    datapath = FakeDatapath((2,))
    make_run(datapath, duration_s=1.0).daemon.run()
    datapath.advance(3_000_000)
    assert datapath.counters().expired == 2
    second = make_run(datapath, duration_s=1.0)
    second.daemon.run()
    assert second.daemon.metrics.results["applied"] + second.daemon.metrics.results["clamped"] > 20
    assert all(subflow.is_in_lease for subflow in datapath.subflows.values())


class Clockless:
    """A live source without subflows: only time passes."""

    end_us, speed, is_live = None, 1.0, True

    def __init__(self, stall_s):
        self.datapath = Spy(FakeDatapath((1,)))
        self._stall_s = stall_s
        self.times_us = []

    def begin(self):
        return time.monotonic_ns() // 1000

    def reach(self, now_us):
        self.times_us.append(now_us)
        if len(self.times_us) == 10:
            time.sleep(self._stall_s)

    def name_connection(self, conn_id):
        return None


def test_a_live_loop_that_was_stopped_leaves_turns_out(agent):
    """Half a second asleep, as after SIGSTOP: turns stay on the grid, and the missed ones are counted, not made up."""
    source = Clockless(0.5)
    options = Options(model=agent, duration_s=1.0, is_quiet=True)
    daemon = Daemon(options, source, load_policy(agent), Log("error"), Notifier({}))
    daemon.run()
    daemon.close()
    steps = np.diff(source.times_us)
    assert (steps % options.tick_us == 0).all()
    assert steps.max() >= 500_000
    assert daemon.metrics.ticks_skipped >= 49
    assert daemon.metrics.ticks + daemon.metrics.ticks_skipped == pytest.approx(100, abs=2)


@pytest.mark.parametrize(
    ("interval_ms", "tick_us"), [(None, 10_000), (10, 10_000), (5, 5_000), (15, 7_500), (100, 10_000)]
)
def test_turns_divide_the_interval(agent, interval_ms, tick_us):
    assert Options(model=agent, interval_ms=interval_ms).tick_us == tick_us


def test_turns_that_do_not_divide_the_interval_exactly_are_longer(agent):
    options = Options(model=agent, interval_ms=100 / 3)
    assert 4 * options.tick_us >= options.interval_us


@pytest.mark.parametrize("name", ["idle-pair", "shared-bottleneck-reno"])
def test_decides_as_the_evaluation_does(agent, name):
    """The same scenario and seed through serve and compare: every window equal, and every byte delivered."""
    scenario = load_scenario(name)
    drive = Drive(RunSpec(scenario, Contender("drl", agent), 3, agent))
    expected, step = [], drive._controller.step

    def note(samples, now_us):
        actions = step(samples, now_us)
        if len(actions):
            expected.append(actions.tobytes())
        return actions

    drive._controller.step = note
    drive.run(5 * 10**9)
    source = SimulatorSource(name, None, 3, 1000.0)
    source.datapath = spy = Spy(source.datapath)
    options = Options(model=agent, duration_s=5.0, is_quiet=True)
    daemon = Daemon(options, source, load_policy(agent), Log("error"), Notifier({}))
    daemon.run()
    daemon.close()
    assert [actions.tobytes() for actions in spy.written] == expected
    assert len(expected) > 50
    simulator = source._network.simulator
    assert simulator.flow_stats(0).goodput_bytes == drive.simulator.flow_stats(0).goodput_bytes
    source.close()


def test_capabilities_name_the_datapath_in_the_metrics(make_run):
    run = make_run(FakeDatapath((1,)))
    assert isinstance(run.daemon.source.datapath.capabilities, Capabilities)
    assert 'datapath="fake"' in run.daemon.render_metrics()
