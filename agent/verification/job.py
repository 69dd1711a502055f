# SPDX-License-Identifier: BSD-2-Clause
"""The verification job: arguments, states, the three analyses, and where the result goes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ccdrl.agent.command_line import EXIT_BAD_INPUT, EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, Parser, fail
from ccdrl.agent.contenders import shipped_agents
from ccdrl.agent.policy import Policy, load_policy
from ccdrl.agent.results import check_writable
from ccdrl.agent.verification.extremes import bound_whole_box
from ccdrl.agent.verification.families import Rows, tie
from ccdrl.agent.verification.guarantees import list_guarantees
from ccdrl.agent.verification.monotonicity import check_monotonicity
from ccdrl.agent.verification.network import make_network
from ccdrl.agent.verification.regions import PROPERTIES, Property
from ccdrl.agent.verification.report import PropertyResult, Verification, format_text, make_document
from ccdrl.agent.verification.search import Search
from ccdrl.agent.verification.selection import draw_rows, find_members, select_states
from ccdrl.agent.verification.states import read_states, record_states
from ccdrl.bindings.errors import InputError, SimulatorError
from ccdrl.models.storage import replace_file

PROGRAM = "verification"
STATES_DEFAULT, BOXES_DEFAULT = 24, 4000
WHOLE_MAX = 1_000_000


def whole(text: str) -> int:
    """Parse a count or a seed."""
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= WHOLE_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}, accepted: a whole number from 1 to {WHOLE_MAX}")
    return int(text)


def make_parser() -> Parser:
    """Return the command line of docs/safety.md."""
    parser = Parser(
        prog=PROGRAM,
        description="Prove what a policy can and cannot do (docs/safety.md).",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="a policy artifact (folder or .safetensors file), or a shipped agent's name")
    add("--json", type=Path, metavar="OUT", help="write the result here")
    add("--states", type=Path, metavar="FILE", help="typical states: a recording of serve.py, or a .npy array (N, F)")
    add("--seed", type=whole, default=1, metavar="S", help="of the recorded and the drawn states (default: 1)")
    add("--count", type=whole, default=STATES_DEFAULT, metavar="N", help=f"states a check (default: {STATES_DEFAULT})")
    add("--boxes", type=whole, default=BOXES_DEFAULT, metavar="N", help=f"boxes a property (default: {BOXES_DEFAULT})")
    add("--quiet", action="store_true", help="print no report")
    return parser


def find_artifact(text: str) -> Path:
    """Return the place of an artifact: a path, or the name of a shipped agent. Raises InputError."""
    path, shipped = Path(text), shipped_agents()
    if path.exists():
        return path
    if text not in shipped:
        names = ", ".join(shipped) or "none"
        raise InputError(f"MODEL: {text!r} does not exist, accepted: an artifact, or a shipped agent ({names})")
    return shipped[text]


def verify(
    policy: Policy,
    recorded: Rows,
    *,
    seed: int = 1,
    count: int = STATES_DEFAULT,
    boxes: int = BOXES_DEFAULT,
    properties: Sequence[Property] = PROPERTIES,
) -> Verification:
    """Verify a policy with typical states (N, F); `count` states a check, `boxes` of branch and bound a property.

    Raises InputError for an artifact whose arithmetic may overflow.
    """
    artifact = policy.artifact
    network = make_network(artifact)
    extremes = bound_whole_box(policy, network, seed)
    clip = artifact.action_low, artifact.action_high
    found, left_out = [], []
    for wanted in properties:
        choices = select_states(policy, network, recorded, wanted, count, seed)
        if choices is None:
            left_out.append(wanted.name)
            continue
        members = recorded[find_members(artifact.observation_names, recorded, wanted.family)]
        n_broken = int(wanted.limit.is_broken(policy.act(members)).sum())
        for choice, rows in choices.items():
            tied = tie(artifact, network, wanted.family, rows)
            assert tied is not None
            verdict = Search(policy, tied, wanted.limit, boxes_max=boxes).run()
            worst = tied.place(np.array([verdict.found_state]), np.array([verdict.found_point]))[0]
            found.append(PropertyResult(wanted, choice, verdict, worst, len(members), n_broken))
    states = draw_rows(recorded, count, seed)
    return Verification(
        artifact.checksum,
        seed,
        len(recorded),
        extremes,
        list_guarantees(extremes.bound_low, extremes.bound_high, clip),
        found,
        left_out,
        states,
        check_monotonicity(artifact, network, states),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; return 0 done, 1 failed at run time, 2 bad usage or input, 130 interrupted.

    A refuted property is a result, not a failure.
    """
    try:
        given = make_parser().parse_args(sys.argv[1:] if argv is None else list(argv))
        if given.json is not None:
            check_writable(given.json, "--json")
        model = find_artifact(given.model)
        policy = load_policy(model)
        if given.states is None:
            recorded = record_states(model, policy, given.seed)
        else:
            recorded = read_states(given.states, policy.artifact)
        result = verify(policy, recorded, seed=given.seed, count=given.count, boxes=given.boxes)
        if given.json is not None:
            text = json.dumps(make_document(result), indent=1, allow_nan=False)
            replace_file(given.json, (text + "\n").encode())
        if not given.quiet:
            sys.stdout.write(format_text(result))
    except InputError as error:
        return fail(PROGRAM, str(error), EXIT_BAD_INPUT)
    except (SimulatorError, OSError) as error:
        return fail(PROGRAM, str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return EXIT_DONE
