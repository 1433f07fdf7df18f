"""Loop around the scheduler: pass its actions to executor and store, and their outcomes back."""

from __future__ import annotations

import heapq
import logging
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, fields, replace

from wrenla.errors import Lost, NeverStarted, WorkerDied
from wrenla.executors.base import Executor
from wrenla.executors.calls.stats import Stats
from wrenla.planning.graph import Graph
from wrenla.planning.plan import Plan
from wrenla.run.events import (
    Event,
    Listener,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskRetried,
    TaskStarted,
    Totals,
    WaveFinished,
    WaveStarted,
    described,
)
from wrenla.run.scheduler import (
    Action,
    BeginWave,
    Begun,
    Done,
    Drop,
    EndWave,
    Failed,
    Finish,
    Input,
    Policy,
    Resized,
    Retry,
    State,
    Stop,
    Submit,
    Woken,
    initial_state,
    step,
)
from wrenla_handler.errors import StoreError, ThreadLimitError, TransientStoreError
from wrenla_handler.machine import resident_bytes
from wrenla_handler.stores.base import Reach, Store
from wrenla_handler.threads import Threads
from wrenla_handler.tiles.arrays import ArraySpec, stored
from wrenla_handler.tiles.worker import Report

__all__ = ["Job", "run_job"]

logger = logging.getLogger("wrenla.run")

_TRANSIENT = (
    *(TransientStoreError, ConnectionError, TimeoutError),
    *(WorkerDied, Lost, NeverStarted),
)
"""What the next attempt need not meet again: a tile task may run any number of times."""

_SLOW_START, _TOO_LONG = 8, 4
"""A first batch has this part of the tasks that it might have; a batch that lasts so many times as long as it
should is too long."""

_REMOVERS = 8
"""Requests at a time that remove tiles from a store that is far away."""

_GRACE = 300.0
"""Seconds that a failed run waits for tasks still in a kernel, so that none writes after the clean-up."""

_INTERRUPT_GRACE = 1.5
"""The same after Ctrl-C, when somebody is waiting."""


@dataclass(frozen=True, slots=True)
class Job:
    """A plan bound to data: everything that a run needs.

    Attributes
    ----------
    name : str
    graph : Graph
    arrays : mapping of str to ArraySpec
        What fills each array name of the plan.
    wanted, present : sequences of int
        Tasks whose tiles are results; tasks whose tiles are there already.
    batch : int
        How many tasks may be handed to a worker at once.
    worthwhile : float
        Seconds of work that a batch should have. Tasks may take longer than the plan believes, above all
        functions of the user's: then fewer go together.
    plan : Plan, optional
        For listeners.
    """

    name: str
    graph: Graph
    arrays: Mapping[str, ArraySpec]
    wanted: Sequence[int]
    present: Sequence[int]
    batch: int = 1
    worthwhile: float = 0.0
    plan: Plan | None = None


def run_job(
    job: Job,
    executor: Executor,
    policy: Policy,
    listeners: Sequence[Listener] = (),
    slots: Callable[[], int] | None = None,
) -> Totals:
    """Run what is left to do of a job.

    Parameters
    ----------
    job : Job
    executor : Executor
    policy : Policy
    listeners : sequence of callables
        Are told every event.
    slots : callable, optional
        Returns how many tasks are handed to the executor at a time, where workers join and leave.

    Returns
    -------
    Totals

    Raises
    ------
    Exception
        The error of the task that stopped the run, as the worker raised it.
    """
    return _Loop(job, executor, policy, listeners, slots).run()


