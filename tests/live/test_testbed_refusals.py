# SPDX-License-Identifier: BSD-2-Clause
"""What the live test bed cannot do is refused by name before anything runs: one line, exit status 2."""

import os

import pytest

from ccdrl import compare
from ccdrl.agent import live_controllers
from ccdrl.agent.contenders import Contender
from ccdrl.agent.evaluation import RunSpec
from ccdrl.bindings.errors import InputError
from ccdrl.envs.scenario import parse_scenario, shipped_scenarios

live_scenario = pytest.importorskip(
    "ccdrl.agent.live_scenario", reason="this machine lacks the test bed's library (Linux only)", exc_type=ImportError
)
live_evaluation = pytest.importorskip("ccdrl.agent.live_evaluation")
BedError, BedResult, EmulatorFigures = (
    getattr(live_evaluation, name) for name in ("BedError", "BedResult", "EmulatorFigures")
)

SCENARIO = """
name = "small"
duration_s = 10
{top}
[[links]]
id = "a"
delay_ms = 10
{link}
[[links]]
id = "b"
rate_mbps = 10
delay_ms = 10
[[flows]]
id = "mp"
paths = [["a"], ["b"]]
cc = "{cc}"
{flow}
{event}
"""
BURSTS = '{ kind = "gilbert-elliott", good_to_bad = 0.1, bad_to_good = 1 }'
EVENT = '[[events]]\nat_s = 1\nlink = "b"\n'


def scenario(top="", link="rate_mbps = 10", cc="@", flow="", event=""):
    return parse_scenario(SCENARIO.format(top=top, link=link, cc=cc, flow=flow, event=event), "small.toml")


@pytest.mark.parametrize(
    ("change", "key", "accepted"),
    [
        ({"link": 'rate_mbps = 10\nqueue = { kind = "red" }'}, "links[0].queue.kind", "droptail"),
        ({"link": 'rate_mbps = 10\nqueue = { kind = "codel", ecn = true }'}, "links[0].queue.kind", "droptail"),
        ({"link": 'rate_mbps = 10\nqueue = { kind = "pie" }'}, "links[0].queue.kind", "droptail"),
        ({"link": "rate_mbps = 126"}, "links[0].rate_mbps", "up to 125 Mbit/s a link"),
        ({"link": 'generator = { kind = "lte", mean_mbps = 300 }'}, "links[0].generator", "up to 125 Mbit/s"),
        ({"flow": 'scheduler = "redundant"'}, "flows[0].scheduler", "minrtt"),
        ({"flow": "rwnd_bytes = 100000"}, "flows[0].rwnd_bytes", "no such key"),
        ({"flow": "ack_segments = 1"}, "flows[0].ack_segments", "2"),
        ({"flow": "path_delay_ms = [0, 1995]"}, "flows[0].paths[1]", "up to 2000 ms"),
        ({"flow": "count = 1000"}, "flows", "up to 256"),
        ({"cc": "wvegas"}, "flows[0].cc", "reno, cubic, bbr, lia, olia, balia, drl"),
        ({"top": "mss = 100"}, "mss", "512 to 8948"),
        ({"event": EVENT + "rate_mbps = 200"}, "events[0].rate_mbps", "up to 125 Mbit/s a link"),
        ({"event": EVENT + "delay_ms = 3000"}, "events[0].delay_ms", "up to 2000 ms"),
    ],
)
def test_refused_by_name(change, key, accepted):
    with pytest.raises(InputError) as error:
        live_scenario.check_scenario(scenario(**change))
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"small.toml: {key}"), message
    assert "--datapath linux" in message
    assert accepted in message


def test_sum_of_rates_is_bounded():
    links = "".join(f'[[links]]\nid = "l{n}"\nrate_mbps = 90\ndelay_ms = 5\n' for n in range(3))
    flow = '[[flows]]\nid = "f"\ncc = "@"\npaths = [["l0"], ["l1"], ["l2"]]\n'
    text = f'name = "wide"\nduration_s = 5\n{links}{flow}'
    with pytest.raises(InputError, match=r"270 Mbit/s in sum: accepted on --datapath linux: up to 250 Mbit/s"):
        live_scenario.check_scenario(parse_scenario(text, "wide.toml"))


def test_what_it_can_do_is_accepted():
    live_scenario.check_scenario(
        scenario(
            link=f"rate_mbps = 50\njitter_ms = 3\nloss = {BURSTS}",
            flow="count = 30\nsize_bytes = 100000\npath_delay_ms = [5, 10]",
            event=EVENT + "down = true",
        )
    )


