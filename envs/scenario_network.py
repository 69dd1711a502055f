# SPDX-License-Identifier: BSD-2-Clause
"""A scenario as an environment: the agent takes the flow whose cc is "@"."""

from pathlib import Path

from ccdrl.bindings.errors import InputError
from ccdrl.bindings.simulator import Simulator
from ccdrl.envs.network import build_network
from ccdrl.envs.scenario import Flow, Scenario
from ccdrl.envs.scenario_schema import UNDER_TEST
from ccdrl.envs.timeline import Timeline


def find_agent(scenario: Scenario) -> Flow:
    """Return the flow that the agent controls. Raises InputError unless there is one, of one connection."""
    agents = [flow for flow in scenario.flows if flow.cc in (UNDER_TEST, "drl")]
    if len(agents) != 1 or agents[0].count != 1:
        connections = sum(flow.count for flow in agents)
        raise InputError(
            f'{scenario.source}: flows: {connections} connections have cc = "{UNDER_TEST}" or "drl"; '
            "accepted: exactly one, in an environment"
        )
    return agents[0]


def build_scenario(scenario: Scenario, seed: int, traces: Path | None) -> tuple[Simulator, Timeline, int]:
    """Return the simulator at time 0, the timeline, and when (ns) the handshakes are over unless a SYN is lost."""
    network = build_network(scenario, "drl", seed, traces)
    network.simulator.enable_stats(False)
    links, flows = network.links, network.connections
    agent = next(i for i, flow in enumerate(flows) if flow.cc == "drl")
    round_trips = [2 * (sum(links[k].delay_ns for k in p.links) + p.extra_delay_ns) for p in flows[agent].paths]
    joined = 2 if len(round_trips) > 1 else 1
    ready_ns = flows[agent].start_ns + joined * max(round_trips) + 1_000_000
    return network.simulator, Timeline(links, flows, network.events, (agent,)), ready_ns
