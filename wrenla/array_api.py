"""Products, diagonals and norms by the names and arguments of the Array API's extension linalg."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from wrenla.algorithms.elementwise import outer as outer_node
from wrenla.algorithms.factorizations.lu import identity
from wrenla.array_like import flag
from wrenla.errors import LinAlgError
from wrenla.matrices.linear_algebra import vector_norm as vector_norm_node
from wrenla.matrices.matrix import BigMatrix
from wrenla.matrices.operands import Operand, as_node, axis_places
from wrenla.procedures.inverse import inv as inverse
from wrenla.tracebacks import short

__all__ = [
    "as_matrix",
    "diagonal",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_transpose",
    "outer",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]


def as_matrix(value: Operand) -> BigMatrix:
    """Return a matrix, or what an array is as one."""
    return value if isinstance(value, BigMatrix) else BigMatrix(as_node(value))


@short
def matmul(x1: Operand, x2: Operand, /) -> BigMatrix:
    """Return the product of two matrices, or of a matrix and a vector; `BigMatrix.__matmul__`.

    Examples
    --------
    >>> import wrenla as wl
    >>> wl.linalg.matmul([[1.0, 2.0], [3.0, 4.0]], [1, 10]).compute()
    array([21., 43.])
    """
    if isinstance(x2, BigMatrix) and not isinstance(x1, BigMatrix):
        return x2.__rmatmul__(x1)  # which cuts the array into the tiles of the matrix
    return as_matrix(x1) @ x2


@short
def outer(x1: Operand, x2: Operand, /) -> BigMatrix:
    """Return the outer product of two vectors, x1 x2ᵀ, which is computed as it is read.

    Parameters
    ----------
    x1 : BigMatrix or array_like, (m,)
    x2 : BigMatrix or array_like, (n,)
        Not conjugated: that is ``outer(x1, x2.conj())``.

    Returns
    -------
    BigMatrix, (m, n)
        Of the structure "hermitian" if both are the same real vector.

    Raises
    ------
    ValueError
        One of them is no vector.

    Examples
    --------
    >>> import wrenla as wl
    >>> wl.linalg.outer([1.0, 2.0], [3, 4, 5]).compute()
    array([[ 3.,  4.,  5.],
           [ 6.,  8., 10.]])
    """
    return _outer(*_operands(x1, x2))


@short
def tensordot(x1: Operand, x2: Operand, /, *, axes: Any = 2) -> BigMatrix:
    """Return the sum of products over pairs of axes, of at most two dimensions.

    Parameters
    ----------
    x1, x2 : BigMatrix or array_like
    axes : int or pair of sequences of int
        How many of the last axes of `x1` are summed with as many of the first of `x2`; or those of `x1` and
        those of `x2`, one by one.

    Returns
    -------
    BigMatrix
        The axes of `x1` that are left, and those of `x2`. With ``axes=1`` it is the matrix product, with 0
        the outer one of vectors, with 2 a number, Σ x1[i, j] x2[i, j].

    Raises
    ------
    ValueError
        The lengths of two axes differ, there is no such axis (`numpy.exceptions.AxisError`), or the result
        has more than two dimensions.

    Examples
    --------
    >>> import wrenla as wl
    >>> A = wl.from_array([[1.0, 2.0], [3.0, 4.0]])
    >>> float(wl.linalg.tensordot(A, A)), float(wl.linalg.tensordot(A, A, axes=([0, 1], [1, 0])))
    (30.0, 29.0)
    >>> wl.linalg.tensordot(A, [1, 10], axes=([0], [0])).compute()
    array([31., 42.])
    """
    A, B = _operands(x1, x2)
    first, second = _pairs(axes, A.ndim, B.ndim)
    if any(A.shape[p] != B.shape[q] for p, q in zip(first, second, strict=True)):
        raise ValueError(
            f"tensordot: {A.shape} and {B.shape}: the lengths of axes {first} and {second} differ"
        )
    if (ndim := A.ndim + B.ndim - 2 * len(first)) > 2:
        raise ValueError(f"tensordot: the result would have {ndim} dimensions; a matrix has two")
    if len(first) == 2:
        return (A * (B if (first == second) else B.T)).sum()
    if not first:
        return _outer(A, B) if A.ndim == B.ndim == 1 else A * B
    return (A.T if first == (0,) else A) @ (B.T if second == (1,) else B)


@short
def vecdot(x1: Operand, x2: Operand, /, *, axis: int = -1) -> BigMatrix:
    """Return the dot products of vectors along an axis, Σ conj(x1) x2.

    Parameters
    ----------
    x1, x2 : BigMatrix or array_like
        Vectors, or matrices of vectors; one vector stands for as many as there are in the other one.
    axis : int
        Along which the vectors of both lie, as long in one as in the other.

    Returns
    -------
    BigMatrix
        A number for two vectors; else a vector.

    Raises
    ------
    ValueError
        The lengths of the vectors differ, or there is no such axis (`numpy.exceptions.AxisError`).

    Examples
    --------
    >>> import wrenla as wl
    >>> A = wl.from_array([[1.0, 2.0], [3.0, 4.0]])
    >>> complex(wl.linalg.vecdot([1j, 2], [1, 3]))
    (6-1j)
    >>> wl.linalg.vecdot(A, [1, 10]).compute(), wl.linalg.vecdot(A, A, axis=0).compute()
    (array([21., 43.]), array([10., 20.]))
    """
    A, B = (X.T if axis_places(axis, X.ndim) == (0,) else X for X in _operands(x1, x2))
    if A.shape[-1] != B.shape[-1]:
        raise ValueError(f"vecdot: vectors of {A.shape[-1]} and of {B.shape[-1]} entries")
    return A.conj() @ B if A.ndim == B.ndim == 1 else (A.conj() * B).sum(-1)


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
        0 for the norm of each column, 1 for that of each row; by default all axes.
    keepdims : bool
        Keep axes of length 1.
    ord : float
        p of (Σ |x|ᵖ)^(1/p). 0 is the number of entries that are not zero, inf and -inf are the largest and
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
    return BigMatrix(vector_norm_node(as_node(x), ord, axis, flag(keepdims, "vector_norm: keepdims")))


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


def _operands(*values: Operand) -> tuple[BigMatrix, BigMatrix]:
    """Return two matrices, one of which may be an array: it is cut into tiles as long as the other's."""
    known = next((x for x in values if isinstance(x, BigMatrix) and x.ndim), None)
    edge, beside = (max(known.tile), known.dtype.name) if known is not None else (None, "")
    A, B = (BigMatrix(as_node(x, edge, edge, beside)) for x in values)
    return A, B


