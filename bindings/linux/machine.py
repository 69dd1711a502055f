# SPDX-License-Identifier: BSD-2-Clause
"""What a machine must have before BPF controllers can be loaded; each lack is one line that says what to do."""

import os
import re
from pathlib import Path

from ccdrl.bindings.errors import DatapathError

KERNEL_MIN = (6, 10)
"""First kernel that hands cong_control the ACK and its flags."""
BTF = Path("/sys/kernel/btf/vmlinux")
CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 21, 38, 39
CONTROLLERS = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


def check_machine(pin_dir: Path) -> None:
    """Raise DatapathError for an old kernel, no BTF or no BPF file system, PermissionError for lack of capabilities."""
    check_kernel(os.uname().release)
    if not BTF.exists():
        raise DatapathError(f"load: no {BTF}: the kernel must be built with CONFIG_DEBUG_INFO_BTF")
    check_capabilities(Path("/proc/self/status").read_text(encoding="ascii"))
    check_file_system(pin_dir, Path("/proc/self/mounts").read_text(encoding="utf-8"))


def check_kernel(release: str) -> None:
    """Check a release such as "6.12.9-amd64"."""
    match = re.match(r"(\d+)\.(\d+)", release)
    if match is None or (int(match[1]), int(match[2])) < KERNEL_MIN:
        raise DatapathError(f"load: kernel {release} is too old: {KERNEL_MIN[0]}.{KERNEL_MIN[1]} or newer is needed")


def check_capabilities(status: str) -> None:
    """Check the effective capabilities in the text of /proc/PID/status."""
    match = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    effective = int(match[1], 16) if match else 0
    if effective >> CAP_SYS_ADMIN & 1 or (effective >> CAP_BPF & 1 and effective >> CAP_PERFMON & 1):
        return
    raise PermissionError("load: CAP_BPF and CAP_PERFMON are needed; run as root")


def check_file_system(pin_dir: Path, mounts: str) -> None:
    """Check that a folder, which need not exist, is on a BPF file system, from the text of /proc/self/mounts."""
    path = os.path.realpath(pin_dir)
    best, kind = "", ""
    for line in mounts.splitlines():
        _, point, fs_kind, *_ = line.split()
        is_above = path == point or path.startswith(point.rstrip("/") + "/")
        if is_above and len(point) >= len(best):  # a later mount on the same point covers the earlier one
            best, kind = point, fs_kind
    if kind != "bpf":
        raise DatapathError(f"load: {pin_dir} is not on a BPF file system; run `mount -t bpf bpf /sys/fs/bpf`")


def list_controllers() -> set[str]:
    """Return the congestion controllers that are registered with the kernel."""
    return set(CONTROLLERS.read_text(encoding="ascii").split())
