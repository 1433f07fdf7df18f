"""Run report as an object: what bounded a run, its figures for papers, its HTML page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from wrenla.report.causes import bound, notes
from wrenla.report.compare import comparison
from wrenla.report.figure import FigureKind, draw
from wrenla.report.page.html import write_page
from wrenla.report.page.sections import heading
from wrenla.report.runs import Runs, runs_of
from wrenla.report.shares import shares

__all__ = ["RunReport", "read_report"]


class RunReport:
    """Report of the runs in a record; `read_report` makes it.

    Its text says what was run, what bounded it, and whether it met its plan.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    @property
    def bound(self) -> str:
        """Word for what bounded the runs: compute, reading, writing, critical path, too few workers, …"""
        return bound(self._runs).kind

    @property
    def shares(self) -> dict[str, float]:
        """Part of the workers' time that went to computing, reading, writing, waiting, …; together 1."""
        return shares(self._runs)

    def figure(self, kind: FigureKind = "timeline", ax: Any = None) -> Any:
        """Draw a figure by matplotlib (``pip install 'wrenla[plot]'``).

        Parameters
        ----------
        kind : {"timeline", "parallelism", "throughput", "kernels"}
            Tasks of each worker over time; workers that are busy; operations and bytes by the second; times
            of tasks by kernel.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            matplotlib is not installed.
        ValueError
            There is no such kind.
        """
        return draw(self._runs, kind, ax)

    def save(self, out: str | os.PathLike[str]) -> Path:
        """Write the HTML page, and return its file: see `write_report`."""
        return write_page(self._runs, out)

    def __str__(self) -> str:
        cause = bound(self._runs)
        whole = "" if cause.text.endswith((".", "…")) else "."  # an error may end without one
        rows = [("bound by", f"{cause.text}{whole} {cause.advice}".strip())]
        for row in comparison(self._runs):
            planned = "" if row.predicted is None else f", {row.form(row.predicted)} predicted"
            allowed = "" if row.allowed is None else f", {row.form(row.allowed)} allowed"
            note = f" ({row.note})" if row.note and planned else ""
            measured = "–" if row.measured is None else row.form(row.measured)
            rows.append((row.name, f"{measured}{planned}{note}{allowed}"))
        rows += [(note.kind, note.text) for note in notes(self._runs)]
        width = max(len(name) for name, _ in rows) + 2
        return "\n".join([heading(self._runs), *(f"  {name:<{width}}{text}" for name, text in rows)])

    __repr__ = __str__


def read_report(record: str | os.PathLike[str]) -> RunReport:
    """Return the report of a record.

    Parameters
    ----------
    record : str or path
        What ``compute(record="run.jsonl")`` has written.

    Raises
    ------
    RecordError
        It is no record, or damaged.

    Examples
    --------
    >>> import tempfile, wrenla as wl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     trace = wl.random((200, 200), tile=50).gram().trace().compute(record=f"{folder}/run.jsonl")
    ...     report = wl.read_report(f"{folder}/run.jsonl")
    >>> round(sum(report.shares.values()), 6)
    1.0
    """
    return RunReport(runs_of(record))
