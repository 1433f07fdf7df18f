"""LU and LDLᴴ factorization by blocks, without exchanges of rows between tiles, and random butterflies.

Nothing is exchanged, so that the work is known beforehand and as wide as Cholesky's. Alone it is not stable;
mixed by butterflies a matrix rarely needs exchanges, and who uses the factors looks at residuals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from wrenla.algorithms.assemble import rechunk
from wrenla.algorithms.elementwise import elementwise
from wrenla.algorithms.factorizations.lu import laid_column
from wrenla.algorithms.reductions import slogdet_of_tiles
from wrenla.algorithms.triangular import substitution
from wrenla.algorithms.views import factor, flip
from wrenla.planning.expression import Description, Node, Operation, make, result_dtype
from wrenla.planning.strips import products
from wrenla_handler.tiles.arrays import Bundle
from wrenla_handler.tiles.task import Task
from wrenla_kernels import butterfly_logdet

__all__ = [
    "Mirrored",
    "Symmetry",
    "between_butterflies",
    "block_lu",
    "block_solve",
    "butterfly",
    "slogdet_by_blocks",
]

Mirrored: TypeAlias = Literal["hermitian", "symmetric"]
Symmetry: TypeAlias = Literal["general", "hermitian", "symmetric"]

_DEPTH = 2
"""Layers of butterflies: more than two hardly help (Baboulin, Dongarra, Herrmann, Tomov 2013)."""

_KINDS: dict[Symmetry, int] = {"general": 0, "hermitian": 1, "symmetric": 2}


def butterfly(A: Node, seed: int, *, transposed: bool = False) -> Node:
    """Return W A or Wᵀ A with a random butterfly W, the same one for a seed."""
    return make(Butterfly(seed, _DEPTH, transposed), A)


def between_butterflies(A: Node, left: int, right: int) -> Node:
    """Return Uᵀ A V with the butterflies of two seeds."""
    edge = min(A.grid.tile)
    A = butterfly(rechunk(A, (edge, edge)), left, transposed=True)
    return flip(butterfly(flip(A, "T"), right, transposed=True), "T")


def block_lu(A: Node, kind: Symmetry) -> Node:
    """Return the factors of A = L U by blocks, in one matrix; what is known to be symmetric takes half of it.

    Below the diagonal there are the tiles of L, whose own diagonal tiles are identities and not stored; above
    it those of U; on it the INVERSES of U's. If A is Hermitian, U = D Lᴴ with the diagonal tiles D of U.
    """
    edge = min(A.grid.tile)
    return make(BlockLU(kind), rechunk(A, (edge, edge)))


def block_solve(F: Node, B: Node, adjoint: bool = False) -> Node:
    """Return X with A X = B or Aᴴ X = B, given what `block_lu` returns."""
    if B.grid.tile[0] != F.grid.tile[0]:
        B = rechunk(B, (F.grid.tile[0], B.grid.tile[1]))
    F = factor(F, B.grid.counts[1])
    if not adjoint:
        return make(SolveBlocks("upper", False), F, make(SolveBlocks("lower", True), F, B))
    H = flip(F, "C")  # Aᴴ = Uᴴ Lᴴ
    return make(SolveBlocks("upper", True), H, make(SolveBlocks("lower", False), H, B))


def slogdet_by_blocks(F: Node, seed: int) -> tuple[Node, Node]:
    """Return sign and logarithm of |det A|, given `block_lu` of Wᵀ A W for the butterfly W of a seed."""
    sign, logabs = slogdet_of_tiles(F)  # of the inverses
    W = butterfly_logdet(seed, _DEPTH, F.grid.shape[0])
    return elementwise("conjugate", sign), elementwise(
        "subtract", elementwise("negative", logabs), (2 * W, "")
    )


@dataclass(frozen=True)
class Butterfly(Operation):
    """Rows of a matrix mixed by a random butterfly, a tile column a task: see `wrenla_kernels.butterfly`.

    With N × N tiles N tasks, N² reads and writes, 1 wave. A task holds a tile column twice.
    """

    seed: int
    depth: int
    transposed: bool

    def describe(self, *args: Node) -> Description:
        A = args[0]
        return Description(A.grid, A.dtype, "general", A.ndim)

    def bundle(self, out: Node) -> Bundle:
        return Bundle()

    def tasks(self, out: Node) -> Iterator[Task]:
        A = out.args[0]
        for j in range(out.grid.counts[1]):
            yield out.task(
                *(0, j),
                base=tuple(laid_column(A, j)),
                finish="butterfly",
                numbers=(self.seed, self.depth, int(self.transposed)),
                shape=(A.grid.shape[0], A.grid.extent(0, j)[1]),
            )


@dataclass(frozen=True)
class BlockLU(Operation):
    """Factors of A = L U by blocks: see `block_lu`.

    Algorithm: block LU (Demmel, Higham, Schreiber 1995), each tile one sum, over k < min(i, j),
    S[i, j] = A[i, j] − Σ_k L[i, k] U[k, j]:

        D[k] = S[k, k]⁻¹                 by LAPACK's getri with exchanges inside of the tile, hetri, or sytri
        U[k, j] = S[k, j]                k < j
        L[i, k] = S[i, k] D[k]           i > k; of a Hermitian A it is U[k, i]ᴴ D[k]: one product

    If S[k, k] is singular, D[k] is NaN, and so is what is made of it.

    D of a Hermitian matrix has to be the inverse of a Hermitian one, as hetri's is: the mirrored half of
    another inverse loses the square of the condition of S[k, k].

    With N × N tiles, uncut: N² tasks and writes, 2N − 1 waves, N(N−1)(2N−1)/6 products and N(N−1)/2 more for
    L; of a Hermitian matrix N(N−1)(N+1)/6, and as many more.
    """

    kind: Symmetry

    def describe(self, *args: Node) -> Description:
        return Description(args[0].grid, args[0].dtype)

    def tasks(self, F: Node) -> Iterator[Task]:
        A = F.args[0]
        N, H = F.grid.counts[0], flip(F, "T" if self.kind == "symmetric" else "C")
        for k in range(N):
            for j in range(k, N):
                terms = products(F.row(k, 0, k), F.column(j, 0, k), -1)
                if j == k:
                    number = (_KINDS[self.kind],)
                    yield F.task(k, k, base=A.reads(k, k), terms=terms, finish="inverse", numbers=number)
                else:
                    yield F.task(k, j, base=A.reads(k, j), terms=terms)
            for i in range(k + 1, N):
                if self.kind != "general":
                    yield F.task(i, k, terms=products(H.row(i, k, k + 1), F.column(k, k, k + 1)))
                    continue
                terms = products(F.row(i, 0, k), F.column(k, 0, k), -1)
                yield F.task(i, k, base=A.reads(i, k), terms=terms, finish="times_right", args=(F[k, k],))


@dataclass(frozen=True)
class SolveBlocks(Operation):
    """X with T X = B for one of the triangles of `BlockLU`: its diagonal tiles are identities, or inverses.

    Algorithm: substitution by tiles, as `SolveTriangular`, with a product in place of trsm. With N tile rows
    and R tile columns of B, uncut: RN tasks and writes, N waves, and RN² reads, or RN(N+1).
    """

    uplo: Literal["lower", "upper"]
    unit: bool

    def describe(self, *args: Node) -> Description:
        T, B = args
        return Description(B.grid, result_dtype(T.dtype, B.dtype), "general", B.ndim)

    def tasks(self, X: Node) -> Iterator[Task]:
        T, B = X.args
        for i, r, terms in substitution(X, self.uplo):
            if self.unit:
                yield X.task(i, r, base=B.reads(i, r), terms=terms)
            else:
                yield X.task(i, r, base=B.reads(i, r), terms=terms, finish="times_left", args=(T[i, i],))
