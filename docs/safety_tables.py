# SPDX-License-Identifier: BSD-2-Clause
"""Writes the tables of docs/safety.md anew: `python docs/safety_tables.py [MODEL [PAGE]]`.

MODEL is a policy artifact or the name of a shipped agent (default: the shipped agent). The tables are those of
`python -m ccdrl.agent.verification MODEL` with its defaults; they stand between two markers in the page.
"""

import sys
from pathlib import Path
from typing import Any

from ccdrl.agent.daemon import blas  # noqa: F401 (one thread, before numpy: sums in a fixed order)
from ccdrl.agent.policy import load_policy
from ccdrl.agent.verification.job import find_artifact, verify
from ccdrl.agent.verification.report import make_document
from ccdrl.agent.verification.states import record_states
from ccdrl.bindings.errors import InputError
from ccdrl.models.storage import replace_file

BEGIN, END = "<!-- verification: begin -->", "<!-- verification: end -->"
SEED = 1
SHOWN = {"mean action of the network", "window factor of one decision"}


def percent(share: float) -> str:
    """Return a share for a cell; what is not whole is never shown as 0 or 100."""
    return f"{100 * share:.0f} %" if share in (0.0, 1.0) else f"{min(max(100 * share, 0.1), 99.9):.1f} %"


def table_row(*cells: str) -> str:
    """Return a line of a Markdown table; a cell may hold several."""
    return f"| {' | '.join(cells)} |"


def format_tables(document: dict[str, Any]) -> str:
    """Return the tables of a ccdrl-verification/1 document in Markdown."""
    bounds = [row for row in document["guarantees"] if row["quantity"] in SHOWN]
    figures = "; ".join(f"{row['quantity']} within [{row['low']:.3g}, {row['high']:.3g}]" for row in bounds)
    box = document["whole_box"]
    lines = [
        f"Policy `{document['policy'][:16]}`, {document['n_recorded_states']:,} recorded states, "
        f"seed {document['seed']}. Proven for every observation:",
        f"{figures}. A search met mean actions from {box['found_low']:.2f} to {box['found_high']:.2f}.",
        "",
        table_row(
            "property", "limit", "recorded states that break it", "drawn states", "proven", "broken", "open", "worst"
        ),
        "|---|---|--:|---|--:|--:|--:|---|",
    ]
    for name in dict.fromkeys(row["name"] for row in document["properties"]):
        rows = {row["states"]: row for row in document["properties"] if row["name"] == name}
        words = {
            choice: f"{row['verdict']}, {row['n_proven']} of {row['n_states']} proven" for choice, row in rows.items()
        }
        drawn = rows["drawn"]
        shares = " | ".join(percent(drawn[key]) for key in ("proven", "broken", "open"))
        recorded = f"{drawn['n_members_broken']} of {drawn['n_members']}"
        lines.append(table_row(f"`{name}`", drawn["limit"], recorded, words["drawn"], shares, words.get("worst", "–")))
    lines += [f"| `{name}` | left out | – | – | – | – | – | – |" for name in document["properties_left_out"]]
    lines += [
        "",
        table_row(
            "growing", "lines", "never rise", "rise above 0.2", "falls", "rises", "open", "highest", "never above"
        ),
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in document["monotonicity"]:
        shares = " | ".join(percent(row[key]) for key in ("falling", "rising", "open"))
        counts = f"{row['n_lines']} | {row['n_monotone']} | {row['n_growing']}"
        lines.append(f"| `{row['name']}` | {counts} | {shares} | {row['highest_rise']:.2f} | {row['rise_bound']:.2f} |")
    return "\n".join(lines)


def place_tables(page: str, tables: str) -> str:
    """Return the page with other tables between the markers. Raises InputError where a marker is missing."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise InputError(f"the page: no text between {BEGIN} and {END}, accepted: docs/safety.md")
    return f"{head}{BEGIN}\n{tables}\n{END}{tail}"


def main() -> int:
    """Verify the policy, write the page."""
    try:
        model = find_artifact(sys.argv[1] if len(sys.argv) > 1 else "default")
        page = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).with_name("safety.md")
        text = page.read_text(encoding="utf-8")
        place_tables(text, "")
        policy = load_policy(model)
        document = make_document(verify(policy, record_states(model, policy, SEED), seed=SEED))
        replace_file(page, place_tables(text, format_tables(document)).encode())
    except (InputError, OSError) as error:
        print(f"safety_tables.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
