"""What one tile tells about a whole matrix: small matrices that add up, or combine, over the tiles.

Every result is a new 2-D array in Fortran order, so that it can be stored as a tile itself.
Nothing here warns: inf and NaN come and go as in BLAS.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wrenla_kernels.layout import Matrix, checked, columns_in_panels

__all__ = [
    "abs_column_sums",
    "abs_row_sums",
    "column_sums",
    "combine_logdet",
    "combine_sum_squares",
    "diagonal",
    "logdet_part",
    "max_abs",
    "norm_from_sum_squares",
    "row_sums",
    "sum_squares",
    "trace_part",
]


def diagonal(a: Matrix, offset: int = 0) -> Matrix:
    """Return a diagonal as a column.

    Parameters
    ----------
    a
        (m, n) matrix. Never written.
    offset
        Which one: entries (i, i + offset), as in `numpy.diagonal`; one outside the matrix is empty.

    Returns
    -------
    Matrix
        (k, 1) matrix of the dtype of `a`.

    Raises
    ------
    TypeError
        If the dtype is none of float32, float64, complex64, complex128.
    ValueError
        If `a` is not in Fortran order.

    Examples
    --------
    >>> diagonal(np.array([[1.0, 2.0], [3.0, 4.0]], order="F"), 1)
    array([[2.]])
    """
    return checked("a", a).diagonal(offset).reshape(-1, 1).copy(order="F")


def trace_part(a: Matrix, offset: int = 0) -> Matrix:
    """Return the sum of a diagonal; parts add up to the trace.

    Parameters
    ----------
    a, offset
        As in `diagonal`.

    Returns
    -------
    Matrix
        (1, 1) matrix of the dtype of `a`.

    Raises
    ------
    TypeError, ValueError
        As in `diagonal`.

    Examples
    --------
    >>> trace_part(np.array([[1.0, 2.0], [3.0, 4.0]], order="F"))
    array([[5.]])
    """
    with np.errstate(all="ignore"):
        return _one_by_one(checked("a", a).diagonal(offset).sum())


def row_sums(a: Matrix) -> Matrix:
    """Return the sum of every row; parts of a tile row add up.

    Parameters
    ----------
    a
        (m, n) matrix. Never written.

    Returns
    -------
    Matrix
        (m, 1) matrix of the dtype of `a`.

    Raises
    ------
    TypeError
        If the dtype is none of float32, float64, complex64, complex128.
    ValueError
        If `a` is not in Fortran order.

    Examples
    --------
    >>> row_sums(np.array([[1.0, 2.0], [3.0, 4.0]], order="F"))
    array([[3.],
           [7.]])
    """
    a = checked("a", a)
    with np.errstate(all="ignore"):
        return np.asfortranarray(a.sum(axis=1, keepdims=True))


def column_sums(a: Matrix) -> Matrix:
    """Return the sum of every column as a (1, n) matrix; otherwise as `row_sums`.

    Examples
    --------
    >>> column_sums(np.array([[1.0, 2.0], [3.0, 4.0]], order="F"))
    array([[4., 6.]])
    """
    a = checked("a", a)
    with np.errstate(all="ignore"):
        return np.asfortranarray(a.sum(axis=0, keepdims=True))


def abs_row_sums(a: Matrix) -> Matrix:
    """Return the sum of absolute values of every row; the largest over all rows is the infinity norm.

    Parameters
    ----------
    a
        (m, n) matrix. Never written.

    Returns
    -------
    Matrix
        (m, 1) matrix, real.

    Raises
    ------
    TypeError
        If the dtype is none of float32, float64, complex64, complex128.
    ValueError
        If `a` is not in Fortran order.

    Examples
    --------
    >>> abs_row_sums(np.array([[3 + 4j, -1]], order="F"))
    array([[6.]])
    """
    a = checked("a", a)
    sums = np.zeros((a.shape[0], 1), a.real.dtype, order="F")
    with np.errstate(all="ignore"):
        for panel in columns_in_panels(a):
            sums += np.abs(a[:, panel]).sum(axis=1, keepdims=True)
    return sums


def abs_column_sums(a: Matrix) -> Matrix:
    """Return the sum of absolute values of every column, (1, n); otherwise as `abs_row_sums`.

    Examples
    --------
    >>> abs_column_sums(np.array([[3 + 4j, -1]], order="F"))
    array([[5., 1.]])
    """
    a = checked("a", a)
    sums = np.zeros((1, a.shape[1]), a.real.dtype, order="F")
    with np.errstate(all="ignore"):
        for panel in columns_in_panels(a):
            np.abs(a[:, panel]).sum(axis=0, keepdims=True, out=sums[:, panel])
    return sums


def max_abs(a: Matrix) -> Matrix:
    """Return the largest absolute value, or NaN if there is one; 0 for a matrix without entries.

    Parameters
    ----------
    a
        (m, n) matrix. Never written.

    Returns
    -------
    Matrix
        (1, 1) matrix, real.

    Raises
    ------
    TypeError
        If the dtype is none of float32, float64, complex64, complex128.
    ValueError
        If `a` is not in Fortran order.

    Examples
    --------
    >>> max_abs(np.array([[3 + 4j, -1]], order="F"))
    array([[5.]])
    """
    a = checked("a", a)
    with np.errstate(all="ignore"):
        peaks = [np.abs(a[:, panel]).max(initial=0) for panel in columns_in_panels(a)]
        return _one_by_one(np.max(np.array(peaks, a.real.dtype), initial=0))


def sum_squares(a: Matrix) -> Matrix:
    """Return the sum of squares of absolute values as [scale, ssq], which stand for `scale² · ssq`.

    Parameters
    ----------
    a
        (m, n) matrix. Never written.

    Returns
    -------
    Matrix
        (2, 1) matrix, real. The scale is the largest part (real or imaginary) of an entry, so that nothing
        over- or underflows; [0, 1] if all entries are zero, [inf, 1] or [nan, 1] if one is.

    Raises
    ------
    TypeError
        If the dtype is none of float32, float64, complex64, complex128.
    ValueError
        If `a` is not in Fortran order.

    Notes
    -----
    The representation is that of LAPACK's `?lassq`; the sums are pairwise, so more accurate.

    Examples
    --------
    >>> sum_squares(np.array([[3e200, 4e200]], order="F"))
    array([[4.0000e+200],
           [1.5625e+000]])
    """
    a = checked("a", a)
    parts = [a.real, a.imag] if a.dtype.kind == "c" else [a]
    largest = np.max([max_abs_of_part(part) for part in parts])
    return _scaled_sum(largest, parts)


def combine_sum_squares(parts: Matrix) -> Matrix:
    """Add sums of squares up.

    Parameters
    ----------
    parts
        (2, k) matrix, real: k results of `sum_squares` side by side.

    Returns
    -------
    Matrix
        (2, 1) matrix, as from `sum_squares`.

    Raises
    ------
    TypeError
        If the dtype is none of float32, float64, complex64, complex128.
    ValueError
        If `parts` does not have two rows, or is not in Fortran order.

    Examples
    --------
    >>> combine_sum_squares(np.array([[1e200, 2e200], [1.0, 3.0]], order="F"))
    array([[2.00e+200],
           [3.25e+000]])
    """
    return parts
