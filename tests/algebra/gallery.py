"""Test matrices of the literature, and the criteria by which results are judged.

Residuals are evaluated in extended precision, so that they are those of the result and not of the test.
A gate is an `assert r <= tol`, which NaN fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import scipy.linalg

from benchmarks.matrices import (
    exchange,
    foster,
    kac_murdock_szego,
    kahan,
    lehmer,
    minij,
    moler,
    pei,
    turned,
    unit_roundoff,
    wilkinson,
)

__all__ = [
    "exchange",
    "foster",
    "kac_murdock_szego",
    "kahan",
    "lehmer",
    "minij",
    "moler",
    "pei",
    "turned",
    "unit_roundoff",
    "wilkinson",
]
"""What is shared with the table of accuracy."""

Array: TypeAlias = npt.NDArray[Any]

DTYPES = ("float32", "float64", "complex64", "complex128")

ONE_REAL_ONE_COMPLEX = [
    pytest.param(dtype, marks=[pytest.mark.slow] if dtype in ("float32", "complex128") else [])
    for dtype in DTYPES
]
"""For tests in which precisions hardly differ: float64 and complex64 every day, the others are slow."""

TILINGS = (
    (1, 1),
    (1, 4),
    (2, 1),
    (3, 1),
    (5, 8),
    (8, 8),
    (16, 8),
    (24, 8),
    (21, 8),
    (33, 16),
    (40, 7),
    (50, 5),
)
"""Order and tile edge: single entries, n below a tile, N = 1, 2, 3 and more tiles a side, ragged ones."""

FEW_TILINGS = ((1, 4), (5, 8), (8, 8), (24, 8), (21, 5))
"""The same in short: n below a tile, one tile, three, five ragged ones."""

CHOLESKY_GATE, LU_GATE, SOLVE_GATE, ALARM = 30.0, 30.0, 16.0, 1.0
ALARM_FROM = 5
"""Order from which healthy errors are far below the alarm: they are divided by it."""


def wide(a: npt.ArrayLike) -> Array:
    """Return an array in extended precision."""
    array = np.asarray(a)
    return array.astype(np.clongdouble if array.dtype.kind == "c" else np.longdouble)


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng([20, 4, *seed])


def normal(shape: int | tuple[int, ...], dtype: str = "float64", seed: int = 0) -> Array:
    """Return independent standard normal numbers, complex ones if the dtype is."""
    source = rng(seed)
    values = source.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * source.standard_normal(shape)
    return values.astype(dtype)


# matrices


def with_eigenvalues(values: npt.ArrayLike, dtype: str, seed: int = 0) -> Array:
    """Return a Hermitian matrix with given eigenvalues and random eigenvectors."""
    values = np.asarray(values, np.float64)
    double = "complex128" if np.dtype(dtype).kind == "c" else "float64"
    q, _ = np.linalg.qr(normal((len(values), len(values)), double, seed))
    a = (q * values) @ q.conj().T
    return np.asarray((a + a.conj().T) / 2, dtype)


def ill_conditioned(n: int, dtype: str) -> Array:
    """κ = 0.01/u: as far from the identity as Cholesky must get."""
    return with_eigenvalues(np.geomspace(1, 100 * unit_roundoff(dtype), n), dtype)


def well_conditioned(n: int, dtype: str) -> Array:
    return with_eigenvalues(np.linspace(1, 3, n), dtype)


def hilbert(n: int, dtype: str = "float64") -> Array:
    return np.asarray(scipy.linalg.hilbert(n), dtype)


def fiedler(n: int, dtype: str = "float64") -> Array:
    i = np.arange(n)
    return np.abs(np.subtract.outer(i, i)).astype(dtype)


POSITIVE: dict[str, Callable[[int, str], Array]] = {
    "kappa 0.01/u": ill_conditioned,
    "well conditioned": well_conditioned,
    "Lehmer": lehmer,
    "minij": minij,
    "Pei": pei,
    "Kac-Murdock-Szego": kac_murdock_szego,
}


def orthogonal(n: int, dtype: str) -> Array:
    """Growth of pivots is largest here among the usual random matrices."""
    double = "complex128" if np.dtype(dtype).kind == "c" else "float64"
    return np.asarray(np.linalg.qr(normal((n, n), double, 6))[0], dtype)


def permutation(n: int, dtype: str) -> Array:
    return np.eye(n, dtype=dtype)[rng(8).permutation(n)]


def small_leading_block(n: int, dtype: str) -> Array:
    """Pivots in the diagonal tile would lose ten digits."""
    a = normal((n, n), dtype, 9)
    h = max(1, n // 2)
    a[:h, :h] *= 1e-12 if unit_roundoff(dtype) < 1e-10 else 1e-5
    return a


def graded(n: int, dtype: str) -> Array:
    """Rows of sizes from 1 to u, which are no reason to lose digits."""
    sizes = np.geomspace(1, unit_roundoff(dtype), n)[rng(10).permutation(n)]
    return np.asarray(normal((n, n), dtype, 10) * sizes[:, None], dtype)


def graded_columns(n: int, dtype: str) -> Array:
    sizes = np.geomspace(1, unit_roundoff(dtype), n)[rng(14).permutation(n)]
    return np.asarray(normal((n, n), dtype, 14) * sizes, dtype)


def zero_row_and_column(n: int, dtype: str, at: int) -> Array:
    a = well_conditioned(n, dtype)
    a[at], a[:, at] = 0, 0
    return a


def one_negative_eigenvalue(n: int, dtype: str) -> Array:
    return with_eigenvalues([*np.linspace(1, 2, n - 1), -0.5], dtype, seed=n)


def last_pivot_is_minus_one(n: int, dtype: str) -> Array:
    L = np.tril(np.ones((n, n)))
    signs = np.ones(n)
    signs[-1] = -1
    return turned((L * signs) @ L.T, dtype)  # small integers: every pivot is exact


def vandermonde(n: int, dtype: str) -> Array:
    points = np.exp(2j * np.pi * np.arange(n) / n) if np.dtype(dtype).kind == "c" else np.linspace(-1, 1, n)
    return np.asarray(np.vander(points), dtype)


def nearly_singular(n: int, dtype: str) -> Array:
    """κ = 0.01/u, not symmetric."""
    double = "complex128" if np.dtype(dtype).kind == "c" else "float64"
    q, _ = np.linalg.qr(normal((n, n), double, 11))
    r, _ = np.linalg.qr(normal((n, n), double, 12))
    return np.asarray((q * np.geomspace(1, 100 * unit_roundoff(dtype), n)) @ r, dtype)


GENERAL: dict[str, Callable[[int, str], Array]] = {
    "random": lambda n, dtype: normal((n, n), dtype, 7),
    "orthogonal": orthogonal,
    "permutation": permutation,
    "exchange": exchange,
    "small leading block": small_leading_block,
    "graded": graded,
    "Vandermonde": vandermonde,
    "nearly singular": nearly_singular,
    "Fiedler": lambda n, dtype: fiedler(n + 1, dtype)[1:, :-1],
    "indefinite": lambda n, dtype: with_eigenvalues(np.linspace(-1, 1, n + n % 2)[:n], dtype),
}


# criteria


def norm1(a: Array) -> float:
    return float(np.abs(a).sum(axis=0).max(initial=0))


def norm_inf(a: Array) -> float:
    return float(np.abs(a).sum(axis=1).max(initial=0))


def cholesky_error(a: Array, L: Array) -> float:
    """‖A − L Lᴴ‖₁ / (n ‖A‖₁ u); the lower triangle of A stands for the whole."""
    if not len(a):
        return 0.0
    u = unit_roundoff(L.dtype.name)
    lower = np.tril(wide(a))
    whole = lower + np.tril(lower, -1).conj().T
    L = wide(L)
    return norm1(whole - L @ L.conj().T) / (len(a) * norm1(whole) * u)


def lu_error(a: Array, lu: Array, piv: Array) -> float:
    """‖P A − L U‖₁ / (n ‖A‖₁ u), for n the larger side."""
    (m, n), k = a.shape, min(a.shape)
    exchanged = wide(a).copy()
    for row, other in enumerate(piv):
        exchanged[[row, other]] = exchanged[[other, row]]
    L, U = np.tril(wide(lu)[:, :k], -1) + np.eye(m, k), np.triu(wide(lu)[:k])
    error, size = norm1(exchanged - L @ U), norm1(wide(a)) * unit_roundoff(lu.dtype.name)
    return error / (max(m, n) * size) if error or np.isnan(error) else 0.0


def solve_error(a: Array, x: Array, b: Array, dtype: str | None = None) -> float:
    """‖A x − b‖∞ / (u (‖A‖∞ ‖x‖∞ + ‖b‖∞) n), by right-hand side; the largest one counts."""
    u = unit_roundoff(dtype or x.dtype.name)
    A, X, B = wide(a), wide(x.reshape(len(x), -1)), wide(b.reshape(len(b), -1))
    residual = np.abs(A @ X - B).max(axis=0, initial=0)
    size = norm_inf(A) * np.abs(X).max(axis=0, initial=0) + np.abs(B).max(axis=0, initial=0)
    return float((residual / (u * size * max(1, len(a)))).max(initial=0))


def matmul_error(c: Array, a: Array, b: Array, dtype: str | None = None) -> float:
    """Largest ‖C − A B‖ over 2u √(k+2) ‖A‖ ‖B‖, in the Frobenius norm: at most 3 is healthy."""
    u = unit_roundoff(dtype or c.dtype.name)
    exact = wide(a) @ wide(b)
    size = (
        2 * u * np.sqrt(a.shape[-1] + 2) * np.linalg.norm(wide(a).ravel()) * np.linalg.norm(wide(b).ravel())
    )
    error = float(np.linalg.norm((wide(c) - exact).ravel()))
    return error / float(size) if error or np.isnan(error) else 0.0


def agree(found: Any, expected: Any, scale: Any, dtype: Any) -> None:
    """Assert that shape and dtype are those of NumPy, and errors small beside the sum of absolute values."""
    assert np.shape(found) == np.shape(expected)
    assert np.asarray(found).dtype == dtype
    bound = 64 * unit_roundoff(np.dtype(dtype).name) * np.asarray(scale)
    assert (np.abs(found - expected) <= bound).all()
