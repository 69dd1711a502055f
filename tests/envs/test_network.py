# SPDX-License-Identifier: BSD-2-Clause
"""From a scenario to a simulator: what is built is what the file says, and it runs."""

from pathlib import Path
from typing import Any

import pytest

from ccdrl.bindings import library
from ccdrl.bindings.errors import InputError
from ccdrl.bindings.network import EventConfig, FlowConfig, LinkConfig, LossConfig
from ccdrl.envs import network
from ccdrl.envs.network import build_network, load_traces
from ccdrl.envs.scenario import Scenario, load_scenario, parse_scenario, shipped_scenarios
from ccdrl.envs.scenario_schema import CONTROLLERS

TEXT = """
duration_s = 20
mss = 1000
[[links]]
id = "one"
rate_mbps = 8
delay_ms = 10
jitter_ms = 1.5
queue = { bdp = 2 }
loss = { kind = "gilbert-elliott", good_to_bad = 0.01, bad_to_good = 0.5 }
[[links]]
id = "two"
generator = { kind = "lte", mean_mbps = 4, seed = 3 }
delay_ms = 30
queue = { kind = "codel", packets = 100, ecn = true, target_ms = 7 }
[[links]]
id = "zero"
rate_mbps = 1
delay_ms = 0
[[flows]]
id = "mp"
cc = "@"
paths = [["one"], ["two", "zero"]]
path_delay_ms = [0, 5]
count = 2
scheduler = "blest"
rwnd_bytes = 500000
[[flows]]
id = "tcp"
cc = "cubic"
paths = [["two"]]
start_s = 5
stop_s = 10
size_bytes = 1000000
app_rate_mbps = 1.5
[[events]]
at_s = 3.5
link = "one"
rate_mbps = 5
delay_ms = 12
loss = { kind = "bernoulli", p = 0.25 }
down = false
"""


