"""One thread that does things when their time has come; it exists while there is something to wait for."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Clock", "apart"]

_LINGER = 1.0
"""Seconds after which a thread without anything to wait for ends."""


class Clock:
    """Calls functions at times of `time.monotonic`. They should be quick."""

    def __init__(self) -> None:
        self._times: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Call `do` at a time."""
        with self._changed:
            if self._closed:
                return
            heapq.heappush(self._times, (when, next(self._number), do))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="wrenla-clock", daemon=True)
                self._thread.start()
            elif self._times[0][0] == when:
                self._changed.notify()

    def close(self) -> None:
        """Forget what is to be done, and end the thread."""
        with self._changed:
            self._closed = True
            self._times.clear()
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._times and not self._closed:
                    self._changed.wait(_LINGER)
                if not self._times or self._closed:
                    self._thread = None
                    return
                when, _, do = self._times[0]
                left = when - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                    continue
                heapq.heappop(self._times)
            do()


def apart(do: Callable[..., None], *arguments: Any) -> None:
    """Do what may take long, such as a user's callbacks, in a thread of its own: the clock goes on."""
    threading.Thread(target=do, args=arguments, name="wrenla-late", daemon=True).start()
