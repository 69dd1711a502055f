# SPDX-License-Identifier: BSD-2-Clause
"""Network namespaces without names: senders and receiver of the test bed live in them.

A namespace and its TUN device exist through file descriptors of this process only. Whatever ends the process, SIGKILL
included, ends them: nothing stands in /run/netns, and there is nothing to clean up. To look inside while a run is on:
`nsenter --net=/proc/PID/fd/FD ss -tiM`.
"""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ccdrl.bindings.testbed.library import BedError, check, lib

DEVICE = "tb0"
QUEUE_PACKETS = 20000
"""Room between the kernel and the emulator: a burst of whole windows must not be lost there."""
IP_TIMEOUT_S = 30
SYSCTLS = {
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv6.conf.default.disable_ipv6": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    # Windows are bounded by the network alone, as in the simulator (1 GiB there).
    "net.ipv4.tcp_rmem": "4096 33554432 67108864",
    "net.ipv4.tcp_wmem": "4096 65536 67108864",
    # Where the kernel knows no bound of a socket's own (traffic_socket.c): a connection accepts so much that no subflow
    # has taken yet; unsent.c bounds what waits on each subflow. Without bounds a slow first subflow swallows megabytes
    # before the others have joined, and the connection waits for it.
    "net.ipv4.tcp_notsent_lowat": "16384",
    # Nothing is learnt from one connection for the next.
    "net.ipv4.tcp_no_metrics_save": "1",
    "net.ipv4.tcp_ecn": "0",
    # What is left of a connection when a run is killed goes away soon.
    "net.ipv4.tcp_orphan_retries": "1",
    "net.ipv4.tcp_fin_timeout": "1",
    "net.mptcp.enabled": "1",
    # A SYN lost to the emulated wire must not turn MPTCP off for the later connections.
    "net.mptcp.blackhole_timeout": "0",
    "net.mptcp.close_timeout": "1",
}
OPTIONAL = ("net.mptcp.blackhole_timeout", "net.mptcp.close_timeout")
"""Sysctls that older kernels lack, and can do without."""

Value = TypeVar("Value")


def in_thread(function: Callable[[], Value]) -> Value:
    """Return function(), called in a thread of its own; its exception is raised here."""
    answers: list[Any] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            answers.append(function())
        except BaseException as error:  # handed over to the caller
            errors.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    value: Value = answers[0]
    return value


class Namespace:
    """A namespace with one TUN device `tb0`; `tun` is the emulator's end of it. A context manager."""

    def __init__(self, mtu_bytes: int, addresses: Sequence[str], endpoints: Sequence[str] = ()) -> None:
        """Make it, with all addresses on the device and everything routed there. Raises BedError.

        endpoints are the addresses among them from which MPTCP connections open further subflows.
        """
        self.fd = self.tun = -1
        try:
            self.fd = check(lib.testbed_netns_new(), "new network namespace")
            self.tun = check(lib.testbed_tun_open(self.fd, DEVICE.encode()), "TUN device")
            self.run(lambda: self._set_up(mtu_bytes, addresses, endpoints))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Namespace":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, function: Callable[[], Value]) -> Value:
        """Return function(), called inside the namespace (its child processes are there too)."""

        def inside() -> Value:
            check(lib.testbed_netns_enter(self.fd), "enter network namespace")
            return function()

        return in_thread(inside)

    def dropped_packets(self) -> int:
        """Return how many packets the device lost because the emulator did not fetch them in time."""
        text = self.run(lambda: call_ip(["-json", "-stats", "link", "show", "dev", DEVICE]))
        return int(json.loads(text)[0]["stats64"]["tx"]["dropped"])

    def close(self) -> None:
        """Let go of it; may be called twice."""
        for fd in (self.tun, self.fd):
            if fd >= 0:
                os.close(fd)
        self.tun = self.fd = -1

    @staticmethod
    def _set_up(mtu_bytes: int, addresses: Sequence[str], endpoints: Sequence[str]) -> None:
        for name, value in SYSCTLS.items():
            write_sysctl(name, value)
        # Segments leave one by one, as the simulator's do: what segmentation offload sends at once meets a full queue
        # at once, and MPTCP's subflows lose more than a plain TCP beside them (docs/agreement.md).
        lines = [
            "link set lo up",
            f"link set {DEVICE} mtu {mtu_bytes} txqueuelen {QUEUE_PACKETS} gso_max_segs 1 up",
            *(f"address add {address}/32 dev {DEVICE}" for address in addresses),
            f"route add default dev {DEVICE} src {addresses[0]}",
            "mptcp limits set subflows 8 add_addr_accepted 0",
            *(f"mptcp endpoint add {address} dev {DEVICE} subflow" for address in endpoints),
        ]
        call_ip(["-batch", "-"], "".join(f"{line}\n" for line in lines))


def cgroup_mount() -> str:
    """Return where the cgroup2 hierarchy is mounted. Raises BedError where it is not."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, after = line.split(" - ", 1)
        if after.split()[0] == "cgroup2":
            return before.split()[4]
    raise BedError("test bed: no cgroup2 file system is mounted (mount -t cgroup2 none DIRECTORY)")


def write_sysctl(name: str, value: str) -> None:
    """Set a sysctl of the calling thread's namespace. Raises BedError."""
    path = Path("/proc/sys", *name.split("."))
    try:
        path.write_text(value, encoding="ascii")
    except FileNotFoundError:
        if name not in OPTIONAL:
            raise BedError(f"test bed: this kernel has no sysctl {name}") from None
    except OSError as error:
        raise BedError(f"test bed: sysctl {name} = {value}: {error.strerror}") from None


def call_ip(arguments: Sequence[str], lines: str = "") -> str:
    """Return what `ip` printed. Raises BedError with its first complaint."""
    try:
        answer = subprocess.run(
            ["ip", *arguments], input=lines, capture_output=True, text=True, timeout=IP_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BedError(f"test bed: ip: {error}") from None
    if answer.returncode != 0:
        raise BedError(f"test bed: ip: {(answer.stderr.strip() or 'failed').splitlines()[0]}")
    return answer.stdout
