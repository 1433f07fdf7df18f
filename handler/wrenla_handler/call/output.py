"""What a function prints and logs: kept for its future."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO, cast

__all__ = ["CopiedOutput", "FileOutput", "log_to_standard_error"]

_MOST = 16 << 20
"""Bytes of one call's output that are kept: the beginning and the end of it."""


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
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):
                continue  # the function has closed or replaced it: what it wrote there is not ours to keep
        return take_file(self._descriptor)


class CopiedOutput:
    """Standard output and standard error of this process as before, and a copy of what Python writes there.

    For a process whose output is kept by its host as well: what the host has survives the process.
    """

    def __init__(self) -> None:
        self._copy = io.StringIO()
        sys.stdout = cast("TextIO", _Copied(sys.stdout, self._copy))
        sys.stderr = cast("TextIO", _Copied(sys.stderr, self._copy))

    def take(self) -> bytes:
        """Return what has been written since the last time: the beginning and the end of it."""
        text = self._copy.getvalue()
        self._copy.seek(0)
        self._copy.truncate()
        data = text.encode("utf-8", "backslashreplace")
        if len(data) <= _MOST:
            return data
        half = _MOST // 2
        note = f"\n… {len(data) - 2 * half} bytes of output left out …\n".encode()
        return data[:half] + note + data[-half:]


class _Copied:
    """A text stream that also writes to another one; whatever else is asked, the first one answers."""

    def __init__(self, stream: TextIO, copy: io.StringIO) -> None:
        self._stream = stream
        self._copy = copy

    def write(self, text: str) -> int:
        if self._copy.tell() < 2 * _MOST:
            self._copy.write(text)
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


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
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
