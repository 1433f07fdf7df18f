"""The dispatcher without threads: random events, in random order, of simulated callers, workers and clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wrenla.errors import Lost, NeverStarted, TimedOut, WorkerDied
from wrenla.executors.calls import actions as do
from wrenla.executors.calls.actions import Action
from wrenla.executors.calls.call import Batch, Call, Outcome
from wrenla.executors.calls.future import Attempt, Future
from wrenla.executors.calls.options import CallOptions
from wrenla.executors.calls.retry_policy import repeats
from wrenla.executors.calls.state import LOOK, State

BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""This machine may have other things to do."""

pytestmark = pytest.mark.unit


@dataclass
class Worker:
    """A thread: it is about to say `ready`, waits, works, leaves or is gone, when it has no more to do."""

    doing: str = "ready"
    timed: bool = False
    work: deque[do.Begin] = field(default_factory=deque)
    todo: deque[Action] = field(default_factory=deque)


@dataclass
class Record:
    """All that has happened to a call."""

    call: Call
    ends: list[str] = field(default_factory=list)
    released: int = 0
    running: set[Attempt] = field(default_factory=set)
    failures: list[Outcome] = field(default_factory=list)
    told: bool = False
    given_up: bool = False


class Simulation:
    """Callers, workers and a clock that do as they are told, and check what they are told."""

    def __init__(self, most: int, keeps_limits: bool, keeps_channels: bool, threads: int) -> None:
        self.state = State(most, keeps_limits, keeps_channels)
        self.ever = most  # since the last time that there were no more
        self.now = 0.0
        self.threads = threads  # that the system has for us
        self.workers: dict[int, Worker] = {}
        self.records: dict[Call, Record] = {}
        self.alarms: list[tuple[Call, Attempt | None, float]] = []
        self.clock: deque[Action] = deque()  # what threads have still to do without the lock
        self.others: list[deque[Action]] = []
        self.graces: list[list[Attempt]] = []
        self.holders: list[Future[Any]] = []
        self.discarded = self.produced = 0
        self.closed = 0

    # what is done with the lock held

    def tell(self, actions: list[Action], todo: deque[Action] | None = None) -> list[Action]:
        """Do what must be done at once; the rest is first among what a thread has to do without the lock."""
        rest = self.at_once(actions)
        mine = [action for action in rest if not isinstance(action, do.Begin | do.Wait | do.Leave)]
        if todo is None:
            self.others.append(deque(mine))
        else:
            todo.extendleft(reversed(mine))
        return rest

    def at_once(self, actions: list[Action]) -> list[Action]:
        rest: list[Action] = []
        for action in actions:
            match action:
                case do.Claim(call):
                    assert not call.ended, "what has ended is not begun"
                    if call.begun or call.future.set_running_or_notify_cancel():
                        rest += self.at_once(self.state.claimed(action, self.now))
                    else:
                        self.records[call].ends.append("withdrawn")
                        rest += self.at_once(self.state.withdrawn(call))
                case do.Unclaim(call):
                    assert not self.records[call].running
                    call.future._wait_again()
                case do.SetAlarm(call, attempt, when):
                    assert attempt is None or not self.state.keeps_limits
                    self.alarms.append((call, attempt, when))
                case do.Hire(worker):
                    assert worker not in self.workers
                    if self.threads:
                        self.threads -= 1
                        self.workers[worker] = Worker()
                    else:
                        rest += self.at_once(self.state.not_hired(action, RuntimeError("no thread")))
                case do.GiveUp(worker):
                    assert not self.state.keeps_limits
                    for begun in self.workers[worker].work:
                        self.records[begun.call].given_up = True
                case do.Wake(every):
                    waiting = [worker for worker in self.workers.values() if worker.doing == "waits"]
                    for worker in waiting if every else waiting[:1]:
                        worker.doing = "ready"
                case do.Begin(call, attempt):
                    record = self.records[call]
                    assert not call.ended, "no attempt after the end"
                    assert not record.released, "nothing is released before an attempt"
                    assert not record.running or (attempt.copy and len(record.running) == 1)
                    assert not attempt.copy or call.options.idempotent
                    record.running.add(attempt)
                    rest.append(action)
                case _:
                    rest.append(action)
        return rest

    def check(self) -> None:
        state = self.state
        self.ever = state.most if len(state.working) <= state.most else min(self.ever, len(state.working))
        assert len(state.working) <= self.ever
        assert state.idle <= self.workers.keys()
        at_work = [number for number in state.working if self.workers[number].doing == "works"]
        busy = [number for number in at_work if self.workers[number].work]
        assert {state.active[attempt].running[attempt] for attempt in state.active} == set(busy)
        assert all(attempt in call.running for attempt, call in state.active.items())
        for call, record in self.records.items():
            assert set(call.running) == record.running
            assert len(record.ends) <= 1
            assert record.released <= 1
            if record.ends:
                assert call.ended

    # what threads do, one step each time

    def submit(self, options: CallOptions, batch: Batch | None, *, held: bool, chunk: bool) -> None:
        call = Call(Future("f"), options, "f", object(), object(), batch, held=held, submitted=self.now)
        call.repeats_itself = chunk
        self.records[call] = Record(call)
        before = self.state.stats().submitted
        refused = False
        try:
            self.tell(self.state.submitted(call))
        except RuntimeError:
            refused = True
            del self.records[call]
        if self.state.closed and not held:
            assert refused
        else:
            assert refused == (not self.state.working), "somebody will carry it out, or the caller is told"
        assert (call in self.state.queue) == (not refused)
        assert self.state.stats().submitted == before + (not refused)

    def ready(self, number: int) -> None:
        worker = self.workers[number]
        assert not worker.work
        state = self.state
        rest = self.tell(state.ready(number, self.now), worker.todo)
        begun = [action for action in rest if isinstance(action, do.Begin)]
        options = begun[0].call.options if begun else CallOptions(idempotent=True)
        if state.queue and not (options.idempotent or options.timeout or options.deadline):
            more = self.tell(state.takes_more(begun[0].call, number, 2 * state.keeps_limits), worker.todo)
            begun += [action for action in more if isinstance(action, do.Begin)]
        waits = [action for action in rest if isinstance(action, do.Wait)]
        if begun:
            worker.doing, worker.work = "works", deque(begun)
        elif waits:
            assert not state.queue
            assert not state.closed or state.active or state.holds
            worker.doing, worker.timed = "waits", waits[0].seconds is not None
        elif any(isinstance(action, do.Leave) for action in rest):
            worker.doing = "leaves"

    def answer(self, number: int, outcome: Outcome | None) -> None:
        """End the attempt that a worker has been at."""
        worker = self.workers[number]
        call, attempt = worker.work.popleft()
        record = self.records[call]
        record.running.remove(attempt)
        if not worker.work:
            worker.doing = "ready"
        if outcome is None:
            self.tell(self.state.attempt_undone(call, attempt), worker.todo)
            return
        if outcome.error is None:
            self.produced += 1
        else:
            record.failures.append(outcome)
        self.alarms = [alarm for alarm in self.alarms if alarm[1] is not attempt]
        self.tell(self.state.attempt_ended(call, attempt, outcome, self.now), worker.todo)

    def leave(self, number: int) -> None:
        self.workers[number].doing = "gone"
        self.tell(self.state.left(number), self.workers[number].todo)

    def ring(self, which: int) -> None:
        call, attempt, when = self.alarms.pop(which)
        self.now = max(self.now, when)
        if attempt is None:
            rest = self.at_once(self.state.deadline_reached(call, self.now))
        else:
            rest = self.at_once(self.state.limit_reached(attempt, self.now))
        for action in rest:
            if isinstance(action, do.Resolve | do.Fail):
                self.others.append(deque([action]))
            else:
                self.clock.append(action)

    def stop(self, calls: set[Any] | None) -> None:
        for call, record in self.records.items():
            record.told |= not call.ended and (calls is None or call.future in calls)
        running = {
            attempt
            for call, record in self.records.items()
            if record.told and not call.ended
            for attempt in call.running
            if attempt in self.state.active
        }
        rest = self.at_once(self.state.stopped(calls, self.now))
        self.others.append(deque(rest))
        self.graces.append([action.attempt for action in rest if isinstance(action, do.StopAttempt)])
        assert running <= set(self.graces[-1]), "what runs is told to stop, also if its call waits again"

    def shut(self, cancel: bool) -> None:
        rest = self.at_once(self.state.shut(cancel=cancel))
        self.others.append(deque(rest))

    def resize(self, most: int) -> None:
        self.ever = max(most, len(self.state.working))
        self.tell(self.state.resized(most))
        waiting = sum(not call.ended for call in self.state.queue)
        assert len(self.state.working) >= min(most, waiting) or not self.threads

    def hold(self) -> None:
        self.holders.append(Future("outer"))
        self.state.hold(self.holders[-1])

    def act(self, todo: deque[Action]) -> None:
        """Let a thread do the next thing that is done without the lock."""
        action = todo.popleft()
        match action:
            case do.Resolve(call, outcome, alone):
                record = self.records[call]
                record.ends.append("error" if outcome.error is not None else "value")
                assert not (record.told and outcome.error is None), "one that is cancelled has no value"
                if alone:
                    todo.appendleft(do.Release(call))
                else:
                    self.tell(self.state.noted(call), todo)
                if outcome.error is not None:
                    call.future.set_exception(outcome.error)
                else:
                    call.future.set_result(outcome.value)
            case do.Fail(call, error, cancel):
                assert not call.running
                self.records[call].ends.append("cancelled" if cancel else "error")
                if cancel and call.future.cancel():
                    call.future.set_running_or_notify_cancel()
                else:
                    call.future.set_exception(error)
            case do.Release(call):
                record = self.records[call]
                assert call.ended
                assert not record.running, "nothing is released while an attempt runs"
                assert not self.closed or record.given_up, "what is shared is there as long as calls need it"
                record.released += 1
            case do.Discard():
                self.discarded += action.outcome.error is None
            case do.Close():
                while self.clock and todo is not self.clock:  # as `Timer.close` waits for it
                    self.act(self.clock)
                assert self.state.closed
                assert not self.state.queue
                assert not self.state.working
                self.closed += 1
            case do.Settle():
                self.tell(self.state.settled(), todo)
            case do.StopAttempt(attempt):
                assert all(call.ended for call, record in self.records.items() if attempt in record.running)

    # the end of all

    def moves(self) -> list[tuple[str, int]]:
        """Return what can happen by itself, without time that passes."""
        self.others = [todo for todo in self.others if todo]
        for number, worker in list(self.workers.items()):
            if worker.doing == "gone" and not worker.todo:
                del self.workers[number]
        moves = [("act", which) for which in range(len(self.others))]
        moves += [("clock", 0)] if self.clock else []
        for number, worker in self.workers.items():
            if worker.todo:
                moves.append(("todo", number))
            elif worker.doing != "waits":
                moves.append((worker.doing, number))
        return moves

    def move(self, what: str, which: int, outcome: Outcome | None = None) -> None:
        match what:
            case "act":
                self.act(self.others[which])
            case "clock":
                self.act(self.clock)
            case "todo":
                self.act(self.workers[which].todo)
            case "ready":
                self.ready(which)
            case "works":
                self.answer(which, outcome or Outcome(value=1))
            case "leaves":
                self.leave(which)

    def finish(self) -> None:
        """Let everything come to its end, without any further alarm."""
        self.shut(cancel=False)
        while self.graces:
            self.tell(self.state.grace_over(self.graces.pop()))
        while self.holders:
            self.tell(self.state.let_go(self.holders.pop()))
        for _ in range(10_000):
            moves = self.moves()
            if not moves:
                break
            self.move(*moves[0])
            self.check()
        assert not self.state.queue or all(call.ended for call in self.state.queue)
        assert not self.workers, "after shutdown no worker waits"
        assert not self.state.active
        assert self.closed
        for call, record in self.records.items():
            assert len(record.ends) == 1, "every call ends, and once"
            assert call.future.done()
            assert record.released == 1
            self.check_attempts(record)
        stats = self.state.stats()
        assert stats.submitted == len(self.records) == stats.succeeded + stats.failed + stats.cancelled
        assert (stats.waiting, stats.running, stats.workers) == (0, 0, 0)
        assert self.produced == self.discarded + stats.succeeded

    def check_attempts(self, record: Record) -> None:
        """No more failures are followed by another attempt than the options allow."""
        call, account = record.call, record.call.future._account
        assert all(attempt.ending for attempt in account.attempts)
        assert sum(attempt.ending == "value" for attempt in account.attempts) == (record.ends == ["value"])
        allowed: dict[str, int] = {}
        for outcome in record.failures:
            assert outcome.error is not None
            sort, most = repeats(outcome.error, outcome.function, call.options)
            allowed[sort] = max(most, allowed.get(sort, 0))
        attempts = [attempt for attempt in account.attempts if not attempt.copy]
        assert len(attempts) <= 1 + sum(allowed.values())


