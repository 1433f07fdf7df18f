"""Fork guard: end a forked child that returns from the user's function into our code."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from types import TracebackType

__all__ = ["ParentOnly"]


class ParentOnly:
    """A block that only the process which enters it leaves: in a child forked inside, the child ends there.

    Our loops are behind it. A child in them would answer in its parent's name, and then read what its parent
    is sent. It ends as a program does: with 0, with what it gave to `sys.exit`, or with a traceback and 1.
    """

    __slots__ = ("_process",)

    def __enter__(self) -> None:
        self._process = os.getpid()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._process:
            _end(error)


def _end(error: BaseException | None) -> None:
    """End this process without any clearing up: what it would clear up is its parent's."""
    code = 1
    try:
        code = _told(error)
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            with suppress(AttributeError, OSError, ValueError):  # closed, or replaced by something else
                stream.flush()  # type: ignore[union-attr]
    finally:
        # Not `sys.exit`: exit handlers and finalizers would remove files and end processes of the parent.
        os._exit(code)


def _told(error: BaseException | None) -> int:
    """Print why a process ends to standard error, and return its exit status."""
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        text = "".join(traceback.format_exception(error))
    elif error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    else:
        text = f"{error.code}\n"
    with suppress(AttributeError, OSError, ValueError):
        sys.__stderr__.write(text)  # type: ignore[union-attr]  # not what collects output: that ends with us
    return 1
