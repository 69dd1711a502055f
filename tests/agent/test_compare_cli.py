# SPDX-License-Identifier: BSD-2-Clause
"""compare.py as a user meets it: exit statuses, one-line errors, determinism, Ctrl-C and --resume."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import ccdrl
from ccdrl.agent import comparison
from ccdrl.agent.workers import Outcome
from ccdrl.compare import main
from ccdrl.envs.scenario import shipped_scenarios

PROGRAM = Path(ccdrl.__file__).parent / "compare.py"

SCENARIO = """
name = "{name}"
duration_s = {duration_s}
warmup_s = 1
[[links]]
id = "a"
rate_mbps = 5
delay_ms = 10
[[links]]
id = "b"
{capacity}
delay_ms = 20
[[flows]]
id = "mp"
cc = "@"
paths = [["a"], ["b"]]
[[flows]]
id = "tcp"
cc = "{rival}"
paths = [["b"]]
"""


def write_scenario(folder, name="tiny", duration_s=4, capacity="rate_mbps = 3", rival="cubic"):
    path = folder / f"{name}.toml"
    path.write_text(SCENARIO.format(name=name, duration_s=duration_s, capacity=capacity, rival=rival))
    return str(path)


def start(*arguments, **options):
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def call(*arguments, **options):
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


@pytest.fixture
def refuse(capsys):
    """Check that a command line is refused: exit status 2, one line on stderr, nothing on stdout."""

    def check(*arguments, said):
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert (status, out) == (2, "")
        assert err.startswith("compare.py: error: ")
        assert err.count("\n") == 1
        assert said in err

    return check


def runs_of(path):
    document = json.loads(path.read_text())
    return [{key: value for key, value in run.items() if key != "wall_s"} for run in document["runs"]]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_scenario(tmp_path_factory.mktemp("scenarios"))


@pytest.fixture(scope="module")
def agents(tmp_path_factory, save_agent):
    """The folder of two untrained agents, one and two."""
    folder = tmp_path_factory.mktemp("agents")
    for seed, name in enumerate(("one", "two")):
        save_agent(folder / name, seed)
    return folder


def test_list_names_every_shipped_scenario_with_its_summary():
    status, out, err = call("--list")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == len(shipped_scenarios()) > 0
    for line, scenario in zip(lines, shipped_scenarios(), strict=True):
        assert line.startswith(scenario.name)
        assert line.endswith(scenario.summary)
        assert scenario.summary


def test_a_comparison_prints_a_table_and_writes_the_results(tiny, tmp_path):
    status, out, err = call(tiny, "--cc", "lia,cubic", "--seeds", 2, "--json", tmp_path / "out.json")
    assert status == 0
    assert "Traceback" not in err
    assert "4/4" in err
    assert [line.split()[:2] for line in out.splitlines() if "tiny" in line] == [["tiny", "lia"]]
    document = json.loads((tmp_path / "out.json").read_text())
    assert [(run["cc"], run["seed"]) for run in document["runs"]] == [
        ("cubic", 1),
        ("cubic", 2),
        ("lia", 1),
        ("lia", 2),
    ]
    assert [row["cc"] for row in document["summary"]] == ["cubic", "lia"]
    goodputs = [run["flows"][0]["goodput_mbps"] for run in document["runs"] if run["cc"] == "lia"]
    assert document["summary"][1]["goodput_mbps"]["mean"] == pytest.approx(sum(goodputs) / 2)


def test_the_default_controllers(tiny, tmp_path):
    assert call(tiny, "--seeds", 1, "--quiet", "--json", tmp_path / "out.json") == (0, "", "")
    found = {run["cc"] for run in runs_of(tmp_path / "out.json")}
    assert found - {"drl"} == {"lia", "olia", "balia", "cubic"}


def test_runs_do_not_depend_on_the_number_of_jobs(tiny, agents, tmp_path):
    options = (tiny, "--cc", "drl,lia,bbr", "--model", agents / "one", "--seed-list", "3,1", "--quiet")
    for jobs in (1, 2):
        assert call(*options, "--jobs", jobs, "--json", tmp_path / f"{jobs}.json") == (0, "", "")
    assert runs_of(tmp_path / "1.json") == runs_of(tmp_path / "2.json")
    assert [(run["cc"], run["seed"]) for run in runs_of(tmp_path / "1.json")] == [
        (cc, seed) for cc in ("bbr", "drl", "lia") for seed in (1, 3)
    ]


def test_several_agents_have_names(tiny, agents, tmp_path):
    models = ("--model", f"{agents / 'one'},best={agents / 'two'}")
    status, _, err = call(tiny, *models, "--cc", "drl", "--seeds", 1, "--quiet", "--json", tmp_path / "out.json")
    assert (status, err) == (0, "")
    runs = runs_of(tmp_path / "out.json")
    assert [run["cc"] for run in runs] == ["drl:best", "drl:one"]
    assert runs[0]["flows"][0]["cc"] == "drl:best"
    assert runs[0]["flows"] != runs[1]["flows"]


def test_duration_can_be_set(tiny, tmp_path, refuse):
    call(tiny, "--cc", "lia", "--seeds", 1, "--duration-s", 2.5, "--json", tmp_path / "out.json", "--quiet")
    assert runs_of(tmp_path / "out.json")[0]["duration_s"] == 2.5
    refuse(tiny, "--duration-s", 1, said="above warmup_s = 1")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no SCENARIO"),
        (("no-such-scenario",), "no such scenario"),
        (("idle-pair", "--cc", "lia,vegas"), "'vegas' is no controller, accepted: reno, cubic"),
        (("idle-pair", "--cc", "drl:x"), "'drl:x' is no controller"),
        (("idle-pair", "--seeds", "0"), "accepted: a whole number"),
        (("idle-pair", "--seeds", "x"), "accepted: a whole number"),
        (("idle-pair", "--seed-list", "x"), "accepted: whole numbers"),
        (("idle-pair", "--seed-list", "1,,2"), "accepted: whole numbers"),
        (("idle-pair", "--seed-list", "-1"), "--seed-list"),
        (("idle-pair", "--seeds", "2", "--seed-list", "1"), "not allowed with"),
        (("idle-pair", "--jobs", "0"), "--jobs"),
        (("idle-pair", "--duration-s", "nan"), "accepted: seconds"),
        (("idle-pair", "--datapath", "moon"), "--datapath"),
        (("idle-pair", "--against", "x.json"), "--against: shown in the report only"),
        (("idle-pair", "--against", "/no/such.json", "--report", "o.html"), "/no/such.json: No such file"),
        (("idle-pair", "--cc", ","), "--cc: ',' names none, accepted: reno"),
        (("idle-pair", "--model", ""), "--model: names no agent"),
        (("idle-pair", "--json", "out", "--report", "./out"), "--report: out is the file of --json too"),
        (("idle-pair", "--model", "/no/such/model"), "--model: '/no/such/model' does not exist"),
        (("idle-pair", "--traces", "/no/such/folder"), "--traces: /no/such/folder is not a directory"),
        (("idle-pair", "--json", "/no/such/folder/out.json"), "--json: cannot write"),
        (("idle-pair", "--json", "/"), "is a directory"),
        (("idle-pair", "--report", "/no/such/folder/out.html"), "--report: cannot write"),
        (("idle-pair", "--resume"), "together with --json"),
        (("idle-pair", "--nonsense"), "--nonsense"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(arguments, said, refuse):
    refuse(*arguments, said=said)


def test_bad_usage_of_the_program_itself():
    status, out, err = call("idle-pair", "--seeds", "0")
    assert (status, out) == (2, "")
    assert err == "compare.py: error: argument --seeds: '0', accepted: a whole number from 1 to 10000\n"


def test_a_folder_that_is_no_agent_is_refused(tmp_path, refuse):
    refuse("idle-pair", "--cc", "drl", "--model", tmp_path, said=str(tmp_path))


def test_two_agents_of_one_name_are_refused(agents, refuse):
    refuse("idle-pair", "--model", f"a={agents / 'one'},a={agents / 'two'}", said="called 'a'")


def test_a_missing_trace_is_told_before_the_runs(tmp_path, refuse):
    path = write_scenario(tmp_path, capacity='trace = "none"')
    refuse(path, "--traces", tmp_path, said="none")
    refuse(path, said="--traces")


def test_two_scenarios_of_one_name_are_refused(tmp_path, refuse):
    (tmp_path / "other").mkdir()
    paths = [write_scenario(tmp_path), write_scenario(tmp_path / "other", duration_s=9)]
    refuse(*paths, said="both are called 'tiny'")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "other/1"}', '{"schema": "ccdrl-compare/1"}'])
def test_a_corrupt_file_is_not_resumed(tiny, tmp_path, text, refuse):
    (tmp_path / "out.json").write_text(text)
    refuse(tiny, "--json", tmp_path / "out.json", "--resume", said="out.json: ")
    assert (tmp_path / "out.json").read_text() == text


def test_resume_does_only_what_is_missing(tiny, tmp_path):
    path = tmp_path / "out.json"
    common = (tiny, "--json", path, "--quiet")
    assert call(*common, "--cc", "lia", "--seeds", 1)[0] == 0
    first = json.loads(path.read_text())["runs"]
    assert call(*common, "--cc", "lia,olia", "--seeds", 2, "--resume")[0] == 0
    document = json.loads(path.read_text())
    assert first[0] in document["runs"], "wall_s too: the run was not done again"
    assert call(tiny, "--json", tmp_path / "new.json", "--quiet", "--cc", "lia,olia", "--seeds", 2)[0] == 0
    assert runs_of(path) == runs_of(tmp_path / "new.json")
    assert document["summary"] == json.loads((tmp_path / "new.json").read_text())["summary"]


def test_resume_keeps_other_scenarios_and_refuses_another_experiment(tiny, tmp_path, refuse):
    path = tmp_path / "out.json"
    other = write_scenario(tmp_path, "other")
    common = ("--json", path, "--quiet", "--cc", "lia", "--seeds", 1)
    assert call(other, *common, "--resume")[0] == 0, "a file that is not there yet holds no runs"
    assert call(tiny, *common, "--resume")[0] == 0
    document = json.loads(path.read_text())
    assert [run["scenario"] for run in document["runs"]] == ["other", "tiny"]
    assert [row["scenario"] for row in document["summary"]] == ["other", "tiny"]
    refuse(tiny, *common, "--resume", "--duration-s", 3, said="duration_s = 4")
    document["version"] = "0.0.0"
    path.write_text(json.dumps(document))
    refuse(tiny, *common, "--resume", said="version 0.0.0")


def test_ctrl_c_keeps_finished_runs_and_resume_goes_on(tmp_path):
    path = tmp_path / "out.json"
    scenario = write_scenario(tmp_path, duration_s=600)
    arguments = (scenario, "--cc", "lia,cubic", "--seeds", 200, "--jobs", 2, "--json", path)
    process = start(*arguments, start_new_session=True)
    assert "1/400" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the workers as well
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1].startswith("compare.py: interrupted, ")
    assert "Traceback" not in err
    kept = json.loads(path.read_text())["runs"]
    assert 1 <= len(kept) < 400
    assert call(scenario, "--cc", "lia,cubic", "--seeds", 3, "--json", path, "--resume", "--quiet") == (0, "", "")
    runs = json.loads(path.read_text())["runs"]
    assert all(run in runs for run in kept)
    assert {(cc, seed) for cc in ("lia", "cubic") for seed in (1, 2, 3)} <= {(run["cc"], run["seed"]) for run in runs}


def test_a_failed_run_is_one_line_and_the_others_are_kept(tiny, tmp_path, monkeypatch, capsys):
    def run_tasks(function, tasks, jobs):
        for index, task in enumerate(tasks):
            failed = task.seed == 2
            yield Outcome(index, error="broken") if failed else Outcome(index, function(task))

    monkeypatch.setattr(comparison, "run_tasks", run_tasks)
    path = tmp_path / "out.json"
    assert main([tiny, "--cc", "lia", "--seeds", "3", "--json", str(path), "--quiet"]) == 1
    assert capsys.readouterr() == ("", "compare.py: error: tiny, lia, seed 2: broken\n")
    assert [run["seed"] for run in runs_of(path)] == [1, 3]


def test_all_leaves_out_what_needs_traces_unless_they_are_given(capsys):
    everything = comparison.all_scenarios(has_traces=True, is_quiet=False)
    assert everything == shipped_scenarios()
    kept = comparison.all_scenarios(has_traces=False, is_quiet=False)
    left_out = [scenario for scenario in everything if scenario not in kept]
    assert left_out
    assert all(any(link.trace for link in scenario.links) for scenario in left_out)
    assert capsys.readouterr().err == f"all: {len(left_out)} scenarios need --traces and are left out\n"


def test_a_report_is_written(tiny, tmp_path):
    path = tmp_path / "out.html"
    assert call(tiny, "--cc", "lia,cubic", "--seeds", 3, "--report", path, "--quiet") == (0, "", "")
    text = path.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert text.count("<svg") == 2