class Script:
    """Choices, as numbers: one draw for all of them is much faster than a draw for each."""

    def __init__(self, numbers: list[int]) -> None:
        self._numbers = iter(numbers)

    def pick(self, among: Sequence[Any]) -> Any:
        """Choose one of several; raise StopIteration if there are no more numbers."""
        return among[next(self._numbers) % len(among)]

    def rarely(self) -> bool:
        return bool(self.pick([False, False, False, False, True]))

    def options(self) -> CallOptions:
        return CallOptions(
            retries=self.pick([0, 1, 2]),
            idempotent=self.pick([True, False]),
            timeout=self.pick([None, None, 5.0]),
            deadline=self.pick([None, None, 8.0]),
        )

    def outcome(self) -> Outcome | None:
        kind = self.pick(
            ["value", "value", "value", "raised", "undone", Lost, WorkerDied, NeverStarted, TimedOut]
        )
        match kind:
            case "value":
                return Outcome(value=1, discard=lambda: None)
            case "raised":
                return Outcome(error=ValueError("x"), function="raised")
            case "undone":
                return None
        return Outcome(error=kind("x"))


def act(sim: Simulation, script: Script, batch: Batch, options: CallOptions) -> None:
    """Let one of the things happen that can."""
    state = sim.state
    choices = [("submit", 0), ("tick", 0), ("tick", 0), *sim.moves() * 3]
    choices += [("ring", which) for which in range(len(sim.alarms))]
    choices += [("look", n) for n, worker in sim.workers.items() if worker.doing == "waits" and worker.timed]
    choices += [("grace", which) for which in range(len(sim.graces))]
    choices += [("let go", 0)] if sim.holders else [("hold", 0)] * (not state.closed)
    choices += (
        [("withdraw", 0), ("stop", 0), ("stop one", 0), ("shut", 0), ("resize", 0)] if script.rarely() else []
    )
    what, which = script.pick(choices)
    waiting = [call for call in sim.records if not call.future.done()]
    match what:
        case "submit":
            mine = script.pick([batch, None])
            held = bool(sim.holders) and script.pick([True, False])
            sim.submit(options if mine else script.options(), mine, held=held, chunk=script.rarely())
        case "tick":
            sim.now += script.pick([LOOK / 2, LOOK, 1.0, 4.0])
        case "ring":
            sim.ring(which)
        case "look":
            sim.workers[which].doing = "ready"
        case "grace":
            sim.tell(state.grace_over(sim.graces.pop(which)))
        case "hold":
            sim.hold()
        case "resize":
            sim.resize(script.pick([1, 2, 3, 4]))
        case "let go":
            sim.tell(state.let_go(sim.holders.pop()))
        case "withdraw":
            if waiting:
                script.pick(waiting).future.cancel()
        case "stop":
            sim.stop(None)
        case "stop one":
            if sim.records:
                sim.stop({script.pick(list(sim.records)).future})
        case "shut":
            sim.shut(script.pick([True, False]))
        case "works":
            sim.move(what, which, script.outcome())
        case _:
            sim.move(what, which)


