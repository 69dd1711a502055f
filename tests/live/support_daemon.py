# SPDX-License-Identifier: BSD-2-Clause
"""serve.py as a child process without privileges, real traffic beside LIA's, and an eye on the kernel's slots.

The daemon runs as nobody, in the group that the pins were handed to, with no capability left, as packaging/ has it. Its
opponent is the kernel's LIA (`ccdrl_lia`) over links of the same kind in the same run: whatever else keeps the machine
busy slows both.
"""

import grp
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ccdrl.agent import live_controllers
from ccdrl.agent.daemon.options import DEFAULT_MODEL
from ccdrl.bindings.library import Event, Flag
from ccdrl.bindings.linux import loader
from ccdrl.bindings.linux.maps import open_maps
from ccdrl.bindings.linux.status import read_status
from ccdrl.bindings.network import EventConfig, FlowConfig, LinkConfig, PathConfig
from ccdrl.models.artifact import Artifact, load_artifact, save_artifact
from ccdrl.tests.live.support_datapath import CWND_MAX_BYTES, loaded, require_machine, trickle, wait_until

if live_controllers.missing_requirement() is None:
    from ccdrl.bindings.testbed.bed import Bed, BedConfig, BedFlow, BedResult

NOBODY = 65534
READY_S = 20.0
MS, S = 1_000_000, 1_000_000_000
LINKS = ((12, 10), (8, 30))
"""Mbit/s and one-way delay in ms of the two links of each connection."""
WARMUP_S = 3
SHARE_OF_LIA = 0.8
"""What every fault must leave of the goodput that LIA has in the same run."""
CONTROLLERS = (loader.OBJECTS / "ccdrl.bpf.o", loader.OBJECTS / "ccdrl_couplings.bpf.o")
FALLBACK_MIN_US, FALLBACK_MAX_US, FALLBACK_SRTTS = 100_000, 2_000_000, 4


def require_daemon() -> None:
    """Skip where the daemon, the controllers or the test bed cannot run."""
    require_machine()
    if (missing := live_controllers.missing_requirement()) is not None:
        pytest.skip(f"this machine lacks {missing}")
    if not CONTROLLERS[1].exists():
        pytest.skip("this machine lacks the compiled couplings (clang was missing when the package was built)")


def find_group() -> grp.struct_group:
    """Return a group that nobody is in: the one that the pins go to."""
    return next(group for group in grp.getgrall() if group.gr_gid not in (0, NOBODY))


@contextmanager
def controllers(**options: Any) -> Iterator[Path]:
    """Give the folder of pins of freshly loaded controllers, handed to the group."""
    with loaded(objects=CONTROLLERS, group=find_group().gr_name, **options) as pin_dir:
        pin_dir.parent.chmod(0o755)
        yield pin_dir


