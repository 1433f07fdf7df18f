"""Process state (timers, signals, folder, umask, limits): saved before a call and restored after it."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading

# not signal.getsignal, which makes an enum of each: a tenth of the time of a call that does nothing
from _signal import getsignal  # type: ignore[import-not-found]
from typing import Any

__all__ = ["Surroundings"]

_SIGNALS = tuple(map(int, sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})))

_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)

_LIMITS = (
    *(resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_STACK),
    *(resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC),
)
"""What bounds time, memory, files and processes; the system ends or refuses whoever goes beyond it."""

_TRIES = 5


class Surroundings:
    """Timers, handlers and mask of signals, the working directory, the umask and soft limits of this process.

    As they are when this is made: in the main thread, which alone has signals; elsewhere nothing is put back.
    Environment variables, modules and globals are the functions' own business.
    """

    def __init__(self) -> None:
        self._known = threading.current_thread() is threading.main_thread()
        if not self._known:
            return
        self._timers = [timer for timer in _TIMERS if not signal.getitimer(timer)[0]]
        self._handlers = tuple(map(getsignal, _SIGNALS))
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._folder = _folder()
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._limits = [resource.getrlimit(limit)[0] for limit in _LIMITS]

    def restore(self) -> bool:
        """Put back what a call has changed. Returns False if some of it cannot be: this process is spoilt."""
        if not self._known or threading.current_thread() is not threading.main_thread():
            return True
        for _ in range(_TRIES):
            try:
                self._restore_signals()
                return self._restore_others()
            except BaseException:  # a handler that the function has left strikes right here: no second time
                continue
        return False

    def _restore_signals(self) -> None:
        # Timers first: else an alarm of the function meets the handler from before, or ends the process.
        for timer in self._timers:
            signal.setitimer(timer, 0)
        if (now := tuple(map(getsignal, _SIGNALS))) != self._handlers:
            for number, before, after in zip(_SIGNALS, self._handlers, now, strict=True):
                if before is not after and before is not None:  # None: not Python's
                    signal.signal(number, before)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        if mask != self._mask:
            # what waits was meant for the call that has ended; but who tells us to end means it still
            while waiting := (signal.sigpending() & mask) - self._mask - {signal.SIGTERM}:
                signal.sigtimedwait(waiting, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _restore_others(self) -> bool:
        os.umask(self._umask)
        return self._restore_folder() and all(map(_restore_limit, _LIMITS, self._limits))

    def _restore_folder(self) -> bool:
        if _folder() != self._folder:
            try:
                os.chdir(self._folder)
            except OSError:
                return False
        return True


def _folder() -> str:
    """Return the working directory, "" if it has been removed."""
    with contextlib.suppress(OSError):
        return os.getcwd()
    return ""


def _restore_limit(limit: int, before: Any) -> bool:
    soft, hard = resource.getrlimit(limit)
    if soft != before:
        try:
            resource.setrlimit(limit, (before, hard))
        except (OSError, ValueError):  # the hard one has been lowered as well, for good
            return False
    return True
