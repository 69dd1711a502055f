# SPDX-License-Identifier: BSD-2-Clause
"""Ships an agent: puts measured results into its artifact and writes its model card.

    python -m ccdrl.agent.model_card RUN/policy COMPARE.json --out models/pretrained/NAME --command "..."

The results are those of `compare.py --json` for the shipped scenarios in that file: anybody can measure them again.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ccdrl.agent import results, statistics
from ccdrl.agent.command_line import EXIT_BAD_INPUT, EXIT_DONE, Parser, fail
from ccdrl.agent.contenders import AGENT
from ccdrl.agent.digest import Digest, Row, digest_runs, find_losses
from ccdrl.agent.evaluation import ids_under_test
from ccdrl.bindings.errors import InputError
from ccdrl.envs.scenario import load_scenario
from ccdrl.models.artifact import Artifact, load_artifact, save_artifact
from ccdrl.models.fields import ArtifactError
from ccdrl.models.storage import replace_file

CARD_NAME = "README.md"
_CARD = """# {name}

A multipath congestion controller: one network of {parameters} parameters for every subflow, trained in simulation.

| | |
|---|---|
| checksum | `{checksum}` |
| training | {steps:,} decisions, seed {seed}, {hours:.1f} h of wall time; configuration `{config}` |
| code | ccdrl {version} |
| observation | {columns} columns, layout `{layout}`; action `{action}` |
| reproduce | `{command}` |

## What it was trained on

Random networks only (envs/randomization.py): 1 to 4 subflows, alone, together with other agents, and against Reno,
CUBIC and BBR; RTT 1 to 800 ms, 0.1 to 300 Mbit/s, buffers of 0.1 to 10 BDP, random loss up to 5 %, jitter, AQM, rate
and delay steps, outages, varying capacity. No scenario below and no recorded trace was trained on; the shipped
scenarios were looked at while settings were chosen, so they are a validation set, not a blind test.

## Results

`compare.py`, {seeds} seeds, datapath sim. Geometric means over {count} scenarios: goodput {goodput:.2f} of LIA's, p95
queueing delay {delay:.2f} of LIA's; competitors keep {rivals:.2f} of what LIA leaves them. Lowest goodput against LIA:
{worst:.2f} ({worst_name}).

{table}

## Where it loses

Against the couplings, by more than 5 %, worst first:

{losses}

## Limits

Results are the simulator's; docs/agreement.md holds them against a Linux kernel. Capacities above 300 Mbit/s and RTTs
above 800 ms are outside the training range. docs/safety.md says what is proven of a policy, and what is not.
"""


def relative_to(row: Row, lia: Row) -> float | None:
    """Return a row's goodput over LIA's, or LIA's completion time over the row's for finite transfers."""
    if row.is_finite and lia.is_finite:
        return statistics.ratio(lia.completion.mean, row.completion.mean)
    return statistics.ratio(row.goodput.mean, lia.goodput.mean)


def measure(digest: Digest) -> dict[str, dict[str, float | None]]:
    """Return {scenario: figures of the agent}."""
    measured = {}
    for scenario in digest.scenarios:
        rows = {row.cc: row for row in digest.of_scenario(scenario)}
        if AGENT not in rows or "lia" not in rows:
            continue
        row = rows[AGENT]
        measured[scenario] = {
            "goodput_mbps": row.goodput.mean,
            "goodput_over_lia": relative_to(row, rows["lia"]),
            "goodput_over_best_coupling": row.relative,
            "queue_delay_p95_ms": row.delay.mean,
            "queue_delay_p95_over_lia": row.delay_relative,
            "competitors_over_lia": row.rivals_relative,
        }
    return measured


def show(value: float | None) -> str:
    """Return a ratio for the table."""
    return "–" if value is None else f"{value:.2f}"


def write_card(name: str, artifact: Artifact, digest: Digest, n_seeds: int, command: str) -> str:
    """Return the card's text."""
    measured = artifact.results["scenarios"]
    ratios = {scenario: row["goodput_over_lia"] for scenario, row in measured.items() if row["goodput_over_lia"]}
    worst_name = min(ratios, key=lambda scenario: ratios[scenario])
    keys = ("goodput_over_lia", "goodput_over_best_coupling", "queue_delay_p95_over_lia", "competitors_over_lia")
    lines = [
        "| scenario | goodput ÷ LIA | ÷ best coupling | p95 delay ÷ LIA | competitors ÷ with LIA |",
        "|---|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {scenario} | " + " | ".join(show(row[key]) for key in keys) + " |" for scenario, row in measured.items()
    ]
    losses = [
        f"- {loss.scenario}: {loss.figure} {loss.value.mean:.4g} {loss.unit}, "
        f"{loss.reference_name} {loss.reference.mean:.4g} "
        f"({100 * loss.change:+.0f} %)"
        for loss in find_losses(digest, 0.05)
        if loss.cc == AGENT and loss.value.mean is not None and loss.reference.mean is not None
    ]

    def mean(key: str) -> float:
        return statistics.geometric_mean(row[key] for row in measured.values()) or float("nan")

    return _CARD.format(
        name=name,
        parameters=f"{sum(weights.size for weights in artifact.weights.values()):,}",
        checksum=artifact.checksum,
        steps=artifact.training["steps"],
        seed=", ".join(map(str, np.atleast_1d(artifact.training["seed"]))),
        hours=artifact.training["wall_s"] / 3600,
        config=artifact.training["config_sha256"][:16],
        version=artifact.provenance["code_version"],
        columns=len(artifact.observation_names),
        layout=artifact.observation_version,
        action=artifact.action_version,
        command=command,
        seeds=n_seeds,
        count=len(measured),
        goodput=mean("goodput_over_lia"),
        delay=mean("queue_delay_p95_over_lia"),
        rivals=mean("competitors_over_lia"),
        worst=ratios[worst_name],
        worst_name=worst_name,
        table="\n".join(lines),
        losses="\n".join(losses) or "nowhere",
    )


def ship(model: Path, comparison: Path, out: Path, command: str) -> None:
    """Write the artifact with its results, and its card, into `out`. Raises InputError, ArtifactError."""
    artifact = load_artifact(model)
    document = results.read_results(comparison)
    runs: list[dict[str, Any]] = document["runs"]
    names = list(dict.fromkeys(run["scenario"] for run in runs))
    contenders = list(dict.fromkeys(run["cc"] for run in runs))
    tested = {name: ids_under_test(load_scenario(name)) for name in names}
    digest = digest_runs(runs, names, contenders, tested)
    measured = measure(digest)
    if not measured:
        raise InputError(f"{comparison}: no scenario with runs of both '{AGENT}' and 'lia'")
    n_seeds = len({run["seed"] for run in runs})
    artifact = dataclasses.replace(artifact, results={"seeds": n_seeds, "scenarios": measured})
    save_artifact(artifact, out)
    replace_file(out / CARD_NAME, write_card(out.name, artifact, digest, n_seeds, command).encode())


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(prog="model_card", description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path, help="the trained artifact")
    parser.add_argument("comparison", type=Path, help="results of compare.py --json with drl and lia")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the shipped agent")
    parser.add_argument("--command", required=True, help="the command that trains it, for the card")
    try:
        options = parser.parse_args(arguments)
        ship(options.model, options.comparison, options.out, options.command)
    except (InputError, ArtifactError) as error:
        return fail(parser.prog, str(error), EXIT_BAD_INPUT)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
