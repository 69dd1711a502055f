# SPDX-License-Identifier: BSD-2-Clause
"""The system calls of both ABIs through the binding's own C; the kernel behind syscall(2) is a stand-in."""

import errno
import os
import signal
import struct

import numpy as np
import pytest

from ccdrl.bindings.datapath import Counters
from ccdrl.bindings.errors import DatapathError
from ccdrl.bindings.fake_datapath import FakeDatapath
from ccdrl.bindings.freebsd.datapath import FreeBSDDatapath
from ccdrl.bindings.library import ABI_VERSION, ActionResult, make_actions
from ccdrl.tests.bindings.freebsd.kernel_v1 import KernelV1
from ccdrl.tests.bindings.freebsd.standin import GET_BUFFER, UPDATE_CWND
from ccdrl.tests.bindings.networks import link

EXPIRED = "net.inet.tcp.cc.ccdrl.expired"


def make_windows(samples, cwnd_bytes=50_000):
    actions = make_actions(len(samples))
    actions["subflow_id"], actions["seq"] = samples["subflow_id"], samples["seq"]
    actions["cwnd_bytes"], actions["lease_us"] = cwnd_bytes, 500_000
    return actions


@pytest.fixture
def fake(machine):
    fake = FakeDatapath((2, 1))
    machine.serve_v2(fake)
    return fake


def test_samples_and_windows_of_v2(native, machine, fake):
    datapath = native.open_v2()
    fake.advance(100_000)
    samples = datapath.read_samples()
    assert set(samples["subflow_id"]) == {1, 2, 3}
    assert (samples["abi"] == ABI_VERSION).all()
    actions = make_windows(samples)
    actions["cwnd_bytes"][1] = 1
    assert list(datapath.write_actions(actions)) == [
        ActionResult.APPLIED,
        ActionResult.CLAMPED,
        ActionResult.APPLIED,
    ]
    assert fake.subflows[1].cwnd_bytes == 50_000
    machine.sysctls[EXPIRED] = struct.pack("=Q", 7)
    assert datapath.counters() == Counters(applied=2, clamped=1, expired=7)
    assert datapath.read_samples().size == 3
    assert datapath.read_samples().size == 0
    assert set(machine.asked) == {210, 211}
    datapath.close()


def test_only_leases_since_the_opening_count(native, machine, fake):
    machine.sysctls[EXPIRED] = struct.pack("=Q", 2**40)
    datapath = native.open_v2()
    assert datapath.counters().expired == 0


def test_many_actions_go_in_several_calls(native, machine, fake):
    datapath = native.open_v2()
    assert (datapath.write_actions(make_actions(2500)) == ActionResult.MALFORMED).all()
    assert machine.asked == [211] * 3
    assert datapath.counters() == Counters(malformed=2500)


def test_without_the_module(native, machine):
    with pytest.raises(DatapathError, match=r"no system call drl_get_buffer; load the module with `kldload ccdrl`"):
        native.open_v2()


@pytest.mark.parametrize("is_reused", [False, True])
def test_an_unload_is_noticed_before_another_call_is_made(native, machine, fake, is_reused):
    """A number that a later module got must not be called."""
    datapath = native.open_v2()
    datapath.read_samples()
    called = len(machine.asked)
    if is_reused:
        fake.close()
        machine.load_v2(lambda *_: (0, 0), lambda *_: (0, 0), first_id=300)
    else:
        machine.modules.clear()
    for call in (datapath.read_samples, lambda: datapath.write_actions(make_actions(1))):
        with pytest.raises(DatapathError, match="the module ccdrl was unloaded"):
            call()
    assert len(machine.asked) == called


def test_a_call_without_a_number_kills_nobody(native, machine, fake):
    native.open_v2()
    os.kill(os.getpid(), signal.SIGSYS)


@pytest.mark.parametrize(
    ("error", "raised"), [(errno.EPERM, PermissionError), (errno.EFAULT, DatapathError), (errno.ENOSYS, DatapathError)]
)
def test_errors_of_v2(native, machine, fake, error, raised):
    datapath = native.open_v2()
    machine.calls = dict.fromkeys((210, 211), lambda *_: (-1, error))
    for call in (datapath.read_samples, lambda: datapath.write_actions(make_actions(1))):
        with pytest.raises(raised, match=rf"datapath freebsd: drl_\w+: {os.strerror(error)}"):
            call()
    assert datapath.counters() == Counters()


def test_an_empty_read_of_a_datapath_without_actions(native, machine, fake):
    datapath = native.open_v2()
    assert datapath.write_actions(make_actions(0)).size == 0
    assert machine.asked == []


