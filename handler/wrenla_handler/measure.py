"""Measurement of a worker, for about a second: kernels on small and large tiles, memory, store.

Kernels are timed by the processor time of their thread, which others on the machine hardly change, and with
as many threads side by side as there are workers: they share memory and the processor's clock.
"""

from __future__ import annotations

import logging
import statistics
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import numpy as np

import wrenla_kernels as kernels
from wrenla_handler.errors import StoreError
from wrenla_handler.machine import is_virtual
from wrenla_handler.rates import CURVES, DTYPES, PASSES, SMALLEST, Rates, fitted
from wrenla_handler.stores.base import RUNS, Store
from wrenla_handler.stores.local import LocalStore
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.urls import join, open_store
from wrenla_handler.threads import Threads
from wrenla_handler.tiles.arrays import FormulaArray, StoredArray, TileRef
from wrenla_handler.tiles.buffers import empty_tile
from wrenla_handler.tiles.cache import Tile
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.sources import as_bytes
from wrenla_handler.tiles.task import Read, Task, Term
from wrenla_handler.tiles.worker import CACHED, Worker
from wrenla_kernels import blas_threads

__all__ = ["measure", "measure_at"]

logger = logging.getLogger("wrenla.worker")

_LARGE, _MIDDLE = 800, 448
"""Edge of the largest tiles of kernels, and of those on which dtypes are compared."""

_ROWS, _ENTRIES = 4096, 4 << 20
"""Rows, and entries for all workers together, of what moves through memory: more than caches hold."""

_PIECE = 32
"""Columns of them that a function makes at a time: 1 MiB."""

_COLUMNS = 128
"""At least, and those of tiles that are written and read: 4 MiB."""

_NEW = 32
"""Tiles of the store that are used for the first time: of all workers together."""

_DIRECT = 6
"""Those that are written past the page cache, of each worker."""

_FEW_BYTES = 48
"""Objects of a few bytes: the fastest counts, on a busy machine most are slow."""

_NEW_BYTES, _NEW_SECONDS = 128 << 20, 0.1
"""Memory that is used for the first time, of all workers together, if nobody says how much; and how long."""

_SECONDS, _ROUNDS = 0.012, 3
"""Of each number, and rounds of the kernels; one that lasts longer is timed once in each."""

_TASKS, _PRODUCTS = 24, 64
"""Tasks of one number, whose time is what a task takes beside its work; and products in some of them."""

_AROUND, _START = 10, 20
"""How many times as long as its worker a task keeps the processors busy, with the loop of the run; and tasks
that take as long as the beginning and the end of a run. Measured of tasks that take 0.04 ms: 0.4 ms with
tiles in memory, 0.7 to 1.4 ms in a folder that takes 0.05 to 0.1 ms for each; and 10 ms."""

_FAR = 75e6
"""Bytes a second to and from a store that is not on this machine: none is asked because of a plan."""

_HERE = "memory://measured"

_PATIENCE = 5.0
"""Seconds after which threads that measure side by side do not wait for each other any more."""

_Timer = Callable[[], float]


def measure_at(store: str, workers: int, threads: int, memory: int = _NEW_BYTES) -> Rates:
    """Measure a worker, and the store for its temporaries if that is on this machine and can be written to.

    Parameters
    ----------
    store : str
        Its URL.
    workers, threads, memory
        As `measure` takes them.
    """
    if store.startswith("s3://"):
        return measure(_HERE, workers, threads, memory).at_store(_FAR, _FAR)
    try:
        return measure(join(store, RUNS), workers, threads, memory)
    except StoreError as error:  # who runs something there is told; a plan need not write anything
        logger.debug("the store was not measured: %s", error)
        return measure(_HERE, workers, threads, memory)


