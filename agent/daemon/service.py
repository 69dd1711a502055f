# SPDX-License-Identifier: BSD-2-Clause
"""The daemon's loop: wait for the next turn, read samples, decide, write windows; in between, signals and scrapes.

One thread and one selector. Turns stand on a fixed grid of the datapath's clock, and a decision's time is its turn's
planned time: so a turn that starts late does not move the monitor intervals. The simulator waits for us, so that a run
on it decides exactly what compare.py decides; a kernel does not, and turns that were missed are left out.

Ending grants no more leases: those that run end by themselves within two seconds at most, and the datapath's fallback
goes on from the present windows. A model is loaded beside the loop and swapped between two turns.
"""

import gc
import itertools
import select
import selectors
import signal
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import numpy as np

import ccdrl
from ccdrl.agent.command_line import EXIT_DONE, EXIT_FAILED, fail
from ccdrl.agent.controller import Controller, Decision
from ccdrl.agent.daemon.connections import Connection, ConnectionTable
from ccdrl.agent.daemon.exposition import MetricsServer
from ccdrl.agent.daemon.logs import Log, explain
from ccdrl.agent.daemon.metrics import Metrics, Snapshot, render
from ccdrl.agent.daemon.models import ModelLoader, load_model
from ccdrl.agent.daemon.notify import Notifier
from ccdrl.agent.daemon.options import PROGRAM, Options
from ccdrl.agent.daemon.recorder import MB, Recorder
from ccdrl.agent.daemon.recording import Session
from ccdrl.agent.daemon.sources import Source, open_source
from ccdrl.agent.daemon.starvation import StarvationGuard
from ccdrl.agent.daemon.status import format_status, write_status
from ccdrl.agent.guard import Guard
from ccdrl.agent.policy import Policy
from ccdrl.bindings.errors import DatapathError, InputError, SimulatorError
from ccdrl.bindings.library import ABI_VERSION

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
WAIT_MAX_S = 0.25
"""Longest sleep: the watchdog hears of us this often whatever the interval."""
LAG_MAX_NS = 1_000_000_000
NS_PER_US = 1000
STATUS_INTERVAL_S = 1.0
SUMMARY_INTERVAL_S = 10.0
SHADOW_LINES = 16
CHECKSUM_SHOWN = 12


