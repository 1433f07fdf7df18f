"""Memory that the tasks of a plan need, and the tiles with which they fit."""

from __future__ import annotations

import math
from collections.abc import Iterable

from wrenla.planning.graph import TileGraph
from wrenla_handler.tiles.grid import Pair
from wrenla_handler.tiles.task import Apply, Read, Scalar, Task

__all__ = ["LOOKAHEAD", "fitting_edge", "largest_task", "projected_bytes"]

LOOKAHEAD = 4
"""Tiles that a worker reads ahead of its kernels."""


def projected_bytes(tiles: TileGraph) -> int:
    """Return the bytes of memory that the largest task needs."""
    kinds = {_memory_kind(task): task for task in tiles.tasks}
    return max((tiles.projected(task, LOOKAHEAD) for task in kinds.values()), default=0)


def largest_task(tiles: TileGraph) -> Pair:
    """Return the shape of the tiles of a task that needs most memory."""
    worst = max(tiles.tasks, key=lambda task: tiles.projected(task, LOOKAHEAD))
    return tiles.arrays[worst.out.array].grid.tile


def fitting_edge(tiles: TileGraph, allowed: int) -> int:
    """Return an edge of square tiles with which every task fits into some bytes, whatever tasks there are."""
    # what a read holds at most: the tile and a changed copy of it, and what a function needs beside it
    held = 4 if any(array.called for array in tiles.arrays.values()) else 2
    most = 3 + held * max(2, *map(_together, tiles.tasks)) + LOOKAHEAD
    itemsize = max(array.itemsize for array in tiles.arrays.values())
    # a task of a bundle holds a column of tiles twice, and the others beside it
    heights = [array.grid.shape[0] for array in tiles.arrays.values() if array.bundle is not None]
    rows = max(heights, default=0)
    most += 2 if heights else 0
    entries = allowed // itemsize  # at least 2 rows · edge + most · edge²
    edge = (math.isqrt(rows**2 + most * entries) - rows) // most
    return max(1, edge // 32 * 32 or edge)


def _together(task: Task) -> int:
    """Return how many tiles a task holds at a time, at most: arguments, or what makes one read or product."""

    def tiles(*reads: Read) -> int:
        return sum(len(list(read.refs())) for read in reads)

    return max(
        tiles(*task.args),
        *(tiles(read) for read in task.base),
        *(tiles(term.a, term.b) for term in task.terms),
        0,
    )


def _memory_kind(task: Task) -> object:
    """Tasks of one kind need the same memory."""

    def kinds(reads: Iterable[Read]) -> frozenset[object]:
        return frozenset(map(kind, reads))

    def kind(read: Read | Scalar) -> object:
        if not isinstance(read, Read):
            return None
        apply = read.tile
        source = (apply.function, *map(kind, apply.args)) if isinstance(apply, Apply) else apply.array
        return source, read.op, read.plain, read.scale == 1, read.dtype

    factors = (read for term in task.terms for read in (term.a, term.b))
    ends = sum(len(list(read.refs())) for read in (*task.base, *task.args))
    reads = ends + 2 * task.length
    sizes = task.out.array, task.shape, task.finish.kernel, len(task.args), min(reads, LOOKAHEAD + 1)
    return sizes, kinds(task.base), kinds(task.args), kinds(factors)
