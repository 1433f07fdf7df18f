"""Simulation of a run: the scheduler of real runs, with events of a described engine in place of workers."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np

from wrenla.errors import PlanError
from wrenla.forecast.engine import Engine
from wrenla.forecast.simulation import Simulation
from wrenla.planning.costs import tasks_together
from wrenla.planning.plan import Plan
from wrenla.planning.precedence import Floats
from wrenla.run.scheduler import (
    Begun,
    Done,
    Drop,
    Failed,
    Finish,
    Input,
    Policy,
    Resized,
    Retry,
    Schedule,
    Stop,
    Submit,
    Woken,
    initial_state,
    step,
)

__all__ = ["simulate"]

_MOMENT = 0.1
"""Seconds within which workers that join are taken together."""

_Course: TypeAlias = Generator[float, None, None]
"""What a worker does: it yields the moments until which it waits."""


def simulate(plan: Plan, engine: Engine, schedule: Schedule = "dataflow") -> Simulation:
    """Return the course of a run on an engine.

    Parameters
    ----------
    plan : Plan
    engine : Engine
        What it does not name is the plan's: without any speed of its own, the seconds of each task, too.
    schedule : {"dataflow", "waves"}

    Raises
    ------
    PlanError
        A task has failed again and again, and with it the run.
    """
    return _Run(plan, engine, schedule).run()


@dataclass(slots=True)
class _Pipe:
    """A limit that all share: what passes through it takes turns, in the order in which it comes."""

    rate: float
    free: float = 0.0

    def passed(self, now: float, amount: float) -> float:
        """Return when an amount has passed that comes now: never in advance, or others would wait for it."""
        if self.rate == math.inf:
            return now
        self.free = max(self.free, now) + amount / self.rate
        return self.free


class _Parts(NamedTuple):
    """Seconds of tasks on an engine, by their parts.

    Attributes
    ----------
    compute, read, write : list of float
        Of each task; what else it takes stands with what it writes.
    fetched : float
        Part of what it reads that comes from the store.
    ahead : bool
        Whether reading goes on while it computes, as on an engine of which more is known.
    engine : Engine
        With nothing unnamed.
    """

    compute: list[float]
    read: list[float]
    write: list[float]
    fetched: float
    ahead: bool
    engine: Engine


class _Run:
    """A run in the course of which nothing but time passes."""

    def __init__(self, plan: Plan, engine: Engine, schedule: Schedule) -> None:
        self.parts = _parts(plan, engine)
        engine, fetched = self.parts.engine, self.parts.fetched
        assert engine.workers is not None
        assert engine.initial_workers is not None
        assert engine.latency is not None
        assert engine.worthwhile is not None
        assert engine.cold_start is not None
        assert engine.workers_per_second is not None
        self.plan, self.engine, self.latency = plan, engine, engine.latency
        self.cold_start, self.now = engine.cold_start, 0.0
        self.events: list[tuple[float, int, list[Input] | _Course]] = []
        self.sent = itertools.count()
        self.chance = random.Random(engine.seed)
        self.warm = self.cold = self.retries = self.invocations = 0
        self.driver_free = 0.0
        self.finished = False
        self.requests = _Pipe(engine.requests_per_second)
        self.bytes = _Pipe(engine.total_bytes_per_second)
        self.limited = min(self.requests.rate, self.bytes.rate) < math.inf
        self.spans: list[tuple[float, float, int]] = []
        self.stored = self.peak = float(plan.uploaded[1])
        self.byte_seconds = self.changed = 0.0
        graph = plan.graph
        self.reads: list[int] = graph.reads.tolist()
        self.gets: list[float] = (fetched * graph.gets).tolist()
        self.bytes_read: list[float] = (fetched * graph.bytes_read).tolist()
        self.written: list[float] = graph.bytes_written.tolist()
        mean = sum(map(sum, self.parts[:3])) / max(1, plan.tasks)
        self.together = tasks_together(mean, engine.worthwhile)
        self.ready: list[int] = []
        self.workers, self.busy = min(engine.workers, engine.initial_workers), 0
        policy = Policy(schedule, self.workers * self.together)
        self.state = initial_state(graph, plan.wanted, [], policy)
        most = min(engine.workers, max(self.workers, plan.tasks))  # more would have nothing to do
        for time, workers in _growth(self.workers, most, engine.workers_per_second):
            self.happens(time, [Resized(workers)])

    def run(self) -> Simulation:
        self.step(Begun())
        self.hand_out()
        while not self.finished:
            self.now, _, what = heapq.heappop(self.events)
            if isinstance(what, list):
                self.step(*what)
            else:
                self.goes_on(what)
            # as in real runs: what has ended meanwhile comes first, as what it makes ready can go together
            if self.together == 1 or not self.events or self.events[0][0] > self.now:
                self.hand_out()
        self.store(0)
        spans = np.array(self.spans, np.float64).reshape(-1, 3)
        return Simulation(
            self.plan,
            self.engine,
            seconds=self.now + (self.plan.beside if self.parts.ahead else 0.0),
            begin=spans[:, 0],
            end=spans[:, 1],
            task=spans[:, 2].astype(np.int64),
            fetched=self.parts.fetched,
            retries=self.retries,
            cold_starts=self.cold,
            invocations=self.invocations,
            peak_bytes_stored=self.peak,
            byte_seconds=self.byte_seconds,
        )

    def step(self, *events: Input) -> None:
        """Tell the scheduler what has happened, and do what it says."""
        for event in events:
            if isinstance(event, Resized):
                self.workers = event.slots
                event = Resized(self.workers * self.together)
            self.state, actions = step(self.state, event)
            for action in actions:
                match action:
                    case Submit(task, _):
                        self.ready.append(task)
                    case Drop(task):
                        self.store(-self.written[task])
                    case Retry(task, _, delay):
                        self.retries += 1
                        self.happens(self.now + delay, [Woken(task)])
                    case Stop(task):
                        raise PlanError(
                            f"the simulated run fails: task {task} failed {self.state.attempts[task]} times; "
                            f"failures={self.engine.failures:.3g} is the share of attempts that do"
                        )
                    case Finish():
                        self.finished = True

    def hand_out(self) -> None:
        """Let free workers begin with what is ready: in batches, unless there would be fewer of them."""
        while self.ready and self.busy < self.workers:
            size = min(self.together, -(-len(self.ready) // (self.workers - self.busy)))
            batch, self.ready = self.ready[:size], self.ready[size:]
            self.busy += 1
            self.goes_on(self.invocation(batch))

    def happens(self, time: float, event: list[Input] | _Course) -> None:
        heapq.heappush(self.events, (time, next(self.sent), event))

    def goes_on(self, course: _Course) -> None:
        """Let a worker go on until it waits."""
        for until in course:
            if until > self.now:
                self.happens(until, course)
                return

    def invocation(self, batch: list[int]) -> _Course:
        """Carry out some tasks, one after the other, on a free worker."""
        engine = self.engine
        self.invocations += 1
        is_cold = not self.warm
        self.cold += is_cold
        self.warm -= not is_cold
        if engine.dispatch:
            self.driver_free = max(self.driver_free, self.now) + engine.dispatch
            yield self.driver_free
        if is_cold:
            yield self.now + self.cold_start
        outcomes: list[Input] = []
        for number, task in enumerate(batch):
            begin = self.now
            fails = bool(engine.failures) and self.chance.random() < engine.failures
            yield from self.attempt(task, 0.0 if number else self.latency, fails)
            self.spans.append((begin, self.now, task))
            outcomes.append(Failed(task, True) if fails else Done(task))
            self.store(0.0 if fails else self.written[task])
        self.warm += 1
        self.busy -= 1
        self.happens(self.now, outcomes)

    def attempt(self, task: int, latency: float, fails: bool) -> _Course:
        """Read, compute and write; an attempt that fails does a part of it."""
        part = self.chance.random() if fails else 1.0
        slow = part
        if self.engine.stragglers and self.chance.random() < self.engine.stragglers:
            slow *= self.engine.straggler_factor
        at = self.now + latency * part
        if self.limited:  # else a task is one event
            yield at
            yield self.requests.passed(self.now, self.gets[task])
            at = self.now
        there = self.bytes.passed(at, part * self.bytes_read[task])
        read, compute = max(slow * self.parts.read[task], there - at), slow * self.parts.compute[task]
        reads = self.reads[task]
        hidden = self.engine.overlap * min(read - read / reads, compute) if reads else 0.0
        if self.parts.ahead:  # what a plan expects of a task is so, too
            hidden = min(read, compute)
        at += read - hidden + compute
        if self.limited:
            yield at
            yield self.requests.passed(self.now, 1)
            at = self.now
        yield max(at + slow * self.parts.write[task], self.bytes.passed(at, part * self.written[task]))

    def store(self, nbytes: float) -> None:
        """Note that tiles are stored, or, if negative, removed."""
        self.byte_seconds += self.stored * (self.now - self.changed)
        self.changed = self.now
        self.stored += nbytes
        self.peak = max(self.peak, self.stored)


def _parts(plan: Plan, engine: Engine) -> _Parts:
    """Return what tasks take on an engine.

    On one that names no speed they add up to what the plan says, by rates that were measured, too; what
    is known of another one is a rate for all kernels.
    """
    graph, model = plan.graph, plan.model
    named = (engine.flops_per_second, engine.bytes_per_second, engine.latency) != (None, None, None)
    rates, base = None if named else model.rates, model.typical
    if not named:  # what is measured of a task belongs to each, the way to a worker to some together
        base = replace(base, latency=model.handing)
    engine = engine.filled(base)
    assert engine.workers is not None
    assert engine.cache_bytes is not None
    assert engine.flops_per_second is not None
    assert engine.bytes_per_second is not None
    caches = replace(model, workers=engine.workers).caches
    fetched = graph.part_fetched(caches, engine.cache_bytes)
    if rates is None:
        compute: Floats = graph.flops / engine.flops_per_second
        read = fetched * graph.bytes_read / engine.bytes_per_second
        write: Floats = graph.bytes_written / engine.bytes_per_second
    else:
        compute, read = graph.busy, fetched * graph.bytes_read / rates.read
        together = np.maximum(compute, graph.fetched * graph.bytes_read / rates.read)
        write = np.maximum(0.0, graph.seconds - rates.handing - together)
    return _Parts(compute.tolist(), read.tolist(), write.tolist(), fetched, rates is not None, engine)


def _growth(first: int, most: int, rate: float) -> Iterator[tuple[float, int]]:
    """Yield when there are how many workers, some of a second's at a time."""
    if rate == math.inf:
        if first < most:
            yield 0.0, most
        return
    together = max(1, int(rate * _MOMENT))
    for workers in range(first + together, most + together, together):
        yield (workers - first) / rate, min(workers, most)
