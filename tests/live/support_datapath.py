# SPDX-License-Identifier: BSD-2-Clause
"""A network of namespaces with real subflows under `ccdrl`, for the tests of the Linux datapath.

    client 10.78.1.1 ── router ── 10.78.11.2 server      20 Mbit/s, 25 ms of queue
    client 10.78.2.1 ── router ── 10.78.12.2 server      20 Mbit/s, 25 ms of queue

and fd78:… alike. Namespaces are named dp-PID-ROLE; the BPF file system is the tests' own. All of it goes away when the
context ends.
"""

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fcntl import ioctl
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ccdrl.bindings.errors import DatapathError
from ccdrl.bindings.library import Event
from ccdrl.bindings.linux import loader
from ccdrl.bindings.linux.datapath import LinuxDatapath
from ccdrl.bindings.linux.maps import open_maps
from ccdrl.bindings.linux.status import read_status

IPPROTO_MPTCP = 262
TCP_CONGESTION = 13
SIOCOUTQ = 0x5411
CLONE_NEWNET = 0x40000000
MSS_MAX_BYTES = 1460
RATE = "20mbit"
QUEUE_BYTES = 62_500
SERVERS = ("10.78.11.2", "10.78.12.2")
SERVERS_V6 = ("fd78:11::2", "fd78:12::2")
OBJECT = loader.OBJECTS / "ccdrl.bpf.o"
SLOTS = 64
CWND_MAX_BYTES = 4_000_000
CHUNK = bytes(16384)
SYSCTLS = {
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv4.tcp_no_metrics_save": "1",
    "net.ipv4.tcp_notsent_lowat": "16384",
    "net.ipv4.tcp_orphan_retries": "1",
    "net.ipv4.tcp_fin_timeout": "1",
    "net.mptcp.enabled": "1",
    "net.mptcp.close_timeout": "1",
}

libc = ctypes.CDLL(None, use_errno=True)


def require_machine() -> None:
    """Skip where the machine cannot load the controller or lay out a network."""
    if os.geteuid() != 0:
        pytest.skip("this machine lacks root for tests that load BPF programs")
    for tool in ("ip", "tc", "sysctl", "mount"):
        if shutil.which(tool) is None:
            pytest.skip(f"this machine lacks {tool}")
    for file in ("/sys/kernel/btf/vmlinux", "/proc/sys/net/mptcp/enabled"):
        if not Path(file).exists():
            pytest.skip(f"this machine lacks {file}")
    if not OBJECT.exists():
        pytest.skip("this machine lacks the compiled controller (clang was missing when the package was built)")


