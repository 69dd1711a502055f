# SPDX-License-Identifier: BSD-2-Clause
"""One simulated network: `Simulator` builds it, runs it and reads it.

    simulator = Simulator(seed=1)
    link = simulator.add_link(LinkConfig(rate_bps=10e6, delay_ns=10_000_000, limit_bytes=25_000))
    flow = simulator.add_flow(FlowConfig(cc="reno", paths=(PathConfig((link,)),)))
    simulator.run(10 * 10**9)
    print(simulator.flow_stats(flow).goodput_bytes)

Arguments are checked here (`InputError`); what C reports while running is `SimulatorError`. `run` releases the GIL; one
simulator belongs to one thread at a time, different simulators are independent.
"""

import weakref
from types import TracebackType
from typing import Any, Self

from ccdrl.bindings.batch import SimulatorBatch
from ccdrl.bindings.checks import TIME_MAX_NS, check_array, check_integer
from ccdrl.bindings.conversion import convert_event, convert_flow, convert_link
from ccdrl.bindings.errors import InputError, SimulatorError
from ccdrl.bindings.library import SAMPLE_DTYPE, SampleArray, ffi, lib, make_samples, pin
from ccdrl.bindings.network import EventConfig, FlowConfig, LinkConfig, LossConfig, PathConfig, TraceConfig
from ccdrl.bindings.stats import (
    FlowStats,
    LinkStats,
    SubflowStats,
    convert_flow_stats,
    convert_link_stats,
    convert_subflow_stats,
)

__all__ = [
    "EventConfig",
    "FlowConfig",
    "FlowStats",
    "LinkConfig",
    "LinkStats",
    "LossConfig",
    "PathConfig",
    "Simulator",
    "SimulatorBatch",
    "SubflowStats",
    "TraceConfig",
]


