"""Ctrl-C at a certain moment, in the process of the tests."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.waiting import until


@contextmanager
def interrupts(*names: str) -> Iterator[None]:
    """Press Ctrl-C each time when the main thread waits in a function of this name, in its turn."""

    def waiting() -> list[str]:
        """Return the functions that the main thread is in if it waits, but for those of `threading`."""
        frame = sys._current_frames()[threading.main_thread().ident]  # type: ignore[index]
        # not in a wait for a lock, on the way there: in one that knows what Ctrl-C means
        waits = (frame.f_code.co_filename, frame.f_code.co_name) == (threading.__file__, "wait")
        found = []
        while frame is not None and waits:
            if frame.f_code.co_filename != threading.__file__:
                found.append(frame.f_code.co_name)
            frame = frame.f_back  # type: ignore[assignment]
        return found

    over = threading.Event()

    def press() -> None:
        for name in names:
            found = until(lambda name=name: over.is_set() or name in waiting())  # type: ignore[misc]
            if over.is_set() or not found:  # a busy machine may miss a moment; it does not come again
                return
            where = waiting()
            os.kill(os.getpid(), signal.SIGINT)
            # A signal that comes between Python's look for signals and the system's wait is not seen before
            # the wait is over: whoever sits there presses again.
            while where and not until(lambda: over.is_set() or waiting() != where, 2.0):  # noqa: B023
                os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    over.set()
    thread.join()
