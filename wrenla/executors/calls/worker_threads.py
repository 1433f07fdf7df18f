"""Worker threads of a dispatcher: started on demand, joined at the end, or abandoned."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from wrenla_handler.threads import no_thread

__all__ = ["WorkerThreads"]


class WorkerThreads:
    """Threads that all do the same. Its methods are called with the queue's lock held.

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
        """Begin one more thread, if there are not enough.

        Raises
        ------
        ThreadLimitError
            The system has no thread for us, and there is none that works.
        """
        if len(self._working) < self.most:
            thread = threading.Thread(target=self._work, name=f"{self._name}-channel", daemon=True)
            self._working.add(thread)
            try:
                thread.start()
            except RuntimeError as error:
                self._working.remove(thread)
                if not self._working:
                    raise no_thread("a thread for calls", error) from error

    def leave(self) -> None:
        """Count the current thread out, which has only to clear up before it is `gone`."""
        thread = threading.current_thread()
        if thread in self._working:
            self._working.remove(thread)
            self._ending.add(thread)
        self._given_up.discard(thread)

    def gone(self) -> None:
        """Forget the current thread, which ends now."""
        self._ending.discard(threading.current_thread())

    def give_up(self, threads: Iterable[threading.Thread]) -> None:
        """Count threads out that may never end. Nobody waits for them; they `leave` when they can."""
        for thread in threads:
            if thread in self._working:
                self._working.remove(thread)
                self._given_up.add(thread)

    def has_given_up(self) -> bool:
        """Tell the current thread whether it has been given up."""
        return threading.current_thread() in self._given_up

    def is_gone(self) -> bool:
        """Tell whether all threads have ended but those that were given up, and the current one.

        To wait for this on the queue's condition is better than to join them: a `Thread.join` that Ctrl-C
        interrupts takes a thread for ended that is not (Python 3.11).
        """
        return not ((self._working | self._ending) - {threading.current_thread()})
