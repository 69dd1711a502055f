# SPDX-License-Identifier: BSD-2-Clause
"""Checkpoints: everything that the next update depends on, in safetensors and JSON; nothing is pickled.

    <run>/checkpoints/step-000001234567/state.safetensors   weights, Adam's moments, statistics, RNG states, last rows
    <run>/checkpoints/step-000001234567/state.json          counters, configuration, provenance, checksum of the former

A checkpoint is written beside its place and renamed, so a folder that exists is whole.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import torch
from numpy.typing import NDArray

from ccdrl.agent.ppo import RowPPO
from ccdrl.bindings.errors import InputError
from ccdrl.models.storage import replacing_folder, write_synced

SCHEMA = "ccdrl-checkpoint/1"
STATE_NAME, JSON_NAME = "state.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint in memory: arrays by name, and what JSON holds of it."""

    arrays: dict[str, NDArray[Any]]
    document: dict[str, Any]


def capture(ppo: RowPPO) -> Checkpoint:
    """Copy the learner's state: network, optimizer, statistics, counters, global RNGs of torch and numpy, last rows."""
    arrays: dict[str, NDArray[Any]] = {
        f"network.{name}": value.detach().numpy().copy() for name, value in ppo.network.state_dict().items()
    }
    for index, state in ppo.policy.optimizer.state_dict()["state"].items():
        arrays |= {f"optimizer.{index}.{name}": value.numpy().copy() for name, value in state.items()}
    arrays |= {"moments.mean": ppo.moments.mean.copy(), "moments.squares": ppo.moments.squares.copy()}
    generator = np.random.get_state(legacy=False)
    arrays |= {"rng.torch": torch.get_rng_state().numpy().copy(), "rng.numpy": generator["state"]["key"].copy()}
    arrays["rows.observations"] = np.array(ppo._last_obs, dtype=np.float32)
    arrays["rows.is_start"] = np.array(ppo._last_episode_starts, dtype=bool)
    document: dict[str, Any] = {
        "steps": ppo.num_timesteps,
        "updates": ppo._n_updates,
        "moments_count": ppo.moments.count,
        "rng_numpy": [generator["state"]["pos"], generator["has_gauss"], generator["gauss"]],
    }
    if ppo.scaler is not None:
        moments = ppo.scaler.moments
        arrays |= {"scaler.returns": ppo.scaler.returns.copy(), "scaler.mean": moments.mean.copy()}
        arrays["scaler.squares"] = moments.squares.copy()
        document["scaler_count"] = moments.count
    return Checkpoint(arrays, document)


def apply(checkpoint: Checkpoint, ppo: RowPPO) -> None:
    """Put a captured state into a learner of the same configuration; ValueError or KeyError if it does not fit."""
    arrays, document = checkpoint.arrays, checkpoint.document
    apply_network(checkpoint, ppo)
    optimizer = ppo.policy.optimizer
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in arrays.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = torch.from_numpy(value.copy())
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    if ppo.scaler is not None:
        ppo.scaler.returns = arrays["scaler.returns"].copy()
    ppo.num_timesteps, ppo._n_updates = document["steps"], document["updates"]
    ppo._last_obs, ppo._last_episode_starts = arrays["rows.observations"].copy(), arrays["rows.is_start"].copy()
    position, has_gauss, gauss = document["rng_numpy"]
    np.random.set_state(("MT19937", arrays["rng.numpy"].copy(), position, has_gauss, gauss))
    torch.set_rng_state(torch.from_numpy(arrays["rng.torch"].copy()))


def apply_network(checkpoint: Checkpoint, ppo: RowPPO) -> None:
    """Put networks and running statistics into a learner; ValueError, KeyError or RuntimeError if they do not fit."""
    arrays, document = checkpoint.arrays, checkpoint.document
    network = {name: torch.from_numpy(arrays[f"network.{name}"].copy()) for name in ppo.network.state_dict()}
    ppo.network.load_state_dict(network)
    ppo.moments.mean, ppo.moments.squares = arrays["moments.mean"].copy(), arrays["moments.squares"].copy()
    ppo.moments.count = document["moments_count"]
    if ppo.scaler is not None:
        moments = ppo.scaler.moments
        moments.mean, moments.squares = arrays["scaler.mean"].copy(), arrays["scaler.squares"].copy()
        moments.count = document["scaler_count"]


def adopt(checkpoint: Checkpoint, ppo: RowPPO) -> None:
    """Begin a new run where another one ended: as `apply_network`, with this run's own exploration noise."""
    own_log_std = ppo.network.log_std.detach().clone()
    apply_network(checkpoint, ppo)
    with torch.no_grad():
        ppo.network.log_std.copy_(own_log_std)


def write(checkpoint: Checkpoint, folder: Path, keep: int) -> Path:
    """Write under `folder` as step-<steps>; keep only the newest `keep`; return the new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"step-{checkpoint.document['steps']:012d}"
    blob = safetensors.numpy.save({name: np.ascontiguousarray(a) for name, a in checkpoint.arrays.items()})
    document = {"schema": SCHEMA, "sha256": sha256(blob).hexdigest()} | checkpoint.document
    with replacing_folder(target) as scratch:
        write_synced(scratch / STATE_NAME, blob)
        write_synced(scratch / JSON_NAME, (json.dumps(document, indent=1) + "\n").encode())
    for old in find_all(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def find_all(folder: Path) -> list[Path]:
    """Return the checkpoints under `folder`, oldest first."""
    return sorted(path for path in folder.glob("step-*") if (path / JSON_NAME).is_file())


def find_newest(path: Path, option: str = "--resume") -> Path:
    """Return the checkpoint that an option means: `path` itself, or the newest of the run in `path`; or InputError."""
    if (path / JSON_NAME).is_file():
        return path
    found = find_all(path / "checkpoints")
    if not found:
        raise InputError(f"{option} {path}: no checkpoint there; a folder that train.py wrote (--out) expected")
    return found[-1]


def read(folder: Path) -> Checkpoint:
    """Read one checkpoint; InputError if it is damaged."""
    try:
        document = json.loads((folder / JSON_NAME).read_bytes())
        blob = (folder / STATE_NAME).read_bytes()
        schema, digest = document["schema"], document["sha256"]
        arrays = dict(safetensors.numpy.load(blob)) if digest == sha256(blob).hexdigest() else None
    except (OSError, ValueError, TypeError, KeyError, safetensors.SafetensorError) as error:
        raise InputError(f"{folder}: not a readable checkpoint ({str(error).splitlines()[0]})") from None
    if schema != SCHEMA:
        raise InputError(f"{folder}: schema '{SCHEMA}' expected")
    if arrays is None:
        raise InputError(f"{folder}: {STATE_NAME} is damaged (checksum); an older step-* folder may be whole")
    return Checkpoint(arrays, document)
