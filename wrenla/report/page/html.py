"""HTML report of a record: one file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import os
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from wrenla.errors import RecordError
from wrenla.report.page.data import page_data, safe_json
from wrenla.report.page.sections import about, heading, sections
from wrenla.report.record import refuse_address
from wrenla.report.runs import Runs, runs_of
from wrenla.whole_file import check_replaceable, whole_file

__all__ = ["check_place", "page", "write_page", "write_report"]

_MARKER = "wrenla report"
"""Stands at the beginning of each report, so that no other file is replaced by one."""


def write_report(record: str | os.PathLike[str], out: str | os.PathLike[str] = "") -> Path:
    """Write the HTML report of a record.

    Parameters
    ----------
    record : str or path
        What ``compute(record="run.jsonl")`` has written.
    out : str or path, optional
        The file to write; by default beside the record, with ``.html`` at its end. Another report there is
        replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    RecordError
        `record` is no record, or damaged, or `out` cannot be written, or is a file of something else.

    Examples
    --------
    >>> import tempfile, wrenla as wl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     G = wl.random((200, 200), tile=50).gram()
    ...     trace = G.trace().compute(record=f"{folder}/run.jsonl")
    ...     wl.write_report(f"{folder}/run.jsonl").name
    'run.html'
    """
    runs = runs_of(record)
    return write_page(runs, out or Path(record).expanduser().with_suffix(".html"))


def write_page(runs: Runs, out: str | os.PathLike[str]) -> Path:
    """Write the report of runs, as `write_report` does. The file is there whole, or not at all."""
    place = check_place(out)
    text = page(runs)
    try:
        with whole_file(place) as file:
            file.write(text.encode())
    except OSError as error:
        raise _unwritable(out, error) from error
    return place


def check_place(out: str | os.PathLike[str]) -> Path:
    """Return the file that a report is to be, with its folder made; refuse what cannot be one.

    Raises
    ------
    RecordError
        It cannot be written, or a file is there that is no report.
    TypeError
        It is no path.
    """
    if not isinstance(out, str | os.PathLike) or not os.fspath(out):
        raise TypeError(f"report={out!r}: name a file, as report='report.html'")
    refuse_address("report", out)
    place = Path(out).expanduser()
    try:
        if place.is_dir() or str(out).endswith("/"):
            raise RecordError(f"report={str(out)!r} is a folder: name a file in it, as report='report.html'")
        place.parent.mkdir(parents=True, exist_ok=True)
        if check_replaceable(place).exists():
            with open(place, "rb") as file:
                begins = file.read(2000)
            if begins and f'content="{_MARKER}'.encode() not in begins:
                raise RecordError(
                    f"report={str(out)!r}: a file is there that is no report of wrenla, and stays: name "
                    "another one"
                )
        if not os.access(place.parent, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise _unwritable(out, error) from error
    return place


def _unwritable(out: str | os.PathLike[str], error: OSError) -> RecordError:
    return RecordError(f"report={str(out)!r} cannot be written: {error.strerror or error}")


def page(runs: Runs) -> str:
    """Return the report as HTML."""
    script = f"{_asset('uPlot.iife.min.js')}\n{_asset('report.js')}"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Nothing is loaded, and no script runs but ours, whatever a text in the record says.
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    fields: dict[str, Any] = {
        "marker": _MARKER,
        "policy": policy,
        "title": escape(f"{heading(runs)} · wrenla run report"),
        "heading": escape(heading(runs)),
        "about": about(runs),
        "styles": f"{_asset('uPlot.min.css')}\n{_asset('report.css')}",
        "sections": sections(runs),
        "footer": "Made by wrenla from the record of the run. Charts: "
        f"uPlot, © {_copyright(_asset('uPlot.LICENSE'))}, MIT licence.",
        "data": safe_json(page_data(runs)),
        "script": script,
    }
    return Template(_asset("report.html")).substitute(fields)


def _asset(name: str) -> str:
    return resources.files("wrenla.report.page").joinpath("assets", name).read_text(encoding="utf-8")


def _copyright(licence: str) -> str:
    line = next(line for line in licence.splitlines() if line.startswith("Copyright"))
    return line.removeprefix("Copyright (c) ")
