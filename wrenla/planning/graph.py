"""Task graph: tasks, from the cut of each tile's sum, and what each waits for.

It is kept in arrays, as a plan has up to a million tasks.
"""

from __future__ import annotations

from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from wrenla.planning.cost_model import TILES_IN_USE, ExecutorModel
from wrenla.planning.cut import Cut, piece
from wrenla.planning.precedence import Floats, Ints, Longs, followers_of, levels_of, longest_paths
from wrenla.planning.task_seconds import Work, task_seconds
from wrenla.planning.tile_graph import TileGraph
from wrenla_handler.tiles.arrays import TileRef
from wrenla_handler.tiles.task import Task

__all__ = ["Floats", "Graph", "TileGraph"]


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
    flops, bytes_read, bytes_written, seconds, busy : arrays
        `busy` are the seconds in which a task computes.
    reads, gets : arrays
        Tiles read, and those of them that a store has.
    fetched : float
        Part of them that the store is asked for, on average: workers have the others at hand.
    """

    def __init__(self, tiles: TileGraph, cut: Cut, model: ExecutorModel) -> None:
        self.tiles, self.cut = tiles, cut
        bounds = tiles.bounds(cut)
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
        # right for tiles that are one task, which most are
        self.flops, self.bytes_read, self.bytes_written = (values[self.tile] for values in tiles.whole[0])
        self.reads, self.gets = (values[self.tile] for values in tiles.whole[1])
        counts = np.empty(total, np.int64)
        needs: list[Ints] = []
        for number, task in enumerate(tiles.tasks):
            stop = int(self.final[number]) + 1
            if pieces[number] == 1:
                needs.append(self.final[tiles.producers(number)])
                counts[stop - 1] = len(needs[-1])
                continue
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
        kept = self.part_kept(model.cache_bytes)
        self.fetched = self.part_fetched(model.caches, model.cache_bytes)
        self.seconds: Floats
        self.busy: Floats
        self.seconds, self.busy = task_seconds(
            tiles.tasks, tiles.arrays, tiles.results, tiles.saved, work, model, self.fetched, kept
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

    def part_fetched(self, caches: int, cache_bytes: int) -> float:
        """Return the part of all reads from stores that is asked for, as the rest is at hand.

        It is the expected one if chance says which worker takes a task, each keeps all tiles that it has read
        or made, and `r` reads of a tile by `p` of them so ask for it ``p (1 - (1 - 1/p)**r)`` times; of
        caches with room for a share of all tiles, that share. Caches that lose the oldest tile
        first do better.

        Parameters
        ----------
        caches, cache_bytes : int
            As in `ExecutorModel`.
        """
        share = self.part_kept(cache_bytes)
        if not share or not (asked := int(self.gets.sum())):
            return 1.0
        count = min(sum(self.tiles.inputs.values()), asked - len(self.needs))
        p = min(caches, len(self))

        def loads(reads: Any) -> Any:
            return p * (1 - (1 - 1 / p) ** reads)

        made = np.bincount(self.needs, minlength=len(self)) + 1.0  # who makes a tile has it
        again = float((loads(made) - 1).sum())
        if count > 0:
            again += count * float(loads((asked - len(self.needs)) / count))
        return 1 - share * max(0.0, 1 - again / asked)

    def part_kept(self, cache_bytes: int) -> float:
        """Return the part of all tiles for which a worker has room, beside its task."""
        arrays = self.tiles.arrays
        room = cache_bytes - TILES_IN_USE * max((array.nbytes for array in arrays.values()), default=0)
        if room <= 0:  # as in the many graphs of which one is chosen
            return 0.0
        inputs = sum(count * arrays[key].nbytes for key, count in self.tiles.inputs.items())
        nbytes = float(self.bytes_written.sum()) + inputs
        return min(1.0, room / nbytes) if nbytes else 0.0

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
