# SPDX-License-Identifier: BSD-2-Clause
"""The command line of serve.py, as one frozen class and the parser that fills it."""

import argparse
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ccdrl.agent.command_line import Parser
from ccdrl.agent.daemon.exposition import ACCEPTED, Address, parse_address
from ccdrl.agent.daemon.logs import LEVELS
from ccdrl.bindings.errors import InputError

PROGRAM = "serve.py"
DATAPATHS = ("auto", "linux", "freebsd", "sim")
ABIS = ("v1", "v2")
MSS_DEFAULT_BYTES = 1448
"""Payload of a full segment over Ethernet: 1500 bytes less IPv4, TCP and timestamps."""
PIN_DIR = Path("/sys/fs/bpf/ccdrl")
PRETRAINED = Path(__file__).resolve().parents[2] / "models" / "pretrained"
DEFAULT_MODEL = PRETRAINED / "default"
INTERVAL_MAX_MS = 1000.0
TICK_MS = 10.0
"""How often samples are read: the shortest monitor interval that a connection gets from its RTT."""
SUBFLOWS_MAX = 65536
SPEED_MAX = 1000.0


@dataclass(frozen=True)
class Options:
    """What the command line asks for. interval_ms None: from each connection's RTT, as in training."""

    model: Path
    datapath: str = "auto"
    scenario: str | None = None
    traces: Path | None = None
    is_shadow: bool = False
    interval_ms: float | None = None
    metrics: Address | None = None
    metrics_connections: int = 20
    duration_s: float | None = None
    record: Path | None = None
    record_max_mb: int = 1000
    pin_dir: Path = PIN_DIR
    abi: str = "v2"
    mss_bytes: int = MSS_DEFAULT_BYTES
    max_subflows: int = 1024
    cwnd_max_bytes: int = 1 << 30
    seed: int = 1
    speed: float = 1.0
    log_level: str = "info"
    is_log_json: bool = False
    is_quiet: bool = False

    @property
    def tick_us(self) -> int:
        """How often samples are read, on the datapath's clock: a whole number of times in a given interval."""
        interval_ms = self.interval_ms or TICK_MS
        return math.ceil(1000 * interval_ms / math.ceil(interval_ms / TICK_MS))

    @property
    def interval_us(self) -> int | None:
        """The monitor interval of every connection, None where each has its own."""
        return None if self.interval_ms is None else round(1000 * self.interval_ms)


class whole:  # noqa: N801 (an argparse type is named as its value)
    """Parses a whole number of [low, high]."""

    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    def __call__(self, text: str) -> int:
        """Return the number."""
        if not re.fullmatch(r"[0-9]{1,20}", text) or not self._low <= int(text) <= self._high:
            raise argparse.ArgumentTypeError(f"{text!r}, accepted: a whole number from {self._low} to {self._high}")
        return int(text)


