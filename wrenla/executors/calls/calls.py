"""Dispatcher of calls: the threads of the channels, attempts, retries, and the end of a call.

::

    caller's thread          a worker thread, one for each channel          worker process or function
    ───────────────          ─────────────────────────────────────          ──────────────────────────
    Submitter → Queue ─────→ _take → _begin → Channel.perform ── Request ──→ Runner → user's function
                  ↑                                   │                          │
                  └── again, if attempts_left ── _ended ←────── Outcome ←──── Response
                                                      │
    Future.result() ←──────────── set_result ── _resolve

A `Transport` makes channels and what they send. Calls also end from outside of their thread: a `Timer` ends
those that are late, `stop` those that are cancelled. `call.ended` is set under the lock by whoever ends a
call, and only by the first: everybody else who comes later frees what they hold and says nothing.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections import deque
from collections.abc import Container, Iterable
from typing import Any

from wrenla.errors import Cancelled
from wrenla.executors.calls.call import (
    LOOK,
    Call,
    Channel,
    Outcome,
    StragglerDetector,
    Transport,
    Work,
    attempts_left,
)
from wrenla.executors.calls.future import Attempt, Future
from wrenla.executors.calls.live_output import Showing, mode_of
from wrenla.executors.calls.queue import Queue
from wrenla.executors.calls.stats import ending_of
from wrenla.executors.calls.timer import run_apart
from wrenla.executors.map_api.failed_inputs import note_inputs

__all__ = ["Calls"]

logger = logging.getLogger("wrenla.calls")


class Calls(Queue):
    """Carries calls out, at most so many at a time, and ends every one of them.

    Each channel is a thread with a worker of its own; it takes the next call when it is done with one.
    Channels are made when they are needed, and end with `shutdown`.

    Parameters
    ----------
    channels : int
        Calls that run at the same time.
    transport : Transport
    name : str
        What the calls' ids begin with.
    """

    def __init__(self, channels: int, transport: Transport, name: str) -> None:
        super().__init__(channels, transport, name, self._serve)
        self._stragglers = StragglerDetector()
        self._showing = transport.showing = Showing(channels, self._is_alone)
        self._watchers = 0

    def stop(self, calls: Container[Future[Any]] | None = None, *, grace: float = 1.0) -> None:
        """Cancel waiting calls, tell running ones to end, and end their workers if they do not.

        Parameters
        ----------
        calls : container of Future, optional
            Only these.
        grace : float
            Seconds that running functions have to clear up.
        """
        if self.forked:
            return
        with self._changed:
            mine = [call for call in self._queue if calls is None or call.future in calls]
            self._queue = deque(call for call in self._queue if not (calls is None or call.future in calls))
            stopped = [
                (attempt, call, call.running[attempt])
                for attempt, call in self._active.items()
                if (calls is None or call.future in calls) and not call.ended
            ]
            for _, call, _ in stopped:
                call.ended = True
            self._cancelling += 1
        self._cancel(mine)
        for attempt, _, channel in stopped:
            channel.stop(attempt, gently=True)
        # a call may have a copy
        for attempt, call in {call: (attempt, call) for attempt, call, _ in reversed(stopped)}.values():
            self._resolve(call, attempt, Outcome(error=Cancelled(f"{call.label}: told to stop while it ran")))
        try:
            with self._changed:
                self._watchers += 1
                self._changed.wait_for(
                    lambda: self._active.keys().isdisjoint(a for a, _, _ in stopped), grace
                )
        finally:  # a second Ctrl-C ends the patience
            with self._changed:
                self._watchers -= 1
                left = [(attempt, channel) for attempt, _, channel in stopped if attempt in self._active]
            for attempt, channel in left:
                channel.stop(attempt, gently=False)
            self._give_up(attempt for attempt, _ in left)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. With `wait`, return when those that were submitted have ended."""
        if self.forked:
            return
        with self._changed:
            self._closed = True
            cancelled = list(self._queue) if cancel_futures else []
            if cancel_futures:
                self._queue.clear()
            self._cancelling += 1
            self._changed.notify_all()
        self._cancel(cancelled)
        self.transport.ending()
        self._finish()
        if not wait:
            return
        try:
            self._wait(None)
        except KeyboardInterrupt:
            self.stop()
            self._wait(2.0)
            raise

    def _is_alone(self) -> bool:
        """Tell whether at most one call is under way."""
        return len(self._active) + len(self._queue) <= 1

    def _wait(self, timeout: float | None) -> None:
        with self._changed:
            self._changed.wait_for(self._worker_threads.is_gone, timeout)

    # one channel

    def _serve(self) -> None:
        channel = self.transport.channel()
        try:
            while self._carry_out(channel):
                pass
        finally:
            channel.close()
            with self._changed:
                self._worker_threads.leave()
                self._changed.notify_all()
            self._replace()
            self._finish()
            with self._changed:
                self._worker_threads.gone()
                self._changed.notify_all()

    def _carry_out(self, channel: Channel) -> bool:
        """Carry out the next calls; return False if there will be no more.

        Results belong to whoever asked for them: nothing refers to a call any more when it has ended.
        """
        work = self._take(channel)
        if work is None:
            return False
        left = dict(work)
        outcomes = channel.perform(work)
        del work
        try:
            for call, attempt, outcome in outcomes:
                del left[call]
                if outcome is None:
                    self._undone(call, attempt)
                else:
                    self._ended(call, attempt, outcome)
                del call, attempt, outcome
        except Exception as error:  # ours, not the function's: calls must end all the same
            logger.exception("a channel of %s", self._name)
            for call, attempt in left.items():
                self._ended(call, attempt, Outcome(error=error))
        return True

    def _take(self, channel: Channel) -> list[Work] | None:
        """Wait for calls and begin attempts at them; None if there will be no more."""
        while True:
            while self._forgotten:
                self._release(self._forgotten.popleft())  # which may take a request to a store
            with self._changed:
                if self._worker_threads.has_given_up():
                    return None
                if self._queue:
                    call = self._queue.popleft()
                    if call.ended or not self._starts(call):
                        continue
                    work = [(call, self._begin(call, channel, copy=False))]
                    return work + [
                        (more, self._begin(more, channel, copy=False)) for more in self._ahead(call, channel)
                    ]
                if self._closed and not (self._active or self._holds):
                    self._changed.notify_all()
                    return None
                straggler, may_come = self._stragglers.look(self._active)
                if straggler is not None:
                    if not self._idle:
                        self._worker_threads.hire()  # somebody else looks from now on
                    return [(straggler, self._begin(straggler, channel, copy=True))]
                if not self.transport.keeps_channels and (self._idle or not may_come):
                    return None
                self._idle += 1
                try:
                    self._changed.wait(LOOK if may_come else None)
                finally:
                    self._idle -= 1

    def _begin(self, call: Call, channel: Channel, *, copy: bool) -> Attempt:
        now = time.monotonic()
        attempt = self._statistics.attempt_begins(call, now, copy=copy)
        call.running[attempt] = channel
        self._active[attempt] = call
        if not self.transport.keeps_limits and (limit := call.limit(now)) is not None:
            late = weakref.ref(attempt)
            call.limits[attempt] = self._timer.at(now + limit, lambda: self._timed_out(late()))
        return attempt

    def _ended(self, call: Call, attempt: Attempt, outcome: Outcome) -> None:
        """See what an attempt has come to, and whether the call ends with it."""
        lost = attempt.ending == "superseded" or (attempt.copy and call.ended)
        self._showing.end(call, attempt, outcome.logs, lost=lost)
        with self._changed:
            self._active.pop(attempt, None)  # an abandoned one is not there any more
            self._timer.drop(call.limits.pop(attempt, None))
            del call.running[attempt]
            if self._watchers or self._closed:
                self._changed.notify_all()
            self._statistics.attempt_ended(call, attempt, outcome)
            again = False
            if call.ended:
                attempt.ending = attempt.ending or "superseded"
            elif outcome.error is not None and call.running:
                attempt.ending = ending_of(outcome)  # its copy is still at work
                call.may_be_copied = attempts_left(call, outcome) > 1
                return
            elif outcome.error is not None and attempts_left(call, outcome):
                attempt.ending = ending_of(outcome)
                again = True
                self._counts["retries"] += 1
                self._queue.appendleft(call)
                self._wake()
            superseded = call.ended
            if not again:
                call.ended = True
            others = [] if superseded or again else list(call.running.items())
        if again:
            logger.info("%s: %s: %r: again", call.future.id, call.label, outcome.error)
        if superseded or again:
            if outcome.discard is not None:
                outcome.discard()
            if superseded and not call.running:
                self._release(call)
            return
        for other, channel in others:
            other.ending = "superseded"
            channel.stop(other, gently=False)
        self._resolve(call, attempt, outcome)
        self._give_up(other for other, _ in others)

    def _undone(self, call: Call, attempt: Attempt) -> None:
        """Take an attempt back that has not begun."""
        with self._changed:
            self._active.pop(attempt, None)
            self._timer.drop(call.limits.pop(attempt, None))
            del call.running[attempt]
            self._statistics.attempt_undone(call, attempt)
            if self._watchers or self._closed:
                self._changed.notify_all()
            if not call.ended:
                call.begun = bool(call.future.attempts)
                if not call.begun:
                    call.future._wait_again()
                self._queue.appendleft(call)
                self._wake()
                return
        self._release(call)

    def _resolve(self, call: Call, attempt: Attempt, outcome: Outcome) -> None:
        """End a call."""
        note_inputs(call, outcome, self.transport)
        with self._changed:
            self._statistics.call_ended(call, attempt, outcome)
        if not call.running:
            self._release(call)
        if outcome.logs:
            level = logging.INFO if mode_of(call) == "quiet" else logging.DEBUG  # not twice
            logger.log(level, "%s: %s printed:\n%s", call.future.id, call.label, call.future.logs.rstrip())
        if outcome.error is not None:
            call.future.set_exception(outcome.error)
        else:
            call.future.set_result(outcome.value)

    # what ends a call from outside its channel

    def _timed_out(self, attempt: Attempt | None) -> None:
        """Give up an attempt that cannot be ended, and its thread."""
        with self._changed:
            call = None if attempt is None else self._active.get(attempt)
            if attempt is None or call is None or call.ended:
                return
            call.ended = True
            channel = call.running[attempt]
        attempt.ending = "TimedOut"
        channel.stop(attempt, gently=True)
        attempt.seconds = time.monotonic() - attempt.started
        self._give_up([attempt])
        run_apart(self._resolve, call, attempt, Outcome(error=call.late()))

    def _give_up(self, attempts: Iterable[Attempt]) -> None:
        """Leave attempts to themselves that cannot be ended, with their threads."""
        if self.transport.keeps_limits:
            return
        with self._changed:
            mine = [attempt for attempt in attempts if attempt in self._active]
            channels = [self._active.pop(attempt).running[attempt] for attempt in mine]
            self._worker_threads.give_up(channel.thread for channel in channels)
            self._changed.notify_all()
        self._replace()
