# SPDX-License-Identifier: BSD-2-Clause
"""Makes one policy of several: the mean of their actions.

    python -m ccdrl.agent.average runs/1/policy runs/2/policy runs/3/policy --out runs/mean

Trainings that differ in their seed spread; their mean does not have to be chosen (docs/training.md).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ccdrl.agent.command_line import EXIT_BAD_INPUT, EXIT_DONE, Parser, fail
from ccdrl.bindings.errors import InputError
from ccdrl.models.artifact import load_artifact, save_artifact
from ccdrl.models.averaging import average
from ccdrl.models.fields import ArtifactError

PROGRAM = "python -m ccdrl.agent.average"


def make_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(prog=PROGRAM, description="Make one policy of several: the mean of their actions.")
    parser.add_argument("policies", metavar="POLICY", type=Path, nargs="+", help="artifacts that train.py wrote")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the mean's folder")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the artifact and return the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        save_artifact(average([load_artifact(path) for path in options.policies]), options.out)
    except (ArtifactError, InputError) as error:
        return fail(PROGRAM, str(error), EXIT_BAD_INPUT)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
