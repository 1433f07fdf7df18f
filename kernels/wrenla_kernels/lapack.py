"""LAPACK kernels: Cholesky factor of a tile."""

from __future__ import annotations

from ctypes import byref, c_int

from wrenla_kernels.blas3 import herk, split, trsm
from wrenla_kernels.elementwise import keep_triangle
from wrenla_kernels.layout import Matrix, checked_square, leading_dimension
from wrenla_kernels.pointers import flag, integer, lapack

__all__ = ["potrf"]

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
