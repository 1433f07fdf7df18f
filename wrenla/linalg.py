"""Linear algebra by the names of the Array API and SciPy. Arrays are accepted wherever a BigMatrix is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from wrenla.algorithms.triangular import solve_triangular as triangular_node
from wrenla.algorithms.views import flip
from wrenla.array_api import (
    as_matrix,
    diagonal,
    matrix_norm,
    matrix_power,
    matrix_transpose,
    trace,
    vector_norm,
)
from wrenla.array_like import flag
from wrenla.errors import (
    LinAlgError,
    NotFiniteError,
    NotPositiveDefiniteError,
    SingularMatrixError,
    StructureError,
)
from wrenla.executors.base import Executor
from wrenla.instead import no_such_name
from wrenla.matrices.factorizations import (
    cho_factor,
    cho_solve,
    cond,
    ldl_factor,
    lu,
    lu_factor,
    lu_solve,
    rcond,
)
from wrenla.matrices.factors import CholeskyFactor
from wrenla.matrices.ldl_factor import LDLFactor
from wrenla.matrices.linear_algebra import SlogdetResult
from wrenla.matrices.lu_factor import LUFactor, trans_of
from wrenla.matrices.matrix import BigMatrix
from wrenla.matrices.operands import Operand, as_node
from wrenla.procedures import inverse as determinants
from wrenla.procedures.report import SolveReport
from wrenla.products import cross, matmul, outer, tensordot, vecdot
from wrenla.tracebacks import short
from wrenla.vocabulary import refuse_others

if TYPE_CHECKING:
    from wrenla.interchange.linear_operator import TiledLinearOperator

__all__ = [
    "CholeskyFactor",
    "LDLFactor",
    "LUFactor",
    "LinAlgError",
    "NotFiniteError",
    "NotPositiveDefiniteError",
    "SingularMatrixError",
    "SolveReport",
    "StructureError",
    "aslinearoperator",
    "cho_factor",
    "cho_solve",
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "gram",
    "inv",
    "ldl_factor",
    "lu",
    "lu_factor",
    "lu_solve",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_transpose",
    "norm",
    "outer",
    "rcond",
    "slogdet",
    "solve",
    "solve_triangular",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]

if not TYPE_CHECKING:  # which shall refuse such names, too

    def __getattr__(name: str) -> Any:
        raise no_such_name(name)


@short
def aslinearoperator(A: Operand, /, *, executor: Executor | None = None) -> TiledLinearOperator:
    """Return the matrix as a `LinearOperator` of SciPy, for its iterative solvers.

    `scipy.sparse.linalg`'s `cg`, `gmres`, `minres`, `bicgstab`, `lsqr`, `lsmr`, `eigsh`, `eigs`, `svds` and
    `expm_multiply` take it in place of a matrix, and so does the arithmetic of operators: ``op + 2 * other``,
    ``op @ other``, ``op.H``.

    Parameters
    ----------
    A : BigMatrix or array_like, (m, n)
        Stored matrices, and arrays in memory, are read where they are, also through transposes, triangles,
        shifts and weights. All else is computed now, and its tiles kept in the store for temporaries as long
        as the operator is in use.
    executor : Executor, optional
        Reads the tiles; `default_executor()` of now if None. It must stay open.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator, (m, n)
        Its attribute ``A`` is the matrix. It has its dtype; products have NumPy's promotion of that and
        the dtype of the vector.

    Raises
    ------
    ValueError
        `A` has not two dimensions.
    PlanError
        By a product: the tiles are too large for the memory allowed.
    MissingTileError, TruncatedTileError, StaleMatrixError
        By a product: the stored matrix was damaged, or overwritten.
    RuntimeError
        By a product: the executor has been shut down.

    Notes
    -----
    On this machine each product goes once through the tiles, in the threads of the executor, whose cache
    keeps of them what fits into its memory: there is no plan, and nothing is written. Of a Hermitian matrix
    each stored tile is read once for both places where it stands. Products with several vectors at once
    (`matmat`) go through the tiles once, too. Sums are made in an order that depends on the tiles only: the
    same product has the same bits, however many workers there are. Several threads may use the operator; one
    product runs at a time, as runs of one executor do. Elsewhere, on AWS Lambda, each product is a run of its
    own: tiles stay near the workers, and a product takes seconds.

    An array of more than 16 MiB is not copied: do not change it while the operator is in use. That stored
    tiles are still the same is looked at when the operator is made; an overwritten matrix is an error later,
    too.

    Examples
    --------
    >>> import numpy as np, scipy.sparse.linalg, wrenla as wl
    >>> A = wl.from_array(np.diag([1.0, 2.0, 4.0]), structure="pos")
    >>> x, info = scipy.sparse.linalg.cg(wl.linalg.aslinearoperator(A), np.ones(3))
    >>> x, info
    (array([1.  , 0.5 , 0.25]), 0)
    """
    # Here: SciPy's sparse matrices take as long to import as all of wrenla.
    from wrenla.interchange.linear_operator import operator_of

    return operator_of(A, executor)


@short
def cholesky(
    x: Operand, /, *unnamed: bool, upper: bool = False, lower: bool | None = None, **others: Any
) -> BigMatrix:
    """Return the Cholesky factor of a Hermitian positive definite matrix; see `BigMatrix.cholesky`.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> wl.linalg.cholesky(np.array([[4.0, 2.0], [2.0, 5.0]]), upper=True).compute()
    array([[2., 1.],
           [0., 2.]])
    """
    if unnamed:  # SciPy's `lower`, our method's `upper`
        raise TypeError("cholesky: say which factor is meant: lower=True (the default) or upper=True")
    return as_matrix(x).cholesky(upper, lower=lower, **others)


@short
def solve(
    a: Operand,
    b: Operand,
    *,
    assume_a: str | None = None,
    check: bool = True,
    precision: Literal["full", "mixed"] = "full",
    method: Literal["lu", "rbt"] | None = None,
    full_output: bool = False,
    **others: Any,
) -> Any:
    """Return x with A x = b, looked at: it is right, or there is an error.

    Parameters
    ----------
    a : BigMatrix or array_like, (n, n)
    b : BigMatrix or array_like, (n,) or (n, k)
    assume_a : {None, "pos", "gen", "sym", "her", "lower", "upper", "diagonal"}, or another word of SciPy's
        What `a` is; by default what its `structure` says. "pos" (or "positive definite") is Hermitian
        positive definite, of which only the lower triangle is read (LAPACK: posv); "lower" and "upper"
        ("lower triangular", …) are triangular (trtrs); of "sym" and "her", which may be indefinite, the lower
        triangle is read, and half of the work of "gen" done (sysv, hesv). Of an array up to 16 MiB nothing
        need be said: it is looked at whether it is triangular, or symmetric and positive definite, to the
        last bit.
    check : bool
        Look whether `assume_a` is true, unless that is known: at all of an array up to 16 MiB, of all else at
        the diagonal tiles and a sample of the others. Say False if the part that is not read holds something
        else.
    precision : {"full", "mixed"}
        "mixed" factors in float32 or complex64 and refines the solution in double precision (LAPACK: dsgesv,
        dsposv), which large matrices gain by. Above a condition number of about 1e7 it goes on by GMRES, and
        if that stalls, the matrix is factored anew in double precision. The solution is as good in any case.
        Matrices of single precision and triangles are solved as ever.
    method : {None, "lu", "rbt"}
        How a matrix is factored that is neither triangular nor positive definite. "lu" is LU with partial
        pivoting across tiles. "rbt" mixes rows and columns by random butterflies, factors without exchanges
        (LU, or LDLᴴ for "sym" and "her"), which many workers do sooner, and refines; if that does not come to
        a good solution, or the matrix is nearly singular, LU follows. By default "rbt" for "sym" and "her" of
        four tile rows or more, and for "gen" where its plan on the executor takes less than 80 % of the time
        of LU, if that is more than a minute.
    full_output : bool
        Compute now, and return the solution, which is kept as by `BigMatrix.persist`, and its report.
    **others
        SciPy's ``overwrite_a``, ``overwrite_b`` and ``check_finite`` may be given and change nothing: inputs
        are never overwritten, and NaN and infinity are errors.

    Returns
    -------
    BigMatrix, of the shape of `b`
        When it is computed, its `report` says how it was found, and how far it can be trusted.
    SolveReport
        If `full_output`.

    Raises
    ------
    NotPositiveDefiniteError
        When computed, if the matrix is not positive definite.
    SingularMatrixError
        When computed, if there is a zero on the diagonal of a triangle, or of the factor U.
    NotFiniteError
        When computed, if a matrix that is factored, or the right-hand side then, holds NaN or infinity.
    LinAlgError
        When computed, if no way gives a residual that HPL's criterion accepts.
    StructureError
        The matrix is not what `assume_a` says; the message shows two entries.

    Warns
    -----
    scipy.linalg.LinAlgWarning
        When computed, if the matrix is singular to working precision.

    Notes
    -----
    For each right-hand side ‖b − A x‖ ≤ 16 u (‖A‖ ‖x‖ + ‖b‖) n in the maximum norm, where u is the unit
    roundoff (HPL's criterion); healthy solutions come to a hundredth of it. If the residual is larger it is
    refined (LAPACK: gerfs); if that does not help, LU of Aᴴ is tried, then random butterflies. A solution by
    substitution with a triangle is not looked at: it always meets the criterion.

    Random butterflies: Parker 1995; Baboulin, Dongarra, Herrmann, Tomov 2013; symmetric: Baboulin,
    Becker, Dongarra 2012.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> wl.linalg.solve(np.array([[4.0, 2.0], [2.0, 5.0]]), np.array([8.0, 12.0]), assume_a="pos").compute()
    array([1., 2.])
    >>> x, report = wl.linalg.solve(np.array([[0.0, 2.0], [1.0, 4.0]]), np.ones(2), full_output=True)
    >>> report.method, report.refinements, report.hpl < 1
    ('LU with partial pivoting', 0, True)
    """
    x = as_matrix(a).solve(b, assume_a, check=check, precision=precision, method=method, **others)
    if not flag(full_output, "solve: full_output"):
        return x
    x = x.persist()
    return x, x.report


@short
def solve_triangular(
    a: Operand,
    b: Operand,
    trans: Literal["N", "T", "C", 0, 1, 2] = "N",
    lower: bool = False,
    **others: Any,
) -> BigMatrix:
    """Return x with op(A) x = b for a triangular matrix; the other triangle is not read.

    Parameters
    ----------
    a : BigMatrix or array_like, (n, n)
    b : BigMatrix or array_like, (n,) or (n, k)
    trans : {"N", "T", "C"} or {0, 1, 2}
        A, its transpose, or its conjugate transpose.
    lower : bool
        Whether the triangle of `a` is the lower one.
    **others
        SciPy's ``overwrite_b`` and ``check_finite`` may be given and change nothing: inputs are never
        overwritten, and NaN travels into the result, or is an error.

    Raises
    ------
    ValueError
        `a` is known to be the other triangle.
    SingularMatrixError
        When computed, if there is a zero on the diagonal.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> L = np.array([[2.0, 0.0], [1.0, 4.0]])
    >>> wl.linalg.solve_triangular(L, np.array([2.0, 9.0]), lower=True).compute()
    array([1., 2.])
    """
    refuse_others("solve_triangular", others, ["trans", "lower"], ["overwrite_b", "check_finite"])
    op = trans_of(trans)
    A, lower = as_node(a), flag(lower, "solve_triangular: lower")
    if A.structure == ("upper" if lower else "lower"):
        raise ValueError(
            f"solve_triangular: lower={lower}, but a is known to be {A.structure} triangular: its other "
            f"triangle is only the diagonal; use lower={not lower}"
        )
    A = flip(A, op)
    is_lower = lower if op == "N" else not lower
    return BigMatrix(triangular_node(A, as_node(b, rows=A.grid.tile[0]), "lower" if is_lower else "upper"))


@short
def gram(a: Operand, weights: Operand | None = None) -> BigMatrix:
    """Return A Aᴴ or A diag(weights) Aᴴ; see `BigMatrix.gram`."""
    return as_matrix(a).gram(weights)


@short
def norm(
    a: Operand, ord: Any = None, axis: int | tuple[int, int] | None = None, keepdims: bool = False
) -> BigMatrix:
    """Return a norm of a matrix or vector, a number that is not computed yet; see `BigMatrix.norm`."""
    return as_matrix(a).norm(ord, axis, keepdims)


@short
def det(x: Operand, /, **others: Any) -> BigMatrix:
    """Return the determinant, a number that is not computed yet.

    A product of many numbers may overflow, or come to zero, where `slogdet` gives its logarithm. SciPy's
    ``overwrite_a`` and ``check_finite`` may be given and change nothing.

    Warns
    -----
    scipy.linalg.LinAlgWarning
        When computed, if entries grow much in the elimination of `x` and in that of its adjoint, which is
        tried then.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> float(wl.linalg.det(np.array([[0.0, 2.0], [1.0, 4.0]])))
    -2.0
    """
    refuse_others("det", others, ["x"], ["overwrite_a", "check_finite"])
    return BigMatrix(determinants.det(as_node(x)))


@short
def inv(x: Operand, /, **others: Any) -> BigMatrix:
    """Return the inverse.

    To solve a system, `solve` takes a third of the time and is more accurate. SciPy's ``overwrite_a`` and
    ``check_finite`` may be given and change nothing.

    Raises
    ------
    SingularMatrixError
        When computed, if the matrix is singular.
    LinAlgError
        When computed, if entries have grown so much in the elimination that no way gives residuals that HPL's
        criterion accepts. Without growth LU is backward stable, and nobody looks.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> wl.linalg.inv(np.array([[0.0, 2.0], [1.0, 4.0]])).compute()
    array([[-2. ,  1. ],
           [ 0.5,  0. ]])
    """
    refuse_others("inv", others, ["x"], ["overwrite_a", "check_finite"])
    return BigMatrix(determinants.inv(as_node(x)))


@short
def slogdet(x: Operand, /) -> SlogdetResult:
    """Return sign and logarithm of `|det A|`; see `BigMatrix.slogdet`.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> sign, logabsdet = wl.compute(*wl.linalg.slogdet(np.array([[0.0, 2.0], [1.0, 4.0]])))
    >>> float(sign * np.exp(logabsdet))
    -2.0
    """
    return as_matrix(x).slogdet()
