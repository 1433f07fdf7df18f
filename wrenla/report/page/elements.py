"""Elements of a report's HTML: sections, tables, legends, places of charts. Their content is HTML already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["chart", "legend", "section", "table"]


def section(name: str, title: str, content: str) -> str:
    return f'<section id="{name}"><h2>{escape(title)}</h2>{content}</section>'


def legend(items: Iterable[tuple[str, str, str]]) -> str:
    made = "".join(
        f'<li><i class="{kind}"{f" style=background:var(--{color})" if color else ""}></i>{words}</li>'
        for color, words, kind in items
    )
    return f'<ul class="legend">{made}</ul>'


def table(caption: str, heads: Sequence[str], lines: Sequence[Sequence[str]], wide: int = -1) -> str:
    """Return a table in a region that scrolls, of cells that are HTML; the first of each row is its head."""
    head = "".join(
        f'<th scope="col"{" class=text" if n == wide else ""}>{each}</th>' if each else "<td></td>"
        for n, each in enumerate(heads)
    )
    rows = "".join(
        f'<tr><th scope="row">{first}</th>'
        + "".join(
            f'<td class="{"wide text" if n == wide else ""}">{cell}</td>' for n, cell in enumerate(rest, 1)
        )
        + "</tr>"
        for first, *rest in lines
    )
    return (
        f'<div class="table" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def chart(name: str, words: str) -> str:
    return (
        f'<figure><div class="chart" id="{name}" role="img" aria-label="{escape(words)}"></div>'
        f'<p class="values screen" id="{name}-values"></p></figure>'
    )
