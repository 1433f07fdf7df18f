"""Progress of a run."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wrenla.planning.plan import Plan
from wrenla.progress_bar.pictures import Picture, clock, picture_for
from wrenla.run.events import (
    Event,
    Listener,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskRetried,
    TaskStarted,
)
from wrenla.units import counted, format_dollars, format_time

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["progress_listener"]

_LATELY = 5.0
"""Seconds over which a rate is that of now."""

_KERNELS = 4
"""Kernels that are named, those with most tasks."""


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
        self.workers, self.tasks, self.todo, self.there = started.workers, 0, 0, 0
        self.all_flops = 0.0
        self.spent = 0.0
        self.finished = self.bytes_read = self.bytes_written = self.retries = 0
        self.flops = self.dollars = 0.0
        self.running: set[int] = set()
        self.kernels = Counter[str]()
        self.all_kernels = Counter[str]()
        self.retried = ""
        self._samples: deque[tuple[float, float, float]] = deque()
        self.begin(started)

    def begin(self, started: RunStarted) -> None:
        """Count a run, too; of one that failed before it, and was given up, only what it did."""
        if self.failed:
            left = self.todo - self.finished
            self.tasks -= left
            self.todo -= left
            self.all_kernels = self.kernels.copy()
        self.running.clear()
        self.tasks += started.tasks
        self.todo += started.todo
        self.there += started.tasks - started.todo
        self.all_flops += started.flops
        # waves are counted as in the whole plan, also where some of them are done
        self.wave, self.waves = 0, started.waves if started.plan is None else started.plan.waves
        self.began, self.ended = time.monotonic(), None
        self.plan = plan = started.plan
        self._expected_done = 0.0
        if plan is not None:
            self.all_kernels.update(plan.kernels)

    began: float
    ended: RunFinished | None = None
    plan: Plan | None

    def end(self, finished: RunFinished) -> None:
        """Note that a run has ended; there may be another one."""
        self.spent += finished.seconds
        self.ended = finished

    def task_begins(self, event: TaskStarted) -> None:
        """Note that a task is under way."""
        self.running.add(event.task)
        self.wave = max(self.wave, event.wave)

    def task_ends(self, event: TaskFinished) -> None:
        """Count a task."""
        report, plan = event.report, self.plan
        self.running.discard(event.task)
        self.finished += 1
        self.flops += event.flops
        self.bytes_read += report.bytes_read
        self.bytes_written += report.bytes_written
        self.kernels[event.kernel] += 1
        if plan is not None:
            self._expected_done += plan.graph.seconds[event.task]
            if (model := plan.model).dollars_per_second:
                took = report.read_seconds + report.compute_seconds + report.write_seconds
                self.dollars += took * model.dollars_per_second + model.dollars_per_invocation / plan.batch
                self.dollars += model.dollars_per_put + report.gets * model.dollars_per_get

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
        """Estimate by what the plan says of the tasks that are done; by their number if tiles were there."""
        now = time.monotonic() - self.began
        if self.plan is not None and not self.there:
            whole = float(self.plan.graph.seconds.sum())
            share = self._expected_done / whole if whole else 1.0
            if not share:  # by the model alone
                return max(0.0, self.plan.seconds_at_once - now)
            return now * max(0.0, 1 - share) / share
        share = self.finished / self.todo if self.todo else 1.0
        return self.seconds * (1 - share) / share if share > 0 else None

    def first(self) -> str:
        tasks, workers = counted(self.todo, "task"), counted(self.workers, "worker")
        return f"{tasks} on {workers}, {self.all_flops / 1e9:,.3g} GFLOP in all"

    def words(self) -> list[str]:
        """Return the parts of a line of text."""
        words = [f"{self.done:,}/{self.tasks:,} tasks"]
        if self.ended is not None:
            words.append(f"{'failed after' if self.ended.error else 'in'} {format_time(self.seconds)}")
        elif (left := self.seconds_left) is not None:
            words.append(f"{clock(left)} left")
        mean = f"{self.flops / max(self.seconds, 1e-9) / 1e9:.3g} GFLOP/s"
        if self.ended is not None:
            words += [mean] if self.flops else []
            return [*words, f"{_bytes(self.bytes_read)} read", f"{_bytes(self.bytes_written)} written"]
        flops, nbytes = self._lately()
        words += [f"{flops / 1e9:.3g} GFLOP/s (mean {mean})"] if self.flops else []
        return [*words, f"{_bytes(nbytes)}/s"]

    def details(self) -> list[str]:
        """Return the parts of a second line: wave, workers, dollars, and tasks by kernel."""
        if self.ended is not None:
            return [f"about {format_dollars(self.dollars)}"] if self.dollars else []
        parts = [f"wave {self.wave + 1:,} of {self.waves:,}"] if self.waves else []
        busy = min(len(self.running), self.workers)
        parts.append(f"{busy:,} of {counted(self.workers, 'worker')} busy")
        parts += [f"{format_dollars(self.dollars)} so far"] if self.dollars else []
        for kernel, count in self.kernels.most_common(_KERNELS):
            of = f"/{self.all_kernels[kernel]:,}" if self.all_kernels[kernel] and not self.there else ""
            parts.append(f"{kernel} {count:,}{of}")
        return parts

    def _lately(self) -> tuple[float, float]:
        """Return flops and bytes a second, of the last few seconds."""
        now, samples = time.monotonic(), self._samples
        samples.append((now, self.flops, self.bytes_read + self.bytes_written))
        while len(samples) > 2 and samples[1][0] < now - _LATELY:
            samples.popleft()
        before, flops, nbytes = samples[0] if len(samples) > 1 else (self.began, 0.0, 0.0)
        took = max(now - before, 1e-9)
        return (self.flops - flops) / took, (self.bytes_read + self.bytes_written - nbytes) / took

    def notes(self) -> list[str]:
        """Return what is worth a line of its own."""
        notes = []
        if self.there:
            notes.append(
                f"resuming: {self.there:,} of {counted(self.tasks, 'tile')} "
                f"{'is' if self.there == 1 else 'are'} there already"
            )
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
            case TaskStarted() if self._counts is not None:
                self._counts.task_begins(event)
            case TaskFinished() if self._counts is not None:
                # Without a lock: a picture that is one number behind is drawn again in a moment.
                self._counts.task_ends(event)
            case TaskRetried(task=task, error=error):
                if self._counts is not None:
                    self._counts.running.discard(task)
                    self._counts.retries += 1
                    self._counts.retried = _first_line(error)
            case RunStarted():
                if self._counts is None:
                    self._counts = _Counts(event)
                    self._picture.begin(self._counts)
                else:
                    self._counts.begin(event)
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
