# SPDX-License-Identifier: BSD-2-Clause
"""What controllers put right after callbacks that never came (kmod/linux/missed.h), compiled for user space."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdrl.tests.kmod.linux.shim import ROOT, build_shim, read_declarations

INFINITE = 2**31 - 1
SLACK = 10
Repair = Callable[..., tuple[bool, int, int]]
segments = st.integers(1, 2**20)


@pytest.fixture(scope="session")
def repair(tmp_path_factory: pytest.TempPathFactory) -> Repair:
    """missed_repair(): (was anything wrong, cwnd, ssthresh) from the fields of struct missed_window."""
    declarations = read_declarations(ROOT / "kmod" / "linux" / "missed.h")
    declarations += "uint32_t shim_missed_repair(struct missed_window *window);"
    library = tmp_path_factory.mktemp("missed") / "missed.so"
    ffi, lib = build_shim(library, [Path(__file__).parent / "missed_shim.c"], declarations)

    def call(**fields: int) -> tuple[bool, int, int]:
        window = ffi.new("struct missed_window *", fields)
        return bool(lib.shim_missed_repair(window)), window.cwnd, window.ssthresh

    return call


@settings(max_examples=300, deadline=None)
@given(seen=segments, prior=st.integers(0, 2**20), delivered=st.integers(0, 2**16), data=st.data())
def test_what_a_kernel_does_by_itself_is_left_alone(
    repair: Repair, seen: int, prior: int, delivered: int, data: st.DataObject
) -> None:
    """Growth by what was delivered, rate reduction, one segment after an RTO, an undo to the window before."""
    cwnd = data.draw(st.integers(1, max(seen + delivered, prior)), "cwnd")
    ssthresh = data.draw(st.one_of(st.just(INFINITE), segments), "ssthresh")
    fields = {"cwnd": cwnd, "ssthresh": ssthresh, "prior_cwnd": prior, "seen_cwnd": seen, "delivered": delivered}
    assert repair(**fields, is_entry_missed=0, wanted_ssthresh=2) == (False, cwnd, ssthresh)


@settings(max_examples=300, deadline=None)
@given(seen=segments, prior=segments, delivered=st.integers(0, 2**16), excess=st.integers(1, 2**31))
def test_a_window_that_nobody_made_goes(repair: Repair, seen: int, prior: int, delivered: int, excess: int) -> None:
    """Rubbish for ssthresh becomes the window when the reduction ends: both go back to what was seen last."""
    rubbish = max(seen, prior) + delivered + SLACK + excess
    fields = {"cwnd": rubbish, "ssthresh": rubbish, "prior_cwnd": prior, "seen_cwnd": seen, "delivered": delivered}
    assert repair(**fields, is_entry_missed=0, wanted_ssthresh=2) == (True, seen, seen)


@pytest.mark.parametrize("ssthresh", [0, 1, 21, 2**31, 2**32 - 1])
def test_a_reduction_that_began_unasked_heads_for_what_it_should(repair: Repair, ssthresh: int) -> None:
    fields = {"cwnd": 39, "ssthresh": ssthresh, "prior_cwnd": 40, "seen_cwnd": 40, "delivered": 3}
    assert repair(**fields, is_entry_missed=1, wanted_ssthresh=20) == (True, 39, 20)
    assert repair(**{**fields, "ssthresh": 20}, is_entry_missed=1, wanted_ssthresh=20) == (False, 39, 20)


def test_a_window_of_nothing_is_never_left(repair: Repair) -> None:
    """A window of 0 sends nothing, so that no ACK would ever come to mend it later."""
    assert repair(cwnd=0, ssthresh=0, prior_cwnd=40, seen_cwnd=17, delivered=0) == (True, 17, 17)


def test_without_a_first_look_nothing_is_judged(repair: Repair) -> None:
    assert repair(cwnd=10**6, ssthresh=0, prior_cwnd=0, seen_cwnd=0, delivered=0) == (False, 10**6, 0)
