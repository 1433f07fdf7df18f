"""Task graph: from expressions to tasks, and from tasks to what each waits for.

LRU in arrays, as a plan has up to a million tasks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from wrenla.errors import PlanError
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.cut import Cut, piece
from wrenla.planning.expression import Leaf, Node, Operation, Slot
from wrenla.planning.memory import Tiles, held
from wrenla.planning.precedence import Floats, Ints, Longs, followers_of, levels_of, longest_paths
from wrenla.planning.task_seconds import Work, task_seconds
from wrenla.units import format_bytes
from wrenla_handler.tiles.arrays import FormulaArray, FunctionArray, StoredArray, TileRef
from wrenla_handler.tiles.finish import finish_kernel
from wrenla_handler.tiles.grid import Grid, Pair
from wrenla_handler.tiles.task import Apply, Read, Step, Task, Term

__all__ = ["Floats", "Graph", "TileGraph", "Tiles"]

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

    Attributes
    ----------
    tasks : list of Task
    arrays : dict of str to Tiles
    saved : set of str
        Results that go to an address: `whole`.
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
    ) -> None:
        self.saved, self.results = whole, results
        self.tasks: list[Task] = []
        self.arrays: dict[str, Tiles] = {}
        self.base: list[list[int]] = []
        self.args: list[list[int]] = []
        self.during: list[Ints] = []
        self._where: dict[str, Ints] = {}
        self.nbytes = 0
        for node in nodes:
            op = node.op
            if isinstance(op, Leaf | Slot):
                stored, called = op.kind is StoredArray, op.kind is FunctionArray
                asked = not called and op.kind is not FormulaArray
                self.arrays[node.key] = Tiles(node.grid, node.dtype, stored, called, node.bundle, asked)
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
        return float(nbytes), (len(refs), sum(array.requested for array in arrays))

    def end_costs(self, task: Task) -> tuple[float, float, float, Pair, Pair]:
        """Return flops of the finish, and of base and arguments the bytes, and tiles read and requested."""
        factor = _COMPLEX if np.dtype(task.dtype).kind == "c" else 1
        flops = float(factor * finish_kernel(task).flops(*task.shape))
        base_bytes, base = self._reads([ref for read in task.base for ref in read.refs()])
        arg_bytes, args = self._reads([ref for read in task.args for ref in read.refs()])
        return flops, base_bytes, arg_bytes, base, args

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


class Graph:
    """The cut tasks and what each waits for.

    Attributes
    ----------
    tile, start, stop, last : arrays
        Task `p` applies terms `start[p]` to `stop[p]` of tile `tile[p]`, and finishes it if `last[p]`.
    first_need, needs : arrays
        Task `p` waits for tasks ``needs[first_need[p]:first_need[p + 1]]`` (some may stand there twice).
    adds : array
        Which tasks only add up tiles.
    flops, bytes_read, bytes_written, seconds : arrays
    reads, gets : arrays
        Tiles read, and those of them that are requested from a store.
    """

    def __init__(self, tiles: TileGraph, cut: Cut, model: ExecutorModel) -> None:
        self.tiles, self.cut = tiles, cut
        bounds = [
            cut.bounds(len(during), bool(task.finish.kernel))
            for task, during in zip(tiles.tasks, tiles.during, strict=True)
        ]
        pieces = np.array(list(map(len, bounds)), np.int64)
        total = int(pieces.sum())
        self.final = (np.cumsum(pieces) - 1).astype(np.int32)
        self.tile = np.repeat(np.arange(len(bounds), dtype=np.int32), pieces)
        pairs = np.fromiter(chain.from_iterable(chain.from_iterable(bounds)), np.int32, 2 * total)
        self.start, self.stop = pairs[::2].copy(), pairs[1::2].copy()
        self.last = np.zeros(total, bool)
        self.last[self.final] = True
        sums = np.array([len(task.base) > 1 and task.base[-1].accumulate for task in tiles.tasks], bool)
        self.adds = sums[self.tile] & (self.stop == 0)
        self.flops, self.bytes_read, self.bytes_written = (np.empty(total) for _ in range(3))
        self.reads, self.gets, counts = (np.empty(total, np.int64) for _ in range(3))
        needs: list[Ints] = []
        for number, task in enumerate(tiles.tasks):
            stop = int(self.final[number]) + 1
            own = slice(stop - int(pieces[number]), stop)
            self._count(task, own)
            needs.append(self._needs(number, own, counts[own]))
        self.first_need: Longs = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        self.needs: Ints = np.concatenate([*needs, np.empty(0, np.int32)])
        del needs
        work = Work(
            *(self.tile, self.start == 0, self.last, self.stop - self.start, self.reads),
            *(self.flops, self.bytes_read, self.bytes_written, self.first_need, self.needs),
        )
        self.seconds: Floats = task_seconds(
            tiles.tasks, tiles.arrays, tiles.results, tiles.saved, work, model
        )

    def _count(self, task: Task, own: slice) -> None:
        """Fill in flops, bytes, reads and requests of the pieces of a tile."""
        last = own.stop - 1
        costs: tuple[npt.NDArray[Any], ...] = self.tiles.term_costs(task)
        for values, sums in zip(costs, (self.flops, self.bytes_read, self.reads, self.gets), strict=True):
            # one place more than there are terms: sums from one piece's first term to the next one's
            ends: Floats = np.zeros(len(values) + 1)
            np.cumsum(values, out=ends[1:])
            sums[own] = ends[self.stop[own]] - ends[self.start[own]]
        end_flops, base_bytes, arg_bytes, base_reads, arg_reads = self.tiles.end_costs(task)
        out = self.tiles.arrays[task.out.array].nbytes
        self.flops[last] += end_flops
        self.bytes_read[own.start] += base_bytes
        self.bytes_read[own.start + 1 : own.stop] += out
        self.bytes_read[last] += arg_bytes
        self.bytes_written[own] = out
        for counts, begin, end in zip((self.reads, self.gets), base_reads, arg_reads, strict=True):
            counts[own.start] += begin
            counts[own.start + 1 : own.stop] += 1
            counts[last] += end

    def _needs(self, number: int, own: slice, counts: Longs) -> Ints:
        """Return what the pieces of a tile wait for, one after the other, and fill in how many that is."""
        tiles, final = self.tiles, self.final
        during = tiles.during[number]
        made = during >= 0
        waits = final[during[made]]
        ends = np.concatenate(([0], np.cumsum(np.count_nonzero(made, axis=1))))
        counts[:] = ends[self.stop[own]] - ends[self.start[own]] + 1  # one for the piece before
        base, args = tiles.base[number], tiles.args[number]
        counts[0] += len(base) - 1
        counts[-1] += len(args)
        needs = np.empty(int(counts.sum()), np.int32)
        inner = np.ones(len(needs), bool)
        before = (np.cumsum(counts) - counts)[1:]
        needs[before] = np.arange(own.start, own.stop - 1)
        inner[before] = False
        if base:
            needs[: len(base)] = final[base]
            inner[: len(base)] = False
        if args:
            needs[len(needs) - len(args) :] = final[args]
            inner[len(needs) - len(args) :] = False
        needs[inner] = waits
        return needs

    def __len__(self) -> int:
        return len(self.tile)

    def needs_of(self, p: int) -> Ints:
        """Return the tasks that task `p` waits for."""
        return self.needs[self.first_need[p] : self.first_need[p + 1]]

    def task(self, p: int) -> Task:
        """Return task `p` as a worker takes it."""
        whole = self.tiles.tasks[self.tile[p]]
        extent = self.tiles.extent(whole)
        return piece(whole, int(self.start[p]), int(self.stop[p]), bool(self.last[p]), extent)

    def out(self, p: int) -> TileRef:
        """Return the tile that task `p` commits."""
        ref = self.tiles.tasks[self.tile[p]].out
        return ref if self.last[p] else TileRef(ref.array, ref.i, ref.j, int(self.stop[p]))

    @cached_property
    def followers(self) -> tuple[Longs, Ints]:
        """The reverse of `needs`: who waits for a task, as (first, tasks)."""
        return followers_of(self.first_need, self.needs)

    @cached_property
    def level(self) -> Ints:
        """Wave in which each task can run."""
        return levels_of(self.first_need, self.needs, self.followers)

    def longest_paths(self, weights: Floats) -> Floats:
        """Return, for each task, the weight of the heaviest path from its start to the end of the run."""
        return longest_paths(self.first_need, self.needs, self.level, weights)

    @cached_property
    def paths(self) -> Floats:
        """For each task, the seconds of the longest path from its start to the end of the run."""
        return self.longest_paths(self.seconds)

    @cached_property
    def urgency(self) -> Floats:
        """For each task, how early it should run among those that can: the largest first.

        It is the longest path to the end of the run. But a task that adds up what others have made is as
        urgent as they were: it takes little time and makes room; else all of their tiles would pile up.
        """
        urgency = self.paths.copy()
        for p in np.flatnonzero(self.adds).tolist():
            waits = self.needs_of(p)
            if len(waits):
                urgency[p] = max(urgency[p], np.nextafter(urgency[waits].max(), np.inf))
        return urgency


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
