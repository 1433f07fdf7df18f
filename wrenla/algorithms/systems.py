"""Linear systems and determinants by factorization: which one is for which matrix."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from wrenla.algorithms.assemble import copy
from wrenla.algorithms.cholesky import cholesky
from wrenla.algorithms.reductions import slogdet_triangular
from wrenla.algorithms.triangular import solve_triangular
from wrenla.algorithms.views import flip
from wrenla.plan.expression import Node, result_dtype

__all__ = ["Assume", "cho_solve", "slogdet", "solve"]

Assume: TypeAlias = Literal["pos", "lower", "upper"] | None


def solve(A: Node, B: Node, assume_a: Assume = None) -> Node:
    """Return X with A X = B, by what the matrix is known, or said, to be."""
    if A.ndim != 2 or A.grid.shape[0] != A.grid.shape[1]:
        raise ValueError(f"solve: the matrix must be square, not {A.grid.shape}")
    if B.ndim not in (1, 2) or B.grid.shape[0] != A.grid.shape[0]:
        raise ValueError(
            f"solve: {A.grid.shape[0]} equations, but a right-hand side of shape {B.grid.shape[: B.ndim]}"
        )
    kind = A.structure if assume_a is None else assume_a
    match kind:
        case "lower" | "upper":
            return solve_triangular(A, B, kind)
        case "pos":
            return cho_solve(cholesky(_as_precise(A, B)), B)
        case "general" | "hermitian" if assume_a is None:
            raise NotImplementedError(
                f"solve: a {A.structure} matrix needs LU, which is not there yet; if it is positive definite "
                'say assume_a="pos", or give it structure="pos" when you make it'
            )
    raise ValueError(f"solve: assume_a is None, 'pos', 'lower' or 'upper', not {assume_a!r}")


def _as_precise(A: Node, B: Node) -> Node:
    """Return A in the precision of the solution: a less precise factor would be all that it has."""
    dtype = np.dtype(result_dtype(A.dtype, B.dtype))
    if np.dtype(A.dtype).kind != "c":
        dtype = np.empty(0, dtype).real.dtype
    return A if A.dtype == dtype.name else copy(A, dtype.name)


def cho_solve(L: Node, B: Node) -> Node:
    """Return X with L Lᴴ X = B (LAPACK: potrs)."""
    return solve_triangular(flip(L, "C"), solve_triangular(L, B, "lower"), "upper")


def slogdet(A: Node) -> tuple[Node, Node]:
    """Return sign and logarithm of |det A|."""
    if A.ndim != 2 or A.grid.shape[0] != A.grid.shape[1]:
        raise ValueError(f"slogdet: the matrix must be square, not {A.grid.shape}")
    match A.structure:
        case "lower" | "upper":
            return slogdet_triangular(A)
        case "pos":
            sign, logabs = slogdet_triangular(cholesky(A), power=2)
            return sign, logabs
    raise NotImplementedError(f"slogdet: a {A.structure} matrix needs LU, which is not there yet")
