"""An attempt to solve: one run that factors, solves, and measures what has come out; then refinement."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from wrenla.algorithms.assemble import block, take
from wrenla.algorithms.elementwise import elementwise
from wrenla.algorithms.factorizations.checks import (
    balance,
    column_maxima,
    inverse_columns,
    residual,
    sizes,
    starts,
)
from wrenla.algorithms.procedure import Fetch
from wrenla.algorithms.reductions import norm
from wrenla.algorithms.views import scale, scale_columns
from wrenla.planning.expression import Node, result_dtype
from wrenla.procedures.ways import Way, weights

__all__ = [
    "ACCEPTED",
    "GOOD",
    "Asking",
    "Attempt",
    "attempt",
    "corrected",
    "of_columns",
    "refine",
    "with_starts",
]

ACCEPTED = 16.0
"""Residual up to which a solution is accepted, in units of u (‖A‖ ‖x‖ + ‖b‖) n: HPL's criterion."""

GOOD = 1.0
"""Residual up to which nothing is refined, in the same units. Healthy ones are a hundredth of it."""

_MOST_STEPS = 10
"""Steps of refinement at most. Each has to halve the residual, and one or two are mostly enough."""

_UNSCALED = 0.75
"""Largest entry for which a right-hand side is not scaled: its power of two is 1."""

_NARROW = 64
"""Right-hand sides up to which the vectors of the condition estimate are solved for beside them."""

_EXPECTED = (1.0, 1e-8)
"""Residuals that a plan takes for granted with a factor of half the precision, of right-hand sides of size 1:
first, and after a step of refinement. So it counts two, as many as are needed up to a condition of 1e4."""

Array: TypeAlias = npt.NDArray[Any]
T = TypeVar("T")
Asking: TypeAlias = Generator[Sequence[Node | Fetch], Sequence[Any], T]


class Norms(NamedTuple):
    """Norms of a system: of A the largest sum of a row, of a column, and entry; of each right-hand side."""

    rows: float
    columns: float
    entry: float
    sides: Array


@dataclass(frozen=True, slots=True)
class Attempt:
    """Solution that one way has come to, and its residual.

    Attributes
    ----------
    way : Way
    factor : sequence of Node
        The factor as data.
    norms : Norms
    X, R : Node
        Solution and residual B − A X.
    r, x : ndarray
        Their largest entries, of each right-hand side.
    growth : float or None
    rcond : float
    steps : int
        Of refinement.
    moved : float
        How far the first of them moved the solution of a right-hand side, at most, as a part of its size.
        Infinity if nothing was refined.
    """

    way: Way
    factor: Sequence[Node]
    norms: Norms
    X: Node
    R: Node
    r: Array
    x: Array
    growth: float | None
    rcond: float
    steps: int = 0
    moved: float = np.inf

    def errors(self) -> Array:
        """Return the residual of each right-hand side, in units of HPL's criterion."""
        u = float(np.finfo(self.X.dtype).eps) / 2
        return _ratio(self.r, self.x, self.norms.rows, self.norms.sides) / (self.X.grid.shape[0] * u)

    def backward(self) -> tuple[float, float]:
        """Return the largest ‖b − A x‖ / (‖A‖ ‖x‖ + ‖b‖), and the same without ‖b‖."""
        sides = (self.norms.sides, np.zeros(self.r.shape))
        hpl, lapack = (float(_ratio(self.r, self.x, self.norms.rows, b).max()) for b in sides)
        return hpl, lapack


def attempt(way: Way, A: Node, B: Node, sides: Array | None = None) -> Asking[Attempt]:
    """Factor and solve in one run, with all that tells how good the solution is.

    `sides` are what `with_starts` returns, if B is that, too.
    """
    (n, k), edge, dtype = B.grid.shape, way.factor[0].grid.tile[0], way.factor[0].dtype
    known = np.ones(k) if sides is None else sides
    C, S = way.rounded(B, known), starts(n, edge, dtype)
    t = S.grid.shape[1]
    if sides is not None:
        X = way.solve(way.factor, C)
        Y = take(X, slice(n), slice(k - t, k), (edge, t))
    elif k <= _NARROW:  # the factor is read once for both
        both = way.solve(way.factor, block([[C, S]], (edge, k + t)))
        X = take(both, slice(n), slice(k), (edge, B.grid.tile[1]), B.ndim)
        Y = take(both, slice(n), slice(k, k + t), (edge, t))
    else:
        X, Y = way.solve(way.factor, C), way.solve(way.factor, S)
    X = way.raised(X, known, result_dtype(A.dtype, B.dtype, dtype))
    Z = _second_bound(way, way.factor, Y)
    R = residual(A, X, B, result_dtype(X.dtype, "float64"))
    numbers = [Fetch(sizes(A)), Fetch(column_maxima(B), 1.0), Fetch(column_maxima(R), _expected(way, 0))]
    numbers += map(Fetch, (column_maxima(X), norm(Y, "1"), norm(Z, "1")))
    numbers += [] if way.grown is None else [Fetch(way.grown)]
    found = yield [*way.factor, X, R, *numbers]
    size = len(way.factor)
    (X, R), ((rows, columns, entry), sides, r, x, y, z, *grown) = found[size : size + 2], found[size + 2 :]
    # A sum along a row may overflow where no entry does: what is smaller only makes the criterion stricter.
    rows, columns = (entry if np.isinf(each) else each for each in (rows, columns))
    c = 1.0
    if not (np.isfinite(y) and np.isfinite(z)) and not way.half:  # the inverse may be too large, not rcond
        c = balance(float(columns))
        Y = way.solve(found[:size], scale(S, c))
        y, z = yield [Fetch(norm(Y, "1")), Fetch(norm(_second_bound(way, found[:size], Y, c), "1"))]
    inverse = max(float(y), float(z)) if np.isfinite(y) and np.isfinite(z) else np.inf
    with np.errstate(all="ignore"):
        rcond = float(np.float64(c) / (columns * way.scale) / inverse)
        growth = float(grown[0] / entry / way.scale) if grown else None
    norms = Norms(float(rows), float(columns), float(entry), sides)
    return Attempt(way, found[:size], norms, X, R, r, x, growth, rcond)


