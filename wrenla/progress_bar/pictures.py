"""Drawing of progress: a bar on a terminal or below a cell of a notebook, lines elsewhere.

What is no notebook's goes to standard error.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
import weakref
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from rich.console import Console

    from wrenla.progress_bar.rich_bar import Counts

__all__ = ["Picture", "clock", "picture_for"]

_PATIENCE = 1.0
"""Seconds that something may take before an unasked-for bar appears."""

_PATIENCE_OF_NOTEBOOKS = 5.0
"""The same for a bar below a cell, which stays there."""

_BAR_EVERY = 0.25
_NOTEBOOKS_EVERY = 1.0
_LINES_EVERY = 5.0


def _is_terminal() -> bool:
    """Tell whether standard error is a terminal: it may be closed, or nothing at all, as under pythonw."""
    try:
        return bool(sys.stderr.isatty())
    except (AttributeError, OSError, ValueError):
        return False


def picture_for(wanted: bool | None, console: Console | None = None) -> Picture | None:
    """Return what shows progress, or None if none is to be shown.

    Parameters
    ----------
    wanted : bool or None
        True: a bar on a terminal or in a notebook, a line every few seconds elsewhere.
        None: only on a terminal or in a notebook, and only for what lasts. False: nothing.
    console : rich.console.Console, optional
        Where to; standard error by default.
    """
    if wanted is False or (console is None and sys.stderr is None):
        return None
    if console is None and _in_notebook():
        delay = _PATIENCE_OF_NOTEBOOKS if wanted is None else 0.0
        return Picture(_Cell(), delay, _NOTEBOOKS_EVERY)
    if console is None:
        terminal = _is_terminal()
        if wanted is None and not terminal:
            return None
        from rich.console import Console

        # rich takes FORCE_COLOR for a terminal, but a bar in a log file helps nobody
        console = Console(stderr=True, force_terminal=terminal, force_jupyter=False)
    bar = console.is_terminal and not console.is_dumb_terminal
    if not bar and wanted is None:
        return None
    delay = _PATIENCE if wanted is None else 0.0
    if bar:
        from wrenla.progress_bar.rich_bar import RichBar

        return Picture(RichBar(console, _BAR_EVERY), delay, _BAR_EVERY)
    return Picture(_Lines(console), delay, _LINES_EVERY)


def _in_notebook() -> bool:
    """Tell whether what is printed goes below a cell."""
    interactive = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(interactive).__name__ == "ZMQInteractiveShell"


class _View(Protocol):
    changes_lines: bool
    """Whether what it has drawn is erased before another line."""

    def begin(self, counts: Counts) -> None: ...
    def show(self, counts: Counts) -> None: ...
    def end(self, counts: Counts) -> None: ...


class Picture:
    """A thread that draws every now and then."""

    def __init__(self, view: _View, delay: float, every: float) -> None:
        self._view, self._delay, self._every = view, delay, every
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, counts: Counts) -> None:
        """Draw from now on."""
        self.end()
        # A new event: the thread of the picture before still looks at its own.
        self._over = threading.Event()
        thread = threading.Thread(
            target=self._draw, args=(counts, self._over), name="wrenla-progress", daemon=True
        )
        with contextlib.suppress(RuntimeError):  # no thread is to be had: the work goes on unseen
            thread.start()
            self._thread = thread
            _open.add(self)

    @property
    def erased(self) -> str:
        """Text to print before another line on the same terminal: it erases the bar for a while."""
        return "\r\x1b[2K" if self._view.changes_lines and self._thread is not None else ""

    def over(self) -> None:
        """Note that there will be nothing new: the last state is drawn soon."""
        self._over.set()

    def end(self) -> None:
        """Draw the last state and give the terminal back."""
        thread, self._thread = self._thread, None
        self._over.set()
        # The garbage collector may end a forgotten map in the drawing thread, which cannot join itself.
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _draw(self, counts: Counts, over: threading.Event) -> None:
        if over.wait(self._delay) and self._delay:
            return
        # work is worth more than its picture: a closed pipe ends the picture only
        with contextlib.suppress(OSError, ValueError):
            try:
                self._view.begin(counts)
                while not over.wait(self._every):
                    self._view.show(counts)
            finally:
                self._view.end(counts)


_open: weakref.WeakSet[Picture] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """Give the terminal back."""
    for picture in list(_open):
        picture.end()


class _Lines:
    """A line at the beginning, one every few seconds, and one at the end."""

    changes_lines = False

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: set[str] = set()

    def begin(self, counts: Counts) -> None:
        self._print(counts.first())
        self._notes(counts)

    def show(self, counts: Counts) -> None:
        self._notes(counts)
        self._print(", ".join([*counts.words(), *counts.details()]))

    end = show

    def _notes(self, counts: Counts) -> None:
        for note in counts.notes():
            if note not in self._said:
                self._said.add(note)
                self._print(note)

    def _print(self, text: str) -> None:
        print(f"wrenla: {text}", file=self._console.file, flush=True)


class _Cell:
    """A bar with lines below a cell of a notebook: HTML that changes, and text where that is not shown.

    What rich draws in notebooks needs widgets to change, which not everybody has.
    """

    changes_lines = False

    def __init__(self) -> None:
        self._handle: Any = None

    def begin(self, counts: Counts) -> None:
        from IPython.display import display

        self._handle = display(_Shown.of(counts), display_id=True)

    def show(self, counts: Counts) -> None:
        if self._handle is not None:
            self._handle.update(_Shown.of(counts))

    end = show


class _Shown(NamedTuple):
    """Bar and lines of some counts, as text and as HTML."""

    text: str
    html: str

    @classmethod
    def of(cls, counts: Counts) -> _Shown:
        words, details, notes = ", ".join(counts.words()), ", ".join(counts.details()), counts.notes()
        part = "" if counts.total is None else f' max="{max(1, counts.total)}" value="{counts.done}"'
        color = "#c0392b" if counts.failed else "#2874a6"
        bar = f'<progress{part} style="accent-color:{color}" aria-label="part that is done"></progress>'
        lines = [
            f"{bar} {escape(words)}",
            *(f"<small>{escape(line)}</small>" for line in (details, *notes) if line),
        ]
        text = f"wrenla: {', '.join(part for part in (words, details, *notes) if part)}"
        return cls(text, f"<div>{'<br>'.join(lines)}</div>")

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def clock(seconds: float) -> str:
    """Return minutes and seconds, and hours if there are any.

    Examples
    --------
    >>> clock(7384)
    '2:03:04'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
