"""`LocalExecutor`: this machine as executor."""

from __future__ import annotations

import logging
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Literal, Never, TypeVar

from wrenla.config import settings
from wrenla.errors import NestedCallError
from wrenla.executors.base import Executor
from wrenla.executors.calls.call import Transport
from wrenla.executors.calls.dispatcher import Dispatcher
from wrenla.executors.calls.options import (
    NOT_OF_EXECUTORS,
    CallOptions,
    at_least_one,
    check_names,
    memory_bytes,
    one_of,
)
from wrenla.executors.calls.shutdown import ended_at_exit, let_go
from wrenla.executors.local.process_channels import ProcessTransport
from wrenla.executors.local.processes import THREADS_OF_BLAS
from wrenla.executors.local.threads import ThreadTransport
from wrenla.executors.local.tile_threads import TileThreads
from wrenla.executors.measured import measured_rates
from wrenla.executors.transport.scratch import ScratchSpace
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.plan import plans_bytes
from wrenla.units import counted, format_bytes
from wrenla_handler.calls.context import current_call
from wrenla_handler.errors import StoreError
from wrenla_handler.machine import memory_of_this_machine, processors
from wrenla_handler.stores.base import Reach
from wrenla_handler.stores.room import rooms_bytes, spill_rooms
from wrenla_handler.tiles.arrays import ArraySpec, TileRef
from wrenla_handler.tiles.cache import Tile
from wrenla_handler.tiles.task import Task
from wrenla_handler.tiles.worker import Report, Worker, cache_key
from wrenla_kernels import blas_threads, core_type_warning

__all__ = ["LocalExecutor", "memory_of_this_machine"]

logger = logging.getLogger("wrenla.executors")

T = TypeVar("T")

_ARGUMENTS = (
    "workers",
    "kind",
    "allowed_mem",
    "blas_threads",
    "max_calls_per_child",
    "max_memory_per_child",
    "logs",
)

_ELSEWHERE = {
    **NOT_OF_EXECUTORS,
    "n_jobs": "did you mean 'workers'? (None, not -1, is one for each processor)",
    "n_workers": "did you mean 'workers'?",
    "processes": "did you mean 'workers', or kind='process'?",
    "threads_per_worker": "did you mean 'blas_threads', or kind='thread'?",
    "memory": "did you mean 'allowed_mem', which is of all workers together?",
    "memory_limit": "did you mean 'allowed_mem', which is of all workers together?",
    "maxtasksperchild": "did you mean 'max_calls_per_child'?",
    "backend": "did you mean 'kind'? It is 'process' or 'thread'",
    "mp_context": "worker processes are fresh ones, always, as those that multiprocessing spawns",
    "thread_name_prefix": "threads are named by the executor",
}
"""Words of other libraries."""

_OVERHEAD_PER_WORKER = 24 << 20
"""Bytes that BLAS's packing buffer and a thread's stack take beside the tiles."""

_LEAST_PER_WORKER = 64 << 20
"""Bytes for each worker, below which fewer of them, with larger tiles, get further."""


