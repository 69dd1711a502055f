# SPDX-License-Identifier: BSD-2-Clause
"""The binding of observer and action mapper: what it refuses, and what arrays it takes. Values: tests/envs."""

import numpy as np
import pytest

from ccdrl.bindings.decision.actions import ActionMapper, ActionRule, select_live, select_window
from ccdrl.bindings.decision.library import STEP_DTYPE
from ccdrl.bindings.decision.observer import RowObserver
from ccdrl.bindings.errors import InputError
from ccdrl.bindings.library import SAMPLE_DTYPE, make_actions, make_samples

COLUMNS = ("cwnd_mss", "previous_action", "loss_now")
RULE = ActionRule(0.1, 0.05, 0.5, 2.0, 0.02, 0.08, 10.0, 2.0**30, 1.25, 4.0, 1e5, 2e6)


def make(count):
    samples = make_samples(count)
    samples["abi"], samples["subflow_id"], samples["mss_bytes"] = 2, np.arange(1, count + 1), 1000
    samples["cwnd_bytes"], samples["srtt_us"] = 1000 * 2 ** np.arange(count), 20_000
    return samples


def make_observer(capacity=4, columns=COLUMNS, repeated=("cwnd_mss",), n_ages=2, limit=10.0):
    observer = RowObserver(capacity, columns, repeated, n_ages, limit)
    observer.reset(np.arange(capacity), np.zeros(capacity, np.int64))
    return observer


def test_layout_is_the_callers():
    observer, rows = make_observer(columns=("previous_action", "cwnd_mss")), np.array([2, 0])
    observer.remember(rows, np.array([0.5, -0.5], np.float32))
    first = observer.update(rows, make(2))
    assert first.tolist() == [[0.5, 0.0, 0.0, 0.0], [-0.5, 0.125, 0.0, 0.0]]
    assert observer.update(rows, make(2))[1].tolist() == [-0.5, 0.125, 0.125, 0.0]
    observer.update(rows, make(2))
    assert observer.update(rows, make(2))[1].tolist() == [-0.5, 0.125, 0.125, 0.125]


def test_no_history_and_no_rows():
    assert make_observer(n_ages=0).update(np.arange(2), make(2)).shape == (2, 3)
    assert make_observer(repeated=()).update(np.arange(2), make(2)).shape == (2, 3)
    assert make_observer().update(np.arange(0), make(0)).shape == (0, 5)


def test_samples_of_any_place_in_memory_are_taken():
    samples = make(4)
    expected = make_observer().update(np.arange(4), samples)
    shifted = np.frombuffer(b"-" + samples.tobytes(), SAMPLE_DTYPE, offset=1)
    assert make_observer().update(np.arange(4), shifted).tobytes() == expected.tobytes()
    assert select_window(shifted).tolist() == [1000, 2000, 4000, 8000]
    spread = np.repeat(samples, 2)[::2]
    assert make_observer().update(np.arange(4), spread).tobytes() == expected.tobytes()
    assert make_observer().update(np.arange(4, dtype=np.int32), samples).tobytes() == expected.tobytes()
    assert select_live(spread).tolist() == [True] * 4


@pytest.mark.parametrize("rows", [[-1], [4], [2**40], [0, 1, 2, 3, 0]])
def test_rows_beyond_the_capacity_are_refused_and_change_nothing(rows):
    observer, rows = make_observer(), np.array(rows)
    expected = make_observer().update(np.arange(4), make(4))
    actions, connections = np.ones(len(rows), np.float32), np.zeros(len(rows), np.int64)
    for call in (
        lambda: observer.update(rows, make(len(rows))),
        lambda: observer.remember(rows, actions),
        lambda: observer.reset(rows, connections),
        lambda: observer.get_rate(rows),
        lambda: observer.get_steps(rows),
        lambda: observer.get_loss(rows),
    ):
        with pytest.raises(InputError, match="rows: expected at most 4 integers from 0 to 3"):
            call()
    assert observer.update(np.arange(4), make(4)).tobytes() == expected.tobytes()


def test_arguments_that_do_not_fit_are_refused():
    observer, rows = make_observer(), np.arange(2)
    with pytest.raises(InputError, match="rows: expected 3 values"):
        observer.update(rows, make(3))
    with pytest.raises(InputError, match="actions: expected 2 values"):
        observer.remember(rows, np.zeros((2, 1), np.float32))
    with pytest.raises(InputError, match="connections: expected integers from 0 to"):
        observer.reset(rows, np.array([0, -1]))
    with pytest.raises(InputError, match="samples: expected a numpy array"):
        observer.update(rows, np.zeros(2))
    with pytest.raises(InputError, match="columns: expected one of"):
        make_observer(columns=("unheard_of",), repeated=())
    with pytest.raises(InputError, match="repeated: expected one of"):
        make_observer(repeated=("srtt_ratio",))
    with pytest.raises(InputError, match="capacity: "):
        make_observer(capacity=0)


def test_mapper_checks_its_arrays():
    mapper, actions = ActionMapper(RULE), np.zeros(2, np.float32)
    steps = np.zeros(2, STEP_DTYPE)
    mapper.map(actions, steps, make(2), np.array([1e4, 2e4]), make_actions(2))
    for samples, interval_us, out in (
        (make(3), 1e4, make_actions(3)),
        (make(2), np.zeros(3), make_actions(2)),
        (make(2), 1e4, make_actions(3)),
        (make(2), 1e4, make_actions(4)[::2]),
        (make(2), 1e4, make_samples(2)),
    ):
        with pytest.raises(InputError):
            mapper.map(actions, steps, samples, interval_us, out)
    with pytest.raises(InputError, match="steps: expected 2 values"):
        mapper.map(actions, np.zeros(3, STEP_DTYPE), make(2), 1e4, make_actions(2))
