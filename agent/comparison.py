# SPDX-License-Identifier: BSD-2-Clause
"""The compare job: check everything, run what is missing, write the results, the table and the report.

Bad input is an InputError before the first run starts. A run that fails is reported and the others are kept (exit
status 1). Ctrl-C ends the job with exit status 130; finished runs are in the results file, and --resume goes on.
"""

import dataclasses
import importlib.util
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ccdrl import __version__
from ccdrl.agent import live, results
from ccdrl.agent.agreement import Agreement, compare_datapaths
from ccdrl.agent.command_line import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, fail
from ccdrl.agent.contenders import Contender, find_agents, find_contenders
from ccdrl.agent.digest import Digest, digest_runs
from ccdrl.agent.evaluation import (
    DATAPATH,
    RunSpec,
    cached_policy,
    count_agent_subflows,
    evaluate,
    expand_flows,
    ids_under_test,
)
from ccdrl.agent.progress import Meter
from ccdrl.agent.table import print_table
from ccdrl.agent.timeseries import Series, record
from ccdrl.agent.workers import Outcome, run_tasks
from ccdrl.bindings.errors import InputError
from ccdrl.envs.network import build_network
from ccdrl.envs.scenario import Scenario, load_scenario, shipped_scenarios
from ccdrl.models.storage import replace_file

PROGRAM = "compare.py"
ALL = "all"
SAVE_INTERVAL_S = 5.0
SERIES_SCENARIOS_MAX = 6
FAILURES_SHOWN = 5


@dataclass(frozen=True)
class Options:
    """What the command line asks for; `command` is the line itself, for the report."""

    scenarios: tuple[str, ...]
    controllers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    jobs: int = 1
    traces: Path | None = None
    datapath: str = DATAPATH
    json: Path | None = None
    report: Path | None = None
    against: Path | None = None
    is_resume: bool = False
    duration_s: float | None = None
    is_quiet: bool = False
    command: str = ""


@dataclass(frozen=True)
class Plan:
    """A checked comparison: every run wanted, what an older file already holds, and runs of --against."""

    scenarios: tuple[Scenario, ...]
    contenders: tuple[Contender, ...]
    specs: tuple[RunSpec, ...]
    finished: tuple[results.Run, ...] = ()
    carried: tuple[dict[str, object], ...] = ()
    other: tuple[results.Run, ...] = ()

    @property
    def tested(self) -> dict[str, frozenset[str]]:
        """Ids of the flows under test, by scenario."""
        return {scenario.name: ids_under_test(scenario) for scenario in self.scenarios}

    @property
    def wanted(self) -> set[results.Key]:
        """The keys of all runs asked for."""
        return {spec.key for spec in self.specs}

    @property
    def missing(self) -> list[RunSpec]:
        """The runs still to do; a seed goes through all scenarios before the next one starts."""
        done = {results.run_key(run) for run in self.finished}
        return [spec for spec in self.specs if spec.key not in done]


def list_scenarios() -> str:
    """Return the shipped scenarios, a line each."""
    scenarios = shipped_scenarios()
    width = max((len(scenario.name) for scenario in scenarios), default=0)
    return "".join(f"{scenario.name:<{width}}  {scenario.summary}\n" for scenario in scenarios)


def all_scenarios(has_traces: bool, is_quiet: bool) -> list[Scenario]:
    """Return the shipped scenarios, without --traces those that need no trace files."""
    scenarios = shipped_scenarios()
    if has_traces:
        return scenarios
    kept = [scenario for scenario in scenarios if all(link.trace is None for link in scenario.links)]
    if len(kept) < len(scenarios) and not is_quiet:
        sys.stderr.write(f"all: {len(scenarios) - len(kept)} scenarios need --traces and are left out\n")
    return kept


def load_scenarios(options: Options) -> tuple[Scenario, ...]:
    """Return the scenarios, each once. Raises InputError; two different ones of one name are refused."""
    found: dict[str, Scenario] = {}
    wanted: list[Scenario] = []
    for name in options.scenarios:
        if name != ALL:
            wanted.append(load_scenario(name))
            continue
        everything = all_scenarios(options.traces is not None, options.is_quiet)
        is_live = options.datapath == live.DATAPATH
        wanted += live.select_scenarios(everything, options.traces, options.is_quiet) if is_live else everything
    for scenario in wanted:
        other = found.setdefault(scenario.name, scenario)
        if other != scenario:
            places = f"{other.source} and {scenario.source}"
            raise InputError(f"{places}: both are called {scenario.name!r}, accepted: scenarios with different names")
    duration_s = options.duration_s
    if duration_s is None:
        return tuple(found.values())
    for scenario in found.values():
        if duration_s <= scenario.warmup_s:
            limit = f"above warmup_s = {scenario.warmup_s:g} of {scenario.name}"
            raise InputError(f"--duration-s: {duration_s:g}, accepted: {limit}")
    return tuple(dataclasses.replace(scenario, duration_s=duration_s) for scenario in found.values())


