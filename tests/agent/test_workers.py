# SPDX-License-Identifier: BSD-2-Clause
"""The pool of processes, with `eval` as its function: tasks are Python expressions."""

import os

import pytest

from ccdrl.agent.workers import THREAD_LIMITS, run_tasks


def outcomes(tasks, jobs):
    return {outcome.index: outcome for outcome in run_tasks(eval, tasks, jobs)}


@pytest.mark.parametrize("jobs", [1, 2, 9])
def test_every_task_has_one_outcome(jobs):
    found = outcomes([f"{i} * {i}" for i in range(7)], jobs)
    assert {index: outcome.value for index, outcome in found.items()} == {i: i * i for i in range(7)}
    assert all(outcome.error is None for outcome in found.values())


def test_no_tasks_start_no_process():
    assert outcomes([], 4) == {}


def test_an_exception_is_one_line_and_leaves_the_others():
    found = outcomes(["1 + 1", "1 / 0", "int('a\\nb')", "2 + 2"], 1)
    assert found[1].error == "ZeroDivisionError: division by zero"
    assert "\n" not in found[2].error
    assert (found[0].value, found[3].value) == (2, 4)


def test_a_dead_worker_costs_its_own_task_only():
    found = outcomes(["1 + 1", "__import__('os')._exit(3)", "__import__('os').abort()", "2 + 2"], 2)
    assert "exit status 3" in found[1].error
    assert "exit status -6" in found[2].error
    assert (found[0].value, found[3].value) == (2, 4)


def test_workers_run_with_one_thread_and_leave_the_parent_alone():
    before = {name: os.environ.get(name) for name in THREAD_LIMITS}
    found = outcomes([f"__import__('os').environ[{name!r}]" for name in THREAD_LIMITS], 1)
    assert {outcome.value for outcome in found.values()} == {"1"}
    assert {name: os.environ.get(name) for name in THREAD_LIMITS} == before


def test_closing_the_generator_ends_the_processes():
    pool = run_tasks(eval, ["__import__('os').getpid()", "__import__('time').sleep(600)"], 2)
    pid = next(pool).value
    pool.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
