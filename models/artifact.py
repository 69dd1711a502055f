# SPDX-License-Identifier: BSD-2-Clause
"""The policy artifact: everything that a trained policy needs to act, without pickle and without torch.

    <folder>/policy.safetensors   actor.<i>.weight (out, in), actor.<i>.bias (out,), log_std (1,); float32
    <folder>/policy.json          schema ccdrl-policy/1, see `Artifact`
    <file>.safetensors            both in one: the JSON text is the file's metadata entry "policy"

`load_artifact` trusts nothing: regular files only (no link, FIFO or device is followed), bounded sizes, strict JSON,
known schema, a checksum over all that decides an action, exact shapes and finite numbers. What it refuses it names in
one line (`ArtifactError`). `save_artifact` writes beside the target and renames, so a reader never sees half a policy.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from ccdrl.models.fields import ArtifactError, Fields, parse_json
from ccdrl.models.normaliser import Normaliser
from ccdrl.models.storage import replace_file, replacing_folder, write_synced

SCHEMA = "ccdrl-policy/1"
WEIGHTS_NAME, JSON_NAME = "policy.safetensors", "policy.json"
WEIGHTS_MAX_BYTES, JSON_MAX_BYTES = 64 << 20, 4 << 20
LAYER_MAX, COLUMN_MAX = 4096, 1024


@dataclass(frozen=True)
class Artifact:
    """One policy. Equal `checksum` means equal actions.

    `observation_names` name the F columns; `observation_version` and `action_version` say what columns and action mean;
    `history` counts the earlier monitor intervals that a row covers; `weights` are float32 arrays by name; `training`
    holds config, config_sha256, seed, steps and wall_s; `provenance` the code version and the library versions;
    `results` whatever was measured, by name.
    """

    observation_names: tuple[str, ...]
    observation_version: str
    history: int
    abi_version: int
    layers: tuple[int, ...]
    weights: Mapping[str, NDArray[np.float32]]
    normaliser: Normaliser
    training: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    action_low: float = -1.0
    action_high: float = 1.0
    action_version: str = "9-rise"

    def __post_init__(self) -> None:
        """Refuse anything that could not act (ArtifactError)."""
        check_artifact(self)

    @property
    def checksum(self) -> str:
        """SHA-256 over the parts that decide an action: weights, normaliser, layouts, bounds, ABI."""
        digest = sha256(json.dumps(decision_part(self), sort_keys=True).encode())
        for name in sorted(self.weights):
            array = self.weights[name]
            digest.update(f"{name} {array.shape}".encode())
            digest.update(array.astype("<f4").tobytes())
        return digest.hexdigest()


def decision_part(artifact: Artifact) -> dict[str, Any]:
    """Return the JSON keys that decide an action; the rest of the document is information."""
    normaliser = artifact.normaliser
    return {
        "schema": SCHEMA,
        "abi_version": artifact.abi_version,
        "observation": {
            "version": artifact.observation_version,
            "history": artifact.history,
            "names": list(artifact.observation_names),
        },
        "action": {
            "version": artifact.action_version,
            "size": 1,
            "low": artifact.action_low,
            "high": artifact.action_high,
        },
        "network": {"activation": "tanh", "layers": list(artifact.layers)},
        "normaliser": {
            "mean": normaliser.mean.tolist(),
            "variance": normaliser.variance.tolist(),
            "count": normaliser.count,
            "epsilon": normaliser.epsilon,
            "limit": normaliser.limit,
        },
    }


def weight_shapes(size: int, layers: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every weight of an actor with `size` inputs and one output."""
    shapes: dict[str, tuple[int, ...]] = {"log_std": (1,)}
    sizes = [size, *layers, 1]
    for index, (fan_in, fan_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        shapes[f"actor.{index}.weight"] = (fan_out, fan_in)
        shapes[f"actor.{index}.bias"] = (fan_out,)
    return shapes


def check_artifact(artifact: Artifact) -> None:
    """Raise ArtifactError for sizes, shapes, types or numbers that could not act."""
    size = len(artifact.observation_names)
    if not 1 <= size <= COLUMN_MAX or len(set(artifact.observation_names)) != size:
        raise ArtifactError(f"observation.names: 1 to {COLUMN_MAX} different names expected, found {size}")
    if len(artifact.layers) > 8 or not all(1 <= layer <= LAYER_MAX for layer in artifact.layers):
        raise ArtifactError(f"network.layers: at most 8 sizes from 1 to {LAYER_MAX} expected, not {artifact.layers}")
    if not -np.inf < artifact.action_low < artifact.action_high < np.inf:
        raise ArtifactError(f"action: low < high expected, not {artifact.action_low} and {artifact.action_high}")
    normaliser = artifact.normaliser
    for name, column in (("mean", normaliser.mean), ("variance", normaliser.variance)):
        if column.shape != (size,) or not np.isfinite(column).all():
            raise ArtifactError(f"normaliser.{name}: {size} finite numbers expected, one per observation column")
    is_positive = normaliser.epsilon > 0 and normaliser.limit > 0
    if not is_positive or (normaliser.variance < 0).any() or normaliser.count < 0:
        raise ArtifactError("normaliser: variance and count must not be negative, epsilon and limit must be positive")
    shapes = weight_shapes(size, artifact.layers)
    odd = sorted(set(shapes) ^ set(artifact.weights))
    if odd:
        raise ArtifactError(f"weight {odd[0]}: {'missing' if odd[0] in shapes else 'not part of the network'}")
    for name, shape in shapes.items():
        array = artifact.weights[name]
        if array.dtype != np.float32 or array.shape != shape:
            raise ArtifactError(f"weight {name}: float32 {shape} expected, found {array.dtype} {array.shape}")
        if not np.isfinite(array).all():
            raise ArtifactError(f"weight {name}: not finite (NaN or infinity)")


def save_artifact(artifact: Artifact, path: str | Path) -> Path:
    """Write a folder, or one file if `path` ends in .safetensors; replace what was there; return the path.

    Raises ArtifactError if `path` is something else than an artifact, OSError from the file system. A folder is
    replaced by two renames: after a crash between them the old one lies beside it as `.<name>.old`.
    """
    target = Path(path)
    document = decision_part(artifact) | {
        "training": dict(artifact.training),
        "provenance": dict(artifact.provenance),
        "results": dict(artifact.results),
        "checksum": artifact.checksum,
    }
    tensors = {name: np.ascontiguousarray(array) for name, array in artifact.weights.items()}
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".safetensors":
        if target.is_dir():
            raise ArtifactError(f"{target}: is a folder; a file name or a folder without this suffix expected")
        text = json.dumps(document, allow_nan=False)
        replace_file(target, safetensors.numpy.save(tensors, metadata={"policy": text}))
        return target
    if target.exists() and not ((target / JSON_NAME).is_file() or (target.is_dir() and not any(target.iterdir()))):
        raise ArtifactError(f"{target}: exists and is no artifact; a new name, an empty folder or an artifact expected")
    blob = safetensors.numpy.save(tensors)
    document["weights"] = {"file": WEIGHTS_NAME, "sha256": sha256(blob).hexdigest()}
    with replacing_folder(target) as folder:
        write_synced(folder / WEIGHTS_NAME, blob)
        write_synced(folder / JSON_NAME, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())
    return target


def load_artifact(
    path: str | Path,
    *,
    observation_names: Sequence[str] | None = None,
    observation_version: str | None = None,
    action_version: str | None = None,
    abi_version: int | None = None,
) -> Artifact:
    """Read and check an artifact, folder or file; what is given as expectation must be equal in it.

    Raises ArtifactError, one line that begins with the path.
    """
    try:
        artifact = read_artifact(Path(path))
        if abi_version is not None and artifact.abi_version != abi_version:
            raise ArtifactError(f"abi_version: {artifact.abi_version}, this program speaks {abi_version}")
        if observation_version is not None and artifact.observation_version != observation_version:
            found = artifact.observation_version
            raise ArtifactError(f"observation.version: {found}, this program computes {observation_version}")
        if action_version is not None and artifact.action_version != action_version:
            raise ArtifactError(f"action.version: {artifact.action_version}, this program maps {action_version}")
        if observation_names is not None and artifact.observation_names != tuple(observation_names):
            pairs = zip(artifact.observation_names, observation_names, strict=False)
            differs = next((f"'{a}' for '{b}'" for a, b in pairs if a != b), "their number")
            raise ArtifactError(f"observation.names: differ from this program's layout ({differs})")
        return artifact
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from None


def read_artifact(path: Path) -> Artifact:
    """Read without expectations; messages lack the path."""
    if path.is_dir():
        document = parse_json(read_bounded(path / JSON_NAME, JSON_MAX_BYTES), JSON_NAME)
        blob = read_bounded(path / WEIGHTS_NAME, WEIGHTS_MAX_BYTES)
        listed = Fields(document).table("weights")
        if listed.text("file") != WEIGHTS_NAME:
            raise ArtifactError(f"weights.file: '{WEIGHTS_NAME}' expected")
        if listed.text("sha256") != sha256(blob).hexdigest():
            raise ArtifactError(f"{WEIGHTS_NAME}: checksum differs from weights.sha256, the file is damaged or swapped")
    else:
        blob = read_bounded(path, WEIGHTS_MAX_BYTES)
        document = parse_json(embedded_json(blob), "metadata entry 'policy'")
    return build_artifact(Fields(document), load_tensors(blob))


def build_artifact(fields: Fields, weights: dict[str, NDArray[np.float32]]) -> Artifact:
    """Turn a parsed document and its tensors into a checked Artifact."""
    schema = fields.text("schema")
    if schema != SCHEMA:
        raise ArtifactError(f"schema: '{SCHEMA}' expected, found '{schema[:40]}'")
    observation, action, network = fields.table("observation"), fields.table("action"), fields.table("network")
    statistics = fields.table("normaliser")
    if network.text("activation") != "tanh" or action.integer("size") != 1:
        raise ArtifactError("network.activation 'tanh' and action.size 1 expected")
    artifact = Artifact(
        observation_names=observation.texts("names"),
        observation_version=observation.text("version"),
        history=observation.integer("history"),
        action_version=action.text("version"),
        abi_version=fields.integer("abi_version"),
        layers=network.integers("layers"),
        weights=weights,
        normaliser=Normaliser(
            statistics.numbers("mean"),
            statistics.numbers("variance"),
            statistics.integer("count"),
            statistics.number("limit"),
            statistics.number("epsilon"),
        ),
        training=fields.table("training").values,
        provenance=fields.table("provenance").values,
        results=fields.table("results").values,
        action_low=action.number("low"),
        action_high=action.number("high"),
    )
    if fields.text("checksum") != artifact.checksum:
        raise ArtifactError("checksum: differs from the content, the policy is damaged or was edited")
    return artifact


def read_bounded(path: Path, limit: int) -> bytes:
    """Return a regular file's bytes; a link, another kind of file or more than `limit` bytes raises ArtifactError."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        accepted = f"a folder with {JSON_NAME} or a .safetensors file"
        raise ArtifactError(f"{path.name}: not found; {accepted} expected") from None
    except OSError as error:
        reason = "a symbolic link is not followed" if path.is_symlink() else error.strerror
        raise ArtifactError(f"{path.name}: {reason}") from None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactError(f"{path.name}: not a regular file")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ArtifactError(f"{path.name}: larger than {limit} bytes")
    return content


def embedded_json(blob: bytes) -> bytes:
    """Return the metadata entry "policy" of a safetensors file (8-byte little-endian length, then a JSON header)."""
    length = int.from_bytes(blob[:8], "little")
    if len(blob) < 8 or not 2 <= length <= min(len(blob) - 8, JSON_MAX_BYTES * 2):
        raise ArtifactError("not a safetensors file")
    metadata = parse_json(blob[8 : 8 + length], "safetensors header").get("__metadata__")
    text = metadata.get("policy") if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise ArtifactError("metadata entry 'policy' missing: weights without their description")
    return text.encode()


def load_tensors(blob: bytes) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of a safetensors file in memory."""
    try:
        return dict(safetensors.numpy.load(blob))
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = re.sub(r"\s+", " ", str(error))[:120]
        raise ArtifactError(f"{WEIGHTS_NAME}: not readable ({reason})") from None
