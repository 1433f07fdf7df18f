"""`DaskExecutor`: the workers of a Dask cluster as executor."""

from __future__ import annotations

import socket
import threading
import time
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, Never

from wrenla.config import settings
from wrenla.errors import NestedCallError, ServiceError
from wrenla.executors.base import Executor
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
from wrenla.executors.calls.stats import Stats
from wrenla.executors.dask.cluster import Cluster
from wrenla.executors.dask.connection import PATIENCE, Connection
from wrenla.executors.dask.rates import cluster_rates
from wrenla.executors.dask.transport import DaskTransport
from wrenla.executors.tile_calls import TileRun
from wrenla.executors.transport.scratch import ScratchSpace
from wrenla.planning.cost_model import ExecutorModel
from wrenla.units import format_bytes
from wrenla_handler.rates import Rates
from wrenla_handler.stores.base import Reach
from wrenla_handler.tiles.arrays import ArraySpec, TileRef
from wrenla_handler.tiles.cache import Tile
from wrenla_handler.tiles.task import Task
from wrenla_handler.tiles.worker import Report, Worker, cache_key

__all__ = ["DaskExecutor"]

_PORT = 8786
"""Of schedulers, where the address has none."""

_ARGUMENTS = ("client_or_address", "allowed_mem", "workers", "blas_threads", "logs")

_ELSEWHERE = {
    **NOT_OF_EXECUTORS,
    "address": "did you mean 'client_or_address'?",
    "client": "did you mean 'client_or_address'?",
    "cluster": "pass it as the first argument: wl.DaskExecutor(cluster)",
    "n_workers": "did you mean 'workers'? They are threads of Dask's workers",
    "n_jobs": "did you mean 'workers'?",
    "threads_per_worker": "it is said where the workers are started",
    "memory_limit": "it is said where the workers are started; tile tasks may use 'allowed_mem' of it",
    "resources": "tile tasks know their memory: 'allowed_mem' is what they may use on each worker",
    "kind": "calls run in processes of the workers",
    "locality": "tiles go through the store, where a worker's death loses none",
    "store": "the setting `store` (WRENLA_STORE) says where temporaries go",
}
"""Words of other libraries."""

_HOME_CACHE = 256 << 20
"""Bytes of tiles that are kept here while a result is gathered."""

_OVERHEAD_PER_THREAD = 24 << 20
"""Bytes that BLAS's packing buffer and a thread's stack take beside the tiles."""


