"""Diagonals, powers and norms by the names and arguments of the Array API's extension linalg."""

from __future__ import annotations

import operator
from typing import Any, SupportsComplex, SupportsFloat

import numpy as np
import numpy.typing as npt

from wrenla.algorithms.factorizations.lu import identity
from wrenla.array_like import flag
from wrenla.errors import LinAlgError
from wrenla.matrices.linear_algebra import vector_norm as vector_norm_node
from wrenla.matrices.matrix import BigMatrix
from wrenla.matrices.operands import Handle, Operand, as_node
from wrenla.procedures.inverse import inv as inverse
from wrenla.tracebacks import short

__all__ = [
    "as_entries",
    "as_matrix",
    "diagonal",
    "matrix_norm",
    "matrix_power",
    "matrix_transpose",
    "trace",
    "vector_norm",
]


def as_matrix(value: Operand) -> BigMatrix:
    """Return a matrix, or what an array is as one."""
    return value if isinstance(value, BigMatrix) else BigMatrix(as_node(value))


def as_entries(value: Any, edge: int | None = None, beside: str = "") -> BigMatrix:
    """Return a matrix, or what an array or a number is as one; see `as_node` for tiles and dtype."""
    number = isinstance(value, SupportsComplex | SupportsFloat) and not isinstance(value, Handle)
    if not number or np.ndim(value):
        return BigMatrix(as_node(value, edge, edge, beside))
    return BigMatrix(as_node([value], beside=beside))[0]


@short
def matrix_power(x: Operand, n: int, /) -> BigMatrix:
    """Return a square matrix to a whole power, by about log₂ n products.

    Parameters
    ----------
    x : BigMatrix or array_like, (k, k)
    n : int
        0 gives the identity, a negative one a power of the inverse.

    Raises
    ------
    TypeError
        `n` is no integer.
    LinAlgError
        The matrix is not square, as in NumPy: a ValueError, too.
    SingularMatrixError
        When computed, if `n` is negative and the matrix is singular.

    Examples
    --------
    >>> import wrenla as wl
    >>> wl.linalg.matrix_power([[1.0, 1.0], [0.0, 1.0]], 5).compute()
    array([[1., 5.],
           [0., 1.]])
    """
    try:
        n = operator.index(n)
    except TypeError:
        raise TypeError(f"matrix_power: the exponent is an integer, not {n!r}") from None
    A = as_node(x)
    if A.ndim != 2 or A.grid.shape[0] != A.grid.shape[1]:
        raise LinAlgError(f"matrix_power: the matrix must be square, not {A.grid.shape[: A.ndim]}")
    if n == 0:
        return BigMatrix(identity(A))
    square, power = BigMatrix(inverse(A) if n < 0 else A), None
    for bit in reversed(bin(abs(n))[2:]):
        if bit == "1":
            power = square if power is None else power @ square
        square = square @ square  # nothing is computed: the last one is not needed
    assert power is not None
    return power


@short
def matrix_norm(x: Operand, /, *, keepdims: bool = False, ord: Any = "fro") -> BigMatrix:
    """Return a norm of a matrix, a number that is not computed yet; see `BigMatrix.norm`."""
    A = as_matrix(x)
    if A.ndim != 2:
        raise ValueError(f"matrix_norm: a matrix is needed, not {A.ndim} dimensions")
    return A.norm(ord, None, keepdims)


@short
def vector_norm(
    x: Operand, /, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False, ord: float = 2
) -> BigMatrix:
    """Return the norm of the vector that all entries are, or of each column or row.

    Parameters
    ----------
    x : BigMatrix or array_like
    axis : int or tuple of int, optional
        0 for the norm of each column, 1 for that of each row; by default all axes. Along none, ``()``, each
        entry is a vector.
    keepdims : bool
        Keep axes of length 1.
    ord : float
        p of `(Σ |x|ᵖ)^(1/p)`. 0 is the number of entries that are not zero, inf and -inf are the largest and
        the smallest absolute value.

    Raises
    ------
    ValueError
        `ord` is no number, the smallest of no entries is asked for, or there is no such axis
        (`numpy.exceptions.AxisError`).

    Notes
    -----
    The Euclidean norm of all entries neither overflows nor underflows on the way. Along an axis, and with
    other p, powers are added up as in NumPy.

    Examples
    --------
    >>> import wrenla as wl
    >>> A = wl.from_array([[3.0, 4.0], [0.0, -2.0]])
    >>> wl.linalg.vector_norm(A, axis=1).compute(), float(wl.linalg.vector_norm(A, ord=1))
    (array([5., 2.]), 9.0)
    """
    A, keep = as_entries(x), flag(keepdims, "vector_norm: keepdims")
    return BigMatrix(vector_norm_node(A._node, ord, axis, keep))


@short
def matrix_transpose(x: Operand, /) -> BigMatrix:
    """Return the transpose of a matrix, which costs nothing."""
    A = as_matrix(x)
    if A.ndim != 2:
        raise ValueError(
            f"matrix_transpose: the array must be at least 2-dimensional, not {A.ndim}-dimensional"
        )
    return A.T


@short
def trace(x: Operand, /, *, offset: int = 0, dtype: npt.DTypeLike | None = None) -> BigMatrix:
    """Return the sum of a diagonal, a number that is not computed yet.

    Parameters
    ----------
    x : BigMatrix or array_like, (m, n)
    offset : int
        Which diagonal; see `diagonal`.
    dtype : dtype, optional
        In which numbers are added up, and of the result: by default that of `x`.

    Examples
    --------
    >>> import wrenla as wl
    >>> float(wl.linalg.trace([[1.0, 2.0], [3.0, 4.0]])), float(wl.linalg.trace([[1, 2], [3, 4]], offset=1))
    (5.0, 2.0)
    """
    return as_matrix(x).trace(offset, dtype=dtype)


@short
def diagonal(x: Operand, /, *, offset: int = 0) -> BigMatrix:
    """Return a diagonal, a vector.

    Parameters
    ----------
    x : BigMatrix or array_like, (m, n)
    offset : int
        Which one: the entries (i, i + offset), above the main diagonal if it is positive. Of one outside the
        matrix there are none.

    Examples
    --------
    >>> import wrenla as wl
    >>> wl.linalg.diagonal([[1.0, 2.0], [3.0, 4.0]], offset=-1).compute()
    array([3.])
    """
    return as_matrix(x).diagonal(offset)
