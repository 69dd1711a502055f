# SPDX-License-Identifier: BSD-2-Clause
"""What compare.py needs of the live test bed, loaded only where it is asked for: other systems have none."""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ccdrl.agent import live_controllers, results
from ccdrl.agent.evaluation import RunSpec
from ccdrl.bindings.errors import InputError
from ccdrl.envs.scenario import Scenario

DATAPATH = "linux"


def check_machine() -> None:
    """Raise InputError where this machine, or this installation, has no test bed."""
    live_controllers.check_machine()
    try:
        import ccdrl.bindings.testbed.library  # noqa: F401, PLC0415
    except ImportError as error:
        raise InputError(f"--datapath linux: {error}, accepted: an installation with it, or --datapath sim") from error


def select_scenarios(scenarios: Iterable[Scenario], traces: Path | None, is_quiet: bool) -> list[Scenario]:
    """Return the scenarios that the test bed can do, and say how many it cannot."""
    from ccdrl.agent.live_scenario import can_run  # noqa: PLC0415

    everything = list(scenarios)
    kept = [scenario for scenario in everything if can_run(scenario, traces)]
    if len(kept) < len(everything) and not is_quiet:
        left_out = len(everything) - len(kept)
        sys.stderr.write(f"all: {left_out} scenarios need what the live test bed lacks and are left out\n")
    return kept


def check_specs(specs: Sequence[RunSpec]) -> None:
    """Raise InputError for a controller or a scenario that the test bed cannot do, or that the kernel lacks."""
    from ccdrl.agent.live_scenario import check_scenario, needed_controllers  # noqa: PLC0415

    for contender in {spec.contender.label: spec.contender for spec in specs}.values():
        if contender.controller not in live_controllers.KERNEL_NAMES:
            accepted = ", ".join(live_controllers.KERNEL_NAMES)
            raise InputError(f"--cc: {contender.label!r} on --datapath linux, accepted: {accepted}")
    for scenario, traces in {spec.scenario.name: (spec.scenario, spec.traces) for spec in specs}.values():
        check_scenario(scenario, traces)
    names = [needed_controllers(spec.scenario, spec.contender) for spec in specs]
    live_controllers.check_controllers(set().union(*names))


def load_evaluate() -> Callable[[RunSpec], results.Run]:
    """Return the function that does one run."""
    from ccdrl.agent.live_evaluation import evaluate_live  # noqa: PLC0415

    return evaluate_live


def one_job(jobs: int, is_quiet: bool) -> int:
    """Return the number of runs at a time: one, which is said where more were asked for."""
    if jobs > 1 and not is_quiet:
        sys.stderr.write("--datapath linux: one run at a time (--jobs 1)\n")
    return 1