@contextmanager
def open_folder() -> Iterator[Path]:
    """Give a folder that everybody may read, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="ccdrl-live-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


class DaemonProcess:
    """A running serve.py, ready when the constructor returns; a context manager that ends it with force."""

    def __init__(self, pin_dir: Path, model: Path = DEFAULT_MODEL, *options: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ccdrl-live-")
        folder = Path(self._folder.name)
        folder.chmod(0o755)
        self._log = folder / "log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        groups = ["--reuid", str(NOBODY), "--regid", str(NOBODY), "--groups", str(find_group().gr_gid)]
        rights = ["--no-new-privs", "--bounding-set", "-all", "--inh-caps", "-all", "--pdeathsig", "KILL"]
        command = ["setpriv", *groups, *rights, "--", sys.executable, "-m", "ccdrl.serve", "--datapath", "linux"]
        command += [
            "--pin-dir",
            str(pin_dir),
            "--model",
            str(model),
            "--metrics",
            str(self.port),
            "--log-json",
            *options,
        ]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, self._log.open("wb") as log:
            place = str(folder / "notify")
            notify.bind(place)
            os.chmod(place, 0o666)
            notify.settimeout(0.1)
            environment = {**os.environ, "NOTIFY_SOCKET": place}
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=environment)
            try:
                self._wait_until_ready(notify)
            except BaseException:
                self.close()
                raise

    def _wait_until_ready(self, notify: socket.socket) -> None:
        end_s = time.monotonic() + READY_S
        while time.monotonic() < end_s:
            assert self.process.poll() is None, self.messages()
            try:
                if b"READY=1" in notify.recv(4096).split(b"\n"):
                    return
            except TimeoutError:
                continue
        raise AssertionError(f"not ready after {READY_S:g} s: {self.messages()}")

    def __enter__(self) -> "DaemonProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._folder.cleanup()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def messages(self) -> str:
        return self._log.read_text(errors="replace")

    def metrics(self) -> dict[str, float]:
        """Return the page of metrics as numbers by name and labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def status(self) -> dict[str, str]:
        """Return /proc/PID/status."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return {key: value.strip() for key, value in (line.split(":", 1) for line in text.splitlines())}

    def rss_bytes(self) -> int:
        return 1024 * int(self.status()["VmRSS"].split()[0])

    def count_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def assert_unprivileged(self) -> None:
        status = self.status()
        assert set(status["Uid"].split()) == {str(NOBODY)}
        assert set(status["Gid"].split()) == {str(NOBODY)}
        assert status["Groups"].split() == [str(find_group().gr_gid)]
        assert {status[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {""}
        assert status["NoNewPrivs"] == "1"


@dataclass(frozen=True)
class Look:
    """The slots at one moment: rows of live subflows that have an RTT."""

    time_us: int
    subflow_id: Any
    cwnd_bytes: Any
    srtt_us: Any
    lease_end_us: Any
    is_fallback: Any


class Watcher:
    """Looks at the kernel's slots every few milliseconds; asserts nothing until it is asked."""

    INTERVAL_S = 0.004

    def __init__(self, pin_dir: Path) -> None:
        self._maps = open_maps(pin_dir)
        self._is_done = False
        self.cwnd_highest_bytes = 0
        self.cwnd_lowest_segments = 2**31
        self.looks: list[Look] = []
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_done = True
        self._thread.join()

    def look(self) -> Look:
        """Look once. Torn rows are possible and harmless: each field is read whole."""
        # The kernel writes meanwhile, and flatnonzero insists that its argument stands still.
        rows = self._maps.states[np.flatnonzero(self._maps.changes.copy())].copy()
        sample = rows["sample"]
        is_live = (sample["event"] != Event.CLOSED) & (sample["subflow_id"] != 0) & (sample["srtt_us"] > 0)
        sample, lease_end_us = sample[is_live], rows["lease_end_us"][is_live]
        return Look(
            time_us=time.monotonic_ns() // 1000,
            subflow_id=sample["subflow_id"],
            cwnd_bytes=sample["cwnd_bytes"],
            srtt_us=sample["srtt_us"],
            lease_end_us=lease_end_us,
            is_fallback=(sample["flags"] & Flag.FALLBACK) != 0,
        )

    def _watch(self) -> None:
        mss_bytes = self._maps.states["sample"]["mss_bytes"]
        while not self._is_done:
            look = self.look()
            if look.cwnd_bytes.size:
                self.cwnd_highest_bytes = max(self.cwnd_highest_bytes, int(look.cwnd_bytes.max()))
                segments = int(look.cwnd_bytes.min()) // max(int(mss_bytes.max()), 1)
                self.cwnd_lowest_segments = min(self.cwnd_lowest_segments, segments)
            self.looks.append(look)
            time.sleep(self.INTERVAL_S)

    def count_leased(self) -> int:
        """A subflow that is silent keeps the record of its last lease: the kernel looks at the clock with each ACK."""
        look = self.look()
        return int(np.count_nonzero(~look.is_fallback & (look.lease_end_us > look.time_us)))

    def wait_for_leases(self, count: int, timeout_s: float = 5.0) -> None:
        wait_until(lambda: self.count_leased() == count, f"{count} subflows are in lease", timeout_s)

    def assert_bounded(self) -> None:
        """No window ever stood above the administrator's maximum or below a segment (that of an RTO)."""
        assert self.cwnd_highest_bytes <= CWND_MAX_BYTES
        assert self.cwnd_lowest_segments >= 1

    def assert_fallback_since(self, time_us: int, count: int) -> float:
        """After a daemon fell silent at `time_us`, `count` subflows were handed over in time; returns ms of the last.

        A lease ends max(4 srtt, 100 ms), at most 2 s, after it was written, by the kernel's own clock; the srtt is of
        the record that it answered, so one that came just before counts too. The hand-over is the next ACK's work.
        """
        before = [look for look in self.looks if look.time_us <= time_us][-50:]
        after = [look for look in self.looks if look.time_us > time_us]
        srtt_us = max(int(look.srtt_us.max()) for look in before if look.srtt_us.size)
        bound_us = min(max(FALLBACK_SRTTS * srtt_us, FALLBACK_MIN_US), FALLBACK_MAX_US)
        ends_us = max(int(look.lease_end_us.max()) for look in after if look.lease_end_us.size)
        assert ends_us - time_us <= bound_us, "a lease of another length"
        handed = next(look for look in after if look.is_fallback.size >= count and look.is_fallback.all())
        assert handed.time_us - time_us <= bound_us + srtt_us + 50_000, "no ACK of a sender at work comes so late"
        return (handed.time_us - time_us) / 1000


