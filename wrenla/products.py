"""Products of matrices and vectors by the names and arguments of the Array API's extension linalg."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from wrenla.algorithms.elementwise import broadcast_shape
from wrenla.algorithms.elementwise import outer as outer_node
from wrenla.array_api import as_entries
from wrenla.matrices.blocks import block
from wrenla.matrices.matrix import BigMatrix
from wrenla.matrices.operands import Operand, as_node, axis_places
from wrenla.tracebacks import short
from wrenla_handler.tiles.layout import DTYPES

__all__ = ["cross", "matmul", "outer", "tensordot", "vecdot"]


@short
def matmul(x1: Operand, x2: Operand, /) -> BigMatrix:
    """Return the product of two matrices, or of a matrix and a vector; `BigMatrix.__matmul__`.

    Examples
    --------
    >>> import wrenla as wl
    >>> wl.linalg.matmul([[1.0, 2.0], [3.0, 4.0]], [1, 10]).compute()
    array([21., 43.])
    """
    if isinstance(x1, BigMatrix):
        return x1 @ x2
    if isinstance(x2, BigMatrix):
        return x2.__rmatmul__(x1)  # which cuts the array into the tiles of the matrix
    A, B = _operands(x1, x2)
    return A @ B


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
def cross(x1: Operand, x2: Operand, /, *, axis: int = -1) -> BigMatrix:
    """Return the cross products of vectors of three entries.

    Parameters
    ----------
    x1, x2 : BigMatrix or array_like
        Vectors, or matrices of vectors; one vector stands for as many as there are in the other one.
    axis : int
        Along which the three entries of each vector lie, in both.

    Returns
    -------
    BigMatrix
        A vector for two vectors; else a matrix, the products along the same axis.

    Raises
    ------
    ValueError
        The vectors of one have not three entries, there are other numbers of vectors in both, or there is no
        such axis (`numpy.exceptions.AxisError`).

    Examples
    --------
    >>> import wrenla as wl
    >>> A = wl.from_array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> wl.linalg.cross(A, [0, 0, 1]).compute()
    array([[ 0., -1.,  0.],
           [ 1.,  0.,  0.]])
    """
    A, B = _as_rows("cross", axis, x1, x2)
    if (A.shape[-1], B.shape[-1]) != (3, 3):
        raise ValueError(
            "cross: the input arrays must be (arrays of) 3-dimensional vectors, "
            f"not of {A.shape[-1]} and {B.shape[-1]} entries; they lie along axis={axis}"
        )
    ndim = len(broadcast_shape(A.shape, B.shape))  # an error names whole shapes, not those of columns
    a1, a2, a3 = _columns(A)
    b1, b2, b3 = _columns(B)
    first = a2 * b3 - a3 * b2
    rows = block([[first, a3 * b1 - a1 * b3, a1 * b2 - a2 * b1]], tile=(first.tile[0], 3))
    if ndim == 1:
        return rows[0]
    return rows.T if axis_places(axis, 2) == (0,) else rows


@short
def tensordot(x1: Operand, x2: Operand, /, *, axes: Any = 2) -> BigMatrix:
    """Return the sum of products over pairs of axes, of at most two dimensions.

    Parameters
    ----------
    x1, x2 : BigMatrix or array_like
        Numbers, too.
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
    A, B = _as_rows("vecdot", axis, x1, x2)
    if A.shape[-1] != B.shape[-1]:
        raise ValueError(f"vecdot: vectors of {A.shape[-1]} and of {B.shape[-1]} entries")
    return A.conj() @ B if A.ndim == B.ndim == 1 else (A.conj() * B).sum(-1)


def _operands(*values: Operand) -> tuple[BigMatrix, BigMatrix]:
    """Return two matrices, vectors or numbers; an array is cut into tiles as long as those of a matrix."""
    edge = next((max(x.tile) for x in values if isinstance(x, BigMatrix) and x.ndim), None)
    beside = next((name for x in values if (name := str(getattr(x, "dtype", ""))) in DTYPES), "")
    A, B = (as_entries(x, edge, beside) for x in values)
    return A, B


def _as_rows(what: str, axis: Any, *values: Operand) -> tuple[BigMatrix, BigMatrix]:
    """Return two matrices, in whose rows those vectors lie that lie along an axis of the given ones."""
    if isinstance(axis, Iterable):
        raise TypeError(f"{what}: axis={axis!r}: an integer is needed")
    A, B = (X.T if axis_places(axis, X.ndim) == (0,) else X for X in _operands(*values))
    return A, B


def _columns(A: BigMatrix) -> list[BigMatrix]:
    rows = A if A.ndim == 2 else A[None, :]
    return [rows[:, k : k + 1] for k in range(rows.shape[1])]


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