class DaskExecutor(Executor):
    """Executor on a Dask cluster (needs ``wrenla[distributed]``).

    Tiles go through the store, so a worker that dies loses none. Calls run in processes of their own on the
    workers: each ends with a value or a named cause, can be stopped, and costs nobody else anything if it
    crashes. Dask itself repeats no call: it only sees tasks named ``wrenla-pilot-…``, which hold a thread of
    a worker for as long as there is work, and share it with other tasks.

    Parameters
    ----------
    client_or_address : distributed.Client, cluster or str, optional
        A client, which stays open; a cluster, such as ``LocalCluster``; or the address of a scheduler, as
        "tcp://host:8786". By default the client that is the current one.
    allowed_mem : int or str, optional
        Bytes of memory that tile tasks may use on each worker, e.g. "2 GiB"; by default half of its memory
        limit: at 60 % Dask begins to move its own data to disk.
    workers : int, optional
        Threads of Dask's workers that are used at most, and asked for where the cluster grows; by default all
        that there are.
    blas_threads : int
        Threads of BLAS in each tile task.
    logs : {"show", "quiet", "stderr"}, optional
        Where what calls print is shown, see `options`. What functions of tiles print is in the workers' logs.

    Raises
    ------
    ServiceError
        No scheduler answers at an address, or it has no workers.
    VersionError
        wrenla, NumPy, SciPy, cloudpickle or Python differ on all of the workers, or wrenla is not there.
    ValueError, TypeError
        There is no client; it is closed, or asynchronous; or it is something else.

    Examples
    --------
    ::

        from distributed import Client, LocalCluster

        with LocalCluster(n_workers=2, threads_per_worker=1) as cluster, Client(cluster):
            with wl.DaskExecutor() as executor:
                x = wl.open("/shared/A").solve(b).compute()
    """

    reach = Reach.SHARED
    ahead = 1

    def __init__(
        self,
        client_or_address: Any = None,
        *,
        allowed_mem: int | str | None = None,
        workers: int | None = None,
        blas_threads: int = 1,
        logs: Literal["show", "quiet", "stderr"] | None = None,
        max_workers: int | None = None,
        **unknown: Never,
    ) -> None:
        check_names("DaskExecutor", unknown, _ARGUMENTS, kind="argument", elsewhere=_ELSEWHERE)
        said = "workers" if max_workers is None else "max_workers"
        workers = one_of("workers", workers, "max_workers", max_workers)
        most = None if workers is None else at_least_one(said, workers)
        allowed = 0 if allowed_mem is None else memory_bytes("allowed_mem", allowed_mem)
        self.blas_threads = at_least_one("blas_threads", blas_threads)
        self._options = CallOptions(logs=logs)
        name = f"calls-{uuid.uuid4().hex[:12]}"
        self._connection = connection = _connected(client_or_address)
        self.dask_client = connection.client
        self._cluster = Cluster(connection, name, most=most, allowed=allowed, blas=self.blas_threads)
        scratch = ScratchSpace(name, Reach.SHARED, reach_of=self._cluster.folders.reach_of)
        self._calls = Dispatcher(self.workers, DaskTransport(scratch, self._cluster), name)
        # while one is carried out the next one is on its way
        self._tiles = Dispatcher(
            (1 + self.ahead) * self.workers, DaskTransport(scratch, self._cluster), f"{name}-tiles"
        )
        self._home = Worker(_HOME_CACHE, readers=4)
        self._run = TileRun(self._tiles, 0, self._options)
        self._inside = threading.local()
        self._lock, self._measuring = threading.Lock(), threading.Lock()
        self._rates: list[Rates | None] = []
        self._cluster.changed = _Resize(self._calls, self._tiles)
        self._cluster.changed(self.workers)  # some may have come meanwhile
        self._finalizer = weakref.finalize(self, let_go, self._calls, self._home, self._tiles)
        self._finalizer.atexit = False
        ended_at_exit(self._tiles)
        ended_at_exit(self._calls)

    @property
    def workers(self) -> int:  # type: ignore[override]
        """Threads of Dask's workers that are used: more or fewer when workers join or leave."""
        return self._cluster.slots

    @property
    def calls(self) -> Dispatcher:
        """The queue of calls, and what carries them to the workers."""
        return self._calls

    @property
    def model(self) -> ExecutorModel:
        """Cost model: 1 GB/s to and from a folder, and 2 ms for a message."""
        remotes = self._cluster.remotes
        allowed = min((r.allowed // max(1, r.threads) for r in remotes), default=1 << 30)
        return ExecutorModel(
            workers=self.workers,
            flops_per_second=60e9 * self.blas_threads,
            bytes_per_second=1e9,
            latency=2e-3,
            longest_task=60.0,
            allowed_bytes=max(1, allowed - _OVERHEAD_PER_THREAD),
            worthwhile=0.02,
        )

    def measured(self) -> ExecutorModel:
        """Return the cost model with the rates of the workers.

        One of each machine is measured when this is first asked for. The setting `measure` turns it off.
        """
        found, model = settings(), self.model
        if not found.measure:
            return model
        with self._measuring:
            if not self._rates:
                seen = self.reach_of(found.store, found.shared_folders) >= Reach.SHARED
                place = found.store if seen else "memory://measured"
                self._rates = [
                    cluster_rates(self._connection, self._cluster.remotes, place, self.blas_threads)
                ]
            (rates,) = self._rates
        if rates is None:
            return model
        # by its address: a folder is looked for on all workers, and every evaluation comes here
        kept = model.allowed_bytes if super().reach_of(found.store) == Reach.ANYWHERE else 0
        return replace(model, rates=rates.behind(model.latency), cache_bytes=kept)

    @property
    def home(self) -> Worker:
        return self._home

    def task_stats(self) -> Stats:
        return self._tiles.stats()

    def numerics(self) -> dict[str, Any]:
        """Return the workers' BLAS and NumPy; where they differ, those of all of them."""
        facts = [remote.facts for remote in self._cluster.remotes]
        blas = [found["blas"] for found in facts]
        numpy = facts[0]["packages"]["numpy"] if facts else ""
        kinds = [each for number, each in enumerate(blas) if each not in blas[:number]]
        return {"blas": kinds[0] if len(kinds) == 1 else kinds, "numpy": numpy}

    def reach_of(self, url: str, shared: str = "") -> Reach:
        """Return how far away an address can be seen; a folder, by asking the workers whether they do."""
        return self._cluster.folders.reach_of(url, shared)

    @contextmanager
    def session(self, hosts: Mapping[str, Tile], projected: int) -> Iterator[None]:
        self._calls.check_open()
        if getattr(self._inside, "run", False):
            raise NestedCallError(
                "a function that is told the events of a run asked the same executor for a run of its own, "
                "which would wait for itself: compute what it needs before"
            )
        # one run at a time: two would share neither the memory nor the processors well
        with self._lock, self._home.holding(hosts):
            self._run = TileRun(self._tiles, projected, self._options)
            try:
                self._inside.run = True
                yield
            finally:
                self._inside.run = False
                self._run.end()

    def submit_task(self, task: Task, arrays: Mapping[str, ArraySpec]) -> Future[Report]:
        return self.submit_tasks([task], arrays)[0]

    def submit_tasks(self, tasks: Sequence[Task], arrays: Mapping[str, ArraySpec]) -> list[Future[Report]]:
        return self._run.submit(tasks, arrays)

    def forget(self, spec: ArraySpec, ref: TileRef) -> None:
        """Have workers drop a tile with the next task that they get: a mapped file would keep its space."""
        for tile in spec.tiles_with(ref):
            self._cluster.drop(cache_key(spec, tile))

    def forget_array(self, spec: ArraySpec) -> None:
        self._home.cache.drop_array(spec.name)
        self._cluster.drop_array(spec.name)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the executor when all submitted calls have ended; the cluster, and a given client, stay.

        Parameters
        ----------
        wait : bool
            Ctrl-C while it waits gives up what is running.
        cancel_futures : bool
            Cancel what has not begun.
        """
        try:
            try:
                self._calls.shutdown(wait=wait, cancel_futures=cancel_futures)
            finally:
                self._tiles.shutdown(wait=wait, cancel_futures=cancel_futures)
        finally:
            if wait:
                self._home.close()
                self._finalizer.detach()

    def __repr__(self) -> str:
        allowed = min((remote.allowed for remote in self._cluster.remotes), default=0)
        return (
            f"DaskExecutor({self._cluster.address!r}, workers={self.workers}, "
            f"allowed_mem={format_bytes(allowed)!r} each)"
        )


class _Resize:
    """Tells the queues how many workers there are, without keeping an executor alive."""

    def __init__(self, calls: Dispatcher, tiles: Dispatcher) -> None:
        self._calls, self._tiles = weakref.ref(calls), weakref.ref(tiles)

    def __call__(self, slots: int) -> None:
        for dispatcher, each in ((self._calls(), 1), (self._tiles(), 1 + DaskExecutor.ahead)):
            if dispatcher is not None:
                dispatcher.resize(each * slots)


def _connected(given: Any) -> Connection:
    """Return a connection by a client, a cluster, an address, or the client that is the current one."""
    try:
        import distributed
    except ImportError:
        raise ImportError("wl.DaskExecutor needs Dask: pip install 'wrenla[distributed]'") from None
    if _holds_a_thread(distributed):
        raise ValueError(
            "this is a task of Dask's, and would wait for others while it holds its thread: with "
            "distributed.worker_client() as client: wl.DaskExecutor(client); or compute here, by "
            "wl.LocalExecutor(1)"
        )
    if given is None:
        given = _current(distributed)
    if isinstance(given, distributed.Client):
        if given.asynchronous:
            raise ValueError(
                "the client is asynchronous: give the executor one of its own, wl.DaskExecutor(address), and "
                "await its futures by asyncio.wrap_future"
            )
        if given.status in ("closed", "closing"):
            raise ValueError(f"the client has been closed ({given!r}): make another one")
        return Connection(given, owned=False)
    address = getattr(given, "scheduler_address", given)
    if not isinstance(address, str):
        raise TypeError(
            f"client_or_address={given!r}: a distributed.Client, a cluster, an address as 'tcp://host:8786', "
            "or None for the client that is the current one"
        )
    try:
        _hear(distributed, address)
        make: Any = distributed.Client  # has no types
        client = make(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ServiceError(
            f"{address!r}: no Dask scheduler answers there ({_one_line(error)}): start one (dask scheduler), "
            "or see to its address, host:8786"
        ) from error
    return Connection(client, owned=True)


def _hear(distributed: Any, address: str) -> None:
    """Wait for the first byte of a scheduler: it speaks first, and Dask's client would wait for ever.

    Raises OSError or ValueError if there is none: of a client that fails a thread stays.
    """
    scheme, place = distributed.comm.parse_address(address)
    distributed.comm.registry.get_backend(scheme)
    if scheme != "tcp":
        return
    place, until = distributed.comm.parse_host_port(place, _PORT), time.monotonic() + PATIENCE
    while True:
        try:
            connection = socket.create_connection(place, PATIENCE)
            break
        except OSError:
            if time.monotonic() > until:  # it may be just about to start
                raise
            time.sleep(0.1)
    with connection:
        if not connection.recv(1):
            raise OSError("whoever is there says nothing")


def _holds_a_thread(distributed: Any) -> bool:
    """Tell whether this is a task of Dask's that has not let others have its thread (`secede`)."""
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return bool(getattr(distributed.threadpoolexecutor.thread_state, "proceed", False))


def _current(distributed: Any) -> Any:
    try:
        return distributed.default_client()
    except ValueError:
        raise ValueError(
            "there is no Dask client: pass the address of a scheduler, wl.DaskExecutor('tcp://host:8786'), "
            "or make a client before: distributed.Client()"
        ) from None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