class Simulator:
    """A packet-level network of links and connections, deterministic from its seed."""

    def __init__(self, seed: int) -> None:
        checked = check_integer("seed", seed, 0, 2**64 - 1)
        raw = lib.ccdrl_sim_new(checked)
        if raw == ffi.NULL:
            raise SimulatorError("simulator: out of memory")
        self._handle: Any = ffi.gc(raw, lib.ccdrl_sim_free)
        self._n_links = 0
        self._n_paths: list[int] = []
        self._borrower: weakref.ref[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the network; a second call does nothing. A simulator in a live `SimulatorBatch` cannot be closed."""
        if self._handle is None:
            return
        if self.is_borrowed:
            raise SimulatorError("simulator: it is part of a batch; replace it there or close the batch first")
        ffi.release(self._handle)
        self._handle = None

    @property
    def handle(self) -> Any:
        """The C object, for the modules of `ccdrl.bindings`."""
        if self._handle is None:
            raise SimulatorError("simulator: it is closed")
        return self._handle

    @property
    def is_borrowed(self) -> bool:
        """Whether a live batch holds this simulator."""
        return self._borrower is not None and self._borrower() is not None

    def lend(self, borrower: object | None) -> None:
        """Note the batch that steps this simulator, or None to take it back."""
        if borrower is not None and self.is_borrowed:
            raise InputError("simulators: a simulator belongs to one batch at a time, and once in it")
        self._borrower = None if borrower is None else weakref.ref(borrower)

    def add_link(self, config: LinkConfig) -> int:
        """Add a link and return its index."""
        struct, kept = convert_link(config)
        index = self.check_result(lib.ccdrl_link_add(self.handle, struct))
        del kept  # the arrays were copied
        self._n_links += 1
        return index

    def add_flow(self, config: FlowConfig) -> int:
        """Add a connection and return its index."""
        index = self.check_result(lib.ccdrl_flow_add(self.handle, convert_flow(config, self._n_links)))
        self._n_paths.append(len(config.paths))
        return index

    def add_event(self, config: EventConfig) -> None:
        """Add a timed change of a link; those of one moment happen in the order of the calls."""
        self.check_result(lib.ccdrl_event_add(self.handle, convert_event(config, self._n_links)))

    def run(self, until_ns: int) -> None:
        """Run all events up to and including until_ns (simulated) and set the clock there; the GIL is released."""
        until = check_integer("until_ns", until_ns, self.now_ns, TIME_MAX_NS)
        self.check_result(lib.ccdrl_sim_run(self.handle, until))

    @property
    def now_ns(self) -> int:
        """Simulated time."""
        return int(lib.ccdrl_sim_now(self.handle))

    @property
    def packets(self) -> int:
        """Data packets sent since the start."""
        return int(lib.ccdrl_sim_packets(self.handle))

    @property
    def n_links(self) -> int:
        """Number of links."""
        return self._n_links

    @property
    def n_flows(self) -> int:
        """Number of connections."""
        return len(self._n_paths)

    def reset_stats(self) -> None:
        """Start all figures anew: the end of the warm-up."""
        lib.ccdrl_sim_stats_reset(self.handle)

    def enable_stats(self, is_enabled: bool) -> None:
        """Switch the histograms of RTT and queueing delay; off, training runs faster and those figures are NaN."""
        lib.ccdrl_sim_stats_enable(self.handle, bool(is_enabled))

    def flow_stats(self, flow: int) -> FlowStats:
        """Return the figures of a connection."""
        out = ffi.new("struct ccdrl_flow_stats *")
        self.check_result(lib.ccdrl_flow_stats(self.handle, self._check_flow(flow), out))
        return convert_flow_stats(out)

    def subflow_stats(self, flow: int, path: int) -> SubflowStats:
        """Return the figures of a connection's subflow on a path."""
        out = ffi.new("struct ccdrl_subflow_stats *")
        self.check_result(lib.ccdrl_subflow_stats(self.handle, *self._check_path(flow, path), out))
        return convert_subflow_stats(out)

    def link_stats(self, link: int) -> LinkStats:
        """Return the figures of a link."""
        out = ffi.new("struct ccdrl_link_stats *")
        index = check_integer("link", link, 0, self._n_links - 1)
        self.check_result(lib.ccdrl_link_stats(self.handle, index, out))
        return convert_link_stats(out)

    def set_reading(self, flow: int, is_reading: bool) -> None:
        """Let the receiving application read, or stop: then the receive window closes."""
        self.check_result(lib.ccdrl_flow_reading_set(self.handle, self._check_flow(flow), bool(is_reading)))

    def set_cwnd_max(self, cwnd_max_bytes: int) -> None:
        """Set the administrator's bound on the windows of actions: greater ones are clamped to it."""
        lib.drl_sim_cwnd_max_set(self.handle, check_integer("cwnd_max_bytes", cwnd_max_bytes, 1, 2**32 - 1))

    def remove_subflow(self, flow: int, path: int) -> None:
        """Remove a subflow in an orderly way (RFC 8684 section 3.6)."""
        self.check_result(lib.ccdrl_subflow_remove(self.handle, *self._check_path(flow, path)))

    def join_subflow(self, flow: int, path: int) -> None:
        """Join a subflow again on its path (MP_JOIN)."""
        self.check_result(lib.ccdrl_subflow_join(self.handle, *self._check_path(flow, path)))

    def check(self) -> None:
        """Raise `SimulatorError` unless every packet is accounted for and the scoreboards add up."""
        if lib.ccdrl_sim_check(self.handle) != 0:
            raise SimulatorError(f"simulator: conservation is broken: {self.error_text()}")

    def count_drl_subflows(self) -> int:
        """Return how many subflows the controller `drl` has: the rows of `peek_samples`."""
        return int(lib.drl_sim_peek(self.handle, ffi.NULL, 0))

    def peek_samples(self, out: SampleArray | None = None) -> SampleArray:
        """Return the state of every drl subflow, in the order of flows and paths, changed or not.

        `out` (shape (rows,) or longer, SAMPLE_DTYPE) is filled and returned, cut to the rows there are.
        """
        rows = self.count_drl_subflows()
        samples = make_samples(rows) if out is None else check_array("out", out, SAMPLE_DTYPE)
        if samples.size < rows:
            raise InputError(f"out: expected at least {rows} rows, got {samples.size}")
        if rows:
            lib.drl_sim_peek(self.handle, pin("struct drl_subflow_sample", samples), rows)
        return samples[:rows]

    def error_text(self) -> str:
        """Return the sentence of the last error, or an empty string."""
        text: bytes = ffi.string(lib.ccdrl_sim_error(self.handle))
        return text.decode("utf-8", "replace")

    def check_result(self, result: int) -> int:
        """Return a C result that is not negative; raise what the others mean."""
        if result >= 0:
            return int(result)
        text = self.error_text() or "no reason given"
        if result == lib.CCDRL_ERR_ARGUMENT:
            raise InputError(text)
        raise SimulatorError(f"simulator: {text}")

    def _check_flow(self, flow: int) -> int:
        return check_integer("flow", flow, 0, len(self._n_paths) - 1)

    def _check_path(self, flow: int, path: int) -> tuple[int, int]:
        index = self._check_flow(flow)
        return index, check_integer("path", path, 0, self._n_paths[index] - 1)
