# SPDX-License-Identifier: BSD-2-Clause
"""What pyproject.toml says agrees with the tree, the constraints and the installed package."""

import importlib
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ccdrl

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def read_pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {
        canonicalize_name(requirement.name): requirement
        for requirement in map(Requirement, filter(lambda line: line and not line.startswith("#"), lines))
    }


def list_requirements():
    extras = PROJECT["project"]["optional-dependencies"].values()
    groups = [PROJECT["project"]["dependencies"], PROJECT["build-system"]["requires"], *extras]
    return [Requirement(line) for group in groups for line in group]


def test_installed_version_is_the_one_of_the_package():
    assert metadata.version("ccdrl") == ccdrl.__version__


def test_every_folder_with_python_is_packaged():
    folders = {path.parent for name in ("agent", "bindings", "envs", "models") for path in (ROOT / name).rglob("*.py")}
    names = {"ccdrl." + folder.relative_to(ROOT).as_posix().replace("/", ".") for folder in folders}
    assert names == set(SETUPTOOLS["packages"])
    for folder in folders:
        assert (folder / "__init__.py").is_file(), folder


def test_every_command_line_is_packaged():
    names = {f"ccdrl.{path.stem}" for path in ROOT.glob("*.py") if path.stem not in ("__init__", "setup")}
    assert names == set(SETUPTOOLS["py-modules"])


@pytest.mark.parametrize("name", PROJECT["project"]["scripts"])
def test_console_script_exists(name):
    module, function = PROJECT["project"]["scripts"][name].split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_packaged_data_exists():
    for package, patterns in SETUPTOOLS["package-data"].items():
        if package == "ccdrl.bindings.linux":
            continue  # the BPF objects are there only where they could be built
        folder = ROOT / package.removeprefix("ccdrl.").replace(".", "/")
        for pattern in patterns:
            assert list(folder.glob(pattern)), f"{package}: nothing matches {pattern}"


def test_every_dependency_is_pinned_and_accepted():
    pins = read_pins()
    for requirement in list_requirements():
        (pin,) = pins[canonicalize_name(requirement.name)].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version, prereleases=True), requirement


def test_every_installed_dependency_is_pinned():
    """Walks what our extras pull in: nothing may come in a version that the constraints do not name.

    The libraries that a CUDA build of torch brings are pinned by torch itself.
    """
    pins, seen = read_pins(), set()
    waiting = [canonicalize_name(requirement.name) for requirement in list_requirements()]
    while waiting:
        name = waiting.pop()
        if name in seen or name.startswith(("nvidia-", "cuda-", "triton")):
            continue
        seen.add(name)
        assert name in pins, f"{name} {metadata.version(name)} is not in constraints.txt"
        assert pins[name].specifier.contains(metadata.version(name).split("+")[0], prereleases=True), name
        for requirement in map(Requirement, metadata.requires(name) or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(requirement.name))
