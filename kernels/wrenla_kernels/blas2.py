"""Products of a tile with a vector, in place and without the GIL."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wrenla_kernels.layout import Matrix, Op, checked, leading_dimension
from wrenla_kernels.pointers import blas, flag, integer, scalar

__all__ = ["gemv"]


def gemv(alpha: complex, a: Matrix, op: Op, x: npt.NDArray[np.generic], y: npt.NDArray[np.generic]) -> None:
    """Add a product to a vector: `y += alpha · op(a) @ x`.

    Parameters
    ----------
    alpha
        Number; real if the dtype is.
    a
        Matrix with op(a) of shape (m, n). Never written.
    op
        As in `gemm`; "R" copies a complex matrix.
    x
        (n,) array, contiguous. Never written.
    y
        (m,) array, contiguous, overwritten. Must share no memory with `a` and `x`.

    Raises
    ------
    TypeError
        If the dtypes differ or are none of float32, float64, complex64, complex128.
    ValueError
        If `a` is not in Fortran order, a vector is not contiguous, the shapes do not fit, or `y` is
        read-only.

    Notes
    -----
    BLAS `?gemv` with beta = 1. It reads `a` once, where `?gemm` would first copy it into its own order.

    Examples
    --------
    >>> y = np.ones(2)
    >>> gemv(10, np.array([[1.0, 2.0], [3.0, 4.0]], order="F"), "T", np.array([1.0, 0.0]), y)
    >>> y
    array([11., 21.])
    """
    a = checked("a", a)
    if op not in ("N", "T", "C", "R"):
        raise ValueError(f"op must be 'N', 'T', 'C' or 'R', not {op!r}")
    rows, columns = a.shape
    n, m = (columns, rows) if op in ("N", "R") else (rows, columns)
    for name, vector, length in (("x", x, n), ("y", y, m)):
        if vector.dtype != a.dtype:
            raise TypeError(f"{name} has dtype {vector.dtype}, but must have {a.dtype} as a does")
        if vector.shape != (length,):
            raise ValueError(f"{name} has shape {vector.shape}, but must have {(length,)}")
        if not (vector.flags.c_contiguous and vector.flags.aligned):
            raise ValueError(f"{name} must be contiguous and aligned")
    if not y.flags.writeable:
        raise ValueError("y is written to, but is read-only")
    if m == 0 or n == 0:
        return
    if op == "R":  # BLAS does not know it
        a, op = (np.conjugate(a, order="F") if a.dtype.kind == "c" else a), "N"
    blas("gemv", a.dtype)(
        *(flag(op), integer(a.shape[0]), integer(a.shape[1]), scalar(alpha, a.dtype)),
        *(a.ctypes.data, integer(leading_dimension(a)), x.ctypes.data, integer(1)),
        *(scalar(1, a.dtype), y.ctypes.data, integer(1)),
    )
