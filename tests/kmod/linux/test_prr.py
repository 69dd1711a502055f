# SPDX-License-Identifier: BSD-2-Clause
"""The controller's rate reduction in recovery, compiled for user space, against RFC 6937 in exact fractions."""

from collections.abc import Callable
from fractions import Fraction
from math import ceil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdrl.tests.kmod.linux.shim import ROOT, build_shim, read_declarations

Window = Callable[..., int]


@pytest.fixture(scope="session")
def window(tmp_path_factory: pytest.TempPathFactory) -> Window:
    """prr_window() with the fields of struct prr_ack as keywords."""
    declarations = read_declarations(ROOT / "kmod" / "linux" / "prr.h")
    declarations += "uint32_t shim_prr_window(const struct prr_ack *ack);"
    library = tmp_path_factory.mktemp("prr") / "prr.so"
    ffi, lib = build_shim(library, [Path(__file__).parent / "prr_shim.c"], declarations)
    return lambda **fields: int(lib.shim_prr_window(ffi.new("struct prr_ack *", fields)))


def rfc_window(
    inflight: int,
    ssthresh: int,
    prior_cwnd: int,
    prr_delivered: int,
    prr_out: int,
    delivered: int,
    is_progress: int,
) -> int:
    """RFC 6937 section 3 with MSS = 1: the slow start reduction bound while the ACK makes progress.

    Where it makes none, the kernel's reading of the conservative bound: no more than was delivered, by this ACK or not
    answered yet. The first transmission is the fast retransmit, whatever the sums say.
    """
    if inflight > ssthresh:
        sent = ceil(Fraction(prr_delivered * ssthresh, prior_cwnd)) - prr_out
    else:
        limit = max(prr_delivered - prr_out, delivered) + (1 if is_progress else 0)
        sent = min(ssthresh - inflight, limit)
    return min(inflight + max(sent, 0 if prr_out else 1), 2**31 - 1)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_every_ack_is_the_rfcs(window: Window, data: st.DataObject) -> None:
    draw = data.draw
    prior = draw(st.integers(1, 2**20), "prior_cwnd")
    delivered = draw(st.integers(1, 1000), "delivered")
    ack = {
        "inflight": draw(st.integers(0, 2**20), "inflight"),
        "ssthresh": draw(st.integers(2, 2**20), "ssthresh"),
        "prior_cwnd": prior,
        "prr_delivered": delivered + draw(st.integers(0, 2**20), "delivered before"),
        "prr_out": draw(st.integers(0, 2**20), "prr_out"),
        "delivered": delivered,
        "is_progress": draw(st.integers(0, 1), "is_progress"),
    }
    assert window(**ack) == rfc_window(**ack)


def recover(window: Window, flight: int, lost: int, ssthresh: int) -> tuple[list[int], list[int]]:
    """The windows and what is sent, ACK by ACK, when the first `lost` of `flight` segments are lost at once.

    The losses are known with the first duplicate ACK. Every other segment of the flight is SACKed by an ACK of its own.
    """
    prr_out = 0
    inflight = flight - lost
    windows, sent = [], []
    for prr_delivered in range(1, flight - lost + 1):
        inflight -= 1
        cwnd = window(
            inflight=inflight,
            ssthresh=ssthresh,
            prior_cwnd=flight,
            prr_delivered=prr_delivered,
            prr_out=prr_out,
            delivered=1,
            is_progress=0,
        )
        burst = max(cwnd - inflight, 0)
        prr_out += burst
        inflight += burst
        windows.append(cwnd)
        sent.append(burst)
    return windows, sent


def test_one_loss_of_twenty_by_hand(window: Window) -> None:
    """RFC 6937 section 4, one loss: a segment for every second ACK, and ssthresh in flight at the end.

    By hand for ssthresh 10 of 20: the n-th ACK may have ceil(n / 2) out, the first of them the retransmission. After 16
    ACKs 8 are out and 19 - 16 + 8 = 11 in flight; the 17th leaves 10, which is ssthresh, and the others keep it.
    """
    windows, sent = recover(window, 20, 1, 10)
    assert sent == [1, 0] * 8 + [0, 1, 1]
    assert windows == [19, 18, 18, 17, 17, 16, 16, 15, 15, 14, 14, 13, 13, 12, 12, 11, 10, 10, 10]


@pytest.mark.parametrize("beta", [Fraction(1, 2), Fraction(7, 10)])
def test_the_window_ends_at_ssthresh(window: Window, beta: Fraction) -> None:
    """Whatever the controller's reduction: data leaves in proportion, smoothly, and the end is ssthresh."""
    ssthresh = int(100 * beta)
    windows, sent = recover(window, 100, 1, ssthresh)
    assert max(sent) == 1
    assert all(before >= after for before, after in zip(windows, windows[1:], strict=False))
    assert windows[-1] == ssthresh
    is_above = [cwnd > ssthresh for cwnd in windows]
    for acks in range(1, sum(is_above)):
        assert sum(sent[:acks]) == ceil(acks * beta)


def test_heavy_losses_are_not_answered_with_a_burst(window: Window) -> None:
    """15 of 20 lost: below ssthresh without progress a segment leaves for each one delivered, none more."""
    _, sent = recover(window, 20, 15, 10)
    assert sent == [1] * 5


def test_progress_below_ssthresh_is_slow_start(window: Window) -> None:
    ack = {"inflight": 4, "ssthresh": 10, "prior_cwnd": 20, "prr_delivered": 3, "prr_out": 3, "delivered": 1}
    assert window(**ack, is_progress=1) == 4 + 2
    assert window(**ack, is_progress=0) == 4 + 1
    assert window(**ack | {"inflight": 10}, is_progress=1) == 10


def test_a_policys_higher_ssthresh_lets_the_window_grow_in_recovery(window: Window) -> None:
    """Under a lease ssthresh is the leased window, which may exceed the one before: bounded by it alike."""
    ack = {"inflight": 20, "ssthresh": 40, "prior_cwnd": 20, "prr_delivered": 6, "prr_out": 6, "delivered": 2}
    assert window(**ack, is_progress=1) == 23
    assert window(**ack | {"inflight": 39}, is_progress=1) == 40