def run(*command: str, is_checked: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if is_checked:
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
    return done.stdout


def run_linux(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `ccdrl-linux` as a person would."""
    command = [sys.executable, "-m", "ccdrl.bindings.linux", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 15.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)


@contextmanager
def bpf_folder() -> Iterator[Path]:
    """Give a folder for pins on a BPF file system of our own; it does not exist yet."""
    with tempfile.TemporaryDirectory(prefix="ccdrl-dp-") as name:
        point = Path(name) / "bpf"
        point.mkdir()
        point.parent.chmod(0o755)
        run("mount", "-t", "bpf", "bpf", str(point))
        try:
            yield point / "pins"
        finally:
            run("umount", str(point), is_checked=False)


@contextmanager
def loaded(objects: Sequence[Path] = (OBJECT,), **options: Any) -> Iterator[Path]:
    """Give the folder of pins of freshly loaded controllers; a kernel has each once, so wait for other tests."""
    with bpf_folder() as pin_dir:
        end = time.monotonic() + 60
        while True:
            try:
                loader.load(objects, pin_dir=pin_dir, **{"slots": SLOTS, "cwnd_max_bytes": CWND_MAX_BYTES, **options})
                break
            except DatapathError as error:
                if "registered already" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.2)
        try:
            yield pin_dir
        finally:
            if pin_dir.exists():
                loader.unload(pin_dir)


@contextmanager
def trickle(cc: str = "ccdrl") -> Iterator[None]:
    """Keep one plain connection under a controller at work, in a namespace of its own.

    Where a kernel left out the end of a subflow (kmod/linux/missed.h), the controller finds its slot while others work.
    """
    is_done = threading.Event()

    def work() -> None:
        if libc.unshare(CLONE_NEWNET) != 0:
            return
        run("ip", "link", "set", "lo", "mtu", "1500", "up")  # segments as everybody's
        with socket.socket() as listener, socket.socket() as sender:
            set_controller(sender, cc)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            sender.connect(listener.getsockname())
            receiver, _ = listener.accept()
            with receiver:
                while not is_done.wait(0.005):
                    sender.send(b"x")
                    receiver.recv(16)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        is_done.set()
        thread.join()


class Network:
    """Client, router and server; the client's connections get `ccdrl` unless they ask for something else."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.client, self.router, self.server = (f"dp-{os.getpid()}-{role}" for role in ("client", "router", "server"))
        for name in (self.client, self.router, self.server):
            run("ip", "netns", "add", name)
            self.stack.callback(run, "ip", "netns", "del", name, is_checked=False)
            settings = [f"{key}={value}" for key, value in SYSCTLS.items()]
            run("ip", "netns", "exec", name, "sysctl", "-qw", *settings)
            run("ip", "-n", name, "link", "set", "lo", "up")
        for path in (1, 2):
            self._lay(self.client, f"c{path}", self.router, f"rc{path}", path)
            self._lay(self.server, f"s{path}", self.router, f"rs{path}", 10 + path)
            run(
                *("tc", "-n", self.router, "qdisc", "add", "dev", f"rs{path}", "root"),
                *("tbf", "rate", RATE, "burst", "5000", "limit", str(QUEUE_BYTES)),
            )
        self._route()

    def _lay(self, host: str, host_device: str, router: str, router_device: str, subnet: int) -> None:
        run("ip", "-n", host, "link", "add", host_device, "type", "veth", "peer", router_device, "netns", router)
        end = 1 if host == self.client else 2
        for name, device, number in ((host, host_device, end), (router, router_device, 254)):
            run("ip", "-n", name, "addr", "add", f"10.78.{subnet}.{number}/24", "dev", device)
            address = f"fd78:{subnet}::{'fe' if number == 254 else number}/64"
            run("ip", "-n", name, "-6", "addr", "add", address, "dev", device, "nodad")
            run("ip", "-n", name, "link", "set", device, "up")

    def _route(self) -> None:
        for path in (1, 2):
            far = 10 + path
            run("ip", "-n", self.client, "route", "add", f"10.78.{far}.0/24", "via", f"10.78.{path}.254")
            run("ip", "-n", self.client, "-6", "route", "add", f"fd78:{far}::/64", "via", f"fd78:{path}::fe")
            run("ip", "-n", self.server, "route", "add", f"10.78.{path}.0/24", "via", f"10.78.{far}.254")
            run("ip", "-n", self.server, "-6", "route", "add", f"fd78:{path}::/64", "via", f"fd78:{far}::fe")
        for name in (self.client, self.server):
            run("ip", "-n", name, "mptcp", "limits", "set", "subflow", "4", "add_addr_accepted", "4")
        run("ip", "-n", self.server, "mptcp", "endpoint", "add", SERVERS[1], "id", "2", "signal")

    def run_in(self, name: str, function: Callable[[], Any]) -> Any:
        """Return function(), called by a thread in a namespace: sockets that it makes stay there."""
        answers: list[Any] = []

        def body() -> None:
            with open(f"/run/netns/{name}", "rb") as handle:
                if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
                    answers.append(OSError(ctypes.get_errno(), "setns"))
                    return
            try:
                answers.append(function())
            except OSError as error:
                answers.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if isinstance(answers[0], OSError):
            raise answers[0]
        return answers[0]

    def darken(self, path: int) -> None:
        """Let the router drop what goes to the server over a path."""
        run("ip", "-n", self.router, "route", "add", "blackhole", f"{SERVERS[path]}/32")

    def lighten(self, path: int) -> None:
        run("ip", "-n", self.router, "route", "del", "blackhole", f"{SERVERS[path]}/32", is_checked=False)

    def close(self) -> None:
        self.stack.close()


class Sink:
    """Receives whatever connections send, in one thread each."""

    def __init__(self, network: Network, family: int = socket.AF_INET, protocol: int = IPPROTO_MPTCP) -> None:
        self.received_bytes = 0
        self._socket = network.run_in(network.server, lambda: self._listen(family, protocol))
        self.port = self._socket.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _listen(self, family: int, protocol: int) -> socket.socket:
        listener = socket.socket(family, socket.SOCK_STREAM, protocol)
        set_controller(listener, "reno")
        listener.bind(("", 0))
        listener.listen(4096)
        return listener

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                thread = threading.Thread(target=self._drain, args=(connection,), daemon=True)
                thread.start()

    def _drain(self, connection: socket.socket) -> None:
        buffer = bytearray(1 << 16)
        with connection, suppress(OSError):
            while count := connection.recv_into(buffer):
                self.received_bytes += count

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._acceptor.join(5)


def set_controller(connection: socket.socket, cc: str) -> None:
    """Set and look: an MPTCP socket without subflows accepts any name."""
    connection.setsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, cc.encode())
    assert connection.getsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, 16).rstrip(b"\0") == cc.encode()


