"""Sums, norms, traces and determinants: one part per tile, combined along rows, then columns.

What is put together of more than 64 parts is a tree, of 64 parts at a time: its shape, and so the last bits,
depend on the grid alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from wrenla.algorithms.assemble import Piece, copy, overlap, rechunk
from wrenla.algorithms.tile_views import blocks
from wrenla.algorithms.views import flip, scale
from wrenla.planning.expression import Description, Node, Operation, make
from wrenla_handler.tiles.finish import FINISHES
from wrenla_handler.tiles.grid import Grid, Pair
from wrenla_handler.tiles.task import Read, Task

__all__ = [
    "NORMS",
    "added_in_groups",
    "det_triangular",
    "diagonal",
    "norm",
    "slogdet_of_tiles",
    "slogdet_triangular",
    "sum_over",
    "trace",
]

NORMS = ("fro", "1", "-1", "inf", "-inf", "max")

_FAN_IN = 64
"""Parts that one task puts together: they are small, so it is their number that takes time."""


def sum_over(A: Node, axis: Literal[0, 1] | None) -> Node:
    """Return the sum over rows (axis 0: one number for each column), columns (1), or all entries (None)."""
    if axis == 0:
        return sum_over(flip(A, "T"), 1)
    if axis == 1:
        return _added_up(make(Parts("row_sums", None, 1), A), 1, 1)
    return _added_up(make(Parts("column_sums", 1, 1), sum_over(A, 1)), 0, 0)


def diagonal(A: Node, offset: int = 0) -> Node:
    """Return the entries (i, i + offset) as a vector; none if they are outside of the matrix."""
    if offset == 0 and A.grid.tile[0] == A.grid.tile[1]:
        return make(DiagonalParts("diagonal", None), A)
    return make(Diagonal(offset), A)


def trace(A: Node, offset: int = 0, dtype: str = "") -> Node:
    """Return the sum of a diagonal, in another dtype if one is given."""
    D = diagonal(A, offset)
    return sum_over(D if dtype in ("", D.dtype) else copy(D, dtype), None)


def norm(A: Node, order: str, ndim: int = 0) -> Node:
    """Return one of `NORMS`: Frobenius, largest or smallest absolute column or row sum, largest entry.

    The result is a number, or has `ndim` axes of length 1.
    """
    if order == "fro":
        rows = _laid(make(Parts("sum_squares", 2, 1), A), Lay(1, "combine_sum_squares", (2, 1), 2))
        columns = _grouped(rows, Lay(0, "combine_sum_squares", (2, 1), 2, _FAN_IN))
        return make(Lay(0, "norm_from_sum_squares", (1, 1), ndim), columns)
    if order == "max":
        rows = _laid(make(Parts("max_abs", 1, 1), A), Lay(1, "maximum", (1, 1), 2))
        return _laid(rows, Lay(0, "maximum", (1, 1), ndim))
    if not order.endswith("inf"):
        return norm(flip(A, "T"), "-inf" if order == "-1" else "inf", ndim)
    extreme = "minimum" if order == "-inf" else "maximum"
    sums = _added_up(make(Parts("abs_row_sums", None, 1), A), 1, 1)
    return _laid(make(Parts(extreme, 1, 1), sums), Lay(0, extreme, (1, 1), ndim))


def slogdet_triangular(T: Node, power: int = 1) -> tuple[Node, Node]:
    """Return the sign of det T and `power` times the logarithm of |det T|, of a triangular matrix."""
    return _slogdet(_square_tiles(T), "sign_part", "logabs_part", power)


def slogdet_of_tiles(D: Node) -> tuple[Node, Node]:
    """Return the same of the block diagonal matrix that the diagonal tiles of a matrix are."""
    return _slogdet(_square_tiles(D), "sign_of_tile", "logabs_of_tile", 1)


def det_triangular(T: Node, sign: Node | None = None) -> Node:
    """Return det T of a triangular matrix, times a number of its dtype that is 1 or −1.

    Products on the way may be beyond the range of the dtype. If the result is, too, the sign must be in it
    before: complex infinity times −1 is NaN.
    """
    parts = make(DiagonalParts("product_part", 2), _square_tiles(T))
    if sign is not None:
        parts = blocks(
            [(0, 0, parts), (parts.grid.counts[0], 0, make(DiagonalParts("product_part", 2), sign))]
        )
    return make(
        Lay(0, "number_from_product", (1, 1), 0),
        _grouped(parts, Lay(0, "combine_products", (2, 1), 2, _FAN_IN)),
    )


def _slogdet(T: Node, sign: str, logabs: str, power: int) -> tuple[Node, Node]:
    signs = _laid(make(DiagonalParts(sign, 1), T), Lay(0, "product", (1, 1), 0))
    return signs, scale(_added_up(make(DiagonalParts(logabs, 1), T), 0, 0), power)


def added_in_groups(P: Node, axis: Literal[0, 1]) -> Node:
    """Return parts along an axis, added up in groups until one task can add up what is left."""
    return _grouped(P, AddUp(axis, 2, _FAN_IN))


def _added_up(P: Node, axis: Literal[0, 1], ndim: int) -> Node:
    """Return the sum of all parts along an axis."""
    return make(AddUp(axis, ndim), added_in_groups(P, axis))


def _laid(P: Node, lay: Lay) -> Node:
    """Return what a kernel makes of all parts along an axis, if it may be applied to its own results."""
    return make(lay, _grouped(P, replace(lay, ndim=2, group=_FAN_IN)))


def _grouped(P: Node, op: AddUp | Lay) -> Node:
    """Put parts together, group by group, until one task can take them all."""
    while P.grid.counts[op.axis] > _FAN_IN:
        P = make(op, P)
    return P


def _square_tiles(A: Node) -> Node:
    edge = min(A.grid.tile)
    return A if A.grid.tile[0] == A.grid.tile[1] else rechunk(A, (edge, edge))


def _result(kernel: str, dtype: str) -> str:
    """Return the dtype that a kernel makes of tiles of another one."""
    return np.empty(0, dtype).real.dtype.name if FINISHES[kernel].real else dtype


@dataclass(frozen=True)
class Parts(Operation):
    """One small part of each tile: P[i, j] = kernel(A[i, j]).

    A part has `rows` × `cols` entries; None stands for as many as the tile has. Tasks: one per tile of A
    that is not known to be zero; waves: 1.
    """

    kernel: str
    rows: int | None
    cols: int | None
    version: ClassVar[int] = 2
    holes: ClassVar[bool] = True

    def describe(self, *args: Node) -> Description:
        grid = args[0].grid
        M, N = grid.counts
        part = (self.rows or grid.tile[0], self.cols or grid.tile[1])
        shape = (M * self.rows if self.rows else grid.shape[0], N * self.cols if self.cols else grid.shape[1])
        return Description(Grid(shape, part), _result(self.kernel, args[0].dtype))

    def absent(self, out: Node, i: int, j: int) -> bool:
        """Tell whether a part is zero because its tile is."""
        return out.args[0].zero(i, j)

    def tasks(self, out: Node) -> Iterator[Task]:
        A = out.args[0]
        for i, j in out.own_tiles():
            base = A.reads(i, j)
            yield out.task(i, j, base=base, finish=self.kernel, shape=A.grid.extent(i, j), dtype=A.dtype)


@dataclass(frozen=True)
class DiagonalParts(Operation):
    """One part of each diagonal tile, one below the other: p[k] = kernel(A[k, k]).

    A part has `rows` entries, None: as many as the tile's diagonal. Tasks: one per diagonal tile; waves: 1.
    """

    kernel: str
    rows: int | None

    def describe(self, *args: Node) -> Description:
        grid = args[0].grid
        n = min(grid.counts) * self.rows if self.rows else min(grid.shape)
        tile = (self.rows or grid.tile[0], 1)
        return Description(Grid((n, 1), tile), _result(self.kernel, args[0].dtype), "general", 1)

    def tasks(self, out: Node) -> Iterator[Task]:
        A = out.args[0]
        for k in range(out.grid.counts[0]):
            base = A.reads(k, k)
            yield out.task(k, 0, base=base, finish=self.kernel, shape=A.grid.extent(k, k), dtype=A.dtype)


@dataclass(frozen=True)
class Diagonal(Operation):
    """Diagonal across tiles, the entries (i, i + offset): D[k] = diagonal([A[i, j] A[i, j+1] …]).

    Each task lays a square of A that has a part of the diagonal for its own. Tasks: one per tile of the
    result, which is as long as a tile of A in its shorter direction; reads: the tiles that the square
    overlaps, two each if the tiles are square; waves: 1.
    """

    offset: int

    def describe(self, *args: Node) -> Description:
        grid = self._squares(args[0])
        return Description(Grid((grid.shape[0], 1), (grid.tile[0], 1)), args[0].dtype, "general", 1)

    def tasks(self, out: Node) -> Iterator[Task]:
        A = out.args[0]
        squares = self._squares(A)
        whole = Piece(0, (max(0, -self.offset), 1), (max(0, self.offset), 1), squares.shape, (0, 0))
        for k in range(out.grid.counts[0]):
            base = tuple(overlap(A, whole, squares, k, k))
            yield out.task(k, 0, base=base, finish="diagonal", shape=squares.extent(k, k), dtype=A.dtype)

    def _squares(self, A: Node) -> Grid:
        """Return the grid of the part of A whose main diagonal this is."""
        (m, n), k = A.grid.shape, self.offset
        length = max(0, min(m + min(0, k), n - max(0, k)))
        edge = max(1, min(length, *A.grid.tile))
        return Grid((length, length), (edge, edge))


def _along(axis: int, fixed: int, t: int) -> Pair:
    """Return the tile indices at place t along an axis."""
    return (t, fixed) if axis == 0 else (fixed, t)


def _groups(count: int, group: int) -> int:
    """Return how many groups of at most `group` parts, all but equally large, there are; 0: no limit."""
    return -(-count // group) if group else 1


def _folded(grid: Grid, axis: int, length: int, group: int) -> Grid:
    """Return the grid with one tile of `length` along an axis for each group of tiles, 0: for all of them."""
    (m, n), (a, b) = grid.shape, grid.tile
    parts = _groups(grid.counts[axis], group)
    return Grid((parts * length, n), (length, b)) if axis == 0 else Grid((m, parts * length), (a, length))


class _Together(Operation):
    """Shared part of `AddUp` and `Lay`: parts along an axis put together, in groups or all at once."""

    axis: Literal[0, 1]
    group: int
    holes: ClassVar[bool] = True

    def parts(self, P: Node, i: int, j: int) -> list[Read]:
        """Return the reads of the parts that are put together in tile `(i, j)`."""
        fixed, g = (j, i) if self.axis == 0 else (i, j)
        count = P.grid.counts[self.axis]
        groups = _groups(count, self.group)
        places = range(g * count // groups, (g + 1) * count // groups)
        return [read for t in places for read in P.reads(*_along(self.axis, fixed, t))]

    def absent(self, out: Node, i: int, j: int) -> bool:
        """Tell whether none of a group's parts is there."""
        return self.group > 0 and not self.parts(out.args[0], i, j)


