"""One worker process of a Dask cluster, as the driver sees it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Remote"]


@dataclass(slots=True, eq=False)
class Remote:
    """One worker process.

    Attributes
    ----------
    address : str
    facts : mapping
        What it has said of itself.
    threads : int
        Of Dask's that are ours to use.
    allowed : int
        Bytes of memory that tile tasks may use there.
    limit : int
        Bytes of memory that Dask allows it; 0: no limit.
    load : int
        Jobs that it has.
    silent : float
        Seconds for which it has work and has not answered, as far as somebody has looked.
    asked : bool
        It has been asked whether it is there, and has not answered yet.
    late : dict
        Takes answers to jobs that were given up before, by their names.
    left : bool
        It is not used any more.
    """

    address: str
    facts: Mapping[str, Any]
    threads: int
    allowed: int
    limit: int
    load: int = 0
    waiting: dict[str, Future[Any]] = field(default_factory=dict)
    silent: float = 0.0
    asked: bool = False
    late: dict[str, Callable[[Any], None]] = field(default_factory=dict)
    left: bool = False
    dropped: list[tuple[str, int, int, int]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def expect(self, job: str) -> Future[Any]:
        """Return a future of the answer to a job."""
        answer: Future[Any] = Future()
        with self._lock:
            self.waiting[job] = answer
        return answer

    def settle(self, job: str, answer: Any) -> None:
        """End a job by its answer, or by an error; what comes second is for `late` only."""
        with self._lock:
            waiting = self.waiting.pop(job, None)
            late = None if isinstance(answer, BaseException) else self.late.pop(job, None)
        if waiting is None:
            if late is not None:
                late(answer)
            return
        if isinstance(answer, BaseException):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)

    def fail(self, error: BaseException) -> None:
        """End all that it has to do by an error."""
        with self._lock:
            jobs = list(self.waiting)
        for job in jobs:
            self.settle(job, error)

    def drop(self, key: tuple[str, int, int, int]) -> None:
        """Note a tile that nobody will read again: the worker hears of it with the next tasks."""
        with self._lock:
            self.dropped.append(key)

    def take_dropped(self) -> list[tuple[str, int, int, int]]:
        """Return the tiles that it has not heard of that it can drop."""
        with self._lock:
            keys, self.dropped = self.dropped, []
        return keys
