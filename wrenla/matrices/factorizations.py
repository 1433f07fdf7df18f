"""Factorizations of matrices and arrays, by SciPy's names: part of `wrenla.linalg`."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from wrenla.algorithms import solve as systems
from wrenla.algorithms.factorizations.block_lu import Mirrored
from wrenla.algorithms.flips import flip
from wrenla.algorithms.reductions import norm
from wrenla.algorithms.tile_views import from_lower
from wrenla.array_like import flag
from wrenla.evaluate.options import Options
from wrenla.executors.base import Executor
from wrenla.matrices.factors import CholeskyFactor, pair_solve
from wrenla.matrices.ldl_factor import LDLFactor
from wrenla.matrices.lu_factor import LUFactor, lu_pair
from wrenla.matrices.matrix import BigMatrix
from wrenla.matrices.one_norm import rcond_of
from wrenla.matrices.operands import Operand, as_node
from wrenla.planning.expression import Node
from wrenla.tracebacks import short
from wrenla.vocabulary import refuse_others

__all__ = [
    "cho_factor",
    "cho_solve",
    "cond",
    "ldl_factor",
    "lu",
    "lu_factor",
    "lu_solve",
    "rcond",
]


@short
def cho_factor(a: Operand, lower: bool = True, **others: Any) -> CholeskyFactor:
    """Return the Cholesky factorization of a Hermitian positive definite matrix, to solve with it repeatedly.

    Nothing is computed until a solution is.

    Parameters
    ----------
    a : BigMatrix or array_like, (n, n)
    lower : bool
        Which triangle of `a` is read, and which factor the result is unpacked to. (SciPy's default is the
        upper one.)
    **others
        SciPy's ``overwrite_a`` and ``check_finite`` may be given and change nothing: inputs are never
        overwritten, and NaN travels into the result, or is an error.

    Returns
    -------
    CholeskyFactor
        As SciPy's result it unpacks to the factor and `lower`.

    Raises
    ------
    NotPositiveDefiniteError
        When computed, if the matrix is not positive definite.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> c, low = wl.linalg.cho_factor(np.array([[4.0, 2.0], [2.0, 5.0]]))
    >>> wl.linalg.cho_solve((c, low), np.array([8.0, 12.0])).compute()
    array([1., 2.])
    """
    refuse_others("cho_factor", others, ["lower"], ["overwrite_a", "check_finite"])
    return CholeskyFactor.of_matrix(as_node(a), lower)


@short
def cho_solve(factor: CholeskyFactor | tuple[Operand, bool], b: Operand, **others: Any) -> BigMatrix:
    """Return x with A x = b, given the factorization of A.

    Parameters
    ----------
    factor : CholeskyFactor, or (c, lower)
        What `cho_factor` returns; or, as in SciPy, a triangular factor (BigMatrix or array) and whether it is
        the lower one, L with L Lᴴ = A, or the upper one, U with Uᴴ U = A. Its other triangle is not read.
    b : BigMatrix or array_like, (n,) or (n, k)
    **others
        SciPy's ``overwrite_b`` and ``check_finite`` may be given and change nothing: inputs are never
        overwritten, and NaN travels into the result, or is an error.

    Raises
    ------
    TypeError
        For a matrix alone: whether it is A or its factor cannot be known.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> U = np.array([[2.0, 1.0], [0.0, 2.0]])
    >>> wl.linalg.cho_solve((U, False), np.array([8.0, 12.0])).compute()
    array([1., 2.])
    """
    refuse_others("cho_solve", others, ["factor", "b"], ["overwrite_b", "check_finite"])
    return factor.solve(b) if isinstance(factor, CholeskyFactor) else pair_solve(factor, b)


@short
def lu_factor(a: Operand, **others: Any) -> LUFactor:
    """Return the LU factorization of a matrix with partial pivoting, to solve with it repeatedly.

    Nothing is computed until a solution is.

    Parameters
    ----------
    a : BigMatrix or array_like, (m, n)
    **others
        SciPy's ``overwrite_a`` and ``check_finite`` may be given and change nothing: inputs are never
        overwritten, and NaN and infinity are a `NotFiniteError` when the factor is computed.

    Returns
    -------
    LUFactor
        As SciPy's result it unpacks to the factors in one matrix and the pivots.

    Notes
    -----
    LAPACK: getrf. Rows are exchanged across all tiles, and pivots are those of LAPACK wherever entries do not
    differ by rounding alone. A zero on the diagonal of U is no error until a system is solved.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> factor = wl.linalg.lu_factor(np.array([[0.0, 2.0], [1.0, 4.0]]))
    >>> factor.solve(np.array([2.0, 5.0])).compute()
    array([1., 1.])
    >>> lu, piv = factor
    >>> lu.compute()
    array([[1., 4.],
           [0., 2.]])
    """
    refuse_others("lu_factor", others, ["a"], ["overwrite_a", "check_finite"])
    A = as_node(a)
    systems.refuse_factor("lu_factor", A)
    return LUFactor.of_matrix(A)


@short
def lu_solve(
    factor: LUFactor | tuple[Operand, Any],
    b: Operand,
    trans: Literal["N", "T", "C", 0, 1, 2] = "N",
    **others: Any,
) -> BigMatrix:
    """Return x with op(A) x = b, given the LU factorization of a square A.

    Parameters
    ----------
    factor : LUFactor, or (lu, piv)
        What `lu_factor` returns, or SciPy's.
    b : BigMatrix or array_like, (n,) or (n, k)
    trans : {"N", "T", "C"} or {0, 1, 2}
        A, its transpose, or its conjugate transpose.
    **others
        SciPy's ``overwrite_b`` and ``check_finite`` may be given and change nothing: inputs are never
        overwritten, and NaN travels into the result.

    Raises
    ------
    TypeError
        For a matrix alone: whether it is A or its factors cannot be known.
    SingularMatrixError
        When computed, if there is a zero on the diagonal of U.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> factor = wl.linalg.lu_factor(np.array([[0.0, 2.0], [1.0, 4.0]]))
    >>> wl.linalg.lu_solve(factor, np.array([1.0, 6.0]), trans="T").compute()
    array([1., 1.])
    """
    refuse_others("lu_solve", others, ["factor", "b", "trans"], ["overwrite_b", "check_finite"])
    return (factor if isinstance(factor, LUFactor) else lu_pair(factor)).solve(b, trans)


@short
def lu(a: Operand, permute_l: bool = False, **others: Any) -> tuple[BigMatrix, ...]:
    """Return P, L and U with A = P L U.

    Parameters
    ----------
    a : BigMatrix or array_like, (m, n)
    permute_l : bool
        Return P L and U instead.
    **others
        ``p_indices=True`` makes P a vector p of integers (int64) with A = L[p] U. Its slices are integers,
        too; arithmetic with it is that of float64. SciPy's ``overwrite_a`` and ``check_finite`` may be given
        and change nothing.

    Returns
    -------
    P : BigMatrix, (m, m), or (m,)
    L : BigMatrix, (m, k), with ones on its diagonal, k = min(m, n)
    U : BigMatrix, (k, n)
        They share the factorization: it is computed once.

    Notes
    -----
    LAPACK: getrf. `lu_factor` keeps the factorization, and solves with it.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> P, L, U = wl.compute(*wl.linalg.lu(np.array([[0.0, 2.0], [1.0, 4.0], [2.0, 4.0]])))
    >>> L
    array([[1. , 0. ],
           [0.5, 1. ],
           [0. , 1. ]])
    >>> P @ L @ U
    array([[0., 2.],
           [1., 4.],
           [2., 4.]])
    """
    refuse_others("lu", others, ["permute_l", "p_indices"], ["overwrite_a", "check_finite", "p_indices"])
    permuted, indices = (
        flag(permute_l, "lu: permute_l"),
        flag(others.get("p_indices", False), "lu: p_indices"),
    )
    A = as_node(a)
    systems.refuse_factor("lu", A)
    return LUFactor.of_matrix(A).unpacked(permuted=permuted, indices=indices)


@short
def ldl_factor(a: Operand, hermitian: bool = True, **others: Any) -> LDLFactor:
    """Return the LDLᴴ factorization of a Hermitian or symmetric matrix, to solve with it repeatedly.

    Nothing is computed until a solution is. It is half the work of `lu_factor`.

    Parameters
    ----------
    a : BigMatrix or array_like, (n, n)
        May be indefinite. Its lower triangle is read.
    hermitian : bool
        False: a complex matrix that is symmetric and not Hermitian, LDLᵀ.
    **others
        SciPy's ``lower=True``, ``overwrite_a`` and ``check_finite`` may be given and change nothing: inputs
        are never overwritten, and NaN and infinity are a `NotFiniteError` when a system is solved.

    Returns
    -------
    LDLFactor

    Notes
    -----
    Baboulin, Becker, Dongarra 2012: rows and columns are mixed by a random butterfly, and the result is
    factored by blocks with exchanges inside of diagonal tiles only (LAPACK: hetrf, sytrf). Solutions are
    refined until they are good; if they do not come to it, or A is nearly singular, LU with partial pivoting
    follows.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> factor = wl.linalg.ldl_factor(np.array([[0.0, 2.0], [2.0, 3.0]]))
    >>> np.round(factor.solve(np.array([2.0, 5.0])).compute(), 12)
    array([1., 1.])
    """
    refuse_others("ldl_factor", others, ["hermitian"], ["lower", "overwrite_a", "check_finite"])
    if not flag(others.get("lower", True), "ldl_factor: lower"):
        raise NotImplementedError("ldl_factor: the lower triangle is read; of the upper one ldl_factor(a.T)")
    A = as_node(a)
    if A.ndim != 2 or A.grid.shape[0] != A.grid.shape[1]:
        raise ValueError(f"ldl_factor: the matrix must be square, not {A.grid.shape[: A.ndim]}")
    if A.structure in ("lower", "upper"):
        raise ValueError(
            f"ldl_factor: a matrix that is known to be {A.structure} triangular is not symmetric"
        )
    systems.refuse_factor("ldl_factor", A)
    kind = _kind_of(A, flag(hermitian, "ldl_factor: hermitian"))
    A = from_lower(A, kind)
    return LDLFactor(kind, A, A)


def _kind_of(A: Node, hermitian: bool) -> Mirrored:
    return "hermitian" if hermitian or np.dtype(A.dtype).kind != "c" else "symmetric"


@short
def rcond(a: Operand, /, executor: Executor | None = None, **options: Any) -> float:
    """Compute and return an estimate of 1 / (‖A‖₁ ‖A⁻¹‖₁), the reciprocal condition number.

    Parameters
    ----------
    a : BigMatrix or array_like, (n, n)
        Factored by Cholesky or LU by its structure, unless it is triangular. To solve with it as well, factor
        first: `lu_factor(a).rcond()`.
    executor : Executor, optional
    **options
        As of `BigMatrix.compute`.

    Returns
    -------
    float
        Rarely more than three times too large (Higham and Tisseur 2000; LAPACK: gecon, pocon, trcon), and 0
        for a singular matrix. Below the precision of the dtype, no digit of a solution need be right.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> round(wl.linalg.rcond(np.diag([1.0, 8.0])), 6)
    0.125
    """
    A = as_node(a)
    if A.ndim != 2 or A.grid.shape[0] != A.grid.shape[1]:
        raise ValueError(f"rcond: the matrix must be square, not {A.grid.shape[: A.ndim]}")
    systems.refuse_factor("rcond", A)
    evaluation = Options.of(**options)  # before anything is computed
    match A.structure:
        case "pos":
            return CholeskyFactor.of_matrix(A).rcond(executor, **options)
        case "lower" | "upper":
            H = flip(A, "C")
            ways = (lambda B: systems.solve(A, B)), (lambda B: systems.solve(H, B))
            norms = [norm(A, order) for order in ("1", "max")]
            return rcond_of(A, norms, *ways, executor, evaluation)
    return LUFactor.of_matrix(A).rcond(executor, **options)


@short
def cond(a: Operand, /, p: Any = None, executor: Executor | None = None, **options: Any) -> float:
    """Compute and return an estimate of a condition number, ‖A‖ ‖A⁻¹‖.

    Parameters
    ----------
    a : BigMatrix or array_like, (n, n)
    p : {1, inf}
        Of which norm: the largest sum of absolute values of a column, or of a row. NumPy's default, 2, needs
        singular values, which are not there yet.
    executor, **options
        As of `rcond`.

    Returns
    -------
    float
        Rarely less than a third of it, see `rcond`; infinity for a singular matrix.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> round(wl.linalg.cond(np.diag([1.0, 8.0]), 1), 6)
    8.0
    """
    word = p if isinstance(p, str | float | int | None) else "unknown"
    if word not in (1, np.inf):
        known = word in (None, 2, -2, "fro", "nuc", -1, -np.inf)
        error = NotImplementedError if known else ValueError
        raise error(f"cond: p is 1 or inf, not {p!r}: other norms of the inverse are not there yet")
    A = as_node(a)
    reciprocal_of = rcond(BigMatrix(A if p == 1 else flip(A, "C")), executor, **options)
    return 1 / reciprocal_of if reciprocal_of else float("inf")