SIMULATIONS = st.builds(
    Simulation,
    most=st.integers(1, 3),
    keeps_limits=st.booleans(),
    keeps_channels=st.booleans(),
    threads=st.sampled_from([1000, 1000, 1000, 0, 1, 3]),
)


@settings(BUSY, max_examples=400)
@given(SIMULATIONS, st.lists(st.integers(0, 1 << 10), max_size=400))
def test_every_call_ends_once_whatever_happens_when(sim: Simulation, numbers: list[int]) -> None:
    script, batch = Script(numbers), Batch(1, complete=True)
    with suppress(StopIteration):
        options = script.options()
        while True:
            act(sim, script, batch, options)
            sim.check()
    sim.finish()


def with_a_copy(sim: Simulation, batch: Batch, options: CallOptions) -> Call:
    """Let the second of two workers have a copy of what the first one works at; return the call."""
    for _ in range(4):
        sim.submit(options, batch, held=False, chunk=False)
    sim.ready(1)  # has one for long, while the other worker is done with three
    for _ in range(3):
        sim.ready(2)
        sim.now += 0.1
        sim.answer(2, Outcome(value=1))
        while sim.workers[2].todo:
            sim.act(sim.workers[2].todo)
    sim.now += 4.0
    sim.ready(2)
    assert sim.state.stats().copies == 1
    straggler = sim.workers[1].work[0].call
    assert sim.workers[2].work[0].call is straggler
    assert len(straggler.running) == 2
    return straggler


