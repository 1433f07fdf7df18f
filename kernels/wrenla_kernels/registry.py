"""Every kernel by name, with what it costs: from this a plan knows how long a task takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from wrenla_kernels import blas3, elementwise, lapack, reductions

__all__ = ["KERNELS", "Flops", "Kernel", "flops"]

Flops: TypeAlias = Callable[[int, int, int], float]

# A complex multiplication and addition are 8 real operations against 2.
_COMPLEX_FACTOR = 4


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function on tiles.

    Attributes
    ----------
    name
        Its name.
    call
        The function.
    flops
        Operations in real arithmetic as a function of (m, n, k): shape of the output, or of the input of
        a reduction, and the inner dimension. For `trsm`, k is the order of the triangle.
    """

    name: str
    call: Callable[..., Any]
    flops: Flops


def _moves(m: int, n: int, k: int) -> float:
    return 0


def _entries(m: int, n: int, k: int) -> float:
    return m * n


def _diagonal(m: int, n: int, k: int) -> float:
    return min(m, n)


def _gemm(m: int, n: int, k: int) -> float:
    return 2 * m * n * k


def _herk(m: int, n: int, k: int) -> float:
    return n * (n + 1) * k


def _trsm(m: int, n: int, k: int) -> float:
    return m * n * k


def _potrf(m: int, n: int, k: int) -> float:
    return n**3 / 3 + n**2 / 2 + n / 6


_FLOPS: dict[Callable[..., Any], Flops] = {
    blas3.gemm: _gemm,
    blas3.herk: _herk,
    blas3.trsm: _trsm,
    lapack.potrf: _potrf,
    elementwise.add: _entries,
    elementwise.add_diagonal: _diagonal,
    elementwise.apply_op: _moves,
    elementwise.conjugate_transpose: _moves,
    elementwise.keep_triangle: _moves,
    elementwise.mirror: _moves,
    elementwise.scale: _entries,
    elementwise.scale_columns: _entries,
    elementwise.scale_rows: _entries,
    reductions.abs_column_sums: _entries,
    reductions.abs_row_sums: _entries,
    reductions.column_sums: _entries,
    reductions.combine_logdet: _entries,
    reductions.combine_sum_squares: _entries,
    reductions.diagonal: _moves,
    reductions.logdet_part: _diagonal,
    reductions.max_abs: _entries,
    reductions.norm_from_sum_squares: _entries,
    reductions.row_maxima: _entries,
    reductions.row_minima: _entries,
    reductions.row_sums: _entries,
    reductions.sum_squares: _entries,
}

KERNELS: dict[str, Kernel] = {
    call.__name__: Kernel(call.__name__, call, count) for call, count in _FLOPS.items()
}
"""All kernels by name."""


def flops(name: str, m: int, n: int, k: int, dtype: npt.DTypeLike) -> float:
    """Return how many real operations a kernel takes.

    Parameters
    ----------
    name
        A key of `KERNELS`.
    m, n, k
        As for `Kernel.flops`.
    dtype
        Of the tiles; complex ones count four times.

    Raises
    ------
    KeyError
        If there is no such kernel.

    Examples
    --------
    >>> flops("gemm", 10, 20, 30, "float64"), flops("gemm", 10, 20, 30, "complex128")
    (12000, 48000)
    """
    factor = _COMPLEX_FACTOR if np.dtype(dtype).kind == "c" else 1
    return factor * KERNELS[name].flops(m, n, k)
