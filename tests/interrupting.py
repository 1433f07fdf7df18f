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
    """Press Ctrl-C each time when the main thread is in a function of this name, in its turn."""

    def inside(name: str) -> bool:
        frame = sys._current_frames()[threading.main_thread().ident]  # type: ignore[index]
        waits, found = frame.f_code.co_filename == threading.__file__, set()
        while frame is not None:
            if frame.f_code.co_filename != threading.__file__:
                found.add(frame.f_code.co_name)
            frame = frame.f_back  # type: ignore[assignment]
        return waits and name in found

    over = threading.Event()

    def press() -> None:
        for name in names:
            found = until(lambda name=name: over.is_set() or inside(name))  # type: ignore[misc]
            if over.is_set() or not found:  # a busy machine may miss a moment; it does not come again
                return
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    over.set()
    thread.join()
