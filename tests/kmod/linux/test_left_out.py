# SPDX-License-Identifier: BSD-2-Clause
"""The Linux controller in a kernel that leaves out callbacks (kmod/linux/missed.h): its source, run in user space."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ccdrl.tests.kmod.linux.shim import INCLUDES, ROOT, build_shim

HERE = Path(__file__).parent
PARITY = ROOT / "tests" / "parity" / "fallback"
MSS_BYTES = 1448
SRTT_US = 40_000
RUBBISH = 0x9A5C01D8
"""What a kernel's stack may hold: half of an address."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    declarations = (PARITY / "fallback.h").read_text() + (HERE / "left_out.h").read_text()
    built = tmp_path_factory.mktemp("left_out") / "left_out.so"
    return build_shim(built, [HERE / "left_out.c"], declarations, includes=(HERE, PARITY, *INCLUDES))


class Connection:
    """One subflow, or two, in fallback; windows in segments."""

    def __init__(self, library: tuple[Any, Any], n_subflows: int = 1) -> None:
        self.ffi, self.lib = library
        self.pointer = self.lib.fallback_new(n_subflows, MSS_BYTES)
        self.before = self.lib.left_out_count()

    def acks(self, count: int, subflow: int = 0) -> None:
        for _ in range(count):
            self.lib.fallback_ack(self.pointer, subflow, 1, SRTT_US)

    def cwnd(self, subflow: int = 0) -> float:
        return float(self.lib.fallback_cwnd_bytes(self.pointer, subflow)) / MSS_BYTES

    def count(self, name: str) -> int:
        return int(getattr(self.lib.left_out_count(), name) - getattr(self.before, name))


@pytest.fixture
def connection(library: tuple[Any, Any]) -> Iterator[Connection]:
    made = Connection(library)
    yield made
    made.lib.fallback_free(made.pointer)


def test_a_reduction_that_nobody_was_asked_about_halves_all_the_same(connection: Connection) -> None:
    connection.acks(30)
    assert connection.cwnd() == 40
    connection.lib.left_out_signal(connection.pointer, 0, RUBBISH)
    connection.acks(5)
    connection.lib.fallback_recovered(connection.pointer, 0)
    assert connection.cwnd() == 20
    assert connection.count("repaired") == 1


def test_neither_begin_nor_end_told_leaves_the_window_as_it_was(connection: Connection) -> None:
    """Nothing tells that there was a loss; but millions of segments are nobody's window."""
    connection.acks(30)
    connection.lib.left_out_signal(connection.pointer, 0, RUBBISH & 0x7FFFFFFE)
    connection.lib.left_out_recovered(connection.pointer, 0)
    assert connection.cwnd() > 1e6
    connection.acks(1)
    assert connection.cwnd() <= 41
    assert connection.count("repaired") == 1
    connection.acks(40)
    assert connection.cwnd() <= 43, "congestion avoidance from here on, no slow start"


@pytest.mark.parametrize("rubbish", [0, RUBBISH])
def test_an_undo_that_nobody_was_asked_about(connection: Connection, rubbish: int) -> None:
    connection.acks(30)
    connection.lib.fallback_signal(connection.pointer, 0)
    connection.acks(3)
    connection.lib.left_out_undo(connection.pointer, 0, rubbish)
    connection.acks(1)
    assert 1 <= connection.cwnd() <= 40
    assert connection.count("repaired") == 1


def test_what_the_kernel_tells_is_never_taken_for_rubbish(connection: Connection) -> None:
    for _ in range(20):
        connection.acks(50)
        connection.lib.fallback_signal(connection.pointer, 0)
        connection.acks(10)
        connection.lib.fallback_recovered(connection.pointer, 0)
        connection.acks(20)
        connection.lib.fallback_timeout(connection.pointer, 0, 1)
        connection.acks(30)
    assert connection.count("repaired") == 0


def test_without_init_the_first_ack_begins(connection: Connection) -> None:
    connection.lib.left_out_init(connection.pointer, 0)
    assert connection.count("closed") == 1
    connection.acks(30)
    assert connection.count("created") == 1
    assert connection.cwnd() == 40
