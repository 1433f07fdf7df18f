"""Cholesky factorization of a Hermitian positive definite matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from wrenla.algorithms.assemble import rechunk
from wrenla.algorithms.views import flip
from wrenla.planning.expression import Description, Node, Operation, make
from wrenla.planning.strips import products
from wrenla_handler.tiles.task import Task

__all__ = ["cholesky"]


def cholesky(A: Node, dtype: str = "") -> Node:
    """Return the lower triangular L with L Lᴴ = A; of A only the lower triangle is read.

    In another `dtype` than that of A its tiles are rounded as they are read.
    """
    if A.ndim != 2 or A.grid.shape[0] != A.grid.shape[1]:
        raise ValueError(f"cholesky: the matrix must be square, not {A.grid.shape[: A.ndim]}")
    if A.structure in ("lower", "upper"):
        raise ValueError(
            f"cholesky: a matrix that is known to be {A.structure} triangular is not positive definite; if "
            "it is a factor already, wrenla.linalg.CholeskyFactor(L).solve(b) solves with L Lᴴ; if it is a "
            'half of the matrix, make it with structure="pos", check=False, of which the lower half is read'
        )
    if A.grid.tile[0] != A.grid.tile[1]:
        edge = min(A.grid.tile)
        A = rechunk(A, (edge, edge))
    return make(RoundedCholesky(dtype) if dtype and dtype != A.dtype else Cholesky(), A)


@dataclass(frozen=True)
class Cholesky(Operation):
    """L with L Lᴴ = A.

    Algorithm: tiled Cholesky (Buttari, Langou, Kurzak, Dongarra 2009; LAPACK: potrf), each tile one sum:

        L[k, k] = potrf(A[k, k] − Σ_{j<k} L[k, j] L[k, j]ᴴ)
        L[i, k] = trsm(L[k, k], A[i, k] − Σ_{j<k} L[i, j] L[k, j]ᴴ)        i > k

    Invariant: when column k is done, L[:, :k+1] L[:, :k+1]ᴴ equals A in its first k+1 tile columns.

    With N tile columns, uncut: N(N+1)/2 tasks and writes, 2N−1 waves. Every term a task of its own
    (right-looking): N(N+1)(N+2)/6 tasks and writes, 3N−2 waves.
    """

    def describe(self, *args: Node) -> Description:
        A = args[0]
        return Description(A.grid, A.dtype, "lower")

    def tasks(self, L: Node) -> Iterator[Task]:
        A = L.args[0]
        H = flip(L, "C")
        N = L.grid.counts[0]
        for k in range(N):
            terms = products(L.row(k, 0, k), H.column(k, 0, k), -1, lower=True)
            yield L.task(k, k, base=A.reads(k, k), terms=terms, finish="potrf")
            Hkk = replace(H[k, k], mask="lower")  # the stored tile is the lower L[k, k]
            for i in range(k + 1, N):
                terms = products(L.row(i, 0, k), H.column(k, 0, k), -1)
                yield L.task(i, k, base=A.reads(i, k), terms=terms, finish="trsm_right", args=(Hkk,))


@dataclass(frozen=True)
class RoundedCholesky(Cholesky):
    """L with L Lᴴ = A, for the tiles of A rounded to a dtype when they are read."""

    dtype: str

    def describe(self, *args: Node) -> Description:
        return replace(super().describe(*args), dtype=self.dtype)
