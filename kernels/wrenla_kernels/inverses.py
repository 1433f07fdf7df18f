"""Inverses of a tile: of any matrix, and of a Hermitian or symmetric one."""

from __future__ import annotations

from ctypes import byref, c_int

import numpy as np

from wrenla_kernels.elementwise import mirror
from wrenla_kernels.lapack import getrf
from wrenla_kernels.layout import Matrix, checked_square, leading_dimension
from wrenla_kernels.pointers import flag, integer, lapack

__all__ = ["getri", "hetri"]

_BLOCK = 64
"""Columns that LAPACK is given room to work on at a time."""


def getri(a: Matrix) -> int:
    """Replace a matrix by its inverse.

    Parameters
    ----------
    a
        (n, n) matrix, overwritten.

    Returns
    -------
    int
        0, or the number (from 1) of the first pivot that is zero; then `a` holds nothing of use.

    Raises
    ------
    TypeError
        If the dtype is none of float32, float64, complex64, complex128.
    ValueError
        If `a` is not square, not in Fortran order, or read-only.

    Notes
    -----
    LAPACK `?getrf` and `?getri`.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.array([[1.0, 1.0], [1.0, 3.0]], order="F")
    >>> getri(a)
    0
    >>> a
    array([[ 1.5, -0.5],
           [-0.5,  0.5]])
    >>> getri(np.array([[1.0, 2.0], [0.0, 0.0]], order="F"))
    2
    """
    a = checked_square("a", a)
    n = a.shape[0]
    if not n:
        return 0
    pivots = (getrf(a) + 1).astype(np.int32)
    work, info = np.empty(_BLOCK * n, a.dtype), c_int()
    lapack("getri", a.dtype)(
        *(integer(n), a.ctypes.data, integer(leading_dimension(a)), pivots.ctypes.data),
        *(work.ctypes.data, integer(work.size), byref(info)),
    )
    return info.value


def hetri(a: Matrix, *, conjugate: bool = True) -> int:
    """Replace a Hermitian matrix by its inverse, which is exactly Hermitian.

    Parameters
    ----------
    a
        (n, n) matrix, overwritten. Its lower triangle is read.
    conjugate
        False: a symmetric matrix is meant, complex or not.

    Returns
    -------
    int
        0, or the number (from 1) of the first block of D that is singular; then `a` holds nothing of use.

    Raises
    ------
    TypeError
        If the dtype is none of float32, float64, complex64, complex128.
    ValueError
        If `a` is not square, not in Fortran order, or read-only.

    Notes
    -----
    LAPACK `?hetrf` and `?hetri`, or `?sytrf` and `?sytri`: by Bunch's and Kaufman's pivoting. The result is
    the inverse of a Hermitian matrix nearby; half of `getri`'s result, mirrored, is not.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.array([[1.0, 9.0], [1.0, -1.0]], order="F")
    >>> hetri(a)
    0
    >>> a
    array([[ 0.5,  0.5],
           [ 0.5, -0.5]])
    """
    a = checked_square("a", a)
    n = a.shape[0]
    if not n:
        return 0
    kind = "he" if conjugate else "sy"
    lower, order, stride = flag("L"), integer(n), integer(leading_dimension(a))
    pivots, work, info = np.empty(n, np.int32), np.empty(_BLOCK * n, a.dtype), c_int()
    lapack(f"{kind}trf", a.dtype)(
        *(lower, order, a.ctypes.data, stride, pivots.ctypes.data),
        *(work.ctypes.data, integer(work.size), byref(info)),
    )
    if info.value:
        return info.value
    lapack(f"{kind}tri", a.dtype)(
        *(lower, order, a.ctypes.data, stride, pivots.ctypes.data, work.ctypes.data, byref(info))
    )
    mirror(a, conjugate=conjugate)
    return info.value