def _expected(way: Way, steps: int) -> float:
    """Return the residual that a plan takes for granted after some steps of refinement."""
    return _EXPECTED[steps] if way.half and steps < len(_EXPECTED) else 0.0


def with_starts(way: Way, B: Node, sides: Array | None = None) -> tuple[Node, Array]:
    """Return right-hand sides, and beside them the vectors that the estimate of the condition begins with.

    They tell how far a factor is from A where B does not: it may be zero, or in the range of a singular A.

    Parameters
    ----------
    way : Way
    B : Node
    sides : ndarray, optional
        Largest entries of B, which a factor of half the precision scales by.

    Returns
    -------
    Node
    ndarray
        What its columns are scaled by.
    """
    (n, k), edge = B.grid.shape, way.factor[0].grid.tile[0]
    S = starts(n, edge, way.factor[0].dtype)
    t = S.grid.shape[1]
    asked = block([[B, S]], (edge, k + t if k + t <= _NARROW else B.grid.tile[1]))
    return asked, np.append(np.ones(k) if sides is None else sides, np.full(t, _UNSCALED))


def of_columns(found: Attempt, B: Node) -> Asking[Attempt]:
    """Return an attempt for `with_starts` of B as one for B alone."""
    (n, k), edge = B.grid.shape, found.X.grid.tile[0]
    X, R = (take(each, slice(n), slice(k), (edge, B.grid.tile[1]), B.ndim) for each in (found.X, found.R))
    (X,) = yield [X]
    norms = found.norms._replace(sides=found.norms.sides[:k])
    return replace(found, X=X, R=R, r=found.r[:k], x=found.x[:k], norms=norms)


def _second_bound(way: Way, factor: Sequence[Node], Y: Node, c: float = 1.0) -> Node:
    """Return columns of c A⁻¹ that are probably its largest ones, given Y = c A⁻¹ S."""
    return inverse_columns(
        Y,
        lambda right: way.solve(factor, scale(right, c)),
        lambda right: way.adjoint(factor, scale(right, c)),
    )


def corrected(found: Attempt, A: Node, B: Node, D: Node) -> Asking[Attempt]:
    """Return an attempt with D added to its solution."""
    X = elementwise("add", found.X, D)
    R = residual(A, X, B, found.R.dtype)
    expected = _expected(found.way, found.steps + 1)
    sizes_now = Fetch(column_maxima(R), expected), Fetch(column_maxima(X)), Fetch(column_maxima(D))
    X, R, r, x, d = yield [X, R, *sizes_now]
    with np.errstate(all="ignore"):
        moved = float(np.max(np.where(d == 0, 0, d / x))) if np.isinf(found.moved) else found.moved
    return replace(found, X=X, R=R, r=r, x=x, steps=found.steps + 1, moved=moved)


def refine(
    found: Attempt, A: Node, B: Node, good: float = GOOD, most: int = _MOST_STEPS, anyway: bool = False
) -> Asking[Attempt]:
    """Refine what is not good, as long as each step at least halves the error of a right-hand side.

    With `anyway` a first step is tried in any case, to see how far it moves the solution.
    """
    errors = found.errors()
    active = ~(errors <= good) | anyway
    while active.any() and found.steps < most:
        D = found.way.solve(found.factor, found.way.rounded(found.R, found.r))
        D = found.way.raised(D, found.r, found.X.dtype)
        better = yield from corrected(found, A, B, scale_columns(D, weights(active.astype(float), D)))
        after = better.errors()
        if not (after[active] < errors[active]).any():
            return replace(found, moved=better.moved)
        found = better
        active &= (after <= errors / 2) & ~(after <= good)
        errors = after
    return found


def _ratio(r: Array, x: Array, a: float, b: Array) -> Array:
    """Return r / (a x + b) without overflow on the way; 0 for no residual, infinity if it is not finite."""
    wide = np.longdouble  # products of the largest and smallest numbers are within its range
    with np.errstate(all="ignore"):
        ratio = np.asarray(r.astype(wide) / (wide(a) * x.astype(wide) + b.astype(wide)))
    fine = np.isfinite(ratio) & np.isfinite(a) & np.isfinite(x)
    return np.where(r == 0, 0.0, np.where(fine, ratio, np.inf)).astype(np.float64)
