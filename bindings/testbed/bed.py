# SPDX-License-Identifier: BSD-2-Clause
"""One run of the test bed: namespaces, emulator and traffic put together, run, read and taken down.

Flows with the same paths share a namespace: its MPTCP endpoints are the addresses of those paths, so each of its
connections gets exactly these subflows. The address of a path names its route in the emulator, so several paths may use
the same links, and one device serves them all.
"""

import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from ccdrl.bindings.network import EventConfig, FlowConfig, LinkConfig, PathConfig
from ccdrl.bindings.stats import LinkStats
from ccdrl.bindings.testbed.library import BedError, address, check, event_struct, ffi, lib, link_struct, own
from ccdrl.bindings.testbed.namespaces import Namespace, cgroup_mount
from ccdrl.bindings.testbed.unsent import count_windows

HEADER_BYTES = 52
"""Wire bytes of a full plain TCP packet beyond its payload: IPv4, TCP and the time stamp option."""
POOL_PACKETS = 131072
LEAD_NS = 50_000_000
"""From the threads' start to the begin of the run."""
POLL_S = 0.2

Figures = TypeVar("Figures")


@dataclass(frozen=True, slots=True)
class BedFlow:
    """One connection: the flow as the simulator has it, and the kernel's name of its congestion controller."""

    config: FlowConfig
    cc: str


@dataclass(frozen=True, slots=True)
class BedConfig:
    """What a run needs; rates in bits a second, times in nanoseconds from the begin. The seed drives random loss."""

    links: tuple[LinkConfig, ...]
    flows: tuple[BedFlow, ...]
    events: tuple[EventConfig, ...]
    seed: int
    mss_bytes: int
    warmup_ns: int
    duration_ns: int


@dataclass(frozen=True, slots=True)
class EmulatorFigures:
    """What the emulator counted (struct testbed_emulator_figures); lateness in microseconds, over the whole run."""

    data_packets: int
    foreign_packets: int
    overflow_packets: int
    write_errors: int
    late_packets: int
    late_mean_us: float
    late_p99_us: float
    late_max_us: float
    is_realtime: int


@dataclass(frozen=True, slots=True)
class SubflowFigures:
    """Figures of one subflow since the warm-up (struct testbed_subflow_figures); NaN where there is no sample."""

    sent_bytes: int
    retransmitted_bytes: int
    acked_bytes: int
    rtt_mean_ms: float
    rtt_p95_ms: float
    cwnd_mean_bytes: float


@dataclass(frozen=True, slots=True)
class FlowFigures:
    """Figures of one flow since the warm-up (struct testbed_flow_figures); completion_ns < 0: not complete."""

    goodput_bytes: int
    completion_ns: int
    rtt_mean_ms: float
    rtt_p95_ms: float
    queue_delay_mean_ms: float
    queue_delay_p95_ms: float
    n_subflows_seen: int
    error: int


@dataclass(frozen=True, slots=True)
class BedResult:
    """What a run measured; subflows[flow][path]. device_drops: packets lost between the kernel and the emulator."""

    emulator: EmulatorFigures
    links: tuple[LinkStats, ...]
    flows: tuple[FlowFigures, ...]
    subflows: tuple[tuple[SubflowFigures, ...], ...]
    device_drops: int


