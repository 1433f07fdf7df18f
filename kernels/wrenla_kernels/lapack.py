"""LAPACK kernels: Cholesky factor of a tile, LU factors of a panel, exchanges of rows."""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import byref, c_int
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from wrenla_kernels.blas3 import herk, library_gemm, split, trsm
from wrenla_kernels.choice import leaf_order_here
from wrenla_kernels.elementwise import keep_triangle
from wrenla_kernels.layout import Matrix, checked, checked_square, leading_dimension
from wrenla_kernels.pointers import flag, integer, lapack

__all__ = [
    "getrf",
    "laswp",
    "library_getrf",
    "library_potrf",
    "potrf",
    "recursive_getrf",
    "recursive_potrf",
]

# Halves of a recursion are cut at a multiple of this.
_BLOCK = 64

_Pivots: TypeAlias = npt.NDArray[np.int32]


def potrf(a: Matrix) -> int:
    """Replace a Hermitian matrix by its Cholesky factor: `a = L Lᴴ`.

    Parameters
    ----------
    a
        (n, n) matrix, overwritten. Its lower triangle is read, without the imaginary parts of the diagonal,
        and becomes L. The strict upper triangle is never read and becomes zero.

    Returns
    -------
    int
        0, or the order (from 1) of the first leading minor that is not positive definite; then `a` holds
        nothing of use. A NaN in the lower triangle stays in L, or is reported as such a minor.

    Raises
    ------
    TypeError
        If the dtype is none of float32, float64, complex64, complex128.
    ValueError
        If `a` is not square, not in Fortran order, or read-only.

    Notes
    -----
    LAPACK `?potrf`, on all of it or on diagonal blocks with `trsm` and `herk` between them: see `leaf_order`.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.array([[4.0, 9.0], [2.0, 5.0]], order="F")
    >>> potrf(a)
    0
    >>> a
    array([[2., 0.],
           [1., 2.]])
    >>> potrf(np.array([[1.0, 0.0], [2.0, 1.0]], order="F"))
    2
    """
    a = checked_square("a", a)
    n = a.shape[0]
    leaf = leaf_order_here("potrf", a.dtype, n, n)
    info = library_potrf(a) if leaf is None else recursive_potrf(a, leaf)
    keep_triangle(a, "L")
    return info


def getrf(a: Matrix) -> npt.NDArray[np.int64]:
    """Replace a matrix by its LU factors with partial pivoting: `P a = L U`.

    Parameters
    ----------
    a
        (m, n) matrix, overwritten: below the diagonal by L, whose diagonal of ones is not stored, and above
        by U.

    Returns
    -------
    ndarray of int64
        min(m, n) pivots, from 0: row k was exchanged with row ``piv[k] >= k``, k = 0 first, as
        `scipy.linalg.lu_factor` returns them. A zero on the diagonal of U is no error here.

    Raises
    ------
    TypeError
        If the dtype is none of float32, float64, complex64, complex128.
    ValueError
        If `a` is not in Fortran order, or read-only.

    Notes
    -----
    LAPACK `?getrf`, on all of it or on panels with `trsm` and `gemm` between them: see `leaf_order`. If all
    numbers are subnormal, or nearly, they are scaled for it.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.array([[1.0, 2.0], [2.0, 2.0]], order="F")
    >>> getrf(a)
    array([1, 1])
    >>> a
    array([[2. , 2. ],
           [0.5, 1. ]])
    """
    a = checked("a", a, writable=True)
    pivots = np.empty(min(a.shape), np.int32)
    leaf = leaf_order_here("getrf", a.dtype, min(a.shape), max(a.shape))
    c = _enlarging(a)
    if c != 1:
        a *= c
    if leaf is None:
        library_getrf(a, pivots)
    else:
        recursive_getrf(a, pivots, leaf)
    if c != 1:
        for j in range(a.shape[1]):  # L is that of the smaller matrix, too
            a[: j + 1, j] *= 1 / c
    return pivots.astype(np.int64) - 1


