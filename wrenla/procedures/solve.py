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
from wrenla.algorithms.procedure import Engine, Fetch, Outcome, Procedure, Steps, results_of
from wrenla.algorithms.solve import solve as unchecked
from wrenla.algorithms.solve import system
from wrenla.algorithms.tile_views import from_lower
from wrenla.planning.expression import Description, Node, result_dtype
from wrenla.procedures.attempt import attempt, of_columns, refine, with_starts
from wrenla.procedures.choice import butterflies_win
from wrenla.procedures.gmres import estimate_condition, refine_by_gmres
from wrenla.procedures.trusted import FAILED, GROWTH, UNTOLD, accepted, in_short, refuse_not_finite, trusted
from wrenla.procedures.ways import (
    HALF,
    Way,
    butterfly_factor,
    by_butterflies,
    by_cholesky,
    by_lu,
    by_transposed_lu,
    in_half_precision,
)
from wrenla.vocabulary import Solver
from wrenla_handler.linalg_errors import (
    NotFiniteError,
)
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.task import Op

__all__ = [
    "Method",
    "Precision",
    "SolveFactored",
    "has_grown",
    "solve",
    "solved_by_butterflies",
    "solved_with",
]

Precision = Literal["full", "mixed"]
Method = Literal["", "lu", "rbt"]

_WORTH_MIXING = 4
"""Tile rows from which half of the work is worth mixing and refining for. LU of few tiles is more exact."""


def solve(
    A: Node,
    B: Node,
    solver: Solver = "general",
    check: bool = True,
    precision: Precision = "full",
    method: Method = "",
) -> Node:
    """Return X with A X = B, by the known or claimed structure of A; a claim is checked in data.

    A triangular matrix is solved with by substitution, which is backward stable. All else is a procedure.
    """
    kind, claimed, whole, B = system(A, B, solver, check)
    if kind in ("lower", "upper", "diagonal") or not min(*A.grid.shape, *B.grid.shape):
        return unchecked(A, B, solver, check)
    if precision == "mixed" and claimed.dtype in HALF:
        if method == "rbt":
            raise ValueError('solve: precision="mixed" factors in its own way; leave method="rbt" out')
        (X,) = results_of(SolveMixed(kind), claimed, whole, B)
        return X
    if kind == "pos" and not method:
        return solved_with(kind, (cholesky(claimed),), whole, B)
    if kind == "pos":  # somebody wants to see another way
        kind, claimed = "hermitian", from_lower(claimed, "hermitian")
    halves = kind in ("hermitian", "symmetric") and claimed.grid.counts[0] >= _WORTH_MIXING
    if method == "rbt" or (halves and method != "lu"):
        return solved_by_butterflies(kind, butterfly_factor(claimed, kind), claimed, whole, B)
    return solved_with(kind, lu(claimed), whole, B, Solve if method == "lu" else SolveAsPlanned)


def solved_by_butterflies(kind: Solver, factor: Node, claimed: Node, A: Node, B: Node) -> Node:
    """Return X with A X = B by random butterflies; of A twice the first one is what LU would factor."""
    (X,) = results_of(SolveByButterflies(kind), factor, claimed, A, B)
    return X


def solved_with(
    kind: Solver, factor: Sequence[Node], A: Node, B: Node, way: type[Solve] | None = None
) -> Node:
    """Return X with A X = B, given the Cholesky factor of A, or LU and pivots."""
    (X,) = results_of((way or Solve)(kind), *factor, A, B)
    return X


def has_grown(largest: Any, norms: Any) -> bool:
    """Tell whether LU is to be looked at, by the largest entry of U and `sizes` of A."""
    return not largest <= GROWTH * norms[2]


class _Solving(Procedure):
    """Procedure whose first argument is a factor, or what is factored, and whose last one is B."""

    def describe(self, *args: Node) -> Sequence[Description]:
        F, B = args[0], args[-1]
        grid = Grid(B.grid.shape, (min(F.grid.tile), B.grid.tile[1]))
        return (Description(grid, result_dtype(F.dtype, B.dtype), "general", B.ndim),)


@dataclass(frozen=True)
class Solve(_Solving):
    """X with A X = B, looked at. Its arguments are the factor, A and B.

    The first way is Cholesky or LU with partial pivoting. If the residual is not small, it is refined
    (LAPACK: gerfs); if that does not help, as where entries grow in the elimination, LU of Aᴴ is tried, in
    which they hardly grow then, and random butterflies after that. What comes back meets HPL's criterion,
    ‖b − A x‖ ≤ 16 u (‖A‖ ‖x‖ + ‖b‖) n in the maximum norm, for each right-hand side; or there is an error.

    With N × N tiles, N up to 64, and one tile column of B, beside Cholesky and two substitutions:
    N(N+1)/2 + 14 N + 11 tasks, 7 N² + 22 N + 4 reads of tiles, and 4 N + 6 waves. With more, reductions take
    64 parts at a time.
    """

    kind: Solver
    follows: str = field(
        default="refinement, LU of the adjoint, random butterflies, if the residual is too large",
        init=False,
        repr=False,
    )

    def steps(self, *args: Node) -> Steps:
        *factor, A, B = args
        first = by_cholesky(*factor) if self.kind == "pos" else by_lu(LU(*factor), self.kind)
        return (yield from trusted([lambda: first, *_others(A)], A, B, []))


