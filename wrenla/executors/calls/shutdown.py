"""Shutdown of executors that were never closed: on garbage collection and at interpreter exit."""

from __future__ import annotations

import atexit
import sys
import threading
import weakref

from wrenla.executors.calls.dispatcher import Dispatcher
from wrenla.executors.local.tile_threads import TileThreads
from wrenla_handler.tiles.worker import Worker

__all__ = ["ended_at_exit", "let_go"]

_open_calls: weakref.WeakSet[Dispatcher] = weakref.WeakSet()
"""Calls that may be under way: the threads that carry them out hold them."""


def let_go(calls: Dispatcher, home: Worker, tiles: TileThreads | Dispatcher | None = None) -> None:
    """End an executor that nobody uses any more, when its calls have ended, and without waiting for them."""
    calls.shutdown(wait=False)
    if tiles is not None:
        tiles.shutdown(wait=False)
    home.close()


def ended_at_exit(calls: Dispatcher) -> None:
    """Let calls end before the program does, unless it ends by Ctrl-C."""
    _open_calls.add(calls)


def _mine() -> list[Dispatcher]:
    """Return those that are open; of a fork, its parent's are not."""
    return [calls for calls in list(_open_calls) if not calls.forked]


def _was_interrupted() -> bool:
    return issubclass(getattr(sys, "last_type", None) or Exception, KeyboardInterrupt)


def _stop_if_interrupted() -> None:
    if _was_interrupted():
        for calls in _mine():
            calls.stop()


# Before Python waits for other threads: they may wait for calls. The thread pools of the standard library
# are ended from there, too.
threading._register_atexit(_stop_if_interrupted)  # type: ignore[attr-defined]


@atexit.register
def _end_all() -> None:
    _stop_if_interrupted()
    for calls in _mine():
        calls.shutdown(wait=True)
