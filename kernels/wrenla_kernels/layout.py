"""Array layouts that BLAS takes without a copy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "DTYPES",
    "PANEL_ENTRIES",
    "Matrix",
    "Op",
    "Triangle",
    "checked",
    "checked_square",
    "columns_in_panels",
    "leading_dimension",
]

Matrix: TypeAlias = npt.NDArray[Any]
"""A 2-D array of one of `DTYPES` whose columns are contiguous, any distance apart."""

Op: TypeAlias = Literal["N", "T", "C", "R"]
"""What is taken of a matrix: itself, its transpose, its conjugate transpose, its conjugate."""

Triangle: TypeAlias = Literal["L", "U"]

DTYPES = tuple(np.dtype(name) for name in ("float32", "float64", "complex64", "complex128"))

_LARGEST_INTEGER = 2**31 - 1
PANEL_ENTRIES = 2**15  # a quarter megabyte of float64: stays in the second-level cache


def checked(
    name: str,
    a: Matrix,
    *,
    dtype: np.dtype[Any] | None = None,
    shape: tuple[int, int] | None = None,
    writable: bool = False,
) -> Matrix:
    """Return `a` as a plain ndarray over the same memory, or raise.

    Parameters
    ----------
    name
        What the error calls it.
    a
        (m, n) array, Fortran order with any leading dimension.
    dtype, shape
        What it must have, if given.
    writable
        Whether it is an output.

    Raises
    ------
    TypeError
        If it is no ndarray, or has a dtype that BLAS does not know, or another one than `dtype`.
    ValueError
        If it is not 2-D, not in Fortran order, misaligned, of another shape, or an output that is read-only.

    Examples
    --------
    >>> checked("a", np.ones((2, 3)))
    Traceback (most recent call last):
    ValueError: a must be in Fortran order (columns contiguous), but its strides are (24, 8) bytes
    """
    if not isinstance(a, np.ndarray):
        raise TypeError(f"{name} must be an ndarray, not {type(a).__name__}")
    if a.dtype not in DTYPES:
        raise TypeError(f"{name} has dtype {a.dtype}, but must have one of {', '.join(map(str, DTYPES))}")
    if dtype is not None and a.dtype != dtype:
        raise TypeError(f"{name} has dtype {a.dtype}, but must have {dtype} as the other arguments do")
    if a.ndim != 2:
        raise ValueError(f"{name} must be 2-D, but has {a.ndim} dimensions")
    if shape is not None and a.shape != shape:
        raise ValueError(f"{name} has shape {a.shape}, but must have {shape}")
    flags = a.flags
    if writable and not flags.writeable:
        raise ValueError(f"{name} is written to, but is read-only")
    if not (flags.f_contiguous or _is_fortran(a)):
        raise ValueError(
            f"{name} must be in Fortran order (columns contiguous), but its strides are {a.strides} bytes"
        )
    if not flags.aligned:
        raise ValueError(f"{name} must be aligned to its {a.itemsize}-byte entries")
    rows, columns = a.shape
    if rows > _LARGEST_INTEGER or columns > _LARGEST_INTEGER or leading_dimension(a) > _LARGEST_INTEGER:
        raise ValueError(f"{name} is too large for BLAS, whose integers have 32 bits")
    # A memory map stays one when it is sliced, and that is slow: ten times an ndarray's slice.
    return a if type(a) is np.ndarray else a.view(np.ndarray)


def checked_square(name: str, a: Matrix) -> Matrix:
    """Return `a` as `checked` does if it is an output with as many rows as columns.

    Examples
    --------
    >>> checked_square("a", np.ones((2, 3), order="F"))
    Traceback (most recent call last):
    ValueError: a must be square, but has shape (2, 3)
    """
    a = checked(name, a, writable=True)
    if a.shape[0] != a.shape[1]:
        raise ValueError(f"{name} must be square, but has shape {a.shape}")
    return a


def _is_fortran(a: Matrix) -> bool:
    # NumPy's strides mean nothing along a dimension of one entry, nor in an array without entries.
    rows, columns = a.shape
    if rows == 0 or columns == 0:
        return True
    if rows > 1 and a.strides[0] != a.itemsize:
        return False
    return columns == 1 or (a.strides[1] >= rows * a.itemsize and a.strides[1] % a.itemsize == 0)


def leading_dimension(a: Matrix) -> int:
    """Return how many entries lie between the heads of two columns of a `checked` matrix.

    Examples
    --------
    >>> leading_dimension(np.zeros((8, 8), order="F")[:3, :2])
    8
    """
    rows, columns = a.shape
    distance = a.strides[1] // a.itemsize if rows > 0 and columns > 1 else max(1, rows)
    return int(distance)


def columns_in_panels(a: Matrix) -> Iterator[slice]:
    """Yield slices of columns such that one panel, and temporaries of its size, stay in cache.

    Examples
    --------
    >>> list(columns_in_panels(np.zeros((16_000, 5), order="F")))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    rows, columns = a.shape
    width = max(1, PANEL_ENTRIES // max(1, rows))
    for start in range(0, columns, width):
        yield slice(start, min(start + width, columns))
