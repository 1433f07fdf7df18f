"""Cost model of an executor: seconds of a task, from which cuts and tile sizes follow."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from wrenla.units import counted
from wrenla_handler.rates import CURVES, DTYPES, PASSES, Rates

__all__ = ["GB_MONTH", "TILES_IN_USE", "ExecutorModel", "choose_tile", "largest_tile"]


GB_MONTH = 2.0**30 * 30 * 86400
"""Bytes times seconds for which stores ask the price of a gigabyte and a month."""

_SHORT = 30.0
"""Seconds that may be lost: temporary tiles of a longer run are kept for whoever resumes it."""


@dataclass(frozen=True, slots=True)
class ExecutorModel:
    """Cost model of an executor: workers, speeds, latency, memory, prices.

    Parameters
    ----------
    workers : int
        Tasks that run at the same time.
    flops_per_second : float
        Of one worker, in real double precision operations.
    bytes_per_second : float
        Between one worker and the store, each way.
    latency : float
        Seconds that a task costs beside its work.
    longest_task : float
        Seconds that one task may last.
    allowed_bytes : int
        Memory that one worker may use.
    worthwhile : float
        Seconds of work that are worth handing to a worker at all: shorter tasks go together. 0: any.
    tile_bytes : int
        Memory of this process that temporary tiles of short runs may take, if its threads are the workers and
        nobody has chosen a store; 0: none.
    dollars_per_second, dollars_per_invocation, dollars_per_put, dollars_per_get : float
        What a worker costs while it works, handing something to it, and requests to the store.
    dollars_per_gb_month : float
        A gigabyte (2**30 bytes) in the store for 30 days.
    rates : Rates, optional
        As measured, for the seconds that a plan expects. What is chosen (tiles, cuts, ways to solve) follows
        from the nominal numbers above alone: it has to be the same tomorrow.
    functions : tuple of (str, float)
        Bytes a second that functions of users make, by their digests. Others count by `rates.called`.
    uploads : bool
        Whether arrays of this process are brought to the store first, as its workers are elsewhere.
    cache_bytes : int
        Bytes that a worker has for its task and for tiles that it keeps at hand, in memory and on its disk,
        or that all of them have, if they share a machine. 0: the store, which is near, is asked for each.
    processors : int
        Of the machine that all workers share, by the threads of one of them: more of them take turns, and as
        many as there are share its memory. 0: each worker brings its own.
    cold_start : float
        Seconds before a worker's first task. This and what follows is for simulations only.
    initial_workers : int, optional
        Workers that can start at once; all of them if None.
    workers_per_second : float
        Further workers that can start in a second.
    function : FunctionSpec, optional
        The function on AWS Lambda that it is a model of.
    """

    workers: int
    flops_per_second: float
    bytes_per_second: float
    latency: float
    longest_task: float
    allowed_bytes: int
    worthwhile: float = 0.0
    tile_bytes: int = 0
    dollars_per_second: float = 0.0
    dollars_per_invocation: float = 0.0
    dollars_per_put: float = 0.0
    dollars_per_get: float = 0.0
    dollars_per_gb_month: float = 0.0
    rates: Rates | None = None
    functions: tuple[tuple[str, float], ...] = ()
    uploads: bool = False
    cache_bytes: int = 0
    processors: int = 0
    cold_start: float = 0.0
    initial_workers: int | None = None
    workers_per_second: float = math.inf
    function: Any = None

    def __str__(self) -> str:
        """Return what predictions rest on, a line each."""
        measured, workers = self.rates, counted(self.workers, "worker")
        if measured is None:
            flops, nbytes = self.flops_per_second / 1e9, self.bytes_per_second / 1e9
            return f"{workers}, not measured: {flops:.3g} GFLOP/s and {nbytes:.3g} GB/s each"
        rows = [("kernel", "large tiles", "half of it on tiles of")]
        rows += [
            (name, f"{curve.flops / 1e9:.3g} GFLOP/s", f"{curve.half:.0f}")
            for name, curve in zip(CURVES, measured.kernels, strict=True)
        ]
        rows += [
            (name, f"× {times:.3g}", "")
            for name, times in zip(DTYPES, measured.dtypes, strict=True)
            if times != 1
        ]
        rows += [(name, f"{getattr(measured, name) / 1e9:.3g} GB/s", "") for name in PASSES]
        rows += [(name, f"{1e3 * getattr(measured, name):.2g} ms", "") for name in ("task", "tile")]
        if measured.mine < 0.95:
            rows += [("busy", f"{100 * (1 - measured.mine):.0f} % of the time with other work", "")]
        table = "\n".join(f"  {name:<12}{rate:<14}{edge}".rstrip() for name, rate, edge in rows)
        return f"{workers}, each of them as measured beside the others:\n{table}"

    def keeps(self, work: float) -> bool:
        """Tell whether temporary tiles of a run with so many seconds of work stay in memory if they fit."""
        return bool(self.tile_bytes) and work <= _SHORT * self.workers

    @property
    def nominal(self) -> ExecutorModel:
        """This model without measured rates, and as if nothing were at hand: decisions are made by it."""
        if self.rates is None and not self.cache_bytes:
            return self
        return replace(self, rates=None, cache_bytes=0)

    @property
    def caches(self) -> int:
        """Number of workers that keep tiles for themselves: threads of one process have them together."""
        return 1 if self.processors else self.workers

    @property
    def handing(self) -> float:
        """Seconds of a task that those which go to a worker together have in common."""
        return self.latency if self.rates is None else self.rates.handing

    @property
    def typical(self) -> ExecutorModel:
        """The measured model with one rate for all operations, and one for all bytes of the store."""
        rates = self.rates
        if rates is None:
            return self
        return replace(
            self,
            rates=None,
            flops_per_second=rates.curve("gemm").flops,
            bytes_per_second=min(rates.read, rates.written),
            latency=rates.task,
        )

    def with_workers(self, workers: int) -> ExecutorModel:
        """Return the model of more or fewer workers: on one machine they share what it has."""
        if not self.processors:
            return replace(self, workers=workers)
        before, after = (max(1.0, count / self.processors) for count in (self.workers, workers))
        return replace(
            self,
            workers=workers,
            allowed_bytes=max(1, self.allowed_bytes * self.workers // workers),
            rates=self.rates and self.rates.shared(after / before),
        )

    def seconds(self, flops: float, nbytes: float) -> float:
        """Return what a task takes that neither waits nor overlaps."""
        return self.latency + flops / self.flops_per_second + nbytes / self.bytes_per_second


TILES_IN_USE = 10
"""Upper estimate of the tiles that one task holds at a time: result, factors, what is read ahead."""


def largest_tile(itemsize: int, model: ExecutorModel) -> int:
    """Return the edge of the largest square tiles with which one task fits into a worker."""
    return math.isqrt(model.allowed_bytes // (TILES_IN_USE * itemsize))


def choose_tile(length: int, itemsize: int, model: ExecutorModel) -> int:
    """Return an edge for square tiles of a matrix whose longer side has `length` entries.

    Small enough that a worker holds a task's tiles and that there are several for each worker, and large
    enough that arithmetic outweighs transfer, as several times the balanced edge 8 F/B (F flop/s, B bytes/s)
    does.

    Examples
    --------
    >>> choose_tile(14336, 8, ExecutorModel(2, 60e9, 2e9, 1e-4, 60, 8 << 30))
    1440
    """
    fits = largest_tile(itemsize, model)
    if length <= min(256, fits):
        return max(1, length)
    balanced = round(8 * model.flops_per_second / model.bytes_per_second)
    largest = max(1, min(fits, 4080, max(2000, 2 * balanced)))
    # N tiles a side give about N²/2 tasks in the middle of a factorization: 10 keep two workers busy, and 8
    # do where 10 would make tiles so small that the kernels on them are slower
    busy = 10 if length >= 10 * 1024 else 8
    sides = max(busy, math.isqrt(16 * model.workers), -(-length // largest))
    smallest = min(largest, max(256, balanced // 2))  # below it, tasks are mostly waiting
    edge = max(-(-length // sides), smallest)
    if edge + 31 > largest:
        return min(edge, largest)
    edge = -(-edge // 16) * 16
    # columns whose distance is a power of two share a few cache lines: such tiles are some percent slower
    return edge + 16 if edge % 256 == 0 else edge
