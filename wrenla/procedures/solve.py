"""Solutions of linear systems that are looked at: residual, refinement, another way, or an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from wrenla.algorithms.factorizations.checks import column_maxima, sizes
from wrenla.algorithms.factorizations.cholesky import cholesky
from wrenla.algorithms.factorizations.lu import LU, lu, lu_solve
from wrenla.algorithms.procedure import Fetch, Outcome, Procedure, Steps, results_of
from wrenla.algorithms.solve import solve as unchecked
from wrenla.algorithms.solve import system
from wrenla.planning.expression import Description, Node, result_dtype
from wrenla.procedures.attempt import ACCEPTED, GOOD, Asking, Attempt, attempt, refine
from wrenla.procedures.gmres import estimate_condition, refine_by_gmres
from wrenla.procedures.report import SolveReport
from wrenla.procedures.ways import HALF, Way, by_cholesky, by_lu, by_transposed_lu, in_half_precision
from wrenla.run.conditioning import warn_ill_conditioned
from wrenla.run.events import Totals
from wrenla.vocabulary import Solver
from wrenla_handler.linalg_errors import (
    LinAlgError,
    NotFiniteError,
    NotPositiveDefiniteError,
    SingularMatrixError,
)
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.task import Op

__all__ = ["Precision", "SolveFactored", "has_grown", "solve", "solved_with"]

Precision = Literal["full", "mixed"]

_GROWTH = 1e4
"""Growth of entries up to which LU is not looked at: residuals are about 1e-4 of it, in HPL's units."""


def solve(
    A: Node, B: Node, solver: Solver = "general", check: bool = True, precision: Precision = "full"
) -> Node:
    """Return X with A X = B, by the known or claimed structure of A; a claim is checked in data.

    A triangular matrix is solved with by substitution, which is backward stable. All else is a procedure.
    """
    kind, claimed, whole, B = system(A, B, solver, check)
    if kind in ("lower", "upper", "diagonal") or not min(*A.grid.shape, *B.grid.shape):
        return unchecked(A, B, solver, check)
    factor = (cholesky(claimed),) if kind == "pos" else lu(claimed)  # which checks it, too
    if precision == "mixed" and claimed.dtype in HALF:
        (X,) = results_of(SolveMixed(kind), claimed, whole, B)
        return X
    return solved_with(kind, factor, whole, B)


def solved_with(kind: Solver, factor: Sequence[Node], A: Node, B: Node) -> Node:
    """Return X with A X = B, given the Cholesky factor of A, or LU and pivots."""
    (X,) = results_of(Solve(kind), *factor, A, B)
    return X


def has_grown(largest: Any, norms: Any) -> bool:
    """Tell whether LU is to be looked at, by the largest entry of U and `sizes` of A."""
    return not largest <= _GROWTH * norms[2]


@dataclass(frozen=True)
class Solve(Procedure):
    """X with A X = B, looked at. Its arguments are the factor, A and B.

    The first way is Cholesky or LU with partial pivoting. If the residual is not small, it is refined
    (LAPACK: gerfs); if that does not help, as where entries grow in the elimination, LU of Aᴴ is tried, in
    which they hardly grow then. What comes back meets HPL's criterion, ‖b − A x‖ ≤ 16 u (‖A‖ ‖x‖ + ‖b‖) n in
    the maximum norm, for each right-hand side; or there is an error.

    With N × N tiles, N up to 64, and one tile column of B, beside Cholesky and two substitutions:
    N(N+1)/2 + 14 N + 11 tasks, 7 N² + 22 N + 4 reads of tiles, and 4 N + 6 waves. With more, reductions take
    64 parts at a time.
    """

    kind: Solver
    follows: str = field(
        default="refinement, and LU of the adjoint, if the residual is too large", init=False, repr=False
    )

    def describe(self, *args: Node) -> Sequence[Description]:
        return (_described(args[0], args[-1]),)

    def steps(self, *args: Node) -> Steps:
        *factor, A, B = args
        first = by_cholesky(*factor) if self.kind == "pos" else by_lu(LU(*factor), self.kind)
        return (yield from _trusted(first, A, B, []))


@dataclass(frozen=True)
class SolveFactored(Procedure):
    """X with op(A) X = B by LU factors that are kept; looked at only if entries have grown much in them.

    Its arguments are the factors, the largest entry of U, `sizes` of A, op(A) and B. Without growth LU is
    backward stable. With it the solution is one of `Solve`, as it is if the elimination overflows and there
    is `another` way: for factors that are kept there is none, as each run would make them again.
    """

    op: Op = "N"
    another: bool = False
    follows: str = field(default="refinement, if entries have grown in LU", init=False, repr=False)

    def describe(self, *args: Node) -> Sequence[Description]:
        return (_described(args[0], args[-1]),)

    def steps(self, *args: Node) -> Steps:
        F, pivots, of_u, of_a, A, B = args
        try:
            F, pivots, grown, norms = yield [F, pivots, Fetch(of_u), Fetch(of_a)]
        except NotFiniteError:
            if not self.another:
                raise
            return (yield from _trusted(by_lu(LU(F, pivots), "general", self.op), A, B, []))
        precise = np.finfo(result_dtype(F.dtype, B.dtype)).eps == np.finfo(F.dtype).eps
        if precise and not has_grown(grown, norms):
            return Outcome([lu_solve(LU(F, pivots), B, self.op)])
        return (yield from _trusted(by_lu(LU(F, pivots), "general", self.op), A, B, []))


