"""Reduction kernels: small matrices per tile that add up, or combine, over all tiles.

Every result is a new 2-D array in Fortran order, so that it can be stored as a tile itself.
All take matrices in Fortran order of one of the dtypes float32, float64, complex64, complex128: they raise
TypeError for another dtype or for two different ones, and ValueError for another layout, for shapes that do
not fit. Nothing here warns: inf and NaN come and go as in BLAS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from wrenla_kernels.layout import PANEL_ENTRIES, Matrix, checked, columns_in_panels

__all__ = [
    "abs_column_sums",
    "abs_row_sums",
    "abs_sizes",
    "column_sums",
    "combine_sum_squares",
    "diagonal",
    "max_abs",
    "norm_from_sum_squares",
    "row_maxima",
    "row_minima",
    "row_sums",
    "sum_squares",
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

    Examples
    --------
    >>> diagonal(np.array([[1.0, 2.0], [3.0, 4.0]], order="F"), 1)
    array([[2.]])
    """
    return checked("a", a).diagonal(offset).reshape(-1, 1).copy(order="F")


def row_sums(a: Matrix) -> Matrix:
    """Return the sum of every row, added pairwise; parts of a tile row add up.

    Parameters
    ----------
    a
        (m, n) matrix. Never written.

    Returns
    -------
    Matrix
        (m, 1) matrix of the dtype of `a`.

    Examples
    --------
    >>> row_sums(np.array([[1.0, 2.0], [3.0, 4.0]], order="F"))
    array([[3.],
           [7.]])
    """
    a = checked("a", a)
    with np.errstate(all="ignore"):
        return _row_sums(a).astype(a.dtype, order="F")


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

    Examples
    --------
    >>> abs_row_sums(np.array([[3 + 4j, -1]], order="F"))
    array([[6.]])
    """
    a = checked("a", a)
    with np.errstate(all="ignore"):
        return _row_sums(a, np.abs).astype(a.real.dtype, order="F")


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


def abs_sizes(a: Matrix) -> tuple[Matrix, Matrix, Any]:
    """Return `abs_row_sums`, `abs_column_sums` and the largest absolute value, in one pass.

    Parameters
    ----------
    a
        (m, n) matrix. Never written.

    Returns
    -------
    Matrix
        (m, 1) matrix, real.
    Matrix
        (1, n) matrix, real.
    real number
        NaN if there is one; 0 for a matrix without entries.

    Examples
    --------
    >>> rows, columns, largest = abs_sizes(np.array([[3 + 4j, -1]], order="F"))
    >>> rows.item(), columns.tolist(), largest.item()
    (6.0, [[5.0, 1.0]], 5.0)
    """
    a = checked("a", a)
    real = a.real.dtype
    rows = np.zeros(a.shape[0], real)
    columns, largest = np.zeros((1, a.shape[1]), real, order="F"), real.type(0)
    with np.errstate(all="ignore"):
        for panel in columns_in_panels(a):
            sizes = np.abs(a[:, panel])
            # by BLAS, which adds along rows in two thirds of NumPy's time
            rows += sizes @ np.ones(sizes.shape[1], real)
            columns[0, panel] = np.ones(sizes.shape[0], real) @ sizes
            largest = np.maximum(largest, sizes.max(initial=0))
    return rows[:, np.newaxis], columns, largest


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

    Examples
    --------
    >>> max_abs(np.array([[3 + 4j, -1]], order="F"))
    array([[5.]])
    """
    a = checked("a", a)
    with np.errstate(all="ignore"):
        return _column(a.real.dtype, _largest(a[:, panel] for panel in columns_in_panels(a)))


def row_maxima(a: Matrix) -> Matrix:
    """Return the largest number of every row, or NaN if there is one; complex ones are ordered as in NumPy.

    Parameters
    ----------
    a
        (m, n) matrix, n > 0. Never written.

    Returns
    -------
    Matrix
        (m, 1) matrix of the dtype of `a`.

    Examples
    --------
    >>> row_maxima(np.array([[1.0, 2.0], [3.0, np.nan]], order="F"))
    array([[ 2.],
           [nan]])
    """
    return np.asfortranarray(checked("a", a).max(axis=1, keepdims=True))


def row_minima(a: Matrix) -> Matrix:
    """Return the smallest number of every row; otherwise as `row_maxima`.

    Examples
    --------
    >>> row_minima(np.array([[1.0, 2.0], [3.0, -4.0]], order="F"))
    array([[ 1.],
           [-4.]])
    """
    return np.asfortranarray(checked("a", a).min(axis=1, keepdims=True))


