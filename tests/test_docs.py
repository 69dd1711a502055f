# SPDX-License-Identifier: BSD-2-Clause
"""The documentation is executed.

Blocks fenced as `python` run as they are. Lines of `console` blocks that begin with `$ python train.py` or `$ python
compare.py` run in an empty folder, one after the other. Lines of `sh` blocks, which may take long, are held against the
command line's parser and the Makefile. Links and names of tests must lead somewhere.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ccdrl import compare
from ccdrl.agent import average, export, training
from ccdrl.agent.daemon import options
from ccdrl.envs.scenario import shipped_names

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MODULES = {"ccdrl.agent.export": export, "ccdrl.agent.average": average}
PARSERS = {"train.py": training.make_parser, "compare.py": compare.make_parser, "serve.py": options.make_parser}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {"", "python", "console", "sh", "toml", "json"}


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def list_blocks(*languages):
    """Return (page, line of the fence, text) of every block in these languages."""
    blocks = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            if match[1] in languages:
                blocks.append(pytest.param(match[2], id=f"{name_of(page)}:{text[: match.start()].count(chr(10)) + 1}"))
    return blocks


def list_commands(text, prompt=""):
    """Return the lines that begin with the prompt as words, comments left out."""
    lines = [line.removeprefix(prompt) for line in text.splitlines() if line.startswith(prompt)]
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_have_a_known_language(page):
    text = page.read_text(encoding="utf-8")
    assert {match[1] for match in BLOCK.finditer(text)} <= LANGUAGES
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(BLOCK.findall(text)), "a fence is not closed"


@pytest.mark.parametrize("text", list_blocks("python"))
def test_python_block_runs(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "block", "exec"), {"__name__": "block"})


@pytest.mark.parametrize("text", list_blocks("console"))
def test_console_block_runs(text, tmp_path):
    commands = list_commands(text, "$ ")
    assert commands
    for python, program, *arguments in commands:
        assert python == "python"
        assert program in PARSERS, f"{program} cannot run in a test; fence the block as sh"
        command = [sys.executable, str(ROOT / program), *arguments]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
        assert run.returncode == 0, run.stderr
        for option in ("--json", "--report", "--out"):
            if option in arguments:
                assert (tmp_path / arguments[arguments.index(option) + 1]).exists()


@pytest.mark.parametrize("text", list_blocks("sh"))
def test_sh_block_is_understood(text):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for program, *arguments in list_commands(text):
        if program == "make":
            assert set(arguments) <= set(targets)
        elif program == "python" and arguments[0] == "-m":
            MODULES[arguments[1]].make_parser().parse_args(arguments[2:])
        elif program == "python" and arguments[0] in PARSERS:
            given = PARSERS[arguments[0]]().parse_args(arguments[1:])
            assert set(getattr(given, "scenarios", ())) <= {"all", *shipped_names()}
        else:
            assert program == "tensorboard", f"{program} is not known to this test"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if not target.startswith("https://"):
            assert (page.parent / target).is_file(), f"{name_of(page)}: {target}"


def test_the_simulators_page_names_tests_that_exist():
    text = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8").split("## Which test shows what")[1]
    pairs = [
        (file, name)
        for file, names in re.findall(r"([\w/]+\.py): ((?:`\w+`(?:, )?)+)", text)
        for name in re.findall(r"`(\w+)`", names)
    ]
    assert len(pairs) > 40
    for file, name in pairs:
        source = (ROOT / "tests" / "bindings" / file).read_text(encoding="utf-8")
        assert re.search(rf"^(def|class) {name}\b", source, re.MULTILINE), f"{file} has no {name}"


def test_the_map_names_every_python_file():
    """The table of ARCHITECTURE.md: each file of the packages stands in the section of its folder."""
    sections = re.split(
        r"^\| \*\*([\w/]+)/\*\* \|.*$", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), flags=re.M
    )
    tables = dict(zip(sections[1::2], (part.split("\n\n")[0] for part in sections[2::2]), strict=True))
    for folder in ("agent", "bindings", "envs", "models"):
        first = {line.split("|")[1] for line in tables[folder].splitlines() if line.startswith("|")}
        named = {name.replace("\\", "").strip() for cell in first for name in cell.split(",")}
        files = {path.name for path in (ROOT / folder).glob("*.py") if path.name != "__init__.py"}
        assert files <= named, f"{folder}: {sorted(files - named)} not in ARCHITECTURE.md"
        missing = {name for name in named if name.endswith(".py")} - files
        assert not missing, f"{folder}: {sorted(missing)} in ARCHITECTURE.md only"
