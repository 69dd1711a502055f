# SPDX-License-Identifier: BSD-2-Clause
"""The congestion controllers of the live test bed: their names in the kernel, and whether the kernel has them."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from ccdrl.bindings.errors import InputError

KERNEL_NAMES = {
    "reno": "reno",
    "cubic": "cubic",
    "bbr": "bbr",
    "lia": "ccdrl_lia",
    "olia": "ccdrl_olia",
    "balia": "ccdrl_balia",
    "drl": "ccdrl",
}
"""Scenario name to kernel name; those that begin with ccdrl are BPF programs (kmod/linux)."""
LOAD_COMMAND = "python -m ccdrl.bindings.linux load"
AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
MPTCP_ENABLED = Path("/proc/sys/net/mptcp/enabled")
TUN = Path("/dev/net/tun")
MOUNTS = Path("/proc/self/mountinfo")
OPTION = "--datapath linux"


def available_controllers() -> frozenset[str]:
    """Return the kernel's names of the controllers that it has now."""
    return frozenset(AVAILABLE.read_text(encoding="ascii").split())


def missing_requirement() -> str | None:
    """Return what this machine lacks for the test bed, None if nothing."""
    if not AVAILABLE.exists():
        return "a Linux kernel"
    if os.geteuid() != 0:
        return "root (it makes network namespaces and TUN devices)"
    if not MPTCP_ENABLED.exists():
        return "a kernel with Multipath TCP (CONFIG_MPTCP)"
    if not TUN.exists():
        return "/dev/net/tun (CONFIG_TUN)"
    if " - cgroup2 " not in MOUNTS.read_text(encoding="utf-8"):
        return "a mounted cgroup2 hierarchy (mount -t cgroup2 none DIRECTORY)"
    for tool, package in (("ip", "iproute2"), ("setpriv", "util-linux")):
        if shutil.which(tool) is None:
            return f"the command {tool} (package {package})"
    return None


def check_machine() -> None:
    """Raise InputError where the test bed cannot run on this machine."""
    if missing := missing_requirement():
        raise InputError(f"{OPTION} needs {missing}, accepted: such a machine, or --datapath sim")


def check_controllers(kernel_names: Iterable[str]) -> None:
    """Raise InputError for the first controller that the kernel does not have, and say how to get it."""
    has = available_controllers()
    for name in sorted(kernel_names):
        if name in has:
            continue
        if name.startswith(KERNEL_NAMES["drl"]):
            raise InputError(f"{OPTION}: the controller {name} is not loaded, accepted: after `{LOAD_COMMAND}`")
        raise InputError(f"{OPTION}: this kernel has no {name}, accepted: {', '.join(sorted(has))}")
