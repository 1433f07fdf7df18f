"""Time limit: raise OutOfTime in the running function when its limit is reached (SIGALRM)."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["OutOfTime", "limited"]


_AGAIN = 0.2
"""Seconds after which a signal is sent again that may not have been seen."""


class OutOfTime(BaseException):
    """A function has reached its limit. No `Exception`: functions catch those."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the block when it has run for some seconds; 0: never.

    By a signal: so it works in a process's main thread only, elsewhere there is no limit, and code that never
    returns to Python is not interrupted. Whoever started the process has a limit of their own for that.
    """
    if not seconds or threading.current_thread() is not threading.main_thread():
        yield
        return
    over = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal over
        if not over:
            over = True  # once: the next one must not strike what the function clears up
            raise OutOfTime(f"still running after {seconds:g} s")

    before, (left, interval) = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    began = time.monotonic()
    try:  # from here, as a short limit strikes before the timer's call has returned to us
        # Another's timer must not meet our handler, nor ours none: that ends the process. Again and again:
        # Python sees a signal that comes right before it waits when the wait is over.
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        yield
    finally:
        try:
            over = True  # a signal that is on its way already must not strike outside the block
        finally:  # nor keep us from this if it strikes right here
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            if left:  # somebody else's
                left = max(1e-3, left - (time.monotonic() - began))
                signal.setitimer(signal.ITIMER_REAL, left, interval)
