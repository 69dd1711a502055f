# SPDX-License-Identifier: BSD-2-Clause
import pytest

from ccdrl.agent.digest import digest_runs
from ccdrl.agent.evaluation import expand_flows, ids_under_test
from ccdrl.agent.results import run_key
from ccdrl.agent.suite.catalogue import Suite, make_suite
from ccdrl.agent.suite.evidence import Evidence
from ccdrl.agent.suite.optimum import find_optimum

CONTENDERS = ("drl", "lia", "olia", "balia", "cubic")


def make_run(case, cc, seed, goodput, delay_ms=20.0, retransmit=0.001, completion_s=None):
    """Return a made-up run; goodput is a number, or a function from flow id to Mbit/s."""
    flows = []
    for label, flow in expand_flows(case.scenario):
        is_tested = flow.cc == "@"
        subflow = {"rtt_mean_ms": 50.0, "rtt_p95_ms": 60.0, "loss_ratio": 0.0, "cwnd_mean_bytes": 1e4}
        flows.append(
            {
                "id": label,
                "cc": cc if is_tested else flow.cc,
                "goodput_mbps": goodput(label) if callable(goodput) else goodput,
                "completion_s": completion_s if flow.size_bytes is not None else None,
                "rtt_mean_ms": 50.0,
                "rtt_p95_ms": 60.0,
                "queue_delay_mean_ms": delay_ms / 2,
                "queue_delay_p95_ms": delay_ms,
                "retransmit_ratio": retransmit,
                "subflows": [{"path": i, "throughput_mbps": 1.0} | subflow for i in range(len(flow.paths))],
            }
        )
    links = [{"id": link.id, "utilization": 0.9, "queue_mean_bytes": 1.0, "drops": 1} for link in case.scenario.links]
    return {
        "scenario": case.name,
        "cc": cc,
        "datapath": "sim",
        "seed": seed,
        "duration_s": case.scenario.duration_s,
        "warmup_s": case.scenario.warmup_s,
        "wall_s": 0.1,
        "packets": 1,
        "flows": flows,
        "links": links,
        "jain": 0.9,
    }


def assemble(cases, runs, figures=None, contenders=CONTENDERS, kind="full"):
    """Return evidence of these runs; figures by (scenario, cc), the same for each seed."""
    tested = {case.name: ids_under_test(case.scenario) for case in cases}
    digest = digest_runs(runs, [case.name for case in cases], contenders, tested)
    found = {run_key(run): (figures or {}).get((run["scenario"], run["cc"])) for run in runs}
    kept = {key: value for key, value in found.items() if value is not None}
    optima = {case.name: find_optimum(case.scenario, None) for case in cases}
    return Evidence(Suite(kind, 9743, tuple(cases)), digest, tuple(runs), kept, optima, tested)


@pytest.fixture(scope="session")
def suite():
    return make_suite("full")


@pytest.fixture(scope="session")
def case_of(suite):
    """From a name to a case of the suite."""
    return {case.name: case for case in suite.cases}.__getitem__


@pytest.fixture(scope="session")
def evidence_of():
    """The function `assemble`."""
    return assemble


@pytest.fixture(scope="session")
def run_of():
    """The function `make_run`."""
    return make_run