def measure(
    url: str, workers: int = 1, threads: int = 1, memory: int = _NEW_BYTES, *, by_clock: bool = False
) -> Rates:
    """Measure one of several workers of this process while all of them work.

    Parameters
    ----------
    url : str
        Address of the store. What is written there is removed again.
    workers : int
        Threads that work side by side.
    threads : int
        Threads of BLAS for each of them.
    memory : int
        Bytes of memory that may be taken, for a tenth of a second, to see what new memory costs, and for
        a store in memory.
    by_clock : bool
        Not by processor time: where a quota stops whoever has used a part of a processor.

    Raises
    ------
    StoreError
        Nothing can be written there.

    Examples
    --------
    >>> measure("memory://measured").curve("gemm").flops > 1e8
    True
    """
    # processor time is that of one thread: it does not see what others of BLAS do
    timer = time.perf_counter if by_clock or threads > 1 else time.thread_time
    together = threading.Barrier(workers)
    columns, share = max(_COLUMNS, _ENTRIES // _ROWS // workers), memory // workers
    with blas_threads(threads), Threads(workers, "wrenla-measure") as pool:
        futures = [pool.submit(_of_one, url, columns, share, timer, together) for _ in range(workers)]
        found = [future.result() for future in futures]
    middle = {name: statistics.median(each[name] for each in found) for name in found[0]}
    return Rates(
        kernels=tuple(
            fitted((SMALLEST, _LARGE), (middle[f"{name} {SMALLEST}"], middle[f"{name} {_LARGE}"]))
            for name in CURVES
        ),
        dtypes=tuple(middle[dtype] / middle["float64"] for dtype in DTYPES),
        **{name: middle[name] for name in PASSES},
        task=middle["task"],
        tile=middle["tile"],
        mine=middle["mine"],
        virtual=float(is_virtual()),
        start=_START * middle["task"],
    )


def _of_one(
    url: str, columns: int, memory: int, timer: _Timer, together: threading.Barrier
) -> dict[str, float]:
    """Return what one worker does in a second, by name."""
    found: dict[str, float] = {}
    mine = 1.0
    rng = np.random.default_rng(0)
    with suppress(threading.BrokenBarrierError):  # the system starts fewer threads: they take turns
        together.wait(_PATIENCE)
    # first, before what others leave behind is used again
    found |= _new_memory(memory, timer)
    with closing(open_store(url)) as store:
        found |= _store(store, max(4, _NEW // together.parties), memory, rng)
    # pages of a file are new memory, too; those here may be such as somebody has used just before
    found["written"] = min(found["written"], found["fresh"])
    found.setdefault("direct", found["written"])
    begun, before = time.perf_counter(), time.thread_time()
    found |= _speeds(rng, timer)
    if timer is time.thread_time:
        mine = (time.thread_time() - before) / (time.perf_counter() - begun)
    found["mine"] = min(1.0, mine)
    for name, (work, nbytes) in _passes(rng, columns).items():
        found[name] = nbytes / _seconds(_nothing, work, timer)
    alone = _task(0, timer)
    with closing(open_store(url)) as store:  # again, as others may have kept the disk busy for a second
        found["task"] = _AROUND * alone + min(found["task"], _small(store))
    found["tile"] = max(1e-9, (_task(_PRODUCTS, timer) - alone) / (2 * _PRODUCTS))
    return found


def _speeds(rng: np.random.Generator, timer: _Timer) -> dict[str, float]:
    """Return the operations a second of kernels, by name and edge, and of `gemm` by dtype.

    Rounds lie apart in time, and the middle one counts: a processor that others share is at times a third
    slower for a tenth of a second, and a long run sees its usual rate, not the best.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(_ROUNDS):
        for edge in (SMALLEST, _LARGE):
            for name, (prepare, work, flops) in _kernels(rng, edge, "float64").items():
                found[f"{name} {edge}"].append(flops / _seconds(prepare, work, timer, 1, _SECONDS / _ROUNDS))
        for dtype in DTYPES:
            prepare, work, flops = _kernels(rng, _MIDDLE, dtype)["gemm"]
            found[dtype].append(flops / _seconds(prepare, work, timer, 2, _SECONDS / _ROUNDS))
    return {name: statistics.median(rates) for name, rates in found.items()}


def _seconds(
    prepare: Callable[[], object],
    work: Callable[[], object],
    timer: _Timer,
    least: int = 2,
    enough: float = _SECONDS,
) -> float:
    """Return the time of the fastest of some repetitions, as others were disturbed: `least`, and `enough`."""
    spent: list[float] = []
    while len(spent) < least or (sum(spent) < enough and len(spent) < 50):
        prepare()
        begun = timer()
        work()
        spent.append(max(timer() - begun, 1e-9))
    return min(spent)


def _nothing() -> None:
    """There is nothing to prepare."""


_Kernel = tuple[Callable[[], object], Callable[[], object], float]


def _kernels(rng: np.random.Generator, n: int, dtype: str) -> dict[str, _Kernel]:
    """Return what makes ready, what is timed, and its operations, by the name of a kernel."""
    a, b = _matrix(rng, n, n, dtype), _matrix(rng, n, n, dtype)
    work, triangle, definite = (empty_tile(n, n, dtype) for _ in range(3))
    work[...] = 0  # new memory is another number
    for j in range(n):  # without temporaries of the size of a tile, which malloc would keep
        triangle[j:, j] = a[j:, j] / n
        definite[:, j] = (a[:, j] + a[j]) / n
        triangle[j, j], definite[j, j] = 2, 4

    def of(source: Tile) -> Callable[[], object]:
        return lambda: np.copyto(work, source)

    each = 4 if np.dtype(dtype).kind == "c" else 1
    return {
        "gemm": (_nothing, lambda: kernels.gemm(1, a, "N", b, "N", work), each * 2 * n**3),
        "herk": (_nothing, lambda: kernels.herk(1, a, "N", work), each * n**2 * (n + 1)),
        "trsm_left": (of(a), lambda: kernels.trsm("L", triangle, work, uplo="L", op="N"), each * n**3),
        "trsm_right": (of(a), lambda: kernels.trsm("R", triangle, work, uplo="L", op="C"), each * n**3),
        "potrf": (of(definite), lambda: kernels.potrf(work), each * n**3 / 3),
        "getrf": (of(a), lambda: kernels.getrf(work), each * 2 * n**3 / 3),
        "inverse": (of(definite), lambda: kernels.getri(work), each * 2 * n**3),
    }


def _passes(rng: np.random.Generator, n: int) -> dict[str, tuple[Callable[[], object], int]]:
    """Return what goes through memory, and its bytes, by name."""
    m = _ROWS
    a, b = _matrix(rng, m, n, "float64"), empty_tile(m, n, "float64")
    np.abs(a, out=a)
    some = b[:, : max(1, CACHED // (m * 8))]
    pivots = np.arange(n) + rng.integers(0, m - n, n)

    def called() -> None:  # in pieces, as a user's function is
        for j in range(0, n, _PIECE):
            piece = a[:, j : j + _PIECE]
            b[:, j : j + _PIECE] = np.exp(-piece) * (1 + piece)

    return {
        "copied": (lambda: np.copyto(b, a), a.nbytes),
        "exchanged": (lambda: kernels.laswp(some, pivots), some.nbytes),
        "looked": (lambda: kernels.abs_sizes(a), a.nbytes),
        "called": (called, a.nbytes),
    }


def _new_memory(memory: int, timer: _Timer) -> dict[str, float]:
    """Return the bytes a second of memory that is used for the first time, and of tiles no cache holds.

    A virtual machine's host takes back what its guest has not used for seconds, and to get it again takes two
    seconds a GiB. What others have let go of just before is used first: so it is the last tiles that count.
    """
    tile = empty_tile(_ROWS, _COLUMNS, "float64")
    tile[...] = 1
    kept, spent = [], list[float]()
    while len(spent) < 4 or (sum(spent) < _NEW_SECONDS and (len(spent) + 1) * tile.nbytes <= memory):
        begun = timer()
        kept.append(empty_tile(_ROWS, _COLUMNS, "float64"))
        np.copyto(kept[-1], tile)
        spent.append(max(timer() - begun, 1e-9))
    # nearly square, as they mostly are
    tiles = [each.reshape((8 * _COLUMNS, -1), order="F") for each in kept]
    m, n = tiles[0].shape
    long, short = np.zeros((n, 1), order="F"), np.zeros((m, 1), order="F")

    def stream() -> None:  # those that the caches have had longest first
        for each in tiles:
            kernels.gemm(1, each, "N", long, "N", short)
        for each in tiles:
            kernels.gemm(1, each, "T", short, "N", long)

    streamed = 2 * len(kept) * tile.nbytes / _seconds(_nothing, stream, timer)
    return {"fresh": tile.nbytes / statistics.median(spent[-4:]), "streamed": streamed}


def _matrix(rng: np.random.Generator, m: int, n: int, dtype: str) -> Tile:
    a = empty_tile(m, n, dtype)  # its memory goes back to the system, where malloc would keep it
    for j in range(n):
        a.real[:, j] = rng.standard_normal(m)
    if a.dtype.kind == "c":
        a.imag = a.real[::-1]
    return a


def _store(store: Store, new: int, memory: int, rng: np.random.Generator) -> dict[str, float]:
    """Return the bytes a second to and from a store, and the seconds in which it takes very few.

    By the clock: who waits for a disk does not work. The objects are named as those of the doctor's probe,
    so that `wrenla clean` knows one that a killed process has left.
    """
    tile = _matrix(rng, _ROWS, _COLUMNS, "float64")
    data = as_bytes(tile)
    if isinstance(store, MemoryStore):
        new = max(1, min(new, memory // tile.nbytes))
    keys = [f"doctor-{uuid.uuid4().hex}" for _ in range(new + _DIRECT)]
    large, past = iter(keys[:new]), iter(keys[new:])

    def read() -> None:
        np.frombuffer(store.get(keys[0]), np.uint8)[:: 1 << 12].max()

    try:
        found = {
            "written": tile.nbytes / _best(lambda: store.put(next(large), data, create=True), new),
            "read": tile.nbytes / _best(read, new),
            "task": _small(store),
        }
        if isinstance(store, LocalStore):  # others have no page cache to go past
            spent = _best(lambda: store.put(next(past), data, create=True, direct=True), _DIRECT)
            found["direct"] = tile.nbytes / spent
        return found
    finally:
        for key in keys:
            store.delete(key)


def _small(store: Store) -> float:
    """Return the seconds in which a store takes very few bytes."""
    keys = [f"doctor-{uuid.uuid4().hex}" for _ in range(_FEW_BYTES)]
    left = iter(keys)
    try:
        return _best(lambda: store.put(next(left), bytes(8), create=True), _FEW_BYTES)
    finally:
        for key in keys:
            store.delete(key)


def _best(work: Callable[[], object], times: int) -> float:
    """Return the seconds of the fastest of some repetitions, by the clock."""
    spent = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        spent.append(max(time.perf_counter() - begun, 1e-9))
    return min(spent)


def _task(products: int, timer: _Timer) -> float:
    """Return the seconds of a task that has hardly anything to do, its store aside."""
    one, side, name = Grid((1, 1), (1, 1)), _TASKS, uuid.uuid4().hex
    out = StoredArray(Grid((side, 1), (1, 1)), "float64", 2, name, f"memory://{name}")
    arrays: dict[str, Any] = {"a": FormulaArray(one, "float64", 2, "eye", formula="eye"), "b": out}
    worker, read = Worker(0), Read(TileRef("a", 0, 0))
    terms = (Term(read, read, n=products, a_step=(0, 0, 0, 0), b_step=(0, 0, 0, 0)),) if products else ()
    try:
        spent = []
        for i in range(side):
            begun = timer()
            worker.run(Task(TileRef("b", i, 0), (1, 1), "float64", (read, read), terms), arrays)
            spent.append(timer() - begun)
        return min(spent)
    finally:
        for key in list(worker.store(out.url).list()):
            worker.store(out.url).delete(key)
        worker.close()