def test_most_shipped_scenarios_can_run():
    scenarios = [scenario for scenario in shipped_scenarios() if not scenario.needs_traces]
    able = [scenario.name for scenario in scenarios if live_scenario.can_run(scenario)]
    assert {"idle-pair", "shared-bottleneck-reno", "failover", "wifi-3g", "jitter"} <= set(able)
    assert not {"aqm-red", "aqm-codel", "aqm-pie", "rwnd-limited"} & set(able)


def test_bed_config_is_the_simulator_network():
    config = live_scenario.make_bed_config(scenario(cc="lia"), Contender("cubic"), 3, None)
    assert [flow.cc for flow in config.flows] == ["ccdrl_lia"]
    assert config.duration_ns == 10_000_000_000
    # 1 BDP of 10 Mbit/s and 20 ms
    assert [link.limit_bytes for link in config.links] == [25000, 25000]


def test_controller_that_is_not_loaded():
    with pytest.raises(InputError, match=r"ccdrl_none is not loaded, accepted: after `python -m ccdrl"):
        live_controllers.check_controllers({"ccdrl_none"})
    with pytest.raises(InputError, match="this kernel has no vegas, accepted: .*reno"):
        live_controllers.check_controllers({"vegas"})


def run(capsys, *arguments):
    status = compare.main([*arguments, "--datapath", "linux", "--quiet"])
    return status, capsys.readouterr().err


def test_needs_root(capsys, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    status, err = run(capsys, "idle-pair", "--cc", "cubic")
    assert status == 2
    assert err.count("\n") == 1
    assert err.startswith("compare.py: error: --datapath linux needs root")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("aqm-red", "--cc", "cubic"), 'links[0].queue.kind = "red": accepted on --datapath linux: droptail'),
        (("idle-pair", "--cc", "wvegas"), "--cc: 'wvegas' on --datapath linux, accepted: reno, cubic, bbr"),
        (("lte-wifi", "--cc", "cubic"), "accepted: together with --traces DIR"),
    ],
)
def test_command_line_refuses_with_one_line(capsys, monkeypatch, arguments, message):
    monkeypatch.setattr(live_controllers, "missing_requirement", lambda: None)
    status, err = run(capsys, *arguments)
    assert status == 2
    assert err.count("\n") == 1
    assert message in err


def test_resume_keeps_datapaths_apart(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(live_controllers, "missing_requirement", lambda: None)
    monkeypatch.setattr(live_controllers, "check_controllers", lambda names: None)
    file = str(tmp_path / "out.json")
    options = ("idle-pair", "--cc", "cubic", "--seeds", "1", "--duration-s", "21", "--json", file)
    assert compare.main([*options, "--quiet"]) == 0
    status, err = run(capsys, *options, "--resume")
    assert status == 2
    assert "idle-pair was run on datapath sim, accepted for --resume: runs of one datapath" in err


class FakeBed:
    """Stands for `run_bed`: each call gives the next of some results."""

    def __init__(self, *late_us, **counts):
        self._late_us = list(late_us)
        self._counts = counts

    def __call__(self, config):
        late_us = self._late_us.pop(0)
        amounts = {"data_packets": 1000, "foreign_packets": 0, "overflow_packets": 0, "write_errors": 0, **self._counts}
        late = {"late_packets": 1000, "late_mean_us": late_us, "late_p99_us": 2 * late_us, "late_max_us": 9e6}
        return BedResult(EmulatorFigures(**amounts, **late, is_realtime=1), (), (), (), 0)


def run_punctual(monkeypatch, fake):
    monkeypatch.setattr(live_evaluation, "run_bed", fake)
    spec = RunSpec(scenario(cc="cubic"), Contender("reno"), 1, datapath="linux")
    return live_evaluation.run_punctual(None, spec)


def test_late_runs_are_discarded_and_repeated(monkeypatch):
    result, tries = run_punctual(monkeypatch, FakeBed(5000.0, 2000.0, 40.0))
    assert (result.emulator.late_mean_us, tries) == (40.0, 3)


def test_run_that_stays_late_fails_with_one_line(monkeypatch):
    with pytest.raises(BedError, match=r"late by 5000 us \(mean\) and 10000 us \(p99\), bounds 300 and 5000; 3 runs"):
        run_punctual(monkeypatch, FakeBed(*[5000.0] * 3))


def test_run_that_lost_packets_of_its_own_fails(monkeypatch):
    with pytest.raises(BedError, match="5 packets found no buffer"):
        run_punctual(monkeypatch, FakeBed(*[40.0] * 3, overflow_packets=5))
