# SPDX-License-Identifier: BSD-2-Clause
"""`make kmod-check`: everything that can be checked of the FreeBSD module without FreeBSD, in the order of cost.

    python -m ccdrl.tests.kmod.freebsd.check [pytest arguments]

builds the module for each release and inspects the objects, builds the user side, runs the objects in the kernel model
with and without sanitizers, and plants faults that must be noticed. What is missing is installed into build/freebsd.
The last line is `N passed, M failed`; the exit status is 0 if nothing failed and something passed. A test that this
machine cannot run is named, and counts as neither.
"""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
STAGES = (
    ("objects: compiled, linked, inspected, analysed", ("tests/kmod/freebsd/test_build.py",)),
    ("user side: compiled for FreeBSD", ("tests/bindings/freebsd/test_build.py",)),
    ("objects: run in the kernel model", ("tests/kmod/freebsd/test_module.py",)),
    ("planted faults: noticed", ("tests/kmod/freebsd/test_planted_faults.py",)),
)


class Tally:
    """Counts tests, not phases: an error in set-up or tear-down is a failure."""

    def __init__(self) -> None:
        self.passed: set[str] = set()
        self.failed: set[str] = set()
        self.skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one phase of one test."""
        if report.failed:
            self.failed.add(report.nodeid)
        elif report.skipped:
            self.skipped[report.nodeid] = str(
                report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            )
        elif report.when == "call":
            self.passed.add(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take a file that could not be read."""
        if report.failed:
            self.failed.add(report.nodeid)


def main(arguments: list[str]) -> int:
    """Run all stages; the exit status."""
    tally = Tally()
    for title, names in STAGES:
        paths = [str(ROOT / name) for name in names if (ROOT / name).exists()]
        print(f"== {title}", flush=True)
        status = (
            pytest.main(["-q", "--no-header", "-r", "fE", f"--rootdir={ROOT}", *arguments, *paths], [tally])
            if paths
            else 5
        )
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
            tally.failed.add(title)
        if not paths:
            tally.failed.add(f"{title}: no such tests")
    for nodeid, reason in tally.skipped.items():
        print(f"not run: {nodeid}: {reason}")
    passed = tally.passed - tally.failed
    print(f"{len(passed)} passed, {len(tally.failed)} failed")
    return 0 if passed and not tally.failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
