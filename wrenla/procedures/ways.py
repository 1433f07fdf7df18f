"""Ways to solve a linear system: factorizations of A, of Aᴴ, and of A in half the precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from wrenla.algorithms.assemble import copy, rechunk
from wrenla.algorithms.factorizations.block_lu import (
    Symmetry,
    between_butterflies,
    block_lu,
    block_solve,
    butterfly,
)
from wrenla.algorithms.factorizations.cholesky import cholesky
from wrenla.algorithms.factorizations.lu import LU, lu, lu_solve, trapezoid
from wrenla.algorithms.reductions import norm
from wrenla.algorithms.solve import cho_solve
from wrenla.algorithms.views import flip, scale, scale_columns
from wrenla.arrays import array_leaf
from wrenla.planning.expression import Node, result_dtype
from wrenla.vocabulary import Solver
from wrenla_handler.tiles.task import Op

__all__ = [
    "HALF",
    "SEEDS",
    "Way",
    "butterfly_factor",
    "by_butterflies",
    "by_cholesky",
    "by_lu",
    "by_transposed_lu",
    "in_half_precision",
    "largest_of_u",
    "weights",
]

Array: TypeAlias = npt.NDArray[Any]

HALF = {"float64": "float32", "complex128": "complex64"}
"""Precision in which `precision="mixed"` factors."""

_ADJOINT: dict[Op, Op] = {"N": "C", "T": "R", "C": "N", "R": "T"}

_FAR = 1000
"""Largest exponent of a power of two that numbers are scaled by."""

_SAFE = 2.0**40
"""Entries between this and its reciprocal are rounded to float32 as they are: nothing overflows there."""


class Way(NamedTuple):
    """One way to solve.

    Attributes
    ----------
    method, why : str
    factor : tuple of Node
    solve, adjoint : callable
        Expressions for (c A)⁻¹ B and (c A)⁻ᴴ B, of the factor and B.
    grown : Node or None
        What entries have grown to in the elimination.
    scale : float
        The power of two c, 1 unless A had to be brought into the range of float32.
    half : bool
        Whether the factor has half the precision of A.
    certain : bool
        Whether A is singular, or nearly, if the factor is.
    """

    method: str
    why: str
    factor: tuple[Node, ...]
    solve: Callable[[Sequence[Node], Node], Node]
    adjoint: Callable[[Sequence[Node], Node], Node]
    grown: Node | None = None
    scale: float = 1.0
    half: bool = False
    certain: bool = True

    def rounded(self, R: Node, r: Array) -> Node:
        """Return right-hand sides, the largest entries of which are r, in the precision of the factor."""
        is_complex = np.dtype(R.dtype).kind == "c"
        dtype = result_dtype(self.factor[0].dtype, *(["complex64"] if is_complex else []))
        if not self.half:
            return R if R.dtype == dtype else copy(R, dtype)
        return copy(scale_columns(R, weights(_two_to(-_exponents(r)), R)), dtype)

    def raised(self, X: Node, r: Array, dtype: str) -> Node:
        """Return the solutions for `rounded` right-hand sides as those for what they were."""
        if not self.half:
            return X if X.dtype == dtype else copy(X, dtype)
        exponents = _exponents(r) + math.frexp(self.scale)[1] - 1
        return copy(scale_columns(X, weights(_two_to(exponents), X, dtype)), dtype)


_SYMMETRY: dict[str, Symmetry] = {"pos": "hermitian", "hermitian": "hermitian", "symmetric": "symmetric"}

SEEDS: dict[Symmetry, tuple[int, int]] = {"general": (1, 2), "hermitian": (1, 1), "symmetric": (1, 1)}
"""Butterflies from the left and from the right. They are part of what a saved factor means."""

_WHY = {
    "pos": "positive definite",
    "general": "no structure is known",
    "hermitian": "Hermitian, not known to be positive definite",
    "symmetric": "symmetric, not known to be positive definite",
}


def by_cholesky(L: Node) -> Way:
    """Return the solution by a Cholesky factor."""

    def solved(factor: Sequence[Node], B: Node) -> Node:
        return cho_solve(factor[0], B)

    return Way("Cholesky", _WHY["pos"], (L,), solved, solved)


def by_lu(F: LU, kind: Solver, op: Op = "N") -> Way:
    """Return the solution of op(A) X = B by LU factors of A."""
    adjoint: Op = _ADJOINT[op]
    return Way(
        "LU with partial pivoting",
        _WHY[kind],
        tuple(F),
        lambda factor, B: lu_solve(LU(*factor), B, op),
        lambda factor, B: lu_solve(LU(*factor), B, adjoint),
        largest_of_u(F),
    )


def largest_of_u(F: LU) -> Node:
    """Return the largest absolute value in U: beside that in A it tells how much entries have grown."""
    return norm(trapezoid(F.factors, "upper"), "max")


def by_transposed_lu(A: Node) -> Way:
    """Return the solution by LU factors of Aᴴ."""
    way = by_lu(lu(flip(A, "C")), "general")
    return way._replace(
        method="LU of the adjoint with partial pivoting",
        why="its entries grow less",
        solve=way.adjoint,
        adjoint=way.solve,
    )


def by_butterflies(F: Node, kind: Solver) -> Way:
    """Return the solution by a `butterfly_factor`, of Uᵀ A V.

    A x = b has the solution V (Uᵀ A V)⁻¹ Uᵀ b.
    """
    symmetry = _SYMMETRY.get(kind, "general")
    left, right = SEEDS[symmetry]
    name = {"general": "LU", "hermitian": "LDLᴴ", "symmetric": "LDLᵀ"}[symmetry]

    def solved(first: int, last: int, adjoint: bool, factor: Sequence[Node], B: Node) -> Node:
        edge = factor[0].grid.tile[0]
        if B.grid.tile[0] != edge:
            B = rechunk(B, (edge, B.grid.tile[1]))
        mixed_b = butterfly(B, first, transposed=True)
        return butterfly(block_solve(factor[0], mixed_b, adjoint), last)

    return Way(
        f"{name} after random butterflies",
        _WHY[kind],
        (F,),
        partial(solved, left, right, False),
        partial(solved, right, left, True),
        certain=False,
    )


def butterfly_factor(A: Node, kind: Solver) -> Node:
    """Return block factors of A that random butterflies have mixed: Uᵀ A V = L U, or L D Lᴴ with U = V."""
    symmetry = _SYMMETRY.get(kind, "general")
    return block_lu(between_butterflies(A, *SEEDS[symmetry]), symmetry)


def in_half_precision(A: Node, kind: Solver, largest: float) -> Way:
    """Return the solution by a factor of half the precision of A, the largest entry of which is known."""
    half = HALF[A.dtype]
    # a power of two: nothing is rounded by it
    within = 1 / _SAFE < largest < _SAFE or not largest or not np.isfinite(largest)
    c = 1.0 if within else math.ldexp(1.0, min(_FAR, -math.frexp(largest)[1]))
    S = A if c == 1.0 else scale(A, c)
    if kind == "pos":
        way = by_cholesky(cholesky(S, half) if c == 1.0 else cholesky(copy(S, half)))
    else:
        way = by_lu(lu(copy(S, half)), kind)
    return way._replace(method=f"{way.method} in {half}", scale=c, half=True)


def weights(values: Array, X: Node, dtype: str = "") -> Node:
    """Return real numbers, one for each column of X, as a vector of the precision of X or another dtype."""
    real = np.empty(0, dtype or X.dtype).real.dtype
    return array_leaf(values.astype(real), (X.grid.tile[1], 1), own=True)


def _exponents(r: Array) -> npt.NDArray[np.int64]:
    """Return the exponents of the powers of two by which numbers are to be divided to be near 1."""
    return np.frexp(np.where((r > 0) & np.isfinite(r), r, 1.0).astype(float))[1].astype(np.int64)


def _two_to(exponents: npt.NDArray[np.int64]) -> Array:
    """Return powers of two within float64. Who would need more is told by the residual."""
    return np.ldexp(1.0, np.clip(exponents, -_FAR, _FAR))
