"""Solutions of linear systems that are looked at: residual, refinement, another way, or an error."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from wrenla.algorithms.assemble import block, copy, take
from wrenla.algorithms.elementwise import elementwise, with_dimensions
from wrenla.algorithms.factorizations.checks import column_maxima, inverse_columns, residual, sizes, starts
from wrenla.algorithms.factorizations.cholesky import cholesky
from wrenla.algorithms.factorizations.lu import LU, lu, lu_solve, trapezoid
from wrenla.algorithms.procedure import Fetch, Outcome, Procedure, Steps, results_of
from wrenla.algorithms.reductions import norm, sum_over
from wrenla.algorithms.solve import cho_solve, system
from wrenla.algorithms.solve import solve as unchecked
from wrenla.algorithms.views import flip, scale_columns
from wrenla.planning.expression import Description, Node, leaf, result_dtype
from wrenla.procedures.report import SolveReport
from wrenla.run.conditioning import warn_ill_conditioned
from wrenla.run.events import Totals
from wrenla.vocabulary import Solver
from wrenla_handler.linalg_errors import (
    LinAlgError,
    NotFiniteError,
    NotPositiveDefiniteError,
    SingularMatrixError,
)
from wrenla_handler.tiles.arrays import HostArray
from wrenla_handler.tiles.grid import Grid

__all__ = ["Solve", "solve"]

_ACCEPTED = 16.0
"""Residual up to which a solution is accepted, in units of u (‖A‖ ‖x‖ + ‖b‖) n: HPL's criterion."""

_GOOD = 1.0
"""Residual up to which nothing is refined, in the same units. Healthy ones are a hundredth of it."""

_MOST_STEPS = 10
"""Steps of refinement at most. Each has to halve the residual, and one or two are mostly enough."""

_NARROW = 64
"""Right-hand sides up to which the vectors of the condition estimate are solved for beside them."""

Array: TypeAlias = npt.NDArray[Any]
T = TypeVar("T")
Asking: TypeAlias = Generator[Sequence[Node | Fetch], Sequence[Any], T]


def solve(A: Node, B: Node, solver: Solver = "general", check: bool = True) -> Node:
    """Return X with A X = B, by the known or claimed structure of A; a claim is checked in data.

    A triangular matrix is solved with by substitution, which is backward stable. All else is a procedure.
    """
    kind, claimed, whole, B = system(A, B, solver, check)
    if kind in ("lower", "upper", "diagonal") or not min(*A.grid.shape, *B.grid.shape):
        return unchecked(A, B, solver, check)
    factor = (cholesky(claimed),) if kind == "pos" else lu(claimed)
    return solved_with(kind, factor, whole, B)


def solved_with(kind: Solver, factor: Sequence[Node], A: Node, B: Node) -> Node:
    """Return X with A X = B, given the Cholesky factor of A, or LU and pivots."""
    (X,) = results_of(Solve(kind), *factor, A, B)
    return X


class Way(NamedTuple):
    """One way to solve.

    Attributes
    ----------
    method, why : str
    factor : tuple of Node
    solve, adjoint : callable
        Expressions for A⁻¹ B and A⁻ᴴ B, of the factor and B.
    grown : Node or None
        What entries can have grown to in the elimination.
    """

    method: str
    why: str
    factor: tuple[Node, ...]
    solve: Callable[[Sequence[Node], Node], Node]
    adjoint: Callable[[Sequence[Node], Node], Node]
    grown: Node | None


def _by_cholesky(L: Node) -> Way:
    def solved(factor: Sequence[Node], B: Node) -> Node:
        return cho_solve(factor[0], B)

    return Way("Cholesky", "positive definite", (L,), solved, solved, None)


_WHY = {
    "general": "no structure is known",
    "hermitian": "Hermitian, not known to be positive definite",
    "symmetric": "symmetric, not known to be positive definite",
}


def _by_lu(F: LU, kind: str) -> Way:
    return Way(
        "LU with partial pivoting",
        _WHY[kind],
        tuple(F),
        lambda factor, B: lu_solve(LU(*factor), B),
        lambda factor, B: lu_solve(LU(*factor), B, "C"),
        norm(trapezoid(F.factors, "upper"), "max"),
    )