@pytest.fixture
def replica(machine):
    replica = KernelV1([link(10, 20, 50), link(5, 30, 50)])
    machine.serve_v1(replica)
    yield replica
    replica.simulator.close()


def test_samples_and_windows_of_v1(native, machine, replica):
    datapath = native.open_v1(1448, 1 << 30)
    assert datapath.read_samples().size == 0, "-1 without an errno is an empty queue"
    replica.advance(500_000)
    samples = datapath.read_samples().copy()
    assert len(samples) == 2
    assert (samples["srtt_us"] >= 40_000).all()
    assert (samples["srtt_us"] <= 120_000).all()
    assert (datapath.write_actions(make_windows(samples, 30 * 1448)) == ActionResult.APPLIED).all()
    assert [subflow.cwnd_bytes for subflow in replica.subflows] == [30 * 1448] * 2
    assert set(machine.asked) == {583, 584}
    datapath.close()
    assert [subflow.cwnd_bytes for subflow in replica.subflows] == [10 * 1448] * 2


def test_the_clock_rate_is_the_kernels(native, machine, replica):
    machine.sysctls["kern.clockrate"] = struct.pack("=5i", 100, 10_000, 0, 127, 8128)
    replica.advance(500_000)
    slow = native.open_v1(1448, 1 << 30).read_samples()
    assert (slow["srtt_us"] >= 400_000).all(), "ticks of 10 ms, as this replica's are of 1 ms"


@pytest.mark.parametrize(
    ("osreldate", "controllers", "said"),
    [
        (1400097, b"newreno\ndrl", "ABI v1 is FreeBSD 13's, this is FreeBSD 14; use --abi v2"),
        (1500068, b"newreno\ndrl", "this is FreeBSD 15"),
        (1301000, b"newreno, cubic, ccdrl, drl2", "no controller drl, so not ABI v1; use --abi v2"),
    ],
)
def test_numbers_that_are_another_calls_are_never_called(native, machine, replica, osreldate, controllers, said):
    machine.serve_v1(replica, osreldate, controllers)
    with pytest.raises(DatapathError, match=said):
        native.open_v1(1448, 1 << 30)
    assert machine.asked == []


def test_errors_of_v1(native, machine, replica):
    datapath = native.open_v1(1448, 1 << 30)
    replica.advance(200_000)
    samples = datapath.read_samples().copy()
    machine.calls[583] = lambda *_: (-1, 0)
    assert (datapath.write_actions(make_windows(samples)) == ActionResult.UNKNOWN).all(), "-1 without an errno"
    machine.calls[583] = lambda *_: (-1, errno.EINVAL)
    with pytest.raises(DatapathError, match="drl_update_cwnd: Invalid argument"):
        datapath.write_actions(make_windows(samples))
    machine.calls[584] = lambda *_: (-1, errno.EFAULT)
    with pytest.raises(DatapathError, match="drl_get_buffer: Bad address"):
        datapath.read_samples()


def test_absent_sysctls_are_one_line(native, machine, replica):
    del machine.sysctls["kern.clockrate"]
    with pytest.raises(OSError, match=r"kern\.clockrate: No such file"):
        native.open_v1(1448, 1 << 30)


def test_layouts_are_the_headers(native):
    assert native.lib.CCDRL_V1_GET_BUFFER == 584
    assert native.lib.CCDRL_V1_UPDATE_CWND == 583
    assert native.ffi.sizeof("struct ccdrl_v1_record") == 20


def test_the_modules_names_are_what_syscall_module_makes():
    assert (GET_BUFFER, UPDATE_CWND) == ("sys/drl_get_buffer", "sys/drl_update_cwnd")


def test_a_model_of_the_kernel_serves_as_well():
    """`Transport` is three methods on arrays: nothing of FreeBSD is loaded for it."""

    class Model:
        def get_buffer(self, samples):
            samples[0]["subflow_id"] = 9
            return 1

        def update_cwnd(self, actions, results):
            results[:] = ActionResult.STALE

        def read_expired(self):
            return 3

        def close(self):
            return None

    datapath = FreeBSDDatapath(Model(), capacity=4)
    assert list(datapath.read_samples()["subflow_id"]) == [9]
    assert list(datapath.write_actions(make_actions(2))) == [ActionResult.STALE] * 2
    assert datapath.counters() == Counters(stale=2, expired=0)
    assert isinstance(np.asarray(datapath.read_samples()), np.ndarray)
