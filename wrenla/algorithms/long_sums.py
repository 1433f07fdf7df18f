"""Long sums of products as trees: parts side by side, then added up, a few at a time.

A tile of A B is a sum over the inner dimension, added up one product after the other. With many products for
few tiles (Aᵀ A of a tall matrix, A v) this chain is all that there is, and one worker does it. Then the inner
dimension is cut into parts, each a sum of its own, and a tree adds them up. Its shape depends on the grids
alone: neither the number of workers, nor the cut, nor memory changes a bit of the result. It has a smaller
error too: with K products in parts of s, and a tree of depth d, the bound on the error of adding them grows
with s + 8d instead of K.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from wrenla.planning.expression import Description, Node, Operation, make
from wrenla.planning.strips import products
from wrenla_handler.tiles.grid import Grid, Pair
from wrenla_handler.tiles.task import Read, Task, Term, Window

__all__ = ["FAN_IN", "as_tree"]

FAN_IN = 8
"""Tiles that one task adds up: a wider tree would be shallower, but each of its tasks would read longer."""

_SHORTEST = 8
"""Products of a part at least: it reads 8 to 16 tiles, and then one more is written and read again."""


def as_tree(whole: Node, left: Node, right: Node, *, lower: bool = False) -> Node:
    """Return the product `whole` of two matrices as a tree if its sums are long, else as it is.

    For each tile of the result, with P parts, uncut: P tasks make its products, as many as without parts;
    S = ⌈P/8⌉ + ⌈⌈P/8⌉/8⌉ + … + 1 tasks add up at most 8 tiles each, with P + S − 1 reads. Waves: one, and one
    for each member of that sum. Every part is a temporary tile, and goes when it has been added up.

    Parameters
    ----------
    whole : Node
        The product; its structure says which of its tiles are made.
    left, right : Node
        Its factors.
    lower : bool
        `right` is `left` conjugate transposed: of tiles on the diagonal only the lower triangle is made.
    """
    parts = _parts(whole.grid, left.grid)
    if parts < 2:
        return whole
    node = make(Parts(whole.description, parts, lower), left, right)
    rows = whole.grid.counts[0]
    while parts > FAN_IN:
        node = make(AddParts(rows), node)
        parts = -(-parts // FAN_IN)
    return make(Total(whole.description), node)


def _parts(whole: Grid, factor: Grid) -> int:
    """Return into how many parts the sums of a product are cut: 1 if they are not long.

    A part has at least ∛(MNK) products. Where matrices are square that is all K: those have no long sums, and
    in other products there are as many parts as a square one that takes as long has tiles. And what a part
    reads is at least eight times what its own tile adds to reads and writes.
    """
    (M, N), K = whole.counts, factor.counts[1]
    if M * N == 0 or K < 2 * _SHORTEST:
        return 1
    m, n = _extent(whole)
    k = factor.tile[1]
    outweighs = -(-8 * m * n // (k * (m + n)))
    return max(1, K // max(_SHORTEST, outweighs, _cube_edge(M * N * K)))


def _cube_edge(volume: int) -> int:
    """Return the least whole number whose cube is at least `volume`, exactly."""
    # `cbrt` rounds, and the shape of the tree, and so the bits of the sum, must not depend on how.
    edge = max(1, round(math.cbrt(volume)))
    while edge**3 < volume:
        edge += 1
    while (edge - 1) ** 3 >= volume:
        edge -= 1
    return edge


def _stacked(grid: Grid, parts: int) -> Grid:
    """Return the grid of some matrices one below the other, each filled up with zeros to whole tile rows."""
    height, width = _extent(grid)
    return Grid((parts * grid.counts[0] * height, grid.shape[1]), (height, width))


def _extent(grid: Grid) -> Pair:
    """Return rows and columns of a grid's largest tiles."""
    return min(grid.tile[0], grid.shape[0]), min(grid.tile[1], grid.shape[1])