def _by_transposed_lu(A: Node) -> Way:
    F = lu(flip(A, "C"))
    return Way(
        "LU of the adjoint with partial pivoting",
        "in it entries grow less",
        tuple(F),
        lambda factor, B: lu_solve(LU(*factor), B, "C"),
        lambda factor, B: lu_solve(LU(*factor), B),
        norm(trapezoid(F.factors, "upper"), "max"),
    )


class _Sizes(NamedTuple):
    """Norms of the system: of A the largest sum of a row, of a column, and entry; of each right-hand side."""

    rows: float
    columns: float
    entry: float
    sides: Array


@dataclass(slots=True)
class _Attempt:
    """What one way has come to. The errors are those of each right-hand side, in units of HPL's criterion."""

    way: Way
    factor: Sequence[Node]
    sizes: _Sizes
    X: Node
    R: Node
    r: Array
    x: Array
    growth: float | None
    rcond: float
    steps: int = 0

    def errors(self) -> Array:
        n, u = self.X.grid.shape[0], _roundoff(self.X.dtype)
        return _ratio(self.r, self.x, self.sizes.rows, self.sizes.sides) / (n * u)


@dataclass(frozen=True)
class Solve(Procedure):
    """X with A X = B, looked at.

    The first way is Cholesky or LU with partial pivoting. If the residual is not small, it is refined
    (LAPACK: gerfs); if that does not help, as where entries grow in the elimination, LU of Aᴴ is tried, in
    which they hardly grow then. What comes back meets HPL's criterion, ‖b − A x‖ ≤ 16 u (‖A‖ ‖x‖ + ‖b‖) n in
    the maximum norm, for each right-hand side; or there is an error.

    With N × N tiles and one tile column of B, beside Cholesky and two substitutions: N(N+1)/2 + 14 N + 11
    tasks, 7 N² + 22 N + 4 reads of tiles, and 4 N + 6 waves.
    """

    kind: Solver
    follows: str = field(
        default="refinement, and LU of the adjoint, if the residual is too large", init=False, repr=False
    )

    def describe(self, *args: Node) -> Sequence[Description]:
        F, B = args[0], args[-1]
        grid = Grid(B.grid.shape, (F.grid.tile[0], B.grid.tile[1]))
        return (Description(grid, result_dtype(F.dtype, B.dtype), "general", B.ndim),)

    def steps(self, *args: Node) -> Steps:
        *factor, A, B = args
        given_up: list[str] = []
        first = _by_cholesky(*factor) if self.kind == "pos" else _by_lu(LU(*factor), self.kind)
        for way in (first, _by_transposed_lu(A)):
            try:
                found = yield from _attempt(way, A, B)
                yield from _refine(found, A, B)
            except (NotFiniteError, NotPositiveDefiniteError, SingularMatrixError) as error:
                yield from _refuse_not_finite(A, B)
                if way is first and not isinstance(error, NotFiniteError):
                    raise
                given_up.append(f"{way.method}: {'singular' if way is not first else 'overflow'}")
                continue
            worst = float(found.errors().max())
            if worst <= _ACCEPTED:
                if found.rcond < np.finfo(found.X.dtype).eps:
                    warn_ill_conditioned(f"rcond is about {found.rcond:.3g}")
                return Outcome([found.X], partial(_report, found, given_up))
            yield from _refuse_not_finite(A, B)
            given_up.append(f"{way.method}: residual of {worst:.2g} units")
        raise LinAlgError(
            f"solve: no solution that can be trusted was found ({'; '.join(given_up)} of HPL's criterion, at "
            f"most {_ACCEPTED:g} are accepted)"
        )


def _attempt(way: Way, A: Node, B: Node) -> Asking[_Attempt]:
    """Factor and solve in one run, with all that tells how good the solution is."""
    (n, k), edge, dtype = B.grid.shape, way.factor[0].grid.tile[0], way.factor[0].dtype
    S = starts(n, edge, dtype)
    t = S.grid.shape[1]
    if k <= _NARROW:  # the factor is read once for both
        both = way.solve(way.factor, block([[B, S]], (edge, k + t)))
        X = take(both, slice(n), slice(k), (edge, B.grid.tile[1]), B.ndim)
        Y = take(both, slice(n), slice(k, k + t), (edge, t))
    else:
        X, Y = way.solve(way.factor, B), way.solve(way.factor, S)
    Z = inverse_columns(
        Y, lambda right: way.solve(way.factor, right), lambda right: way.adjoint(way.factor, right)
    )
    R = residual(A, X, B, _double(X.dtype))
    numbers = [sizes(A), column_maxima(B), column_maxima(R), column_maxima(X), norm(Y, "1"), norm(Z, "1")]
    numbers += [] if way.grown is None else [way.grown]
    found = yield [*way.factor, X, R, *map(Fetch, numbers)]
    size = len(way.factor)
    (X, R), ((rows, columns, entry), sides, r, x, y, z, *grown) = found[size : size + 2], found[size + 2 :]
    inverse = max(float(y), float(z)) if np.isfinite(y) and np.isfinite(z) else np.inf
    with np.errstate(all="ignore"):
        rcond = float(np.float64(1) / columns / inverse)
        growth = float(grown[0] / entry) if grown else None
    norms = _Sizes(float(rows), float(columns), float(entry), sides)
    return _Attempt(way, found[:size], norms, X, R, r, x, growth, rcond)


