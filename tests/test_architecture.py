# SPDX-License-Identifier: BSD-2-Clause
"""Imports go one way, and heavy packages stay where they belong (ARCHITECTURE.md)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("bindings", "envs", "models", "agent")
SCRIPTS = tuple(path.name for path in ROOT.glob("*.py") if path.name not in ("__init__.py", "setup.py"))
# Who may import whom, besides itself; the empty name is the root package, which holds the version.
ALLOWED = {
    "bindings": {""},
    "envs": {"", "bindings"},
    "models": {""},
    "agent": {"", "bindings", "envs", "models"},
    **{script: {"", "bindings", "envs", "agent"} for script in SCRIPTS},
}
TORCH_FOLDERS = ("models", "agent")
SB3_FILES = ("agent/trainer", "agent/callbacks", "agent/ppo", "agent/sb3_")


def list_files():
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path.relative_to(ROOT).as_posix() for path in files] + list(SCRIPTS)


def list_imports(name):
    """Yield every module that a file imports, in functions too; names imported from a package count as modules."""
    for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"), name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: absolute imports only"
            yield node.module
            if node.module == "ccdrl":
                yield from (f"ccdrl.{alias.name}" for alias in node.names if not alias.name.startswith("__"))


@pytest.mark.parametrize("name", list_files())
def test_imports_follow_the_arrows(name):
    home = name.split("/")[0]
    for module in list_imports(name):
        parts = module.split(".")
        assert parts[0] not in FOLDERS, f"{name} imports {module}: write ccdrl.{module}"
        if parts[0] == "ccdrl":
            target = parts[1] if len(parts) > 1 else ""
            assert target == home or target in ALLOWED[home], f"{name} imports {module}"


@pytest.mark.parametrize("name", list_files())
def test_heavy_packages_stay_at_home(name):
    packages = {module.split(".")[0] for module in list_imports(name)}
    if "torch" in packages:
        assert name.startswith(TORCH_FOLDERS), f"{name} imports torch"
    if "stable_baselines3" in packages:
        assert name.startswith(SB3_FILES), f"{name} imports stable_baselines3"
    if packages & {"cffi", "_cffi_backend"}:
        assert name.endswith("/_build.py"), f"{name} imports cffi"


@pytest.mark.parametrize("name", list_files())
def test_only_bindings_touch_ffi(name):
    if not name.startswith("bindings/"):
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"), name)
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not names & {"ffi", "_csim"}, f"{name} touches ffi"


# Comparing and serving work without the packages of the extra "train".
LIGHT = ("ccdrl.compare", "ccdrl.serve", "ccdrl.agent.policy", "ccdrl.agent.controller", "ccdrl.envs.vector")


@pytest.mark.parametrize("module", LIGHT)
def test_import_closure_without_torch(module):
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"torch", "stable_baselines3", "tensorboard"} & set(run.stdout.split())
