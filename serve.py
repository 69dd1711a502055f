# SPDX-License-Identifier: BSD-2-Clause
"""Serve a trained agent: a daemon that sets the congestion windows of live subflows (docs/serve.md)."""

import sys
from collections.abc import Sequence

from ccdrl.agent.command_line import EXIT_BAD_INPUT, EXIT_INTERRUPTED, fail
from ccdrl.agent.daemon import blas  # noqa: F401 (before numpy)
from ccdrl.agent.daemon.options import PROGRAM, parse_options
from ccdrl.agent.daemon.service import serve
from ccdrl.bindings.errors import InputError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the serve job; return 0 ended as asked, 1 failed at run time, 2 bad usage or input, 130 interrupted."""
    try:
        return serve(parse_options(sys.argv[1:] if argv is None else list(argv)))
    except InputError as error:
        return fail(PROGRAM, str(error), EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
