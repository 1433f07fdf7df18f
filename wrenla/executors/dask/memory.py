"""Memory of a Dask worker, as its tile tasks share it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["MemoryGate"]

_LONGEST = 3600.0
"""Seconds that a task waits for the memory of others at most."""


class MemoryGate:
    """Admission by memory: tile tasks of all executors in this process share it."""

    def __init__(self) -> None:
        self._used = 0
        self._freed = threading.Condition()

    @contextmanager
    def hold(self, nbytes: int, total: int) -> Iterator[None]:
        """Wait until some memory is free, out of all that tasks may use; one task alone may always begin."""
        with self._freed:
            if not self._freed.wait_for(lambda: not self._used or self._used + nbytes <= total, _LONGEST):
                raise MemoryError(f"{nbytes >> 20} MiB for a task have not become free in {_LONGEST:g} s")
            self._used += nbytes
        try:
            yield
        finally:
            with self._freed:
                self._used -= nbytes
                self._freed.notify_all()