@dataclass(frozen=True)
class SolveMixed(Procedure):
    """X with A X = B by a factor of half the precision, and refinement. Its arguments are A twice, and B.

    The second A is the one that products read. Algorithm: LAPACK's dsgesv, each right-hand side with its own
    state: until ‖b − A x‖ ≤ √n u ‖A‖ ‖x‖, as long as a step halves the residual. Then by GMRES with the
    factor as preconditioner. If that stalls as well, A is factored in its own precision, as by `Solve`.
    """

    kind: Solver
    follows: str = field(
        default="refinement; if it stalls, GMRES, then a factor in full precision",
        init=False,
        repr=False,
    )

    def describe(self, *args: Node) -> Sequence[Description]:
        return (_described(args[0], args[-1]),)

    def steps(self, *args: Node) -> Steps:
        claimed, A, B = args
        norms, sides = yield [Fetch(sizes(A)), Fetch(column_maxima(B))]
        way = in_half_precision(claimed, self.kind, float(norms[2]))
        good = 1 / np.sqrt(A.grid.shape[0])
        given_up: list[str] = []
        try:
            found = yield from attempt(way, A, B, sides)
            found = yield from refine(found, A, B, good, most=30)
            if not (found.errors() <= good).all():
                found = yield from refine_by_gmres(found, A, B, good)
                if (found.errors() <= good).all():
                    found = replace(found, rcond=(yield from estimate_condition(found, A, good)))
        except (NotFiniteError, NotPositiveDefiniteError, SingularMatrixError) as error:
            yield from _refuse_not_finite(A, B)
            given_up.append(f"{way.method}: {_in_short(error)}")
        else:
            worst = float(found.errors().max())
            if worst <= good:
                return _accepted(found, given_up)
            yield from _refuse_not_finite(A, B)
            given_up.append(f"{way.method}: refinement stalled at {worst:.2g} units of HPL's criterion")
        first = by_cholesky(cholesky(claimed)) if self.kind == "pos" else by_lu(lu(claimed), self.kind)
        return (yield from _trusted(first, A, B, given_up))


def _described(F: Node, B: Node) -> Description:
    grid = Grid(B.grid.shape, (min(F.grid.tile), B.grid.tile[1]))
    return Description(grid, result_dtype(F.dtype, B.dtype), "general", B.ndim)


def _trusted(first: Way, A: Node, B: Node, given_up: list[str]) -> Steps:
    """Solve the first way, or another one, until the solution can be trusted."""
    ways: tuple[Callable[[], Way], ...] = (lambda: first, partial(by_transposed_lu, A))
    for make in ways:
        way = make()
        try:
            found = yield from attempt(way, A, B)
            found = yield from refine(found, A, B)
        except (NotFiniteError, NotPositiveDefiniteError, SingularMatrixError) as error:
            yield from _refuse_not_finite(A, B)
            if way is first and not isinstance(error, NotFiniteError):
                raise
            given_up.append(f"{way.method}: {_in_short(error)}")
            continue
        worst = float(found.errors().max())
        if worst <= ACCEPTED:
            if found.steps or (found.growth or 0) > _GROWTH:  # the factor says nothing of the condition
                found = replace(found, rcond=(yield from estimate_condition(found, A, GOOD)))
            if not np.isnan(found.rcond):
                return _accepted(found, given_up)
            given_up.append(f"{way.method}: other right-hand sides are not solved for")
            continue
        yield from _refuse_not_finite(A, B)
        given_up.append(
            f"{way.method}: residual of {worst:.2g} units of HPL's criterion"
            if np.isfinite(worst)
            else f"{way.method}: a solution that is not finite"
        )
    raise LinAlgError(
        f"solve: no solution that can be trusted was found ({'; '.join(given_up)}): at most "
        f"{ACCEPTED:g} units are accepted. If numbers are very large or small, scale the system"
    )


def _in_short(error: LinAlgError) -> str:
    match error:
        case NotPositiveDefiniteError():
            return f"not positive definite in it (leading minor of order {error.minor})"
        case SingularMatrixError():
            return f"singular in it (pivot {error.index} is zero)"
        case _:
            return "overflow in the elimination"


def _accepted(found: Attempt, given_up: Sequence[str]) -> Outcome:
    if found.rcond < np.finfo(found.X.dtype).eps:
        warn_ill_conditioned(f"rcond is about {found.rcond:.3g}")
    return Outcome([found.X], partial(_report, found, tuple(given_up)))


def _refuse_not_finite(A: Node, B: Node) -> Asking[None]:
    """Raise NotFiniteError if a system holds NaN or infinity, with the column."""
    largest = [column_maxima(A), column_maxima(B)]
    for found, what in zip(
        (yield [Fetch(node) for node in largest]), ("matrix", "right-hand side"), strict=True
    ):
        bad = np.flatnonzero(~np.isfinite(found))
        if bad.size:
            raise NotFiniteError(int(bad[0]), what)


def _report(found: Attempt, given_up: tuple[str, ...], totals: Totals) -> SolveReport:
    """Return the report of a solution."""
    (n, k), dtype = found.X.grid.shape, found.X.dtype
    backward, lapack = found.backward()
    u = float(np.finfo(dtype).eps) / 2
    return SolveReport(
        method=found.way.method,
        why=found.way.why,
        shape=(n, n),
        columns=k,
        dtype=dtype,
        backward_error=backward,
        hpl=backward / (n * u),
        lapack=lapack / u,
        growth=found.growth,
        rcond=found.rcond,
        refinements=found.steps,
        fallbacks=given_up,
        flops=totals.flops,
        bytes_read=totals.bytes_read,
        bytes_written=totals.bytes_written,
    )
