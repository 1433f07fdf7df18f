"""Limit of open files of the emulator: a call takes about ten."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import time

from wrenla.emulator.api.http import response
from wrenla.emulator.api.responses import Refusal

__all__ = ["Spare", "allow_many", "too_many", "want_of_files"]


def allow_many() -> None:
    """Let this process have as many as it may give itself; functions have their own limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def want_of_files(error: BaseException) -> bool:
    """Tell whether something failed since too many are open."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


def too_many() -> Refusal:
    """Return what is answered then."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    message = (
        f"The emulator has {limit} files open, and may have no more: call fewer at a time, "
        "or raise ulimit -Hn"
    )
    return Refusal(500, "ServiceException", message)


class Spare:
    """A descriptor that is kept, so that when there is none left one can accept a connection, and say so."""

    def __init__(self) -> None:
        self._file: int | None = os.open(os.devnull, os.O_RDONLY)

    def refuse(self, listener: socket.socket) -> None:
        """Answer the next connection that there are too many files."""
        if self._file is None:
            time.sleep(0.05)  # another thread was faster; what it has may be free soon
        else:
            os.close(self._file)
            self._file = None
            with contextlib.suppress(OSError), listener.accept()[0] as connection:
                connection.settimeout(1)
                connection.recv(1 << 16)  # what is left unread would throw the answer away at the other side
                answer = too_many().answer()
                connection.sendall(response(answer.status, answer.headers, answer.body))
        with contextlib.suppress(OSError):
            self._file = os.open(os.devnull, os.O_RDONLY)

    def close(self) -> None:
        """Close it."""
        if self._file is not None:
            os.close(self._file)