def sum_squares(a: Matrix) -> Matrix:
    """Return the sum of squares of absolute values as [scale, ssq], which stand for `scale² · ssq`.

    Parameters
    ----------
    a
        (m, n) matrix. Never written.

    Returns
    -------
    Matrix
        (2, 1) matrix, real. The scale is a power of two near the largest real or imaginary part, so that
        nothing over- or underflows, and scaling is exact; [0, 1] if all entries are zero, [inf, 1] or
        [nan, 1] if one is.

    Notes
    -----
    The representation is that of LAPACK's `?lassq`; the sums are pairwise, so more accurate.

    Examples
    --------
    >>> sum_squares(np.array([[3e200, 4e200]], order="F"))
    array([[3.06180207e+200],
           [2.66677137e+000]])
    """
    a = checked("a", a)
    real = a.real.dtype
    numbers = a.T.view(real).T  # real and imaginary parts below each other: (2m, n) if complex
    pieces = [numbers[:, panel] for panel in columns_in_panels(numbers)]
    with np.errstate(all="ignore"):
        largest = _largest(pieces)
        if not _divides(largest):
            return _column(real, largest, 1)
        exponent = np.frexp(largest)[1] - 1
        # Not below the least normal number, whose reciprocal is finite.
        scale = max(np.ldexp(real.type(1), exponent), np.finfo(real).tiny)
        return _column(real, scale, np.sum([_sum_of_squares(piece * (1 / scale)) for piece in pieces]))


def combine_sum_squares(parts: Matrix) -> Matrix:
    """Add sums of squares up.

    Parameters
    ----------
    parts
        (2, k) matrix, real: k results of `sum_squares` side by side.

    Returns
    -------
    Matrix
        (2, 1) matrix, as from `sum_squares`; [0, 1] for k = 0.

    Examples
    --------
    >>> combine_sum_squares(np.array([[1e200, 2e200], [1.0, 3.0]], order="F"))
    array([[2.00e+200],
           [3.25e+000]])
    """
    parts = _real(_pairs(parts))
    scales, squares = parts
    scale = scales.max(initial=0)
    if not _divides(scale):
        return _column(parts.dtype, scale, 1)
    with np.errstate(all="ignore"):
        return _column(parts.dtype, scale, (squares * np.square(scales / scale)).sum())


def norm_from_sum_squares(part: Matrix) -> Matrix:
    """Return the Frobenius norm, `scale · √ssq`.

    Parameters
    ----------
    part
        (2, 1) matrix, real, from `sum_squares` or `combine_sum_squares`.

    Returns
    -------
    Matrix
        (1, 1) matrix, real.

    Examples
    --------
    >>> norm_from_sum_squares(sum_squares(np.array([[3e200, 4e200]], order="F")))
    array([[5.e+200]])
    """
    part = _real(checked("part", part, shape=(2, 1)))
    with np.errstate(all="ignore"):
        return part[:1] * np.sqrt(part[1:])


def _row_sums(a: Matrix, of: Callable[[Matrix], Matrix] = np.positive) -> Matrix:
    """Return the sums of the rows of `of(a)`: halves are added, so the error grows as log n, not as n."""
    n = a.shape[1]
    if n > 1 and a.size > PANEL_ENTRIES:
        return _row_sums(a[:, : n // 2], of) + _row_sums(a[:, n // 2 :], of)
    sums = of(a)  # a panel, which stays in cache, and is folded
    while n > 1:
        n, folded = (n + 1) // 2, n // 2
        sums[:, :folded] += sums[:, n : n + folded]
    return sums[:, :1] if n else np.zeros((a.shape[0], 1), sums.dtype)


def _largest(pieces: Iterable[Matrix]) -> Any:
    # `max` of Python would lose a NaN that does not come first; the one of NumPy keeps it.
    return np.max([np.abs(piece).max(initial=0) for piece in pieces], initial=0)


def _sum_of_squares(scratch: Matrix) -> Any:
    return np.square(scratch, out=scratch).sum()


def _divides(scale: Any) -> bool:
    return bool(scale > 0 and np.isfinite(scale))


def _pairs(parts: Matrix) -> Matrix:
    parts = checked("parts", parts)
    if parts.shape[0] != 2:
        raise ValueError(f"parts must have two rows, but has shape {parts.shape}")
    return parts


def _real(parts: Matrix) -> Matrix:
    if parts.dtype.kind == "c":
        raise TypeError(f"sums of squares are real, but these have dtype {parts.dtype}")
    return parts


def _column(dtype: np.dtype[Any], *values: Any) -> Matrix:
    return np.array(values, dtype).reshape(-1, 1)
