# SPDX-License-Identifier: BSD-2-Clause
"""The suite as a comparison: which scenarios run, what is kept of each run, and what is made of them.

The results file is ccdrl-compare/1 with one more key, `suite`; docs/suite.md defines it.
"""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

from ccdrl import __version__
from ccdrl.agent import results
from ccdrl.agent.comparison import Comparison, Options, make_plan, run_comparison
from ccdrl.agent.progress import Meter
from ccdrl.agent.suite.catalogue import CONTROLLERS, SEED, Suite, list_suite, make_suite
from ccdrl.agent.suite.evidence import Evidence, figures_of
from ccdrl.agent.suite.optimum import find_optimum
from ccdrl.agent.suite.sampling import GoodputSeries, measure, record_goodput
from ccdrl.agent.suite.transients import Figures
from ccdrl.agent.suite.verdict_table import print_verdicts
from ccdrl.agent.suite.verdicts import describe_suite
from ccdrl.agent.workers import Outcome, run_tasks
from ccdrl.bindings.errors import InputError
from ccdrl.models.storage import replace_file

SERIES_GROUPS = ("together", "step", "failover", "balance")
SERIES_EACH = 2


@dataclass(frozen=True)
class SuiteOptions:
    """What --suite and --suite-seed ask for."""

    kind: str
    seed: int = SEED
    is_list: bool = False


def check_options(options: Options, wanted: SuiteOptions) -> None:
    """Raise InputError for options that a suite does not take."""
    if options.datapath != "sim":
        raise InputError(f"--suite: with --datapath {options.datapath}, accepted: sim")
    if options.duration_s is not None:
        raise InputError(f"--duration-s: {options.duration_s:g} with --suite, accepted: each scenario's own time")
    if options.against is not None:
        raise InputError("--against: with --suite, accepted: scenarios that the other datapath has run")
    if wanted.is_list and options.traces is not None and not options.traces.is_dir():
        raise InputError(f"--traces: {options.traces} is not a directory, accepted: the folder that holds the traces")


def load_figures(path: Path, suite: Suite) -> dict[results.Key, Figures]:
    """Return the figures of an older file. Raises InputError where it is not of this suite."""
    document = results.read_results(path)
    section = document.get("suite")
    if not isinstance(section, dict) or section.get("seed") != suite.seed:
        found = section.get("seed") if isinstance(section, dict) else None
        text = f"{path}: holds {'no suite' if found is None else f'the suite of seed {found}'}"
        raise InputError(f"{text}, accepted for --resume: the suite of seed {suite.seed}")
    try:
        return figures_of(section)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a results file: suite.figures: {error}") from error


class SuiteComparison(Comparison):
    """A comparison that keeps the transients of each run and judges the whole."""

    evaluate = staticmethod(measure)

    def __init__(self, suite: Suite, options: Options) -> None:
        """Check everything. Raises InputError."""
        super().__init__(make_plan(options, tuple(case.scenario for case in suite.cases)), options)
        self.suite = suite
        self.figures: dict[results.Key, Figures] = {}
        if options.is_resume and options.json is not None and options.json.exists():
            self.figures = load_figures(options.json, suite)
        self.optima = {case.name: find_optimum(case.scenario, options.traces) for case in suite.cases}

    def collect(self, outcome: Outcome) -> None:
        """Keep the run and its figures."""
        self.runs.append(outcome.value.run)
        self.figures[results.run_key(outcome.value.run)] = outcome.value.figures

    def evidence(self) -> Evidence:
        """Return what the verdicts are made of."""
        wanted = {spec.key for spec in self.plan.specs}
        runs = [run for run in self.runs if results.run_key(run) in wanted]
        return Evidence(self.suite, self.digest(), tuple(runs), self.figures, self.optima, self.plan.tested)

    def document(self) -> results.Document:
        """Return the results with the suite's section; verdicts once all runs are there."""
        return super().document() | {"suite": describe_suite(self.evidence(), is_complete=not self.pending)}

    def print(self) -> None:
        """Print the verdicts."""
        print_verdicts(self.evidence(), sys.stdout)

    def record_goodput(self) -> list[GoodputSeries]:
        """Run the first seed of a few scenarios once more, for the report's series."""
        names = [case.name for group in SERIES_GROUPS for case in self.suite.group(group)[:SERIES_EACH]]
        done = {results.run_key(run) for run in self.runs}
        specs = [
            spec
            for spec in self.plan.specs
            if spec.scenario.name in names and spec.seed == self.options.seeds[0] and spec.key in done
        ]
        found: dict[int, GoodputSeries] = {}
        with Meter("time series", len(specs), self.options.is_quiet) as meter:
            for outcome in run_tasks(record_goodput, specs, self.options.jobs):
                if outcome.error is None:
                    found[outcome.index] = outcome.value
                else:
                    self.failures.append(f"time series of {specs[outcome.index].key[:2]}: {outcome.error}")
                meter.advance()
        return [found[index] for index in sorted(found)]

    def write_report(self) -> None:
        """Write the suite's HTML report. matplotlib is loaded here and nowhere else."""
        from ccdrl.agent.report import Provenance  # noqa: PLC0415
        from ccdrl.agent.report.suite_document import render_suite  # noqa: PLC0415
        from ccdrl.agent.suite.phase import find_phases  # noqa: PLC0415

        assert self.options.report is not None
        provenance = Provenance(__version__, self.options.command, self.options.seeds, self.options.datapath)
        phases = find_phases(self.plan.contenders, self.suite, self.options.seeds[0], self.options.traces)
        page = render_suite(self.evidence(), self.record_goodput(), phases, provenance)
        replace_file(self.options.report, page.encode())


def compare_suite(options: Options, wanted: SuiteOptions) -> int:
    """Do the suite and return the exit status; with is_list only list it. Raises InputError before any run."""
    check_options(options, wanted)
    suite = make_suite(wanted.kind, wanted.seed, options.traces, options.scenarios)
    if wanted.is_list:
        sys.stdout.write(list_suite(suite))
        return 0
    if not options.controllers:
        options = dataclasses.replace(options, controllers=CONTROLLERS)
    return run_comparison(SuiteComparison(suite, options))
