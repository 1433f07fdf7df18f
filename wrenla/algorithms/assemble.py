"""Assembling alone: copies, other tilings, slices and block matrices are all made of pieces of tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from wrenla.planning.expression import Description, Leaf, Node, Operation, make, result_dtype
from wrenla_handler.tiles.arrays import HostArray, StoredArray
from wrenla_handler.tiles.grid import Grid, Pair, absent_tiles
from wrenla_handler.tiles.layout import Structure
from wrenla_handler.tiles.task import Read, Task

__all__ = ["Copy", "Piece", "absent_of", "block", "copy", "full", "overlap", "rechunk", "sparse_copy", "take"]


_REVERSED: dict[Structure, Structure] = {"lower": "upper", "upper": "lower"}
"""What a triangle is when its rows and columns are counted from the end."""


def copy(A: Node, dtype: str | None = None) -> Node:
    """Return a node with tiles of its own and the values of `A`, possibly in another dtype."""
    return make(Copy(dtype or A.dtype), A)


def sparse_copy(A: Node) -> Node:
    """Return a copy for others to read: tiles that are known to be zero are not stored, if `A` is data."""
    absent = absent_of(A)
    return make(SparseCopy(A.dtype, absent), A) if absent else copy(A)


def absent_of(A: Node) -> str:
    """Return which tiles of data are zero and not there, as `StoredArray.absent` has it."""
    spec = A.op.spec if isinstance(A.op, Leaf) else None
    return spec.absent if isinstance(spec, StoredArray | HostArray) else ""


def rechunk(A: Node, tile: Pair) -> Node:
    """Return A in other tiles."""
    if tile == A.grid.tile:
        return A
    structure = A.structure if tile[0] == tile[1] else "general"
    return _in_one_piece(A, Grid(A.grid.shape, tile), structure)


def full(A: Node) -> Node:
    """Return A with every tile there, zero ones too."""
    return _in_one_piece(A, A.grid, "general")


def _in_one_piece(A: Node, grid: Grid, structure: Structure) -> Node:
    whole = Piece(0, (0, 1), (0, 1), A.grid.shape, (0, 0))
    return make(Assemble((whole,), grid, structure, A.ndim), A)


def take(A: Node, rows: slice, cols: slice, tile: Pair, ndim: int = 2) -> Node:
    """Return A[rows, cols]; the slices have non-negative starts, as `slice.indices` gives them.

    The same rows as columns are a principal submatrix: it has the structure of A, from the other end too.
    """
    (r, _, rs), (c, _, cs) = rows.indices(A.grid.shape[0]), cols.indices(A.grid.shape[1])
    shape = (
        len(range(*rows.indices(A.grid.shape[0]))),
        len(range(*cols.indices(A.grid.shape[1]))),
    )
    piece = Piece(0, (r, rs), (c, cs), shape, (0, 0))
    structure: Structure = "general"
    if (
        ndim == 2
        and (r, rs, shape[0]) == (c, cs, shape[1])
        and tile[0] == tile[1]
        and A.structure != "general"
    ):
        structure = A.structure if rs > 0 else _REVERSED.get(A.structure, A.structure)
    return make(Assemble((piece,), Grid(shape, tile), structure, ndim), A)


def block(blocks: Sequence[Sequence[Node]], tile: Pair) -> Node:
    """Return the matrix made of a table of matrices."""
    pieces: list[Piece] = []
    row = 0
    for line in blocks:
        col = 0
        for A in line:
            pieces.append(Piece(len(pieces), (0, 1), (0, 1), A.grid.shape, (row, col)))
            col += A.grid.shape[1]
        row += line[0].grid.shape[0]
    grid = Grid((row, col), tile)
    return make(Assemble(tuple(pieces), grid, "general", 2), *(A for line in blocks for A in line))


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of argument `source`, laid at `at` in the result: rows `rows[0] + rows[1] · t`, columns alike."""

    source: int
    rows: Pair
    cols: Pair
    shape: Pair
    at: Pair


