# SPDX-License-Identifier: BSD-2-Clause
"""The agent of a live run: serve.py as a process of its own, ready before the flows start and ended after them."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ccdrl.bindings.testbed.library import BedError

READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
POLL_S = 0.1


class AgentProcess:
    """A running daemon; a context manager. `check` raises BedError once it has ended by itself."""

    def __init__(self, model: Path, pin_dir: Path | None = None) -> None:
        """Start the daemon on the Linux datapath and wait until it says that it is ready. Raises BedError."""
        self._folder = tempfile.TemporaryDirectory(prefix="ccdrl-")
        self._messages = Path(self._folder.name, "messages")
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._start(model, pin_dir)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "AgentProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, model: Path, pin_dir: Path | None) -> None:
        # A run that is killed leaves no daemon.
        command = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "ccdrl.serve"]
        command += ["--model", str(model), "--datapath", "linux", "--quiet"]
        if pin_dir is not None:
            command += ["--pin-dir", str(pin_dir)]
        # The way in which a service tells systemd that it is up (sd_notify(3)).
        place = str(Path(self._folder.name, "notify"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, self._messages.open("wb") as messages:
            notify.bind(place)
            notify.settimeout(POLL_S)
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=messages,
                env={**os.environ, "NOTIFY_SOCKET": place},
            )
            self._wait_until_ready(notify)

    def _wait_until_ready(self, notify: socket.socket) -> None:
        end_s = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < end_s:
            self.check()
            try:
                if b"READY=1" in notify.recv(4096).split(b"\n"):
                    return
            except TimeoutError:
                continue
        raise BedError(f"serve.py: not ready after {READY_TIMEOUT_S:g} s")

    def check(self) -> None:
        """Raise BedError with its last words if the daemon has ended."""
        assert self._process is not None
        status = self._process.poll()
        if status is not None:
            lines = self._messages.read_text(errors="replace").strip().splitlines()
            raise BedError(f"serve.py ended with status {status}: {lines[-1] if lines else 'no message'}")

    def close(self) -> None:
        """End the daemon, with force where it does not go; may be called twice."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()


def start_agent(model: Path, pin_dir: Path | None = None) -> AgentProcess:
    """Return the daemon that serves the artifact in `model`, ready. Raises BedError.

    pin_dir is where the BPF maps are pinned; None: the loader's default.
    """
    return AgentProcess(model, pin_dir)
