"""Dispatcher of calls: threads that take calls from a queue to their workers, around a `State` that decides.

A `Transport` makes channels and what they send. Calls also end from outside of their thread: a `Timer` ends
those that are late, `stop` those that are cancelled. The first event that ends a call sets `call.ended`, with
the lock held; later ones find it so, free what they hold and say nothing.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Container, Sequence
from typing import Any

from wrenla.executors.calls import actions as do
from wrenla.executors.calls.actions import Action
from wrenla.executors.calls.call import Call, Channel, Outcome, Transport, Work
from wrenla.executors.calls.future import Attempt, Future
from wrenla.executors.calls.live_output import Showing, mode_of
from wrenla.executors.calls.state import State
from wrenla.executors.calls.stats import Stats
from wrenla.executors.calls.timer import Timer, run_apart
from wrenla.executors.map_api.failed_inputs import note_inputs
from wrenla_handler.threads import no_thread

__all__ = ["Dispatcher"]

logger = logging.getLogger("wrenla.calls")

_LONGEST_WAIT = 10.0
"""Seconds after which a worker looks again though nobody woke it: a finalizer ran just before its wait."""


class Dispatcher:
    """Carries calls out, at most so many at a time, and ends every one of them.

    Each worker is a thread with a channel of its own. It begins when it is needed, and ends with `shutdown`.

    Parameters
    ----------
    channels : int
        Calls that run at the same time.
    transport : Transport
    name : str
        What the calls' ids begin with.
    """

    def __init__(self, channels: int, transport: Transport, name: str) -> None:
        self.transport, self.channels = transport, channels
        self.process = os.getpid()
        self._name = name
        self._number = itertools.count(1)
        self._state = State(channels, transport.keeps_limits, transport.keeps_channels)
        self._threads: dict[int, threading.Thread] = {}  # of workers that have not been given up
        self._channels: dict[int, Channel] = {}
        self._lock = threading.RLock()  # a finalizer may shut us down wherever this thread is
        # two, so that what is meant for a worker never wakes somebody else instead
        self._work = threading.Condition(self._lock)
        self._changed = threading.Condition(self._lock)
        self._stopping = 0  # threads that wait for attempts to end
        self._timer = Timer()
        self._showing = transport.showing = Showing(channels, self._is_alone)

    def resize(self, channels: int) -> None:
        """Have another number of workers: more begin if calls wait, or some end when idle."""
        self.channels = channels
        self._tell(self._state.resized, channels)

    def new_future(self) -> Future[Any]:
        """Return the future of a call to come."""
        return Future(f"{self._name}-{next(self._number):06d}", self)

    def submit(self, call: Call) -> None:
        """Put a call at the end of the queue. Raises RuntimeError after `shutdown`, or without a thread."""
        self.check_process()
        self._tell(self._state.submitted, call)

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
        if self._state.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def hold(self, until: Future[Any]) -> None:
        """Let calls in after `shutdown` that are marked as `held`, until some future has ended."""
        with self._lock:
            self._state.hold(until)
        until.add_done_callback(lambda ended: self._tell(self._state.let_go, ended))

    def stats(self) -> Stats:
        """Return what has happened so far."""
        self.check_process()
        with self._lock:
            return self._state.stats()

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
        rest: list[Action] = []
        told: list[Attempt] = []
        with self._lock:
            self._stopping += 1
        try:
            try:
                with self._lock:
                    rest += self._now(self._state.stopped(calls, time.monotonic()))
            finally:  # a Ctrl-C that comes here must not lose what is decided: calls would never end
                told += [action.attempt for action in rest if isinstance(action, do.StopAttempt)]
                self._later(rest)
            with self._lock:
                self._changed.wait_for(lambda: self._state.active.keys().isdisjoint(told), grace)
        finally:  # a second Ctrl-C ends the patience
            with self._lock:
                self._stopping -= 1
            self._tell(self._state.grace_over, told)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. With `wait`, return when those that were submitted have ended."""
        if self.forked:
            return
        self._tell(functools.partial(self._state.shut, cancel=cancel_futures))
        self.transport.ending()
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
        return len(self._state.active) + len(self._state.queue) <= 1

    def _is_gone(self) -> bool:
        """Tell whether all workers have ended but those that were given up, and the current thread."""
        # not joined: a `Thread.join` that Ctrl-C interrupts takes it for ended when it is not (Python 3.11)
        return all(thread is threading.current_thread() for thread in self._threads.values())

    def _wait(self, timeout: float | None) -> None:
        with self._lock:
            self._changed.wait_for(self._is_gone, timeout)

    # what the state decides is done: at once, with the lock held, and later, without it

    def _tell(self, event: Callable[..., list[Action]], *of: Any) -> None:
        """Take one step of the state, and do all that follows."""
        with self._lock:
            rest = self._now(event(*of))
        self._later(rest)

    def _now(self, actions: Sequence[Action]) -> list[Action]:
        """Do with the lock held what must be done before the next step; return the other actions.

        The futures have locks of their own, which may be taken with ours held, but not the other way round:
        a caller's `cancel` does not ask us. So whether a call can begin is told by its future, here.
        """
        rest: list[Action] = []
        for action in actions:
            at_once = _AT_ONCE.get(type(action))
            if at_once is None:
                rest.append(action)
            else:
                rest += at_once(self, action) or ()
        return rest

    def _later(self, actions: Sequence[Action]) -> None:
        """Do without the lock what takes long, or calls what is the user's."""
        todo = iter(actions)
        try:
            for action in todo:
                _LATER[type(action)](self, *action)
        finally:
            if left := list(todo):  # Ctrl-C, and yet what is decided is done: calls would never end
                self._later(left)

    def _claim(self, claim: do.Claim) -> list[Action]:
        if claim.call.begun or claim.call.future.set_running_or_notify_cancel():
            return self._now(self._state.claimed(claim, time.monotonic()))
        return self._now(self._state.withdrawn(claim.call))

    def _wake(self, wake: do.Wake) -> None:
        self._work.notify(len(self._threads) if wake.every else 1)

    def _give_up(self, giving: do.GiveUp) -> None:
        self._threads.pop(giving.worker, None)
        self._changed.notify_all()

    def _resolve(self, call: Call, outcome: Outcome, alone: bool) -> None:
        """End a call."""
        try:
            note_inputs(call, outcome, self.transport)
            self._release(call) if alone else self._tell(self._state.noted, call)
            if outcome.logs:
                level = logging.INFO if mode_of(call) == "quiet" else logging.DEBUG  # not twice
                printed = call.future.logs.rstrip()
                logger.log(level, "%s: %s printed:\n%s", call.future.id, call.label, printed)
        finally:  # also after Ctrl-C, or if the user's exception takes no note: somebody waits for the future
            if outcome.error is not None:
                call.future.set_exception(outcome.error)
            else:
                call.future.set_result(outcome.value)

    def _release(self, call: Call) -> None:
        release, call.release = call.release, None
        call.function = call.arguments = None
        self._timer.drop(call.alarms.get(None))
        if release is not None:
            release()

    def _set_alarm(self, alarm: do.SetAlarm) -> None:
        call, attempt, when = alarm
        # an alarm that is never dropped, since its call goes on for ever, must not keep what it is about
        late: weakref.ref[Any] = weakref.ref(call if attempt is None else attempt)
        event = self._state.deadline_reached if attempt is None else self._state.limit_reached
        call.alarms[attempt] = self._timer.at(when, functools.partial(self._ring, event, late))

    def _ring(self, event: Callable[[Any, float], list[Action]], late: weakref.ref[Any]) -> None:
        """See what follows from a time that has come, without keeping the clock from others."""
        who = late()
        if who is None:
            return
        with self._lock:
            rest = self._now(event(who, time.monotonic()))
        ends = (do.Resolve, do.Fail)
        try:
            self._later([action for action in rest if not isinstance(action, ends)])
        finally:
            for action in (action for action in rest if isinstance(action, ends)):
                run_apart(self._later, [action])

    # one worker

    def _hire(self, hire: do.Hire) -> list[Action]:
        name, of = f"{self._name}-channel", (hire.worker,)
        thread = self._threads[hire.worker] = threading.Thread(None, self._serve, name, of, daemon=True)
        try:
            thread.start()
        except KeyboardInterrupt:
            if thread.ident is None:  # it will never say that it has left
                del self._threads[hire.worker]
                self._state.working.discard(hire.worker)
            raise
        except RuntimeError as error:
            del self._threads[hire.worker]
            return self._now(self._state.not_hired(hire, no_thread("a thread for calls", error)))
        return []

    def _serve(self, worker: int) -> None:
        channel = self._channels[worker] = self.transport.channel()
        try:
            while self._carry_out(worker, channel):
                pass
        finally:
            channel.close()
            del self._channels[worker]
            self._tell(self._state.left, worker)  # which may close what is shared, before we are gone
            with self._lock:
                self._threads.pop(worker, None)
                self._changed.notify_all()

    def _carry_out(self, worker: int, channel: Channel) -> bool:
        """Carry out the next calls; return False if there will be no more.

        Results belong to whoever asked for them: nothing refers to a call any more when it has ended.
        """
        work = self._take(worker, channel)
        if work is None:
            return False
        left = dict(work)
        outcomes = channel.perform(work)
        del work
        try:
            for call, attempt, outcome in outcomes:
                del left[call]
                self._ended(call, attempt, outcome)
                del call, attempt, outcome
        except Exception as error:  # ours, not the function's: calls must end all the same
            logger.exception("a channel of %s", self._name)
            for call, attempt in left.items():
                self._ended(call, attempt, Outcome(error=error))
        return True

    def _take(self, worker: int, channel: Channel) -> list[Work] | None:
        """Wait for calls and begin attempts at them; None if there will be no more."""
        while True:
            with self._lock:
                closed = self._state.closed
                actions = self._now(self._state.ready(worker, time.monotonic()))
                work = [action for action in actions if isinstance(action, do.Begin)]
                if work and self._state.queue and (more := channel.appetite(work[0].call)):
                    # none but `Begin` and `Release`, of those that were cancelled
                    ahead = self._now(self._state.takes_more(work[0].call, worker, more))
                    work += [action for action in ahead if isinstance(action, do.Begin)]
                    actions += ahead
                elif isinstance(actions[0], do.Wait):
                    # unless a finalizer has shut us down since, in this very thread, and woke nobody
                    if closed == self._state.closed:
                        self._work.wait(actions[0].seconds or _LONGEST_WAIT)
                elif isinstance(actions[0], do.Leave):
                    return None
            try:
                self._later([action for action in actions if isinstance(action, do.Release)])
            except Exception:  # of a store: the attempts that have begun go on
                logger.exception("freeing what a cancelled call of %s held", self._name)
            if work:
                return list(work)

    def _ended(self, call: Call, attempt: Attempt, outcome: Outcome | None) -> None:
        """Say what has become of an attempt; None: it has not begun."""
        if outcome is not None:
            # before it is known, so that its lines come before those of the next attempt; who is faster at
            # the same moment is told after it, and two attempts may be shown
            lost = attempt.ending == "superseded" or (attempt.copy and call.ended)
            self._showing.end(call, attempt, outcome.logs, lost=lost)
        with self._lock:
            if call.alarms:
                self._timer.drop(call.alarms.pop(attempt, None))
            if outcome is None:
                actions = self._state.attempt_undone(call, attempt)
            else:
                actions = self._state.attempt_ended(call, attempt, outcome, time.monotonic())
            rest = self._now(actions)
            if self._stopping:
                self._changed.notify_all()
        del actions
        self._later(rest)

    # the rest of what is done later

    def _stop_attempt(self, attempt: Attempt, worker: int, gently: bool) -> None:
        if (channel := self._channels.get(worker)) is not None:
            channel.stop(attempt, gently=gently)

    def _fail(self, call: Call, error: Exception, cancel: bool) -> None:
        """End the future of a call that waits; if it was about to be tried again, it cannot be cancelled."""
        if cancel and call.future.cancel():
            call.future.set_running_or_notify_cancel()
        else:
            call.future.set_exception(error)

    def _discard(self, outcome: Outcome) -> None:
        if outcome.discard is not None:
            outcome.discard()

    def _say_again(self, call: Call, error: Exception) -> None:
        logger.info("%s: %s: %r: again", call.future.id, call.label, error)

    def _settle(self) -> None:
        self._tell(self._state.settled)

    def _close(self) -> None:
        self._timer.close()
        self.transport.close()


_AT_ONCE: dict[type[Any], Callable[[Dispatcher, Any], list[Action] | None]] = {
    do.Claim: Dispatcher._claim,
    do.Unclaim: lambda _, action: action.call.future._wait_again(),
    do.SetAlarm: Dispatcher._set_alarm,
    do.Hire: Dispatcher._hire,
    do.GiveUp: Dispatcher._give_up,
    do.Wake: Dispatcher._wake,
}

_LATER: dict[type[Any], Callable[..., None]] = {
    do.StopAttempt: Dispatcher._stop_attempt,
    do.Fail: Dispatcher._fail,
    do.Resolve: Dispatcher._resolve,
    do.Retry: Dispatcher._say_again,
    do.Discard: Dispatcher._discard,
    do.Release: Dispatcher._release,
    do.Settle: Dispatcher._settle,
    do.Close: Dispatcher._close,
}
