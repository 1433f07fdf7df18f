"""Linear systems with a triangular matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from wrenla.algorithms.assemble import rechunk
from wrenla.algorithms.views import factor, flip, materialize
from wrenla.planning.expression import Description, Node, Operation, make, result_dtype
from wrenla.planning.strips import products, reverse
from wrenla_handler.tiles.task import Mask, Read, Task, Term

__all__ = ["SolveFactorU", "solve_triangular", "solve_unit", "substitution"]


def solve_triangular(
    T: Node, B: Node, uplo: Literal["lower", "upper"], op: type[SolveTriangular] | None = None
) -> Node:
    """Return X with T X = B; of T only the named triangle is read. `op` is by default `SolveTriangular`."""
    rows, cols = T.grid.shape
    if rows != cols or T.ndim != 2:
        raise ValueError(f"solve_triangular: the matrix must be square, not {T.grid.shape[: T.ndim]}")
    if rows != B.grid.shape[0]:
        raise ValueError(
            f"solve_triangular: {rows} equations, but a right-hand side of {B.grid.shape[0]} rows"
        )
    if T.grid.tile[0] != T.grid.tile[1]:
        edge = min(T.grid.tile)
        T = rechunk(T, (edge, edge))
    if B.grid.tile[0] != T.grid.tile[0]:
        B = rechunk(B, (T.grid.tile[0], B.grid.tile[1]))
    T = factor(T, B.grid.counts[1])
    # of the other triangle the diagonal is left: it must not read what is masked there
    if T.structure != uplo:
        T = materialize(T, "mask")
    return make((op or SolveTriangular)(uplo), T, B)


def solve_unit(T: Node, B: Node, uplo: Literal["lower", "upper"] = "lower") -> Node:
    """Return X with T X = B for a triangle with ones on its diagonal, which are not read.

    The tiles of T hold such a lower triangle L, and others above it: T is read as it is, or transposed.
    """
    return make(SolveUnitTriangular(uplo), T, B)


@dataclass(frozen=True)
class SolveTriangular(Operation):
    """X with T X = B.

    Algorithm: substitution by tiles (BLAS: trsm), for a lower T forwards, for an upper one backwards:

        X[i, r] = T[i, i]⁻¹ (B[i, r] − Σ_{j<i} T[i, j] X[j, r])        lower
        X[i, r] = T[i, i]⁻¹ (B[i, r] − Σ_{j>i} T[i, j] X[j, r])        upper, j from the last one down

    Invariant: every X[j, r] in a sum is final. With N tile rows and R tile columns of B, uncut: RN tasks and
    writes, RN(N+1) reads, N waves.
    """

    uplo: Literal["lower", "upper"]
    unit: ClassVar[bool] = False

    def describe(self, *args: Node) -> Description:
        T, B = args
        return Description(B.grid, result_dtype(T.dtype, B.dtype), "general", B.ndim)

    def factor_power(self, X: Node) -> int:
        """Return 2 if this is the second half of a solve with T Tᴴ, else 1: see `wrenla.run.conditioning`."""
        T, B = X.args
        second = isinstance(B.op, SolveTriangular) and B.args[0].key == flip(T, "C").key
        return 2 if second else 1

    def tasks(self, X: Node) -> Iterator[Task]:
        T, B = X.args
        for i, r, terms in substitution(X, self.uplo):
            diagonal = _diagonal_tile(T[i, i], self.uplo, self.unit)
            yield X.task(i, r, base=B.reads(i, r), terms=terms, finish="trsm_left", args=(diagonal,))


@dataclass(frozen=True)
class SolveUnitTriangular(SolveTriangular):
    """X with T X = B, with ones on the diagonal of T."""

    unit: ClassVar[bool] = True

    def factor_power(self, X: Node) -> int:
        return 0


@dataclass(frozen=True)
class SolveFactorU(SolveTriangular):
    """X with U X = B, or Uᴴ X = B, for the U of P A = L U: it may be ill-conditioned where A is not."""

    factor_name: ClassVar[str] = "factor U of P A = L U"


def substitution(X: Node, uplo: Literal["lower", "upper"]) -> Iterator[tuple[int, int, tuple[Term, ...]]]:
    """Yield, in the order in which tiles X[i, r] of T X = B can be made, i, r and −Σ T[i, j] X[j, r]."""
    T = X.args[0]
    N, R = X.grid.counts
    lower = uplo == "lower"
    for i in range(N) if lower else reversed(range(N)):
        start, stop = (0, i) if lower else (i + 1, N)
        for r in range(R):
            terms = products(T.row(i, start, stop), X.column(r, start, stop), -1)
            # oldest first: backward substitution finishes the last rows first
            yield i, r, terms if lower else reverse(terms)


def _diagonal_tile(read: Read, uplo: Literal["lower", "upper"], unit: bool) -> Read:
    """Name the triangle of the STORED tile that counts: the other one if the tile is read transposed."""
    if unit or read.mask == "unit":  # L of a matrix that holds L and U: what is on its diagonal is U's
        return replace(read, mask="unit")
    other: Mask = "upper" if uplo == "lower" else "lower"
    return replace(read, mask=other if read.op in "TC" else uplo)
