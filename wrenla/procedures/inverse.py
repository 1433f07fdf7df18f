"""Inverses and determinants by LU, and another way where entries have grown in the elimination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from wrenla.algorithms import solve as systems
from wrenla.algorithms.elementwise import elementwise
from wrenla.algorithms.factorizations.checks import sizes, starts
from wrenla.algorithms.factorizations.lu import LU, identity, lu, parity
from wrenla.algorithms.procedure import Fetch, Outcome, Procedure, Steps, results_of
from wrenla.algorithms.reductions import slogdet_triangular
from wrenla.algorithms.views import flip
from wrenla.planning.expression import Description, Node
from wrenla.procedures.attempt import Asking, attempt
from wrenla.procedures.solve import SolveFactored, has_grown
from wrenla.procedures.ways import by_butterflies, largest_of_u
from wrenla.run.conditioning import warn_growth
from wrenla.vocabulary import Solver
from wrenla_handler.linalg_errors import NotFiniteError

__all__ = ["Determinant", "DeterminantByBlocks", "det", "inv", "slogdet"]


def inv(A: Node) -> Node:
    """Return the inverse of A."""
    if not _is_square(A):
        return systems.inv(A)  # which is an error, or nothing
    systems.refuse_factor("inv", A)
    kind, claimed, whole, B = systems.system(A, identity(A), A.structure)
    if kind in ("lower", "upper", "diagonal", "pos"):
        return systems.solve(A, B, A.structure)
    F = lu(claimed)
    (X,) = results_of(SolveFactored(another=True), *F, largest_of_u(F), sizes(whole), whole, B)
    return X


def det(A: Node) -> Node:
    """Return the determinant of A."""
    if not _is_square(A) or A.structure in ("lower", "upper", "pos"):
        return systems.det(A)
    systems.refuse_factor("det", A)
    (found,) = _of_matrix(A, False)
    return found


def slogdet(A: Node) -> tuple[Node, Node]:
    """Return sign and logarithm of |det A|."""
    if not _is_square(A) or A.structure in ("lower", "upper", "pos"):
        return systems.slogdet(A)
    systems.refuse_factor("slogdet", A)
    sign, logabs = _of_matrix(A, True)
    return sign, logabs


def _is_square(A: Node) -> bool:
    return A.ndim == 2 and A.grid.shape[0] == A.grid.shape[1] > 0


def _of_matrix(A: Node, logarithm: bool) -> tuple[Node, ...]:
    F = lu(A)
    return results_of(Determinant(logarithm), *F, largest_of_u(F), sizes(A), A)


@dataclass(frozen=True)
class Determinant(Procedure):
    """Determinant, or its sign and the logarithm of its absolute value, by LU.

    Its arguments are the factors, the largest entry of U, `sizes` of A, and A. Where entries have grown, it
    is the conjugate of that of Aᴴ, in whose elimination they hardly grow then; if they do, there is a
    warning.
    """

    logarithm: bool
    version: ClassVar[int] = 2
    follows: str = field(default="LU of the adjoint, if entries have grown in LU", init=False, repr=False)

    def describe(self, *args: Node) -> Sequence[Description]:
        return [node.description for node in _whole(_parts(LU(*args[:2]), self.logarithm))]

    def steps(self, *args: Node) -> Steps:
        *F, of_u, of_a, A = args
        grown: float = np.inf
        try:
            parts, grown, norms = yield from self._found(LU(*F), of_u, of_a)
        except NotFiniteError:
            (norms,) = yield [Fetch(of_a)]
            if not np.isfinite(norms[2]):
                raise
        if not has_grown(grown, norms):
            return Outcome(_whole(parts))
        G = lu(flip(A, "C"))
        try:
            turned, less, _ = yield from self._found(G, largest_of_u(G), of_a)
        except NotFiniteError:
            if np.isinf(grown):
                raise
            less = np.inf
        if has_grown(min(less, grown), norms):
            with np.errstate(all="ignore"):
                warn_growth(float(min(less, grown) / norms[2]))
        if grown <= less:
            return Outcome(_whole(parts))
        first, *others = _whole(turned)
        return Outcome([elementwise("conjugate", first), *others])

    def _found(self, F: LU, of_u: Node, of_a: Node) -> Asking[tuple[list[Node], float, np.ndarray]]:
        parts = _parts(F, self.logarithm)
        *found, grown, norms = yield [*parts, Fetch(of_u), Fetch(of_a)]
        return found, float(grown), norms


@dataclass(frozen=True)
class DeterminantByBlocks(Procedure):
    """Sign and logarithm of a determinant that block factors tell, or LU where they are not precise enough.

    Its arguments are sign and logarithm by the block factors, these, and A twice: the second one is what
    products read. The determinant is that of a matrix nearby. How near is told by the residuals of solutions
    that are not refined; its relative error is about as much, times the condition number.
    """

    kind: Solver
    version: ClassVar[int] = 2
    follows: str = field(
        default="LU with partial pivoting, if the determinant has fewer than half of its digits",
        init=False,
        repr=False,
    )

    def describe(self, *args: Node) -> Sequence[Description]:
        return [node.description for node in args[:2]]

    def steps(self, *args: Node) -> Steps:
        sign, logabs, F, claimed, A = args
        *found, s, value = yield [sign, logabs, Fetch(sign), Fetch(logabs)]
        if np.isfinite(s) and np.isfinite(value):
            right = starts(F.grid.shape[0], F.grid.tile[0], F.dtype)
            looked = yield from attempt(by_butterflies(F, self.kind), A, right, np.ones(right.grid.shape[1]))
            if looked.backward()[0] <= np.sqrt(np.finfo(F.dtype).eps / 2) * looked.rcond:
                return Outcome(found)
        G = lu(claimed)
        return (yield from Determinant(True).steps(*G, largest_of_u(G), sizes(claimed), claimed))


def _parts(F: LU, logarithm: bool) -> list[Node]:
    """Return parts of a determinant, small ones: of the factors nothing is kept but them."""
    if not logarithm:
        return [systems.det_lu(F)]
    return [parity(F.pivots, F.factors.dtype), *slogdet_triangular(F.factors)]


def _whole(parts: Sequence[Node]) -> list[Node]:
    """Return the determinant, or its sign and logarithm, of its parts."""
    if len(parts) == 1:
        return [*parts]
    of_rows, sign, logabs = parts
    return [elementwise("multiply", sign, of_rows), logabs]
