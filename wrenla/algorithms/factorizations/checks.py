"""Checks of a solution: its residual, and how far the inverse of the matrix can enlarge an error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from wrenla.algorithms.assemble import rechunk
from wrenla.algorithms.elementwise import elementwise, with_dimensions
from wrenla.algorithms.factorizations.lu import Schur, laid_column
from wrenla.algorithms.reductions import added_in_groups
from wrenla.algorithms.statistics import extreme
from wrenla.algorithms.views import factor
from wrenla.arrays import array_leaf
from wrenla.planning.expression import Description, Node, Operation, make
from wrenla_handler.tiles.arrays import Bundle
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.task import Task

__all__ = [
    "balance",
    "column_maxima",
    "inverse_columns",
    "largest_units",
    "residual",
    "sizes",
    "start_vectors",
    "starts",
]

_COLUMNS = 2
"""Vectors that an inverse is applied to at a time, to estimate its norm."""


def residual(A: Node, X: Node, B: Node, dtype: str) -> Node:
    """Return B − A X, computed in a dtype that is at least as precise."""
    if B.grid.tile != X.grid.tile:
        B = rechunk(B, X.grid.tile)
    edge = X.grid.tile[0]
    if A.grid.tile != (edge, edge):
        A = rechunk(A, (edge, edge))
    A, X = factor(A, X.grid.counts[1]), factor(X, A.grid.counts[0])
    return make(Residual(dtype), B, A, X)


def column_maxima(A: Node) -> Node:
    """Return the largest absolute value of each column, a vector; NaN stays NaN."""
    return extreme(elementwise("absolute", with_dimensions(A, 2, column=True)), 0, "maximum")


def sizes(A: Node) -> Node:
    """Return a vector of three: of |A| the largest sum along a row, down a column, and the largest entry.

    With M × N tiles, of a Hermitian matrix the lower ones: a task and a read for each, then M + G + 1 tasks
    with MN + M + G reads, G = 0 up to 64 tile rows and ⌈M/64⌉ up to 4096; 3 waves, or 4. No task holds
    more than a few columns of n numbers.
    """
    if A.grid.tile[0] != A.grid.tile[1]:
        edge = min(A.grid.tile)
        A = rechunk(A, (edge, edge))
    rows = make(RowSizes(), make(TileSizes(), A))
    return make(AllSizes(_is_hermitian(A), A.grid.counts[0]), added_in_groups(rows, 0))


def starts(n: int, edge: int, dtype: str) -> Node:
    """Return the vectors with which the estimate of a norm begins: the same at each call.

    The first is 1/n everywhere, the other one of random numbers.
    """
    vectors = start_vectors(n).astype(dtype)
    return array_leaf(vectors, (edge, vectors.shape[1]), own=True)


def start_vectors(n: int) -> npt.NDArray[np.float64]:
    """Return vectors with a one-norm of one.

    Not of signs alone: in a quarter of all cases two would be orthogonal to e_i − e_j, and blind to a matrix
    of which two rows are nearly equal.
    """
    vectors = np.random.default_rng(0).uniform(0.5, 1.5, (n, min(_COLUMNS, n)))
    vectors *= np.random.default_rng(1).integers(0, 2, vectors.shape) * 2 - 1
    vectors[:, 0] = 1
    return np.asarray(vectors / np.abs(vectors).sum(axis=0))


def balance(norm: float) -> float:
    """Return a power of two c with c² about ‖A‖: c ‖A⁻¹‖ is far from overflow where ‖A⁻¹‖ is not."""
    return math.ldexp(1.0, math.frexp(norm)[1] // 2) if 0 < norm < math.inf else 1.0


def inverse_columns(Y: Node, solve: Callable[[Node], Node], solve_adjoint: Callable[[Node], Node]) -> Node:
    """Return columns of A⁻¹ that are probably its largest ones, given Y = A⁻¹ X for X of `starts`.

    Algorithm: the first two steps of Higham and Tisseur 2000, 2.4 (LAPACK: lacn2), without looking at a
    number in between. The one-norms of Y and of what is returned are lower bounds of that of A⁻¹.
    """
    return solve(largest_units(solve_adjoint(elementwise("sign", Y))))


def largest_units(Z: Node) -> Node:
    """Return unit vectors, one a column, of the rows in which a tall matrix has its largest entries."""
    return make(LargestUnits(), Z)


@dataclass(frozen=True)
class Residual(Schur):
    """R = B − A X, a tile a task (BLAS: gemm), in a dtype of its own."""

    dtype: str

    def describe(self, *args: Node) -> Description:
        return replace(super().describe(*args), dtype=self.dtype, ndim=args[0].ndim)


@dataclass(frozen=True)
class LargestUnits(Operation):
    """Unit vectors, one a column, of the rows in which a tall matrix has its largest entries. Tasks: 1."""

    def describe(self, *args: Node) -> Description:
        return Description(args[0].grid, args[0].dtype)

    def bundle(self, out: Node) -> Bundle:
        return Bundle()

    def tasks(self, out: Node) -> Iterator[Task]:
        A = out.args[0]
        yield out.task(
            *(0, 0),
            base=tuple(laid_column(A, 0)),
            finish="largest_units",
            shape=A.grid.shape,
        )


@dataclass(frozen=True)
class TileSizes(Operation):
    """Sums of absolute values of each tile, in one pass over it; of a Hermitian matrix of the lower ones.

    Each is a column of a + b + 1 numbers for tiles of a × b: along rows, down columns, the largest entry.
    Tasks: one per tile of A that is stored, or known not to be zero; waves: 1.
    """

    holes: ClassVar[bool] = True

    def describe(self, *args: Node) -> Description:
        grid = args[0].grid
        part = sum(grid.tile) + 1
        real = np.empty(0, args[0].dtype).real.dtype.name
        return Description(Grid((grid.counts[0] * part, grid.counts[1]), (part, 1)), real)

    def absent(self, out: Node, i: int, j: int) -> bool:
        A = out.args[0]
        return (_is_hermitian(A) and i < j) or A.zero(i, j)

    def tasks(self, out: Node) -> Iterator[Task]:
        A = out.args[0]
        for i, j in out.own_tiles():
            task = out.task(
                *(i, j),
                base=A.reads(i, j),
                finish="tile_sizes",
                numbers=(*A.grid.tile, int(_is_hermitian(A))),
                shape=A.grid.extent(i, j),
                dtype=A.dtype,
            )
            yield replace(task, origin=A.grid.origin(i, j))


@dataclass(frozen=True)
class RowSizes(Operation):
    """`TileSizes` of a row of tiles put together, so that the sum of all of them has all sums.

    Each is a column of n numbers for sums, and of two for each row of tiles: see the kernel. Tasks: one per
    row; waves: 1.
    """

    version: ClassVar[int] = 2

    def describe(self, *args: Node) -> Description:
        S, A = args[0], args[0].args[0]
        M, N = A.grid.counts
        length = N * A.grid.tile[1] + 2 * M
        return Description(Grid((M * length, 1), (length, 1)), S.dtype)

    def tasks(self, out: Node) -> Iterator[Task]:
        S, A = out.args[0], out.args[0].args[0]
        part, (M, N) = S.grid.tile[0], A.grid.counts
        for i in range(M):
            base = tuple(replace(read, offset=(0, j)) for j in range(N) for read in S.reads(i, j))
            numbers = (A.grid.tile[0], int(_is_hermitian(A)), i, M)
            yield out.task(i, 0, base=base, finish="row_sizes", numbers=numbers, shape=(part, N))


@dataclass(frozen=True)
class AllSizes(Operation):
    """Norms from `RowSizes`, or sums of them. Tasks: 1, which adds up one column after the other."""

    hermitian: bool
    rows: int
    version: ClassVar[int] = 2

    def describe(self, *args: Node) -> Description:
        return Description(Grid((3, 1), (3, 1)), args[0].dtype, "general", 1)

    def tasks(self, out: Node) -> Iterator[Task]:
        R = out.args[0]
        base = tuple(
            replace(read, accumulate=True) for i in range(R.grid.counts[0]) for read in R.reads(i, 0)
        )
        numbers = (int(self.hermitian), self.rows)
        yield out.task(0, 0, base=base, finish="all_sizes", numbers=numbers, shape=(R.grid.tile[0], 1))


def _is_hermitian(A: Node) -> bool:
    return A.structure in ("hermitian", "pos")
