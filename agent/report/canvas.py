# SPDX-License-Identifier: BSD-2-Clause
"""matplotlib set up for the report: quiet axes, text as text, and SVG that is the same bytes for the same figures."""

import io
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ccdrl.agent.report.palette import INK, MUTED, RULE

WIDTH_IN = 11.0
PARAMETERS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ccdrl",
    # A dollar in a scenario's name is a dollar, not the start of a formula.
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": "#eceff1",
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 0,
    "lines.linewidth": 1.1,
    "path.simplify_threshold": 0.3,
}
NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


@contextmanager
def drawing(width_in: float, height_in: float) -> Generator[Figure]:
    """Give an empty figure under the report's settings. Figures are not registered with pyplot and need no closing."""
    with mpl.rc_context(PARAMETERS):
        figure = Figure(figsize=(width_in, height_in))
        FigureCanvasSVG(figure)
        yield figure


def grid(axes: Axes, axis: Literal["both", "x", "y"]) -> None:
    """Draw light grid lines across one axis, and no ticks where they end."""
    axes.grid(True, axis=axis)
    axes.tick_params(axis=axis, length=0)


def export_svg(figure: Figure, name: str, description: str) -> str:
    """Return the figure as an <svg> element for a page; `name` keeps the ids of several figures apart.

    Raises nothing of its own. Must run inside `drawing`, whose settings the renderer reads.
    """
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata=NO_METADATA, transparent=True)
    text = stream.getvalue()
    text = text[text.index("<svg") :].strip()
    # Tenths of a point are finer than any printer; matplotlib writes a millionth.
    text = re.sub(r'\bd="[^"]*"', lambda match: re.sub(r"(\.\d)\d+", r"\1", match[0]), text)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    head, rest = text.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{escape_attribute(description)}">{rest}'


def escape_attribute(text: str) -> str:
    """Return text for a double-quoted attribute."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def text_box(text: str, size_pt: float) -> tuple[float, float]:
    """Return an estimate of a text's width and height in points: enough to keep labels apart."""
    return 0.6 * size_pt * len(text), 1.15 * size_pt


def pixels(axes: Axes, x: float, y: float) -> tuple[float, float]:
    """Return a data position in points from the figure's corner."""
    position: Any = axes.transData.transform((x, y)) * 72 / axes.figure.dpi
    return float(position[0]), float(position[1])
