"""GMRES, preconditioned by a factor of half the precision, for where plain refinement stalls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wrenla.algorithms.assemble import copy
from wrenla.algorithms.elementwise import elementwise
from wrenla.algorithms.factorizations.checks import balance, column_maxima, largest_units, starts
from wrenla.algorithms.flips import flip
from wrenla.algorithms.matmul import matmul
from wrenla.algorithms.procedure import Fetch
from wrenla.algorithms.reductions import norm
from wrenla.algorithms.views import scale
from wrenla.arrays import array_leaf
from wrenla.planning.expression import Node, formula
from wrenla.procedures.attempt import Array, Asking, Attempt, corrected, refine

__all__ = ["estimate_condition", "refine_by_gmres"]

_MEMORY = 1 << 30
"""Bytes that the vectors may take in the memory of this process."""

_LEAST, _A_THOUSAND = 10, 1000
"""Products with A at most: so many, and one for each thousand rows. More take longer than another factor."""

_ENOUGH = 1e-4
"""By how much a cycle reduces the residual, if it need not end before."""


def refine_by_gmres(found: Attempt, A: Node, B: Node, good: float) -> Asking[Attempt]:
    """Refine an attempt in cycles of GMRES, until it is good or stalls.

    Algorithm: GMRES-IR (Carson and Higham 2018), with the factor on the right, in its flexible form (Saad
    1993), as what it does depends on rounding. Each right-hand side has a Krylov space of its own, and all
    go forward together: a step multiplies A, and solves with the factor, for all of them. The vectors lie in
    the memory of this process. It helps where few eigenvalues are too small for the factor's precision.
    """
    n, k = B.grid.shape
    most = _LEAST + n // _A_THOUSAND
    if n * k * (2 * most + 3) * np.dtype(found.R.dtype).itemsize > _MEMORY:
        return found
    errors = found.errors()
    if not np.isfinite(errors).all():
        return found
    while most > 0 and not (errors <= good).all():
        D, taken = yield from _cycle(found, A, most)
        most -= taken
        better = yield from corrected(found, A, B, _given(D, found.X))
        after = better.errors()
        if not (after < errors)[~(errors <= good)].any() or (after[errors <= good] > good).any():
            return found
        found = better
        if not (after <= np.maximum(errors / 2, good)).all():
            return found
        errors = after
    return found


def estimate_condition(found: Attempt, A: Node, good: float) -> Asking[float]:
    """Return 1 / (‖A‖₁ ‖A⁻¹‖₁), estimated by solutions that are refined; NaN if they do not get good.

    The factor alone says nothing here: it has half the precision, and sees no eigenvalue below that, or
    entries have grown in it.
    """
    n, dtype = A.grid.shape[0], found.R.dtype
    c = balance(found.norms.columns)
    S = scale(starts(n, found.factor[0].grid.tile[0], dtype), c)
    adjoint = found.way._replace(solve=found.way.adjoint)
    turned = replace(found, way=adjoint, norms=found.norms._replace(rows=found.norms.columns))
    Y = yield from _solved(found, A, S, good)
    Z = (
        None
        if Y is None
        else (yield from _solved(turned, flip(A, "C"), scale(elementwise("sign", Y), c), good))
    )
    W = None if Z is None else (yield from _solved(found, A, scale(largest_units(Z), c), good))
    if Y is None or W is None:
        return float("nan")
    sizes = yield [Fetch(norm(Y, "1")), Fetch(norm(W, "1"))]
    with np.errstate(all="ignore"):
        return float(np.float64(c) / found.norms.columns / max(map(float, sizes)))


def _solved(found: Attempt, A: Node, C: Node, good: float) -> Asking[Node | None]:
    """Return A⁻¹ C, refined, by the factor of an attempt; None if it does not get good."""
    C, r = yield [copy(C), Fetch(column_maxima(C))]
    nothing = formula("zeros", C.grid, C.dtype)
    own = replace(
        found, X=nothing, R=C, r=r, x=np.zeros(r.shape), norms=found.norms._replace(sides=r), steps=0
    )
    own = yield from refine(own, A, C, good, most=30)
    if not (own.errors() <= good).all():
        own = yield from refine_by_gmres(own, A, C, good)
    return own.X if (own.errors() <= good).all() else None


def _cycle(found: Attempt, A: Node, most: int) -> Asking[tuple[Array, int]]:
    """Return corrections of the solutions, and how many products with A they have taken."""
    way = found.way
    (first,) = yield [Fetch(found.R)]
    V = _columns(first)
    largest = np.abs(V).max(axis=0)  # squares of the numbers themselves might overflow
    lengths = largest * np.linalg.norm(np.divide(V, largest, out=np.zeros_like(V), where=largest > 0), axis=0)
    space = [np.divide(V, lengths, out=np.zeros_like(V), where=lengths > 0)]
    directions: list[Array] = []
    H = np.zeros((most + 1, most, V.shape[1]), V.dtype)
    for j in range(most):
        # The factor is rounded, what it is applied to is not: else each step would go astray by itself.
        Z = elementwise("multiply", way.solve(found.factor, _given(space[j], found.R)), (way.scale, ""))
        solved, product = yield [Fetch(Z), Fetch(matmul(A, Z))]
        directions.append(_columns(solved))
        W = np.array(_columns(product))
        if not np.isfinite(W).all():
            return np.zeros_like(V), j + 1
        for _ in range(2):  # twice is enough
            for i, Q in enumerate(space):
                h = (Q.conj() * W).sum(axis=0)
                H[i, j] += h
                W -= Q * h
        size = np.linalg.norm(W, axis=0)
        H[j + 1, j] = size
        space.append(np.divide(W, size, out=np.zeros_like(W), where=size > 0))
        if not np.isfinite(H).all():
            return np.zeros_like(V), j + 1
        Y, left = _least_squares(H[: j + 2, : j + 1])
        if ((left <= _ENOUGH) | (lengths == 0)).all():
            break
    D = sum((Z * y for Z, y in zip(directions, Y, strict=True)), np.zeros_like(V))
    return D * lengths, j + 1


def _least_squares(H: Array) -> tuple[Array, Array]:
    """Return the y that minimize ‖e₁ − H y‖, one for each right-hand side, and these norms."""
    rows, columns, k = H.shape
    Y, left = np.zeros((columns, k), H.dtype), np.zeros(k)
    for c in range(k):
        g = np.zeros(rows, H.dtype)
        g[0] = 1
        Y[:, c] = np.linalg.lstsq(H[:, :, c], g, rcond=None)[0]
        left[c] = np.linalg.norm(g - H[:, :, c] @ Y[:, c])
    return Y, left


def _columns(array: Array) -> Array:
    return array if array.ndim == 2 else array[:, np.newaxis]


def _given(array: Array, like: Node) -> Node:
    """Return columns of this process as a matrix, or a vector, in the tiles of another one."""
    return array_leaf(array if like.ndim == 2 else array[:, 0], like.grid.tile, own=True)
