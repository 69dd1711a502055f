# SPDX-License-Identifier: BSD-2-Clause
"""A skip is for what a machine lacks, and says so; in continuous integration any other skip fails the run."""

import os
import signal

import pytest

LACKING = "this machine lacks "
"""Every allowed skip reason starts so, e.g. `pytest.skip("this machine lacks a BPF file system")`."""


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell starts what it puts in the background deaf to Ctrl-C, and children inherit that; some tests press it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class SkipGuard:
    """Collects skips whose reason is not one of the machine."""

    def __init__(self) -> None:
        self.unexplained: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note(report.nodeid, report.longrepr)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._note(report.nodeid, report.longrepr)

    def _note(self, nodeid: str, longrepr: object) -> None:
        reason = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
        if not reason.removeprefix("Skipped: ").startswith(LACKING):
            self.unexplained.append(f"{nodeid}: {reason}")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.unexplained:
            terminalreporter.write_line(f"skip without a reason of the machine: {line}", red=True)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unexplained and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI"):
        config.pluginmanager.register(SkipGuard(), "skip-guard")
