"""The threads of a queue of calls: begun when they are needed, joined at the end, or left to themselves."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable

__all__ = ["Crew"]


class Crew:
    """Threads that all do the same. Its methods are called with the queue's lock held, but for `join`.

    Parameters
    ----------
    most : int
        Threads at a time, those that have been given up aside.
    work : callable
        What each of them does.
    name : str
        Of the threads.
    """

    def __init__(self, most: int, work: Callable[[], None], name: str) -> None:
        self.most = most
        self._work = work
        self._name = name
        self._working: set[threading.Thread] = set()
        self._ending: set[threading.Thread] = set()
        self._given_up: set[threading.Thread] = set()

    def __len__(self) -> int:
        return len(self._working)

    def hire(self) -> None:
        """Begin one more thread, if there are not enough."""
        if len(self._working) < self.most:
            thread = threading.Thread(target=self._work, name=f"{self._name}-lane", daemon=True)
            self._working.add(thread)
            thread.start()

    def leave(self) -> None:
        """Count the current thread out, which is about to end."""
        thread = threading.current_thread()
        if thread in self._working:
            self._working.remove(thread)
            self._ending.add(thread)
        self._given_up.discard(thread)

    def give_up(self, threads: Iterable[threading.Thread]) -> None:
        """Count threads out that may never end. Nobody waits for them; they `leave` when they can."""
        for thread in threads:
            if thread in self._working:
                self._working.remove(thread)
                self._given_up.add(thread)

    def has_given_up(self) -> bool:
        """Tell the current thread whether it has been given up."""
        return threading.current_thread() in self._given_up

    def join(self, timeout: float = math.inf) -> None:
        """Wait for all threads but those that have been given up, and the current one."""
        current, end = threading.current_thread(), time.monotonic() + timeout
        while time.monotonic() < end:
            there = [t for t in (*self._working, *self._ending) if t is not current and t.is_alive()]
            if not there:
                return
            there[0].join(timeout=0.5)  # it may be given up in the meantime
