# SPDX-License-Identifier: BSD-2-Clause
"""One recorded stream of ACKs, losses and time-outs through the three fallbacks: the same windows.

FreeBSD's and the simulator's are equal to BYTES_TOLERANCE, as a kernel drops fractions of a byte. Linux keeps windows
in whole segments, so each is up to one below; siblings are coupled through their windows, so that an ACK more or less
until the next whole segment adds up between two losses: SEGMENTS_TOLERANCE bounds it on these streams.
"""

import functools
import shutil

import numpy as np
import pytest

from ccdrl.tests.bindings.networks import down, link, up
from ccdrl.tests.kmod.freebsd import toolchain
from ccdrl.tests.parity.fallbacks import MSS_BYTES, Module, Native, Step, list_steps

BYTES_TOLERANCE = 2
SEGMENTS_TOLERANCE = 2.0
DURATION_S = 6
NETWORKS = {
    "alone": {"links": (link(8, 20, 30),)},
    "drop-tail": {"links": (link(10, 10, 30), link(5, 40, 40))},
    "random-loss": {"links": (link(10, 10, 200, 0.003), link(6, 40, 200, 0.001), link(15, 80, 400, 0.0005))},
    "outage": {"links": (link(6, 20, 30), link(4, 5, 20)), "events": (down(1, 3000), up(1, 4500))},
}


@functools.cache
def steps_of(network):
    steps = list_steps(**NETWORKS[network], duration_s=DURATION_S)
    kinds = {step.kind for step in steps}
    assert {"ack", "signal", "recovered"} <= kinds
    assert ("timeout" in kinds) == (network == "outage")
    return steps


def run(fallback, steps):
    """Return the window after each event, NaN during a reduction, where it is the stack's."""
    windows, reducing = [], set()
    try:
        for step in steps:
            fallback.take(step)
            if step.kind == "signal":
                reducing.add(step.subflow)
            elif step.kind != "ack":
                reducing.discard(step.subflow)
            windows.append(np.nan if step.subflow in reducing else fallback.cwnd_bytes(step.subflow))
    finally:
        fallback.close()
    return np.array(windows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("this machine lacks gcc")
    return tmp_path_factory.mktemp("fallback")


def make_module(n_subflows):
    try:
        toolchain.ziglang(14)
        toolchain.ck_headers()
    except toolchain.ToolchainError as error:
        pytest.skip(f"this machine lacks FreeBSD's headers: {error}")
    return Module(n_subflows)


@pytest.mark.parametrize("network", NETWORKS)
def test_freebsds_object_is_the_simulators_fallback(network, folder):
    steps, n = steps_of(network), len(NETWORKS[network]["links"])
    want = run(Native("sim", n, folder), steps)
    got = run(make_module(n), steps)
    assert np.nanmax(np.abs(got - want)) <= BYTES_TOLERANCE
    assert np.nanmax(want) > 2 * np.nanmin(want)


@pytest.mark.parametrize("network", NETWORKS)
def test_linux_source_is_the_simulators_fallback_in_whole_segments(network, folder):
    steps, n = steps_of(network), len(NETWORKS[network]["links"])
    want = run(Native("sim", n, folder), steps)
    got = run(Native("linux", n, folder), steps)
    assert np.nanmax(np.abs(got - want)) <= SEGMENTS_TOLERANCE * MSS_BYTES
    assert (got[~np.isnan(got)] % MSS_BYTES == 0).all()


def test_a_difference_in_the_arithmetic_would_show(folder):
    """The streams are long enough for a window that grows one per cent faster to leave the tolerances."""
    steps = steps_of("drop-tail")
    faster = [
        Step(each.subflow, each.kind, each.segments + (index % 50 == 0) * (each.kind == "ack"), each.srtt_us)
        for index, each in enumerate(steps)
    ]
    right, wrong = (run(Native("sim", 2, folder), each) for each in (steps, faster))
    assert np.nanmax(np.abs(right - wrong)) > 100 * BYTES_TOLERANCE
