"""Tile graph: from expressions to tasks, one for each tile, and what each of them costs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from wrenla.errors import PlanError
from wrenla.planning.cut import Bounds, Cut
from wrenla.planning.expression import Leaf, Node, Operation, Slot
from wrenla.planning.memory import Tiles, held
from wrenla.planning.precedence import Floats, Ints, Longs
from wrenla.units import format_bytes
from wrenla_handler.tiles.arrays import FunctionArray, HostArray, StoredArray, TileRef
from wrenla_handler.tiles.finish import finish_kernel
from wrenla_handler.tiles.grid import Grid, Pair
from wrenla_handler.tiles.task import Apply, Read, Step, Task, Term

__all__ = ["TileGraph", "Tiles"]

_TASK_BYTES, _PRODUCT_BYTES = 1 << 10, 1 << 6
"""Bytes of memory that a task of a plan takes at the very least, and a product of tiles in it."""

_COMPLEX = 4  # one complex multiply-add is 8 real operations against 2


class TileGraph:
    """The uncut tasks, one per tile, in an order in which they can run.

    Parameters
    ----------
    nodes : iterable of Node
        Everything the results depend on, arguments first.
    whole : set of str
        Keys of symmetric results that are to be stored with their mirrored tiles.
    results : set of str
        Keys of what outlives the run.
    functions : mapping of str to float
        Bytes a second that the functions of some leaves make, by key.
    uploads : bool
        Whether tiles of arrays of this process come from a store, too.

    Attributes
    ----------
    tasks : list of Task
    arrays : dict of str to Tiles
    saved : set of str
        Results that go to an address: `whole`.
    inputs : dict of str to int
        Arrays that are there before, in stores, and how many of their tiles may be read.
    nbytes : int
        Memory that it takes, about.
    before : list of int32 arrays
        Per tile, the producers (tile numbers) of its base and arguments.
    during : list of int32 arrays, (terms, factors)
        Per tile, the producers of each term's factors, −1 where a factor is data.
    """

    def __init__(
        self,
        nodes: Iterable[Node],
        whole: frozenset[str] = frozenset(),
        results: frozenset[str] = frozenset(),
        functions: Mapping[str, float] = MappingProxyType({}),
        uploads: bool = False,
    ) -> None:
        self.saved, self.results = whole, results
        self.tasks: list[Task] = []
        self.arrays: dict[str, Tiles] = {}
        self.inputs: dict[str, int] = {}
        self.base: list[list[int]] = []
        self.args: list[list[int]] = []
        self.during: list[Ints] = []
        self._where: dict[str, Ints] = {}
        self.nbytes = 0
        for node in nodes:
            op = node.op
            if isinstance(op, Leaf | Slot):
                stored = op.kind is StoredArray or (uploads and op.kind is HostArray)
                called = op.kind is FunctionArray
                if stored:
                    rows, cols = node.grid.counts
                    half = node.structure != "general"  # one triangle says all
                    self.inputs[node.key] = rows * (rows + 1) // 2 if half else rows * cols
                self.arrays[node.key] = Tiles(
                    *(node.grid, node.dtype, stored, called, node.bundle),
                    rate=functions.get(node.key, 0.0),
                )
            elif isinstance(op, Operation):
                self.arrays[node.key] = Tiles(node.grid, node.dtype, True, bundle=node.bundle)
                rows, cols = node.grid.counts
                self._need(
                    node.grid, rows * cols * (_TASK_BYTES // (1 if node.structure == "general" else 2))
                )
                parts = 0 if node.bundle is None else len(node.bundle.parts)
                self._where[node.key] = np.full((rows + parts, cols), -1, np.int32)
                for task in op.tasks(node):
                    self._append(task)
                if node.key in whole:
                    self._mirror(node, op)

    def _mirror(self, node: Node, op: Operation) -> None:
        if node.structure in ("hermitian", "pos"):
            rows, cols = node.grid.counts
            for i in range(rows):
                for j in range(i + 1, cols):
                    if not (op.holes and op.absent(node, j, i)):
                        self._append(node.task(i, j, base=node.reads(i, j)))

    def _need(self, grid: Grid, nbytes: int) -> None:
        """Refuse what surely needs more memory than this machine has, before it takes it."""
        self.nbytes += nbytes
        if self.nbytes > (most := _memory()):
            (m, n), (a, b) = grid.shape, grid.tile
            raise PlanError(
                f"the plan alone, for {m} × {n} in tiles of {a} × {b} and what it is made of, would take "
                f"{format_bytes(self.nbytes)} of memory or more, and this machine has {format_bytes(most)}: "
                "use larger tiles (tile=), or take a part of it by slicing"
            )

    def _append(self, task: Task) -> None:
        self._need(self.arrays[task.out.array].grid, task.length * _PRODUCT_BYTES)
        number = len(self.tasks)
        self.tasks.append(task)
        self.base.append([p for read in task.base for p in self._producers(read)])
        self.args.append([p for read in task.args for p in self._producers(read)])
        parts = [self._term_producers(term) for term in task.terms]
        width = max((part.shape[1] for part in parts), default=0)
        table = np.full((task.length, width), -1, np.int32)
        row = 0
        for part in parts:
            table[row : row + len(part), : part.shape[1]] = part
            row += len(part)
        self.during.append(table)
        first, stop = task.out.i, task.out.i + 1
        if self.arrays[task.out.array].bundle is not None:  # all of a tile column is there at once
            stop = len(self._where[task.out.array])
        self._where[task.out.array][first:stop, task.out.j] = number

    def _producers(self, read: Read) -> Iterable[int]:
        for ref in read.refs():
            known = self._where.get(ref.array)
            if known is not None:
                yield int(known[ref.i, ref.j])

    def _term_producers(self, term: Term) -> Ints:
        t = np.arange(term.n)
        columns = []
        sides = ((term.a, term.a_step),) if term.lower else ((term.a, term.a_step), (term.b, term.b_step))
        for read, step in sides:
            for ref, (si, sj) in read.moving(step):
                if (known := self._where.get(ref.array)) is not None:
                    columns.append(known[ref.i + t * si, ref.j + t * sj])
        return np.stack(columns, axis=1) if columns else np.empty((term.n, 0), np.int32)

    def term_costs(self, task: Task) -> tuple[Floats, Floats, Ints, Ints]:
        """Return, for each term, its flops, the bytes read from stores, and tiles read, and requested."""
        rows, cols = task.shape
        factor = _COMPLEX if np.dtype(task.dtype).kind == "c" else 1
        flops: list[Floats] = []
        columns: tuple[list[npt.NDArray[Any]], ...] = [], [], []
        for term in task.terms:
            each = factor * (rows * (rows + 1) if term.lower else 2 * rows * cols)
            refs = [*term.a.refs(), *(() if term.lower else term.b.refs())]
            flops.append(self._inner(term) * each)
            stored, (read, asked) = self._reads(refs)
            for column, value in zip(columns, (stored, read, asked), strict=True):
                column.append(_constant(term.n, value))
        if not flops:
            return np.empty(0), np.empty(0), np.empty(0, np.int32), np.empty(0, np.int32)
        nbytes, reads, gets = (each[0] if len(each) == 1 else np.concatenate(each) for each in columns)
        return flops[0] if len(flops) == 1 else np.concatenate(flops), nbytes, reads, gets

    def _inner(self, term: Term) -> Floats:
        return self._lengths(term.a, term.a_step, 1, term.n)

    def _lengths(self, read: Read, step: Step, axis: int, n: int) -> Floats:
        """Return how long the tiles of a run are along an axis of what is read."""
        if read.op in "TC":
            axis = 1 - axis
        if isinstance(read.tile, Apply):
            args = list(read.tile.reads())[: 1 if read.tile.claim else None]
            lengths = [self._lengths(arg, its_step, axis, n) for arg, its_step in args]
            longest: Floats = np.maximum.reduce(lengths)  # one row or column stands for all
            return longest
        grid = self.arrays[read.tile.array].grid
        tile, length, begin = grid.tile[axis], grid.shape[axis], (read.tile.i, read.tile.j)[axis]
        if (max(begin, begin + step[axis] * (n - 1)) + 1) * tile <= length:  # none of them is ragged
            return _constant(n, float(tile))
        index = begin + step[axis] * np.arange(n)
        return np.minimum(tile, length - index * tile).astype(np.float64)

    def _reads(self, refs: list[TileRef]) -> tuple[float, Pair]:
        """Return the bytes of some tiles in stores, and how many of the tiles are read and requested."""
        arrays = [self.arrays[ref.array] for ref in refs]
        nbytes = sum(array.stored_bytes(ref) for array, ref in zip(arrays, refs, strict=True))
        return float(nbytes), (len(refs), sum(array.stored for array in arrays))

    def end_costs(self, task: Task) -> tuple[float, float, float, Pair, Pair]:
        """Return flops of the finish, and of base and arguments the bytes, and tiles read and requested."""
        factor = _COMPLEX if np.dtype(task.dtype).kind == "c" else 1
        flops = float(factor * finish_kernel(task).flops(*task.shape))
        base_bytes, base = self._reads([ref for read in task.base for ref in read.refs()])
        arg_bytes, args = self._reads([ref for read in task.args for ref in read.refs()])
        return flops, base_bytes, arg_bytes, base, args

    def bounds(self, cut: Cut) -> list[Bounds]:
        """Return, for each tile, which terms of its sum are in which of its tasks."""
        return [
            cut.bounds(len(during), bool(task.finish.kernel))
            for task, during in zip(self.tasks, self.during, strict=True)
        ]

    @cached_property
    def whole(self) -> tuple[tuple[Floats, Floats, Floats], tuple[Longs, Longs]]:
        """For each tile, as one task: flops, bytes read and written; tiles read and requested."""
        sums = np.empty((3, len(self.tasks)))
        counts = np.empty((2, len(self.tasks)), np.int64)
        for number, task in enumerate(self.tasks):
            flops, nbytes, *reads = (values.cumsum()[-1:].sum() for values in self.term_costs(task))
            end_flops, base_bytes, arg_bytes, base, args = self.end_costs(task)
            out = self.arrays[task.out.array].nbytes
            sums[:, number] = flops + end_flops, nbytes + base_bytes + arg_bytes, out
            counts[:, number] = [sum(each) for each in zip(reads, base, args, strict=True)]
        return (sums[0], sums[1], sums[2]), (counts[0], counts[1])

    def producers(self, number: int) -> Ints:
        """Return the tiles that a tile waits for: those of its base, its terms and its arguments."""
        during = self.during[number]
        made = during[during >= 0]
        base, args = self.base[number], self.args[number]
        return np.concatenate((base, made, args)).astype(np.int32) if base or args else made

    def extent(self, task: Task) -> Pair:
        """Return rows and columns of the tile that a task makes."""
        return self.arrays[task.out.array].grid.extent(task.out.i, task.out.j)

    def projected(self, task: Task, lookahead: int) -> int:
        """Return the bytes that one task needs at its worst, cut or not."""
        itemsize, kernel = np.dtype(task.dtype).itemsize, finish_kernel(task)

        def peak(read: Read, *, factor: bool = False) -> int:
            return held(read, self.arrays, task.dtype, factor=factor).peak

        out = self.arrays[task.out.array].nbytes
        work = task.shape[0] * task.shape[1] * itemsize
        stages = [max(map(peak, task.base), default=0)]
        if task.length > 1:  # a partial sum may be read, and of one in the corner of a tile a copy is made
            stages += [out if task.shape == self.extent(task) else out + work]
        stages += [(1 + kernel.copies) * sum(map(peak, task.args))]
        stages += [
            peak(term.a, factor=True) + (0 if term.lower else peak(term.b, factor=True))
            for term in task.terms
        ]
        ends = (*task.base, *task.args)
        factors = (read for term in task.terms for read in (term.a, term.b))
        # only what comes from a store is read ahead
        tiles = [
            self.arrays[ref.array].stored_bytes(ref) for read in (*ends, *factors) for ref in read.refs()
        ]
        more = sum(map(_refs, ends)) - 1 + sum((_refs(t.a) + _refs(t.b)) * t.n for t in task.terms)
        ahead = min(lookahead, more) * max(tiles, default=0)
        return out + kernel.spare * work + max(stages) + max(0, ahead)


@lru_cache(maxsize=1 << 10, typed=True)
def _constant(n: int, value: float) -> npt.NDArray[Any]:
    """Return an array of one value: the terms of a sum mostly cost the same, and those of others, too."""
    made = np.full(n, value)
    made.flags.writeable = False
    return made


def _refs(read: Read) -> int:
    """Return how many tiles a read needs."""
    return len(list(read.refs()))


def _memory() -> int:
    """Return the bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
