# SPDX-License-Identifier: BSD-2-Clause
"""Hostile maps, too few slots, churn, a controller that is unloaded: the kernel goes on, and its counters say why."""

import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support_datapath import (  # noqa: E402
    CWND_MAX_BYTES,
    SERVERS,
    LiveRig,
    Sink,
    connect,
    loaded,
    make_random_bytes,
    wait_until,
)

from ccdrl.bindings.errors import DatapathError  # noqa: E402
from ccdrl.bindings.library import ABI_VERSION, Event, Flag, State, make_actions  # noqa: E402
from ccdrl.bindings.linux import loader  # noqa: E402
from ccdrl.bindings.linux.datapath import LinuxDatapath  # noqa: E402
from ccdrl.bindings.linux.machine import list_controllers  # noqa: E402
from ccdrl.bindings.linux.maps import open_maps  # noqa: E402
from ccdrl.bindings.linux.status import read_status  # noqa: E402


@pytest.fixture
def rig(network):
    """Return a live connection of two subflows, with a controller of its own."""
    with loaded() as pin_dir:
        rig = LiveRig(network, pin_dir, 64)
        yield rig
        rig.close()


def count_kernel(pin_dir):
    return read_status(pin_dir)["kernel"]


def measure_goodput_mbps(rig, duration_s):
    before = rig.sink.received_bytes
    rig.advance(int(duration_s * 1e6))
    return (rig.sink.received_bytes - before) * 8e-6 / duration_s