def connect(
    network: Network,
    address: str,
    port: int,
    *,
    family: int = socket.AF_INET,
    protocol: int = IPPROTO_MPTCP,
    cc: str = "ccdrl",
) -> socket.socket:
    """Return a connection of the client."""

    def make() -> socket.socket:
        connection = socket.socket(family, socket.SOCK_STREAM, protocol)
        set_controller(connection, cc)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        connection.settimeout(10)
        connection.connect((address, port))
        return connection

    connection: socket.socket = network.run_in(network.client, make)
    return connection


def count_unacknowledged(connection: socket.socket) -> int:
    answer = bytearray(4)
    ioctl(connection.fileno(), SIOCOUTQ, answer)
    return int.from_bytes(answer, sys.byteorder)


class LiveRig:
    """One connection of two subflows that sends while the clock is advanced, and is silent in between."""

    DRAIN_S = 0.05
    SETTLE_S = 0.02
    PATIENCE_S = 0.3

    def __init__(self, network: Network, pin_dir: Path, capacity: int) -> None:
        self.network = network
        self.pin_dir = pin_dir
        self.sink = Sink(network)
        self.datapath: Any = LinuxDatapath(pin_dir, capacity=capacity)
        self._maps = open_maps(pin_dir)
        self.connection = connect(network, SERVERS[0], self.sink.port)
        wait_until(self._has_joined, "both subflows are there")

    def _has_joined(self) -> bool:
        return bool(read_status(self.pin_dir)["slots"]["used"] == 2)

    def advance(self, duration_us: int) -> None:
        """Send for the time given, less what the queues need to empty, and until each subflow had an ACK.

        The kernel's scheduler gives out 64 kB at a time: a subflow's turn may come late where other work is on.
        """
        before = self._maps.changes.copy()
        sample = self._maps.states["sample"]
        is_live = (sample["subflow_id"] != 0) & (sample["event"] != Event.CLOSED)
        end = time.monotonic() + duration_us / 1e6
        stop = max(end - self.DRAIN_S, time.monotonic() + duration_us / 3e6)
        self.connection.settimeout(0.01)
        while time.monotonic() < stop or (
            time.monotonic() < stop + self.PATIENCE_S and not (self._maps.changes != before)[is_live].all()
        ):
            with suppress(TimeoutError):
                self.connection.send(CHUNK)
        while count_unacknowledged(self.connection) and time.monotonic() < end + 1.0:
            time.sleep(0.001)
        time.sleep(max(end - time.monotonic(), self.SETTLE_S))

    def strike_rto(self) -> None:
        """With an RTO of 204 to 300 ms the second one comes by 0.9 s and the third one not before 1.4 s."""
        self.network.darken(0)
        end = time.monotonic() + 1.1
        while time.monotonic() < end - 0.8:
            with suppress(TimeoutError):
                self.connection.send(CHUNK)
        time.sleep(max(end - time.monotonic(), 0.0))

    def close_first(self) -> None:
        """The initial subflow's id is 0, whatever its address."""
        run("ip", "-n", self.network.client, "mptcp", "endpoint", "delete", "id", "0", "10.78.1.1")
        self.advance(1_000_000)

    def close(self) -> None:
        self.network.lighten(0)
        self.datapath.close()
        self.connection.close()
        self.sink.close()
        with trickle():
            wait_until(lambda: read_status(self.pin_dir)["slots"]["used"] <= 1, "all slots are free again", 30.0)
        wait_until(lambda: read_status(self.pin_dir)["slots"]["used"] == 0, "all slots are free again")


def make_random_bytes(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, count, np.uint8)