@dataclass(frozen=True)
class SolveByButterflies(_Solving):
    """X with A X = B by random butterflies, looked at. Its arguments are the factor, A twice, and B.

    The second A is the one that products read. Uᵀ A V with random butterflies U and V is factored by blocks
    without exchanges of rows between tiles, and the solution is refined until it is good (LAPACK: dsgesv's
    rule). If it does not come to that, or A is nearly singular, LU with partial pivoting has the last word.

    With N × N tiles and one tile column of B, beside what `Solve` has: N² + 2 N tasks for the factor, as wide
    as Cholesky's.
    """

    kind: Solver
    follows: str = field(
        default="refinement; LU with partial pivoting, if it stalls or A is nearly singular",
        init=False,
        repr=False,
    )

    def steps(self, *args: Node) -> Steps:
        F, claimed, A, B = args
        ways = lambda: by_butterflies(F, self.kind), lambda: by_lu(lu(claimed), self.kind)
        return (yield from trusted([*ways, partial(by_transposed_lu, A)], A, B, []))


@dataclass(frozen=True)
class SolveAsPlanned(Solve):
    """X with A X = B by LU with partial pivoting, or by random butterflies where the plan expects to gain."""

    def steps(self, *args: Node) -> Steps:
        *factor, A, B = args
        (model,) = yield [Engine()]
        if model is None or not butterflies_win(LU(*factor), A, B, model):
            return (yield from super().steps(*args))
        butterflies = SolveByButterflies(self.kind)
        return (yield from butterflies.steps(butterfly_factor(A, self.kind), A, A, B))


@dataclass(frozen=True)
class SolveFactored(_Solving):
    """X with op(A) X = B by LU factors that are kept; looked at only if entries have grown much in them.

    Its arguments are the factors, the largest entry of U, `sizes` of A, op(A) and B. Without growth LU is
    backward stable. With it the solution is one of `Solve`, as it is if the elimination overflows and there
    is `another` way: for factors that are kept there is none, as each run would make them again.
    """

    op: Op = "N"
    another: bool = False
    follows: str = field(default="refinement, if entries have grown in LU", init=False, repr=False)

    def steps(self, *args: Node) -> Steps:
        F, pivots, of_u, of_a, A, B = args
        try:
            F, pivots, grown, norms = yield [F, pivots, Fetch(of_u), Fetch(of_a)]
        except NotFiniteError:
            if not self.another:
                raise
            return (yield from self._looked_at(F, pivots, A, B))
        precise = np.finfo(result_dtype(F.dtype, B.dtype)).eps == np.finfo(F.dtype).eps
        if precise and not has_grown(grown, norms):
            return Outcome([lu_solve(LU(F, pivots), B, self.op)])
        return (yield from self._looked_at(F, pivots, A, B))

    def _looked_at(self, F: Node, pivots: Node, A: Node, B: Node) -> Steps:
        first = by_lu(LU(F, pivots), "general", self.op)
        return (yield from trusted([lambda: first, *_others(A)], A, B, []))


@dataclass(frozen=True)
class SolveMixed(_Solving):
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

    def steps(self, *args: Node) -> Steps:
        claimed, A, B = args
        norms, sides = yield [Fetch(sizes(A)), Fetch(column_maxima(B))]
        way = in_half_precision(claimed, self.kind, float(norms[2]))
        good = 1 / np.sqrt(A.grid.shape[0])
        given_up: list[str] = []
        try:
            # Vectors of the condition estimate are refined beside B: of a singular A, they do not converge.
            asked, scaled = with_starts(way, B, sides)
            every = yield from attempt(way, A, asked, scaled)
            every = yield from refine(every, A, asked, good, most=30, anyway=True)
            told = every.moved < 0.1 and bool((every.errors() <= good).all())
            found = yield from of_columns(every, B)
            if not (found.errors() <= good).all():
                found = yield from refine_by_gmres(found, A, B, good)
            untold = not told or (found.growth or 0) > GROWTH
            if untold and (found.errors() <= good).all():
                found = replace(found, rcond=(yield from estimate_condition(found, A, good)))
        except FAILED as error:
            yield from refuse_not_finite(A, B)
            given_up.append(f"{way.method}: {in_short(error)}")
        else:
            worst = float(found.errors().max())
            if worst <= good and not np.isnan(found.rcond):
                return accepted(found, given_up)
            yield from refuse_not_finite(A, B)
            given_up.append(
                f"{way.method}: {UNTOLD}"
                if worst <= good
                else f"{way.method}: refinement stalled at {worst:.2g} units of HPL's criterion"
            )
        first = by_cholesky(cholesky(claimed)) if self.kind == "pos" else by_lu(lu(claimed), self.kind)
        return (yield from trusted([lambda: first, *_others(A)], A, B, given_up))


def _others(A: Node) -> tuple[Callable[[], Way], ...]:
    """Return what is tried where entries grow in LU of A."""
    return partial(by_transposed_lu, A), lambda: by_butterflies(butterfly_factor(A, "general"), "general")
