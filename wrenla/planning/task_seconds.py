"""Expected seconds of tasks, from the rates of the workers that will carry them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.memory import Tiles
from wrenla_handler.rates import CURVES, DIRECT_FROM, SMALLEST, Rates
from wrenla_handler.tiles.finish import finish_kernel
from wrenla_handler.tiles.grid import Pair
from wrenla_handler.tiles.task import Apply, Read, Task, Term

__all__ = ["Work", "task_seconds"]

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int32]

_CHEAP = frozenset(
    {
        *("add", "subtract", "multiply", "divide", "maximum", "minimum"),
        *("negative", "positive", "absolute", "conjugate", "square", "sqrt"),
    }
)
"""Functions of entries that take no longer than memory does. Others count as `exp` with some of these."""


@dataclass(frozen=True)
class Work:
    """Work of the tasks of a graph, in arrays.

    Attributes
    ----------
    tile : array of int32
        Whose sum it belongs to.
    first, last : array of bool
        Whether a task lays the base, and whether it finishes the tile.
    products, reads : arrays of int
        How many products of tiles a task adds up, and how many tiles it reads.
    flops, bytes_read, bytes_written : arrays
    first_need, needs : arrays
        What each task waits for, as in `Graph`.
    """

    tile: _Ints
    first: npt.NDArray[np.bool_]
    last: npt.NDArray[np.bool_]
    products: _Ints
    reads: npt.NDArray[np.int64]
    flops: _Floats
    bytes_read: _Floats
    bytes_written: _Floats
    first_need: npt.NDArray[np.int64]
    needs: _Ints

    def peak(self, stays: npt.NDArray[np.bool_]) -> float:
        """Return the bytes of the most tiles that are there at a time, if tasks run in their order.

        A tile goes with its last reader, and its memory is used again, unless it `stays`: as a result does.
        """
        count = len(self.tile)
        last = np.full(count, count)
        readers = np.repeat(np.arange(count), np.diff(self.first_need))
        last[self.needs] = readers  # the latest one stands, as they are in order
        last[stays] = count
        freed = np.zeros(count + 1)
        np.add.at(freed, last, self.bytes_written)
        return float((np.cumsum(self.bytes_written) - np.cumsum(freed)[:-1]).max(initial=0.0))


def task_seconds(
    tasks: list[Task],
    arrays: Mapping[str, Tiles],
    results: frozenset[str],
    saved: frozenset[str],
    work: Work,
    model: ExecutorModel,
    fetched: float = 1.0,
    kept: float = 0.0,
) -> tuple[_Floats, _Floats]:
    """Return the expected seconds of each task, on a worker beside which all others work.

    And those of them in which it computes: what it reads comes meanwhile, as far as they last.

    Without measured rates all operations are alike, and so are all bytes: decisions are made by these.

    Parameters
    ----------
    tasks : list of Task
        Uncut, as are `arrays`.
    arrays : mapping of str to Tiles
    results, saved : set of str
        Arrays that outlive the run, and those that go to an address, never to memory.
    work : Work
    model : ExecutorModel
    fetched : float
        Part of what tasks read that comes from a store.
    kept : float
        Part of the tiles which a worker keeps at hand, each in memory of its own.
    """
    rates = model.rates
    if rates is None:
        nbytes = fetched * work.bytes_read + work.bytes_written
        busy = work.flops / model.flops_per_second
        return model.latency + busy + nbytes / model.bytes_per_second, busy
    kinds: dict[object, _Kind] = {}
    numbers = np.empty((len(tasks), 5))
    for number, task in enumerate(tasks):
        name = _name(task)
        if name not in kinds:
            kinds[name] = _Costs(arrays, rates).of(task)
        numbers[number] = kinds[name]
    operation, product, base, end_flops, end = numbers[work.tile].T
    terms = work.flops - np.where(work.last, end_flops, 0)
    # a task that goes on with a sum begins by a copy of it
    begun = np.where(work.first, base, work.bytes_written / rates.copied)
    busy = terms * operation + work.products * product + begun + np.where(work.last, end, 0)
    busy += rates.tile * work.reads
    # tiles are read ahead of the kernels
    found = rates.task + np.maximum(busy, fetched * work.bytes_read / rates.read)
    here = np.array([task.out.array not in saved for task in tasks], bool)[work.tile]
    cached = here | ~work.last | (work.bytes_written < DIRECT_FROM)
    fresh = max(0.0, 1 / rates.fresh - 1 / rates.copied)
    found += kept * fresh * work.bytes_written
    stored = found + work.bytes_written / np.where(cached, rates.written, rates.saved)
    if not model.keeps(float(stored.sum())):
        return _floats(stored), _floats(busy)
    most = float(work.bytes_written[here].sum())
    share = min(1.0, model.tile_bytes / most) if most else 0.0
    stays = work.last & np.array([task.out.array in results for task in tasks], bool)[work.tile]
    new = min(1.0, work.peak(stays) / most) if most else 0.0
    held = found + new * fresh * work.bytes_written
    return _floats(np.where(here, share * held + (1 - share) * stored, stored)), _floats(busy)


def _floats(array: npt.NDArray[Any]) -> _Floats:
    return array.astype(np.float64, copy=False)


class _Kind(NamedTuple):
    """Costs of tasks that are alike.

    Attributes
    ----------
    operation : float
        Seconds of an operation of the products.
    product : float
        Seconds of what is computed as the factors of a product are read.
    base : float
        Seconds of the base.
    end_flops, end : float
        Operations, and seconds, of the finish.
    """

    operation: float
    product: float
    base: float
    end_flops: float
    end: float


def _name(task: Task) -> object:
    """Return the same for tasks whose costs are the same."""
    out, terms = task.out.array, task.terms
    ends = tuple(map(_kind, task.base)), len(task.args)
    return out, task.shape, task.finish.kernel, ends, tuple((_kind(t.a), _kind(t.b)) for t in terms[:1])


def _kind(read: Read) -> object:
    apply = read.tile
    if isinstance(apply, Apply):
        return apply.function, tuple(_kind(arg) for arg in apply.args if isinstance(arg, Read)), read.op
    return apply.array, read.op, read.plain


class _Costs:
    """Seconds of the parts of tasks by some rates."""

    def __init__(self, arrays: Mapping[str, Tiles], rates: Rates) -> None:
        self._arrays, self._rates = arrays, rates

    def of(self, task: Task) -> _Kind:
        """Return the costs of a task and all that are like it."""
        rates, nbytes = self._rates, task.shape[0] * task.shape[1] * np.dtype(task.dtype).itemsize
        kernel = finish_kernel(task)
        each = 4 if np.dtype(task.dtype).kind == "c" else 1
        flops = float(each * kernel.flops(*task.shape))
        base = sum(map(self._value, task.base))
        if not (kernel.looks and len(task.base) == 1 and not task.terms):
            # each read is laid once; it may be a part of the tile, or in an odd view more than a part
            laid = sum(min(nbytes, self._nbytes(read)) for read in task.base)
            base += max(nbytes, laid) / rates.copied
        end = sum(map(self._value, task.args))
        if kernel.rate in CURVES:
            end += flops / self._flops(kernel.rate, task, _edge(task.shape, kernel.rate))
        elif kernel.rate:
            end += nbytes / getattr(rates, kernel.rate)
        if self._arrays[task.out.array].bundle is not None:
            end += nbytes / rates.copied
        # terms that differ count as one kind of product, between them
        product = sum(map(self._factors, task.terms)) / max(1, task.length)
        return _Kind(self._operation(task), product, base, flops, end)

    def _operation(self, task: Task) -> float:
        if not task.terms:
            return 0.0
        (m, n), k = (max(1, side) for side in task.shape), max(1, self._shape(task.terms[0].a)[1])
        lower, dtype = task.terms[0].lower, np.dtype(task.dtype)
        operation = 1 / self._flops("herk" if lower else "gemm", task, 3 / (1 / m + 1 / n + 1 / k))
        # in a product of few rows or columns its factors are read for little; measured ones have that in them
        thin = max(0.0, 1 - min(m, m if lower else n, k) / SMALLEST)
        flops = (4 if dtype.kind == "c" else 1) * (m * (m + 1) if lower else 2 * m * n) * k
        factors = dtype.itemsize * k * (m if lower else m + n)
        return operation + thin * factors / flops / self._rates.streamed

    def _flops(self, kernel: str, task: Task, edge: float) -> float:
        return self._rates.curve(kernel).rate(edge) * self._rates.factor(task.dtype)

    def _factors(self, term: Term) -> float:
        """Return the seconds of what is computed as the factors of a run of products are read."""
        reads = (term.a,) if term.lower else (term.a, term.b)
        return term.n * sum(0.0 if self._is_bare(read) else self._value(read) for read in reads)

    def _is_bare(self, read: Read) -> bool:
        """Tell whether BLAS takes a tile as it is stored."""
        return read.plain and not isinstance(read.tile, Apply) and self._arrays[read.tile.array].stored

    def _value(self, read: Read) -> float:
        """Return the seconds beside those of the store in which the value of a read is made."""
        rates, nbytes = self._rates, self._nbytes(read)
        if isinstance(read.tile, Apply):
            made = sum(self._value(arg) for arg in read.tile.args if isinstance(arg, Read))
            if read.tile.function:
                # the result is new memory, but mostly the caches have it yet
                cheap = read.tile.function in _CHEAP
                made += nbytes / (rates.copied if cheap else rates.called)
        else:
            array = self._arrays[read.tile.array]
            made = 0.0 if array.stored else nbytes / rates.copied
            made += nbytes / (array.rate or rates.called) if array.called else 0.0
        return made if read.plain and read.op == "N" else made + nbytes / rates.copied

    def _shape(self, read: Read) -> Pair:
        if isinstance(read.tile, Apply):
            shapes = [self._shape(arg) for arg in read.tile.args if isinstance(arg, Read)]
            rows, cols = max(r for r, _ in shapes), max(c for _, c in shapes)
        else:
            array = self._arrays[read.tile.array]
            ref = read.tile
            rows, cols = array.grid.tile if array.bundle else array.grid.extent(ref.i, ref.j)
        return (rows, cols) if read.op in "NR" else (cols, rows)

    def _nbytes(self, read: Read) -> int:
        rows, cols = self._shape(read)
        tile = read.tile
        dtype = tile.dtype if isinstance(tile, Apply) else self._arrays[tile.array].dtype
        return rows * cols * np.dtype(dtype).itemsize


def _edge(shape: Pair, kernel: str) -> float:
    """Return the edge of the square tiles on which a kernel is as fast as on a tile of some shape."""
    m, n = (max(1, side) for side in shape)
    inner = {"trsm_left": m, "trsm_right": n, "gemm": min(m, n)}.get(kernel, min(m, n))
    return 3 / (1 / m + 1 / n + 1 / inner)
