"""Threads for tile tasks. Nobody waits for those that an interrupted run has left in a user's function."""

from __future__ import annotations

import atexit
import contextlib
import queue
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

from wrenla_handler.threads import no_thread

__all__ = ["TileThreads"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_Work = queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]


class TileThreads:
    """A pool that differs from `ThreadPoolExecutor` in its end.

    The program waits at its end for what runs, as with the standard library's, but not for what was left
    behind. All threads begin at once: a Ctrl-C in `submit` would leave one that nobody ends.

    Parameters
    ----------
    count : int
    inside : threading.local
        Its `worker` is true in these threads.

    Raises
    ------
    ThreadLimitError
        The system has not so many threads for us. None is left.
    """

    def __init__(self, count: int, inside: threading.local) -> None:
        self._work: _Work = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._threads: list[_TileThread] = []
        try:
            for number in range(count):
                self._threads.append(_TileThread(f"wrenla_{number}", self._work, inside))
                self._threads[-1].start()
        except BaseException as error:
            self._threads = [thread for thread in self._threads if thread.ident is not None]
            self.shutdown()
            if isinstance(error, RuntimeError):
                raise no_thread(f"LocalExecutor(workers={count})", error) from error
            raise
        _open_pools.add(self)

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Call a function in one of the threads.

        Raises
        ------
        RuntimeError
            The pool has been shut down.
        """
        future: Future[_T] = Future()
        with self._lock:
            # With the lock held: what is put behind the None of `shutdown` may find no thread any more.
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._work.put((future, lambda: fn(*args, **kwargs)))
        return future

    def leave_behind(self) -> None:
        """Give up what runs now, and whatever waits for that: the end will not wait for them."""
        for thread in self._threads:
            thread.left = thread.busy

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads when all that was submitted has ended, or has been left behind."""
        with self._lock:
            self._closed = True
            if cancel_futures:
                with contextlib.suppress(queue.Empty):
                    while True:
                        work = self._work.get_nowait()
                        if work is not None:
                            work[0].cancel()
            self._work.put(None)
        if wait:
            for thread in self._threads:
                if not (thread.busy and thread.left) or _computes(thread):
                    thread.join()


class _TileThread(threading.Thread):
    """Thread of a pool, without a reference to pool or executor, so that both can be collected."""

    def __init__(self, name: str, work: _Work, inside: threading.local) -> None:
        super().__init__(name=name, daemon=True)
        self.busy = self.left = False
        self._work, self._inside = work, inside

    def run(self) -> None:
        self._inside.worker = True
        while (work := self._work.get()) is not None:
            # `leave_behind` is about what ran when it was called: the next task is waited for again.
            self.busy, self.left = True, False
            _carry_out(*work)
            del work  # or else it would live until there is more
            self.busy = False
        self._work.put(None)  # for the others


def _carry_out(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:
        future.set_exception(error)
        del future, call  # the error holds this frame: they would hold each other
    else:
        future.set_result(result)


def _computes(thread: threading.Thread) -> bool:
    """Tell whether a thread is in a kernel: that ends soon, and BLAS must not be taken away from under it."""
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and str(frame.f_globals.get("__name__")).startswith("wrenla_kernels")


_open_pools: weakref.WeakSet[TileThreads] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    for pool in list(_open_pools):
        pool.shutdown()
