"""LU factorization with partial pivoting across tiles, of square and rectangular matrices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from wrenla.algorithms.assemble import rechunk, take
from wrenla.algorithms.tile_views import blocks, columns, part, rows, tiles_of
from wrenla.algorithms.triangular import SolveFactorU, solve_triangular, solve_unit
from wrenla.algorithms.views import around, flip
from wrenla.planning.expression import Description, Node, Operation, View, formula, make, result_dtype
from wrenla.planning.strips import Strip, products
from wrenla_handler.tiles.arrays import Bundle, Part
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.layout import Structure
from wrenla_handler.tiles.task import Op, Read, Task

__all__ = [
    "LU",
    "Schur",
    "exchange",
    "identity",
    "laid_column",
    "lu",
    "lu_solve",
    "parity",
    "permutation",
    "trapezoid",
]


class LU(NamedTuple):
    """Factors of P A = L U.

    Attributes
    ----------
    factors : Node, (m, n)
        L below the diagonal, whose own diagonal of ones is not stored, and U on and above it.
    pivots : Node of int64, (min(m, n), 1)
        Row k was exchanged with row ``pivots[k] >= k``, from 0, k = 0 first (LAPACK's ``ipiv``).
    """

    factors: Node
    pivots: Node


def lu(A: Node) -> LU:
    """Return the LU factors of A with partial pivoting, rows exchanged across all tiles.

    Algorithm: recursion over tile columns (Toledo 1997, Gustavson 1997; LAPACK: getrf2). The left half is
    factored first, then with h tile columns in it

        A[:, h:] = P₁ A[:, h:]              Exchange
        U₁₂ = L₁₁⁻¹ A[:h, h:]               SolveUnitTriangular
        S = A[h:, h:] − L₂₁ U₁₂             Schur, which is factored in turn: P₂ S = L₂₂ U₂₂
        L₂₁ = P₂ L₂₁                        Exchange

    down to a single tile column, a panel, which is one task (LAPACK: getrf). So pivots are those that LAPACK
    finds, wherever entries do not differ by rounding alone.

    With N × N tiles, N a power of two, about 2.1 N² tasks, ¾ N³ reads of tiles for large N, N² log₂ N tiles
    written, and N/2 log₂ N + 3N − 1 waves. Panels and exchanges hold a tile column twice: 2 m b
    entries of memory.
    """
    if A.ndim != 2:
        raise ValueError(f"lu: a matrix is needed, not one of {A.ndim} dimensions")
    edge = min(A.grid.tile)
    A = rechunk(A, (edge, edge))
    return _lu(A, 0)


def _lu(A: Node, first: int) -> LU:
    """Return the factors of the rows of a matrix from `first` on, with pivots as rows of the whole."""
    M, N = A.grid.counts
    if N <= 1:
        panel = make(Panel(first), A)
        return LU(panel, part(panel, 0))
    h = min(N // 2, M)
    left = _lu(columns(A, 0, h), first)
    # columns beyond the last row are in no panel, which would look for NaN and infinity
    beyond = first + h * A.grid.tile[1] if h == M else -1
    right = make(Exchange(first, beyond=beyond), columns(A, h, N), left.pivots)
    L11 = tiles_of(left.factors, (0, h), (0, h))
    if L11.grid.shape[0] < L11.grid.shape[1]:  # a wide matrix, the last tile row of which is short
        whole = slice(L11.grid.shape[0])
        L11 = take(L11, whole, whole, L11.grid.tile)
    U12 = solve_unit(L11, rows(right, 0, h))
    if h == M:
        return LU(blocks([(0, 0, left.factors), (0, h, U12)]), left.pivots)
    S = make(Schur(), rows(right, h, M), rows(left.factors, h, M), U12)
    below = first + h * A.grid.tile[0]
    tail = _lu(S, below)
    L21 = exchange(rows(left.factors, h, M), tail.pivots, below)
    factors = [(0, 0, rows(left.factors, 0, h)), (0, h, U12), (h, 0, L21), (h, h, tail.factors)]
    return LU(blocks(factors), blocks([(0, 0, left.pivots), (h, 0, tail.pivots)]))


def exchange(A: Node, pivots: Node, first: int = 0, *, back: bool = False) -> Node:
    """Return A with its rows exchanged as `pivots` say, from row `first` of the whole on, or `back` again."""
    return make(Exchange(first, back), A, pivots)


def lu_solve(factors: LU, B: Node, op: Op = "N") -> Node:
    """Return X with op(A) X = B, given the factors of a square A (LAPACK: getrs)."""
    F, pivots = factors
    edge = min(F.grid.tile)
    F = rechunk(F, (edge, edge))
    if B.grid.tile[0] != F.grid.tile[0]:
        B = rechunk(B, (F.grid.tile[0], B.grid.tile[1]))
    if op == "N":
        return solve_triangular(F, solve_unit(F, exchange(B, pivots)), "upper", SolveFactorU)
    # op(A) = op(U) op(L) op(P), and op(P) is P⁻¹ unless it is conjugated only
    T = flip(F, op)
    if op == "R":
        return solve_triangular(T, solve_unit(T, exchange(B, pivots)), "upper", SolveFactorU)
    X = solve_unit(T, solve_triangular(T, B, "lower", SolveFactorU), "upper")
    return exchange(X, pivots, back=True)


def parity(pivots: Node, dtype: str) -> Node:
    """Return the determinant of the permutation that pivots are, 1 or −1, a number."""
    return make(Parity(dtype), pivots)


def permutation(pivots: Node, rows: int) -> Node:
    """Return the vector p of integers with A = L[p] U, for A of so many rows."""
    return make(Permutation(rows), pivots)


def identity(A: Node, dtype: str = "") -> Node:
    """Return the identity with as many rows as A, in tiles as high, and in its dtype unless one is given."""
    m, edge = A.grid.shape[0], A.grid.tile[0]
    grid = Grid((m, m), (edge, edge))
    return formula("eye", grid, dtype or A.dtype, "pos")


def trapezoid(F: Node, mask: Literal["unit", "upper"]) -> Node:
    """Return what lies below the diagonal of F and ones on it, or what lies on and above it."""
    return make(Trapezoid(mask), F)


def laid_column(A: Node, j: int) -> Iterator[Read]:
    """Yield the reads that lay a column of tiles, one below the other."""
    for i in range(A.grid.counts[0]):
        for read in A.reads(i, j):
            yield replace(read, offset=(read.offset[0] + i * A.grid.tile[0], read.offset[1]))


def _all(pivots: Node) -> tuple[Read, ...]:
    """Return the reads of all tiles of a column."""
    return tuple(read for i in range(pivots.grid.counts[0]) for read in pivots.reads(i, 0))


@dataclass(frozen=True)
class Panel(Operation):
    """L and U of one tile column, and its pivots, in one task (LAPACK: getrf)."""

    first: int

    def describe(self, *args: Node) -> Description:
        return Description(args[0].grid, args[0].dtype)

    def bundle(self, out: Node) -> Bundle:
        return Bundle((Part((min(out.grid.shape), 1), "int64"),))

    def tasks(self, F: Node) -> Iterator[Task]:
        A = F.args[0]
        if F.grid.counts[1]:
            yield F.task(
                *(0, 0),
                base=tuple(laid_column(A, 0)),
                finish="getrf",
                numbers=(self.first,),
                shape=A.grid.shape,
            )


@dataclass(frozen=True)
class Exchange(Operation):
    """Rows of a matrix exchanged as pivots say, a tile column a task (LAPACK: laswp).

    Which rows move is known when the task runs; which tiles it reads is known before. If `beyond` is not
    negative, it is the first column's index in the whole, and what is not finite is an error.
    """

    first: int
    back: bool = False
    beyond: int = -1

    def describe(self, *args: Node) -> Description:
        A = args[0]
        return Description(A.grid, A.dtype, "general", A.ndim)

    def bundle(self, out: Node) -> Bundle:
        return Bundle()

    def tasks(self, out: Node) -> Iterator[Task]:
        A, pivots = out.args
        args = _all(pivots)
        for j in range(out.grid.counts[1]):
            yield out.task(
                *(0, j),
                base=tuple(laid_column(A, j)),
                finish="laswp",
                numbers=(self.first, int(self.back), self.beyond),
                args=args,
                shape=(A.grid.shape[0], A.grid.extent(0, j)[1]),
            )


@dataclass(frozen=True)
class Schur(Operation):
    """S = B − L U, a tile a task (BLAS: gemm)."""

    def describe(self, *args: Node) -> Description:
        B, L, U = args
        return Description(B.grid, result_dtype(B.dtype, L.dtype, U.dtype))

    def tasks(self, S: Node) -> Iterator[Task]:
        B, L, U = S.args
        K = L.grid.counts[1]
        for i, j in S.own_tiles():
            yield S.task(i, j, base=B.reads(i, j), terms=products(L.row(i, 0, K), U.column(j, 0, K), -1))


@dataclass(frozen=True)
class Trapezoid(View):
    """L, with ones on its diagonal, or U of a matrix that holds both."""

    mask: Literal["unit", "upper"]

    def describe(self, *args: Node) -> Description:
        F = args[0].description
        triangle: Structure = "lower" if self.mask == "unit" else "upper"
        square = F.grid.shape[0] == F.grid.shape[1]
        return Description(F.grid, F.dtype, triangle if square else "general")

    def carries(self, *args: Node) -> frozenset[str]:
        return args[0].carries | {"mask"}

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        before = (self.mask == "unit") == (axis == 1)  # the diagonal is where the run ends, or begins
        first, last = (start, min(stop, fixed + 1)) if before else (max(start, fixed), stop)
        for strip in view.args[0].strips(axis, fixed, first, last) if first < last else ():
            for piece in around(strip, fixed):
                on_diagonal = piece.start == fixed
                yield replace(piece, read=replace(piece.read, mask=self.mask)) if on_diagonal else piece


@dataclass(frozen=True)
class Permutation(Operation):
    """Permutation as a vector of integers, from its pivots."""

    rows: int

    def describe(self, *args: Node) -> Description:
        return Description(Grid((self.rows, 1), (max(1, self.rows), 1)), "int64", "general", 1)

    def tasks(self, out: Node) -> Iterator[Task]:
        if self.rows:
            yield out.task(0, 0, finish="permutation", args=_all(out.args[0]))


@dataclass(frozen=True)
class Parity(Operation):
    """Determinant of a permutation, from its pivots."""

    dtype: str

    def describe(self, *args: Node) -> Description:
        return Description(Grid((1, 1), (1, 1)), self.dtype, "general", 0)

    def tasks(self, out: Node) -> Iterator[Task]:
        yield out.task(0, 0, finish="parity", args=_all(out.args[0]))
