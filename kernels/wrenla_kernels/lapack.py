"""LAPACK kernels: Cholesky factor of a tile, LU factors of a panel, exchanges of rows."""

from __future__ import annotations

from ctypes import byref, c_int

import numpy as np
import numpy.typing as npt

from wrenla_kernels.blas3 import herk, split, trsm
from wrenla_kernels.elementwise import keep_triangle
from wrenla_kernels.layout import Matrix, checked, checked_square, leading_dimension
from wrenla_kernels.pointers import flag, integer, lapack

__all__ = ["getrf", "laswp", "potrf"]

# Below this order OpenBLAS's own potrf is as fast; above, our trsm makes the difference.
_POTRF_LEAF = 256


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
    LAPACK `?potrf` on diagonal blocks of order 256, `trsm` and `herk` between them.

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
    info = _potrf(a)
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
    LAPACK `?getrf`.

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
    m, n = a.shape
    pivots, info = np.empty(min(m, n), np.int32), c_int()
    if pivots.size:
        lapack("getrf", a.dtype)(
            *(integer(m), integer(n), a.ctypes.data, integer(leading_dimension(a))),
            *(pivots.ctypes.data, byref(info)),
        )
    return pivots.astype(np.int64) - 1


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
        ones_based = np.ascontiguousarray(pivots + 1, np.int32)
        lapack("laswp", a.dtype)(
            *(integer(n), a.ctypes.data, integer(leading_dimension(a)), integer(1)),
            *(integer(pivots.size), ones_based.ctypes.data, integer(-1 if back else 1)),
        )


def _potrf(a: Matrix) -> int:
    n = a.shape[0]
    if n <= _POTRF_LEAF:
        return _potrf_leaf(a)
    h = split(n, _POTRF_LEAF)
    a11, a21, a22 = a[:h, :h], a[h:, :h], a[h:, h:]
    info = _potrf(a11)
    if info:
        return info
    trsm("R", a11, a21, uplo="L", op="C")  # L21 = A21 L11⁻ᴴ
    herk(-1, a21, "N", a22)  # A22 −= L21 L21ᴴ
    info = _potrf(a22)
    return h + info if info else 0


def _potrf_leaf(a: Matrix) -> int:
    n = a.shape[0]
    if n == 0:
        return 0
    info = c_int()
    lapack("potrf", a.dtype)(
        *(flag("L"), integer(n), a.ctypes.data, integer(leading_dimension(a)), byref(info))
    )
    return info.value
