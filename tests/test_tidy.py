# SPDX-License-Identifier: BSD-2-Clause
"""Style that no linter checks: short files, a licence line, no pickle, printing only where people read."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

import ccdrl

ROOT = Path(__file__).resolve().parent.parent
LINES_MAX = 420
SUFFIXES = {".py", ".c", ".h", ".toml", ".sh", ".css", ".js"}
SKIPPED = {".git", ".venv", "build", "dist", "runs", "out"}
# What the command lines show to people.
PRINTING = {f"agent/{name}.py" for name in ("callbacks", "command_line", "comparison", "progress", "training")}


def list_sources():
    """Return every source that git tracks, or may: new files are held to the same rules."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode == 0:
        paths = [ROOT / line for line in run.stdout.splitlines()]
    else:  # an unpacked archive
        paths = [path for path in ROOT.rglob("*") if not SKIPPED & set(path.relative_to(ROOT).parts)]
    named = {"Makefile", "run"}
    files = {path for path in paths if path.is_file() and (path.suffix in SUFFIXES or path.name in named)}
    return sorted(path.relative_to(ROOT).as_posix() for path in files)


SOURCES = list_sources()
PYTHON = [name for name in SOURCES if name.endswith(".py")]
LIBRARY = [name for name in PYTHON if name.split("/")[0] in ("agent", "bindings", "envs", "models")]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SOURCES)
def test_source_is_tidy(name):
    lines = read(name).splitlines()
    assert len(lines) <= LINES_MAX, f"{name} has {len(lines)} lines; split it"
    is_data = name.endswith(".toml") and name != "pyproject.toml"
    if not is_data:
        assert any("SPDX-License-Identifier: " in line for line in lines[:3]), f"{name}: no licence line"
    assert all(line == line.rstrip() for line in lines), f"{name}: space at the end of a line"
    assert "\r" not in read(name)
    words = [f"{first}{second}" for first, second in (("TO", "DO"), ("FIX", "ME"), ("X", "XX"))]
    assert not re.search(rf"\b({'|'.join(words)})\b", read(name)), f"{name}: unfinished"
    if name.endswith(".py"):
        assert "\t" not in read(name), f"{name}: tab"


@pytest.mark.parametrize("name", PYTHON)
def test_no_pickle(name):
    for node in ast.walk(ast.parse(read(name), name)):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        for module in modules:
            assert module.split(".")[0] not in ("pickle", "cloudpickle", "dill", "joblib", "shelve"), name


@pytest.mark.parametrize("name", sorted(set(LIBRARY) - PRINTING))
def test_libraries_do_not_print(name):
    calls = [node.func for node in ast.walk(ast.parse(read(name), name)) if isinstance(node, ast.Call)]
    assert not any(isinstance(function, ast.Name) and function.id == "print" for function in calls), name


def test_version_stands_in_one_place():
    assert re.fullmatch(r"\d+\.\d+\.\d+", ccdrl.__version__)
    assignment = re.compile(r"^\s*(?:__version__|version|VERSION)\s*[:=].*\d+\.\d+\.\d+", re.MULTILINE)
    assert [name for name in SOURCES if assignment.search(read(name))] == ["__init__.py"]