class number:  # noqa: N801
    """Parses a number of (0, high] or, with `low`, of [low, high]."""

    def __init__(self, high: float, low: float | None = None) -> None:
        self._low, self._high = low, high

    def __call__(self, text: str) -> float:
        """Return the number."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        is_above = value > 0 if self._low is None else value >= self._low
        if not (is_above and value <= self._high):
            bound = "above 0" if self._low is None else f"from {self._low:g}"
            raise argparse.ArgumentTypeError(f"{text!r}, accepted: a number {bound}, at most {self._high:g}")
        return value


def address(text: str) -> Address:
    """Parse [ADDR:]PORT."""
    try:
        return parse_address(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("--metrics: ")) from None


def make_parser() -> Parser:
    """Return the command line of design and docs/serve.md."""
    parser = Parser(
        prog=PROGRAM,
        description="Serve a trained agent: read samples, decide, write leased windows (docs/serve.md).",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", type=Path, metavar="DIR", help="a policy artifact, or a shipped agent's name (default: default)")
    add("--datapath", choices=DATAPATHS, default="auto", help="where the subflows are (default: auto)")
    add("--scenario", metavar="FILE", help="what the simulator runs: a file, or the name of a shipped one")
    add("--traces", type=Path, metavar="DIR", help="the folder that the scenario's trace files are relative to")
    add("--seed", type=whole(0, 2**64 - 1), default=1, metavar="S", help="of the simulator (default: 1)")
    add("--speed", type=number(SPEED_MAX), default=1.0, metavar="X", help="simulated seconds in a second (default: 1)")
    add("--shadow", action="store_true", help="decide and log, write no window")
    add(
        "--interval-ms",
        type=number(INTERVAL_MAX_MS, 1.0),
        metavar="N",
        help="decide every N ms for all connections (default: the lowest srtt of each, within 10 and 100 ms)",
    )
    add("--max-subflows", type=whole(1, SUBFLOWS_MAX), default=1024, metavar="N", help="decide for at most so many")
    add("--cwnd-max-bytes", type=whole(4096, 1 << 30), default=1 << 30, metavar="N", help="no window above this")
    add("--pin-dir", type=Path, default=PIN_DIR, metavar="DIR", help=f"of the Linux maps (default: {PIN_DIR})")
    add(
        "--abi", choices=ABIS, help="of the FreeBSD kernel: v2 the module ccdrl, v1 the 13.1 MPTCP kernel (default: v2)"
    )
    add("--mss-bytes", type=whole(536, 65495), metavar="N", help="segment size of ABI v1's subflows (default: 1448)")
    add("--metrics", type=address, metavar="ADDR:PORT", help=f"serve Prometheus metrics at {ACCEPTED}")
    add("--metrics-connections", type=whole(0, 1000), default=20, metavar="N", help="connections shown one by one")
    add("--duration-s", type=number(86400.0 * 366), metavar="N", help="leave after so long (the scenario's time)")
    add("--record", type=Path, metavar="FILE", help="write observations, actions and outcomes here")
    add("--record-max-mb", type=whole(2, 10**6), default=1000, metavar="N", help="at most so much (default: 1000)")
    add("--log-level", choices=LEVELS, default="info", help="(default: info)")
    add("--log-json", action="store_true", help="log lines as JSON instead of logfmt")
    add("--quiet", action="store_true", help="no status lines on the terminal, and only errors logged")
    return parser


def find_model(given: Path | None) -> Path:
    """Return the artifact's place; the name of a shipped agent counts where no such file exists. Raises InputError."""
    if given is None:
        if not DEFAULT_MODEL.is_dir():
            raise InputError("--model: no agent is shipped with this version, accepted: a folder that train.py wrote")
        return DEFAULT_MODEL
    if not given.exists() and len(given.parts) == 1 and (PRETRAINED / given).is_dir():
        return PRETRAINED / given
    return given


def check_freebsd(given: argparse.Namespace, datapath: str) -> None:
    """Raise InputError for options of FreeBSD's ABIs that come without them."""
    if given.abi is not None and datapath != "freebsd":
        raise InputError(f"--abi: the datapath is {datapath}, accepted: only with --datapath freebsd")
    if given.mss_bytes is not None and given.abi != "v1":
        raise InputError("--mss-bytes: accepted: only with --abi v1, as all others tell the segment size")


def parse_options(arguments: Sequence[str]) -> Options:
    """Return the options of a command line. Raises InputError."""
    given = make_parser().parse_args(arguments)
    datapath = given.datapath
    if datapath == "auto" and given.scenario is not None:
        datapath = "sim"
    if datapath == "sim" and given.scenario is None:
        raise InputError("--scenario: missing, accepted with --datapath sim: a scenario file or a shipped name")
    if datapath != "sim":
        for option, is_given in (
            ("--scenario", given.scenario is not None),
            ("--traces", given.traces is not None),
            ("--speed", given.speed != 1.0),
        ):
            if is_given:
                raise InputError(f"{option}: the datapath is {datapath}, accepted: only with --datapath sim")
    check_freebsd(given, datapath)
    if given.traces is not None and not given.traces.is_dir():
        raise InputError(f"--traces: {given.traces} is not a directory, accepted: the folder that holds the traces")
    return Options(
        model=find_model(given.model),
        datapath=datapath,
        scenario=given.scenario,
        traces=given.traces,
        is_shadow=given.shadow,
        interval_ms=given.interval_ms,
        metrics=given.metrics,
        metrics_connections=given.metrics_connections,
        duration_s=given.duration_s,
        record=given.record,
        record_max_mb=given.record_max_mb,
        pin_dir=given.pin_dir,
        abi=given.abi or "v2",
        mss_bytes=given.mss_bytes or MSS_DEFAULT_BYTES,
        max_subflows=given.max_subflows,
        cwnd_max_bytes=given.cwnd_max_bytes,
        seed=given.seed,
        speed=given.speed,
        log_level="error" if given.quiet else given.log_level,
        is_log_json=given.log_json,
        is_quiet=given.quiet,
    )
