# SPDX-License-Identifier: BSD-2-Clause
"""An emulator between socket pairs instead of TUN devices: tests put packets in and see when they come out. No root."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from ccdrl.bindings.network import EventConfig, LinkConfig
from ccdrl.bindings.stats import LinkStats

try:
    from ccdrl.bindings.testbed import library
    from ccdrl.bindings.testbed.bed import EmulatorFigures, read_struct
except ImportError:  # another system than Linux
    library = None

MS, S = 1_000_000, 1_000_000_000
MTU_BYTES = 1500
HEADERS_BYTES = 40
POOL_PACKETS = 8192
BURST_MAX = 100
"""Packets that fit into a socket's buffer everywhere."""

needs_testbed = pytest.mark.skipif(library is None, reason="this machine lacks the test bed's library (Linux only)")


@dataclass(frozen=True)
class Arrival:
    """A packet that came out: nanoseconds from the begin of the run, the number it was sent with, and its size."""

    time_ns: int
    number: int
    wire_bytes: int


class Wire:
    """Senders at ports 1, 2, … and the receiver at 0 around an emulator; route i belongs to port i + 1."""

    def __init__(
        self,
        *links: LinkConfig,
        routes: tuple[tuple[int, ...], ...] = ((0,),),
        extra_delay_ns: int = 0,
        events: tuple[EventConfig, ...] = (),
        seed: int = 1,
    ) -> None:
        lib = library.lib
        self._stack = ExitStack()
        self._emulator = library.own(lib.testbed_emulator_new(seed, MTU_BYTES, POOL_PACKETS), lib.testbed_emulator_free)
        self._begin_ns = 0
        self._is_over = threading.Event()
        self.ends: list[int] = []
        self.inside: list[socket.socket] = []
        """The emulator's ends of the ports."""
        self.arrivals: list[list[Arrival]] = [[] for _ in range(1 + len(routes))]
        try:
            self._set_up(links, routes, extra_delay_ns, events)
        except BaseException:
            self._stack.close()
            raise

    def _set_up(
        self,
        links: tuple[LinkConfig, ...],
        routes: tuple[tuple[int, ...], ...],
        extra_delay_ns: int,
        events: tuple[EventConfig, ...],
    ) -> None:
        lib, ffi = library.lib, library.ffi
        self.ends = [self._add_port() for _ in range(1 + len(routes))]
        for link in links:
            config, _kept = library.link_struct(link)
            library.check(lib.testbed_emulator_link_add(self._emulator, config), "link")
        for index, route in enumerate(routes):
            fields = {"n_links": len(route), "links": route, "extra_delay_ns": extra_delay_ns, "port": index + 1}
            library.check(
                lib.testbed_emulator_route_add(self._emulator, ffi.new("struct testbed_route *", fields)), "route"
            )
        for event in events:
            config = library.event_struct(event, len(links))
            library.check(lib.testbed_emulator_event_add(self._emulator, config), "event")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _add_port(self) -> int:
        """Return our end of a new port."""
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in pair:
            self._stack.enter_context(end)
            end.setblocking(False)
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, 8 << 20)
        library.check(library.lib.testbed_emulator_port_add(self._emulator, pair[1].fileno()), "port")
        self.inside.append(pair[1])
        return pair[0].fileno()

    def run(self, duration_ns: int, *sends: tuple[Any, ...], warmup_ns: int = 0) -> None:
        """Run for so long; sends are (time_ns, port, number, wire_bytes[, count[, route]]) in order of time.

        Small bursts at time 0 wait in the port when the run begins, so they arrive at once.
        """
        lib = library.lib
        waiting = [send for send in sends if send[0] == 0 and (*send, 1)[4] <= BURST_MAX]
        for send in waiting:
            self.send(*send[1:])
        self._begin_ns = lib.testbed_now_ns() + 20 * MS
        results = []

        def carry() -> None:
            results.append(lib.testbed_emulator_run(self._emulator, self._begin_ns, warmup_ns, duration_ns))

        threads = [threading.Thread(target=carry), threading.Thread(target=self._receive)]
        for thread in threads:
            thread.start()
        try:
            for time_ns, *send in sends[len(waiting) :]:
                time.sleep(max(0.0, (self._begin_ns + time_ns - lib.testbed_now_ns()) / S))
                self.send(*send)
        finally:
            threads[0].join()
            self._is_over.set()
            threads[1].join()
        library.check(results[0], "run")

    def send(self, port: int, number: int, wire_bytes: int, count: int = 1, route: int | None = None) -> None:
        """Put packets into a port: data from sender `port`, or from port 0 the way back to sender `route` + 1."""
        route = port - 1 if route is None else route
        ours, theirs = library.ADDRESS_SENDERS + route, library.ADDRESS_RECEIVER
        source, target = (theirs, ours) if port == 0 else (ours, theirs)
        for n in range(number, number + count):
            ip = struct.pack("!BBHHHBBHII", 0x45, 0, wire_bytes, 0, 0, 64, 6, 0, source, target)
            tcp = struct.pack("!HHIIBBHHH", 20000, 5001, n, 0, 5 << 4, 0x10, 65535, 0, 0)
            self._write(port, (ip + tcp).ljust(wire_bytes, b"\0"))

    def _write(self, port: int, packet: bytes) -> None:
        while True:
            try:
                os.write(self.ends[port], packet)
                return
            except BlockingIOError:  # full; the emulator is about to take some
                time.sleep(0.001)

    def _receive(self) -> None:
        while True:
            # Read once more after the end, for what is still there.
            is_last = self._is_over.is_set()
            ready, _, _ = select.select(self.ends, [], [], 0.02)
            for end in ready:
                self._take(end)
            if is_last:
                return

    def _take(self, end: int) -> None:
        while True:
            try:
                data = os.read(end, 65536)
            except BlockingIOError:
                return
            time_ns = library.lib.testbed_now_ns() - self._begin_ns
            (number,) = struct.unpack_from("!I", data, 24)
            self.arrivals[self.ends.index(end)].append(Arrival(time_ns, number, len(data)))

    @property
    def received(self) -> list[Arrival]:
        """What reached the receiver."""
        return self.arrivals[0]

    def figures(self) -> EmulatorFigures:
        out = library.ffi.new("struct testbed_emulator_figures *")
        library.lib.testbed_emulator_figures(self._emulator, out)
        return read_struct(EmulatorFigures, out)

    def link(self, index: int = 0) -> LinkStats:
        out = library.ffi.new("struct ccdrl_link_stats *")
        library.check(library.lib.testbed_emulator_link_stats(self._emulator, index, out), "link")
        return read_struct(LinkStats, out)