@dataclass(frozen=True)
class Parts(Operation):
    """P[p M + i, j] = Σ_{k in part p} A[i, k] B[k, j]: the sums over parts of the inner dimension, stacked.

    All parts have equally many products, give or take one. Tasks: one per part and tile of the result that
    has products in it; waves: 1.
    """

    whole: Description
    parts: int
    lower: bool
    holes: ClassVar[bool] = True

    def describe(self, *args: Node) -> Description:
        return Description(_stacked(self.whole.grid, self.parts), self.whole.dtype)

    def _terms(self, P: Node, row: int, j: int) -> tuple[Term, ...]:
        A, B = P.args
        part, i = divmod(row, self.whole.grid.counts[0])
        if not _is_made(self.whole, i, j):
            return ()
        K = A.grid.counts[1]
        start, stop = (part * K // self.parts, (part + 1) * K // self.parts)
        return products(A.row(i, start, stop), B.column(j, start, stop), lower=self.lower and i == j)

    def absent(self, P: Node, row: int, j: int) -> bool:
        """Tell whether a sum has no products, or is of a tile that is not made."""
        return not self._terms(P, row, j)

    def tasks(self, P: Node) -> Iterator[Task]:
        M = self.whole.grid.counts[0]
        for row, j in P.own_tiles():
            shape = self.whole.grid.extent(row % M, j)
            yield P.task(row, j, terms=self._terms(P, row, j), shape=shape)


@dataclass(frozen=True)
class AddParts(Operation):
    """Q[q M + i, j] = Σ_p P[p M + i, j] over the q-th group of at most 8 parts p, all but equally many.

    Tasks: one per tile; waves: 1.
    """

    rows: int
    fan_in: int = FAN_IN
    holes: ClassVar[bool] = True

    def describe(self, *args: Node) -> Description:
        P = args[0]
        shape = self._groups(P) * self.rows * P.grid.tile[0], P.grid.shape[1]
        return Description(Grid(shape, P.grid.tile), P.dtype)

    def _groups(self, P: Node) -> int:
        return -(-P.grid.counts[0] // (self.rows * self.fan_in))

    def _places(self, P: Node, row: int) -> range:
        """Return the tile rows of P that are added up."""
        q, i = divmod(row, self.rows)
        parts, groups = P.grid.counts[0] // self.rows, self._groups(P)
        start, stop = q * parts // groups, (q + 1) * parts // groups
        return range(start * self.rows + i, stop * self.rows, self.rows)

    def absent(self, Q: Node, row: int, j: int) -> bool:
        """Tell whether none of the parts is there."""
        P = Q.args[0]
        return all(P.zero(p, j) for p in self._places(P, row))

    def tasks(self, Q: Node) -> Iterator[Task]:
        P = Q.args[0]
        for row, j in Q.own_tiles():
            yield Q.task(row, j, base=_added(P, self._places(P, row), j))


@dataclass(frozen=True)
class Total(Operation):
    """C[i, j] = Σ_p P[p M + i, j] over all parts p. Tasks: one per tile of the result; waves: 1."""

    whole: Description

    def describe(self, *args: Node) -> Description:
        return self.whole

    def tasks(self, C: Node) -> Iterator[Task]:
        P, M = C.args[0], C.grid.counts[0]
        mirrored = self.whole.structure in ("hermitian", "pos")
        for i, j in C.own_tiles():
            rows, cols = C.grid.extent(i, j)
            window = None if rows == P.grid.tile[0] else (0, rows, 1, 0, cols, 1)
            base = _added(P, range(i, P.grid.counts[0], M), j, window)
            yield C.task(i, j, base=base, finish="mirror" if mirrored and i == j else "")


def _is_made(whole: Description, i: int, j: int) -> bool:
    """Tell whether a matrix has a tile of its own there: a symmetric one has the lower ones."""
    match whole.structure:
        case "general":
            return True
        case "upper":
            return i <= j
    return i >= j


def _added(P: Node, rows: range, j: int, window: Window | None = None) -> tuple[Read, ...]:
    """Return the reads that add up tiles of a column of P, in the order of their rows."""
    reads = [replace(read, window=window) for row in rows for read in P.reads(row, j)]
    return tuple(replace(read, accumulate=t > 0) for t, read in enumerate(reads))
