"""Output of mapped functions on the caller's screen: line by line, named by input."""

from __future__ import annotations

import re
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from wrenla.config import settings
from wrenla.errors import SettingError
from wrenla.executors.calls.call import Call
from wrenla.executors.calls.future import Attempt
from wrenla_handler.calls.capture import Printed, StreamName

__all__ = ["Router", "Showing", "mode_of"]

_MOST = 1 << 20
"""Bytes of one attempt's output that are shown."""

_LONGEST = 8 << 10
"""Bytes of a line that has not ended."""

_WARNINGS = 10_000
"""How many warnings are known again."""

_WARNING = re.compile(rb".+:\d+: \w*Warning: ")

Mode: TypeAlias = Literal["show", "quiet", "stderr"]


@dataclass(slots=True)
class _Shown:
    """Shown part of one attempt's output."""

    mode: Mode
    prefix: bytes
    nbytes: dict[StreamName, int] = field(default_factory=lambda: {"o": 0, "e": 0, "l": 0})
    rest: dict[StreamName, bytes] = field(default_factory=lambda: {"o": b"", "e": b""})
    total: int = 0


class Router:
    """Standard output or error while threads are listened to: what they write goes elsewhere.

    Parameters
    ----------
    stream : file
        What was there before; it may be None.
    route : callable
        Takes a text from the current thread. Returns False if it is not listened to.
    """

    def __init__(self, stream: Any, route: Callable[[str], bool]) -> None:
        self.stream = stream
        self._route = route

    def write(self, text: str) -> int:
        if not self._route(text) and self.stream is not None:
            return self.stream.write(text)  # type: ignore[no-any-return]
        return len(text)

    def flush(self) -> None:
        if self.stream is not None:
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Showing:
    """Writes what calls print to this process's streams, those that it has at the time.

    Lines of calls that may run at the same time begin with the number of their input, as ``[3]``. Of a line
    that was overwritten (by ``\\r``, as progress bars do) the last state is shown. A warning is shown once.

    Parameters
    ----------
    channels : int
        Calls that may run at the same time.
    alone : method
        Tells whether there is no other call now.
    """

    def __init__(self, channels: int, alone: Callable[[], bool]) -> None:
        self._channels = channels
        self._alone = weakref.WeakMethod(alone)  # whose we are
        self._shown: dict[Attempt, _Shown] = {}
        self._warned: set[bytes] = set()
        self._repeats_warnings = any(option.startswith("always") for option in sys.warnoptions)
        self._lock = threading.RLock()  # whom we write to may print, too

    def live(self, call: Call, attempt: Attempt, name: StreamName, text: bytes) -> None:
        """Show what a running attempt has just written to a stream."""
        if not attempt.copy:  # its lines would be there twice
            with self._lock:
                self._add(self._of(call, attempt), name, text)

    def direct(self, call: Call, attempt: Attempt, name: StreamName, text: str) -> None:
        """Show what a thread of this process writes, even if its line has not ended, if it has no name."""
        with self._lock:
            shown, encoded = self._of(call, attempt), text.encode("utf-8", "backslashreplace")
            if shown.mode == "quiet" or shown.prefix:
                self._add(shown, name, encoded)
            else:
                shown.nbytes[name] += len(encoded)
                _write(shown, name, text)

    def end(self, call: Call, attempt: Attempt, printed: bytes, *, lost: bool) -> None:
        """Show what has not been shown of an attempt that has ended; `lost`: another one was faster."""
        with self._lock:
            if not printed and attempt not in self._shown:
                return
            shown = self._of(call, attempt)
            del self._shown[attempt]
            if lost:
                return
            parts = printed.parts() if isinstance(printed, Printed) else iter([("o", printed)])
            seen = dict(shown.nbytes)
            name: StreamName
            for name, text in parts:  # type: ignore[assignment]
                skipped = min(seen[name], len(text))
                seen[name] -= skipped
                self._add(shown, name, text[skipped:])
            for name, rest in shown.rest.items():
                if rest:
                    self._add(shown, name, b"\n")

    def _of(self, call: Call, attempt: Attempt) -> _Shown:
        shown = self._shown.get(attempt)
        if shown is None:
            shown = self._shown[attempt] = _Shown(mode_of(call), self._prefix(call))
        return shown

    def _prefix(self, call: Call) -> bytes:
        """Return what names a call in its lines: nothing if there can be no other."""
        if self._channels == 1:
            return b""
        batch = call.batch
        if batch is None or not batch.inputs:
            number = call.future.id.rpartition("-")[2].lstrip("0")
            name = call.label if batch else f"#{number}"
            alone = self._alone()
            return b"" if batch is None and (alone is None or alone()) else f"[{name}] ".encode()
        if batch.complete and batch.submitted == 1:
            return b""
        first, last = call.index * batch.inputs, call.index * batch.inputs + call.inputs - 1
        names = [batch.called(first), *([batch.called(last)] if last > first else [])]
        return f"[{'…'.join(names)}] ".encode()

    def _add(self, shown: _Shown, name: StreamName, text: bytes) -> None:
        shown.nbytes[name] += len(text)
        if name == "l" or shown.mode == "quiet" or not text or shown.total > _MOST:
            return
        shown.total += len(text)
        *lines, rest = (shown.rest[name] + text).split(b"\n")
        if len(rest) > _LONGEST:
            rest = rest[rest.rfind(b"\r", 0, -1) + 1 :]
        if len(rest) > _LONGEST:
            lines, rest = [*lines, rest], b""
        shown.rest[name] = rest
        if name == "e":
            lines = self._without_old_warnings(lines)
        if shown.total > _MOST:
            lines.append(f"(more than {_MOST >> 10} KiB were printed here: the rest is not shown)".encode())
        if lines:
            ended = [shown.prefix + line.rstrip(b"\r").rpartition(b"\r")[2] + b"\n" for line in lines]
            _write(shown, name, b"".join(ended).decode("utf-8", "backslashreplace"))

    def _without_old_warnings(self, lines: list[bytes]) -> list[bytes]:
        """Return lines without warnings that have been shown, each of which a line of source may follow."""
        if self._repeats_warnings:
            return lines
        kept, old = list[bytes](), False
        for line in lines:
            if _WARNING.match(line):
                old = line in self._warned
                if len(self._warned) < _WARNINGS:
                    self._warned.add(line)
            elif old and not line.startswith(b"  "):
                old = False
            if not old:
                kept.append(line)
        return kept


def mode_of(call: Call) -> Mode:
    """Return where what a call prints is shown."""
    if call.options.logs is not None:
        return call.options.logs
    try:
        return settings().logs
    except SettingError:  # which whoever asks for settings is told
        return "show"


def _write(shown: _Shown, name: StreamName, text: str) -> None:
    """Write to a stream of this process, if there is one: that it cannot be written to ends no call."""
    stream: Any = sys.stdout if name == "o" and shown.mode == "show" else sys.stderr
    while isinstance(stream, Router):
        stream = stream.stream
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError as error:
            stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        stream.flush()
    except (AttributeError, OSError, ValueError):  # None, closed, or nobody reads it
        shown.mode = "quiet"
