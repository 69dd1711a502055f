# SPDX-License-Identifier: BSD-2-Clause
"""Benchmarks of the daemon; run.py enters them into its registry.

The daemon's own loop runs in real time against a datapath in memory whose subflows all change before every turn, which
is the worst case: reading and writing through the kernel's maps costs some microseconds more.

What a machine does to a process that sleeps between two turns (cold caches, a processor that is lent to somebody else
meanwhile) is in these figures. So after each turn a yardstick is timed: arithmetic over a few kilobytes, always the
same. What its 99th percentile is above its median, the machine adds; `p99_over_yardstick` is what we add to that.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from learning import make_policy, make_records

from ccdrl.agent.daemon.logs import Log
from ccdrl.agent.daemon.notify import Notifier
from ccdrl.agent.daemon.options import Options
from ccdrl.agent.daemon.service import Daemon
from ccdrl.bindings.datapath import Capabilities, Counters, ResultArray
from ccdrl.bindings.library import ABI_VERSION, SUBFLOWS_MAX, Absent, ActionArray, SampleArray

ROOT = Path(__file__).resolve().parents[2]
INTERVAL_MS = 10.0
CONNECTIONS = (1, 10, 30, 100, 300, 1000)
DURATION_S = 5.0
START_REPETITIONS = 7
YARDSTICK_S = 300e-6


class MemoryDatapath:
    """Connections of two subflows that send 50 segments between two turns; every window is taken."""

    def __init__(self, n_connections: int) -> None:
        self.samples = make_records(2 * n_connections)
        self.capabilities = Capabilities("memory", ABI_VERSION, Absent(0), False, True, SUBFLOWS_MAX)

    def read_samples(self) -> SampleArray:
        """Return all subflows, changed."""
        return self.samples

    def write_actions(self, actions: ActionArray) -> ResultArray:
        """Take all windows."""
        return np.zeros(len(actions), np.int32)

    def counters(self) -> Counters:
        """Return nothing counted."""
        return Counters()

    def close(self) -> None:
        """Nothing to let go of."""


class MemorySource:
    """The datapath with the machine's clock, as a kernel would have it; notes processor time and wall time."""

    end_us: int | None = None
    speed = 1.0
    is_live = True

    def __init__(self, n_connections: int) -> None:
        self.datapath = MemoryDatapath(n_connections)
        self.cpu_s = self.wall_s = 0.0

    def begin(self) -> int:
        """Return CLOCK_MONOTONIC."""
        self.cpu_s, self.wall_s = time.process_time(), time.perf_counter()
        return time.monotonic_ns() // 1000

    def reach(self, now_us: int) -> None:
        """Let every subflow move on: not the daemon's work, so its processor time is left out."""
        begin_cpu_s = time.process_time()
        samples = self.datapath.samples
        samples["seq"] += np.uint64(1)
        samples["timestamp_us"] = now_us
        for name in ("sent_bytes", "delivered_bytes"):
            samples[name] += np.uint64(72_400)
        self.cpu_s += time.process_time() - begin_cpu_s

    def name_connection(self, conn_id: int) -> str | None:
        """Return no name."""
        return None

    def close(self) -> None:
        """Nothing to let go of."""


class Yardstick:
    """Work that takes YARDSTICK_S in a row of its own."""

    def __init__(self) -> None:
        self._left, self._right = np.ones((64, 64), np.float32), np.ones((64, 16), np.float32)
        self._out = np.empty((64, 16), np.float32)
        self.repeats, self.cpu_s = 100, 0.0
        best_s = min(self.measure() for _ in range(50))
        self.repeats, self.cpu_s = max(round(100 * YARDSTICK_S / best_s), 1), 0.0

    def measure(self) -> float:
        """Do it once and return the seconds it took."""
        begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
        for _ in range(self.repeats):
            np.matmul(self._left, self._right, out=self._out)
        self.cpu_s += time.process_time() - begin_cpu_s
        return time.perf_counter() - begin_s


class TimedDaemon(Daemon):
    """The daemon, with the exact times from reading to windows written."""

    decision_us: list[float]
    yardstick_us: list[float]
    yardstick: Yardstick

    def _turn(self) -> None:
        before = self.metrics.decision.total
        super()._turn()
        self.decision_us.append(1e6 * (self.metrics.decision.total - before))
        self.yardstick_us.append(1e6 * self.yardstick.measure())


def measure_daemon(n_connections: int, record: Path | None = None) -> dict[str, Any]:
    """Return the figures of DURATION_S with so many connections, every one decided for at each turn."""
    options = Options(
        model=Path("unused"),
        interval_ms=INTERVAL_MS,
        duration_s=DURATION_S,
        max_subflows=2 * n_connections,
        is_quiet=True,
        record=record,
    )
    source = MemorySource(n_connections)
    daemon = TimedDaemon(options, source, make_policy(), Log("error"), Notifier({}))
    daemon.decision_us, daemon.yardstick_us, daemon.yardstick = [], [], Yardstick()
    try:
        daemon.run()
    finally:
        daemon.close()
    cpu_s = time.process_time() - source.cpu_s - daemon.yardstick.cpu_s
    wall_s = time.perf_counter() - source.wall_s
    turns, yardstick = np.array(daemon.decision_us), np.array(daemon.yardstick_us)
    spread, machine = (float(np.quantile(times, 0.99) / np.median(times)) for times in (turns, yardstick))
    assert daemon.controller.decisions == 2 * n_connections * len(turns)
    return {
        "connections": n_connections,
        "subflows": 2 * n_connections,
        "turns": len(turns),
        "turns_skipped": daemon.metrics.ticks_skipped,
        "decision_median_us": float(np.median(turns)),
        "decision_p99_us": float(np.quantile(turns, 0.99)),
        "decision_max_us": float(turns.max()),
        "yardstick_median_us": float(np.median(yardstick)),
        "yardstick_p99_us": float(np.quantile(yardstick, 0.99)),
        "p99_over_yardstick": spread / machine,
        "core_share": cpu_s / wall_s,
    }


def daemon_cost() -> dict[str, Any]:
    """Decision times and processor share of the daemon at 10 ms; 100 connections: target p99 < 1 ms and < 10 %."""
    return {"interval_ms": INTERVAL_MS, "points": [measure_daemon(n_connections) for n_connections in CONNECTIONS]}


def daemon_start() -> dict[str, Any]:
    """Seconds from exec to READY=1, and resident memory then, of serve.py on the simulator; targets 1 s and 120 MB."""
    seconds, resident = [], []
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder, "notify"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(place)
            notify.settimeout(30.0)
            for _ in range(START_REPETITIONS):
                begin_s = time.perf_counter()
                command = [sys.executable, str(ROOT / "serve.py"), "--scenario", "idle-pair", "--quiet"]
                process = subprocess.Popen(command, env={**os.environ, "NOTIFY_SOCKET": place})
                try:
                    while b"READY=1" not in notify.recv(4096):
                        pass
                    seconds.append(time.perf_counter() - begin_s)
                    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
                    resident.append(int(status.split("VmRSS:")[1].split()[0]) * 1024)
                finally:
                    process.kill()
                    process.wait()
    return {"start_s": float(np.median(seconds)), "start_s_all": seconds, "resident_bytes": max(resident)}