@pytest.mark.parametrize("keeps_limits", [False, True])
def test_a_call_whose_copy_was_given_back_is_told_to_stop(keeps_limits: bool) -> None:
    sim = Simulation(2, keeps_limits, keeps_channels=True, threads=1000)
    straggler = with_a_copy(sim, Batch(1, complete=True), CallOptions(idempotent=True))
    sim.answer(2, None)
    assert len(straggler.running) == 1
    sim.stop(None)
    assert len(sim.graces[-1]) == 1
    sim.finish()


@settings(BUSY, max_examples=200)
@given(st.booleans(), st.lists(st.integers(0, 1 << 10), min_size=20, max_size=100))
def test_of_a_call_and_its_copy_one_counts(keeps_limits: bool, numbers: list[int]) -> None:
    script, batch = Script(numbers), Batch(1, complete=True)
    sim = Simulation(2, keeps_limits, keeps_channels=True, threads=1000)
    options = CallOptions(idempotent=True, retries=script.pick([0, 1]))
    with_a_copy(sim, batch, options)
    with suppress(StopIteration):
        while True:
            act(sim, script, batch, options)
            sim.check()
    sim.finish()


def idle(sim: Simulation) -> int:
    return sum(worker.doing == "waits" for worker in sim.workers.values())


def settle(sim: Simulation) -> None:
    """Let everything happen that happens by itself, but no call end."""
    for _ in range(1000):
        moves = [move for move in sim.moves() if move[0] != "works"]
        if not moves:
            return
        sim.move(*moves[0])
        sim.check()


