"""State of the dispatcher: each method takes in one event, and returns the actions that follow from it.

All that is decided about calls is decided here, without a thread, a lock or a clock: the same events always
give the same actions. The dispatcher holds its lock during each step, and does as it is told. The state is
changed in place, and so are the calls in it and the records of their attempts: by nothing else, but that a
channel notes when and where an attempt begins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from wrenla.errors import Cancelled, NeverStarted
from wrenla.executors.calls import actions as do
from wrenla.executors.calls.actions import Action
from wrenla.executors.calls.call import Call, Outcome
from wrenla.executors.calls.future import Attempt, Future
from wrenla.executors.calls.stats import CallStatistics, Stats, ending_of

__all__ = ["LOOK", "State"]

LOOK = 0.1
"""Seconds between two looks of an idle worker for a straggler."""


@dataclass(slots=True)
class State:
    """Calls that wait and run, and the workers for them.

    Attributes
    ----------
    most : int
        Workers at a time, those that have been given up aside.
    keeps_limits, keeps_channels : bool
        As of the `Transport`.
    queue : deque of Call
        Calls that wait. One may have ended there: at its deadline.
    active : dict of Attempt to Call
        What runs, but for what has been given up.
    working, idle : set of int
        Workers, and those that wait for a call.
    holds : set of Future
        Until they end, calls marked as `held` may come.
    closed : bool
        No other calls may come.
    cancelling : int
        How many threads that are no workers end calls now, and free what they hold.
    """

    most: int
    keeps_limits: bool
    keeps_channels: bool
    queue: deque[Call] = field(default_factory=deque)
    active: dict[Attempt, Call] = field(default_factory=dict)
    working: set[int] = field(default_factory=set)
    idle: set[int] = field(default_factory=set)
    holds: set[Future[Any]] = field(default_factory=set)
    closed: bool = False
    cancelling: int = 0
    statistics: CallStatistics = field(default_factory=CallStatistics)
    _hired: int = 0
    _look_again: float = 0.0

    # a call waits

    def submitted(self, call: Call) -> list[Action]:
        """Put a call at the end of the queue. Raises RuntimeError after `shut`."""
        if self.closed and not call.held:
            raise RuntimeError("cannot schedule new futures after shutdown")
        actions: list[Action] = []
        self.queue.append(call)
        self.statistics.counts["submitted"] += 1
        if call.batch is not None:
            call.index = call.batch.submitted
            call.batch.submitted += 1
        self._let_one_take(actions, call)
        if call.options.deadline is not None:
            call.due = call.submitted + call.options.deadline
            actions.append(do.SetAlarm(call, None, call.due))
        return actions

    def claimed(self, claim: do.Claim, now: float) -> list[Action]:
        """Begin a call that cannot be cancelled any more, or end it where it waits."""
        call, worker, error = claim
        call.begun = True
        if worker is not None:
            actions: list[Action] = []
            self._begin(call, worker, now, actions, copy=False)
            return actions
        assert error is not None
        call.ended = True  # whoever takes it from the queue will leave it
        self.statistics.counts["failed"] += 1
        return [do.Release(call), do.Fail(call, error)]

    def withdrawn(self, call: Call) -> list[Action]:
        """Forget a call that its caller has cancelled."""
        call.ended = True
        self.statistics.counts["cancelled"] += 1
        return [do.Release(call)]

    def deadline_reached(self, call: Call, now: float) -> list[Action]:
        """End a call that is still waiting. One that runs has a limit, or a worker that knows."""
        if call.ended or call.running:
            return []
        return [do.Claim(call, error=call.late(now) if call.begun else call.never_started())]

    # a call runs

    def ready(self, worker: int, now: float) -> list[Action]:
        """Give a worker something to do: the next call, a copy of a straggler, or to wait."""
        self.idle.discard(worker)
        if worker not in self.working:  # it was given up
            return [do.Leave()]
        if len(self.working) > self.most:
            self.working.discard(worker)  # at once, or the next ones would leave, too
            return [do.Leave()]
        while self.queue:
            call = self.queue.popleft()
            if not call.ended:
                return [do.Claim(call, worker)]
        if self._is_over:
            return [do.Leave()]
        straggler, may_come = self._straggler(now)
        if straggler is not None:
            actions: list[Action] = []
            if not self.idle:
                self._hire(actions)  # somebody else looks from now on
            self._begin(straggler, worker, now, actions, copy=True)
            return actions
        if not self.keeps_channels and (self.idle or not may_come):
            return [do.Leave()]
        self.idle.add(worker)
        return [do.Wait(LOOK if may_come else None)]

    def takes_more(self, call: Call, worker: int, more: int) -> list[Action]:
        """Hand out more calls together with one, if there are more than enough for all workers."""
        actions: list[Action] = []
        for _ in range(min(more, len(self.queue) // (2 * self.most))):
            following = self.queue[0]
            if call.batch is None or following.batch is not call.batch or following.begun or following.ended:
                break
            actions.append(do.Claim(self.queue.popleft(), worker))
        return actions

    def attempt_ended(self, call: Call, attempt: Attempt, outcome: Outcome, now: float) -> list[Action]:
        """See what an attempt has come to, and whether the call ends with it."""
        actions = self._attempt_over(call, attempt)
        self.statistics.attempt_ended(call, attempt, outcome, now)
        if call.ended:
            attempt.ending = attempt.ending or "superseded"
            actions.append(do.Discard(outcome))
            self._release(call, actions)
        elif outcome.error is None:
            self._end(call, attempt, outcome, now, actions)
        else:
            left = call.attempts_left(outcome, now)
            if call.running:  # its copy is still at work
                attempt.ending = ending_of(outcome)
                call.may_be_copied = left > 1
            elif left:
                attempt.ending = ending_of(outcome)
                self.statistics.counts["retries"] += 1
                self.statistics.counts["lost"] += attempt.seconds
                actions += [do.Retry(call, outcome.error), do.Discard(outcome)]
                self._wait_again(call, actions)
            else:
                self._end(call, attempt, outcome, now, actions)
        return actions

    def attempt_undone(self, call: Call, attempt: Attempt) -> list[Action]:
        """Take an attempt back that has not begun."""
        actions = self._attempt_over(call, attempt)
        self.statistics.attempt_undone(call, attempt)
        if call.ended:
            self._release(call, actions)
            return actions
        call.begun = bool(call.future.attempts)
        if not call.begun:
            actions.append(do.Unclaim(call))
        self._wait_again(call, actions)
        return actions

    def limit_reached(self, attempt: Attempt, now: float) -> list[Action]:
        """End a call whose attempt cannot be ended, and give up its worker."""
        call = self.active.get(attempt)
        if call is None or call.ended:
            return []
        attempt.ending = "TimedOut"
        attempt.seconds = now - attempt.started
        actions: list[Action] = [do.StopAttempt(attempt, call.running[attempt], gently=True)]
        self._end(call, attempt, Outcome(error=call.late(now)), now, actions)
        self._give_up([attempt], actions)
        return actions

    def noted(self, call: Call) -> list[Action]:
        """Free what an ended call holds, unless a copy of it or a thread that was given up goes on."""
        actions: list[Action] = []
        call.noted = True
        self._release(call, actions)
        return actions

    # workers

    def resized(self, most: int) -> list[Action]:
        """Have another number of workers: at once for calls that wait; who is too much leaves when idle."""
        self.most = most
        actions: list[Action] = [do.Wake(every=True)]
        for _ in self.queue:
            self._hire(actions)
        return actions

    def not_hired(self, hire: do.Hire, error: RuntimeError) -> list[Action]:
        """Do without a worker. Raises the error for whoever submits, if there is no other worker."""
        self.working.discard(hire.worker)
        if self.working:
            return []
        if hire.call is not None:  # nothing of it has happened
            self.queue.remove(hire.call)
            self.statistics.counts["submitted"] -= 1
            if hire.call.batch is not None:
                hire.call.batch.submitted -= 1
            raise error
        waiting, self.queue = [call for call in self.queue if not call.ended], deque()
        why = f"no worker can be started: {error}"
        self.cancelling += 1
        claims = [do.Claim(call, error=NeverStarted(f"{call.label}: {why}")) for call in waiting]
        return [*claims, do.Settle()]

    def left(self, worker: int) -> list[Action]:
        """Let others carry out what waits, when a worker has ended."""
        actions: list[Action] = []
        self.working.discard(worker)
        if self.queue:
            self._let_one_take(actions)
        self._close(actions)
        return actions

    # all of it

    def stopped(self, calls: Container[Future[Any]] | None, now: float) -> list[Action]:
        """Cancel calls that wait, and tell those that run to end. `grace_over` follows."""
        actions = self._cancel(calls)
        chosen = [call for call in self.active.values() if calls is None or call.future in calls]
        running = [call for call in dict.fromkeys(chosen) if not call.ended]
        for call in running:
            actions += [do.StopAttempt(attempt, at, gently=True) for attempt, at in call.running.items()]
        for call in running:
            call.ended = True
            outcome = Outcome(error=Cancelled(f"{call.label}: told to stop while it ran"))
            self.statistics.call_ended(call, next(iter(call.running)), outcome, now)
            actions.append(do.Resolve(call, outcome, alone=False))
        return [*actions, do.Settle()]

    def grace_over(self, attempts: Iterable[Attempt]) -> list[Action]:
        """End what was told to end and has not, or leave it to itself."""
        left = [attempt for attempt in attempts if attempt in self.active]
        actions: list[Action] = [
            do.StopAttempt(attempt, self.active[attempt].running[attempt], gently=False) for attempt in left
        ]
        self._give_up(left, actions)
        return actions

    def shut(self, *, cancel: bool) -> list[Action]:
        """Take no more calls, and cancel those that wait if told to."""
        self.closed = True
        return [do.Wake(every=True), *self._cancel(None if cancel else ()), do.Settle()]

    def settled(self) -> list[Action]:
        """Count out a thread that has ended calls and freed what they held."""
        actions: list[Action] = []
        self.cancelling -= 1
        self._close(actions)
        return actions

    def hold(self, until: Future[Any]) -> None:
        """Let calls come that are `held` until the end of a future."""
        self.holds.add(until)

    def let_go(self, until: Future[Any]) -> list[Action]:
        """Expect no more calls that are `held` until the end of a future."""
        self.holds.discard(until)
        actions: list[Action] = [do.Wake(every=True)] if self._is_over else []
        self._close(actions)
        return actions

    def stats(self) -> Stats:
        """Return what has happened so far, and what is the case now."""
        return self.statistics.stats(self.queue, self.active.values(), len(self.working))

    # parts of steps

    @property
    def _is_over(self) -> bool:
        """No call will come or come back, once the queue is empty."""
        return self.closed and not (self.active or self.holds)

    def _let_one_take(self, actions: list[Action], call: Call | None = None) -> None:
        """Let a worker take a call: an idle one, or a new one."""
        if self.idle:
            actions.append(do.Wake())
        if len(self.idle) < len(self.queue):
            self._hire(actions, call)

    def _hire(self, actions: list[Action], call: Call | None = None) -> None:
        if len(self.working) < self.most:
            self._hired += 1
            self.working.add(self._hired)
            actions.append(do.Hire(self._hired, call))

    def _begin(self, call: Call, worker: int, now: float, actions: list[Action], *, copy: bool) -> None:
        attempt = self.statistics.attempt_begins(call, now, copy=copy)
        call.running[attempt] = worker
        self.active[attempt] = call
        actions.append(do.Begin(call, attempt))
        if not self.keeps_limits and (limit := call.limit(now)) is not None:
            actions.append(do.SetAlarm(call, attempt, now + limit))

    def _attempt_over(self, call: Call, attempt: Attempt) -> list[Action]:
        self.active.pop(attempt, None)  # one that was given up is not there any more
        del call.running[attempt]
        return [do.Wake(every=True)] if self._is_over else []

    def _wait_again(self, call: Call, actions: list[Action]) -> None:
        self.queue.appendleft(call)
        self._let_one_take(actions)

    def _end(self, call: Call, attempt: Attempt, outcome: Outcome, now: float, actions: list[Action]) -> None:
        """End a call with what one of its attempts has come to, whatever the others do."""
        call.ended = True
        others = [other for other in call.running if other is not attempt]
        for other in others:
            other.ending = "superseded"
            actions.append(do.StopAttempt(other, call.running[other], gently=False))
        self.statistics.call_ended(call, attempt, outcome, now)
        actions.append(do.Resolve(call, outcome, alone=not call.running))
        self._give_up(others, actions)

    def _give_up(self, attempts: Sequence[Attempt], actions: list[Action]) -> None:
        """Leave attempts to themselves that cannot be ended, with their workers."""
        if self.keeps_limits or not attempts:
            return
        for attempt in attempts:
            worker = self.active.pop(attempt).running[attempt]
            self.working.discard(worker)
            actions.append(do.GiveUp(worker))
        if self.queue:
            self._let_one_take(actions)
        if self._is_over:
            actions.append(do.Wake(every=True))
        self._close(actions)

    def _cancel(self, calls: Container[Future[Any]] | None) -> list[Action]:
        """End calls that wait, all of them before anything is freed. `Settle` has to follow."""
        self.cancelling += 1
        mine = [call for call in self.queue if calls is None or call.future in calls]
        if mine:
            self.queue = deque(call for call in self.queue if not (calls is None or call.future in calls))
        # one that was given back may have a copy at work: then it does not wait
        waiting = [call for call in mine if not call.ended and not call.running]
        for call in waiting:
            call.ended = True
        self.statistics.counts["cancelled"] += len(waiting)
        again = "told to stop before it was tried again"
        ends = [do.Fail(call, Cancelled(f"{call.label}: {again}"), cancel=True) for call in waiting]
        return [*ends, *map(do.Release, waiting)]

    def _release(self, call: Call, actions: list[Action]) -> None:
        if call.noted and not call.running:
            actions.append(do.Release(call))

    def _close(self, actions: list[Action]) -> None:
        if self.closed and not (self.cancelling or self.queue or self.working or self.holds):
            actions.append(do.Close())

    def _straggler(self, now: float) -> tuple[Call | None, bool]:
        """Return a call that deserves a second copy, and whether one may come to deserve it.

        All workers look together, now and then.
        """
        if now < self._look_again:
            return None, True
        may_come = False
        for attempt, call in self.active.items():
            alone = len(call.running) == 1 and not call.ended
            if alone and call.options.idempotent and call.batch and call.may_be_copied:
                if call.batch.straggles(now - attempt.started):
                    return call, True
                may_come = True
        self._look_again = now + 0.9 * LOOK if may_come else 0.0
        return None, may_come
