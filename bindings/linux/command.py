# SPDX-License-Identifier: BSD-2-Clause
"""ccdrl-linux: load, unload and inspect the BPF controllers.

Exit status: 0 done, 1 a failure at run time, 2 bad usage; each failure is one line on stderr.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ccdrl.bindings.errors import DatapathError, InputError
from ccdrl.bindings.linux.loader import CWND_MAX_DEFAULT_BYTES, SLOTS_DEFAULT, load, unload
from ccdrl.bindings.linux.maps import PIN_DIR
from ccdrl.bindings.linux.status import format_status, read_status

PROGRAM = "ccdrl-linux"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = _Parser(prog=PROGRAM, description="BPF congestion controllers for Linux's Multipath TCP.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="load|unload|status")
    for name, help_text in (
        ("load", "put the controllers into the kernel (CAP_BPF and CAP_PERFMON)"),
        ("unload", "take them out; live connections go on in fallback"),
        ("status", "show controllers, slots and counters"),
    ):
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.add_argument("--pin-dir", type=Path, default=Path(PIN_DIR), metavar="DIR", help=f"default {PIN_DIR}")
        if name == "load":
            command.add_argument("objects", nargs="*", type=Path, metavar="OBJECT", help="default: the package's own")
            command.add_argument("--group", help="whose members may run an agent; default: root alone")
            command.add_argument(
                "--slots", type=int, default=SLOTS_DEFAULT, help="subflows that agents see (default %(default)s)"
            )
            command.add_argument(
                "--cwnd-max-bytes",
                type=int,
                default=CWND_MAX_DEFAULT_BYTES,
                metavar="N",
                help="highest window (default %(default)s)",
            )
        if name == "status":
            command.add_argument("--json", action="store_true", help="for programs")
    return parser


def run(arguments: argparse.Namespace) -> str:
    """Do what was asked and return what to print."""
    if arguments.command == "load":
        names = load(
            arguments.objects,
            pin_dir=arguments.pin_dir,
            slots=arguments.slots,
            cwnd_max_bytes=arguments.cwnd_max_bytes,
            group=arguments.group,
        )
        return f"loaded {' '.join(names)}; pinned in {arguments.pin_dir}"
    if arguments.command == "unload":
        return f"unloaded {' '.join(unload(arguments.pin_dir))}"
    status = read_status(arguments.pin_dir)
    return json.dumps(status, indent=2) if arguments.json else format_status(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        text = run(make_parser().parse_args(arguments))
    except InputError as error:
        return _fail(str(error), 2)
    except (DatapathError, OSError) as error:
        return _fail(error.strerror if isinstance(error, OSError) and error.strerror else str(error), 1)
    sys.stdout.write(text + "\n")
    return 0


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"{PROGRAM}: error: {' '.join(message.split())}\n")
    return status
