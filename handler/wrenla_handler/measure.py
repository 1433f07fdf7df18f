"""Measurement of a worker, for about a second: kernels on small and large tiles, memory, store.

Kernels are timed by the processor time of their thread, which others on the machine hardly change, and with
as many threads side by side as there are workers: they share memory and the processor's clock.
"""

from __future__ import annotations

import statistics
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np

import wrenla_kernels as kernels
from wrenla_handler.rates import CURVES, DTYPES, PASSES, Rates, fitted
from wrenla_handler.stores.base import Store
from wrenla_handler.stores.urls import open_store
from wrenla_handler.threads import Threads
from wrenla_handler.tiles.arrays import FormulaArray, StoredArray, TileRef
from wrenla_handler.tiles.buffers import empty_tile
from wrenla_handler.tiles.cache import Tile
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.sources import as_bytes
from wrenla_handler.tiles.task import Read, Task
from wrenla_handler.tiles.worker import Worker
from wrenla_kernels import blas_threads

__all__ = ["measure"]

_SMALL, _LARGE, _MIDDLE = 160, 800, 448
"""Edges of the tiles of kernels; the last is that on which dtypes are compared."""

_ROWS, _ENTRIES = 4096, 4 << 20
"""Rows, and entries for all workers together, of what moves through memory: more than caches hold."""

_PIECE = 32
"""Columns of them that a function makes at a time: 1 MiB."""

_COLUMNS = 128
"""At least, and those of tiles that are written and read: 4 MiB."""

_NEW = 12
"""Tiles of memory, and of the store, that are used for the first time."""

_SECONDS = 0.012
"""Of each number; a kernel that lasts longer is timed twice."""

_TASKS = 24
"""Tasks of one number, whose time is what a task takes beside its work."""

_START = 30
"""Tasks that take as long as the beginning and the end of a run. Measured: 10 ms, of tasks of 0.3 ms."""

_PATIENCE = 60.0
"""Seconds after which threads that measure side by side do not wait for each other any more."""

_Timer = Callable[[], float]