@dataclass(frozen=True)
class AddUp(_Together):
    """Sum of the parts along an axis: s[i, g] = Σ_j P[i, j] over the g-th `group` parts j, ascending.

    Tasks: one per sum; waves: 1.
    """

    axis: Literal[0, 1]
    ndim: int
    group: int = 0

    def describe(self, *args: Node) -> Description:
        P = args[0]
        grid = _folded(P.grid, self.axis, P.grid.tile[self.axis], self.group)
        return Description(grid, P.dtype, "general", self.ndim)

    def tasks(self, out: Node) -> Iterator[Task]:
        for i, j in out.own_tiles():
            base = tuple(replace(read, accumulate=True) for read in self.parts(out.args[0], i, j))
            yield out.task(i, j, base=base)


@dataclass(frozen=True)
class Lay(_Together):
    """Parts along an axis side by side in one tile, then a kernel: s[i, g] = kernel([P[i, j] P[i, j+1] …]).

    Tasks: one per group of parts, in each row (axis 1) or column (axis 0) of parts; waves: 1.
    """

    axis: Literal[0, 1]
    kernel: str
    shape: Pair
    ndim: int
    group: int = 0

    def describe(self, *args: Node) -> Description:
        P = args[0]
        grid = _folded(P.grid, self.axis, self.shape[self.axis], self.group)
        return Description(grid, P.dtype, "general", self.ndim)

    def tasks(self, out: Node) -> Iterator[Task]:
        height, width = out.args[0].grid.tile
        for i, j in out.own_tiles():
            reads = self.parts(out.args[0], i, j)
            base = tuple(replace(read, offset=(0, t * width)) for t, read in enumerate(reads))
            yield out.task(i, j, base=base, finish=self.kernel, shape=(height, len(reads) * width))
