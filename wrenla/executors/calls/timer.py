"""Timer: one thread that runs callbacks when they are due; it exists while there are any."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Alarm", "Timer", "run_apart"]

logger = logging.getLogger("wrenla.calls")

_LINGER = 1.0
"""Seconds after which a thread without anything to wait for ends."""

_LONGEST = 3600.0
"""Seconds that are waited at a time: a lock takes no more than some centuries."""

_DROPPED = 64
"""Alarms that are kept though nobody needs them, until they are most of all."""


class Alarm:
    """Something to be done at a time, unless it is dropped before."""

    __slots__ = ("do",)

    def __init__(self, do: Callable[[], None]) -> None:
        self.do: Callable[[], None] | None = do


class Timer:
    """Calls functions at times of `time.monotonic`. They should be quick."""

    def __init__(self) -> None:
        self._times: list[tuple[float, int, Alarm]] = []
        self._number = itertools.count()
        self._dropped = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def at(self, when: float, do: Callable[[], None]) -> Alarm:
        """Call `do` at a time."""
        alarm = Alarm(do)
        with self._changed:
            if self._closed:
                return alarm
            heapq.heappush(self._times, (when, next(self._number), alarm))
            if self._thread is None:
                self._begin()
            elif self._times[0][0] == when:
                self._changed.notify()
        return alarm

    def drop(self, alarm: Alarm | None) -> None:
        """Do nothing at the time of an alarm."""
        if alarm is None:
            return
        with self._changed:
            if alarm.do is None:
                return
            alarm.do = None
            self._dropped += 1
            if self._dropped == len(self._times):
                self._times, self._dropped = [], 0
                self._changed.notify()  # the thread has nothing to wait for
            elif self._dropped > max(_DROPPED, len(self._times) // 2):
                self._times = [entry for entry in self._times if entry[2].do is not None]
                heapq.heapify(self._times)
                self._dropped = 0

    def close(self) -> None:
        """Forget what is to be done, and end the thread."""
        with self._changed:
            self._closed = True
            self._times, self._dropped = [], 0
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)

    def _begin(self) -> None:
        thread = threading.Thread(target=self._run, name="wrenla-clock", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread for us: who comes next may have more luck
            logger.warning("deadlines are not kept for now: %s", error)
        else:
            self._thread = thread

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._times and not self._closed:
                    self._changed.wait(_LINGER)
                if not self._times or self._closed:
                    self._thread = None
                    return
                when, _, alarm = self._times[0]
                left = when - time.monotonic()
                if left > 0:
                    self._changed.wait(min(left, _LONGEST))
                    continue
                heapq.heappop(self._times)
                do, alarm.do = alarm.do, None
                self._dropped -= do is None
            if do is not None:
                try:
                    do()
                except Exception:  # ours; the others' deadlines are kept all the same
                    logger.exception("at a deadline")


def run_apart(do: Callable[..., None], *arguments: Any) -> None:
    """Do what may take long, such as a user's callbacks, in a thread of its own: the clock goes on."""
    thread = threading.Thread(target=do, args=arguments, name="wrenla-late", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no thread is to be had, and what is to be done has to be done
        do(*arguments)
