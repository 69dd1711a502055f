# SPDX-License-Identifier: BSD-2-Clause
"""Errors of the bindings, and the one error that every command line reports without a traceback."""


class InputError(ValueError):
    """Bad input: one line that says what is wrong, where, and which values are accepted (exit status 2)."""


class SimulatorError(RuntimeError):
    """The simulator failed while it ran: no memory, a call out of order, or a broken invariant (exit status 1)."""


class DatapathError(RuntimeError):
    """A datapath cannot answer: it is closed, or its kernel side has gone. Refused writes are PermissionError."""
