# SPDX-License-Identifier: BSD-2-Clause
"""compare.py --suite as a user meets it: the list, bad usage, a small run, its results file and --resume."""

import json

import pytest

from ccdrl.agent.suite.catalogue import list_suite, make_suite
from ccdrl.compare import main, make_options, make_parser

SMALL = ("--suite", "full", "pair-01", "failover-01", "--cc", "lia,olia", "--jobs", "1", "--quiet")


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


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results file of a small run."""
    path = tmp_path_factory.mktemp("suite") / "out.json"
    assert main([*SMALL, "--seeds", "1", "--json", str(path)]) == 0
    return path


def test_the_list_is_the_suite(capsys):
    assert main(["--suite", "full", "--list"]) == 0
    assert capsys.readouterr() == (list_suite(make_suite("full")), "")
    assert main(["--suite", "quick", "--suite-seed", "7", "--list"]) == 0
    assert capsys.readouterr() == (list_suite(make_suite("quick", 7)), "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--suite", "half"), "invalid choice: 'half'"),
        (("--suite-seed", "3"), "--suite-seed: without --suite"),
        (("--suite", "full", "--suite-seed", "x"), "accepted: a whole number from 0 to 4294967295"),
        (("--suite", "full", "--suite-seed", "4294967296"), "--suite-seed"),
        (("--suite", "full", "idle-pair"), "idle-pair: not in suite full of seed 9743"),
        (("--suite", "full", "--duration-s", "3"), "--duration-s: 3 with --suite"),
        (("--suite", "full", "--datapath", "linux"), "--suite: with --datapath linux"),
        (("--suite", "full", "--against", "x.json"), "--against: with --suite"),
        (("--suite", "full", "--list", "--traces", "/no/such"), "--traces: /no/such is not a directory"),
        (("--suite", "full", "--traces", "/no/such"), "--traces: /no/such is not a directory"),
        (("--suite", "full", "--resume"), "together with --json"),
        (("--suite", "full", "--cc", "vegas"), "'vegas' is no controller"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(arguments, said, refuse):
    refuse(*arguments, said=said)


def test_defaults_of_the_two_kinds():
    def seeds(*arguments):
        return make_options(make_parser().parse_args(list(arguments)), arguments).seeds

    assert seeds("--suite", "full") == (1, 2, 3, 4, 5)
    assert seeds("--suite", "quick") == (1, 2)
    assert seeds("--suite", "quick", "--seeds", "3") == (1, 2, 3)
    assert seeds("idle-pair") == (1, 2, 3, 4, 5)


def test_the_results_file(results):
    document = json.loads(results.read_text())
    assert document["schema"] == "ccdrl-compare/1"
    assert len(document["runs"]) == 4
    section = document["suite"]
    assert (section["kind"], section["seed"]) == ("full", 9743)
    assert [case["scenario"] for case in section["cases"]] == ["pair-01", "failover-01"]
    assert {(item["scenario"], item["cc"]) for item in section["figures"]} == {
        ("failover-01", cc) for cc in ("lia", "olia")
    }
    assert len(section["figures"][0]["recoveries"]) == 2
    verdicts = {row["key"]: row["findings"]["lia"]["value"] for row in section["criteria"]}
    assert verdicts["recovery-near"] is not None
    assert verdicts["tcp-kept"] is None


def test_resume_does_only_what_is_missing_and_refuses_another_suite(results, tmp_path, refuse):
    path = tmp_path / "out.json"
    path.write_bytes(results.read_bytes())
    before = json.loads(path.read_text())
    assert main([*SMALL, "--seeds", "2", "--json", str(path), "--resume"]) == 0
    after = json.loads(path.read_text())
    assert len(after["runs"]) == 8
    assert all(run in after["runs"] for run in before["runs"]), "wall_s too: the runs were not done again"
    assert len(after["suite"]["figures"]) == 4
    refuse(*SMALL, "--suite-seed", "5", "--json", path, "--resume", said="holds the suite of seed 9743")
    del before["suite"]
    path.write_text(json.dumps(before))
    refuse(*SMALL, "--json", path, "--resume", said="holds no suite")


def test_the_table_and_the_report(results, tmp_path, capsys):
    path, page = tmp_path / "out.json", tmp_path / "out.html"
    path.write_bytes(results.read_bytes())
    arguments = [word for word in SMALL if word != "--quiet"]
    assert main([*arguments, "--seeds", "1", "--json", str(path), "--resume", "--report", str(page)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("suite full, seed 9743: 2 scenarios")
    assert "recovery-near" in out
    assert "criteria passed" in out
    assert page.read_text().startswith("<!DOCTYPE html>")