class Vandal:
    """Writes rubbish into the controls: bytes, and actions that are almost right."""

    def __init__(self, pin_dir):
        self.maps = open_maps(pin_dir)
        self.rng = np.random.default_rng(1)
        self.is_done = False
        self.thread = threading.Thread(target=self.spoil)

    def spoil(self):
        rounds = 0
        while not self.is_done:
            rounds += 1
            raw = self.maps.controls.view(np.uint8)
            raw[:] = make_random_bytes(raw.size, rounds)
            if rounds % 2:
                self.forge()
            time.sleep(0.001)

    def forge(self):
        """Make each slot an action for its present subflow: odd windows, absurd pacing, short leases."""
        action = self.maps.controls["action"]
        sample = self.maps.states["sample"]
        slots = self.maps.slots
        action["abi"], action["reserved"] = ABI_VERSION, self.rng.integers(0, 8, slots) == 0
        action["subflow_id"] = sample["subflow_id"]
        action["seq"] = sample["seq"] - self.rng.integers(0, 2, slots, np.uint64)
        action["cwnd_bytes"] = self.rng.choice(np.array([1, 3000, 50_000, 2**31, 2**32 - 1], np.uint32), slots)
        action["pacing_rate_bytes_per_s"] = self.rng.choice(np.array([0, 1, 10**6, 2**63], np.uint64), slots)
        action["lease_us"] = self.rng.integers(1, 300_000, slots)
        self.maps.controls["version"] &= ~np.uint32(1)
        self.maps.controls["arrival_us"] = self.rng.choice(
            np.array([0, time.monotonic_ns() // 1000, 2**64 - 1], np.uint64), slots
        )

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_done = True
        self.thread.join()


def test_rubbish_in_the_controls_moves_no_window_out_of_bounds(rig):
    rig.advance(1_000_000)
    before = rig.sink.received_bytes
    with Vandal(rig.pin_dir):
        for _ in range(40):
            rig.advance(100_000)
            for row in rig.datapath.read_samples():
                assert row["mss_bytes"] <= row["cwnd_bytes"] <= CWND_MAX_BYTES
    assert rig.sink.received_bytes - before > 1_000_000, "of 20 MB; two segments a round trip are much less"
    counted = count_kernel(rig.pin_dir)
    for name in ("taken", "clamped", "stale", "malformed", "generation_mismatch"):
        assert counted[name] > 0, counted
    # The last lease is over after 0.3 s, and nothing that the vandal wrote lasts longer.
    rig.advance(1_000_000)
    assert all(row["flags"] & Flag.FALLBACK for row in rig.datapath.read_samples())
    assert measure_goodput_mbps(rig, 3.0) > 20, "of 40 Mbit/s"


def test_rubbish_that_stays_is_looked_at_once(rig):
    maps = open_maps(rig.pin_dir)
    rig.advance(500_000)
    before = count_kernel(rig.pin_dir)
    maps.controls["action"]["subflow_id"] = 12345
    maps.controls["version"] += 2
    rig.advance(1_000_000)
    after = count_kernel(rig.pin_dir)
    assert after["generation_mismatch"] - before["generation_mismatch"] == 2
    assert after["taken"] == before["taken"]


def test_a_writer_that_died_in_the_middle_blocks_nobody(rig):
    rig.advance(500_000)
    maps = open_maps(rig.pin_dir)
    maps.controls["version"] |= np.uint32(1)
    rows = rig.datapath.read_samples().copy()
    actions = make_actions(len(rows))
    for name in ("subflow_id", "seq"):
        actions[name] = rows[name]
    actions["cwnd_bytes"], actions["lease_us"] = 4 * rows["mss_bytes"], 5_000_000
    assert list(rig.datapath.write_actions(actions)) == [0, 0]
    rig.advance(200_000)
    assert list(rig.datapath.read_samples()["cwnd_bytes"]) == list(actions["cwnd_bytes"])


def test_the_kernel_itself_refuses_an_answer_to_a_record_from_before_an_rto(rig):
    """An agent that checks nothing writes into the map: the kernel knows what came before the RTO."""
    rig.advance(500_000)
    rig.strike_rto()
    rig.network.lighten(0)
    maps = open_maps(rig.pin_dir)
    (slot,) = np.flatnonzero(maps.states["sample"]["rto_events"])
    wait_until(lambda: maps.states["sample"]["state"][slot] == State.OPEN, "the path is back", 20.0)
    before = count_kernel(rig.pin_dir)
    for offset, counted in ((-1, [1, 0]), (0, [1, 1])):
        action = maps.controls["action"]
        action["abi"][slot], action["reserved"][slot] = ABI_VERSION, 0
        action["subflow_id"][slot] = maps.states["sample"]["subflow_id"][slot]
        action["seq"][slot] = int(maps.states["rto_seq"][slot]) + offset
        action["cwnd_bytes"][slot], action["lease_us"][slot] = 20_000, 10_000_000
        maps.controls["arrival_us"][slot] = rig.datapath.clock_us()
        maps.controls["version"][slot] += 2
        rig.advance(500_000)
        after = count_kernel(rig.pin_dir)
        assert [after[name] - before[name] for name in ("stale", "taken")] == counted
    assert after["timeouts"] == maps.states["sample"]["rto_events"][slot] >= 2


def test_more_subflows_than_slots_run_in_fallback(network):
    with loaded(slots=2) as pin_dir:
        sink = Sink(network, protocol=socket.IPPROTO_TCP)
        datapath = LinuxDatapath(pin_dir)
        connections = [connect(network, SERVERS[0], sink.port, protocol=socket.IPPROTO_TCP) for _ in range(6)]
        for connection in connections:
            connection.sendall(bytes(200_000))
        wait_until(lambda: sink.received_bytes == 6 * 200_000, "all six connections deliver")
        assert len(datapath.read_samples()) == 2
        assert count_kernel(pin_dir)["no_slot"] == 4
        for connection in connections[:2]:
            connection.close()
        wait_until(lambda: read_status(pin_dir)["slots"]["used"] == 0, "the slots are free again")
        assert [Event(event) for event in datapath.read_samples()["event"]] == [Event.CLOSED] * 2
        late = connect(network, SERVERS[0], sink.port, protocol=socket.IPPROTO_TCP)
        (row,) = datapath.read_samples()
        assert row["event"] == Event.CREATED
        for connection in (*connections[2:], late):
            connection.close()
        wait_until(lambda: count_kernel(pin_dir)["closed"] == 7, "all are closed")
        sink.close()


def test_churn_leaks_no_slot_and_no_record(network):
    with loaded(slots=32) as pin_dir:
        sink = Sink(network, protocol=socket.IPPROTO_TCP)
        datapath = LinuxDatapath(pin_dir)
        created, closed = set(), set()

        def note():
            for row in datapath.read_samples():
                (closed if row["event"] == Event.CLOSED else created).add(int(row["subflow_id"]))

        for _ in range(60):
            wave = [connect(network, SERVERS[0], sink.port, protocol=socket.IPPROTO_TCP) for _ in range(4)]
            note()
            for connection in wave:
                connection.send(b"x" * 5000)
                connection.close()
            note()
        wait_until(lambda: count_kernel(pin_dir)["closed"] == 240, "all are closed")
        note()
        status = read_status(pin_dir)
        assert status["slots"] == {"total": 32, "used": 0, "free": 32, "in_lease": 0}
        assert status["kernel"]["created"] == 240
        assert status["kernel"]["no_slot"] == 0
        assert len(closed) == 240
        assert created <= closed
        sink.close()


def test_connections_outlive_an_unload(network):
    with loaded() as pin_dir:
        rig = LiveRig(network, pin_dir, 64)
        rig.advance(1_000_000)
        loader.unload(pin_dir)
        assert "ccdrl" not in list_controllers()
        with pytest.raises(DatapathError, match="unloaded"):
            rig.datapath.read_samples()
        assert measure_goodput_mbps(rig, 2.0) > 15, "of 40 Mbit/s"
    with loaded() as again:
        rig.pin_dir = again
        second = LiveRig(network, again, 64)
        assert measure_goodput_mbps(rig, 1.0) > 15, "the old connection, under the controller of before"
        second.close()
        rig.close()
