"""Choice of kernels: the library's own routine, or our recursion on top of `gemm`.

OpenBLAS's AVX-512 kernels for triangles stay below its `gemm`, so that a recursion wins; its AVX2 kernels do
not. The core type, the dtype and the size alone decide, since the choice changes the last bits of a result:
the record of a run names the core type.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeAlias

import numpy as np

from wrenla_kernels.threads import scipy_blas_info

__all__ = ["Kernel", "leaf_order", "leaf_order_here"]

Kernel: TypeAlias = Literal["getrf", "potrf", "trsm left", "trsm right"]


@dataclass(frozen=True, slots=True)
class _Recursion:
    """A recursion, from an order and a width on, down to leaves of an order; None for the library again."""

    order: int
    width: int
    leaf: int | None


# Measured by `python -m benchmarks kernels`, and at sizes between: one thread, OpenBLAS 0.3.31 of SciPy 1.18,
# its SkylakeX and its Haswell kernels on an AMD EPYC with AVX-512, 2026-11-29. The last row that fits holds.
# All else is left to the library: complex128, other core types (Sandybridge's gained nothing), other
# libraries, and few right-hand sides, for which BLAS's trsm was up to four times as fast.
_RECURSIONS: dict[tuple[str, Kernel, str], tuple[_Recursion, ...]] = {
    ("skylakex", "trsm left", "float32"): (_Recursion(256, 192, 128),),
    ("skylakex", "trsm right", "float32"): (_Recursion(256, 192, 128),),
    ("skylakex", "trsm left", "float64"): (
        _Recursion(256, 192, 128),
        _Recursion(768, 192, 64),
        _Recursion(1536, 0, None),
    ),
    ("skylakex", "trsm right", "float64"): (_Recursion(256, 192, 128), _Recursion(768, 192, 64)),
    ("skylakex", "trsm left", "complex64"): (_Recursion(256, 256, 64),),
    ("skylakex", "trsm right", "complex64"): (_Recursion(256, 256, 64),),
    ("skylakex", "potrf", "float32"): (_Recursion(1025, 0, 1024),),
    ("skylakex", "potrf", "float64"): (_Recursion(1025, 0, 1024),),
    ("skylakex", "potrf", "complex64"): (_Recursion(641, 0, 640), _Recursion(1792, 0, None)),
    ("skylakex", "getrf", "float32"): (_Recursion(896, 0, 512),),
    ("haswell", "trsm left", "complex64"): (_Recursion(256, 256, 128), _Recursion(512, 0, None)),
    ("haswell", "trsm right", "complex64"): (_Recursion(256, 256, 128), _Recursion(512, 0, None)),
    ("haswell", "getrf", "float32"): (_Recursion(448, 0, 384),),
}


def leaf_order(kernel: Kernel, core: str | None, dtype: np.dtype[Any], order: int, width: int) -> int | None:
    """Return the order of the leaves that a recursion leaves to the library.

    Parameters
    ----------
    kernel
        "getrf", "potrf", or trsm with the triangle on the "trsm left" or "trsm right".
    core
        Core type as OpenBLAS names it, in any case; None with another library.
    dtype
        One of the four of tiles.
    order
        Order of the triangle; for getrf, the lesser of rows and columns.
    width
        Right-hand sides of trsm; the greater of rows and columns otherwise.

    Returns
    -------
    int or None
        None if the library's own routine does it all.

    Examples
    --------
    >>> leaf_order("trsm left", "SkylakeX", np.dtype("float32"), 1000, 1000)
    128
    >>> leaf_order("trsm left", "Haswell", np.dtype("float32"), 1000, 1000) is None
    True
    """
    leaf: int | None = None
    for row in _rows(kernel, core, dtype):
        if order >= row.order and width >= row.width:
            leaf = row.leaf
    return leaf


def leaf_order_here(kernel: Kernel, dtype: np.dtype[Any], order: int, width: int) -> int | None:
    """Return `leaf_order` with the core type of SciPy's OpenBLAS.

    Examples
    --------
    >>> leaf_order_here("potrf", np.dtype("float64"), 10, 10) is None
    True
    """
    return leaf_order(kernel, _core(), dtype, order, width)


@cache  # the name of a dtype takes longer than all the rest
def _rows(kernel: Kernel, core: str | None, dtype: np.dtype[Any]) -> tuple[_Recursion, ...]:
    return _RECURSIONS.get(((core or "").lower(), kernel, dtype.name), ())


@cache
def _core() -> str | None:
    # OpenBLAS chooses once, as it is loaded. BLIS has core types of the same names, and other kernels.
    info = scipy_blas_info()
    return info.architecture if info.internal_api == "openblas" else None
