"""One-line texts of errors and numbers for commands."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import click

from wrenla.errors import RemoteError, RemoteTraceback

__all__ = ["counted", "described", "one_line", "saying_what_is_done", "trace"]


def one_line(error: BaseException | str) -> str:
    """Return a message, or that of an error, in one line; its class if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def described(error: BaseException) -> str:
    """Return kind and message of an error, and its notes, in one line."""
    text = " ".join(str(error).split())
    if not isinstance(error, RemoteError):  # which says what it was
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    notes = " ".join(" ".join(getattr(error, "__notes__", ())).split())
    return f"{text} ({notes})" if notes else text


def trace(error: BaseException) -> str:
    """Return the traceback of the worker, or of a thread."""
    if isinstance(error.__cause__, RemoteTraceback):
        return error.__cause__.text
    return "".join(traceback.format_exception(error))


def counted(number: int, what: str) -> str:
    """Return how many there are of something.

    Examples
    --------
    >>> counted(1, "object"), counted(2, "object"), counted(0, "tile")
    ('1 object', '2 objects', '0 tiles')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


class _OnStandardError(logging.Handler):
    def __init__(self, before: str) -> None:
        super().__init__()
        self._before = before

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"{self._before}{record.getMessage()}", err=True)


@contextmanager
def saying_what_is_done(before: str = "") -> Iterator[None]:
    """Show the log of a deployment on standard error: it may take minutes."""
    logger = logging.getLogger("wrenla.aws")
    handler, level = _OnStandardError(before), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
