"""What is done to the entries of a tile, in place.

Nothing here warns: inf and NaN come and go as in BLAS.
"""

from __future__ import annotations

import numpy as np

from wrenla_kernels.layout import Matrix, Op, Triangle, checked

__all__ = [
    "add",
    "add_diagonal",
    "apply_op",
    "conjugate_transpose",
    "keep_triangle",
    "mirror",
    "scale",
    "scale_columns",
    "scale_rows",
]

# A transpose reads along one side and writes along the other: squares of this order keep both in cache.
_BLOCK = 64


def add(a: Matrix, c: Matrix) -> None:
    """Add a tile to another: `c += a`.

    Parameters
    ----------
    a, c
        (m, n) matrices of one dtype; `c` is overwritten.

    Raises
    ------
    TypeError
        If the dtypes differ or are none of float32, float64, complex64, complex128.
    ValueError
        If the shapes differ, an argument is not in Fortran order, or `c` is read-only.

    Examples
    --------
    >>> c = np.array([[1.0], [2.0]], order="F")
    >>> add(c.copy(), c)
    >>> c
    array([[2.],
           [4.]])
    """
    c = checked("c", c, writable=True)
    a = checked("a", a, dtype=c.dtype, shape=c.shape)
    with np.errstate(all="ignore"):
        np.add(c, a, out=c)


def scale(alpha: complex, c: Matrix) -> None:
    """Multiply a tile by a number: `c *= alpha`.

    Parameters
    ----------
    alpha
        Number; real if the dtype is. It is rounded to the dtype first.
    c
        (m, n) matrix, overwritten. NaN times zero is NaN.

    Raises
    ------
    TypeError
        If `alpha` is complex and `c` is not, or the dtype is none of float32, float64, complex64, complex128.
    ValueError
        If `c` is not in Fortran order, or read-only.

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

    Raises
    ------
    TypeError
        If the dtypes differ or are none of float32, float64, complex64, complex128.
    ValueError
        If `w` has another length, an argument is not in Fortran order, or `c` is read-only.

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

    Raises
    ------
    TypeError
        If the dtypes differ or are none of float32, float64, complex64, complex128.
    ValueError
        If `w` has another length, an argument is not in Fortran order, or `c` is read-only.

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

    Raises
    ------
    TypeError
        If the dtypes differ or are none of float32, float64, complex64, complex128.
    ValueError
        If `op` is none of the four, the shape does not fit, an argument is not in Fortran order, or `out`
        is read-only.

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
    conjugate = op in ("C", "R") and a.dtype.kind == "c"
    write = np.conjugate if conjugate else np.positive
    if op in ("N", "R"):
        write(a, out=out)
        return
    for i in range(0, m, _BLOCK):
        for j in range(0, n, _BLOCK):
            write(a[j : j + _BLOCK, i : i + _BLOCK].T, out=out[i : i + _BLOCK, j : j + _BLOCK])


def conjugate_transpose(a: Matrix) -> Matrix:
    """Return the conjugate transpose as a new matrix in Fortran order.

    Parameters
    ----------
    a
        (m, n) matrix. Never written.

    Returns
    -------
    Matrix
        (n, m) matrix.

    Raises
    ------
    TypeError
        If the dtype is none of float32, float64, complex64, complex128.
    ValueError
        If `a` is not in Fortran order.

    Examples
    --------
    >>> conjugate_transpose(np.array([[1 + 2j], [3j]]))
    array([[1.-2.j, 0.-3.j]])
    """
    a = checked("a", a)
    out = np.empty(a.shape[::-1], a.dtype, order="F")
    apply_op(a, "C", out)
    return out


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

    Raises
    ------
    TypeError
        If the dtype is none of float32, float64, complex64, complex128.
    ValueError
        If `uplo` is neither, `c` is not in Fortran order, or read-only.

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
    for j in range(c.shape[1]):
        diagonal_row = j - offset
        if uplo == "L":
            c[: max(diagonal_row, 0), j] = 0
        else:
            c[max(diagonal_row + 1, 0) :, j] = 0
    if unit:
        _diagonal_view(c, offset)[:] = 1


def mirror(c: Matrix) -> None:
    """Make a matrix Hermitian from its lower triangle.

    Parameters
    ----------
    c
        (n, n) matrix. The strict upper triangle becomes the conjugate transpose of the strict lower one, and
        the diagonal becomes real.

    Raises
    ------
    TypeError
        If the dtype is none of float32, float64, complex64, complex128.
    ValueError
        If `c` is not square, not in Fortran order, or read-only.

    Examples
    --------
    >>> c = np.array([[1.0, 0.0], [2.0, 3.0]], order="F")
    >>> mirror(c)
    >>> c
    array([[1., 2.],
           [2., 3.]])
    """
    c = checked("c", c, writable=True)
    n = c.shape[0]
    if c.shape != (n, n):
        raise ValueError(f"c must be square, but has shape {c.shape}")
    above = np.triu(np.ones((_BLOCK, _BLOCK), dtype=bool), 1)
    for j in range(0, n, _BLOCK):
        columns = slice(j, min(j + _BLOCK, n))
        corner = c[columns, columns]
        np.copyto(corner, np.conjugate(corner.T), where=above[: corner.shape[0], : corner.shape[0]])
        for i in range(j + _BLOCK, n, _BLOCK):
            rows = slice(i, min(i + _BLOCK, n))
            np.conjugate(c[rows, columns].T, out=c[columns, rows])
    if c.dtype.kind == "c":
        _diagonal_view(c, 0).imag[:] = 0


def add_diagonal(value: complex, c: Matrix, offset: int = 0) -> None:
    """Add a number to a diagonal: `c[i, i + offset] += value`.

    Parameters
    ----------
    value
        Number; real if the dtype is.
    c
        (m, n) matrix, overwritten.
    offset
        Which diagonal, as in `numpy.diagonal`; one outside the matrix is empty.

    Raises
    ------
    TypeError
        If `value` is complex and `c` is not, or the dtype is none of float32, float64, complex64, complex128.
    ValueError
        If `c` is not in Fortran order, or read-only.

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
        _diagonal_view(c, offset)[:] += c.dtype.type(value)


def _diagonal_view(c: Matrix, offset: int) -> Matrix:
    """Return a diagonal as a 1-D view that can be written (NumPy's own is read-only)."""
    view = c.diagonal(offset)
    view.flags.writeable = True
    return view


def _vector(w: Matrix, c: Matrix, length: int) -> Matrix:
    w = checked("w", w, dtype=c.dtype)
    if w.shape not in ((length, 1), (1, length)):
        raise ValueError(f"w has shape {w.shape}, but must have {(length, 1)} or {(1, length)}")
    return w
