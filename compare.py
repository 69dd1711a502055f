# SPDX-License-Identifier: BSD-2-Clause
"""Compare agents with the classic controllers: results as JSON, a table and an HTML report (docs/compare.md)."""

import argparse
import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ccdrl.agent.command_line import EXIT_BAD_INPUT, EXIT_DONE, EXIT_INTERRUPTED, Parser, fail
from ccdrl.agent.comparison import PROGRAM, Options, compare, list_scenarios
from ccdrl.agent.suite.catalogue import KINDS, SEED, SEEDS
from ccdrl.agent.suite.catalogue import SEED_MAX as SUITE_SEED_MAX
from ccdrl.agent.suite.job import SuiteOptions, compare_suite
from ccdrl.bindings.errors import InputError

SEED_MAX = 2**64 - 1
SEEDS_MAX = 10_000
SEEDS_DEFAULT = 5


def positive(text: str) -> int:
    """Parse a count."""
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= SEEDS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}, accepted: a whole number from 1 to {SEEDS_MAX}")
    return int(text)


def seed_list(text: str) -> tuple[int, ...]:
    """Parse 1,2,3 into seeds, each once and in the order given."""
    items = [item.strip() for item in text.split(",")]
    if not all(item.isascii() and item.isdecimal() and len(item) <= 20 and int(item) <= SEED_MAX for item in items):
        raise argparse.ArgumentTypeError(f"{text!r}, accepted: whole numbers from 0 to {SEED_MAX}, as in 1,2,3")
    return tuple(dict.fromkeys(int(item) for item in items))


def suite_seed(text: str) -> int:
    """Parse the seed of a suite."""
    if not text.isascii() or not text.isdecimal() or len(text) > 10 or int(text) > SUITE_SEED_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}, accepted: a whole number from 0 to {SUITE_SEED_MAX}")
    return int(text)


def seconds(text: str) -> float:
    """Parse a duration."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r}, accepted: seconds above 0, at most 86400")
    return value


def make_parser() -> Parser:
    """Return the command line of design and docs/compare.md."""
    parser = Parser(prog=PROGRAM, description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "scenarios",
        nargs="*",
        metavar="SCENARIO",
        help="a file, a name of --list, or 'all'; with --suite: only these of its scenarios or groups",
    )
    parser.add_argument(
        "--cc",
        action="append",
        default=[],
        help="controllers, as in drl,lia,olia (default: drl where there is an agent, lia, olia, balia, cubic; with "
        "--suite bbr too)",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="[NAME=]DIR",
        help="an agent; several by repeating or with commas (default: the first shipped agent)",
    )
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seeds", type=positive, metavar="N", help="run seeds 1 to N (default: 5; --suite quick: 2)")
    seeds.add_argument("--seed-list", type=seed_list, metavar="S,S,…", help="run these seeds")
    parser.add_argument(
        "--jobs",
        type=positive,
        default=os.cpu_count() or 1,
        metavar="N",
        help="worker processes (default: one for each core)",
    )
    parser.add_argument(
        "--traces", type=Path, metavar="DIR", help="the folder that scenarios' trace files are relative to"
    )
    parser.add_argument("--datapath", choices=("sim", "linux"), default="sim", help="where to run (default: sim)")
    parser.add_argument(
        "--duration-s", type=seconds, metavar="N", help="simulate so long instead of the scenario's time"
    )
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="write the results here")
    parser.add_argument("--report", type=Path, metavar="OUT.html", help="write an HTML report here")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="OTHER.json",
        help="results of the other datapath: the report holds simulator and kernel side by side",
    )
    parser.add_argument(
        "--suite",
        choices=KINDS,
        help="run the held-out suite, generated from a seed: verdicts, ranking and a report of its own; full is 80 "
        "scenarios and more (recorded traces too with --traces), quick a minute's worth of them (docs/suite.md)",
    )
    parser.add_argument("--suite-seed", type=suite_seed, metavar="N", help=f"generate another suite (default: {SEED})")
    parser.add_argument("--resume", action="store_true", help="keep the runs that OUT.json holds, do the missing ones")
    parser.add_argument("--list", action="store_true", help="list the shipped scenarios, or the suite's, and leave")
    parser.add_argument("--quiet", action="store_true", help="no progress and no table")
    return parser


def make_options(given: argparse.Namespace, arguments: Sequence[str]) -> Options:
    """Return the parsed command line as the job's options."""
    seeds = given.seeds or SEEDS.get(given.suite, SEEDS_DEFAULT)
    return Options(
        scenarios=tuple(given.scenarios),
        controllers=tuple(given.cc),
        models=tuple(given.model),
        seeds=given.seed_list or tuple(range(1, seeds + 1)),
        jobs=given.jobs,
        traces=given.traces,
        datapath=given.datapath,
        json=given.json,
        report=given.report,
        against=given.against,
        is_resume=given.resume,
        duration_s=given.duration_s,
        is_quiet=given.quiet,
        command=shlex.join([PROGRAM, *arguments]),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the compare job; return 0 done, 1 failed at run time, 2 bad usage or input, 130 interrupted."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    parser = make_parser()
    try:
        given = parser.parse_args(arguments)
        if given.suite is None and given.suite_seed is not None:
            parser.error("--suite-seed: without --suite, accepted: together with --suite full or quick")
        if given.list and given.suite is None:
            sys.stdout.write(list_scenarios())
            return EXIT_DONE
        if given.suite is not None:
            suite = SuiteOptions(given.suite, SEED if given.suite_seed is None else given.suite_seed, given.list)
            return compare_suite(make_options(given, arguments), suite)
        if not given.scenarios:
            parser.error("no SCENARIO, accepted: files, names of --list, or 'all'")
        return compare(make_options(given, arguments))
    except InputError as error:
        return fail(PROGRAM, str(error), EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
