# SPDX-License-Identifier: BSD-2-Clause
"""Scenarios on the live test bed: what it can do, the rest refused by name, and the mapping onto `BedConfig`.

The numbers (delays, queue limits, start times, traces, events) are those of `build_network`, so simulator and test bed
run the same network from the same file and seed.
"""

from pathlib import Path

from ccdrl.agent.contenders import AGENT, Contender
from ccdrl.agent.live_controllers import KERNEL_NAMES
from ccdrl.bindings.errors import InputError
from ccdrl.bindings.testbed.bed import BedConfig, BedFlow
from ccdrl.envs.network import build_network, load_traces
from ccdrl.envs.scenario import Event, Flow, Link, Scenario
from ccdrl.envs.scenario_schema import UNDER_TEST, fail, one_line

LINK_MBPS_MAX = 125.0
TOTAL_MBPS_MAX = 250.0
"""What two shared cores carry with packets leaving on time; docs/testbed.md has the measurement."""
MSS_MIN, MSS_MAX = 512, 8948
"""Below, MPTCP's options leave too little of a packet; above, packets are larger than a loopback device's."""
FLOWS_MAX = 256
DELAY_MS_MAX = 2000.0
"""One way, of a path: beyond, handshakes run into their time-outs."""
NAMESPACES_MAX = 64
"""Each different set of paths has a sender's namespace of its own."""
WHERE = "accepted on --datapath linux:"


def _check_link(scenario: Scenario, index: int, link: Link) -> None:
    file, where = scenario.source, f"links[{index}]"
    if link.queue.kind != "droptail":
        raise fail(file, f"{where}.queue.kind", link.queue.kind, f"{WHERE} droptail")
    if link.rate_mbps is not None and link.rate_mbps > LINK_MBPS_MAX:
        raise fail(file, f"{where}.rate_mbps", link.rate_mbps, f"{WHERE} up to {LINK_MBPS_MAX:g} Mbit/s a link")


def _check_flow(scenario: Scenario, index: int, flow: Flow) -> None:
    file, where = scenario.source, f"flows[{index}]"
    if flow.cc not in (UNDER_TEST, *KERNEL_NAMES):
        raise fail(file, f"{where}.cc", flow.cc, f"{WHERE} {', '.join(KERNEL_NAMES)}, {UNDER_TEST}")
    if flow.scheduler != "minrtt":
        raise fail(file, f"{where}.scheduler", flow.scheduler, f"{WHERE} minrtt (the kernel's only scheduler)")
    if flow.rwnd_bytes is not None:
        raise fail(file, f"{where}.rwnd_bytes", flow.rwnd_bytes, f"{WHERE} no such key (the kernel sizes its windows)")
    if flow.ack_segments != 2:
        raise fail(file, f"{where}.ack_segments", flow.ack_segments, f"{WHERE} 2 (the kernel's delayed ACKs)")
    delays_ms = {link.id: link.delay_ms for link in scenario.links}
    for path, (links, extra_ms) in enumerate(zip(flow.paths, flow.path_delay_ms, strict=True)):
        total_ms = extra_ms + sum(delays_ms[link] for link in links)
        if total_ms > DELAY_MS_MAX:
            accepted = f"its one-way delay is {total_ms:g} ms; {WHERE} up to {DELAY_MS_MAX:g} ms"
            raise fail(file, f"{where}.paths[{path}]", list(links), accepted)


def _check_event(scenario: Scenario, index: int, event: Event) -> None:
    where = f"events[{index}]"
    if event.rate_mbps is not None and event.rate_mbps > LINK_MBPS_MAX:
        accepted = f"{WHERE} up to {LINK_MBPS_MAX:g} Mbit/s a link"
        raise fail(scenario.source, f"{where}.rate_mbps", event.rate_mbps, accepted)
    if event.delay_ms is not None and event.delay_ms > DELAY_MS_MAX:
        accepted = f"{WHERE} up to {DELAY_MS_MAX:g} ms"
        raise fail(scenario.source, f"{where}.delay_ms", event.delay_ms, accepted)


