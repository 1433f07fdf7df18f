"""Elementwise kernels, in place.

All take matrices in Fortran order of one of the dtypes float32, float64, complex64, complex128: they raise
TypeError for another dtype or for two different ones, and ValueError for another layout, for shapes that do
not fit, and for an output that is read-only. Nothing here warns: inf and NaN come and go as in BLAS.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from wrenla_kernels.layout import Matrix, Op, Triangle, checked, checked_square

__all__ = [
    "add_diagonal",
    "apply_op",
    "keep_triangle",
    "mirror",
    "scale",
    "scale_columns",
    "scale_rows",
]

# A transpose reads along one side and writes along the other: squares of this order keep both in cache.
_BLOCK = 64
# Near the diagonal entries are set one by one, elsewhere by columns: narrow panels have few of the former.
_PANEL = 32


def scale(alpha: complex, c: Matrix) -> None:
    """Multiply a tile by a number: `c *= alpha`.

    Parameters
    ----------
    alpha
        Number, rounded to the dtype of `c` first; TypeError if it is complex and `c` is not.
    c
        (m, n) matrix, overwritten. NaN times zero is NaN.

    Examples
    --------
    >>> c = np.array([[1.0], [2.0]], order="F")
    >>> scale(-1, c)
    >>> c
    array([[-1.],
           [-2.]])
    """
    c = checked("c", c, writable=True)
    with np.errstate(all="ignore"):
        np.multiply(c, c.dtype.type(alpha), out=c)


def scale_rows(w: Matrix, c: Matrix) -> None:
    """Multiply the rows of a tile by numbers: `c := diag(w) @ c`.

    Parameters
    ----------
    w
        (m, 1) or (1, m) matrix of the dtype of `c`.
    c
        (m, n) matrix, overwritten.

    Examples
    --------
    >>> c = np.ones((2, 2), order="F")
    >>> scale_rows(np.array([[2.0], [3.0]]), c)
    >>> c
    array([[2., 2.],
           [3., 3.]])
    """
    c = checked("c", c, writable=True)
    with np.errstate(all="ignore"):
        np.multiply(c, _vector(w, c, c.shape[0]).reshape(-1, 1), out=c)


def scale_columns(w: Matrix, c: Matrix) -> None:
    """Multiply the columns of a tile by numbers: `c := c @ diag(w)`.

    Parameters
    ----------
    w
        (n, 1) or (1, n) matrix of the dtype of `c`.
    c
        (m, n) matrix, overwritten.

    Examples
    --------
    >>> c = np.ones((2, 2), order="F")
    >>> scale_columns(np.array([[2.0], [3.0]]), c)
    >>> c
    array([[2., 3.],
           [2., 3.]])
    """
    c = checked("c", c, writable=True)
    with np.errstate(all="ignore"):
        np.multiply(c, _vector(w, c, c.shape[1]).reshape(1, -1), out=c)


def apply_op(a: Matrix, op: Op, out: Matrix) -> None:
    """Write a matrix, its transpose, its conjugate transpose or its conjugate elsewhere: `out := op(a)`.

    Parameters
    ----------
    a
        (m, n) matrix. Never written.
    op
        "N", "T", "C" or "R", as in `gemm`.
    out
        (m, n) matrix for "N" and "R", (n, m) for "T" and "C", overwritten. Must share no memory with `a`.

    Examples
    --------
    >>> out = np.empty((1, 2), order="F")
    >>> apply_op(np.array([[1.0], [2.0]]), "T", out)
    >>> out
    array([[1., 2.]])
    """
    a = checked("a", a)
    if op not in ("N", "T", "C", "R"):
        raise ValueError(f"op must be one of 'N', 'T', 'C', 'R', not {op!r}")
    m, n = a.shape if op in ("N", "R") else a.shape[::-1]
    out = checked("out", out, dtype=a.dtype, shape=(m, n), writable=True)
    if op == "N":
        np.copyto(out, a)
    elif op == "R":
        np.conjugate(a, out=out)
    else:
        _transpose(a, out, conjugate=op == "C")


def keep_triangle(c: Matrix, uplo: Triangle, offset: int = 0, unit: bool = False) -> None:
    """Set to zero what lies outside a triangle; NaN too.

    Parameters
    ----------
    c
        (m, n) matrix, overwritten.
    uplo
        Which triangle stays: "L" is what lies on and below the diagonal, "U" on and above it.
    offset
        Which diagonal bounds it: entries (i, i + offset), as in `numpy.tril`.
    unit
        Set that diagonal to ones.

    Examples
    --------
    >>> c = np.full((2, 2), 7.0, order="F")
    >>> keep_triangle(c, "L", unit=True)
    >>> c
    array([[1., 0.],
           [7., 1.]])
    """
    if uplo not in ("L", "U"):
        raise ValueError(f"uplo must be 'L' or 'U', not {uplo!r}")
    c = checked("c", c, writable=True)
    m, n = c.shape
    for j in range(0, n, _PANEL):
        # The diagonal enters this panel of columns in one row and leaves it in another.
        panel, entry = c[:, j : j + _PANEL], j - offset
        width = min(_PANEL, n - j)
        top, bottom = min(max(entry, 0), m), min(max(entry + width, 0), m)
        outside = panel[:top] if uplo == "L" else panel[bottom:]
        outside[...] = 0
        np.copyto(panel[top:bottom], 0, where=_outside(uplo, bottom - top, width, top - entry))
    if unit:
        c[_diagonal(c, offset)] = 1


def mirror(c: Matrix, *, conjugate: bool = True) -> None:
    """Make a matrix Hermitian from its lower triangle.

    Parameters
    ----------
    c
        (n, n) matrix. The strict upper triangle becomes the conjugate transpose of the strict lower one, and
        the diagonal becomes real.
    conjugate
        False: the upper triangle becomes the transpose of the lower one, and the diagonal stays.

    Examples
    --------
    >>> c = np.array([[1.0, 0.0], [2.0, 3.0]], order="F")
    >>> mirror(c)
    >>> c
    array([[1., 2.],
           [2., 3.]])
    """
    c = checked_square("c", c)
    n = c.shape[0]
    above = np.triu(np.ones((_BLOCK, _BLOCK), dtype=bool), 1)
    for j in range(0, n, _BLOCK):
        block = slice(j, j + _BLOCK)
        corner = c[block, block]
        across = np.conjugate(corner.T) if conjugate else corner.T.copy()
        np.copyto(corner, across, where=above[: corner.shape[0], : corner.shape[0]])
        _transpose(c[j + _BLOCK :, block], c[block, j + _BLOCK :], conjugate=conjugate)
    if conjugate:
        c[_diagonal(c, 0)] = c.diagonal().real


def add_diagonal(value: complex, c: Matrix, offset: int = 0) -> None:
    """Add a number to a diagonal: `c[i, i + offset] += value`.

    Parameters
    ----------
    value
        Number; TypeError if it is complex and `c` is not.
    c
        (m, n) matrix, overwritten.
    offset
        Which diagonal, as in `numpy.diagonal`; one outside the matrix is empty.

    Examples
    --------
    >>> c = np.zeros((2, 2), order="F")
    >>> add_diagonal(3, c)
    >>> c
    array([[3., 0.],
           [0., 3.]])
    """
    c = checked("c", c, writable=True)
    with np.errstate(all="ignore"):
        c[_diagonal(c, offset)] += c.dtype.type(value)


def _transpose(a: Matrix, out: Matrix, *, conjugate: bool) -> None:
    conjugate = conjugate and a.dtype.kind == "c"
    for i in range(0, out.shape[0], _BLOCK):
        for j in range(0, out.shape[1], _BLOCK):
            block = out[i : i + _BLOCK, j : j + _BLOCK]
            # Copying with a transpose and then conjugating is three times as fast as one ufunc.
            block[...] = a[j : j + _BLOCK, i : i + _BLOCK].T
            if conjugate:
                np.conjugate(block, out=block)


@lru_cache(maxsize=64)  # of all panels but the last it is the same, and takes longer than to use it
def _outside(uplo: Triangle, rows: int, columns: int, offset: int) -> npt.NDArray[np.bool_]:
    """Return which entries of a panel lie outside a triangle, in the order of the panel's memory."""
    if uplo == "L":
        return np.asfortranarray(~np.tri(rows, columns, offset, dtype=bool))
    return np.asfortranarray(np.tri(rows, columns, offset - 1, dtype=bool))


def _diagonal(c: Matrix, offset: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the row and column indices of a diagonal."""
    rows = np.arange(max(0, -offset), max(0, -offset, min(c.shape[0], c.shape[1] - offset)))
    return rows, rows + offset


def _vector(w: Matrix, c: Matrix, length: int) -> Matrix:
    w = checked("w", w, dtype=c.dtype)
    if w.shape not in ((length, 1), (1, length)):
        raise ValueError(f"w has shape {w.shape}, but must have {(length, 1)} or {(1, length)}")
    return w
