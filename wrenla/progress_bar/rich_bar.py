"""Bar of a terminal: the only picture that needs rich, which takes a tenth of the start of a program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.progress_bar import ProgressBar
from rich.table import Column
from rich.text import Text

__all__ = ["Counts", "RichBar"]


class Counts(Protocol):
    """Counts of finished work: the working thread writes, the drawing thread reads."""

    @property
    def done(self) -> int: ...

    @property
    def total(self) -> int | None:
        """None if nobody knows."""

    @property
    def failed(self) -> bool: ...

    def first(self) -> str:
        """Return what to say at the beginning, where there are lines."""

    def words(self) -> list[str]:
        """Return the parts of a line of text."""

    def details(self) -> list[str]:
        """Return the parts of a second line, which change as the first one does."""

    def notes(self) -> list[str]:
        """Return what is worth a line of its own, once."""


class RichBar:
    """Bar that changes, and lines below it: rich draws them by itself."""

    changes_lines = True

    def __init__(self, console: Console, every: float) -> None:
        self._console, self._every = console, every
        self._display: _Display | None = None

    def begin(self, counts: Counts) -> None:
        self._display = _Display(counts, self._console, self._every)
        self._display.start()

    def show(self, counts: Counts) -> None:
        """Leave it to rich."""

    def end(self, counts: Counts) -> None:
        if self._display is not None:
            self._display.stop()


class _Display(Progress):
    """Display of some counts, which it looks at whenever it is drawn."""

    def __init__(self, counts: Counts, console: Console, every: float) -> None:
        self._counts = counts
        super().__init__(
            _CountsBar(counts, bar_width=10),
            _CountsWords(counts),
            console=console,
            refresh_per_second=1 / every,
            # what the user's program prints stays where the user sends it
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.add_task("")

    def get_renderables(self) -> Iterator[RenderableType]:
        counts = self._counts
        for task in self.tasks:
            task.total = None if counts.total is None else max(counts.total, 1)
            task.completed = counts.done
        yield self.make_tasks_table(self.tasks)
        details = counts.details()
        for line in [*([", ".join(details)] if details else []), *counts.notes()]:
            yield Text(line, style="dim", no_wrap=True, overflow="ellipsis")


class _CountsBar(BarColumn):
    """Bar that turns red with the first failure."""

    max_refresh = None

    def __init__(self, counts: Counts, bar_width: int) -> None:
        # where colours are few, rich's own is that of an empty bar
        super().__init__(bar_width, finished_style="green")
        self._counts = counts

    def render(self, task: Task) -> ProgressBar:
        bar = super().render(task)
        if self._counts.failed:
            bar.complete_style = bar.finished_style = "red"
        return bar


class _CountsWords(ProgressColumn):
    def __init__(self, counts: Counts) -> None:
        super().__init__(Column(ratio=1, no_wrap=True, overflow="ellipsis"))
        self._counts = counts

    def render(self, task: Task) -> Text:
        return Text(", ".join(self._counts.words()), no_wrap=True, overflow="ellipsis")