def _refine(found: _Attempt, A: Node, B: Node) -> Asking[None]:
    """Refine what is not good, as long as each step at least halves the error of a right-hand side."""
    errors = found.errors()
    active = ~(errors <= _GOOD)
    while active.any() and found.steps < _MOST_STEPS:
        D = found.way.solve(found.factor, copy(found.R, found.factor[0].dtype))
        X = elementwise("add", found.X, scale_columns(D, _weights(active, D)))
        R = residual(A, X, B, found.R.dtype)
        X, R, r, x = yield [X, R, Fetch(column_maxima(R)), Fetch(column_maxima(X))]
        after = replace(found, X=X, R=R, r=r, x=x, steps=found.steps + 1).errors()
        if not (after[active] < errors[active]).any():
            return
        found.X, found.R, found.r, found.x, found.steps = X, R, r, x, found.steps + 1
        active &= (after <= errors / 2) & ~(after <= _GOOD)
        errors = after


def _refuse_not_finite(A: Node, B: Node) -> Asking[None]:
    """Raise NotFiniteError if a system holds NaN or infinity, with the column."""
    sums = [sum_over(elementwise("absolute", C), 0) for C in (A, with_dimensions(B, 2, column=True))]
    for found, what in zip(
        (yield [Fetch(node) for node in sums]), ("matrix", "right-hand side"), strict=True
    ):
        bad = np.flatnonzero(~np.isfinite(found))
        if bad.size:
            raise NotFiniteError(int(bad[0]), what)


def _report(found: _Attempt, given_up: Sequence[str], totals: Totals) -> SolveReport:
    """Return the report of a solution."""
    (n, k), u = found.X.grid.shape, _roundoff(found.X.dtype)
    backward = float(_ratio(found.r, found.x, found.sizes.rows, found.sizes.sides).max())
    lapack = float(_ratio(found.r, found.x, found.sizes.rows, np.zeros(k)).max()) / u
    return SolveReport(
        found.way.method,
        found.way.why,
        (n, n),
        k,
        found.X.dtype,
        backward,
        backward / (n * u),
        lapack,
        found.growth,
        found.rcond,
        found.steps,
        tuple(given_up),
        totals.flops,
        totals.bytes_read,
        totals.bytes_written,
    )


def _ratio(r: Array, x: Array, a: float, b: Array) -> Array:
    """Return r / (a x + b) without overflow on the way; 0 for no residual, infinity if it is not finite."""
    with np.errstate(all="ignore"):
        ratio = (r / np.float64(a)) / (x.astype(float) + b / np.float64(a))
    return np.where(r == 0, 0.0, np.where(np.isfinite(ratio), ratio, np.inf))


def _roundoff(dtype: str) -> float:
    return float(np.finfo(dtype).eps) / 2


def _double(dtype: str) -> str:
    """Return the dtype in which a residual is computed: twice as precise as float32."""
    return result_dtype(dtype, "float64")


def _weights(active: Array, D: Node) -> Node:
    """Return 1 for the right-hand sides that are active, else 0."""
    weights = np.asfortranarray(active.astype(_real(D.dtype))[:, np.newaxis])
    grid = Grid(weights.shape, (D.grid.tile[1], 1))
    name = hashlib.sha256(weights.tobytes()).hexdigest()
    return leaf(HostArray(grid, weights.dtype.name, 1, f"weights {grid} {name}"), payload=weights)


def _real(dtype: str) -> str:
    return np.empty(0, dtype).real.dtype.name