class Recorder:
    """Stands for the simulator and keeps what it is told."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.links: list[LinkConfig] = []
        self.flows: list[FlowConfig] = []
        self.events: list[EventConfig] = []

    def add_link(self, config: LinkConfig) -> int:
        self.links.append(config)
        return len(self.links) - 1

    def add_flow(self, config: FlowConfig) -> int:
        self.flows.append(config)
        return len(self.flows) - 1

    def add_event(self, config: EventConfig) -> int:
        self.events.append(config)
        return len(self.events) - 1


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(network, "Simulator", Recorder)
    return build_network(parse_scenario(TEXT, "x.toml"), "olia", 9)


def test_scenarios_may_name_every_controller_but_the_instrument() -> None:
    assert set(library.CC_IDS) - set(CONTROLLERS) == {"fixed"}


def test_links(recorded: Any) -> None:
    one, two, zero = recorded.simulator.links
    assert (one.rate_bps, one.delay_ns, one.jitter_ns, one.trace) == (8e6, 10_000_000, 1_500_000, None)
    # 2 BDP of 8 Mbit/s and 20 ms
    assert (one.queue_kind, one.limit_bytes, one.limit_packets, one.is_ecn) == ("droptail", 40000, 0, False)
    assert one.loss == LossConfig("gilbert-elliott", 0.0, 0.01, 0.5, 0.0, 1.0)
    assert (two.queue_kind, two.limit_bytes, two.limit_packets, two.is_ecn) == ("codel", 0, 100, True)
    assert (two.aqm_target_ns, two.aqm_interval_ns, two.loss) == (7_000_000, 0, LossConfig())
    assert two.trace is not None and two.trace.kind == "rate" and two.trace.period_ns == 20 * 10**9
    # no delay, no BDP: still one packet of 1000 + 52 bytes
    assert zero.limit_bytes == 1052
    assert recorded.link_ids == ("one", "two", "zero")
    assert recorded.links == (one, two, zero)
    assert list(recorded.connections) == recorded.simulator.flows and list(recorded.events) == recorded.simulator.events
    assert recorded.capacities_bps == pytest.approx((8e6, 4e6, 1e6))


def test_flows(recorded: Any) -> None:
    assert [(flow.id, flow.cc, flow.n_paths) for flow in recorded.flows] == [
        ("mp/0", "olia", 2), ("mp/1", "olia", 2), ("tcp", "cubic", 1),
    ]  # fmt: skip
    first, second, tcp = recorded.simulator.flows
    assert [(path.links, path.extra_delay_ns) for path in first.paths] == [((0,), 0), ((1, 2), 5_000_000)]
    assert (first.cc, first.scheduler, first.mss_bytes, first.rwnd_bytes) == ("olia", "blest", 1000, 500000)
    assert (first.stop_ns, first.size_bytes, first.app_rate_bps) == (None, 0, 0.0)
    assert (tcp.cc, tcp.stop_ns, tcp.size_bytes, tcp.app_rate_bps) == ("cubic", 10 * 10**9, 1000000, 1.5e6)
    # spread over the propagation RTT of the first path: 20 ms, and 60 ms for tcp
    assert 0 <= first.start_ns < 20_000_000 and 0 <= second.start_ns < 20_000_000 and first.start_ns != second.start_ns
    assert 5 * 10**9 <= tcp.start_ns < 5 * 10**9 + 60_000_000


def test_events(recorded: Any) -> None:
    events = recorded.simulator.events
    assert [(event.kind, event.at_ns, event.link) for event in events] == [
        (kind, 3_500_000_000, 0) for kind in ("rate", "delay", "loss", "up")
    ]
    assert (events[0].rate_bps, events[1].delay_ns, events[2].loss) == (
        5e6,
        12_000_000,
        LossConfig("bernoulli", p=0.25),
    )


def test_starts_depend_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "Simulator", Recorder)
    scenario = parse_scenario(TEXT, "x.toml")

    def starts(cc: str, seed: int) -> list[int]:
        simulator: Any = build_network(scenario, cc, seed).simulator
        assert simulator.seed == seed
        return [flow.start_ns for flow in simulator.flows]

    assert starts("lia", 1) == starts("reno", 1) != starts("lia", 2)


def test_wrong_controller_and_seed() -> None:
    scenario = load_scenario("idle-pair")
    for cc in ("@", "fixed", "vegas\n"):
        with pytest.raises(InputError, match="accepted: one of reno, cubic"):
            build_network(scenario, cc, 1)
    with pytest.raises(InputError, match="seed"):
        build_network(scenario, "lia", -1)


def trace_scenario(name: str) -> Scenario:
    return parse_scenario(
        f'duration_s = 5\n[[links]]\nid = "a"\ntrace = "{name}"\ndelay_ms = 10\nqueue = {{ bdp = 1 }}\n'
        '[[flows]]\nid = "f"\ncc = "@"\npaths = [["a"]]\n',
        "mine.toml",
    )


def test_trace_faults_name_file_key_and_value(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("1\nx\n")
    for name, folder, words in (
        ("t", None, 'mine.toml: links[0].trace = "t": accepted: together with --traces DIR'),
        ("t", tmp_path, 'mine.toml: links[0].trace: "t": No such file or directory: accepted'),
        ("bad", tmp_path, "line 2"),
        ("t", tmp_path / "absent", "not a folder"),
    ):
        with pytest.raises(InputError) as caught:
            load_traces(trace_scenario(name), folder)
        assert words in str(caught.value) and str(caught.value).isprintable()
        assert str(caught.value).startswith("mine.toml: links[0].trace")


def test_too_long_generator_names_its_key() -> None:
    text = TEXT.replace('kind = "lte", mean_mbps = 4', 'kind = "poisson", mean_mbps = 1e5')
    with pytest.raises(InputError, match=r"^x\.toml: links\[1\]\.generator: a poisson trace"):
        load_traces(parse_scenario(text, "x.toml"), None)


def test_trace_file_drives_a_link(tmp_path: Path) -> None:
    # 12 Mbit/s: one packet a millisecond
    (tmp_path / "t").write_text("\n".join(str(ms) for ms in range(1, 1001)))
    built = build_network(trace_scenario("t"), "reno", 1, tmp_path)
    assert built.capacities_bps == pytest.approx((12e6,))
    built.simulator.run(5 * 10**9)
    stats = built.simulator.link_stats(0)
    assert stats.capacity_bytes == pytest.approx(12e6 / 8 * 5, rel=0.01)
    assert 0.8 < stats.departed_bytes / stats.capacity_bytes <= 1.0


def test_simulation_follows_the_scenario() -> None:
    built = build_network(load_scenario("idle-pair"), "lia", 1)
    built.simulator.run(20 * 10**9)
    built.simulator.reset_stats()
    built.simulator.run(50 * 10**9)
    # both paths together: 19.3 Mbit/s of payload; LIA keeps most of it in 30 s
    goodput_mbps = built.simulator.flow_stats(0).goodput_bytes * 8 / 30e6
    assert 0.85 * 20 * 1448 / 1500 < goodput_mbps <= 20 * 1448 / 1500
    built.simulator.check()


@pytest.mark.parametrize("scenario", [s for s in shipped_scenarios() if not s.needs_traces], ids=lambda s: s.name)
def test_shipped_scenario_runs(scenario: Scenario) -> None:
    built = build_network(scenario, "lia", 1)
    assert len(built.flows) == built.simulator.n_flows and len(built.link_ids) == built.simulator.n_links
    # a little way into it, past every start within the first seconds
    built.simulator.run(int(min(2.0, scenario.duration_s) * 1e9))
    built.simulator.check()
    assert built.simulator.packets > 0
