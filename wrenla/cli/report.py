"""`wrenla report`: the report of a run from its record."""

from __future__ import annotations

from pathlib import Path

import click

from wrenla.cli.parts.command import Command, document, told
from wrenla.cli.parts.operands import nearest
from wrenla.cli.parts.text import in_words_of_options

__all__ = ["report"]


@click.command(
    cls=Command,
    short_help="Write the report of a run from its record.",
    examples=(
        "wrenla report run.jsonl",
        "wrenla report run.jsonl -o report.html --json",
    ),
)
@click.argument("record", type=click.Path(readable=False), metavar="RECORD")
@click.option(
    "-o", "--output", type=click.Path(), metavar="FILE.html", help="[default: RECORD with the suffix .html]"
)
def report(record: str, output: str | None) -> None:
    """Say what bounded a run and whether it met its plan, and write its report as one HTML file.

    RECORD is what --record, or compute(record="run.jsonl"), has written; also that of a run that was killed,
    or is still at work. A report that is there already is replaced, any other file is not.
    """
    import wrenla as wl

    place = Path(record).expanduser()
    if not place.exists():
        raise click.UsageError(f"{record}: there is no such file{nearest(record)}")
    if place.is_dir():
        newest = max(place.glob("*.jsonl"), key=lambda path: path.stat().st_mtime, default=None)
        hint = f", as the newest, {str(newest)!r}" if newest else "; there is no *.jsonl"
        raise click.UsageError(f"{record}: this is a folder: name a record in it{hint}")
    found = wl.read_report(record)
    path = wl.write_report(record, output or "")
    told(f"{in_words_of_options(str(found))}\n\n{path}: the whole report")
    document({"record": record, "report": str(path), "bound": found.bound, "shares": found.shares})
