"""Products, rank-k updates and triangular solves of tiles, in place and without the GIL."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from wrenla_kernels.choice import leaf_order_here
from wrenla_kernels.layout import Matrix, Op, Triangle, checked, leading_dimension
from wrenla_kernels.pointers import blas, flag, integer, scalar

__all__ = [
    "Op",
    "Side",
    "Triangle",
    "gemm",
    "herk",
    "library_gemm",
    "library_trsm",
    "recursive_trsm",
    "split",
    "trsm",
]

Side: TypeAlias = Literal["L", "R"]

_OPS = ("N", "T", "C", "R")


def gemm(alpha: complex, a: Matrix, op_a: Op, b: Matrix, op_b: Op, c: Matrix) -> None:
    """Add a product to a tile: `c += alpha · op(a) @ op(b)`.

    Parameters
    ----------
    alpha
        Number; real if the dtype is.
    a, b
        Matrices with op(a) of shape (m, k) and op(b) of shape (k, n). Never written.
    op_a, op_b
        "N" for the matrix, "T" for its transpose, "C" for its conjugate transpose, "R" for its conjugate.
        BLAS does not know "R": complex matrices are copied for it.
    c
        (m, n) matrix, overwritten. Must share no memory with `a` and `b`.

    Raises
    ------
    TypeError
        If the dtypes differ or are none of float32, float64, complex64, complex128.
    ValueError
        If an argument is not in Fortran order, the shapes do not fit, or `c` is read-only.

    Notes
    -----
    BLAS `?gemm` with beta = 1.

    Examples
    --------
    >>> a = np.array([[1.0, 2.0], [3.0, 4.0]], order="F")
    >>> c = np.ones((2, 2), order="F")
    >>> gemm(10, a, "N", a, "T", c)
    >>> c
    array([[ 51., 111.],
           [111., 251.]])
    """
    a, b = checked("a", a), checked("b", b, dtype=a.dtype)
    m, k = _shape_of("op_a", op_a, a)
    k_of_b, n = _shape_of("op_b", op_b, b)
    if k != k_of_b:
        raise ValueError(f"op(a) has {k} columns, but op(b) has {k_of_b} rows")
    c = checked("c", c, dtype=a.dtype, shape=(m, n), writable=True)
    a, op_a = _without_conjugate(a, op_a)
    b, op_b = _without_conjugate(b, op_b)
    library_gemm(alpha, a, op_a, b, op_b, c)


def herk(alpha: float, a: Matrix, op: Literal["N", "C"], c: Matrix) -> None:
    """Add a Hermitian product to the lower triangle of a tile: `c += alpha · op(a) @ op(a)ᴴ`.

    Parameters
    ----------
    alpha
        Real number.
    a
        (n, k) matrix if `op` is "N", (k, n) matrix if it is "C". Never written.
    op
        "N" for `a @ aᴴ`, "C" for `aᴴ @ a`.
    c
        (n, n) matrix whose lower triangle is overwritten; the rest is neither read nor written. Imaginary
        parts on the diagonal count as zero. Must share no memory with `a`.

    Raises
    ------
    TypeError
        If the dtypes differ or are none of float32, float64, complex64, complex128; if `alpha` is complex.
    ValueError
        If an argument is not in Fortran order, the shapes do not fit, or `c` is read-only.

    Notes
    -----
    BLAS `?herk`, or `?syrk` for real types, with beta = 1.

    Examples
    --------
    >>> a = np.array([[1.0], [2.0]], order="F")
    >>> c = np.zeros((2, 2), order="F")
    >>> herk(1, a, "N", c)
    >>> c
    array([[1., 0.],
           [2., 4.]])
    """
    a = checked("a", a)
    if op not in ("N", "C"):
        raise ValueError(f"op must be 'N' or 'C', not {op!r}")
    n, k = _shape_of("op", op, a)
    c = checked("c", c, dtype=a.dtype, shape=(n, n), writable=True)
    if n == 0 or k == 0:
        return
    real = np.dtype(a.real.dtype)
    blas("herk", a.dtype)(
        *(flag("L"), flag(op), integer(n), integer(k)),
        *(scalar(alpha, real), a.ctypes.data, integer(leading_dimension(a))),
        *(scalar(1, real), c.ctypes.data, integer(leading_dimension(c))),
    )


def trsm(side: Side, t: Matrix, b: Matrix, *, uplo: Triangle, op: Op, unit: bool = False) -> None:
    """Solve with a triangle: `b := op(t)⁻¹ b`, or `b := b op(t)⁻¹`.

    Parameters
    ----------
    side
        "L" if the triangle stands left of the unknown, "R" if it stands right of it.
    t
        (m, m) matrix for "L", (n, n) matrix for "R". Never written, and read in its `uplo` triangle only.
    b
        (m, n) matrix, overwritten by the solution. Must share no memory with `t`.
    uplo
        Which triangle of `t` is meant, "L" or "U".
    op
        As in `gemm`; "R" copies a complex triangle.
    unit
        Take the diagonal as ones and do not read it.

    Raises
    ------
    TypeError
        If the dtypes differ or are none of float32, float64, complex64, complex128.
    ValueError
        If an argument is not in Fortran order, the shapes do not fit, or `b` is read-only.

    Notes
    -----
    BLAS `?trsm`, on all of it or on diagonal blocks with `?gemm` between them: see `leaf_order`. As there, a
    zero on the diagonal is not looked for: it gives inf and NaN. Where an entry of the diagonal is subnormal,
    a copy of `t` is made, and its equation scaled: the library multiplies by reciprocals, which overflow.

    Examples
    --------
    >>> t = np.array([[2.0, 7.0], [1.0, 4.0]], order="F")
    >>> b = np.array([[2.0], [9.0]], order="F")
    >>> trsm("L", t, b, uplo="L", op="N")
    >>> b
    array([[1.],
           [2.]])
    """
    if side not in ("L", "R"):
        raise ValueError(f"side must be 'L' or 'R', not {side!r}")
    if uplo not in ("L", "U"):
        raise ValueError(f"uplo must be 'L' or 'U', not {uplo!r}")
    b = checked("b", b, writable=True)
    order, width = b.shape if side == "L" else b.shape[::-1]
    t = checked("t", t, dtype=b.dtype, shape=(order, order))
    _shape_of("op", op, t)
    t, op = _without_conjugate(t, op)
    if not b.size:
        return
    if not unit:
        t = _without_subnormals(t, b, side, rows=(side == "L") == (op == "N"))
    leaf = leaf_order_here("trsm left" if side == "L" else "trsm right", b.dtype, order, width)
    if leaf is None:
        library_trsm(side, t, b, uplo, op, unit)
    else:
        recursive_trsm(side, t, b, uplo, op, unit, leaf)


def _without_subnormals(t: Matrix, b: Matrix, side: Side, rows: bool) -> Matrix:
    """Scale the equations whose entry on the diagonal is subnormal, in `b` and in a copy of `t`.

    They are `rows` of t, or columns, and rows of b for "L". Powers of two round nothing.
    """
    diagonal, limits = t.diagonal(), np.finfo(t.dtype)
    sizes = abs(diagonal.real)
    if t.dtype.kind == "c":
        sizes = np.maximum(sizes, abs(diagonal.imag))
    below = sizes < limits.tiny
    if not below.any():
        return t
    small = np.flatnonzero(below & (sizes > 0))
    t = t.copy(order="F")
    c = 2.0 ** (limits.nmant + 2)
    with np.errstate(all="ignore"):  # what overflows is a solution that does
        t[small if rows else (slice(None), small)] *= c
        b[small if side == "L" else (slice(None), small)] *= c
    return t


def split(n: int, block: int) -> int:
    """Return where a triangle of order `n > block` is cut in two: about the middle, at a multiple of `block`.

    Examples
    --------
    >>> split(1000, 64)
    512
    """
    return block * -(-n // (2 * block))


def recursive_trsm(side: Side, t: Matrix, b: Matrix, uplo: Triangle, op: Op, unit: bool, leaf: int) -> None:
    """Solve as `trsm`, unchecked: triangles of order `leaf` by the library, the rest by `gemm`."""
    n = t.shape[0]
    if n <= leaf:
        library_trsm(side, t, b, uplo, op, unit)
        return
    h = split(n, leaf)
    coupling = t[h:, :h] if uplo == "L" else t[:h, h:]
    head = (t[:h, :h], b[:h] if side == "L" else b[:, :h])
    tail = (t[h:, h:], b[h:] if side == "L" else b[:, h:])
    lower = (uplo == "L") == (op == "N")
    # op(t) x = b with a lower triangle goes forwards, with an upper one backwards; x op(t) = b the other way.
    (t1, b1), (t2, b2) = (head, tail) if lower == (side == "L") else (tail, head)
    recursive_trsm(side, t1, b1, uplo, op, unit, leaf)
    if side == "L":
        library_gemm(-1, coupling, op, b1, "N", b2)  # b2 −= op(coupling) x1
    else:
        library_gemm(-1, b1, "N", coupling, op, b2)  # b2 −= x1 op(coupling)
    recursive_trsm(side, t2, b2, uplo, op, unit, leaf)


def library_trsm(side: Side, t: Matrix, b: Matrix, uplo: Triangle, op: Op, unit: bool) -> None:
    """Solve as `trsm`, unchecked, by BLAS's own."""
    m, n = b.shape
    blas("trsm", b.dtype)(
        *(flag(side), flag(uplo), flag(op), flag("U" if unit else "N"), integer(m), integer(n)),
        *(scalar(1, b.dtype), t.ctypes.data, integer(leading_dimension(t))),
        *(b.ctypes.data, integer(leading_dimension(b))),
    )