def check_networks(specs: Sequence[RunSpec]) -> None:
    """Build each scenario once, so that a missing trace or artifact is told before the first run."""
    for spec in specs:
        rows = count_agent_subflows(spec.scenario, spec.contender)
        if rows and spec.agent is None:
            raise InputError(f"{spec.scenario.source}: a flow has cc = 'drl', accepted: with --model DIR")
    for agent in {spec.agent for spec in specs if spec.agent is not None}:
        cached_policy(agent)
    first = {spec.scenario.name: spec for spec in reversed(specs)}
    for spec in first.values():
        build_network(spec.scenario, spec.contender.controller, spec.seed, spec.traces)


def check_resumed(path: Path, runs: Sequence[results.Run], plan: Plan) -> None:
    """Raise InputError where runs in the file belong to another experiment than the one asked for."""
    scenarios = {scenario.name: scenario for scenario in plan.scenarios}
    for run in runs:
        scenario = scenarios.get(run["scenario"])
        if scenario is None:
            continue
        if run["datapath"] not in {spec.datapath for spec in plan.specs}:
            where = f"{path}: {run['scenario']} was run on datapath {run['datapath']}"
            raise InputError(f"{where}, accepted for --resume: runs of one datapath, or another --json")
        for name in ("duration_s", "warmup_s"):
            wanted = getattr(scenario, name)
            if run[name] != wanted:
                where = f"{path}: {run['scenario']} was run with {name} = {run[name]:g}"
                raise InputError(f"{where}, accepted for --resume: {wanted:g}, or another --json")
        if [flow["id"] for flow in run["flows"]] != [label for label, _ in expand_flows(scenario)]:
            raise InputError(f"{path}: {run['scenario']} was run with other flows, accepted: another --json")


def resume(plan: Plan, path: Path) -> Plan:
    """Return the plan with the runs that a results file holds. A file that is not there yet holds none."""
    if not path.exists():
        return plan
    document = results.read_results(path)
    if document["version"] != __version__:
        raise InputError(f"{path}: written by version {document['version']}, accepted for --resume: {__version__}")
    check_resumed(path, document["runs"], plan)
    return dataclasses.replace(plan, finished=tuple(document["runs"]), carried=tuple(document["summary"]))


def read_other(options: Options) -> tuple[results.Run, ...]:
    """Return the other datapath's runs of --against. Raises InputError."""
    if options.against is None:
        return ()
    if options.report is None:
        raise InputError("--against: shown in the report only, accepted: together with --report OUT.html")
    runs = results.read_results(options.against)["runs"]
    other = tuple(run for run in runs if run["datapath"] != options.datapath)
    if not other:
        raise InputError(f"--against: {options.against} holds no run of another datapath than {options.datapath}")
    return other


def make_plan(options: Options, scenarios: tuple[Scenario, ...] | None = None) -> Plan:
    """Check all options and files; `scenarios` stand in for those that the options name. Raises InputError."""
    if options.datapath not in (DATAPATH, live.DATAPATH):
        raise InputError(f"--datapath: {options.datapath!r}, accepted: {DATAPATH}, {live.DATAPATH}")
    if options.datapath == live.DATAPATH:
        live.check_machine()
    if options.is_resume and options.json is None:
        raise InputError("--resume: no file to go on from, accepted: together with --json OUT.json")
    if options.traces is not None and not options.traces.is_dir():
        raise InputError(f"--traces: {options.traces} is not a directory, accepted: the folder that holds the traces")
    for option, path in (("--json", options.json), ("--report", options.report)):
        if path is not None:
            results.check_writable(path, option)
    if options.json is not None and options.report is not None and options.json.resolve() == options.report.resolve():
        raise InputError(f"--report: {options.report} is the file of --json too, accepted: another file")
    if options.report is not None and importlib.util.find_spec("matplotlib") is None:
        raise InputError("--report: matplotlib is not installed, accepted: pip install 'ccdrl[report]'")
    scenarios = load_scenarios(options) if scenarios is None else scenarios
    agents = find_agents(options.models)
    contenders = find_contenders(options.controllers, agents)
    default = agents[0].model if agents else None
    specs = tuple(
        RunSpec(scenario, contender, seed, contender.model or default, options.traces, options.datapath)
        for seed, scenario, contender in itertools.product(options.seeds, scenarios, contenders)
    )
    if options.datapath == live.DATAPATH:
        live.check_specs(specs)
    check_networks(specs)
    plan = Plan(scenarios, tuple(contenders), specs, other=read_other(options))
    return resume(plan, options.json) if options.is_resume and options.json is not None else plan


