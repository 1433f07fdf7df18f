"""Gram matrix A diag(w) Aᴴ: half the work of a product, and the weights ride on the reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wrenla.algorithms.assemble import rechunk
from wrenla.algorithms.long_sums import as_tree
from wrenla.algorithms.tile_views import present
from wrenla.algorithms.views import factor, flip, materialize, scale_columns
from wrenla.planning.expression import Description, Node, Operation, make, result_dtype
from wrenla.planning.strips import products
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.task import Task

__all__ = ["gram"]


def gram(A: Node, weights: Node | None = None) -> Node:
    """Return A Aᴴ, or A diag(weights) Aᴴ with one real weight for each column of A."""
    if A.ndim != 2:
        raise ValueError(f"gram: a matrix is needed, not {A.ndim} dimensions")
    A = factor(present(A), A.grid.counts[0])
    if np.dtype(A.dtype).kind == "c":  # the tasks flip it, which a read cannot do to its weights
        A = materialize(A, "rows", "cols")
    if weights is None:
        return as_tree(make(Gram(), A), A, flip(A, "C"), lower=True)
    if weights.grid.tile[0] != A.grid.tile[1]:
        weights = rechunk(weights, (A.grid.tile[1], 1))
    B = scale_columns(materialize(A, "cols"), weights)
    return as_tree(make(Gram(), A, B), B, flip(A, "C"))


@dataclass(frozen=True)
class Gram(Operation):
    """G = A Aᴴ, or G = B Aᴴ with B = A diag(w).

    Algorithm: G[i, j] = Σ_k B[i, k] A[j, k]ᴴ for i ≥ j (BLAS: gemm, on the diagonal without weights herk).

    With N × K tiles, uncut: N(N+1)/2 tasks, N²K reads without weights, N(N+1)/2 writes, 1 wave. `as_tree`
    says what it is where the sums are long for so few tiles.
    """

    def describe(self, *args: Node) -> Description:
        A = args[0]
        n, tile = A.grid.shape[0], A.grid.tile[0]
        return Description(Grid((n, n), (tile, tile)), result_dtype(*(arg.dtype for arg in args)), "pos")

    def tasks(self, out: Node) -> Iterator[Task]:
        A, B = out.args[0], out.args[-1]
        H = flip(A, "C")
        K = A.grid.counts[1]
        for i, j in out.own_tiles():
            terms = products(B.row(i, 0, K), H.column(j, 0, K), lower=i == j and A is B)
            yield out.task(i, j, terms=terms, finish="mirror" if i == j else "")
