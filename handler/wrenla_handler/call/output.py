"""What a function prints and logs: kept for its future."""

from __future__ import annotations

import logging
import os
import sys

__all__ = ["FileOutput", "log_to_standard_error"]

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