class Race:
    """A connection under the agent beside one under LIA, each over two links of its own; runs in a thread."""

    def __init__(self, duration_s: float, events: tuple[EventConfig, ...] = ()) -> None:
        links = tuple(
            LinkConfig(rate_bps=mbps * 1e6, delay_ns=delay_ms * MS, limit_bytes=round(mbps * 125 * 2 * delay_ms * 1.5))
            for _ in range(2)
            for mbps, delay_ms in LINKS
        )
        # What happens to a link of the agent's happens to LIA's.
        events = events + tuple(replace(event, link=event.link + len(LINKS)) for event in events)
        flows = tuple(
            BedFlow(FlowConfig(cc=name, paths=tuple(PathConfig((first + i,)) for i in range(len(LINKS)))), cc)
            for first, name, cc in ((0, "drl", "ccdrl"), (len(LINKS), "lia", "ccdrl_lia"))
        )
        self._bed = Bed(BedConfig(links, flows, events, 1, 1448, WARMUP_S * S, round(duration_s * S)))
        self._answers: list[BedResult | BaseException] = []
        self._thread = threading.Thread(target=self._run)
        self._begin_s = 0.0

    def __enter__(self) -> "Race":
        self._begin_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._bed.close()

    def _run(self) -> None:
        try:
            self._answers.append(self._bed.run())
        except BaseException as error:  # handed over to the test
            self._answers.append(error)

    def elapsed_s(self) -> float:
        return time.monotonic() - self._begin_s

    def wait_until(self, time_s: float) -> None:
        """Sleep until so long after the begin."""
        time.sleep(max(time_s - self.elapsed_s(), 0.0))

    def finish(self) -> BedResult:
        """Wait for the end and return the figures of (agent, LIA)."""
        self._thread.join()
        (answer,) = self._answers
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def assert_goodput(self, share: float = SHARE_OF_LIA) -> float:
        """The agent's connection had at least `share` of LIA's goodput after the warm-up; returns its share."""
        ours, lia = (flow.goodput_bytes for flow in self.finish().flows)
        print(f"goodput {ours * 8e-6:.1f} Mbit beside LIA's {lia * 8e-6:.1f}: {ours / lia:.2f}")
        assert ours >= share * lia
        return ours / lia


def make_model(path: Path, change: Callable[[dict[str, Any]], None], *, is_normalised: bool = True) -> Path:
    """Save the shipped agent with other weights, readable by all; `change` gets copies by name. Returns the path.

    Without is_normalised its figures are finite but beyond float32, so that every column is infinity times zero.
    """
    artifact = load_artifact(DEFAULT_MODEL)
    weights = {name: array.copy() for name, array in artifact.weights.items()}
    change(weights)
    normaliser = artifact.normaliser
    if not is_normalised:
        beyond = np.full_like(normaliser.mean, 1e300)
        normaliser = replace(normaliser, mean=beyond, variance=beyond)
    return publish(replace(artifact, weights=weights, normaliser=normaliser), path)


def publish(artifact: Artifact, path: Path) -> Path:
    save_artifact(artifact, path)
    path.chmod(0o755)
    for file in path.iterdir():
        file.chmod(0o644)
    return path


def count_kernel(pin_dir: Path) -> dict[str, int]:
    counted: dict[str, int] = read_status(pin_dir)["kernel"]
    return counted


def assert_no_slot_leaked(pin_dir: Path, timeout_s: float = 30.0) -> None:
    """All subflows end, every slot is free, and whatever came went."""
    with trickle():  # which has one itself
        wait_until(lambda: read_status(pin_dir)["slots"]["used"] <= 1, "all slots are free again", timeout_s)
    wait_until(lambda: read_status(pin_dir)["slots"]["used"] == 0, "all slots are free again", timeout_s)
    counted = count_kernel(pin_dir)
    wait_until(lambda: count_kernel(pin_dir)["closed"] == count_kernel(pin_dir)["created"], "all are closed", timeout_s)
    assert counted["created"] > 0
