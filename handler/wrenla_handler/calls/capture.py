"""Capture of a function's output and log records, for its future and for the driver's screen."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TextIO, TypeAlias, cast

__all__ = ["CopiedOutput", "FileOutput", "Printed", "StreamName", "take_file"]

_MOST = 16 << 20
"""Bytes of one call's output that are kept: the beginning and the end of it."""

_TURNS = 100_000
"""How often the streams may take turns until their order is not kept any more."""

_LINE = "%(levelname)s %(name)s: %(message)s"
"""What is logged, as a line of output."""

StreamName: TypeAlias = Literal["o", "e", "l"]
"""Standard output, standard error, and what is logged but not shown."""


class Printed(bytes):
    """Captured output, in order.

    Attributes
    ----------
    streams : tuple of (str, int)
        Which stream some bytes of it went to, and so on.
    """

    streams: tuple[tuple[StreamName, int], ...]

    def __new__(cls, parts: Iterable[tuple[StreamName, bytes]] = ()) -> Printed:
        pieces = [(name, piece) for name, piece in parts if piece]
        made = super().__new__(cls, b"".join(piece for _, piece in pieces))
        made.streams = tuple((name, len(piece)) for name, piece in pieces)
        return made

    @classmethod
    def of(cls, text: bytes, streams: Iterable[Sequence[Any]]) -> Printed:
        """Join text and streams from a message; text without a stream is standard output.

        Examples
        --------
        >>> list(Printed.of(b"12345", [["e", 2]]).parts())
        [('e', b'12'), ('o', b'345')]
        """
        parts: list[tuple[StreamName, bytes]] = []
        at = 0
        for name, nbytes in streams:
            parts.append((name, text[at : at + nbytes]))
            at += nbytes
        return cls([*parts, ("o", text[at:])])

    def parts(self) -> Iterator[tuple[StreamName, bytes]]:
        """Yield pieces and the streams that they went to."""
        at = 0
        for name, nbytes in self.streams:
            yield name, self[at : at + nbytes]
            at += nbytes


class FileOutput:
    """Standard output and standard error of this process, each an open file.

    Being files they also catch what C libraries and child processes print, and they outlive a process
    that is killed.

    Parameters
    ----------
    output, error : int
        The files, opened for reading and appending.
    """

    def __init__(self, output: int, error: int | None = None) -> None:
        files: dict[StreamName, int | None] = {"o": output, "e": error}
        self._files = {name: file for name, file in files.items() if file is not None}
        self._ends: list[tuple[StreamName, int]] = []
        self._streams: dict[StreamName, TextIO] = {}

    def install(self) -> None:
        """Make these files this process's streams, and note the order of writes."""
        sys.stdout, sys.stderr = self.stream("o", 1), self.stream("e", 2)

    def log(self, shown: int, quiet: int) -> None:
        """Write log records as lines: to standard error from a level on, below it to another file."""
        self._files["l"] = quiet
        root = logging.getLogger()
        root.addHandler(_Lines(self, shown))
        root.setLevel(logging.INFO)

    def stream(self, name: StreamName, descriptor: int | None = None) -> TextIO:
        """Return one of the streams, a new one if it is closed: Python does not close the descriptor."""
        stream = self._streams.get(name)
        if stream is None or _is_closed(stream):
            raw = _Noted(self._files[name] if descriptor is None else descriptor, name, self._ends)
            stream = io.TextIOWrapper(
                io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True
            )
            self._streams[name] = stream
        return stream

    def take(self) -> Printed:
        """Return what has been written since the last time, and empty the files."""
        for name, key in _STANDARD.items():
            stream = getattr(sys, name, None)
            if _is_closed(stream):  # by the function, but the next one may want to print
                if key in self._streams:
                    self._streams.pop(key)
                    setattr(sys, name, self.stream(key, 1 if key == "o" else 2))
                continue
            try:
                # What is still in a buffer now would pass for output of the next call.
                stream.flush()  # type: ignore[union-attr]
            except (AttributeError, OSError, ValueError):
                continue  # the function has replaced it: what it wrote there is not ours to keep
        if not any(os.fstat(file).st_size for file in self._files.values()):  # nearly always
            self._ends.clear()
            return _NOTHING
        ends = list(self._ends)
        self._ends.clear()
        found = {name: take_file(file) for name, file in self._files.items()}
        whole = len(ends) < _TURNS and all(len(text) <= _MOST for text in found.values())
        return Printed(_in_order(found, ends if whole else ()))


_NOTHING = Printed()

_STANDARD: dict[str, StreamName] = {"stdout": "o", "stderr": "e"}


class _Noted(io.FileIO):
    """A file that notes how far it has been written, together with others."""

    def __init__(self, descriptor: int, name: StreamName, ends: list[tuple[StreamName, int]]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._stream: StreamName = name
        self._ends = ends

    def write(self, data: Any) -> int:
        count = super().write(data)
        end = self._stream, os.lseek(self.fileno(), 0, os.SEEK_CUR)
        if self._ends and self._ends[-1][0] == self._stream:
            self._ends[-1] = end
        elif len(self._ends) < _TURNS:
            self._ends.append(end)
        return count


def _in_order(
    found: Mapping[StreamName, bytes], ends: Iterable[tuple[StreamName, int]]
) -> Iterator[tuple[StreamName, bytes]]:
    at = dict.fromkeys(found, 0)
    for name, end in ends:
        if name in found and end > at[name]:
            yield name, found[name][at[name] : end]
            at[name] = end
    for name, text in found.items():
        yield name, text[at[name] :]


class _Lines(logging.Handler):
    """Writes a line for each record."""

    def __init__(self, output: FileOutput, shown: int) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(_LINE))
        self._output = output
        self._shown = shown

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream = self._output.stream("e" if record.levelno >= self._shown else "l")
            stream.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


