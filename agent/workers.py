# SPDX-License-Identifier: BSD-2-Clause
"""A pool of worker processes that outlives its workers: a run that fails, or whose process dies, is one failed outcome.

Every run happens in a worker, also with one job, so that results cannot depend on the number of jobs. The generator
owns the processes: closing it, or Ctrl-C in the loop around it, ends them all.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

# One thread for each worker: its core is taken by the simulator, and sums in another order round differently.
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Outcome:
    """What became of one task: its value, or the sentence that says why there is none."""

    index: int
    value: Any = None
    error: str | None = None


@dataclass
class Worker:
    """A process, our end of its pipe, and the task it works on."""

    process: Any
    pipe: Connection
    task: int | None = field(default=None)


def work(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """Answer tasks from the pipe until it closes; the body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        answer: tuple[Any, str | None]
        try:
            answer = (function(task), None)
        except Exception as error:
            answer = (None, " ".join(f"{type(error).__name__}: {error}".split()))
        pipe.send(answer)


@contextmanager
def worker_surroundings() -> Generator[None]:
    """Let processes started inside inherit one thread for each library, and Ctrl-C blocked: the parent handles it."""
    before = {name: os.environ.get(name) for name in THREAD_LIMITS}
    os.environ.update(dict.fromkeys(THREAD_LIMITS, "1"))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def start_worker(function: Callable[[Any], Any]) -> Worker:
    """Start one process. Spawned, not forked: a fork would copy threads' locks, and the BLAS with its threads."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with worker_surroundings():
        process = context.Process(target=work, args=(theirs, function), daemon=True)
        process.start()
    theirs.close()
    return Worker(process, ours)


def assign(worker: Worker, index: int, task: Any) -> None:
    """Give a worker its next task. One that has died meanwhile shows in `collect`."""
    worker.task = index
    with suppress(OSError):
        worker.pipe.send(task)


def collect(worker: Worker) -> Outcome:
    """Return the outcome of a worker whose pipe has something to say, its end included."""
    assert worker.task is not None
    index, worker.task = worker.task, None
    try:
        value, error = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        return Outcome(index, error=f"the worker process died (exit status {worker.process.exitcode})")
    return Outcome(index, value, error)


def stop(worker: Worker) -> None:
    """End a worker at once; what it was doing is lost."""
    worker.pipe.close()
    worker.process.kill()
    worker.process.join()
    worker.process.close()


def run_tasks(function: Callable[[Any], Any], tasks: Sequence[Any], jobs: int) -> Generator[Outcome]:
    """Yield the outcome of function(task) for every task, in the order in which they finish.

    `function` is importable (top level) and tasks and values can be pickled. A dead worker is replaced.
    """
    waiting = list(range(len(tasks)))[::-1]
    workers: list[Worker] = []
    try:
        while True:
            while waiting and len(workers) < max(1, jobs):
                workers.append(start_worker(function))
                index = waiting.pop()
                assign(workers[-1], index, tasks[index])
            if not workers:
                return
            ready = set(wait([worker.pipe for worker in workers]))
            for worker in [worker for worker in workers if worker.pipe in ready]:
                outcome = collect(worker)
                if waiting and worker.process.is_alive():
                    index = waiting.pop()
                    assign(worker, index, tasks[index])
                else:
                    workers.remove(worker)
                    stop(worker)
                yield outcome
    finally:
        for worker in workers:
            stop(worker)