class Daemon:
    """One run of serve.py. `run` returns when a signal, the duration or the scenario's end says so."""

    def __init__(self, options: Options, source: Source, policy: Policy, log: Log, notifier: Notifier) -> None:
        """Open the recording and the metrics' address. Raises InputError and OSError."""
        self.options, self.source, self.log, self.notifier = options, source, log, notifier
        self.metrics = Metrics(started_s=time.time())
        self.connections: list[Connection] = []
        self._policy = policy
        self._datapath = source.datapath
        self._decision: Decision | None = None
        self._newest: Decision | None = None
        self.controller = Controller(
            policy,
            capacity=options.max_subflows,
            interval_us=options.interval_us,
            guard=Guard(options.cwnd_max_bytes),
            tap=self._note,
        )
        self._table = ConnectionTable()
        self._start_us = self._now_us = source.begin()
        self._is_ending = False
        self._starvation = StarvationGuard()
        self._loader = ModelLoader(options.model, self._wake)
        self._is_reload_wanted = False
        self._status_s = self._summary_s = time.monotonic()
        self._summarised = 0
        self._selector = selectors.DefaultSelector()
        self._waited_for = (self._selector.fileno(),)
        self._waker, self._wakee = socket.socketpair()
        for end in (self._waker, self._wakee):
            end.setblocking(False)
        self._selector.register(self._wakee, selectors.EVENT_READ, self._drain)
        self.recorder: Recorder | None = None
        self.server: MetricsServer | None = None
        try:
            if options.record is not None:
                self.recorder = Recorder(options.record, self._describe(), options.record_max_mb * MB)
            if options.metrics is not None:
                self.server = self._listen()
        except BaseException:
            self.close()
            raise

    def _describe(self) -> Session:
        artifact = self._policy.artifact
        return Session(
            abi=ABI_VERSION,
            observation_version=artifact.observation_version,
            observation_names=artifact.observation_names,
            action_version=artifact.action_version,
            policy=artifact.checksum,
            datapath=self._datapath.capabilities.name,
            is_shadow=self.options.is_shadow,
            version=ccdrl.__version__,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _listen(self) -> MetricsServer:
        assert self.options.metrics is not None
        try:
            server = MetricsServer(self.options.metrics, self._selector, self.render_metrics)
        except OSError as error:
            raise OSError(f"--metrics: cannot listen at {self.options.metrics}: {error.strerror}") from None
        self.log.info("metrics", address=str(server.address), path="/metrics")
        if not server.address.is_loopback:
            self.log.warning("metrics_exposed", address=str(server.address), reason="not a loopback address")
        return server

    def render_metrics(self) -> str:
        """Return the metrics as Prometheus reads them."""
        now = Snapshot(
            datapath=self._datapath.capabilities.name,
            policy=self._policy.artifact.checksum[:CHECKSUM_SHOWN],
            is_shadow=self.options.is_shadow,
            decisions=self.controller.decisions,
            n_subflows=self.controller.n_subflows,
            n_refused=self.controller.refused,
            guard=self.controller.guard.snapshot() | {"actions_starving": self._starvation.withheld},
            datapath_counters=self._datapath.counters(),
            connections=self.connections,
            recorded_bytes=None if self.recorder is None else self.recorder.written_bytes,
        )
        return render(self.metrics, now, self.options.metrics_connections)

    def run(self) -> None:
        """Decide until the end. Raises DatapathError, SimulatorError or OSError where the datapath fails."""
        handlers = self._install_signals()
        self.log.info(
            "serving",
            datapath=self._datapath.capabilities.name,
            model=str(self.options.model),
            policy=self._policy.artifact.checksum[:CHECKSUM_SHOWN],
            shadow=self.options.is_shadow,
            tick_ms=self.options.tick_us / 1000,
        )
        # What was made until now lives as long as we do; the collector need not look at it again.
        gc.collect()
        gc.freeze()
        try:
            self.notifier.ready("serving")
            with np.errstate(all="ignore"):  # a policy may overflow: the guard refuses what comes of it
                self._loop()
        finally:
            self.notifier.stopping()
            self._restore_signals(handlers)
        self._write_summary("stopped")

    def close(self) -> None:
        """Close recording, metrics and sockets; the source belongs to the caller."""
        self._loader.join()
        if self.recorder is not None:
            self.recorder.close()
        if self.server is not None:
            self.server.close()
        self._selector.close()
        self._waker.close()
        self._wakee.close()

    def stop(self) -> None:
        """End the loop after the present turn."""
        self._is_ending = True
        self._wake()

    def reload(self) -> None:
        """Load the model again; a request that comes while one is being loaded is carried out afterwards."""
        self._is_reload_wanted = True
        self._wake()

    def _begin_loading(self) -> None:
        self._is_reload_wanted = False
        self.notifier.reloading()
        self._loader.begin()

    def _swap(self) -> None:
        """Take the model that was loaded, or keep the old one."""
        loaded = self._loader.take()
        if loaded is None:
            return
        if isinstance(loaded, str):
            self.metrics.reload_failures += 1
            self.log.error("reload_failed", reason=loaded, kept=self._policy.artifact.checksum[:CHECKSUM_SHOWN])
        else:
            self._policy = self.controller.policy = loaded
            self._starvation.reset()
            self.metrics.reloads += 1
            checksum = loaded.artifact.checksum
            self.log.info("reloaded", model=str(self.options.model), policy=checksum[:CHECKSUM_SHOWN])
            if self.recorder is not None:
                self._record(lambda recorder: recorder.write_policy(checksum, self._now_us))
        self.notifier.ready("serving")

    def _install_signals(self) -> dict[signal.Signals, Any]:
        """Handle signals in this process's main thread; elsewhere, as in tests, the caller uses `stop` and `reload`."""
        if threading.current_thread() is not threading.main_thread():
            return {}
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        return {number: signal.signal(number, self._handle) for number in SIGNALS}

    @staticmethod
    def _restore_signals(handlers: dict[signal.Signals, Any]) -> None:
        if handlers:
            signal.set_wakeup_fd(-1)
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload()
        else:
            self.stop()

    def _wake(self) -> None:
        try:
            self._waker.send(b"\0")
        except OSError:  # full: it will wake anyway; closed: nobody waits
            return

    def _drain(self) -> None:
        try:
            while self._wakee.recv(4096):
                pass
        except BlockingIOError:
            return

    def _loop(self) -> None:
        tick_us, is_live = self.options.tick_us, self.source.is_live
        tick_ns = round(tick_us * NS_PER_US / self.source.speed)
        self._start_us = self._now_us = self.source.begin()
        end_us = self.source.end_us
        if self.options.duration_s is not None:
            end_us = self._start_us + round(self.options.duration_s * 1e6)
        due_ns = time.monotonic_ns() + tick_ns
        while not self._is_ending:
            self._wait(due_ns)
            self.notifier.watch()
            late_ns = time.monotonic_ns() - due_ns
            if late_ns < 0 or self._is_ending:
                continue
            missed = late_ns // tick_ns if is_live else 0
            self.metrics.ticks_skipped += missed
            self.metrics.lateness.observe(late_ns * 1e-9)
            self._now_us += (missed + 1) * tick_us
            if end_us is not None and self._now_us > end_us:
                return
            self._turn()
            due_ns += (missed + 1) * tick_ns
            if late_ns > LAG_MAX_NS and not is_live:  # slower than wanted: go on from here, without a race to catch up
                due_ns = time.monotonic_ns()
            self._report()

    def _wait(self, due_ns: int) -> None:
        """Handle what is ready until the next turn is due, or for WAIT_MAX_S."""
        # select(2) counts microseconds, Python's epoll whole milliseconds; that one is a descriptor like others.
        left_s = min((due_ns - time.monotonic_ns()) * 1e-9, WAIT_MAX_S)
        if select.select(self._waited_for, (), (), max(left_s, 0.0))[0]:
            for key, _ in self._selector.select(0):
                key.data()
        if self._loader.is_busy:
            self._swap()
        elif self._is_reload_wanted:
            self._begin_loading()

    def _note(self, decision: Decision) -> None:
        self._decision = decision
        # A run in the simulator decides what compare.py decides.
        if self.source.is_live and (starved := self._starvation.review(decision)):
            self.log.limit_error("starved", subflows=starved, reason="lowest window on idle links", left_to="fallback")

    def _turn(self) -> None:
        """Read, decide, write."""
        self.source.reach(self._now_us)
        self._decision = None
        begin_s = time.perf_counter()
        actions = self.controller.step(self._datapath.read_samples(), self._now_us)
        results = None
        if len(actions) and not self.options.is_shadow:
            try:
                results = self._datapath.write_actions(actions)
            except PermissionError as error:
                self.metrics.write_refusals += 1
                self.log.limit_error("write_refused", reason=explain(error))
        self.metrics.ticks += 1
        decision = self._decision
        if decision is None:
            return
        self._newest = decision
        self.metrics.decision.observe(time.perf_counter() - begin_s)
        self.metrics.age.observe_all(decision.age_us, 1e-6)
        if results is not None:
            self.metrics.count_results(results)
        if self.recorder is not None:
            self._record(lambda recorder: recorder.write(decision, results))

    def _record(self, write: Any) -> None:
        """Write to the recording; decisions go on without it once that fails."""
        assert self.recorder is not None
        try:
            write(self.recorder)
        except (OSError, InputError) as error:
            self.log.error("recording_stopped", reason=explain(error))
            self.recorder.close()
            self.recorder = None

    def _report(self) -> None:
        """Once a second: figures of the connections, the status line; now and then a summary."""
        now_s = time.monotonic()
        if now_s - self._status_s < STATUS_INTERVAL_S:
            return
        self._status_s = max(self._status_s + STATUS_INTERVAL_S, now_s - STATUS_INTERVAL_S)
        self.connections = self._table.update(self.controller.copy_records(), self._now_us)
        if self.server is not None:
            self.server.expire()
        if not self.options.is_quiet and sys.stdout.isatty():
            elapsed_s = (self._now_us - self._start_us) * 1e-6
            write_status(sys.stdout, format_status(elapsed_s, self.connections, self.source.name_connection))
        if self.options.is_shadow:
            self._log_shadow()
        if now_s - self._summary_s >= SUMMARY_INTERVAL_S:
            self._summary_s = now_s
            self._write_summary("summary")

    def _log_shadow(self) -> None:
        """Log the newest decision beside what the subflows have, for the first few of them."""
        if self._newest is None:
            return
        pairs = zip(self._newest.records, self._newest.cwnd_actions, strict=True)
        for record, action in itertools.islice(pairs, SHADOW_LINES):
            self.log.info(
                "shadow",
                subflow=f"{int(record['subflow_id']):#x}",
                cwnd_bytes=int(record["cwnd_bytes"]),
                wanted_bytes=int(action["cwnd_bytes"]) if action["subflow_id"] else None,
            )

    def _write_summary(self, event: str) -> None:
        decided, self._summarised = self.controller.decisions - self._summarised, self.controller.decisions
        self.log.info(
            event,
            decisions=decided,
            connections=self.controller.n_connections,
            subflows=self.controller.n_subflows,
            goodput_mbps=round(sum(each.goodput_bytes_per_s for each in self.connections) * 8e-6, 3),
            decision_p99_ms=self.metrics.decision.quantile(0.99) * 1000,
            not_finite=self.controller.guard.counters.actions_not_finite,
            **{name: count for name, count in self.metrics.results.items() if count},
        )


def serve(options: Options) -> int:
    """Do the serve job and return the exit status. Raises InputError for bad input."""
    log = Log(options.log_level, is_json=options.is_log_json)
    policy = load_model(options.model)
    notifier = Notifier()
    source = None
    try:
        source = open_source(options)
        daemon = Daemon(options, source, policy, log, notifier)
        try:
            daemon.run()
        finally:
            daemon.close()
    except (DatapathError, SimulatorError) as error:
        return fail(PROGRAM, str(error), EXIT_FAILED)
    except OSError as error:
        return fail(PROGRAM, explain(error), EXIT_FAILED)
    finally:
        notifier.close()
        if source is not None:
            source.close()
    return EXIT_DONE
