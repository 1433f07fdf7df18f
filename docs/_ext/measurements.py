"""Measured tables: all of benchmarks/results, at the end of the page `measurements`."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

RESULTS = Path(__file__).parents[2] / "benchmarks/results"


def section(path: Path) -> str:
    """Return one table below a heading of its own: what was measured, then when."""
    date, what = path.stem[:10], path.stem[11:]
    _, _, table = path.read_text().partition("\n")
    return f"## {what.replace('_', ' ')} ({date})\n{table}"


def append_tables(app: Sphinx, page: str, source: list[str]) -> None:
    """Append all tables to the page, the newest first."""
    if page == "measurements":
        newest_first = sorted(sorted(RESULTS.glob("*.md")), key=lambda path: path.name[:10], reverse=True)
        source[0] = "\n".join([source[0], *map(section, newest_first)])


def setup(app: Sphinx) -> dict[str, bool]:
    """Let Sphinx call it as it reads pages."""
    app.connect("source-read", append_tables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
