"""Progress of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from wrenla.progress_bar import Picture, clock, picture_for
from wrenla.run.events import Event, Listener, RunFinished, RunStarted, TaskFinished, TaskRetried
from wrenla.units import format_time

__all__ = ["progress_listener"]


@contextmanager
def progress_listener(wanted: bool | None, console: Console | None = None) -> Iterator[Listener | None]:
    """Hand out a listener that shows progress, or None if none is to be shown: see `picture_for`."""
    picture = picture_for(wanted, console)
    if picture is None:
        yield None
        return
    progress = _Progress(picture)
    try:
        yield progress
    finally:
        progress.end()


class _Counts:
    """Counts of a run, or of several that follow each other: the loop writes, the drawing thread reads."""

    def __init__(self, started: RunStarted) -> None:
        self.workers = started.workers
        self.tasks, self.todo, self.all_flops = started.tasks, started.todo, started.flops
        self.there = started.tasks - started.todo
        self.began = time.monotonic()
        self.spent = 0.0
        self.ended: RunFinished | None = None
        self.finished = self.bytes_read = self.bytes_written = self.retries = 0
        self.flops = 0.0
        self.retried = ""

    def go_on(self, started: RunStarted) -> None:
        """Count another run, too."""
        self.tasks += started.tasks
        self.todo += started.todo
        self.there += started.tasks - started.todo
        self.all_flops += started.flops
        self.began, self.ended = time.monotonic(), None

    def end(self, finished: RunFinished) -> None:
        """Note that a run has ended; there may be another one."""
        self.spent += finished.seconds
        self.ended = finished

    @property
    def done(self) -> int:
        return self.there + self.finished

    @property
    def total(self) -> int:
        return self.tasks

    @property
    def failed(self) -> bool:
        return self.ended is not None and bool(self.ended.error)

    @property
    def seconds(self) -> float:
        return self.spent + (time.monotonic() - self.began if self.ended is None else 0.0)

    @property
    def seconds_left(self) -> float | None:
        """Estimate by flops if no tile was there, else by tasks; None without progress."""
        share = self.finished / self.todo if self.todo else 1.0
        if self.all_flops and not self.there:
            share = self.flops / self.all_flops
        return self.seconds * (1 - share) / share if share > 0 else None

    def first(self) -> str:
        return f"{self.todo:,} tasks on {self.workers:,} workers, {self.all_flops / 1e9:,.3g} GFLOP in all"

    def words(self) -> list[str]:
        """Return the parts of a line of text."""
        words = [f"{self.done:,}/{self.tasks:,} tasks"]
        if self.ended is not None:
            words.append(f"{'failed after' if self.ended.error else 'in'} {format_time(self.seconds)}")
        elif (left := self.seconds_left) is not None:
            words.append(f"{clock(left)} left")
        if self.flops:
            words.append(f"{self.flops / max(self.seconds, 1e-9) / 1e9:.3g} GFLOP/s")
        return [*words, f"{_bytes(self.bytes_read)} read", f"{_bytes(self.bytes_written)} written"]

    def notes(self) -> list[str]:
        """Return what is worth a line of its own."""
        notes = []
        if self.there:
            notes.append(f"resuming: {self.there:,} of {self.tasks:,} tiles are there already")
        if self.retries:
            times = "once" if self.retries == 1 else f"{self.retries:,} times"
            notes.append(f"tried again {times}, last after {self.retried}")
        if self.ended is not None and self.ended.error:
            notes.append(_first_line(self.ended.error).rstrip(": "))
        return notes


class _Progress:
    """A listener that only counts."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._counts: _Counts | None = None

    def __call__(self, event: Event) -> None:
        match event:
            case TaskFinished(flops=flops, report=report):
                # Without a lock: a picture that is one number behind is drawn again in a moment.
                counts = self._counts
                if counts is not None:
                    counts.finished += 1
                    counts.flops += flops
                    counts.bytes_read += report.bytes_read
                    counts.bytes_written += report.bytes_written
            case TaskRetried(error=error):
                if self._counts is not None:
                    self._counts.retries += 1
                    self._counts.retried = _first_line(error)
            case RunStarted():
                if self._counts is None:
                    self._counts = _Counts(event)
                    self._picture.begin(self._counts)
                else:
                    self._counts.go_on(event)
            case RunFinished() if self._counts is not None:
                self._counts.end(event)

    def end(self) -> None:
        """Draw the last state and give the terminal back."""
        self._counts = None
        self._picture.end()


def _bytes(n: float) -> str:
    """Return three digits and a unit: there are 80 columns."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1024
    return f"{n:.3g} PiB"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""
