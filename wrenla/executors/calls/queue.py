"""Queue of calls: admission, start, deadline and cancellation of a call that waits."""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

from wrenla.errors import Cancelled, NeverStarted
from wrenla.executors.calls.call import Call, Channel, Transport
from wrenla.executors.calls.future import Attempt, Future
from wrenla.executors.calls.stats import CallStatistics, Stats
from wrenla.executors.calls.timer import Timer, run_apart
from wrenla.executors.calls.worker_threads import WorkerThreads

__all__ = ["Queue"]


class Queue(ABC):
    """Calls that wait for a channel.

    Parameters
    ----------
    channels : int
        Calls that run at the same time.
    transport : Transport
    name : str
        What the calls' ids begin with.
    serve : callable
        What the thread of a channel does.
    """

    def __init__(self, channels: int, transport: Transport, name: str, serve: Callable[[], None]) -> None:
        self.transport = transport
        self.channels = channels
        self.process = os.getpid()
        self._name = name
        self._number = itertools.count(1)
        self._queue: deque[Call] = deque()
        self._forgotten: deque[Call] = deque()
        self._active: dict[Attempt, Call] = {}
        self._worker_threads = WorkerThreads(channels, serve, name)
        self._idle = 0
        self._closed = False
        self._cancelling = 0
        self._holds: set[Future[Any]] = set()
        self._changed = threading.Condition()
        self._timer = Timer()
        self._statistics = CallStatistics()
        self._counts = self._statistics.counts

    @abstractmethod
    def stop(self, calls: Container[Future[Any]] | None = None, *, grace: float = 1.0) -> None:
        """Cancel calls that wait, and end those that run."""

    def new_future(self) -> Future[Any]:
        """Return the future of a call to come."""
        return Future(f"{self._name}-{next(self._number):06d}", self)

    def submit(self, call: Call) -> None:
        """Put a call at the end of the queue. Raises RuntimeError after `shutdown`."""
        self.check_process()
        with self._changed:
            if self._closed and not call.held:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._queue.append(call)
            try:
                self._wake()
            except RuntimeError:  # there is no thread for it, and whoever asked is told so
                self._queue.remove(call)
                raise
            self._counts["submitted"] += 1
            if call.batch is not None:
                call.index = call.batch.submitted
                call.batch.submitted += 1
            if call.options.deadline is not None:
                waiting = weakref.ref(call)
                call.due = call.submitted + call.options.deadline
                call.alarm = self._timer.at(call.due, lambda: self._deadline(waiting()))

    @property
    def forked(self) -> bool:
        """This is a fork of the process that made us: nothing of it runs here."""
        return os.getpid() != self.process

    def check_process(self) -> None:
        """Refuse a fork of the process that made us: our threads are not there, and a lock may be held."""
        if self.forked:
            raise RuntimeError("this executor belongs to the process that forked this one: make another one")

    def check_open(self) -> None:
        """Refuse whoever comes after `shutdown`, or from a fork."""
        self.check_process()
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def hold(self, until: Future[Any]) -> None:
        """Let calls in after `shutdown` that are marked as `held`, until some future has ended."""
        with self._changed:
            self._holds.add(until)
        until.add_done_callback(self._let_go)

    def _let_go(self, future: Any) -> None:
        with self._changed:
            self._holds.discard(future)
            self._changed.notify_all()

    def stats(self) -> Stats:
        """Return what has happened so far."""
        self.check_process()
        with self._changed:
            return self._statistics.stats(self._queue, self._active.values(), len(self._worker_threads))

    # from the queue to a channel

    def _starts(self, call: Call) -> bool:
        """Tell whether a call from the queue begins: not if it was cancelled there."""
        if call.begun or call.future.set_running_or_notify_cancel():
            call.begun = True
            return True
        self._counts["cancelled"] += 1
        call.ended = True
        self._forgotten.append(call)
        return False

    def _ahead(self, call: Call, channel: Channel) -> Iterator[Call]:
        """Yield calls to hand out together with one, if there are more than enough for all channels."""
        if call.batch is None or not self._queue:
            return
        for _ in range(min(channel.appetite(call), len(self._queue) // (2 * self._worker_threads.most))):
            if self._queue[0].batch is not call.batch or self._queue[0].begun or self._queue[0].ended:
                return
            more = self._queue.popleft()
            if self._starts(more):
                yield more

    def _wake(self) -> None:
        """Let a channel take a call: an idle one, or a new one."""
        if self._idle:
            self._changed.notify()
        if self._idle < len(self._queue):
            self._worker_threads.hire()

    def _replace(self) -> None:
        """Let others carry out what is waiting; if the system has no thread for us, nobody ever will."""
        stranded: list[Call] = []
        with self._changed:
            if self._queue:
                try:
                    self._wake()
                except RuntimeError as error:
                    stranded = [call for call in self._queue if not call.ended]
                    self._queue.clear()
                    why = f"no worker can be started: {error}"
            for call in stranded:
                call.ended = True
                self._counts["failed"] += 1
        for call in stranded:
            if call.begun or call.future.set_running_or_notify_cancel():
                call.future.set_exception(NeverStarted(f"{call.label}: {why}"))
            self._release(call)

    # the end of a call that waits

    def _deadline(self, call: Call | None) -> None:
        """End a call that is still waiting at its deadline."""
        with self._changed:
            if call is None or call.ended or call.running:
                return
            begun, cancelled = call.begun, not self._starts(call)
            call.ended = True  # whoever takes it from the queue will leave it
            self._counts["failed"] += not cancelled
        if cancelled:
            return
        self._release(call)
        run_apart(call.future.set_exception, call.late() if begun else call.never_started())

    def _cancel(self, calls: Sequence[Call]) -> None:
        """End calls that have been taken out of the queue, all of them before anything is freed."""
        try:
            with self._changed:
                mine = [call for call in calls if not call.ended]  # at their deadline
                for call in mine:
                    call.ended = True
                self._counts["cancelled"] += len(mine)
            for call in mine:
                if call.future.cancel():
                    call.future.set_running_or_notify_cancel()
                else:  # it was about to be tried again
                    told = Cancelled(f"{call.label}: told to stop before it was tried again")
                    call.future.set_exception(told)
            for call in mine:
                self._release(call)
        finally:
            with self._changed:
                self._cancelling -= 1
        self._finish()

    def _release(self, call: Call) -> None:
        release, call.release = call.release, None
        call.function = call.arguments = None
        self._timer.drop(call.alarm)
        if release is not None:
            release()

    def _finish(self) -> None:
        """Free what is shared, when there are no more channels."""
        with self._changed:
            if not self._closed or self._cancelling or self._queue or len(self._worker_threads):
                return
        self._timer.close()
        self.transport.close()