@dataclass(slots=True)
class _Loop:
    job: Job
    executor: Executor
    policy: Policy
    listeners: Sequence[Listener]
    slots: Callable[[], int] | None = None
    totals: Totals = field(default_factory=Totals)
    ended: queue.SimpleQueue[tuple[int, Future[Report]]] = field(default_factory=queue.SimpleQueue)
    futures: dict[int, Future[Report]] = field(default_factory=dict)
    alarms: list[tuple[float, int]] = field(default_factory=list)
    errors: dict[int, BaseException] = field(default_factory=dict)
    kernels: dict[int, str] = field(default_factory=dict)
    ready: list[int] = field(default_factory=list)
    left: dict[int, set[int]] = field(default_factory=dict)
    batches: int = 0
    seconds: float | None = None  # of a task, lately
    removals: Threads = field(default_factory=lambda: Threads(_REMOVERS, "wrenla-drop"))
    finished: bool = False
    failed: int | None = None

    def run(self) -> Totals:
        job = self.job
        state = initial_state(job.graph, job.wanted, job.present, self.policy)
        began, calls = time.perf_counter(), self.executor.task_stats()
        self._tell(
            RunStarted(
                job.name,
                state.tasks,
                state.todo,
                sum(1 for left in state.wave_left.values() if left),
                float(job.graph.flops.sum()),
                self.executor.workers,
                time.time(),
                job.plan,
                repr(self.executor),
                resident_bytes() if self.executor.reach == Reach.PROCESS else 0,
            )
        )
        error = ""
        try:
            state = self._step(state, Begun())
            while not self.finished and self.failed is None:
                # what has ended meanwhile comes first: what it makes ready can go together
                if job.batch == 1 or self.ended.empty():
                    self._submit()
                state = self._step(state, self._wait())
            if self.failed is not None:
                self._wind_down(_GRACE)
                raise self.errors[self.failed]
        except BaseException as reason:
            error = described(reason)
            if self.failed is None:
                self._wind_down(_INTERRUPT_GRACE)
            raise
        finally:
            # the run's folder is removed whole, so what is left to remove may be left
            self.removals.shutdown(wait=True, cancel_futures=True)
            self.totals.seconds = time.perf_counter() - began
            spent = _difference(self.executor.task_stats(), calls)
            took, failed = self.totals.seconds, -1 if self.failed is None else self.failed
            self._tell(RunFinished(job.name, took, error, self.totals, time.time(), spent, failed))
        return self.totals

    def _step(self, state: State, event: Input) -> State:
        state, actions = step(state, event)
        for action in actions:
            self._act(action)
        return state

    def _act(self, action: Action) -> None:
        now = time.time()
        match action:
            case Submit(p, attempt, after):
                task = self.job.graph.task(p)
                self.kernels[p] = task.kernel
                if self.listeners:
                    out, wave = task.out, int(self.job.graph.level[p])
                    tile = out.i, out.j, out.partial
                    self._tell(TaskStarted(p, task.kernel, attempt, now, wave, after, tile))
                self.ready.append(p)
            case Drop(p):
                self._drop(p)
            case Retry(p, attempt, delay):
                heapq.heappush(self.alarms, (time.monotonic() + delay, p))
                error = self.errors[p]
                self.totals.retries += 1
                logger.info("task %d failed (%s), again in %.1f s", p, error, delay)
                self._tell(TaskRetried(p, attempt, described(error), delay, now))
            case BeginWave(wave, tasks):
                self._tell(WaveStarted(wave, tasks, now))
            case EndWave(wave):
                self._tell(WaveFinished(wave, now))
            case Finish():
                self.finished = True
            case Stop(p):
                self.failed = p

    def _submit(self) -> None:
        """Hand out what is ready: in batches, unless there would be fewer of them than workers."""
        while self.ready:
            idle = max(1, self.executor.workers * (1 + self.executor.ahead) - self.batches)
            size = max(1, min(self._most_together(), -(-len(self.ready) // idle)))
            batch, self.ready = self.ready[:size], self.ready[size:]
            tasks = [self.job.graph.task(p) for p in batch]
            self.batches += 1
            left = set(batch)
            futures = self.executor.submit_tasks(tasks, self.job.arrays)
            for p, future in zip(batch, futures, strict=True):
                self.futures[p], self.left[p] = future, left
                # It is called by the thread that ends the task, or here if that is over: it only puts into a
                # queue, so that all state belongs to the thread of the loop.
                future.add_done_callback(self._report_to_queue(p))

    def _most_together(self) -> int:
        """Return how many tasks may go together: few until it is known how long they take."""
        most = self.job.batch
        if most == 1:
            return 1
        if self.seconds is None:
            return max(1, most // _SLOW_START)
        return max(1, min(most, int(_TOO_LONG * self.job.worthwhile / max(1e-6, self.seconds))))

    def _report_to_queue(self, p: int) -> Callable[[Future[Report]], None]:
        return lambda future: self.ended.put((p, future))

    def _wait(self) -> Input:
        """Return the next thing that happens."""
        if self.slots is not None and (slots := self.slots()) != self.policy.slots:
            self.policy = replace(self.policy, slots=slots)
            return Resized(slots)
        while True:
            timeout = None
            if self.alarms:
                timeout = self.alarms[0][0] - time.monotonic()
                if timeout <= 0:
                    return Woken(heapq.heappop(self.alarms)[1])
            try:
                p, future = self.ended.get(timeout=timeout)
            except queue.Empty:
                continue
            return self._outcome(p, future)

    def _outcome(self, p: int, future: Future[Report]) -> Input:
        self.futures.pop(p, None)
        left = self.left.pop(p)
        left.remove(p)
        self.batches -= not left
        if future.cancelled():
            raise RuntimeError("the executor was shut down in the middle of the run")
        error = future.exception()
        if error is not None:
            self.errors[p] = error
            return Failed(p, isinstance(error, _TRANSIENT))
        report, flops = future.result(), float(self.job.graph.flops[p])
        self.totals.add(report, flops)
        took = report.read_seconds + report.compute_seconds + report.write_seconds
        self.seconds = took if self.seconds is None else self.seconds + 0.2 * (took - self.seconds)
        kernel = self.kernels.pop(p)
        if self.listeners:
            self._tell(TaskFinished(p, kernel, flops, report, time.time()))
        return Done(p)

    def _drop(self, p: int) -> None:
        """Remove a tile that nobody will read again."""
        ref = self.job.graph.out(p)
        spec = stored(self.job.arrays, ref.array)
        self.executor.forget(spec, ref)
        store = self.executor.home.store(spec.url)
        key = spec.key(ref)
        if store.reach == Reach.ANYWHERE:  # a request takes longer than a step of ours
            try:
                self.removals.submit(_delete, store, key)
            except ThreadLimitError as error:  # it goes with the rest when the run is over
                logger.warning("tiles that nobody needs any more stay until the run is over: %s", error)
        else:
            _delete(store, key)

    def _wind_down(self, grace: float) -> None:
        """Cancel what has not begun and wait a while for what has."""
        # All are cancelled before one is waited for: a worker that becomes free would begin the next.
        for future in self.futures.values():
            future.cancel()
        deadline = time.monotonic() + grace
        for future in self.futures.values():
            try:
                future.exception(timeout=max(0.0, deadline - time.monotonic()))
            except Exception as late:
                logger.debug("while winding down: %r", late)

    def _tell(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)


def _difference(now: Stats, before: Stats) -> dict[str, float]:
    """Return what has been counted between two looks, except what is a state and no count."""
    counted = {field.name for field in fields(Stats)} - {"waiting", "running", "workers"}
    grown = {name: getattr(now, name) - getattr(before, name) for name in sorted(counted)}
    return {name: more for name, more in grown.items() if more}


def _delete(store: Store, key: str) -> None:
    try:
        store.delete(key)
    except StoreError as error:  # no reason to fail: it goes with the rest when the run is over
        logger.warning("a tile that nobody needs any more could not be removed: %s", error)
