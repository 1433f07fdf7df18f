"""Progress of a run on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from wrenla.run.events import Listener

__all__ = ["progress_listener"]


@contextmanager
def progress_listener(wanted: bool | None) -> Iterator[Listener | None]:
    """Hand out a listener that shows progress, or None if none is to be shown."""
    yield None
