# SPDX-License-Identifier: BSD-2-Clause
"""One colour and one marker for each controller, the same in every figure and table.

The hues are those of Okabe and Ito ("Color universal design", 2008), told apart with every kind of colour vision;
yellow is left out: it fades on white. Markers tell them apart without any colour.
"""

from collections.abc import Sequence

from ccdrl.agent.contenders import is_agent

CLASSIC_STYLES = {
    "lia": ("#0072B2", "o"),
    "olia": ("#009E73", "s"),
    "balia": ("#56B4E9", "D"),
    "cubic": ("#CC79A7", "^"),
    "bbr": ("#E69F00", "v"),
    "reno": ("#666666", "P"),
    "wvegas": ("#8C6D1F", "X"),
    "ewtcp": ("#4B3B8F", "h"),
}
AGENT_STYLES = (("#D55E00", "*"), ("#7F2704", "p"), ("#FF8A50", "d"), ("#A6324B", "H"))
INK, MUTED, RULE = "#1b1f24", "#667079", "#d5dade"


def style_of(label: str, labels: Sequence[str]) -> tuple[str, str]:
    """Return colour and marker of a contender; agents differ by their place among the report's agents."""
    if is_agent(label):
        agents = [other for other in labels if is_agent(other)]
        return AGENT_STYLES[agents.index(label) % len(AGENT_STYLES)]
    return CLASSIC_STYLES.get(label, (MUTED, "o"))


def color_of(label: str, labels: Sequence[str]) -> str:
    """Return the colour of a contender."""
    return style_of(label, labels)[0]


def blend(color: str, other: str, share: float) -> str:
    """Return the mix of two #rrggbb colours with so much of the other."""
    pairs = [(int(color[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def subflow_color(color: str, index: int) -> str:
    """Return the colour of a controller's subflow: the first in full, others darker and lighter by turns."""
    shades = (
        (INK, 0.0),
        (INK, 0.62),
        ("#ffffff", 0.5),
        (INK, 0.35),
        ("#ffffff", 0.3),
        (INK, 0.8),
        ("#ffffff", 0.65),
        (INK, 0.5),
    )
    return blend(color, *shades[index % len(shades)])