class Bed:
    """A test bed that is set up and can run once; a context manager. Raises BedError and InputError."""

    _emulator: Any
    _traffic: Any

    def __init__(self, config: BedConfig) -> None:
        self.config = config
        self._stack = ExitStack()
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Bed":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take everything down; may be called twice."""
        self._traffic = self._emulator = None
        self._stack.close()

    def _set_up(self) -> None:
        config = self.config
        mtu_bytes = config.mss_bytes + HEADER_BYTES
        emulator = own(lib.testbed_emulator_new(config.seed, mtu_bytes, POOL_PACKETS), lib.testbed_emulator_free)
        self._emulator = emulator
        for link in config.links:
            struct, _kept = link_struct(link)
            if lib.testbed_emulator_link_add(emulator, struct) < 0:
                raise BedError(f"test bed: {ffi.string(lib.testbed_emulator_error(emulator)).decode()}")
        windows = count_windows(config.links, [flow.config.paths for flow in config.flows])
        bound = check(lib.testbed_unsent_bound(cgroup_mount().encode(), windows), "bound on unsent data (BPF)")
        self._stack.callback(os.close, bound)
        receiver = self._stack.enter_context(Namespace(mtu_bytes, [address(None)]))
        self.namespaces = [receiver]
        self._n_routes = 0
        check(lib.testbed_emulator_port_add(emulator, receiver.tun), "emulator port")
        self._traffic = own(lib.testbed_traffic_new(emulator, receiver.fd), lib.testbed_traffic_free)
        senders: dict[tuple[PathConfig, ...], tuple[Namespace, int]] = {}
        for flow in config.flows:
            paths = flow.config.paths
            if paths not in senders:
                senders[paths] = self._add_sender(paths, mtu_bytes)
            self._add_flow(flow, *senders[paths])
        for event in sorted(config.events, key=lambda event: event.at_ns):
            struct = event_struct(event, len(config.links))
            check(lib.testbed_emulator_event_add(emulator, struct), "event")
        check(lib.testbed_traffic_open(self._traffic), "receiver")

    def _add_sender(self, paths: tuple[PathConfig, ...], mtu_bytes: int) -> tuple[Namespace, int]:
        """Return the namespace of flows with these paths and the index of its first route."""
        addresses = [address(self._n_routes + path) for path in range(len(paths))]
        sender = self._stack.enter_context(Namespace(mtu_bytes, addresses, addresses[1:]))
        self.namespaces.append(sender)
        port = check(lib.testbed_emulator_port_add(self._emulator, sender.tun), "emulator port")
        first_route = self._n_routes
        for path in paths:
            links = {"n_links": len(path.links), "links": list(path.links)}
            fields = {**links, "extra_delay_ns": path.extra_delay_ns, "port": port}
            check(lib.testbed_emulator_route_add(self._emulator, ffi.new("struct testbed_route *", fields)), "route")
        self._n_routes += len(paths)
        return sender, first_route

    def _add_flow(self, flow: BedFlow, sender: Namespace, first_route: int) -> None:
        config = flow.config
        struct = ffi.new(
            "struct testbed_flow_config *",
            {
                "netns": sender.fd,
                "first_route": first_route,
                "n_routes": len(config.paths),
                "cc": flow.cc.encode(),
                "mss_bytes": config.mss_bytes,
                "start_ns": config.start_ns,
                "stop_ns": -1 if config.stop_ns is None else config.stop_ns,
                "size_bytes": config.size_bytes,
                "app_rate_bps": config.app_rate_bps,
            },
        )
        check(lib.testbed_traffic_flow_add(self._traffic, struct), "flow")

    def run(self) -> BedResult:
        """Run the emulator and the traffic for the duration and return what they measured. Raises BedError."""
        emulator, traffic, config = self._emulator, self._traffic, self.config
        begin_ns = lib.testbed_now_ns() + LEAD_NS
        times = (begin_ns, config.warmup_ns, config.duration_ns)
        results = {}

        def carry() -> None:
            results["emulator"] = lib.testbed_emulator_run(emulator, *times)
            if results["emulator"] < 0:
                lib.testbed_traffic_stop(traffic)

        def send() -> None:
            results["traffic"] = lib.testbed_traffic_run(traffic, *times)

        threads = [threading.Thread(target=carry), threading.Thread(target=send)]
        try:
            for thread in threads:
                thread.start()
            # Short waits, so that Ctrl-C is seen.
            while any(thread.is_alive() for thread in threads):
                threads[0].join(POLL_S)
                threads[1].join(POLL_S)
        finally:
            lib.testbed_emulator_stop(emulator)
            lib.testbed_traffic_stop(traffic)
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        for name, result in results.items():
            check(result, name)
        return self._read()

    def _read(self) -> BedResult:
        emulator = ffi.new("struct testbed_emulator_figures *")
        lib.testbed_emulator_figures(self._emulator, emulator)
        links = []
        for index in range(len(self.config.links)):
            link = ffi.new("struct ccdrl_link_stats *")
            check(lib.testbed_emulator_link_stats(self._emulator, index, link), "link")
            links.append(read_struct(LinkStats, link))
        flows, subflows = [], []
        for index, entry in enumerate(self.config.flows):
            flow = ffi.new("struct testbed_flow_figures *")
            check(lib.testbed_traffic_flow(self._traffic, index, flow), "flow")
            flows.append(read_struct(FlowFigures, flow))
            subflows.append(tuple(self._read_subflow(index, path) for path in range(len(entry.config.paths))))
        drops = sum(namespace.dropped_packets() for namespace in self.namespaces)
        return BedResult(read_struct(EmulatorFigures, emulator), tuple(links), tuple(flows), tuple(subflows), drops)

    def _read_subflow(self, flow: int, path: int) -> SubflowFigures:
        subflow = ffi.new("struct testbed_subflow_figures *")
        check(lib.testbed_traffic_subflow(self._traffic, flow, path, subflow), "subflow")
        return read_struct(SubflowFigures, subflow)


def read_struct(kind: type[Figures], struct: Any) -> Figures:
    """Return a dataclass with the fields of a C struct of the same names."""
    return kind(**{field.name: getattr(struct, field.name) for field in fields(kind)})  # type: ignore[arg-type]


def run_bed(config: BedConfig) -> BedResult:
    """Set up a test bed, run it and take it down. Raises BedError and InputError."""
    with Bed(config) as bed:
        return bed.run()
