"""Ctrl-C that is never lost."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ContextDecorator, contextmanager
from types import FrameType
from typing import Any, Self

__all__ = ["Interrupts", "held_back"]

_PATIENCE = 0.5
"""Seconds until a look whether an interrupt has arrived."""


class Interrupts(ContextDecorator):
    """Raise KeyboardInterrupt at Ctrl-C, and again as long as nobody has noticed.

    Python drops an exception that is raised in a finalizer or in the callback of a weak reference, of which
    an import has many; the command would go on to its end. So there is a second look, by a timer, in the
    main thread: where the interrupt was noticed, that is in a handler of it, or has left the block.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._hook: Any = None

    def __enter__(self) -> Self:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # nobody else's
            self._take(signal.SIGINT, self._interrupt)
            self._hook, sys.unraisablehook = sys.unraisablehook, self._dropped
        return self

    def __exit__(self, *_: object) -> None:
        if signal.SIGALRM in self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._hook is not None:
            sys.unraisablehook = self._hook
        # After an interrupt inside of a text that was executed, as dataclasses are made, `python -m` ends by
        # the signal, whatever the exit code: CPython notes that there was one, until it evaluates another.
        eval("0")

    def _take(self, number: signal.Signals, handler: Any) -> None:
        self._before.setdefault(number, signal.signal(number, handler))

    def _interrupt(self, *_: object) -> None:
        self._take(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE, _PATIENCE)
        raise KeyboardInterrupt

    def _dropped(self, found: Any) -> None:
        if not issubclass(found.exc_type, KeyboardInterrupt):  # which comes again, so nobody need be told
            self._hook(found)

    def _look(self, _: int, __: FrameType | None) -> None:
        error = sys.exception()  # that of a handler which the main thread is in
        while error is not None and not isinstance(error, KeyboardInterrupt):
            error = error.__context__
        if error is None:
            raise KeyboardInterrupt
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold Ctrl-C back until the end of the block, unless it comes twice.

    Processes that are started in it never get one: a terminal sends it to all, and this one ends them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = []

    def note(*_: object) -> None:
        came.append(True)
        if len(came) > 1:
            raise KeyboardInterrupt

    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # or else the first process does that, and lets go of the mask
    before = signal.signal(signal.SIGINT, note)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # which threads and processes inherit
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)
