# SPDX-License-Identifier: BSD-2-Clause
"""A verification as JSON and as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ccdrl import __version__
from ccdrl.agent.verification.extremes import Extremes
from ccdrl.agent.verification.families import Rows
from ccdrl.agent.verification.guarantees import Guarantee
from ccdrl.agent.verification.monotonicity import DirectionResult
from ccdrl.agent.verification.regions import Property
from ccdrl.agent.verification.search import Verdict

SCHEMA = "ccdrl-verification/1"
EXCEPTIONS_SHOWN = 8


@dataclass(frozen=True)
class PropertyResult:
    """One property's verdict from one choice of states, and the observation (F,) of the most extreme action met.

    n_members recorded states lie in the family as they are; n_members_broken of them break the limit.
    """

    wanted: Property
    choice: str
    verdict: Verdict
    observation: Rows
    n_members: int
    n_members_broken: int


@dataclass(frozen=True)
class Verification:
    """All that is known of one policy; `states` (N, F) are those of the monotonicity check."""

    checksum: str
    seed: int
    n_recorded: int
    extremes: Extremes
    guarantees: Sequence[Guarantee]
    properties: Sequence[PropertyResult]
    left_out: Sequence[str]
    states: Rows
    directions: Sequence[DirectionResult]


def make_document(result: Verification) -> dict[str, Any]:
    """Return the JSON document, schema ccdrl-verification/1; equal for equal policy, seed, states and version."""
    properties = []
    for each in result.properties:
        verdict = asdict(each.verdict)
        point = verdict.pop("found_point")
        names = [parameter.name for parameter in each.wanted.family.parameters]
        properties.append(
            {
                "name": each.wanted.name,
                "meaning": each.wanted.meaning,
                "states": each.choice,
                "limit": str(each.wanted.limit),
                "parameters": {p.name: [p.low, p.high] for p in each.wanted.family.parameters},
                "verdict": each.verdict.word,
                **verdict,
                "n_members": each.n_members,
                "n_members_broken": each.n_members_broken,
                "found_at": dict(zip(names, point, strict=True)),
                "found_observation": [float(value) for value in each.observation],
            }
        )
    return {
        "schema": SCHEMA,
        "version": __version__,
        "policy": result.checksum,
        "seed": result.seed,
        "n_recorded_states": result.n_recorded,
        "whole_box": asdict(result.extremes),
        "guarantees": [asdict(guarantee) for guarantee in result.guarantees],
        "properties": properties,
        "properties_left_out": list(result.left_out),
        "monotonicity": [asdict(direction) for direction in result.directions],
        "states": [[float(value) for value in row] for row in result.states],
    }


def format_text(result: Verification) -> str:
    """Return the report for a terminal."""
    extremes = result.extremes
    lines = [f"policy {result.checksum[:16]}, {result.n_recorded} recorded states, seed {result.seed}", ""]
    lines += ["Proven for every observation", ""]
    lines += format_columns(
        [("quantity", "low", "high", "unit", "because")]
        + [(g.quantity, f"{g.low:.6g}", f"{g.high:.6g}", g.unit, g.reason) for g in result.guarantees]
    )
    lines += [f"(a search met mean actions from {extremes.found_low:.3f} to {extremes.found_high:.3f})", ""]
    lines += [
        "Properties from recorded states: those drawn by the seed, and those that look worst once put into the region.",
        "verdict: n of the states proven; shares are of the parameters' ranges; no action is beyond the bound;",
        "met, at: the worst computed; recorded: states of the recording that lie in the region as they are",
        "",
    ]
    rows: list[tuple[str, ...]] = [
        ("property", "wanted", "states", "verdict", "proven", "broken", "open", "bound", "met", "at", "recorded")
    ]
    for each in result.properties:
        verdict, names = each.verdict, [parameter.name for parameter in each.wanted.family.parameters]
        place = " ".join(f"{name} {value:.2f}" for name, value in zip(names, verdict.found_point, strict=True))
        shares = tuple(f"{100 * share:.1f} %" for share in (verdict.proven, verdict.broken, verdict.open))
        extreme = (f"{verdict.bound:+.3f}", f"{verdict.found:+.3f}", place)
        recorded = f"{each.n_members_broken} of {each.n_members} break it"
        kept = f"{verdict.word} {verdict.n_proven}/{verdict.n_states}"
        rows.append((each.wanted.name, f"action {each.wanted.limit}", each.choice, kept, *shares, *extreme, recorded))
    lines += format_columns(rows)
    lines += ["", *dict.fromkeys(f"{each.wanted.name}: {each.wanted.meaning}" for each in result.properties)]
    lines += [f"{name}: left out, this layout lacks its columns" for name in result.left_out]
    lines += [
        "",
        "Monotonicity: shares of the lines on which the action is proven not to rise, to rise, or neither;",
        "monotone: lines proven never to rise; growing: those with a rise that ends above 0.2, beyond the coupling",
        "",
    ]
    rows = [("direction", "lines", "monotone", "growing", "falls", "rises", "open", "highest rise", "never above")]
    for direction in result.directions:
        shares = tuple(f"{100 * share:.1f} %" for share in (direction.falling, direction.rising, direction.open))
        rises = f"{direction.highest_rise:.3f}", f"{direction.rise_bound:.3f}"
        counts = tuple(str(n) for n in (direction.n_lines, direction.n_monotone, direction.n_growing))
        rows.append((direction.name, *counts, *shares, *rises))
    lines += format_columns(rows)
    lines += ["", *(f"{direction.name}: {direction.meaning}" for direction in result.directions)]
    lines += ["", "Exceptions, the highest first (all of them in the JSON)", ""]
    rows = [("direction", "state", "from", "to", "rises by", "to action")]
    for direction in result.directions:
        for rise in direction.exceptions[:EXCEPTIONS_SHOWN]:
            part = f"{rise.begin:.2f}", f"{rise.end:.2f}", f"{rise.amount:.3f}", f"{rise.action_end:+.3f}"
            rows.append((direction.name, str(rise.state), *part))
    lines += format_columns(rows) if len(rows) > 1 else ["none"]
    return "\n".join(lines) + "\n"


def format_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines of aligned columns, the first row underlined."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]