class Comparison:
    """A plan on its way: collects runs and failures, and keeps the results file up to date.

    The suite's job replaces what is done for a run and what is made of them all.
    """

    evaluate: Callable[[RunSpec], object] = staticmethod(evaluate)

    def __init__(self, plan: Plan, options: Options) -> None:
        self.plan = plan
        self.options = options
        self.runs: list[results.Run] = list(plan.finished)
        self.failures: list[str] = []

    @property
    def pending(self) -> int:
        """How many runs are still to do, or have failed."""
        return len(self.plan.specs) - len({results.run_key(run) for run in self.runs} & self.plan.wanted)

    def document(self) -> results.Document:
        """Return the results so far."""
        return results.make_document(self.runs, self.plan.tested, self.plan.carried)

    def save(self) -> None:
        """Write what is there to --json. Raises OSError."""
        if self.options.json is not None:
            results.write_results(self.options.json, self.document())

    def collect(self, outcome: Outcome) -> None:
        """Keep what a run has brought."""
        self.runs.append(outcome.value)

    def execute(self) -> None:
        """Do the missing runs. On Ctrl-C the finished ones are saved and the interrupt goes on."""
        specs = self.plan.missing
        saved_s = time.monotonic()
        is_live = self.options.datapath == live.DATAPATH
        title, function = ("measuring", live.load_evaluate()) if is_live else ("simulating", self.evaluate)
        jobs = live.one_job(self.options.jobs, self.options.is_quiet) if is_live else self.options.jobs
        try:
            with Meter(title, len(specs), self.options.is_quiet) as meter:
                for outcome in run_tasks(function, specs, jobs):
                    if outcome.error is None:
                        self.collect(outcome)
                    else:
                        scenario, cc, _, seed = specs[outcome.index].key
                        self.failures.append(f"{scenario}, {cc}, seed {seed}: {outcome.error}")
                    meter.advance()
                    if time.monotonic() - saved_s > SAVE_INTERVAL_S:
                        self.save()
                        saved_s = time.monotonic()
        finally:
            self.save()

    def digest(self) -> Digest:
        """Return the figures of the runs that were asked for."""
        runs = [run for run in self.runs if results.run_key(run) in self.plan.wanted]
        names = [scenario.name for scenario in self.plan.scenarios]
        return digest_runs(runs, names, [contender.label for contender in self.plan.contenders], self.plan.tested)

    def print(self) -> None:
        """Print the table."""
        print_table(self.digest(), sys.stdout)

    def record_series(self) -> list[Series]:
        """Run the first seed once more for the report's time series, in the first scenarios only."""
        chosen = {scenario.name for scenario in self.plan.scenarios[:SERIES_SCENARIOS_MAX]}
        done = {results.run_key(run) for run in self.runs}
        specs = [
            spec
            for spec in self.plan.specs
            if spec.scenario.name in chosen and spec.seed == self.options.seeds[0] and spec.key in done
        ]
        series: list[tuple[int, Series]] = []
        with Meter("time series", len(specs), self.options.is_quiet) as meter:
            for outcome in run_tasks(record, specs, self.options.jobs):
                if outcome.error is None:
                    series.append((outcome.index, outcome.value))
                else:
                    self.failures.append(f"time series of {specs[outcome.index].key[:2]}: {outcome.error}")
                meter.advance()
        return [item for _, item in sorted(series, key=lambda pair: pair[0])]

    def agreement(self) -> list[Agreement]:
        """Return the runs beside those of --against; the simulator's side is the reference, whichever was run now."""
        sides = (self.plan.other, self.runs)
        simulated, measured = sides if self.options.datapath != DATAPATH else reversed(sides)
        return compare_datapaths(simulated, measured, self.plan.tested)

    def write_report(self) -> None:
        """Write the HTML report. matplotlib is loaded here and nowhere else."""
        from ccdrl.agent.report import Provenance, render_report  # noqa: PLC0415

        assert self.options.report is not None
        # A live run cannot be had twice, and its series would not be that of the results.
        series = self.record_series() if self.options.datapath == DATAPATH else []
        provenance = Provenance(__version__, self.options.command, self.options.seeds, self.options.datapath)
        page = render_report(self.digest(), self.plan.scenarios, series, provenance, self.agreement())
        replace_file(self.options.report, page.encode())


def compare(options: Options) -> int:
    """Do the compare job and return the exit status. Raises InputError before any run for bad input."""
    return run_comparison(Comparison(make_plan(options), options))


def run_comparison(comparison: Comparison) -> int:
    """Execute a checked comparison, show and write what it found, and return the exit status."""
    options = comparison.options
    try:
        comparison.execute()
        if not options.is_quiet:
            comparison.print()
        if options.report is not None:
            comparison.write_report()
    except KeyboardInterrupt:
        kept = f", {len(comparison.runs)} finished runs are in {options.json}" if options.json else ""
        sys.stderr.write(f"{PROGRAM}: interrupted{kept}\n")
        return EXIT_INTERRUPTED
    except OSError as error:
        comparison.failures.append(f"cannot write {error.filename or 'the output'}: {error.strerror or error}")
    for failure in comparison.failures[:FAILURES_SHOWN]:
        fail(PROGRAM, failure, EXIT_FAILED)
    if len(comparison.failures) > FAILURES_SHOWN:
        fail(PROGRAM, f"and {len(comparison.failures) - FAILURES_SHOWN} more", EXIT_FAILED)
    return EXIT_FAILED if comparison.failures else EXIT_DONE
