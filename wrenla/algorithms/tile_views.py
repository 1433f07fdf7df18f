"""Views of whole tiles: slices and block matrices whose tiles lie as before, and parts of bundles.

None of them copies: what reads through them reads the tiles of what they look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from wrenla.algorithms.assemble import absent_of, rechunk
from wrenla.algorithms.flips import Flip, flip
from wrenla.planning.expression import Description, Node, Operation, View, make
from wrenla.planning.strips import Strip
from wrenla_handler.tiles.arrays import TileRef
from wrenla_handler.tiles.grid import Grid, Pair, absent_tiles
from wrenla_handler.tiles.task import Read, Task

__all__ = ["blocks", "columns", "from_lower", "part", "present", "rows", "tiles_of"]


def rows(A: Node, start: int, stop: int) -> Node:
    """Return tile rows `start` to `stop` of A."""
    return tiles_of(A, (start, stop), (0, A.grid.counts[1]))


def columns(A: Node, start: int, stop: int) -> Node:
    """Return tile columns `start` to `stop` of A."""
    return tiles_of(A, (0, A.grid.counts[0]), (start, stop))


def tiles_of(A: Node, rows: Pair, cols: Pair) -> Node:
    """Return the tiles of A in some tile rows and tile columns."""
    if (rows, cols) == ((0, A.grid.counts[0]), (0, A.grid.counts[1])):
        return A
    (i0, i1), (j0, j1) = rows, cols
    if isinstance(A.op, TileSlice):
        i, j = A.op.rows[0], A.op.cols[0]
        return tiles_of(A.args[0], (i0 + i, i1 + i), (j0 + j, j1 + j))
    if isinstance(A.op, Blocks):
        inside = []
        for (i, j, m, n), B in zip(A.op.places, A.args, strict=True):
            p, q = (max(i0, i), min(i1, i + m)), (max(j0, j), min(j1, j + n))
            if p[0] < p[1] and q[0] < q[1]:
                part_of = tiles_of(B, (p[0] - i, p[1] - i), (q[0] - j, q[1] - j))
                inside.append((p[0] - i0, q[0] - j0, part_of))
        return blocks(inside)
    return make(TileSlice(rows, cols), A)


def blocks(parts: Sequence[tuple[int, int, Node]]) -> Node:
    """Return the block matrix of some matrices, each at a tile row and tile column; together they fill it."""
    flat: list[tuple[int, int, Node]] = []
    for i, j, A in parts:
        if isinstance(A.op, Blocks):
            flat += [(i + p, j + q, B) for (p, q, *_), B in zip(A.op.places, A.args, strict=True)]
        else:
            flat.append((i, j, A))
    if len(flat) == 1:
        return flat[0][2]
    places = tuple((i, j, *A.grid.counts) for i, j, A in flat)
    return make(Blocks(places), *(A for _, _, A in flat))


def from_lower(A: Node, kind: Literal["hermitian", "symmetric"]) -> Node:
    """Return the matrix that is Hermitian or symmetric and has the lower triangle of a square A."""
    if A.structure in ("hermitian", "pos") and (kind == "hermitian" or np.dtype(A.dtype).kind != "c"):
        return A
    edge = min(A.grid.tile)
    A = rechunk(A, (edge, edge))
    return make(
        FromLower(kind), A, make(MirrorDiagonal(kind), A), flip(A, "C" if kind == "hermitian" else "T")
    )


def part(A: Node, number: int) -> Node:
    """Return a part of each object of a bundle: one below the other, as tiles."""
    return make(BundlePart(number), A)


@dataclass(frozen=True)
class TileSlice(View):
    """Tile rows `rows[0]` to `rows[1]` of a matrix, and tile columns alike."""

    rows: Pair
    cols: Pair
    moves: ClassVar[bool] = True

    def describe(self, *args: Node) -> Description:
        A = args[0].description
        shape = tuple(
            min(stop * tile, length) - start * tile
            for (start, stop), tile, length in zip(
                (self.rows, self.cols), A.grid.tile, A.grid.shape, strict=True
            )
        )
        structure = A.structure if self.rows == self.cols else "general"
        return replace(A, grid=Grid((shape[0], shape[1]), A.grid.tile), structure=structure)

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        across, along = (self.rows[0], self.cols[0]) if axis == 1 else (self.cols[0], self.rows[0])
        for strip in view.args[0].strips(axis, fixed + across, start + along, stop + along):
            yield replace(strip, start=strip.start - along)


@dataclass(frozen=True)
class Blocks(View):
    """Block matrix: each argument at a tile row and a tile column, and how many of each it has."""

    places: tuple[tuple[int, int, int, int], ...]
    moves: ClassVar[bool] = True

    def describe(self, *args: Node) -> Description:
        first = args[0].description
        m = sum(A.grid.shape[0] for (_, j, *_), A in zip(self.places, args, strict=True) if j == 0)
        n = sum(A.grid.shape[1] for (i, *_), A in zip(self.places, args, strict=True) if i == 0)
        return Description(Grid((m, n), first.grid.tile), first.dtype, "general", first.ndim)

    def carries(self, *args: Node) -> frozenset[str]:
        return frozenset().union(*(A.carries for A in args))

    @cached_property
    def _lines(self) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
        """The blocks that a tile column, and a tile row, goes through, in order."""
        columns: dict[int, list[int]] = {}
        rows: dict[int, list[int]] = {}
        numbers = range(len(self.places))
        for number in sorted(numbers, key=lambda number: self.places[number][0]):
            _, j, _, n = self.places[number]
            for column in range(j, j + n):
                columns.setdefault(column, []).append(number)
        for number in sorted(numbers, key=lambda number: self.places[number][1]):
            i, _, m, _ = self.places[number]
            for row in range(i, i + m):
                rows.setdefault(row, []).append(number)
        return columns, rows

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        for number in self._lines[axis].get(fixed, ()):
            i, j, m, n = self.places[number]
            across, along, length = (i, j, n) if axis == 1 else (j, i, m)
            first, last = max(start, along) - along, min(stop, along + length) - along
            for strip in view.args[number].strips(axis, fixed - across, first, last):
                yield replace(strip, start=strip.start + along)


@dataclass(frozen=True)
class MirrorDiagonal(Operation):
    """Diagonal tiles made Hermitian or symmetric from their lower triangles. Tasks: one each; waves: 1."""

    kind: Literal["hermitian", "symmetric"]
    holes: ClassVar[bool] = True

    def describe(self, *args: Node) -> Description:
        return Description(args[0].grid, args[0].dtype)

    def absent(self, out: Node, i: int, j: int) -> bool:
        return i != j

    def tasks(self, out: Node) -> Iterator[Task]:
        for k in range(out.grid.counts[0]):
            yield out.task(k, k, base=out.args[0].reads(k, k), finish=f"{self.kind}_from_lower")


@dataclass(frozen=True)
class FromLower(View):
    """Lower tiles of a matrix, its diagonal tiles mirrored, and the lower tiles in place of the upper ones.

    Its arguments are the matrix, `MirrorDiagonal` of it, and its (conjugate) transpose.
    """

    kind: Literal["hermitian", "symmetric"]

    def describe(self, *args: Node) -> Description:
        return Description(
            args[0].grid, args[0].dtype, "hermitian" if self.kind == "hermitian" else "general"
        )

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        A, diagonal, turned = view.args
        before, after = (A, turned) if axis == 1 else (turned, A)
        for part_of, first, last in (
            (before, 0, fixed),
            (diagonal, fixed, fixed + 1),
            (after, fixed + 1, stop),
        ):
            yield from part_of.strips(axis, fixed, max(first, start), min(last, stop))


def present(A: Node) -> Node:
    """Return A as a factor of products, which leave out its absent tiles.

    Nothing else looks at it so: algorithms expect a read for each tile that the structure does not say is
    zero.
    """
    if isinstance(A.op, Flip):
        inner = present(A.args[0])
        return A if inner is A.args[0] else flip(inner, A.op.op)
    absent = absent_of(A)
    return make(Present(absent), A) if absent else A


@dataclass(frozen=True)
class Present(View):
    """Data without reads for tiles that are zero and not there. Tasks: none of its own."""

    zeros: str
    holes: ClassVar[bool] = True
    version: ClassVar[int] = 1

    def describe(self, *args: Node) -> Description:
        return args[0].description

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        absent = absent_tiles(self.zeros, view.grid.counts)
        if view.structure in ("hermitian", "pos"):  # the lower tiles stand for the upper ones
            i, t = fixed, np.arange(len(absent))
            line = absent[np.maximum(i, t), np.minimum(i, t)]
        else:
            line = absent[fixed] if axis == 1 else absent[:, fixed]
        for strip in view.args[0].strips(axis, fixed, start, stop):
            here = ~line[strip.start : strip.start + strip.n]
            ends = strip.start + np.flatnonzero(np.diff(here, prepend=False, append=False))
            for first, last in ends.reshape(-1, 2).tolist():
                yield strip.part(first, last)


@dataclass(frozen=True)
class BundlePart(View):
    """Part of the objects of a bundle, as tiles one below the other."""

    number: int
    moves: ClassVar[bool] = True

    def describe(self, *args: Node) -> Description:
        A = args[0]
        assert A.bundle is not None
        (rows, cols), count = A.bundle.parts[self.number].shape, A.grid.counts[1]
        tile = (max(1, rows), max(1, cols))
        return Description(Grid((rows * count, cols), tile), A.bundle.parts[self.number].dtype)

    def carries(self, *args: Node) -> frozenset[str]:
        return frozenset()

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        A = view.args[0]
        row = A.grid.counts[0] + self.number
        for t in range(start, stop):
            yield Strip(t, 1, Read(TileRef(A.key, row, t if axis == 0 else fixed)), (0, 0, 0, 0))
