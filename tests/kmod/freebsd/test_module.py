# SPDX-License-Identifier: BSD-2-Clause
"""The built module in the kernel model: every scenario, on each release, with and without the kernel's own checks, and
with gcc's sanitizers.
"""

from functools import partial

import pytest

from ccdrl.tests.kmod.freebsd import scenarios_calls, scenarios_events, scenarios_limits, scenarios_races

VARIANTS = {
    "14": {"release": 14, "invariants": False},
    "14-invariants": {"release": 14, "invariants": True},
    "15": {"release": 15, "invariants": False},
    "15-invariants": {"release": 15, "invariants": True},
    "14-sanitized": {"release": 14, "invariants": False, "sanitize": True},
    "15-sanitized": {"release": 15, "invariants": True, "sanitize": True},
}
SCENARIOS = (
    *scenarios_events.SCENARIOS,
    *scenarios_calls.SCENARIOS,
    *scenarios_limits.SCENARIOS,
    *scenarios_races.SCENARIOS,
)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_scenario(open_kernel, variant, scenario):
    scenario(partial(open_kernel, **VARIANTS[variant]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_threads_at_once(open_kernel, variant):
    """Two network threads, an agent and an administrator for a second, or until each did enough; nothing is left."""
    kernel = open_kernel(**VARIANTS[variant])
    kernel.sysctl("net.inet.tcp.cc.ccdrl.closed_max", 4096)
    figures = kernel.hammer(1000, 64, 1)
    assert figures["overfull"] == figures["went_back"] == figures["after_closed"] == figures["refused"] == 0
    assert min(figures[name] for name in ("events", "created", "reads", "records", "taken", "other")) > 50
    assert kernel.sysctl("net.inet.tcp.cc.ccdrl.subflows") == 0
    kernel.get_buffer(16_000)
    assert kernel.unload() == 0
    assert kernel.allocations()[1] == 0