def _enlarging(a: Matrix) -> float:
    """Return a power of two by which a matrix of very small numbers is to be multiplied, else 1.

    By a subnormal pivot the library does not divide, and its factors are wrong. The error is of the pivot's
    size: it counts where all numbers are as small.
    """
    limits = np.finfo(a.dtype)
    bound, largest = float(limits.tiny / limits.eps), 0.0
    for part in (a[:, :1], a):  # nearly always the first column is enough to see that they are not
        largest = max((abs(end) for end in _ends(part)), default=0.0)
        if not largest < bound:
            return 1.0
    return float(2.0 ** -(limits.minexp // 2)) if largest else 1.0


def _ends(a: Matrix) -> Iterator[float]:
    """Yield the largest and the smallest of real and imaginary parts."""
    for part in (a.real, a.imag) if a.dtype.kind == "c" else (a,):
        if part.size:
            yield float(part.max())
            yield float(part.min())


def laswp(a: Matrix, pivots: npt.NDArray[np.int64], *, back: bool = False) -> None:
    """Exchange row k of a matrix with row `pivots[k]`, k = 0 first.

    Parameters
    ----------
    a
        (m, n) matrix, overwritten.
    pivots
        At most m integers from 0 to m − 1, as `getrf` returns them.
    back
        The last k first, which undoes it.

    Raises
    ------
    TypeError
        If the dtype is none of float32, float64, complex64, complex128.
    ValueError
        If `a` is not in Fortran order, or read-only; if there are too many pivots, or one is no row.

    Notes
    -----
    LAPACK `?laswp`.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.array([[1.0], [2.0], [3.0]], order="F")
    >>> laswp(a, np.array([2, 2]))
    >>> a
    array([[3.],
           [1.],
           [2.]])
    """
    a = checked("a", a, writable=True)
    m, n = a.shape
    if pivots.size > m or (pivots.size and not 0 <= pivots.min() <= pivots.max() < m):
        raise ValueError(f"{pivots.size} pivots for {m} rows, or some that are no rows")
    if pivots.size and n:
        _exchange(a, np.ascontiguousarray(pivots + 1, np.int32), back)


def recursive_potrf(a: Matrix, leaf: int) -> int:
    """Factor as `potrf`, unchecked and without the zeros: halves until LAPACK takes those of order `leaf`."""
    n = a.shape[0]
    if n <= leaf:
        return library_potrf(a)
    h = split(n, min(_BLOCK, leaf))
    a11, a21, a22 = a[:h, :h], a[h:, :h], a[h:, h:]
    info = recursive_potrf(a11, leaf)
    if info:
        return info
    trsm("R", a11, a21, uplo="L", op="C")  # L21 = A21 L11⁻ᴴ
    herk(-1, a21, "N", a22)  # A22 −= L21 L21ᴴ
    info = recursive_potrf(a22, leaf)
    return h + info if info else 0


def library_potrf(a: Matrix) -> int:
    """Factor as `potrf`, unchecked and without the zeros, by LAPACK's own."""
    n = a.shape[0]
    if n == 0:
        return 0
    info = c_int()
    lapack("potrf", a.dtype)(
        *(flag("L"), integer(n), a.ctypes.data, integer(leading_dimension(a)), byref(info))
    )
    return info.value


def recursive_getrf(a: Matrix, pivots: _Pivots, leaf: int) -> None:
    """Factor as `getrf`, unchecked, with pivots from 1: halves until LAPACK takes those of order `leaf`."""
    k = min(a.shape)
    if k <= leaf:
        library_getrf(a, pivots)
        return
    h = split(k, min(_BLOCK, leaf))
    left, right, first, later = a[:, :h], a[:, h:], pivots[:h], pivots[h:]
    recursive_getrf(left, first, leaf)  # P1 A[:, :h] = [L11; L21] U11
    _exchange(right, first)
    trsm("L", left[:h], right[:h], uplo="L", op="N", unit=True)  # U12 = L11⁻¹ A12
    library_gemm(-1, left[h:], "N", right[:h], "N", right[h:])  # A22 −= L21 U12
    recursive_getrf(right[h:], later, leaf)  # P2 A22 = L22 U22
    _exchange(left[h:], later)
    later += h


def library_getrf(a: Matrix, pivots: _Pivots) -> None:
    """Factor as `getrf`, unchecked, by LAPACK's own, with pivots from 1."""
    m, n = a.shape
    info = c_int()
    if m and n:
        lapack("getrf", a.dtype)(
            *(integer(m), integer(n), a.ctypes.data, integer(leading_dimension(a))),
            *(pivots.ctypes.data, byref(info)),
        )


def _exchange(a: Matrix, pivots: _Pivots, back: bool = False) -> None:
    """Exchange rows by pivots from 1."""
    lapack("laswp", a.dtype)(
        *(integer(a.shape[1]), a.ctypes.data, integer(leading_dimension(a)), integer(1)),
        *(integer(pivots.size), pivots.ctypes.data, integer(-1 if back else 1)),
    )
