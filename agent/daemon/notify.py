# SPDX-License-Identifier: BSD-2-Clause
"""systemd's notification protocol (sd_notify(3), sd_watchdog_enabled(3)): datagrams to $NOTIFY_SOCKET."""

import os
import socket
import time
from collections.abc import Mapping

US_PER_S = 1e6


class Notifier:
    """Tells the service manager about our state; without a manager it does nothing.

    A datagram that cannot be sent is dropped: the manager's watchdog judges us then.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        given = os.environ if environment is None else environment
        self._address = given.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        if self._address.startswith("@"):  # abstract
            self._address = "\0" + self._address[1:]
        if self._address[:1] in ("/", "\0"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._watchdog_s = self._read_watchdog(given)
        self._watched_s = time.monotonic()

    @staticmethod
    def _read_watchdog(given: Mapping[str, str]) -> float | None:
        """Return how often to report, half of what the manager waits; None where it does not."""
        text, owner = given.get("WATCHDOG_USEC", ""), given.get("WATCHDOG_PID", "")
        if not (text.isascii() and text.isdecimal()) or int(text) == 0 or owner not in ("", str(os.getpid())):
            return None
        return int(text) / US_PER_S / 2

    def ready(self, status: str) -> None:
        """Report that decisions are made: after start, and after a reload."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Report that a new model is being loaded; `ready` follows whether or not it was taken."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Report that no more leases are granted."""
        self._send("STOPPING=1")

    def watch(self) -> None:
        """Report that the loop turns, as often as the manager wants to hear it. Call it once a turn."""
        if self._watchdog_s is None:
            return
        now_s = time.monotonic()
        if now_s - self._watched_s >= self._watchdog_s:
            self._watched_s = now_s
            self._send("WATCHDOG=1")

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError:
            return