def test_more_workers_take_what_waits() -> None:
    sim = Simulation(1, keeps_limits=True, keeps_channels=True, threads=1000)
    for _ in range(5):
        sim.submit(CallOptions(idempotent=True), None, held=False, chunk=False)
    settle(sim)
    assert len(sim.state.active) == 1
    sim.resize(3)
    settle(sim)
    assert (len(sim.state.active), len(sim.state.queue)) == (3, 2)
    sim.finish()


def test_fewer_workers_end_with_their_calls() -> None:
    sim = Simulation(3, keeps_limits=True, keeps_channels=True, threads=1000)
    for _ in range(6):
        sim.submit(CallOptions(idempotent=True), None, held=False, chunk=False)
    settle(sim)
    sim.resize(1)
    settle(sim)
    assert len(sim.state.active) == 3, "what has begun goes on"
    for number in list(sim.workers)[:2]:
        sim.answer(number, Outcome(value=1))
    settle(sim)
    assert (len(sim.state.active), len(sim.state.working), len(sim.state.queue)) == (1, 1, 3)
    sim.finish()


def test_idle_workers_leave_where_there_are_fewer_and_come_back() -> None:
    sim = Simulation(3, keeps_limits=True, keeps_channels=True, threads=1000)
    for _ in range(3):
        sim.submit(CallOptions(), None, held=False, chunk=False)
    settle(sim)
    for number in list(sim.workers):
        sim.answer(number, Outcome(value=1))
    settle(sim)
    assert idle(sim) == 3
    sim.resize(1)
    settle(sim)
    assert (idle(sim), len(sim.state.working)) == (1, 1)
    sim.resize(2)
    settle(sim)
    assert len(sim.state.working) == 1, "nobody begins where nothing waits"
    for _ in range(2):
        sim.submit(CallOptions(), None, held=False, chunk=False)
    settle(sim)
    assert len(sim.state.active) == 2
    sim.finish()
