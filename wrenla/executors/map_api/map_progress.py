"""Progress of a `map`."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from typing import Any

from wrenla.progress_bar.pictures import Picture, clock
from wrenla.units import counted, format_time

__all__ = ["MapCounts", "counting", "known_length"]

_LAST = 1.0
"""Seconds to wait for a thread to count what it has just ended."""


class MapCounts:
    """Counts of ended, failed and cancelled inputs of a `map`.

    Parameters
    ----------
    picture : Picture
        Shows them from now on.
    label : str
        What messages call the function.
    workers : int
    total : int, optional
        Of inputs, if it is known before they have been taken.
    """

    def __init__(self, picture: Picture, label: str, workers: int, total: int | None) -> None:
        self.total = total
        self.failures = self.cancelled = self._succeeded = self._submitted = 0
        self._label, self._workers = label, workers
        self._complete = False
        self._began, self._ended = time.monotonic(), 0.0
        self._all_there = threading.Event()
        self._lock = threading.RLock()  # the garbage collector may tell us of the end at any moment
        self._picture = picture
        picture.begin(self)

    def add(self, future: Future[Any], inputs: int | None = None) -> None:
        """Count a call, or a chunk of inputs, when it ends."""
        with self._lock:
            self._submitted += inputs or 1
        future.add_done_callback(lambda ended: self._count(ended, inputs))

    def complete(self) -> None:
        """Note that there are no more inputs."""
        with self._lock:
            self._complete = True
            self.total = self._submitted
        self._look()

    @property
    def erased(self) -> str:
        """Text that erases the drawing, see `Picture`."""
        return self._picture.erased

    def leave(self, *, at_the_end: bool) -> None:
        """Give the terminal back."""
        if at_the_end:
            self._all_there.wait(_LAST)
        self._picture.end()

    def _count(self, future: Future[Any], inputs: int | None) -> None:
        failures = cancelled = succeeded = 0
        if future.cancelled():
            cancelled = inputs or 1
        elif future.exception() is not None:
            failures = inputs or 1
        elif inputs is None:
            succeeded = 1
        else:
            outcomes = [fine for fine, _ in future.result()]
            succeeded = sum(outcomes)
            failures = len(outcomes) - succeeded
            cancelled = inputs - len(outcomes)  # what came after a failure has not begun
        with self._lock:
            self.failures += failures
            self.cancelled += cancelled
            self._succeeded += succeeded
        self._look()

    def _look(self) -> None:
        with self._lock:
            if not self._complete or self.done < self._submitted or self._ended:
                return
            self._ended = time.monotonic()
        self._all_there.set()
        self._picture.over()

    # what is drawn

    @property
    def done(self) -> int:
        return self._succeeded + self.failures + self.cancelled

    @property
    def failed(self) -> bool:
        return self.failures > 0

    def first(self) -> str:
        """Return what to say at the beginning, where there are lines."""
        calls = "calls" if self.total is None else counted(self.total, "call")
        return f"{calls} of {self._label} on {counted(self._workers, 'worker')}"

    def words(self) -> list[str]:
        """Return the parts of a line of text."""
        done, seconds = self.done, (self._ended or time.monotonic()) - self._began
        words = [counted(done, "call") if self.total is None else f"{done:,}/{self.total:,} calls"]
        words += [f"{self.failures:,} failed"] if self.failures else []
        words += [f"{self.cancelled:,} cancelled"] if self.cancelled else []
        if self._ended:
            words.append(f"in {format_time(seconds)}")
        elif done and self.total is not None:
            words.append(f"{clock(seconds * (self.total - done) / done)} left")
        return words

    def details(self) -> list[str]:
        """Return how fast calls end."""
        seconds = time.monotonic() - self._began
        return [] if self._ended or not self.done else [f"{self.done / max(seconds, 1e-9):,.3g} a second"]

    def notes(self) -> list[str]:
        """Return nothing."""
        return []


def counting(results: Generator[Any, None, None], counts: MapCounts) -> Generator[Any, None, None]:
    """Yield results; at their end, or when nobody wants more of them, the terminal is given back."""
    at_the_end = False
    try:
        yield from results
        at_the_end = True
    finally:
        results.close()
        counts.leave(at_the_end=at_the_end)


def known_length(iterables: Iterable[Any]) -> int | None:
    """Return how many inputs there will be, None if that is not known yet."""
    lengths = [len(each) if hasattr(each, "__len__") else None for each in iterables]
    known = [length for length in lengths if length is not None]
    return min(known) if known and len(known) == len(lengths) else None
