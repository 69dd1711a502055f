# SPDX-License-Identifier: BSD-2-Clause
"""What a scenario is, in a few short sentences for its section of the report."""

from ccdrl.envs.scenario import Event, Flow, Link, Loss, Scenario
from ccdrl.envs.scenario_schema import UNDER_TEST

EVENTS_SHOWN = 6


def describe_loss(loss: Loss | None) -> str:
    """Return random loss in words, empty without any."""
    if loss is None:
        return ""
    return (
        f"{100 * loss.p:g} % random loss" if loss.kind == "bernoulli" and loss.p is not None else "bursty random loss"
    )


def describe_link(link: Link) -> str:
    """Return capacity, delay, queue and loss of a link."""
    if link.rate_mbps is not None:
        capacity = f"{link.rate_mbps:g} Mbit/s"
    elif link.generator is not None:
        capacity = f"generated {link.generator.kind} trace of {link.generator.mean_mbps:g} Mbit/s"
    else:
        capacity = f"trace {link.trace}"
    queue = link.queue
    size = f"{queue.bytes} B" if queue.bytes is not None else f"{queue.packets} packets"
    if queue.bdp is not None:
        size = f"{queue.bdp:g} BDP"
    parts = [capacity, f"{link.delay_ms:g} ms one way", f"{queue.kind} {size}"]
    if link.jitter_ms:
        parts.append(f"jitter {link.jitter_ms:g} ms")
    if loss := describe_loss(link.loss):
        parts.append(loss)
    return f"{link.id}: {', '.join(parts)}"


def describe_flow(flow: Flow) -> str:
    """Return a flow's number, controller, subflows and times."""
    controller = "under test" if flow.cc == UNDER_TEST else flow.cc
    routes = ", ".join(" + ".join(path) for path in flow.paths)
    parts = [f"{flow.id}: {f'{flow.count} × ' if flow.count > 1 else ''}{controller} over {routes}"]
    if flow.start_s:
        parts.append(f"from {flow.start_s:g} s")
    if flow.stop_s is not None:
        parts.append(f"to {flow.stop_s:g} s")
    if flow.size_bytes is not None:
        parts.append(f"{flow.size_bytes} bytes")
    if flow.app_rate_mbps is not None:
        parts.append(f"application writes {flow.app_rate_mbps:g} Mbit/s")
    return ", ".join(parts)


def describe_event(event: Event) -> str:
    """Return what happens to a link, and when."""
    changes = [] if event.down is None else ["down" if event.down else "up"]
    if event.rate_mbps is not None:
        changes.append(f"{event.rate_mbps:g} Mbit/s")
    if event.delay_ms is not None:
        changes.append(f"{event.delay_ms:g} ms")
    if event.loss is not None:
        changes.append(describe_loss(event.loss))
    return f"{event.at_s:g} s: {event.link} {', '.join(changes)}"


def describe_scenario(scenario: Scenario) -> list[tuple[str, str]]:
    """Return the scenario's facts as (word, text) pairs."""
    events = [describe_event(event) for event in scenario.events]
    if len(events) > EVENTS_SHOWN:
        events = [*events[:EVENTS_SHOWN], f"and {len(events) - EVENTS_SHOWN} more"]
    facts = [
        ("Links", "; ".join(describe_link(link) for link in scenario.links)),
        ("Flows", "; ".join(describe_flow(flow) for flow in scenario.flows)),
        ("Time", f"{scenario.duration_s:g} s, of which {scenario.warmup_s:g} s warm-up left out of the averages"),
    ]
    return [*facts[:2], ("Events", "; ".join(events)), facts[2]] if events else facts
