# SPDX-License-Identifier: BSD-2-Clause
"""A bed of veth links for connections between namespaces: client, router and server.

Two routes lead from the client through the router to the server; each, and the link behind them, may have a rate (tbf
with a drop-tail queue, whose delay is the only one). Namespaces are named cpl-PID-ROLE and removed whatever happens.
"""

import ctypes
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

IPPROTO_MPTCP = 262
CLONE_NEWNET = 0x40000000
SERVER, SERVER_V6 = "10.77.9.2", "fd77:9::2"
ROUTES = ("10.77.1.1", "10.77.2.1")
QUEUE_BYTES = 100_000
"""40 ms of 20 Mbit/s."""

libc = ctypes.CDLL(None, use_errno=True)


def run(*command: str, is_checked: bool = True) -> str:
    """Run a command; no command of these tests takes longer than half a minute."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if is_checked:
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
    return done.stdout


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 15.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not within {timeout_s} s: {what}"
        time.sleep(0.05)


class Bed:
    """Client, router and server; `mbps` of the two routes and of the link that they share (None: unlimited)."""

    def __init__(self, routes_mbps: tuple[int, int] | None = None, shared_mbps: int | None = None) -> None:
        self.names = {role: f"cpl-{os.getpid()}-{role}" for role in ("client", "router", "server")}
        self._stack = ExitStack()
        try:
            self._set_up(routes_mbps, shared_mbps)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Bed":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()
        for name in self.names.values():
            run("ip", "netns", "delete", name, is_checked=False)

    def ip(self, role: str, *arguments: str) -> str:
        return run("ip", "-n", self.names[role], *arguments)

    def _set_up(self, routes_mbps: tuple[int, int] | None, shared_mbps: int | None) -> None:
        for role, name in self.names.items():
            run("ip", "netns", "add", name)
            settings = ["net.mptcp.enabled=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.tcp_no_metrics_save=1"]
            # A closed subflow whose peer is gone is the kernel's for minutes otherwise, and so is its entry.
            settings += ["net.ipv4.tcp_orphan_retries=1", "net.ipv4.tcp_fin_timeout=1", "net.mptcp.close_timeout=1"]
            settings += ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] if role == "router" else []
            run("ip", "netns", "exec", name, "sysctl", "-qw", *settings)
            self.ip(role, "link", "set", "lo", "up")
        for route in (1, 2):
            self._connect("client", f"a{route}", "router", f"b{route}", f"77.{route}")
            self.ip("client", "route", "add", "default", "via", f"10.77.{route}.2", "table", str(route))
            self.ip("client", "rule", "add", "from", f"10.77.{route}.1", "table", str(route))
            self.ip("client", "-6", "route", "add", "default", "via", f"fd77:{route}::2", "table", str(route))
            self.ip("client", "-6", "rule", "add", "from", f"fd77:{route}::1", "table", str(route))
            if routes_mbps is not None:
                self._shape("client", f"a{route}", routes_mbps[route - 1])
        self.ip("client", "route", "add", "default", "via", "10.77.1.2")
        self.ip("client", "-6", "route", "add", "default", "via", "fd77:2::2")
        self._connect("router", "c0", "server", "d0", "77.9")
        self.ip("server", "route", "add", "default", "via", "10.77.9.1")
        self.ip("server", "-6", "route", "add", "default", "via", "fd77:9::1")
        if shared_mbps is not None:
            self._shape("router", "c0", shared_mbps)
        for role in ("client", "server"):
            self.ip(role, "mptcp", "limits", "set", "subflows", "8", "add_addr_accepted", "2")

    def _connect(self, near: str, near_device: str, far: str, far_device: str, net: str) -> None:
        peer = ("peer", "name", far_device, "netns", self.names[far])
        self.ip(near, "link", "add", near_device, "type", "veth", *peer)
        number = net.split(".")[1]
        for role, device, host in ((near, near_device, 1), (far, far_device, 2)):
            self.ip(role, "addr", "add", f"10.{net}.{host}/24", "dev", device)
            self.ip(role, "addr", "add", f"fd77:{number}::{host}/64", "dev", device, "nodad")
            self.ip(role, "link", "set", device, "up")

    def _shape(self, role: str, device: str, mbps: int) -> None:
        # One segment is one packet for the queue, as on a wire.
        inside = ("ip", "netns", "exec", self.names[role])
        limit = ("limit", str(QUEUE_BYTES))
        self.ip(role, "link", "set", device, "gso_max_size", "1514", "gso_max_segs", "1")
        run(*inside, "tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{mbps}mbit", "burst", "5000", *limit)

    def add_subflows(self, *addresses: str) -> None:
        """Every connection joins from these addresses of the client's too."""
        for address in addresses:
            self.ip("client", "mptcp", "endpoint", "add", address, "subflow")

    @contextmanager
    def inside(self, role: str) -> Iterator[None]:
        """What the calling thread opens here belongs to the namespace."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.names[role]}") as there:
            assert libc.setns(there.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(home.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())

    def connect(self, cc: str, *, is_mptcp: bool = True, address: str = SERVER) -> "Connection":
        """A connection to the server that sends as fast as it can until it is closed."""
        connection = Connection(self, cc, is_mptcp, address)
        self._stack.callback(connection.close)
        return connection


class Connection:
    """Both ends of a connection, each with its thread; `received_bytes` is the receiver's count."""

    def __init__(self, bed: Bed, cc: str, is_mptcp: bool, address: str) -> None:
        self._sockets = ExitStack()
        try:
            self._establish(bed, cc, is_mptcp, address)
        except BaseException:
            self._sockets.close()
            raise
        self.received_bytes = 0
        self._is_closed = False
        self._threads = [threading.Thread(target=body, daemon=True) for body in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _establish(self, bed: Bed, cc: str, is_mptcp: bool, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        protocol = IPPROTO_MPTCP if is_mptcp else socket.IPPROTO_TCP
        enter = self._sockets.enter_context
        with bed.inside("server"):  # joins need the listener, so it stays open
            listener = enter(socket.socket(family, socket.SOCK_STREAM, protocol))
        with bed.inside("client"):
            self.sender = enter(socket.socket(family, socket.SOCK_STREAM, protocol))
        listener.listen()
        self.sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, cc.encode())
        assert self.cc() == cc  # MPTCP takes any name, and drops an unknown one in silence
        self.sender.settimeout(10)
        self.sender.connect((address, listener.getsockname()[1]))
        self.receiver = enter(listener.accept()[0])

    def cc(self) -> str:
        return self.sender.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            for thread in self._threads:
                thread.join(30)
                assert not thread.is_alive()
            self._sockets.close()

    def _send(self) -> None:
        chunk = bytes(65536)
        self.sender.settimeout(0.2)
        while not self._is_closed:
            try:
                self.sender.send(chunk)
            except TimeoutError:
                continue
        self.sender.shutdown(socket.SHUT_WR)

    def _receive(self) -> None:
        buffer = bytearray(1 << 18)
        while count := self.receiver.recv_into(buffer):
            self.received_bytes += count


def measure_mbps(connections: Sequence[Connection], warmup_s: float, measure_s: float) -> list[float]:
    """Goodput of each, after a warm-up."""
    time.sleep(warmup_s)
    before, start = [each.received_bytes for each in connections], time.monotonic()
    time.sleep(measure_s)
    elapsed_s = time.monotonic() - start
    pairs = zip(connections, before, strict=True)
    return [(each.received_bytes - first) * 8e-6 / elapsed_s for each, first in pairs]
