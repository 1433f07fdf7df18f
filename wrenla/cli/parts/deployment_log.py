"""Log of a deployment on standard error: it may take minutes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click

__all__ = ["saying_what_is_done"]


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