def measure(url: str, workers: int = 1, threads: int = 1) -> Rates:
    """Measure one of several workers of this process while all of them work.

    Parameters
    ----------
    url : str
        Address of the store. What is written there is removed again.
    workers : int
        Threads that work side by side.
    threads : int
        Threads of BLAS for each of them.

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
    timer = time.thread_time if threads == 1 else time.perf_counter
    together = threading.Barrier(workers)
    columns = max(_COLUMNS, _ENTRIES // _ROWS // workers)
    with blas_threads(threads), Threads(workers, "wrenla-measure") as pool:
        futures = [pool.submit(_of_one, url, columns, timer, together) for _ in range(workers)]
        found = [future.result() for future in futures]
    middle = {name: statistics.median(each[name] for each in found) for name in found[0]}
    return Rates(
        kernels=tuple(
            fitted((_SMALL, _LARGE), (middle[f"{name} {_SMALL}"], middle[f"{name} {_LARGE}"]))
            for name in CURVES
        ),
        dtypes=tuple(middle[dtype] / middle["float64"] for dtype in DTYPES),
        **{name: middle[name] for name in PASSES},
        task=middle["task"],
        start=_START * middle["task"],
    )


def _of_one(url: str, columns: int, timer: _Timer, together: threading.Barrier) -> dict[str, float]:
    """Return what one worker does in a second, by name."""
    found: dict[str, float] = {}
    rng = np.random.default_rng(0)
    together.wait(_PATIENCE)
    for edge in (_SMALL, _LARGE):
        for name, (prepare, work, flops) in _kernels(rng, edge, "float64").items():
            found[f"{name} {edge}"] = flops / _seconds(prepare, work, timer)
    for dtype in DTYPES:
        prepare, work, flops = _kernels(rng, _MIDDLE, dtype)["gemm"]
        found[dtype] = flops / _seconds(prepare, work, timer)
    for name, (work, nbytes) in _passes(rng, columns).items():
        found[name] = nbytes / _seconds(_nothing, work, timer)
    found["fresh"] = _fresh(timer)
    with closing(open_store(url)) as store:
        found |= _store(store, rng)
    found["task"] += _task()
    return found


def _seconds(prepare: Callable[[], object], work: Callable[[], object], timer: _Timer) -> float:
    """Return the time of the fastest of some repetitions: others were disturbed."""
    spent: list[float] = []
    while len(spent) < 2 or (sum(spent) < _SECONDS and len(spent) < 50):
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
    work, triangle = empty_tile(n, n, dtype), np.asfortranarray(np.tril(a) / n)
    triangle[np.diag_indices(n)] = 2
    definite = np.asfortranarray(a / n + (a / n).T)
    definite[np.diag_indices(n)] = 4

    def of(source: Tile) -> Callable[[], object]:
        return lambda: np.copyto(work, source)

    each = 4 if np.dtype(dtype).kind == "c" else 1
    return {
        "gemm": (_nothing, lambda: kernels.gemm(1, a, "N", b, "N", work), each * 2 * n**3),
        "trsm_left": (of(a), lambda: kernels.trsm("L", triangle, work, uplo="L", op="N"), each * n**3),
        "trsm_right": (of(a), lambda: kernels.trsm("R", triangle, work, uplo="L", op="C"), each * n**3),
        "potrf": (of(definite), lambda: kernels.potrf(work), each * n**3 / 3),
        "getrf": (of(a), lambda: kernels.getrf(work), each * 2 * n**3 / 3),
        "inverse": (of(definite), lambda: kernels.getri(work), each * 2 * n**3),
    }


def _passes(rng: np.random.Generator, n: int) -> dict[str, tuple[Callable[[], object], int]]:
    """Return what goes through memory, and its bytes, by name."""
    m = _ROWS
    a, b = abs(_matrix(rng, m, n, "float64")), empty_tile(m, n, "float64")
    pivots = np.arange(n) + rng.integers(0, m - n, n)

    def called() -> None:  # in pieces, as a user's function is
        for j in range(0, n, _PIECE):
            piece = a[:, j : j + _PIECE]
            b[:, j : j + _PIECE] = np.exp(-piece) * (1 + piece)

    return {
        "copied": (lambda: np.copyto(b, a), a.nbytes),
        "exchanged": (lambda: kernels.laswp(b, pivots), a.nbytes),
        "looked": (lambda: kernels.abs_sizes(a), a.nbytes),
        "called": (called, a.nbytes),
    }


def _fresh(timer: _Timer) -> float:
    """Return the bytes a second of memory that is used for the first time.

    A virtual machine's host takes back what its guest does not use: each tile is another one, as in a run.
    """
    tile = np.ones((_ROWS, _COLUMNS), order="F")
    begun, kept = timer(), []
    for _ in range(_NEW):
        kept.append(empty_tile(*tile.shape, tile.dtype))
        np.copyto(kept[-1], tile)
    return _NEW * tile.nbytes / max(timer() - begun, 1e-9)


def _matrix(rng: np.random.Generator, m: int, n: int, dtype: str) -> Tile:
    a = np.empty((m, n), dtype, order="F")
    a.real = rng.standard_normal((m, n))
    if a.dtype.kind == "c":
        a.imag = a.real[::-1]
    return a


def _store(store: Store, rng: np.random.Generator) -> dict[str, float]:
    """Return the bytes a second to and from a store, and the seconds in which it takes very few.

    By the clock: who waits for a disk does not work. The objects are named as those of the doctor's probe,
    so that `wrenla clean` knows one that a killed process has left.
    """
    tile = _matrix(rng, _ROWS, _COLUMNS, "float64")
    data, keys = as_bytes(tile), [f"doctor-{uuid.uuid4().hex}" for _ in range(2 * _NEW)]
    large, small = iter(keys[:_NEW]), iter(keys[_NEW:])

    def write() -> None:  # other pages of memory each time, if the store has any
        for _ in range(_NEW // 3):
            store.put(next(large), data, create=True)

    def read() -> None:
        np.frombuffer(store.get(keys[0]), np.uint8)[:: 1 << 12].max()

    try:
        written = _best(write, 3)
        return {
            "written": _NEW // 3 * tile.nbytes / written,
            "read": tile.nbytes / _best(read, 3),
            "task": _best(lambda: store.put(next(small), data[:8], create=True), _NEW),
        }
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


def _task() -> float:
    """Return the seconds of a task that has hardly anything to do, its store aside."""
    one, side, name = Grid((1, 1), (1, 1)), _TASKS, uuid.uuid4().hex
    out = StoredArray(Grid((side, 1), (1, 1)), "float64", 2, name, f"memory://{name}")
    arrays: dict[str, Any] = {"a": FormulaArray(one, "float64", 2, "eye", formula="eye"), "b": out}
    worker = Worker(0)
    try:
        spent = []
        for i in range(side):
            begun = time.perf_counter()
            base = Read(TileRef("a", 0, 0))
            worker.run(Task(TileRef("b", i, 0), (1, 1), "float64", (base, base)), arrays)
            spent.append(time.perf_counter() - begun)
        return statistics.median(spent)
    finally:
        for key in list(worker.store(out.url).list()):
            worker.store(out.url).delete(key)
        worker.close()
