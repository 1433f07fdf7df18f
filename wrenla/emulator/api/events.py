"""Asynchronous calls: a queue, and retries."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from wrenla.emulator.api.responses import Refusal
from wrenla.emulator.faults import Faults
from wrenla.emulator.isolation.open_files import want_of_files
from wrenla.emulator.metrics import Counts
from wrenla.emulator.runtime.environment import Call
from wrenla.emulator.runtime.functions import Function
from wrenla.emulator.runtime.pool import Pool, ScratchSpace

__all__ = ["Events"]

_THREADS = 256


@dataclass(order=True)
class _Waiting:
    due: float
    number: int
    function: Function = field(compare=False)
    call: Call = field(compare=False)
    queued: float = field(compare=False)
    failures: int = field(compare=False, default=0)
    back_off: float = field(compare=False, default=0.05)


class Events:
    """Runs calls of type Event: again when they fail, later when they are throttled.

    Parameters
    ----------
    pool : Pool
    faults : Faults
    counts : Counts
    retry_after : tuple of float
        Seconds before the first, the second, … retry.
    """

    def __init__(self, pool: Pool, faults: Faults, counts: Counts, retry_after: tuple[float, ...]) -> None:
        self._pool = pool
        self._faults = faults
        self._counts = counts
        self._retry_after = retry_after
        self._waiting: list[_Waiting] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._over = False
        self._threads = ThreadPoolExecutor(_THREADS, "wrenla-emulator-event")
        self._dispatcher = threading.Thread(target=self._dispatch, name="wrenla-emulator-events", daemon=True)
        self._dispatcher.start()

    def put(self, function: Function, call: Call) -> None:
        """Queue a call."""
        now = time.monotonic()
        self._push(_Waiting(now, next(self._numbers), function, call, now))

    def close(self) -> None:
        """Forget what is waiting, and wait for what is running."""
        with self._changed:
            self._over = True
            self._changed.notify()
        self._dispatcher.join()
        self._threads.shutdown()

    def _push(self, waiting: _Waiting) -> None:
        with self._changed:
            heapq.heappush(self._waiting, waiting)
            self._changed.notify()

    def _dispatch(self) -> None:
        while True:
            with self._changed:
                while not self._over:
                    left = self._waiting[0].due - time.monotonic() if self._waiting else None
                    if left is not None and left <= 0:
                        break
                    self._changed.wait(left)
                if self._over:
                    return
                waiting = heapq.heappop(self._waiting)
            self._begin(waiting)

    def _begin(self, waiting: _Waiting) -> None:
        function = waiting.function
        if function.deleted or time.monotonic() - waiting.queued > function.oldest:
            self._counts.add("events_dropped")
            return
        try:
            place = self._pool.admit(function)
        except Refusal:
            self._postpone(waiting)
            return
        self._threads.submit(self._run, waiting, place)

    def _postpone(self, waiting: _Waiting) -> None:
        waiting.due = time.monotonic() + waiting.back_off
        waiting.back_off = min(1.0, 2 * waiting.back_off)
        self._push(waiting)

    def _run(self, waiting: _Waiting, place: ScratchSpace) -> None:
        fault = self._faults.next()
        if fault is not None:
            self._counts.add("faults")
        try:
            failed = self._pool.run(waiting.function, waiting.call, place, fault).ending.failed
        except Refusal:
            return  # the emulator is being closed
        except OSError as error:
            if not want_of_files(error):
                raise
            self._postpone(waiting)
            return
        if not failed:
            return
        if waiting.failures >= waiting.function.retries:
            self._counts.add("events_failed")
            return
        waiting.due = time.monotonic() + self._retry_after[min(waiting.failures, len(self._retry_after) - 1)]
        waiting.failures += 1
        self._push(waiting)
