"""What ends executors that nobody ends: their last user is gone, or the program is over."""

from __future__ import annotations

import atexit
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

from wrenla.executors.calls import Calls
from wrenla_handler.worker import Worker

__all__ = ["ended_at_exit", "let_go"]

_open_calls: weakref.WeakSet[Calls] = weakref.WeakSet()
"""Calls that may be under way: the threads that carry them out hold them."""


def let_go(calls: Calls, home: Worker, pool: ThreadPoolExecutor | None = None) -> None:
    """End an executor that nobody uses any more, when its calls have ended, and without waiting for them."""
    calls.shutdown(wait=False)
    if pool is not None:
        pool.shutdown(wait=False)
    home.close()


def ended_at_exit(calls: Calls) -> None:
    """Let calls end before the program does, unless it ends by Ctrl-C."""
    _open_calls.add(calls)


@atexit.register
def _end_all() -> None:
    interrupted = issubclass(getattr(sys, "last_type", None) or Exception, KeyboardInterrupt)
    for calls in list(_open_calls):
        if calls.forked:
            continue  # they are the business of the process that forked this one
        if interrupted:
            calls.stop()
        calls.shutdown(wait=True)
