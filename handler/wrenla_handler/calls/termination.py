"""SIGTERM in a worker process: end its call as `WorkerDied`, then the process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

__all__ = ["Listener", "ToldToEnd"]

_T = TypeVar("_T")


class ToldToEnd(SystemExit):
    """The process was told to end. Raised in a function, so that it can clear up."""


class Listener:
    """Listens to SIGTERM, and interrupts only what can be interrupted: a message must go out whole.

    Attributes
    ----------
    told : bool
        The process has been told to end.
    on_told : callable, optional
        Is called at once, from the signal's handler.
    """

    def __init__(self) -> None:
        self._masks = threading.local()
        self.told = False
        self.on_told: Callable[[], None] | None = None
        self._may_interrupt = False
        signal.signal(signal.SIGTERM, self._end)
        # A child that a function forks is a program like any other. What it is sent before it is one waits:
        # Python forgets the signals that a new child has caught.
        os.register_at_fork(
            before=self._hold_back, after_in_parent=self._let_through, after_in_child=self._end_as_others_do
        )

    def interruptible(self, do: Callable[..., _T], *arguments: Any) -> _T | None:
        """Call something; return None if the signal comes before it has returned."""
        try:
            # Inside of `try`: the signal may strike right after this line.
            self._may_interrupt = True
            if self.told:  # before the line above
                return None
            return do(*arguments)
        except ToldToEnd:
            return None
        finally:
            self._may_interrupt = False

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.told = True
        if self.on_told is not None:
            self.on_told()
        if self._may_interrupt:
            self._may_interrupt = False  # once: another one must not strike those who handle the first
            raise ToldToEnd("told to end")

    def _hold_back(self) -> None:
        self._masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def _let_through(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._masks.before)

    def _end_as_others_do(self) -> None:
        if signal.getsignal(signal.SIGTERM) == self._end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._let_through()
