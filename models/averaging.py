# SPDX-License-Identifier: BSD-2-Clause
"""The mean of several policies as one: what each of them got wrong in its own way, the others outvote.

Trainings that differ in their seed alone spread by as much as most changes of the recipe do, each with its own weakness
(docs/experiments.md). Networks side by side with zeros between them are one network: the mean is an ordinary
artifact, verified, served and compared like any other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccdrl.models.artifact import Artifact
from ccdrl.models.fields import ArtifactError
from ccdrl.models.normaliser import Normaliser


def average(members: Sequence[Artifact]) -> Artifact:
    """Return the policy whose action, before its bounds, is the mean of the members'.

    All must see and do the same, with as many layers; or ArtifactError. Standardised columns are clipped by the pooled
    statistics instead of each member's own, so that the mean is exact where no column is at its clip.
    """
    first = members[0]
    for member in members:
        for name in ("observation_names", "observation_version", "action_version", "abi_version", "history"):
            if getattr(member, name) != getattr(first, name):
                raise ArtifactError(f"{name}: the policies differ in it, there is no mean")
        if not member.layers or len(member.layers) != len(first.layers):
            raise ArtifactError("network.layers: policies with equally many layers expected")
        if (member.action_low, member.action_high) != (first.action_low, first.action_high):
            raise ArtifactError("action: the policies' bounds differ")
    pooled = pool([member.normaliser for member in members])
    depth = len(first.layers)
    parts = [rescale(member, pooled) for member in members]
    weights: dict[str, NDArray[Any]] = {"log_std": np.mean([member.weights["log_std"] for member in members], axis=0)}
    for index in range(depth + 1):
        matrices = [part[f"actor.{index}.weight"] for part in parts]
        biases = [part[f"actor.{index}.bias"] for part in parts]
        if index == depth:
            weights[f"actor.{index}.weight"] = np.hstack(matrices) / len(parts)
            weights[f"actor.{index}.bias"] = np.mean(biases, axis=0)
            continue
        # All members' first layers see the same row; from then on each sees its own.
        weights[f"actor.{index}.weight"] = np.vstack(matrices) if index == 0 else lay_out(matrices)
        weights[f"actor.{index}.bias"] = np.concatenate(biases)
    return dataclasses.replace(
        first,
        layers=tuple(int(sum(sizes)) for sizes in zip(*(member.layers for member in members), strict=True)),
        weights={name: array.astype(np.float32) for name, array in weights.items()},
        normaliser=pooled,
        training=describe(members),
        results={},
    )


def pool(normalisers: Sequence[Normaliser]) -> Normaliser:
    """Return the statistics of all rows that the given ones summarise."""
    counts = np.array([normaliser.count for normaliser in normalisers], float)
    shares = (counts / counts.sum() if counts.sum() else np.full(len(counts), 1.0 / len(counts)))[:, None]
    means = np.array([normaliser.mean for normaliser in normalisers])
    mean = (shares * means).sum(axis=0)
    variances = np.array([normaliser.variance for normaliser in normalisers])
    variance = (shares * (variances + (means - mean) ** 2)).sum(axis=0)
    return dataclasses.replace(normalisers[0], mean=mean, variance=variance, count=int(counts.sum()))


def rescale(member: Artifact, pooled: Normaliser) -> dict[str, NDArray[np.float64]]:
    """Return the member's weights for columns that the pooled statistics standardise."""
    weights = {name: array.astype(np.float64) for name, array in member.weights.items()}
    own, new = member.normaliser.scale().astype(np.float64), pooled.scale().astype(np.float64)
    matrix = weights["actor.0.weight"]
    weights["actor.0.weight"] = matrix * np.divide(own, new, out=np.zeros_like(own), where=new > 0.0)
    weights["actor.0.bias"] = weights["actor.0.bias"] + matrix @ (own * (pooled.mean - member.normaliser.mean))
    return weights


def lay_out(blocks: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the blocks along the diagonal, zeros elsewhere."""
    rows, columns = (np.cumsum([0, *(block.shape[axis] for block in blocks)]) for axis in (0, 1))
    matrix = np.zeros((rows[-1], columns[-1]))
    for index, block in enumerate(blocks):
        matrix[rows[index] : rows[index + 1], columns[index] : columns[index + 1]] = block
    return matrix


def describe(members: Sequence[Artifact]) -> dict[str, Any]:
    """Return what the artifact says of its training: the first member's settings, all seeds, sums, all checksums."""
    trainings = [member.training for member in members]
    return {
        **trainings[0],
        "seed": [training.get("seed") for training in trainings],
        "steps": sum(training.get("steps", 0) for training in trainings),
        "wall_s": round(sum(training.get("wall_s", 0.0) for training in trainings), 1),
        "mean_of": [member.checksum for member in members],
    }
