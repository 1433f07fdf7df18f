"""Simulation of a run: the scheduler of real runs, with events of a described engine in place of workers."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wrenla.errors import PlanError
from wrenla.forecast.engine import Engine
from wrenla.forecast.simulation import Simulation
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
    """A limit that all share: what passes through it takes turns."""

    rate: float
    free: float = 0.0

    def passed(self, now: float, amount: float) -> float:
        """Return when an amount has passed that begins now at the earliest."""
        if self.rate == math.inf:
            return now
        self.free = max(self.free, now) + amount / self.rate
        return self.free


class _Run:
    """A run in the course of which nothing but time passes."""

    def __init__(self, plan: Plan, engine: Engine, schedule: Schedule) -> None:
        speeds = _parts(plan, engine)
        engine = engine.filled(plan.model.typical)
        assert engine.workers is not None
        assert engine.initial_workers is not None
        self.plan, self.engine = plan, engine
        self.now = 0.0
        self.events: list[tuple[float, int, Input]] = []
        self.sent = itertools.count()
        self.chance = random.Random(engine.seed)
        self.warm = self.cold = self.retries = 0
        self.driver_free = 0.0
        self.finished = False
        self.requests = _Pipe(engine.requests_per_second)
        self.bytes = _Pipe(engine.total_bytes_per_second)
        self.spans: list[tuple[float, float, int]] = []
        self.stored, self.peak, self.byte_seconds, self.changed = 0.0, 0.0, 0.0, 0.0
        graph = plan.graph
        self.compute, self.read, self.write = (part.tolist() for part in speeds)
        self.moved: list[float] = (graph.bytes_read + graph.bytes_written).tolist()
        self.written: list[float] = graph.bytes_written.tolist()
        self.reads: list[int] = graph.reads.tolist()
        at_first = min(engine.workers, engine.initial_workers)
        self.state = initial_state(graph, plan.wanted, [], Policy(schedule, at_first))
        for time, workers in _growth(at_first, engine.workers, engine.workers_per_second):
            self.happens(time, Resized(workers))

    def run(self) -> Simulation:
        self.step(Begun())
        while not self.finished:
            self.now, _, event = heapq.heappop(self.events)
            match event:
                case Done(task):
                    self.warm += 1
                    self.store(self.written[task])
                case Failed():
                    self.warm += 1
                    self.retries += 1
            self.step(event)
        self.store(0)
        spans = np.array(self.spans, np.float64).reshape(-1, 3)
        return Simulation(
            self.plan,
            self.engine,
            seconds=self.now,
            begin=spans[:, 0],
            end=spans[:, 1],
            task=spans[:, 2].astype(np.int64),
            retries=self.retries,
            cold_starts=self.cold,
            peak_bytes_stored=self.peak,
            byte_seconds=self.byte_seconds,
        )

    def step(self, event: Input) -> None:
        self.state, actions = step(self.state, event)
        for action in actions:
            match action:
                case Submit(task, _):
                    self.submit(task)
                case Drop(task):
                    self.store(-self.written[task])
                case Retry(task, _, delay):
                    self.happens(self.now + delay, Woken(task))
                case Stop(task):
                    raise PlanError(
                        f"the simulated run fails: task {task} failed {self.state.attempts[task]} times, as "
                        f"{self.engine.failures:.3g} of all attempts do"
                    )
                case Finish():
                    self.finished = True

    def happens(self, time: float, event: Input) -> None:
        heapq.heappush(self.events, (time, next(self.sent), event))

    def submit(self, task: int) -> None:
        """Let a free worker begin a task, and say when it ends."""
        engine, begin = self.engine, self.now
        if engine.dispatch:
            begin = self.driver_free = max(self.driver_free, begin) + engine.dispatch
        if self.warm:
            self.warm -= 1
        else:
            self.cold += 1
            begin += engine.cold_start
        at = max(begin + (engine.latency or 0.0), self.requests.passed(begin, self.reads[task] + 1))
        read, compute, write, reads = self.read[task], self.compute[task], self.write[task], self.reads[task]
        hidden = engine.overlap * min(read - read / reads, compute) if reads else 0.0
        # what all workers together may move is taken at the beginning: in the mean it is the same
        end = max(at + read - hidden + compute + write, self.bytes.passed(at, self.moved[task]))
        if engine.stragglers and self.chance.random() < engine.stragglers:
            end += (engine.straggler_factor - 1) * (end - at)
        outcome: Input = Done(task)
        if engine.failures and self.chance.random() < engine.failures:
            outcome, end = Failed(task, True), begin + self.chance.random() * (end - begin)
        self.spans.append((begin, end, task))
        self.happens(end, outcome)

    def store(self, nbytes: float) -> None:
        """Note that tiles are stored, or, if negative, removed."""
        self.byte_seconds += self.stored * (self.now - self.changed)
        self.changed = self.now
        self.stored += nbytes
        self.peak = max(self.peak, self.stored)


def _parts(plan: Plan, engine: Engine) -> tuple[Floats, Floats, Floats]:
    """Return the seconds that each task computes, reads and writes.

    On an engine that names no speed they add up to what the plan says, by rates that were measured, too; what
    is known of another one is a rate for all kernels.
    """
    graph, model = plan.graph, plan.model
    own = (engine.flops_per_second, engine.bytes_per_second, engine.latency) == (None, None, None)
    engine = engine.filled(model.typical)
    assert engine.flops_per_second is not None
    assert engine.bytes_per_second is not None
    assert engine.latency is not None
    read, write = graph.bytes_read / engine.bytes_per_second, graph.bytes_written / engine.bytes_per_second
    if model.rates is None or not own:
        return graph.flops / engine.flops_per_second, read, write
    worked = np.maximum(0, graph.seconds - engine.latency)
    moved = read + write
    share = np.minimum(1, worked / np.maximum(moved, 1e-12))  # what was measured may be less than that
    return worked - share * moved, share * read, share * write


def _growth(first: int, most: int, rate: float) -> Iterator[tuple[float, int]]:
    """Yield when there are how many workers, some of a second's at a time."""
    if rate == math.inf:
        if first < most:
            yield 0.0, most
        return
    together = max(1, int(rate * _MOMENT))
    for workers in range(first + together, most + together, together):
        yield (workers - first) / rate, min(workers, most)