def _outer(A: BigMatrix, B: BigMatrix) -> BigMatrix:
    if (A.ndim, B.ndim) != (1, 1):
        raise ValueError(f"outer: two vectors are needed, not arrays of {A.ndim} and {B.ndim} dimensions")
    return BigMatrix(outer_node(as_node(A), as_node(B)))


def _pairs(axes: Any, m: int, n: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the axes of arrays of m and n dimensions that are summed together, counted from 0."""
    if not isinstance(axes, Iterable):
        try:
            count = operator.index(axes)
        except TypeError:
            raise TypeError(
                f"tensordot: axes={axes!r}: an integer or a pair of sequences is needed"
            ) from None
        if not 0 <= count <= min(m, n):
            raise np.exceptions.AxisError(
                f"tensordot: axes={count}, but of {m} and {n} dimensions 0 to {min(m, n)} can be summed"
            )
        return tuple(range(m - count, m)), tuple(range(count))
    pair = tuple(axes)
    if len(pair) != 2:
        raise ValueError(
            f"tensordot: axes={axes!r}: those of the first array and those of the second are needed"
        )
    first, second = (
        axis_places(tuple(one) if isinstance(one, Iterable) else (one,), ndim)
        for one, ndim in zip(pair, (m, n), strict=True)
    )
    if len(first) != len(second):
        raise ValueError(
            f"tensordot: {len(first)} axes of the first array and {len(second)} of the second one"
        )
    return first, second
