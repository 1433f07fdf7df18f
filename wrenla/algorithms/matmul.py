"""Matrix product: every tile of C is one sum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wrenla.algorithms.assemble import rechunk
from wrenla.algorithms.long_sums import as_tree
from wrenla.algorithms.tile_views import present
from wrenla.algorithms.views import factor
from wrenla.planning.expression import Description, Node, Operation, make, result_dtype
from wrenla.planning.strips import products
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.layout import Structure
from wrenla_handler.tiles.task import Task

__all__ = ["matmul"]


def matmul(A: Node, B: Node, ndim: int = 2) -> Node:
    """Return A B; where the inner tilings differ, B is brought to A's."""
    if A.grid.shape[1] != B.grid.shape[0]:
        raise ValueError(
            f"matmul: {A.grid.shape} @ {B.grid.shape}: the inner lengths {A.grid.shape[1]} and "
            f"{B.grid.shape[0]} differ"
        )
    if A.grid.tile[1] != B.grid.tile[0]:
        B = rechunk(B, (A.grid.tile[1], B.grid.tile[1]))
    A, B = factor(present(A), B.grid.counts[1]), factor(present(B), A.grid.counts[0])
    return as_tree(make(Matmul(ndim), A, B), A, B)


@dataclass(frozen=True)
class Matmul(Operation):
    """C = A B.

    Algorithm: C[i, j] = Σ_k A[i, k] B[k, j] (BLAS: gemm).

    With M × K and K × N tiles, uncut: MN tasks, 2MNK reads, MN writes, 1 wave. Products of tiles that are
    known to be zero are left out. `as_tree` says what it is where the sums are long for so few tiles.
    """

    ndim: int = 2

    def describe(self, *args: Node) -> Description:
        A, B = args
        grid = Grid((A.grid.shape[0], B.grid.shape[1]), (A.grid.tile[0], B.grid.tile[1]))
        same = A.structure == B.structure and A.structure in ("lower", "upper")
        structure: Structure = A.structure if same else "general"
        return Description(grid, result_dtype(A.dtype, B.dtype), structure, self.ndim)

    def tasks(self, out: Node) -> Iterator[Task]:
        A, B = out.args
        K = A.grid.counts[1]
        for i, j in out.own_tiles():
            yield out.task(i, j, terms=products(A.row(i, 0, K), B.column(j, 0, K)))
