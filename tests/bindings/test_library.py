# SPDX-License-Identifier: BSD-2-Clause
"""numpy layouts, enumerations and names agree with the C headers, field by field."""

from dataclasses import fields

import numpy as np
import pytest

from ccdrl.bindings import library, stats
from ccdrl.bindings.checks import check_array, check_integer, check_name, check_number
from ccdrl.bindings.datapath import Counters
from ccdrl.bindings.errors import InputError
from ccdrl.bindings.library import ACTION_DTYPE, COUNTERS_DTYPE, SAMPLE_DTYPE, ffi


@pytest.mark.parametrize(
    ("dtype", "struct", "size"),
    [
        (SAMPLE_DTYPE, "struct drl_subflow_sample", 176),
        (ACTION_DTYPE, "struct drl_cwnd_action", 40),
        (COUNTERS_DTYPE, "struct drl_counters", 48),
    ],
)
def test_layout_equals_c(dtype, struct, size):
    assert dtype.itemsize == ffi.sizeof(struct) == size
    assert dtype.names == tuple(name for name, _ in ffi.typeof(struct).fields)
    for name in dtype.names:
        field, offset = dtype.fields[name][:2]
        assert offset == ffi.offsetof(struct, name)
        assert field.itemsize == ffi.sizeof(ffi.typeof(struct).fields[dtype.names.index(name)][1].type)


def test_value_written_by_numpy_is_read_by_c():
    rows = library.make_samples(2)
    rows["seq"], rows["flags"], rows["state"] = [7, 2**64 - 1], [1, 31], 3
    rows["foreign_addr"][1] = np.arange(16)
    pointer = library.pin("struct drl_subflow_sample", rows)
    assert (pointer[0].seq, pointer[1].seq, pointer[1].flags, pointer[0].state) == (7, 2**64 - 1, 31, 3)
    assert list(pointer[1].foreign_addr) == list(range(16))
    pointer[0].cwnd_bytes = 14480
    assert rows["cwnd_bytes"][0] == 14480


def test_fresh_actions_name_no_subflow():
    actions = library.make_actions(3)
    assert set(actions["abi"]) == {library.ABI_VERSION}
    assert not actions["subflow_id"].any()


@pytest.mark.parametrize(
    ("enum", "c_enum", "prefix"),
    [
        (library.Event, "enum drl_event", "DRL_EVENT_"),
        (library.State, "enum drl_state", "DRL_STATE_"),
        (library.Flag, "enum drl_flag", "DRL_FLAG_"),
        (library.Absent, "enum drl_absent", "DRL_ABSENT_"),
        (library.ActionResult, "enum drl_action_result", "DRL_RESULT_"),
    ],
)
def test_enumeration_is_complete(enum, c_enum, prefix):
    assert {f"{prefix}{member.name}": member.value for member in enum} == library.enumerators(c_enum)


def test_names_of_scenarios():
    assert list(library.CC_IDS)[:9] == ["reno", "cubic", "bbr", "lia", "olia", "balia", "wvegas", "ewtcp", "drl"]
    assert list(library.SCHEDULER_IDS) == ["minrtt", "roundrobin", "redundant", "blest", "ecf"]
    assert list(library.QUEUE_IDS) == ["droptail", "red", "codel", "pie"]
    assert list(library.LOSS_IDS) == ["none", "bernoulli", "gilbert-elliott"]
    assert list(library.EVENT_IDS) == ["rate", "delay", "loss", "down", "up"]


@pytest.mark.parametrize(
    ("kind", "struct"),
    [
        (stats.SubflowStats, "struct ccdrl_subflow_stats"),
        (stats.FlowStats, "struct ccdrl_flow_stats"),
        (stats.LinkStats, "struct ccdrl_link_stats"),
        (Counters, "struct drl_counters"),
    ],
)
def test_dataclass_has_every_field_of_c(kind, struct):
    assert [field.name for field in fields(kind)] == [name for name, _ in ffi.typeof(struct).fields]


def test_checks_accept_good_values():
    assert check_integer("n", np.int64(5), 0, 9) == 5
    assert check_number("x", np.float64(0.5), 0, 1) == 0.5
    assert check_name("cc", "lia", library.CC_IDS) == library.CC_IDS["lia"]
    actions = library.make_actions(1)
    assert check_array("actions", actions, ACTION_DTYPE) is actions


@pytest.mark.parametrize("value", [True, 1.0, "1", None, -1, 10, np.float64(3)])
def test_bad_integer_is_refused(value):
    with pytest.raises(InputError, match=r"^n: expected an integer from 0 to 9, got"):
        check_integer("n", value, 0, 9)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.1, "0", None, True])
def test_bad_number_is_refused(value):
    with pytest.raises(InputError, match=r"^x: expected a number from 0 to 1, got"):
        check_number("x", value, 0, 1)


def test_bad_name_lists_the_accepted_ones():
    with pytest.raises(InputError, match="expected one of minrtt, roundrobin, redundant, blest, ecf, got 'fast'"):
        check_name("scheduler", "fast", library.SCHEDULER_IDS)


@pytest.mark.parametrize(
    "value",
    [
        None,
        np.zeros(2),
        library.make_samples(2),
        library.make_actions(4)[::2],
        library.make_actions(4).reshape(2, 2),
    ],
)
def test_bad_array_is_refused(value):
    with pytest.raises(InputError, match="^actions: "):
        check_array("actions", value, ACTION_DTYPE)
