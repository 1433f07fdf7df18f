"""Solutions that can be trusted: the first of some ways whose residual is accepted, or an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from wrenla.algorithms.factorizations.checks import column_maxima, sizes
from wrenla.algorithms.procedure import Fetch, Outcome, Steps
from wrenla.planning.expression import Node
from wrenla.procedures.attempt import (
    ACCEPTED,
    GOOD,
    Asking,
    Attempt,
    attempt,
    of_columns,
    refine,
    with_starts,
)
from wrenla.procedures.gmres import estimate_condition
from wrenla.procedures.report import SolveReport
from wrenla.procedures.ways import Way
from wrenla.run.conditioning import warn_ill_conditioned
from wrenla.run.events import Totals
from wrenla_handler.linalg_errors import (
    LinAlgError,
    NotFiniteError,
    NotPositiveDefiniteError,
    SingularMatrixError,
)

__all__ = ["FAILED", "GROWTH", "UNTOLD", "accepted", "in_short", "refuse_not_finite", "trusted"]

FAILED = NotFiniteError, NotPositiveDefiniteError, SingularMatrixError
"""Errors of a factorization, after which another one may do."""

GROWTH = 1e4
"""Growth of entries up to which LU is not looked at: residuals are about 1e-4 of it, in HPL's units."""

UNTOLD = (
    "right-hand sides of random numbers, which the same factor solved beside B as a check, were not solved "
    "well enough to tell how near to singular A is"
)
"""Why a solution with a small residual is given up: it may be small by chance."""


_OVERFLOW = "overflow in the elimination"


def trusted(ways: Sequence[Callable[[], Way]], A: Node, B: Node, given_up: list[str]) -> Steps:
    """Solve by the first of some ways, or by another one, until the solution can be trusted."""
    judged = False
    for number, make in enumerate(ways):
        way, is_last = make(), number == len(ways) - 1
        first_judge, judged = way.certain and not judged, judged or way.certain
        try:
            asked, scaled = (B, None) if way.certain else with_starts(way, B)
            first = yield from attempt(way, A, asked, scaled)
            good = GOOD if way.certain else 1 / np.sqrt(A.grid.shape[0])
            anyway = not (way.certain or _tells_condition(first))
            found = yield from refine(first, A, asked, good, anyway=anyway)
        except FAILED as error:
            yield from refuse_not_finite(A, B)
            if first_judge and not isinstance(error, NotFiniteError):
                if not (yield from _has_grown(way, A)):
                    raise
                judged = False  # what cancels to zero among entries that have grown says nothing of A
            given_up.append(f"{way.method}: {in_short(error)}")
            continue
        told = _tells_condition(first, found.moved) and bool((found.errors() <= ACCEPTED).all())
        if not way.certain:
            found = yield from of_columns(found, B)
        worst = float(found.errors().max())
        if worst > ACCEPTED or np.isnan(worst):
            yield from refuse_not_finite(A, B)
            given_up.append(f"{way.method}: {_why_not(worst, found)}")
            continue
        if not (told or way.certain or is_last):
            given_up.append(f"{way.method}: nearly singular (rcond about {first.rcond:.2g})")
            continue
        # with growth a right-hand side is solved for by chance
        if (found.growth or 0) > GROWTH or (not told and (found.steps or not way.certain)):
            found = replace(found, rcond=(yield from estimate_condition(found, A, GOOD)))
        if not np.isnan(found.rcond):
            return accepted(found, given_up)
        given_up.append(f"{way.method}: {UNTOLD}")
    raise LinAlgError(
        f"solve: no solution that can be trusted was found ({'; '.join(given_up)}): at most "
        f"{ACCEPTED:g} units are accepted. If numbers are very large or small, scale the system"
    )


def _has_grown(way: Way, A: Node) -> Asking[bool]:
    """Tell whether entries have grown so much in an elimination that its zeros are rounding errors."""
    if way.grown is None:
        return False
    grown, norms = yield [Fetch(way.grown), Fetch(sizes(A))]
    return not float(grown) <= GROWTH * way.scale * norms[2]


def _tells_condition(first: Attempt, moved: float = np.inf) -> bool:
    """Tell whether a factor is that of a matrix near enough to A to have its condition.

    That is so if A is much farther from a singular matrix than the two are from each other; or a little
    farther, and a step of refinement hardly `moved` the solution. If A is singular, the factor of a matrix
    nearby has a condition of the order of their distance, and a step moves the solution by its own size;
    but not that of a right-hand side in the range of A, so others are looked at, too: see `with_starts`.
    """
    u = float(np.finfo(first.X.dtype).eps) / 2
    apart = max(first.backward()[0], 100 * u)
    return first.rcond > 10 * apart or (first.rcond > apart and moved < 0.1)


def _why_not(worst: float, found: Attempt) -> str:
    """Return why a solution is given up whose residual is too large, for the report."""
    if np.isfinite(worst):
        return f"residual of {worst:.2g} units of HPL's criterion"
    # in the last panel: no task looks at it any more
    return _OVERFLOW if not np.isfinite(found.growth or 0) else "a solution that is not finite"


def in_short(error: LinAlgError) -> str:
    """Return why a way was given up, for the report."""
    match error:
        case NotPositiveDefiniteError():
            return f"not positive definite in it (leading minor of order {error.minor})"
        case SingularMatrixError():
            return f"singular in it (pivot {error.index} is zero)"
        case _:
            return _OVERFLOW


def accepted(found: Attempt, given_up: Sequence[str]) -> Outcome:
    """Return the end of a procedure that has found a solution; warn if A is nearly singular."""
    if found.rcond < np.finfo(found.X.dtype).eps:
        warn_ill_conditioned(f"rcond is about {found.rcond:.3g}")
    return Outcome([found.X], partial(_report, found, tuple(given_up)))


def refuse_not_finite(A: Node, B: Node) -> Asking[None]:
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