def library_gemm(alpha: complex, a: Matrix, op_a: Op, b: Matrix, op_b: Op, c: Matrix) -> None:
    """Add a product as `gemm`, unchecked, and without "R"."""
    m, n = c.shape
    k = a.shape[1] if op_a == "N" else a.shape[0]
    if m == 0 or n == 0 or k == 0:
        return
    blas("gemm", c.dtype)(
        *(flag(op_a), flag(op_b), integer(m), integer(n), integer(k)),
        *(scalar(alpha, c.dtype), a.ctypes.data, integer(leading_dimension(a))),
        *(b.ctypes.data, integer(leading_dimension(b))),
        *(scalar(1, c.dtype), c.ctypes.data, integer(leading_dimension(c))),
    )


def _shape_of(name: str, op: Op, a: Matrix) -> tuple[int, int]:
    if op not in _OPS:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, _OPS))}, not {op!r}")
    rows, columns = a.shape
    return (rows, columns) if op in ("N", "R") else (columns, rows)


def _without_conjugate(a: Matrix, op: Op) -> tuple[Matrix, Op]:
    """Return a matrix and an operation that BLAS knows for the same thing."""
    if op != "R":
        return a, op
    return (np.conjugate(a, order="F") if a.dtype.kind == "c" else a), "N"
