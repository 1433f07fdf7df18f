"""Choice of the solver and of the determinant for a structure."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from wrenla.algorithms.assemble import Assemble, Copy, Piece, copy
from wrenla.algorithms.claims import claimed, found
from wrenla.algorithms.elementwise import Elementwise, elementwise
from wrenla.algorithms.factorizations.cholesky import cholesky
from wrenla.algorithms.factorizations.lu import LU, identity, lu, lu_solve, parity
from wrenla.algorithms.flips import Flip
from wrenla.algorithms.reductions import det_triangular, slogdet_triangular
from wrenla.algorithms.tile_views import from_lower
from wrenla.algorithms.triangular import solve_triangular
from wrenla.algorithms.views import Negative, Scale, Shift, Weigh, flip, scale, triangle
from wrenla.planning.expression import Leaf, Node, result_dtype
from wrenla.vocabulary import Solver

__all__ = [
    "System",
    "bare_factor",
    "check_sides",
    "cho_solve",
    "det",
    "det_cholesky",
    "det_lu",
    "det_of_logarithm",
    "inv",
    "refuse_factor",
    "slogdet",
    "slogdet_lu",
    "solve",
    "system",
]


_CHECKED = ("lower", "upper", "diagonal", "hermitian", "symmetric")
"""Words that a matrix of another structure does not fit; a positive definite one is Hermitian."""


class System(NamedTuple):
    """A linear system A X = B, and how it is to be solved.

    Attributes
    ----------
    kind : Solver
    A : Node
        What is factored: a claim is checked when its tiles are read.
    whole : Node
        The same matrix as one that products read.
    B : Node
    """

    kind: Solver
    A: Node
    whole: Node
    B: Node


def system(A: Node, B: Node, solver: Solver = "general", check: bool = True) -> System:
    """Return how A X = B is solved, by the known or claimed structure of A; a claim is checked in data."""
    if A.ndim != 2 or A.grid.shape[0] != A.grid.shape[1]:
        raise ValueError(f"solve: the matrix must be square, not {A.grid.shape[: A.ndim]}")
    check_sides(A.grid.shape[0], B)
    if solver not in ("lower", "upper"):
        refuse_factor("solve", A)
    kind, whole = _kind(A, solver), A
    if kind == "general" and check:
        kind = found(A)
    elif check and kind != A.structure and (kind in _CHECKED or A.structure == "general"):
        A = claimed(A, kind)
    match kind:
        case "pos":
            whole = from_lower(whole, "hermitian")
        case "hermitian" | "symmetric":
            A, whole = from_lower(A, kind), from_lower(whole, kind)
        case "general":
            pass
        case _:
            return System(kind, A, whole, B)
    return System(kind, _as_precise(A, B), whole, B)


def check_sides(n: int, B: Node) -> None:
    """Refuse what is no right-hand side of so many equations, and not several."""
    if B.ndim not in (1, 2) or B.grid.shape[0] != n:
        raise ValueError(f"solve: {n} equations, but a right-hand side of shape {B.grid.shape[: B.ndim]}")


def solve(A: Node, B: Node, solver: Solver = "general", check: bool = True) -> Node:
    """Return X with A X = B, as the factorization gives it: nobody looks at the residual."""
    kind, A, _, B = system(A, B, solver, check)
    match kind:
        case "lower" | "upper":
            return solve_triangular(A, B, kind)
        case "diagonal":  # of the lower triangle's upper one the diagonal is left
            return solve_triangular(triangle(A, "lower"), B, "upper")
        case "pos":
            return cho_solve(cholesky(A), B)
    return lu_solve(lu(A), B)


def refuse_factor(what: str, A: Node) -> None:
    """Refuse what was saved as a factor, parts and multiples too: L may be meant, or A = L Lᴴ."""
    whole = A
    while (inner := _looked_at(whole)) is not None:
        whole = inner
    if not isinstance(whole.op, Leaf) or not whole.op.factor:
        return
    this = (
        "this matrix was saved as" if isinstance(A.op, Leaf | Flip) else "what this is made of was saved as"
    )
    if whole.op.factor == "lu":
        does = "solves with" if what in ("cholesky", "lu", "lu_factor") else f"has {what} of"
        raise ValueError(f"{what}: {this} factors L and U of A; wrenla.open_factor(url) {does} A")
    if whole.op.factor in ("ldlh", "ldlt"):
        does = "solves with" if what in ("cholesky", "lu", "lu_factor", "ldl_factor") else f"has {what} of"
        raise ValueError(f"{what}: {this} an LDL factor of A; wrenla.open_factor(url, A) {does} A")
    if what == "cholesky":
        return  # which refuses all triangles
    of_A = f"of A it is wrenla.linalg.CholeskyFactor(L).{what}"
    if what in ("lu", "lu_factor"):
        of_A = "to solve with A it is wrenla.linalg.CholeskyFactor(L).solve"
    raise ValueError(
        f"{what}: {this} a factor L of A = L Lᴴ; {of_A}, of the triangle "
        + (
            f"CholeskyFactor(L).L.{what}"
            if what in ("solve", "slogdet")
            else f"it is wrenla.linalg.{what}(CholeskyFactor(L).L)"
        )
    )


def bare_factor(A: Node) -> Node:
    """Return what was saved as a factor, or is made of one, without the mark that says so."""
    if isinstance(A.op, Leaf):
        return replace(A, op=replace(A.op, factor=""))
    inner = _looked_at(A)
    return A if inner is None else replace(A, args=(bare_factor(inner), *A.args[1:]))


def _looked_at(A: Node) -> Node | None:
    """Return the matrix of which this is a principal part or a multiple, or differs by little else.

    Products, and sums of matrices, are matrices of their own; so is a triangle of what holds two.
    """
    match A.op:
        case Flip() | Scale() | Negative() | Shift() | Weigh() | Copy():
            pass
        case Elementwise() if len(A.args) == 1 and A.structure == A.args[0].structure:
            pass
        case Assemble(pieces=(Piece(rows=rows, cols=cols),)) if rows == cols:
            pass
        case _:
            return None
    return A.args[0]


def _kind(A: Node, solver: Solver) -> Solver:
    """Return the cheapest way that the structure allows, unless `assume_a` names one.

    Whoever calls a matrix general, symmetric or Hermitian does not say that it is nothing more than that.
    """
    is_complex = np.dtype(A.dtype).kind == "c"
    if solver == "general" or (solver == "hermitian" and A.structure == "pos"):
        return A.structure
    if solver == "symmetric" and not is_complex:
        return "pos" if A.structure == "pos" else "hermitian"
    return solver


def _as_precise(A: Node, B: Node) -> Node:
    """Return A in the precision of the solution: a less precise factor would be all that it has."""
    dtype = np.dtype(result_dtype(A.dtype, B.dtype))
    if np.dtype(A.dtype).kind != "c":
        dtype = np.empty(0, dtype).real.dtype
    return A if A.dtype == dtype.name else copy(A, dtype.name)


def cho_solve(C: Node, B: Node, uplo: Literal["lower", "upper"] = "lower") -> Node:
    """Return X with L Lᴴ X = B, or Uᴴ U X = B; of `C` only the named triangle is read (LAPACK: potrs)."""
    H = flip(C, "C")
    L, U = (C, H) if uplo == "lower" else (H, C)
    return solve_triangular(U, solve_triangular(L, B, "lower"), "upper")


def slogdet(A: Node) -> tuple[Node, Node]:
    """Return sign and logarithm of |det A|."""
    if A.ndim != 2 or A.grid.shape[0] != A.grid.shape[1]:
        raise ValueError(f"slogdet: the matrix must be square, not {A.grid.shape[: A.ndim]}")
    refuse_factor("slogdet", A)
    match A.structure:
        case "lower" | "upper":
            return slogdet_triangular(A)
        case "pos":
            return slogdet_triangular(cholesky(A), power=2)
    return slogdet_lu(lu(A))


def slogdet_lu(factors: LU) -> tuple[Node, Node]:
    """Return sign and logarithm of |det A|, given the factors of A."""
    F, pivots = factors
    sign, logabs = slogdet_triangular(F)
    return elementwise("multiply", sign, parity(pivots, F.dtype)), logabs


def det(A: Node) -> Node:
    """Return the determinant, a product: it may overflow where its logarithm does not."""
    if A.ndim != 2 or A.grid.shape[0] != A.grid.shape[1]:
        raise ValueError(f"det: the matrix must be square, not {A.grid.shape[: A.ndim]}")
    refuse_factor("det", A)
    match A.structure:
        case "lower" | "upper":
            return det_triangular(A)
        case "pos":
            return det_cholesky(cholesky(A))
    return det_lu(lu(A))


def det_lu(factors: LU) -> Node:
    """Return the determinant of A, given its factors."""
    F, pivots = factors
    return det_triangular(F, parity(pivots, F.dtype))


def det_of_logarithm(sign: Node, logabs: Node) -> Node:
    """Return a determinant whose sign and logarithm are known; beyond the range it is infinity."""
    if np.dtype(sign.dtype).kind != "c":
        return elementwise("multiply", sign, elementwise("exp", logabs))
    # by its root twice, which is finite: a complex number times infinity is NaN
    most = float(np.log(np.finfo(logabs.dtype).max))
    root = elementwise("exp", elementwise("minimum", scale(logabs, 0.5), (0.99 * most, "")))
    return elementwise("multiply", elementwise("multiply", sign, root), root)


def det_cholesky(L: Node) -> Node:
    """Return det L Lᴴ, a real number in the dtype of L; complex infinity squared would be NaN."""
    of_factor = det_triangular(L)
    if np.dtype(L.dtype).kind != "c":
        return elementwise("square", of_factor)
    return copy(elementwise("square", elementwise("absolute", of_factor)), L.dtype)


def inv(A: Node) -> Node:
    """Return the inverse of A."""
    if A.ndim != 2 or A.grid.shape[0] != A.grid.shape[1]:
        raise ValueError(f"inv: the matrix must be square, not {A.grid.shape[: A.ndim]}")
    refuse_factor("inv", A)
    return solve(A, identity(A), A.structure)
