# SPDX-License-Identifier: BSD-2-Clause
"""Where subflows come from: this machine's kernel, or a scenario in the simulator, behind one small interface."""

import os
import sys
import time
from pathlib import Path
from typing import Protocol

from ccdrl.agent.daemon.options import Options
from ccdrl.bindings.datapath import Datapath
from ccdrl.bindings.errors import DatapathError, InputError
from ccdrl.bindings.sim_datapath import SimDatapath
from ccdrl.envs.network import build_network
from ccdrl.envs.scenario import load_scenario

AGENT = "drl"
NS_PER_US = 1000


class Source(Protocol):
    """A datapath and its clock.

    datapath    samples and windows
    end_us      when it has nothing more to show; None: never
    speed       seconds of its clock in a second
    is_live     its clock goes on without us: a turn that was missed is left out, not made up for
    """

    datapath: Datapath
    end_us: int | None
    speed: float
    is_live: bool

    def begin(self) -> int:
        """Return the clock's time now, µs: the loop starts."""

    def reach(self, now_us: int) -> None:
        """Bring the datapath to a time of its clock."""

    def name_connection(self, conn_id: int) -> str | None:
        """Return the connection's name for people, None where it has none."""

    def close(self) -> None:
        """Let go of the datapath; a second call does nothing."""


class KernelSource:
    """Subflows of this machine's kernel; its clock is CLOCK_MONOTONIC in µs, as in the kernel's samples."""

    end_us: int | None = None
    speed = 1.0
    is_live = True

    def __init__(self, datapath: Datapath) -> None:
        self.datapath: Datapath = datapath

    def begin(self) -> int:
        """Return CLOCK_MONOTONIC."""
        return time.monotonic_ns() // NS_PER_US

    def reach(self, now_us: int) -> None:
        """Nothing: the kernel's time passes by itself."""

    def name_connection(self, conn_id: int) -> str | None:
        """Return None: the kernel's connections have tokens only."""
        return None

    def close(self) -> None:
        """Let go of the kernel's maps or calls."""
        self.datapath.close()


class SimulatorSource:
    """A scenario in the simulator, its flows with cc = "@" driven by the agent, at `speed` times real time.

    Raises InputError for a scenario that cannot be built or that gives the agent nothing to do.
    """

    is_live = False

    def __init__(self, scenario_name: str, traces: Path | None, seed: int, speed: float) -> None:
        scenario = load_scenario(scenario_name)
        self._network = build_network(scenario, AGENT, seed, traces)
        if not any(flow.cc == AGENT for flow in self._network.flows):
            raise InputError(f"{scenario.source}: no flow for the agent, accepted: one with cc = '@' or cc = '{AGENT}'")
        self.datapath: Datapath = SimDatapath(self._network.simulator)
        self.end_us: int | None = round(scenario.duration_s * 1e6)
        self.speed = speed

    def begin(self) -> int:
        """Return the simulated time."""
        return self._network.simulator.now_ns // NS_PER_US

    def reach(self, now_us: int) -> None:
        """Simulate up to now_us."""
        self._network.simulator.run(now_us * NS_PER_US)

    def name_connection(self, conn_id: int) -> str | None:
        """Return the flow's id in the scenario."""
        index = conn_id - 1
        return self._network.flows[index].id if 0 <= index < len(self._network.flows) else None

    def close(self) -> None:
        """Free the simulator."""
        self.datapath.close()
        self._network.simulator.close()


def open_kernel(pin_dir: Path, is_shadow: bool) -> KernelSource:
    """Return the Linux kernel's subflows, this process's to write unless it only looks on.

    Raises InputError on another system, DatapathError for all else.
    """
    if not sys.platform.startswith("linux"):
        raise InputError(f"--datapath: linux on {sys.platform}, accepted: on Linux only")
    try:
        from ccdrl.bindings.linux.datapath import LinuxDatapath  # noqa: PLC0415 (other datapaths work without it)
    except ImportError as error:
        raise DatapathError(f"datapath linux: this installation is without it ({error})") from None
    datapath = LinuxDatapath(str(pin_dir))
    if not is_shadow:
        try:
            datapath.claim()
        except BaseException:
            datapath.close()
            raise
    return KernelSource(datapath)


def open_freebsd(options: Options) -> KernelSource:
    """Return the FreeBSD kernel's subflows. Raises InputError on another system, DatapathError for all else."""
    if not sys.platform.startswith("freebsd"):
        raise InputError(f"--datapath: freebsd on {os.uname().sysname}, accepted: on FreeBSD only")
    try:
        from ccdrl.bindings.freebsd import system  # noqa: PLC0415 (other datapaths work without it)
    except ImportError as error:
        raise DatapathError(f"datapath freebsd: this installation is without it ({error})") from None
    if options.abi == "v1":
        return KernelSource(system.open_v1(options.mss_bytes, options.cwnd_max_bytes))
    return KernelSource(system.open_v2())


def is_pinned(pin_dir: Path) -> bool:
    """Tell whether something is pinned there; a folder that may not be read counts as pinned, to be told so later."""
    try:
        return any(pin_dir.iterdir())
    except PermissionError:
        return True
    except OSError:
        return False


def open_source(options: Options) -> Source:
    """Return the source that the options ask for.

    Raises InputError for what cannot be asked for here, DatapathError for a datapath that is not there, and
    PermissionError for one that we may not use.
    """
    if options.datapath == "freebsd" or (options.datapath == "auto" and sys.platform.startswith("freebsd")):
        return open_freebsd(options)
    if options.datapath == "sim":
        assert options.scenario is not None
        return SimulatorSource(options.scenario, options.traces, options.seed, options.speed)
    if not is_pinned(options.pin_dir):
        advice = (
            "load it with `ccdrl-linux load` (root), or watch the simulator with --datapath sim --scenario idle-pair"
        )
        raise DatapathError(f"datapath {options.datapath}: no controller is loaded at {options.pin_dir}; {advice}")
    return open_kernel(options.pin_dir, options.is_shadow)