def _check_rates(scenario: Scenario, traces: Path | None) -> None:
    """Refuse a trace or a sum of rates that this machine cannot carry; a link counts with its highest rate."""
    total_mbps = 0.0
    for index, (link, trace) in enumerate(zip(scenario.links, load_traces(scenario, traces), strict=True)):
        rates = [event.rate_mbps for event in scenario.events if event.link == link.id and event.rate_mbps is not None]
        mbps = max([*rates, link.rate_mbps or 0.0, 0.0 if trace is None else trace.mean_bps / 1e6])
        if mbps > LINK_MBPS_MAX:
            key = "trace" if link.trace is not None else "generator"
            accepted = f"a mean of {mbps:.1f} Mbit/s; {WHERE} up to {LINK_MBPS_MAX:g} Mbit/s a link"
            raise fail(scenario.source, f"links[{index}].{key}", link.trace or key, accepted)
        total_mbps += mbps
    if total_mbps > TOTAL_MBPS_MAX:
        text = f"{scenario.source}: links: {total_mbps:g} Mbit/s in sum: {WHERE} up to {TOTAL_MBPS_MAX:g} Mbit/s"
        raise InputError(one_line(text))


def check_scenario(scenario: Scenario, traces: Path | None = None) -> None:
    """Raise InputError, one line that names the key, for anything that the test bed cannot do."""
    file = scenario.source
    if not MSS_MIN <= scenario.mss <= MSS_MAX:
        raise fail(file, "mss", scenario.mss, f"{WHERE} {MSS_MIN} to {MSS_MAX}")
    for index, link in enumerate(scenario.links):
        _check_link(scenario, index, link)
    for index, flow in enumerate(scenario.flows):
        _check_flow(scenario, index, flow)
    for index, event in enumerate(scenario.events):
        _check_event(scenario, index, event)
    flows = sum(flow.count for flow in scenario.flows)
    if flows > FLOWS_MAX:
        raise InputError(one_line(f"{file}: flows: {flows} in all: {WHERE} up to {FLOWS_MAX}"))
    senders = len({(flow.paths, flow.path_delay_ms) for flow in scenario.flows})
    if senders > NAMESPACES_MAX:
        text = f"{file}: flows: {senders} different sets of paths: {WHERE} up to {NAMESPACES_MAX}"
        raise InputError(one_line(text))
    _check_rates(scenario, traces)


def make_bed_config(scenario: Scenario, contender: Contender, seed: int, traces: Path | None) -> BedConfig:
    """Return the run for the test bed; the scenario has been checked. Raises InputError."""
    network = build_network(scenario, contender.controller, seed, traces)
    return BedConfig(
        links=network.links,
        flows=tuple(
            BedFlow(config, KERNEL_NAMES[label.cc])
            for label, config in zip(network.flows, network.connections, strict=True)
        ),
        events=network.events,
        seed=seed,
        mss_bytes=scenario.mss,
        warmup_ns=round(scenario.warmup_s * 1e9),
        duration_ns=round(scenario.duration_s * 1e9),
    )


def needed_controllers(scenario: Scenario, contender: Contender) -> set[str]:
    """Return the kernel's names of the controllers that a run uses."""
    return {KERNEL_NAMES[contender.controller if flow.cc == UNDER_TEST else flow.cc] for flow in scenario.flows}


def needs_agent(scenario: Scenario, contender: Contender) -> bool:
    """Tell whether the daemon drives a flow of this run."""
    return KERNEL_NAMES[AGENT] in needed_controllers(scenario, contender)


def can_run(scenario: Scenario, traces: Path | None = None) -> bool:
    """Tell whether the test bed can do a scenario."""
    try:
        check_scenario(scenario, traces)
    except InputError:
        return False
    return True
