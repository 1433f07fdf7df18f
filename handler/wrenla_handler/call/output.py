"""What a function prints and logs: kept for its future."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

__all__ = ["CopiedOutput", "FileOutput", "log_to_standard_error"]

_MOST = 16 << 20
"""Bytes of one call's output that are kept: the beginning and the end of it."""

_LINE = "%(levelname)s %(name)s: %(message)s"
"""What is logged, as a line of output."""


class FileOutput:
    """Standard output and standard error of this process, both an open file.

    Being a file it also catches what C libraries and child processes print, and it outlives a process
    that is killed.

    Parameters
    ----------
    descriptor : int
        The file, opened for reading and appending.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def take(self) -> bytes:
        """Return what has been written since the last time, and empty the file."""
        for name, descriptor in (("stdout", 1), ("stderr", 2)):
            stream = getattr(sys, name, None)
            if _is_closed(stream):  # by the function, but the next one may want to print
                _reopen(name, descriptor, stream)
                continue
            try:
                stream.flush()  # type: ignore[union-attr]
            except (AttributeError, OSError, ValueError):
                continue  # the function has replaced it: what it wrote there is not ours to keep
        return take_file(self._descriptor)


class CopiedOutput:
    """Standard output and standard error of this process as before, and a copy of what Python writes there.

    For a process whose output is kept by its host as well: what the host has survives the process.
    """

    def __init__(self) -> None:
        self._copy = _Copy()
        self._error = sys.stderr
        sys.stdout = cast("TextIO", _Copied(sys.stdout, self._copy))
        sys.stderr = cast("TextIO", _Copied(sys.stderr, self._copy))

    def log(self, logger: logging.Logger) -> None:
        """Copy what is logged, too: the host's own handlers may write past the streams."""
        handlers = list(logger.handlers)
        if not handlers:
            handlers.append(logging.StreamHandler(self._error))
            handlers[0].setFormatter(logging.Formatter(_LINE))
        logger.handlers[:] = [_Logged(handlers, self._copy)]

    def take(self) -> bytes:
        """Return what has been written since the last time: the beginning and the end of it."""
        data = self._copy.take().encode("utf-8", "backslashreplace")
        if len(data) <= _MOST:
            return data
        half = _MOST // 2
        note = f"\n… {len(data) - 2 * half} bytes of output left out …\n".encode()
        return data[:half] + note + data[-half:]


class _Copy:
    """Text that is written by any thread: the beginning of it, and the end."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal's handler may write while its thread does
        self._quiet = threading.local()
        self._clear()

    def write(self, text: str) -> None:
        """Add some text, unless this thread is to be quiet."""
        if getattr(self._quiet, "now", False):
            return
        with self._lock:
            if self._beginning.tell() < _MOST:
                self._beginning.write(text[:_MOST])
                text = text[_MOST:]
            if text:
                self._end.append(text[-_MOST:])
                self._length += len(self._end[-1])
            while self._end and self._length - len(self._end[0]) > _MOST:
                self._length -= len(self._end.popleft())

    def take(self) -> str:
        """Return what is there, and forget it."""
        with self._lock:
            text = self._beginning.getvalue() + "".join(self._end)
            self._clear()
            return text

    @contextmanager
    def without(self) -> Iterator[None]:
        """Leave out what this thread writes in the block."""
        self._quiet.now = True
        try:
            yield
        finally:
            self._quiet.now = False

    def _clear(self) -> None:
        self._beginning = io.StringIO()
        self._end: deque[str] = deque()
        self._length = 0


class _Copied:
    """A text stream that also writes to a copy; whatever else is asked, the stream answers."""

    def __init__(self, stream: TextIO, copy: _Copy) -> None:
        self._stream = stream
        self._copy = copy

    def write(self, text: str) -> int:
        written = self._stream.write(text)
        self._copy.write(text)
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
            self._copy.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def _is_closed(stream: Any) -> bool:
    try:
        return bool(getattr(stream, "closed", False))
    except ValueError:  # it has been detached from what it wrote to
        return True


def _reopen(name: str, descriptor: int, closed: Any) -> None:
    """Put a new stream in the place of a closed one. Its descriptor is open: Python does not close that."""
    stream = open(  # noqa: SIM115
        descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
    setattr(sys, name, stream)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is closed:
            handler.stream = stream  # not by setStream, which would flush the closed one


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
    os.ftruncate(descriptor, 0)
    return text


def log_to_standard_error(level: int = logging.INFO) -> None:
    """Let everything that is logged be a line of standard error."""
    logging.basicConfig(level=level, format=_LINE, stream=sys.stderr)