@dataclass(frozen=True)
class Copy(Operation):
    """One task per tile, nothing but reads.

    Tasks: one per tile that is not known to be zero; waves: 1.
    """

    dtype: str

    def describe(self, *args: Node) -> Description:
        return replace(args[0].description, dtype=self.dtype)

    def tasks(self, out: Node) -> Iterator[Task]:
        A = out.args[0]
        # what a view computes on the way is computed in its own precision and rounded once, at the end
        rounds = not np.can_cast(A.dtype, self.dtype)
        for i, j in out.own_tiles():
            if rounds:
                yield out.task(i, j, base=A.reads(i, j), finish="cast", dtype=A.dtype)
            else:
                yield out.task(i, j, base=A.reads(i, j))


@dataclass(frozen=True)
class SparseCopy(Copy):
    """Copy without tasks for tiles that are zero.

    Nothing else in a plan reads it: an algorithm that asks for a tile expects one.
    """

    zeros: str
    holes: ClassVar[bool] = True

    def absent(self, out: Node, i: int, j: int) -> bool:
        return bool(absent_tiles(self.zeros, out.grid.counts)[i, j])

    def kept_zero(self) -> str:
        return self.zeros

    def tasks(self, out: Node) -> Iterator[Task]:
        return (task for task in super().tasks(out) if not self.absent(out, task.out.i, task.out.j))


@dataclass(frozen=True)
class Assemble(Operation):
    """Lay pieces of matrices side by side.

    Tasks: one per tile of the result; reads: one per tile of a piece that overlaps it; waves: 1.
    """

    pieces: tuple[Piece, ...]
    grid: Grid
    structure: Structure
    ndim: int

    def describe(self, *args: Node) -> Description:
        return Description(self.grid, result_dtype(*(A.dtype for A in args)), self.structure, self.ndim)

    def tasks(self, out: Node) -> Iterator[Task]:
        for i, j in out.own_tiles():
            base = tuple(
                read
                for piece in self.pieces
                for read in overlap(out.args[piece.source], piece, self.grid, i, j)
            )
            yield out.task(i, j, base=base)


def overlap(A: Node, piece: Piece, grid: Grid, i: int, j: int) -> Iterator[Read]:
    """Yield the reads that lay a piece of A into tile `(i, j)` of a grid."""
    origin, extent = grid.origin(i, j), grid.extent(i, j)
    rows = list(_runs(piece.rows, piece.shape[0], piece.at[0], origin[0], extent[0], A.grid.tile[0]))
    cols = list(_runs(piece.cols, piece.shape[1], piece.at[1], origin[1], extent[1], A.grid.tile[1]))
    for p, r0, r1, rs, to_row in rows:
        for q, c0, c1, cs, to_col in cols:
            whole = (r0, r1, rs, c0, c1, cs) == (
                0,
                A.grid.extent(p, q)[0],
                1,
                0,
                A.grid.extent(p, q)[1],
                1,
            )
            for read in A.reads(p, q):
                yield replace(
                    read,
                    window=None if whole else (r0, r1, rs, c0, c1, cs),
                    offset=(to_row, to_col),
                )


def _runs(
    line: Pair, length: int, at: int, origin: int, extent: int, tile: int
) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield, along one axis, (source tile, start, stop, step within it, place in the target tile).

    Source index `line[0] + line[1] · t` goes to target index `at + t`, for t below `length`; wanted are
    `extent` targets from `origin` on.
    """
    first, step = line
    t, end = max(0, origin - at), min(length, origin + extent - at)
    while t < end:
        index = first + step * t
        number = index // tile
        # how many more steps stay in this tile
        inside = (tile - 1 - index % tile) // step if step > 0 else (index % tile) // -step
        n = min(inside + 1, end - t)
        start = index - number * tile
        yield number, start, start + step * n, step, at + t - origin
        t += n
