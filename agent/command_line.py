# SPDX-License-Identifier: BSD-2-Clause
"""What the command lines share: errors are one line on stderr, `<program>: error: ...`, and an exit status."""

import argparse
import sys
from typing import NoReturn

from ccdrl.bindings.errors import InputError

EXIT_DONE, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are InputError, to be reported with `fail`."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError."""
        raise InputError(message)


def fail(program: str, message: str, status: int) -> int:
    """Print one line on stderr and return `status`."""
    print(f"{program}: error: {' '.join(message.split())}", file=sys.stderr)
    return status
