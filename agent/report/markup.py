# SPDX-License-Identifier: BSD-2-Clause
"""HTML pieces: every text that comes from outside goes through `escape` here, markup is never glued from raw values."""

import html
from collections.abc import Iterable, Sequence

from ccdrl.agent.report.palette import color_of


class Markup(str):
    """Text that is markup already; everything else gets escaped."""

    __slots__ = ()


def escape(value: object) -> Markup:
    """Return a value as markup."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def element(tag: str, *content: object, **attributes: object) -> Markup:
    """Return an element; a trailing underscore of an attribute's name is dropped (class_)."""
    pairs = "".join(f' {name.rstrip("_")}="{html.escape(str(value))}"' for name, value in attributes.items())
    return Markup(f"<{tag}{pairs}>{join(content)}</{tag}>")


def join(parts: Iterable[object], separator: str = "") -> Markup:
    """Return parts one after the other, escaped where they are not markup."""
    return Markup(html.escape(separator).join(escape(part) for part in parts))


def table(head: Sequence[object], rows: Iterable[Sequence[object]], text_columns: int = 1) -> Markup:
    """Return a table; the first text_columns columns are text, the others figures set right."""

    def cells(tag: str, row: Sequence[object]) -> Markup:
        kinds = ["text" if index < text_columns else "number" for index in range(len(row))]
        return element("tr", *(element(tag, cell, class_=kind) for cell, kind in zip(row, kinds, strict=True)))

    body = join(cells("td", row) for row in rows)
    return element("table", element("thead", cells("th", head)), element("tbody", body))


def contender_mark(label: str, contenders: Sequence[str]) -> Markup:
    """Return a contender's name with its colour."""
    swatch = element("i", class_="swatch", style=f"background:{color_of(label, contenders)}")
    return element("span", swatch, label, class_="cc")


def figure(svg: str | None, caption: object, is_titled: bool = False) -> Markup:
    """Return a figure with its caption below, or above as a title; nothing without a figure."""
    if svg is None:
        return Markup("")
    parts = [Markup(svg), element("figcaption", caption)]
    return element("figure", *(reversed(parts) if is_titled else parts))
