"""Report of an evaluation, written when it ends, however it ends."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from wrenla.errors import RecordError
from wrenla.report.page.html import check_place, write_page
from wrenla.report.record import Recorder, recording
from wrenla.report.runs import runs_of

__all__ = ["reporting"]

logger = logging.getLogger("wrenla.report")


@contextmanager
def reporting(report: str | os.PathLike[str], record: str = "") -> Iterator[Recorder]:
    """Hand out a listener of events, and write a report of them in the end, also after an error.

    Parameters
    ----------
    report : str or path
        The HTML file, which is written when the events are over.
    record : str
        Where the events are kept; without it in a temporary file, which goes.

    Raises
    ------
    RecordError, TypeError
        Here, before anything is done, if one of the files cannot be written.
    """
    place = check_place(report)
    if record and Path(record).expanduser().resolve() == place.resolve():
        raise RecordError(f"report={str(report)!r} and record={record!r} are the same file: name two")
    with ExitStack() as stack:
        if not record:
            record = f"{stack.enter_context(tempfile.TemporaryDirectory(prefix='wrenla-report-'))}/run.jsonl"
        path = None
        try:
            with recording(record) as recorder:
                path = recorder.path
                yield recorder
        finally:
            if path is not None:
                _write(path, place)


def _write(record: Path, place: Path) -> None:
    if not record.is_file():  # of a device or a pipe nothing can be read again
        logger.warning("no report: the record %s is no file", record)
        return
    try:
        write_page(runs_of(record), place)
    except Exception as error:  # nothing that happens here is worth losing a result
        logger.warning("no report: %s: %s", type(error).__name__, error)
        logger.debug("why there is no report", exc_info=True)
