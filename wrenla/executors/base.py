"""Executor contract: a `concurrent.futures.Executor` that can also run tile tasks."""

from __future__ import annotations

import concurrent.futures
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from wrenla.executors.calls.stats import Stats
from wrenla.executors.map_api.executor import CallingExecutor
from wrenla.planning.cost_model import ExecutorModel
from wrenla_handler.stores.base import Reach
from wrenla_handler.stores.urls import reach_of
from wrenla_handler.tiles.arrays import ArraySpec, TileRef
from wrenla_handler.tiles.cache import Tile
from wrenla_handler.tiles.reader import Report, TileReader
from wrenla_handler.tiles.task import Task
from wrenla_kernels import scipy_blas_info

__all__ = ["Executor", "check_executor", "current_executor", "set_executor"]

T = TypeVar("T")

_entered: ContextVar[tuple[Executor, ...]] = ContextVar("entered", default=())

_set: list[Executor] = []
"""The executor of `set_executor`, for all threads."""


def current_executor() -> Executor | None:
    """Return the executor of the innermost ``with`` block, or else of `set_executor`, if there is one."""
    entered = next(reversed(_entered.get()), None)
    if entered is not None or not _set:
        return entered
    (executor,) = _set
    try:
        executor.calls.check_open()
    except RuntimeError as error:  # never silently somewhere else
        raise RuntimeError(
            f"{error}; it is what wrenla.set_executor was told: tell it another one, or None"
        ) from None
    return executor


def set_executor(executor: Executor | None) -> Executor | None:
    """Use an executor wherever none is named, in all threads, until another one is set.

    For a notebook, or a script whose functions all compute somewhere else. Inside the ``with`` block of an
    executor that one comes first, in the thread (or asyncio task) that has entered it.

    Parameters
    ----------
    executor : Executor or None
        None: back to the one that the settings describe.

    Returns
    -------
    Executor or None
        The one that was set before. It is not shut down: whoever has made an executor ends it, or the
        program does.

    Raises
    ------
    TypeError
        It is no executor.
    RuntimeError
        It has been shut down.

    Examples
    --------
    >>> import wrenla as wl
    >>> executor = wl.LocalExecutor(workers=1)
    >>> wl.set_executor(executor)
    >>> wl.default_executor() is executor
    True
    >>> wl.set_executor(None) is executor
    True
    >>> executor.shutdown()
    """
    check_executor(executor)
    if executor is not None:
        executor.calls.check_open()
    before = next(iter(_set), None)
    _set[:] = [] if executor is None else [executor]
    return before


def check_executor(executor: Any) -> Executor | None:
    """Return what was passed as `executor`, None for the default one, and refuse what is none.

    Raises
    ------
    TypeError
        Its message says what would be one.

    Examples
    --------
    >>> check_executor(3)
    Traceback (most recent call last):
      ...
    TypeError: executor=3: an executor of wrenla, as wl.LocalExecutor(…), or None for the default one
    """
    if executor is None or isinstance(executor, Executor):
        return executor
    raise TypeError(
        f"executor={executor!r}: an executor of wrenla, as wl.LocalExecutor(…), or None for the default one"
    )


class Executor(CallingExecutor):
    """Runs calls and tile tasks. Inside its ``with`` block it is the default executor; the end ends it.

    That is so in the thread, or the asyncio task, that has entered the block; `set_executor` is for all.

    Functions, arguments and results of calls are pickled where workers are other processes: closures, lambdas
    and what is defined in a script or a notebook travel, too, and so do local modules that they need. Every
    call ends: with a value, with what the function raised, or with an error that names the cause.

    Attributes
    ----------
    workers : int
        Calls, and tile tasks, that run at the same time.
    reach : Reach
        How far away the workers of tile tasks are: they see only stores and arrays that reach as far.
    ahead : int
        Batches of tile tasks that wait at each worker beside the one that it carries out: where a message
        takes a while.
    dask_client : distributed.Client or None
        Of the cluster that the workers belong to.
    own_store : str
        URL of the store for temporaries if no setting names one; "" for the folder of this user.

    Examples
    --------
    >>> import wrenla as wl
    >>> with wl.LocalExecutor(workers=2) as executor:
    ...     list(executor.map(lambda x: x**2, range(5)))
    [0, 1, 4, 9, 16]
    """

    workers: int
    reach: Reach
    own_store: str = ""
    ahead: int = 0
    dask_client: Any = None

    def __enter__(self) -> Self:
        _entered.set((*_entered.get(), self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _entered.set(tuple(executor for executor in _entered.get() if executor is not self))
        if isinstance(error, KeyboardInterrupt):
            self.calls.stop()
        self.shutdown(wait=True)

    @property
    @abstractmethod
    def model(self) -> ExecutorModel:
        """Cost model of this executor, by which tiles and cuts are chosen: the same whatever is measured."""

    def measured(self) -> ExecutorModel:
        """Return the cost model with the rates of the workers, as far as they are known, or measured now."""
        return self.model

    @property
    @abstractmethod
    def home(self) -> TileReader:
        """Reader in this process, to gather results."""

    def reach_of(self, url: str, shared: str = "") -> Reach:
        """Return how far away what is at an address can be seen, as far as these workers are concerned.

        Parameters
        ----------
        url : str
        shared : str
            Folders that several machines have, as in ``PATH``.
        """
        return reach_of(url, shared)

    def task_stats(self) -> Stats:
        """Return statistics of the calls that carry tile tasks."""
        return self.stats()

    def numerics(self) -> dict[str, Any]:
        """Return what the bits of results depend on: BLAS as the workers have it, and NumPy."""
        return {"blas": asdict(scipy_blas_info()), "numpy": np.__version__}

    @abstractmethod
    def session(self, hosts: Mapping[str, Tile], projected: int) -> AbstractContextManager[None]:
        """Make ready for a run, and clear up after it.

        Parameters
        ----------
        hosts : mapping of str to ndarray
            Arrays in the memory of this process that tasks read, by identity.
        projected : int
            Bytes of memory that the largest task needs.
        """

    @abstractmethod
    def submit_task(self, task: Task, arrays: Mapping[str, ArraySpec]) -> concurrent.futures.Future[Report]:
        """Run one task. The future ends with its report, or with the error that it met."""

    def submit_tasks(
        self, tasks: Sequence[Task], arrays: Mapping[str, ArraySpec]
    ) -> list[concurrent.futures.Future[Report]]:
        """Run some tasks, none of which waits for another, on one worker if that saves time."""
        return [self.submit_task(task, arrays) for task in tasks]

    def submit_here(self, function: Callable[[], T]) -> concurrent.futures.Future[T]:
        """Call a function in a thread that runs tile tasks; at once, in this thread, if it has no other.

        Only executors whose workers see this process are asked to.
        """
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        try:
            future.set_result(function())
        except Exception as error:
            future.set_exception(error)
        return future

    @abstractmethod
    def forget(self, spec: ArraySpec, ref: TileRef) -> None:
        """Free what is kept of a tile that nobody will read again."""

    @abstractmethod
    def forget_array(self, spec: ArraySpec) -> None:
        """Free what is kept of all tiles of an array."""
