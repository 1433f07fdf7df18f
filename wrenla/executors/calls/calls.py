"""The queue of calls, the lanes that carry them out, and what follows when an attempt ends."""

from __future__ import annotations

import logging
import time
import weakref
from collections import deque
from collections.abc import Container, Iterable
from typing import Any

from wrenla.errors import Cancelled
from wrenla.executors.calls.call import LOOK, Call, Carrier, Lane, Lookout, Outcome, Work, attempts_left
from wrenla.executors.calls.timer import apart
from wrenla.executors.calls.future import Attempt, Future
from wrenla.executors.calls.stats import ending_of
from wrenla.executors.calls.queue import Queue
from wrenla.executors.calls.showing import Showing, mode_of
from wrenla.executors.map_api.failed_inputs import note_inputs

__all__ = ["Calls"]

logger = logging.getLogger("wrenla.calls")


class Calls(Queue):
    """Carries calls out, at most so many at a time, and ends every one of them.

    Each lane is a thread with a worker of its own; it takes the next call when it is done with one. Lanes are
    made when they are needed, and end with `shutdown`.

    Parameters
    ----------
    lanes : int
        Calls that run at the same time.
    carrier : Carrier
    name : str
        What the calls' ids begin with.
    """

    def __init__(self, lanes: int, carrier: Carrier, name: str) -> None:
        super().__init__(lanes, carrier, name, self._serve)
        self._lookout = Lookout()
        self._showing = carrier.showing = Showing(lanes, self._is_alone)
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
        for attempt, _, lane in stopped:
            lane.stop(attempt, gently=True)
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
                left = [(attempt, lane) for attempt, _, lane in stopped if attempt in self._active]
            for attempt, lane in left:
                lane.stop(attempt, gently=False)
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
        self.carrier.ending()
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
            self._changed.wait_for(self._crew.is_gone, timeout)

    # one lane

    def _serve(self) -> None:
        lane = self.carrier.lane()
        try:
            while self._carry_out(lane):
                pass
        finally:
            lane.close()
            with self._changed:
                self._crew.leave()
                self._changed.notify_all()
            self._replace()
            self._finish()
            with self._changed:
                self._crew.gone()
                self._changed.notify_all()

    def _carry_out(self, lane: Lane) -> bool:
        """Carry out the next calls; return False if there will be no more.

        Results belong to whoever asked for them: nothing refers to a call any more when it has ended.
        """
        work = self._take(lane)
        if work is None:
            return False
        left = dict(work)
        outcomes = lane.perform(work)
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
            logger.exception("a lane of %s", self._name)
            for call, attempt in left.items():
                self._ended(call, attempt, Outcome(error=error))
        return True

    def _take(self, lane: Lane) -> list[Work] | None:
        """Wait for calls and begin attempts at them; None if there will be no more."""
        while True:
            while self._forgotten:
                self._release(self._forgotten.popleft())  # which may take a request to a store
            with self._changed:
                if self._crew.has_given_up():
                    return None
                if self._queue:
                    call = self._queue.popleft()
                    if call.ended or not self._starts(call):
                        continue
                    work = [(call, self._begin(call, lane, copy=False))]
                    return work + [
                        (more, self._begin(more, lane, copy=False)) for more in self._ahead(call, lane)
                    ]
                if self._closed and not (self._active or self._holds):
                    self._changed.notify_all()
                    return None
                straggler, may_come = self._lookout.look(self._active)
                if straggler is not None:
                    if not self._idle:
                        self._crew.hire()  # somebody else looks from now on
                    return [(straggler, self._begin(straggler, lane, copy=True))]
                if not self.carrier.keeps_lanes and (self._idle or not may_come):
                    return None
                self._idle += 1
                try:
                    self._changed.wait(LOOK if may_come else None)
                finally:
                    self._idle -= 1

    def _begin(self, call: Call, lane: Lane, *, copy: bool) -> Attempt:
        now = time.monotonic()
        attempt = self._ledger.attempt_begins(call, now, copy=copy)
        call.running[attempt] = lane
        self._active[attempt] = call
        if not self.carrier.keeps_limits and (limit := call.limit(now)) is not None:
            late = weakref.ref(attempt)
            call.limits[attempt] = self._clock.at(now + limit, lambda: self._timed_out(late()))
        return attempt

    def _ended(self, call: Call, attempt: Attempt, outcome: Outcome) -> None:
        """See what an attempt has come to, and whether the call ends with it."""
        lost = attempt.ending == "Superseded" or (attempt.copy and call.ended)
        self._showing.end(call, attempt, outcome.logs, lost=lost)
        with self._changed:
            self._active.pop(attempt, None)  # an abandoned one is not there any more
            self._clock.drop(call.limits.pop(attempt, None))
            del call.running[attempt]
            if self._watchers or self._closed:
                self._changed.notify_all()
            self._ledger.attempt_ended(call, attempt, outcome)
            again = False
            if call.ended:
                attempt.ending = attempt.ending or "Superseded"
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
        for other, lane in others:
            other.ending = "Superseded"
            lane.stop(other, gently=False)
        self._resolve(call, attempt, outcome)
        self._give_up(other for other, _ in others)

    def _undone(self, call: Call, attempt: Attempt) -> None:
        """Take an attempt back that has not begun."""
        with self._changed:
            self._active.pop(attempt, None)
            self._clock.drop(call.limits.pop(attempt, None))
            del call.running[attempt]
            self._ledger.attempt_undone(call, attempt)
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
        note_inputs(call, outcome, self.carrier)
        with self._changed:
            self._ledger.call_ended(call, attempt, outcome)
        if not call.running:
            self._release(call)
        if outcome.logs:
            level = logging.INFO if mode_of(call) == "quiet" else logging.DEBUG  # not twice
            logger.log(level, "%s: %s printed:\n%s", call.future.id, call.label, call.future.logs.rstrip())
        if outcome.error is not None:
            call.future.set_exception(outcome.error)
        else:
            call.future.set_result(outcome.value)

    # what ends a call from outside its lane

    def _timed_out(self, attempt: Attempt | None) -> None:
        """Give up an attempt that cannot be ended, and its thread."""
        with self._changed:
            call = None if attempt is None else self._active.get(attempt)
            if attempt is None or call is None or call.ended:
                return
            call.ended = True
            lane = call.running[attempt]
        attempt.ending = "TimedOut"
        lane.stop(attempt, gently=True)
        attempt.seconds = time.monotonic() - attempt.started
        self._give_up([attempt])
        apart(self._resolve, call, attempt, Outcome(error=call.late()))

    def _give_up(self, attempts: Iterable[Attempt]) -> None:
        """Leave attempts to themselves that cannot be ended, with their threads."""
        if self.carrier.keeps_limits:
            return
        with self._changed:
            mine = [attempt for attempt in attempts if attempt in self._active]
            lanes = [self._active.pop(attempt).running[attempt] for attempt in mine]
            self._crew.give_up(lane.thread for lane in lanes)
            self._changed.notify_all()
        self._replace()