class LocalExecutor(Executor):
    """Executor on this machine: calls run in processes or threads, tile tasks in threads.

    The kernels let go of the GIL, so threads are as good as processes for tile tasks, and share their tiles.
    For your own functions they mostly are not, hence processes: fresh ones, started when the first call needs
    them, each with a NumPy seed of its own, without need of ``if __name__ == "__main__"``.

    Parameters
    ----------
    workers : int, optional
        Calls, and tasks, that run at the same time; by default one for each processor that this process may
        use, within the quota of its control groups; fewer if there is little memory.
    kind : {"process", "thread"}
        Where calls run. Threads need nothing to be pickled and share what they refer to, but they cannot be
        ended: what a timeout or Ctrl-C gives up goes on until it ends by itself.
    allowed_mem : int or str, optional
        Bytes of memory that all workers together may use beside the interpreter's own, memory-mapped tiles
        included, e.g. "2 GiB"; of it 24 MiB a worker are for BLAS, and the rest for tiles. By default half
        of what this process may use: of the machine, or less if a control group (of SLURM, systemd, a
        container), or ``ulimit``, sets a limit.
    blas_threads : int
        Threads of each kernel, and of BLAS in worker processes. With as many workers as
        processors, 1 is best.
    max_calls_per_child : int, optional
        A worker process is replaced after so many calls.
    max_workers, max_tasks_per_child : int, optional
        `workers` and `max_calls_per_child`, as `concurrent.futures` calls them.
    max_memory_per_child : int or str, optional
        A worker process is replaced after a call in which it has used more memory than this, e.g. "2 GiB".
    logs : {"show", "quiet", "stderr"}, optional
        Where what calls print is shown, see `options`.

    Raises
    ------
    ThreadLimitError
        The system does not start so many threads for us; the message names the limits. None is left.

    Examples
    --------
    >>> import wrenla as wl
    >>> with wl.LocalExecutor(workers=2, allowed_mem="1 GiB") as executor:
    ...     x = wl.eye(3).compute(executor)
    >>> float(x.trace())
    3.0
    """

    reach = Reach.PROCESS

    def __init__(
        self,
        workers: int | None = None,
        kind: Literal["process", "thread"] = "process",
        *,
        allowed_mem: int | str | None = None,
        blas_threads: int = 1,
        max_calls_per_child: int | None = None,
        max_memory_per_child: int | str | None = None,
        logs: Literal["show", "quiet", "stderr"] | None = None,
        max_workers: int | None = None,
        max_tasks_per_child: int | None = None,
        **unknown: Never,
    ) -> None:
        check_names("LocalExecutor", unknown, _ARGUMENTS, kind="argument", elsewhere=_ELSEWHERE)
        said = "workers" if max_workers is None else "max_workers"
        workers = one_of("workers", workers, "max_workers", max_workers)
        max_calls_per_child = one_of(
            "max_calls_per_child", max_calls_per_child, "max_tasks_per_child", max_tasks_per_child
        )
        if kind not in ("process", "thread"):
            raise ValueError(f"kind={kind!r}: calls run in 'process' or 'thread'")
        if workers is not None:
            workers = at_least_one(said, workers)
        blas_threads = at_least_one("blas_threads", blas_threads)
        if max_calls_per_child is not None:
            max_calls_per_child = at_least_one("max_calls_per_child", max_calls_per_child)
        if kind == "thread" and not max_calls_per_child is max_memory_per_child is None:
            raise ValueError("max_calls_per_child and max_memory_per_child are for kind='process'")
        worn_out = None
        if max_memory_per_child is not None:
            worn_out = memory_bytes("max_memory_per_child", max_memory_per_child)
        if allowed_mem is None:
            allowed_mem = memory_of_this_machine() // 2
        self.kind = kind
        self.allowed_mem = memory_bytes("allowed_mem", allowed_mem)
        self.workers = workers or max(1, min(processors(), self.allowed_mem // _LEAST_PER_WORKER))
        self.blas_threads = blas_threads
        least = self.workers * (_OVERHEAD_PER_WORKER + (1 << 20))
        if self.allowed_mem < least:
            raise ValueError(
                f"allowed_mem={format_bytes(self.allowed_mem)} is too little for "
                f"{counted(self.workers, 'worker')}: "
                f"allow at least {format_bytes(least)} or use fewer workers"
            )
        _warn_of_core_type()
        self._options = CallOptions(logs=logs)
        self._inside = threading.local()
        self._pool = TileThreads(self.workers, self._inside)
        self._home = Worker(self._for_tiles)
        self._lock = threading.Lock()
        name = f"calls-{uuid.uuid4().hex[:12]}"
        transport: Transport
        if kind == "thread":
            transport = ThreadTransport(ScratchSpace(name, Reach.PROCESS))
        else:
            variables = dict.fromkeys(THREADS_OF_BLAS, str(blas_threads))
            transport = ProcessTransport(
                ScratchSpace(name, Reach.HOST), variables, max_calls=max_calls_per_child, max_bytes=worn_out
            )
        self._calls = Dispatcher(self.workers, transport, name)
        # for those who do not end it: it goes with its last user, and its calls end before the program
        self._finalizer = weakref.finalize(self, let_go, self._calls, self._home, self._pool)
        self._finalizer.atexit = False
        ended_at_exit(self._calls)

    @property
    def calls(self) -> Dispatcher:
        """The queue of calls, and the processes or threads that carry them out."""
        return self._calls

    @property
    def _for_tiles(self) -> int:
        return self.allowed_mem - self.workers * _OVERHEAD_PER_WORKER

    @property
    def model(self) -> ExecutorModel:
        """Cost model: 2 GB/s to the cache of a local disk, and 0.1 ms for a task."""
        return ExecutorModel(
            workers=self.workers,
            flops_per_second=60e9 * self.blas_threads,
            bytes_per_second=2e9,
            latency=1e-4,
            longest_task=60.0,
            allowed_bytes=self._for_tiles // self.workers,
            tile_bytes=self._for_tiles // 4,
            processors=max(1, processors() // self.blas_threads),
        )

    def measured(self) -> ExecutorModel:
        """Return the cost model with the rates of this machine.

        The first time, that takes about a second; they are kept in the cache folder. The setting `measure`
        turns it off.
        """
        found = settings()
        if not found.measure:
            return self.model
        rates = measured_rates(found.store, self.workers, self.blas_threads, self.allowed_mem)
        kept = self._for_tiles if self.reach_of(found.store) == Reach.ANYWHERE else 0
        return replace(self.model, rates=rates, cache_bytes=kept)

    @property
    def home(self) -> Worker:
        return self._home

    def submit_task(self, task: Task, arrays: Mapping[str, ArraySpec]) -> Future[Report]:
        return self._pool.submit(self._home.run, task, arrays)

    def submit_here(self, function: Callable[[], T]) -> Future[T]:
        return self._pool.submit(function)

    @contextmanager
    def session(self, hosts: Mapping[str, Tile], projected: int) -> Iterator[None]:
        self._calls.check_open()
        call = current_call()
        nested = call is not None and call.owner is self._calls.transport
        if nested or getattr(self._inside, "worker", False) or getattr(self._inside, "run", False):
            raise NestedCallError(
                "a function that runs on an executor, or is told its events, asked the same executor for a "
                "run of its own, which would wait for itself: compute what it needs before"
            )
        # one run at a time: two would share neither the memory nor the processors well
        with self._lock, blas_threads(self.blas_threads), self._home.holding(hosts):
            try:
                self._inside.run = True
                left = self._for_tiles - self.workers * projected
                self._spill(left)
                self._home.cache.resize(max(0, left - plans_bytes() - rooms_bytes()))
                yield
            finally:
                self._inside.run = False
                self._pool.leave_behind()  # whoever ran them has waited for them as long as it would
                self._home.buffers.clear()

    def _spill(self, most: int) -> None:
        """Have kept tiles of other runs leave memory for this one; if their disk is full they stay."""
        try:
            spill_rooms(most)
        except StoreError as error:
            logger.warning("tiles of kept factors stay in memory, beyond what is allowed: %s", str(error))

    def forget(self, spec: ArraySpec, ref: TileRef) -> None:
        for tile in spec.tiles_with(ref):
            self._home.cache.drop(cache_key(spec, tile))

    def forget_array(self, spec: ArraySpec) -> None:
        self._home.cache.drop_array(spec.name)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End processes and threads when all submitted calls have ended.

        Parameters
        ----------
        wait : bool
            Return when that is so. Ctrl-C while it waits ends what is running.
        cancel_futures : bool
            Cancel what has not begun.
        """
        try:
            self._calls.shutdown(wait=wait, cancel_futures=cancel_futures)
        finally:
            self._pool.shutdown(wait=wait, cancel_futures=cancel_futures)
            if wait:
                self._home.close()
                self._finalizer.detach()

    def __repr__(self) -> str:
        allowed = format_bytes(self.allowed_mem)
        return f"LocalExecutor(workers={self.workers}, kind={self.kind!r}, allowed_mem={allowed!r})"


@cache
def _warn_of_core_type() -> None:
    """Warn once if OpenBLAS uses slower kernels than the processor allows."""
    warning = core_type_warning()
    if warning is not None:
        logger.warning(warning)
