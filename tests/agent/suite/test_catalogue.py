# SPDX-License-Identifier: BSD-2-Clause
"""The suite's scenarios: enough of them, valid, the same for a seed, over the whole range, and nothing tuned on."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ccdrl.agent.suite import catalogue
from ccdrl.agent.suite.catalogue import GROUPS, QUICK_NAMES, list_suite, make_suite
from ccdrl.agent.suite.changing import list_trace_files
from ccdrl.agent.suite.draw import Draw, bdp_queue
from ccdrl.bindings.errors import InputError
from ccdrl.envs.network import build_network
from ccdrl.envs.scenario import parse_scenario, shipped_scenarios
from ccdrl.envs.trace_generator import main as generate_trace


def toml_value(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml_value(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return json.dumps(value)


ONLY = {"codel": {"ecn"}, "pie": {"ecn"}, "red": {"ecn"}, "droptail": set(), "bernoulli": set(), "gilbert-elliott": {
    "loss_good", "loss_bad"}}  # fmt: skip


def plain(table):
    """Return what a file would hold: no None, and no key that the table's kind does not take."""
    kept = {}
    for name, given in table.items():
        value = plain(given) if isinstance(given, dict) else given
        optional = name in ("ecn", "loss_good", "loss_bad")
        if value is not None and not (optional and name not in ONLY[table["kind"]]):
            kept[name] = value
    return kept


def write_toml(scenario):
    data = dataclasses.asdict(scenario)
    lines = [f"{name} = {toml_value(data[name])}" for name in ("name", "summary", "duration_s", "warmup_s", "mss")]
    for kind in ("links", "flows", "events"):
        for table in data[kind]:
            lines.append(f"[[{kind}]]")
            lines += [f"{name} = {toml_value(value)}" for name, value in plain(table).items()]
    return "\n".join(lines)


def test_the_full_suite_has_the_wanted_groups(suite):
    assert len(suite.cases) >= 60
    assert suite.groups == list(GROUPS)
    names = [case.name for case in suite.cases]
    assert len(set(names)) == len(names)
    assert all(case.scenario.summary for case in suite.cases)
    assert not set(names) & {scenario.name for scenario in shipped_scenarios()}


@pytest.mark.parametrize("seed", [catalogue.SEED, 1])
def test_every_scenario_is_one_that_a_file_could_hold(seed):
    for case in make_suite("full", seed).cases:
        read = parse_scenario(write_toml(case.scenario), case.scenario.source)
        assert read == case.scenario


def test_no_scenario_is_a_shipped_one(suite):
    def shape(scenario):
        return scenario.links, scenario.flows, scenario.events

    shipped = {repr(shape(scenario)) for scenario in shipped_scenarios()}
    assert not {repr(shape(case.scenario)) for case in suite.cases} & shipped


def test_every_scenario_builds(suite):
    for case in suite.cases:
        network = build_network(case.scenario, "lia", 1)
        assert len(network.flows) == sum(flow.count for flow in case.scenario.flows)


def test_the_same_seed_gives_the_same_suite_in_another_process(suite):
    code = "from ccdrl.agent.suite.catalogue import *; import sys; sys.stdout.write(list_suite(make_suite('full')))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == list_suite(suite)
    other = make_suite("full", 1)
    assert [case.name for case in other.cases] == [case.name for case in suite.cases]
    same = sum(a.scenario == b.scenario for a, b in zip(other.cases, suite.cases, strict=True))
    assert same == 0


def test_quick_is_a_part_of_full(suite):
    quick = make_suite("quick")
    assert [case.name for case in quick.cases] == [name for name in QUICK_NAMES if name in quick_names(quick)]
    assert len(quick.cases) == len(QUICK_NAMES)
    assert set(quick.cases) <= set(suite.cases)


def quick_names(quick):
    return {case.name for case in quick.cases}


def test_where_queues_stay_short_there_is_one_tcp(suite):
    cases = suite.group("short")
    kinds = [case.scenario.links[0].queue.kind for case in cases]
    assert (kinds.count("droptail"), kinds.count("codel"), kinds.count("pie")) == (4, 2, 2)
    for case in cases:
        queue, rivals = case.scenario.links[0].queue, [flow for flow in case.scenario.flows if flow.id == "tcp"]
        assert case.has("aqm") or queue.packets == 4 or 0.1 <= queue.bdp <= 0.4
        assert len(rivals) == 1 and rivals[0].cc in ("reno", "cubic") and rivals[0].paths == (("link",),)
    assert [len(case.scenario.links) for case in cases] == [1] * 4 + [2] * 4


def test_the_range_is_covered(suite):
    links = [link for case in suite.group("pair") for link in case.scenario.links]
    rates = [link.rate_mbps for link in links]
    rtts = [2 * link.delay_ms for link in links]
    assert min(rates) < 0.6
    assert max(rates) > 400
    assert min(rtts) < 10
    assert max(rtts) > 300
    assert {len(case.scenario.flows[0].paths) for case in suite.group("subflows")} == {1, 3, 4, 5, 6, 8}
    assert {case.scenario.links[0].queue.bdp for case in suite.group("buffer")} == {0.1, 0.2, 0.5, 1.0, 3.0, 10.0}
    assert sum(2 <= len(case.scenario.flows) <= 4 for case in suite.group("together")) >= 5


def test_only_keeps_scenarios_and_groups():
    kept = make_suite("full", only=("tcp-02", "buffer"))
    assert [case.name for case in kept.cases] == ["tcp-02", *(f"buffer-{i:02d}" for i in range(1, 7))]
    with pytest.raises(InputError, match="tcp-99: not in suite full of seed 9743"):
        make_suite("full", only=("tcp-99",))


@pytest.mark.parametrize(("kind", "seed"), [("half", 1), ("full", -1), ("full", 2**32)])
def test_bad_kinds_and_seeds_are_refused(kind, seed):
    with pytest.raises(InputError, match="accepted: "):
        make_suite(kind, seed)


def test_recorded_traces_are_added_and_tuned_ones_left_out(tmp_path, capsys):
    known = next(link.trace for scenario in shipped_scenarios() for link in scenario.links if link.trace)
    names = [f"new/trace-{i}" for i in range(3)]
    for i, name in enumerate([known, *names]):
        generate_trace(["--mean-mbps", "8", "--duration-s", "30", "--seed", str(i), "--format", "rate"])
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(capsys.readouterr().out)
    (tmp_path / "LICENSE").write_text("no trace")
    assert list_trace_files(Path(tmp_path)) == ["LICENSE", *names]
    recorded = make_suite("full", traces=tmp_path).group("recorded")
    used = [link.trace for case in recorded for link in case.scenario.links if link.trace]
    assert sorted(used) == names
    assert all(case.has("trace") for case in recorded)
    assert make_suite("full").group("recorded") == []


def test_a_draw_depends_on_seed_and_group_alone():
    assert Draw(1, "a").log(1, 100) == Draw(1, "a").log(1, 100)
    assert Draw(1, "a").log(1, 100) != Draw(1, "b").log(1, 100)
    assert Draw(1, "a").log(1, 100) != Draw(2, "a").log(1, 100)


def test_queues_are_neither_tiny_nor_endless():
    assert bdp_queue(1.0, 10.0, 0.1).packets == 4
    assert bdp_queue(10.0, 800.0, 10.0).bdp == 3.75
    assert bdp_queue(10.0, 100.0, 2.0).bdp == 2.0