class CopiedOutput:
    """Standard output and standard error of this process as before, and a copy of what Python writes there.

    For a process whose output is kept by its host as well: what the host has survives the process.
    """

    def __init__(self) -> None:
        self._copy = _Copy()
        self._error = sys.stderr
        sys.stdout = cast("TextIO", _Copied(sys.stdout, self._copy, "o"))
        sys.stderr = cast("TextIO", _Copied(sys.stderr, self._copy, "e"))

    def log(self, logger: logging.Logger) -> None:
        """Copy what is logged, too: the host's own handlers may write past the streams."""
        handlers = list(logger.handlers)
        if not handlers:
            handlers.append(logging.StreamHandler(self._error))
            handlers[0].setFormatter(logging.Formatter(_LINE))
        logger.handlers[:] = [_Logged(handlers, self._copy)]

    def take(self) -> Printed:
        """Return what has been written since the last time: the beginning and the end of it."""
        parts = [(name, text.encode("utf-8", "backslashreplace")) for name, text in self._copy.take()]
        left_out = sum(len(text) for _, text in parts) - _MOST
        if left_out <= 0:
            return Printed(parts)
        note = f"\n… {left_out} bytes of output left out …\n".encode()
        end = [
            (name, text[::-1]) for name, text in _first(_MOST // 2, ((n, t[::-1]) for n, t in parts[::-1]))
        ]
        return Printed([*_first(_MOST // 2, parts), ("o", note), *end[::-1]])


def _first(most: int, parts: Iterable[tuple[StreamName, bytes]]) -> Iterator[tuple[StreamName, bytes]]:
    """Yield parts until they have so many bytes."""
    for name, text in parts:
        yield name, text[:most]
        most -= len(text[:most])


class _Copy:
    """Text that is written by any thread: the beginning of it, and the end."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal's handler may write while its thread does
        self._quiet = threading.local()
        self._clear()

    def write(self, text: str, name: StreamName) -> None:
        """Add some text, unless this thread is to be quiet."""
        if getattr(self._quiet, "now", False):
            return
        with self._lock:
            if self._begun < _MOST:
                if not self._beginning or self._beginning[-1][0] != name:
                    self._beginning.append((name, io.StringIO()))
                self._begun += self._beginning[-1][1].write(text[:_MOST])
                text = text[_MOST:]
            if text:
                self._end.append((name, text[-_MOST:]))
                self._length += len(self._end[-1][1])
            while self._end and self._length - len(self._end[0][1]) > _MOST:
                self._length -= len(self._end.popleft()[1])

    def take(self) -> list[tuple[StreamName, str]]:
        """Return what is there, and forget it."""
        with self._lock:
            parts = [(name, text.getvalue()) for name, text in self._beginning]
            parts += self._end
            self._clear()
            return parts

    @contextmanager
    def without(self) -> Iterator[None]:
        """Leave out what this thread writes in the block."""
        self._quiet.now = True
        try:
            yield
        finally:
            self._quiet.now = False

    def _clear(self) -> None:
        self._beginning: list[tuple[StreamName, io.StringIO]] = []
        self._end: deque[tuple[StreamName, str]] = deque()
        self._begun = self._length = 0


class _Copied:
    """Text stream that also writes to a copy."""

    def __init__(self, stream: TextIO, copy: _Copy, name: StreamName) -> None:
        self._stream = stream
        self._copy = copy
        self._stream_name: StreamName = name

    def write(self, text: str) -> int:
        written = self._stream.write(text)
        self._copy.write(text, self._stream_name)
        return written

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def close(self) -> None:
        """Stay open: the stream is the host's, and the next function's."""
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Logged(logging.Handler):
    """Has a line of each record copied, once, whichever way the host's own handlers go."""

    def __init__(self, handlers: list[logging.Handler], copy: _Copy) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(_LINE))
        self._handlers = handlers
        self._copy = copy

    def emit(self, record: logging.LogRecord) -> None:
        with self._copy.without():
            for handler in self._handlers:
                if record.levelno >= handler.level:
                    handler.handle(record)
        try:
            self._copy.write(self.format(record) + "\n", "e" if record.levelno >= logging.WARNING else "l")
        except Exception:
            self.handleError(record)


def _is_closed(stream: Any) -> bool:
    try:
        return bool(getattr(stream, "closed", False))
    except ValueError:  # it has been detached from what it wrote to
        return True


def take_file(descriptor: int) -> bytes:
    """Return what is in a file of output, and empty it."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        return b""
    if size <= _MOST:
        text = os.pread(descriptor, size, 0)
    else:
        half = _MOST // 2
        note = f"\n… {size - 2 * half} bytes of output left out …\n".encode()
        text = os.pread(descriptor, half, 0) + note + os.pread(descriptor, half, size - half)
    # What a program that the function has left behind writes between the two is lost: a file has no lock for
    # that, and to stop such a program is not ours to do.
    os.ftruncate(descriptor, 0)
    return text
