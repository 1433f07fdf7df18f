"""Progress of a run: a bar on a terminal, plain lines elsewhere. Both go to standard error."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wrenla.run.events import Event, Listener, RunFinished, RunStarted, TaskFinished, TaskRetried
from wrenla.units import format_time

__all__ = ["progress_listener"]

_PATIENCE = 1.0
"""Seconds that a run may take before an unasked-for bar appears."""

_BAR_EVERY = 0.25
_LINES_EVERY = 5.0


@contextmanager
def progress_listener(wanted: bool | None, console: Console | None = None) -> Iterator[Listener | None]:
    """Hand out a listener that shows progress, or None if none is to be shown.

    Parameters
    ----------
    wanted : bool or None
        True: a bar on a terminal, plain lines elsewhere. None: only on a terminal, and only for runs that
        last.
    console : rich.console.Console, optional
        Where to; standard error by default.
    """
    if wanted is False:
        yield None
        return
    if console is None:
        # rich takes FORCE_COLOR for a terminal, but a bar in a log file helps nobody
        console = Console(stderr=True, force_terminal=sys.stderr.isatty(), force_jupyter=False)
    bar = console.is_terminal and not console.is_dumb_terminal
    if not bar and wanted is None:
        yield None
        return
    progress = _Progress(
        _Bar(console) if bar else _Lines(console),
        delay=_PATIENCE if wanted is None else 0.0,
        every=_BAR_EVERY if bar else _LINES_EVERY,
    )
    try:
        yield progress
    finally:
        progress.end()


class _View(Protocol):
    def begin(self, counts: _Counts) -> None: ...
    def show(self, counts: _Counts) -> None: ...
    def end(self, counts: _Counts) -> None: ...


class _Counts:
    """Where a run is. The loop counts, the drawing thread reads."""

    def __init__(self, started: RunStarted) -> None:
        self.started = started
        self.tasks = started.tasks
        self.there = started.tasks - started.todo
        self.began = time.monotonic()
        self.ended: RunFinished | None = None
        self.done = self.bytes_read = self.bytes_written = self.retries = 0
        self.flops = 0.0
        self.retried = ""

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began if self.ended is None else self.ended.seconds

    @property
    def seconds_left(self) -> float | None:
        """By arithmetic where all of it is still to be done, else by tasks; None if there is no telling."""
        share = self.done / self.started.todo if self.started.todo else 1.0
        if self.started.flops and not self.there:
            share = self.flops / self.started.flops
        return self.seconds * (1 - share) / share if share > 0 else None

    def words(self) -> list[str]:
        """Return the parts of a line of text."""
        words = [f"{self.there + self.done:,}/{self.tasks:,} tasks"]
        if self.ended is not None:
            words.append(f"{'failed after' if self.ended.error else 'in'} {format_time(self.seconds)}")
        elif (left := self.seconds_left) is not None:
            words.append(f"{_clock(left)} left")
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
    """A listener that only counts; a thread of its own draws every now and then."""

    def __init__(self, view: _View, delay: float, every: float) -> None:
        self._view, self._delay, self._every = view, delay, every
        self._counts: _Counts | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        match event:
            case TaskFinished(flops=flops, report=report):
                counts = self._counts
                if counts is not None:
                    counts.done += 1
                    counts.flops += flops
                    counts.bytes_read += report.bytes_read
                    counts.bytes_written += report.bytes_written
            case TaskRetried(error=error):
                if self._counts is not None:
                    self._counts.retries += 1
                    self._counts.retried = _first_line(error)
            case RunStarted():
                self.end()
                self._counts = _Counts(event)
                self._over = threading.Event()
                thread = threading.Thread(
                    target=self._draw, args=(self._counts, self._over), name="wrenla-progress", daemon=True
                )
                with contextlib.suppress(RuntimeError):  # no thread is to be had: the run goes on unseen
                    thread.start()
                    self._thread = thread
            case RunFinished():
                if self._counts is not None:
                    self._counts.ended = event
                self.end()

    def end(self) -> None:
        """Draw the last state and let go of the terminal."""
        thread, self._thread, self._counts = self._thread, None, None
        self._over.set()
        if thread is not None:
            thread.join()

    def _draw(self, counts: _Counts, over: threading.Event) -> None:
        if over.wait(self._delay) and self._delay:
            return
        # a run is worth more than its picture: a closed pipe ends the picture only
        with contextlib.suppress(OSError, ValueError):
            try:
                self._view.begin(counts)
                while not over.wait(self._every):
                    self._view.show(counts)
            finally:
                self._view.end(counts)


class _Bar:
    """One line that changes, and below it what else is to be said."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def begin(self, counts: _Counts) -> None:
        # what the user's program prints stays where the user sends it
        self._live = Live(
            _picture(counts),
            console=self._console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start(refresh=True)

    def show(self, counts: _Counts) -> None:
        if self._live is not None:
            self._live.update(_picture(counts), refresh=True)

    def end(self, counts: _Counts) -> None:
        if self._live is not None:
            try:
                self._live.update(_picture(counts))
            finally:
                self._live.stop()


class _Lines:
    """A line at the beginning, one every few seconds, and one at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: set[str] = set()

    def begin(self, counts: _Counts) -> None:
        started = counts.started
        self._print(
            f"{started.todo:,} tasks on {started.workers:,} workers, {started.flops / 1e9:,.3g} GFLOP in all"
        )
        self._notes(counts)

    def show(self, counts: _Counts) -> None:
        self._notes(counts)
        self._print(", ".join(counts.words()))

    end = show

    def _notes(self, counts: _Counts) -> None:
        for note in counts.notes():
            if note not in self._said:
                self._said.add(note)
                self._print(note)

    def _print(self, text: str) -> None:
        print(f"wrenla: {text}", file=self._console.file, flush=True)


def _picture(counts: _Counts) -> Table:
    done, failed = counts.there + counts.done, counts.ended is not None and bool(counts.ended.error)
    table = Table.grid(padding=(0, 1))
    style = "red" if failed else "bar.complete"
    line = Text(", ".join(counts.words()), no_wrap=True, overflow="ellipsis")
    bar = ProgressBar(total=max(counts.tasks, 1), completed=done, width=10, complete_style=style)
    table.add_row(bar, line)
    for note in counts.notes():
        table.add_row("", Text(note, style="dim", no_wrap=True, overflow="ellipsis"))
    return table


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bytes(n: float) -> str:
    """Return three digits and a unit: there are 80 columns."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1024
    return f"{n:.3g} PiB"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""
