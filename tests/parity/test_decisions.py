# SPDX-License-Identifier: BSD-2-Clause
"""One recorded sequence of samples through every datapath that can replay it: the same decisions, byte for byte."""

import numpy as np
import pytest

from ccdrl.agent.controller import Controller
from ccdrl.bindings.freebsd.datapath import FreeBSDDatapath
from ccdrl.bindings.library import SAMPLE_DTYPE, Event, Flag, State
from ccdrl.bindings.network import FlowConfig, PathConfig
from ccdrl.bindings.sim_datapath import SimDatapath
from ccdrl.bindings.simulator import Simulator
from ccdrl.envs.observation import OBSERVATION_SIZE
from ccdrl.tests.bindings.freebsd.conftest import machine, native  # noqa: F401 (fixtures)
from ccdrl.tests.bindings.networks import link

STEP_US = 10_000
STEPS = 800
SLOT_BITS = 16


class Policy:
    """A fixed random network: any difference in its input shows."""

    def __init__(self):
        self.weights = np.random.default_rng(7).normal(0, 0.2, OBSERVATION_SIZE).astype(np.float32)

    def act(self, observations):
        return np.tanh(np.einsum("ij,j->i", observations, self.weights)).astype(np.float32)


@pytest.fixture(scope="module")
def recording():
    """What the simulator gave in 8 s, one read every 10 ms; ids as Linux gives them, slots in the low bits."""
    simulator = Simulator(seed=1)
    for config in (link(10, 10, 40), link(6, 30, 60, 0.002)):
        simulator.add_link(config)
    simulator.add_flow(FlowConfig("drl", (PathConfig((0,)), PathConfig((1,)))))
    datapath, controller = SimDatapath(simulator), Controller(Policy())
    reads = []
    for _ in range(STEPS):
        simulator.run(simulator.now_ns + STEP_US * 1000)
        samples = datapath.read_samples().copy()
        datapath.write_actions(controller.step(samples, simulator.now_ns // 1000))
        samples["subflow_id"] = np.uint64(1000 << SLOT_BITS) | samples["subflow_id"] - np.uint64(1)
        reads.append(np.sort(samples, order="subflow_id"))
    simulator.close()
    events = np.concatenate(reads)
    assert (events["state"] == State.RECOVERY).any()
    assert (events["flags"] & Flag.CWND_LIMITED).any()
    return reads


def decide(reads, read_through):
    """Return every decision's observations and cwnd actions, as bytes."""
    decisions = []
    controller = Controller(Policy(), tap=lambda decision: decisions.append(decision.observations.tobytes()))
    for turn, samples in enumerate(reads):
        decisions.append(controller.step(read_through(samples), (turn + 1) * STEP_US).tobytes())
    assert sum(map(len, decisions)) > 100 * OBSERVATION_SIZE * 4
    return decisions


class Replay:
    """A `Transport` that gives what it was told."""

    def __init__(self):
        self.waiting = np.zeros(0, SAMPLE_DTYPE)

    def get_buffer(self, samples):
        samples[: len(self.waiting)] = self.waiting
        return len(self.waiting)

    def update_cwnd(self, actions, results):
        results[:] = 0

    def read_expired(self):
        return 0

    def close(self):
        return None


def test_freebsds_binding(recording):
    replay = Replay()
    datapath = FreeBSDDatapath(replay, capacity=8)

    def read(samples):
        replay.waiting = samples
        return datapath.read_samples()

    assert decide(recording, read) == decide(recording, lambda samples: samples)


def test_freebsds_binding_through_its_system_calls(recording, native, machine):  # noqa: F811
    replay = Replay()
    replay.read_samples = lambda: replay.waiting
    machine.serve_v2(replay)
    datapath = native.open_v2()

    def read(samples):
        replay.waiting = samples
        return datapath.read_samples()

    assert decide(recording, read) == decide(recording, lambda samples: samples)


def test_linux_binding(recording):
    pytest.importorskip("ccdrl.bindings.linux._linux", reason="this machine lacks the Linux binding (it is no Linux)")
    from ccdrl.bindings.linux import library  # noqa: PLC0415
    from ccdrl.bindings.linux.datapath import LinuxDatapath  # noqa: PLC0415
    from ccdrl.bindings.linux.maps import make_memory_maps  # noqa: PLC0415

    assert library.SLOT_BITS == SLOT_BITS
    maps = make_memory_maps(4, cwnd_max_bytes=1 << 30)
    datapath = LinuxDatapath(maps=maps)

    def read(samples):
        for row in samples:
            slot = int(row["subflow_id"]) & (1 << SLOT_BITS) - 1
            states = maps.states
            states["sample"][slot] = row
            states["state_changes"][slot] += row["event"] == Event.STATE
            states["cwnd_limited_acks"][slot] += bool(row["flags"] & Flag.CWND_LIMITED)
            states["rwnd_limited_acks"][slot] += bool(row["flags"] & Flag.RWND_LIMITED)
            states["lease_end_us"][slot] = 0 if row["flags"] & Flag.FALLBACK else 1 << 62
            states["lock"][slot] += 2
            maps.changes[slot] += 1
        return datapath.read_samples()

    assert decide(recording, read) == decide(recording, lambda samples: samples)
