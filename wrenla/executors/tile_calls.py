"""Tile tasks as calls, for executors that reach workers by messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from typing import Any

from wrenla.errors import NeverStarted
from wrenla.executors.calls.call import Batch, Call
from wrenla.executors.calls.dispatcher import Dispatcher
from wrenla.executors.calls.options import CallOptions
from wrenla.executors.calls.retry_policy import raised
from wrenla.workspace.ownership import MANIFEST, run_of
from wrenla_handler.serialize.blobs import load
from wrenla_handler.stores.base import Data
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.arrays import ArraySpec, stored
from wrenla_handler.tiles.messages import TaskAnswer, TaskRequest
from wrenla_handler.tiles.task import Task
from wrenla_handler.tiles.worker import Report

__all__ = ["TILES", "TileRun", "TileWork"]

TILES = "tile tasks"
"""Stands where calls have their function."""


class TileRun:
    """The tile tasks of one run.

    Parameters
    ----------
    calls : Dispatcher
    projected : int
        Bytes of memory that the largest task needs.
    options : CallOptions, optional
        Of the executor.
    """

    def __init__(self, calls: Dispatcher, projected: int, options: CallOptions | None = None) -> None:
        self.over = False
        self._calls = calls
        self._projected = projected
        self._options = CallOptions(idempotent=True, logs=(options or CallOptions()).logs)
        self._batch = Batch(complete=True)
        self._active: set[Any] = set()

    def submit(self, tasks: Sequence[Task], arrays: Mapping[str, ArraySpec]) -> list[Future[Report]]:
        """Submit some tasks as one call."""
        names = {name for task in tasks for name in task.arrays()}
        request = TaskRequest(tasks, {name: arrays[name] for name in names}, self._projected)
        label = f"{len(tasks)} tile tasks" if len(tasks) > 1 else f"the task of tile {tasks[0].out}"
        whole = self._calls.new_future()
        call = Call(whole, self._options, label, TILES, TileWork(request, self), self._batch)
        ended: list[Future[Report]] = [_TaskFuture(whole) for _ in tasks]
        whole.add_done_callback(lambda _: self._distribute(whole, ended, label))
        # Before it is submitted: a call that ends at once takes itself out of the set, where it would stay.
        self._active.add(whole)
        self._calls.submit(call)
        return ended

    def end(self) -> None:
        """Give up what is still under way."""
        self.over = True
        if self._active:
            self._calls.stop(set(self._active), grace=0.0)

    def _distribute(self, whole: Any, ended: Sequence[Future[Report]], label: str) -> None:
        """Hand the outcomes of tasks to their futures."""
        self._active.discard(whole)
        for number, future in enumerate(ended):
            if whole.cancelled() or not future.set_running_or_notify_cancel():
                future.cancel()
            elif whole.exception() is not None:
                future.set_exception(whole.exception())
            else:
                try:
                    self._settle(future, whole.result()[number], label)
                except Exception as error:  # a failure that cannot be read: whoever waits must be told
                    future.set_exception(error)

    def _settle(self, future: Future[Report], outcome: Any, label: str) -> None:
        match outcome:
            case None:
                future.set_exception(NeverStarted(f"{label}: the invocation's time was over before it began"))
            case Report():
                future.set_result(outcome)
            case packed:
                error = raised(load(packed, _inside), label)
                self._calls.transport.explain(error)
                future.set_exception(error)


class _TaskFuture(Future[Report]):
    """Future of one task of a call: it can be cancelled as long as the call can."""

    def __init__(self, whole: Future[Any]) -> None:
        super().__init__()
        self._whole = whole

    def cancel(self) -> bool:
        return self._whole.cancel() and super().cancel()


def _inside(key: str) -> Data:
    raise AssertionError(f"{key}: all of a failure travels inside the message")


class TileWork:
    """Some tasks of a run, as the arguments of a call.

    Parameters
    ----------
    request : TaskRequest
    run : TileRun
    """

    def __init__(self, request: TaskRequest, run: TileRun) -> None:
        self.request = request
        self._run = run

    def clear_up(self, answer: TaskAnswer) -> None:
        """Remove what a second copy of these tasks has written after the end of the run, if it has.

        It was not there when the run's folder was removed, and nobody else would do it.
        """
        if not self._run.over:
            return
        for task, outcome in zip(self.request.tasks, answer.outcomes, strict=True):
            spec = stored(self.request.arrays, task.out.array)
            folder = run_of(spec.url)
            if not folder or not isinstance(outcome, Report) or not outcome.committed:
                continue
            with closing(open_store(folder)) as root:
                if root.exists(MANIFEST):  # kept, or somebody has resumed the run
                    continue
            with closing(open_store(spec.url)) as store:
                store.delete(spec.key(task.out))
