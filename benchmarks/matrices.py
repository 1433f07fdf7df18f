"""Test matrices of the literature, by order and dtype, and the table of accuracy's among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.linalg

__all__ = [
    "CASES",
    "Array",
    "Case",
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

Array: TypeAlias = npt.NDArray[Any]

_N = 600
_ALL = ("float64", "float32", "complex64", "complex128")
_REAL, _DOUBLE = ("float64", "float32"), ("float64", "complex128")


@dataclass(frozen=True)
class Case:
    """A matrix, in which dtypes it is solved with, and what a user would say of it."""

    name: str
    make: Callable[[int, str], Array]
    n: int = _N
    dtypes: tuple[str, ...] = ("float64",)
    assume_a: str | None = None


def unit_roundoff(dtype: str) -> float:
    return float(np.finfo(dtype).eps) / 2


def _is_complex(dtype: str) -> bool:
    return np.dtype(dtype).kind == "c"


def _normal(n: int, dtype: str, seed: int) -> Array:
    """Return independent standard normal numbers, complex ones if the dtype is, in double precision."""
    source = np.random.default_rng(seed)
    values = source.standard_normal((n, n))
    return values + 1j * source.standard_normal((n, n)) if _is_complex(dtype) else values


def _unitary(n: int, dtype: str, seed: int) -> Array:
    return np.asarray(np.linalg.qr(_normal(n, dtype, seed))[0])


def turned(a: Array, dtype: str) -> Array:
    """Give a real matrix complex phases if the dtype is complex: D A Dᴴ has the minors of A."""
    if not _is_complex(dtype):
        return a.astype(dtype)
    phases = np.exp(1j * np.arange(len(a)))
    result = (phases[:, None] * a * phases.conj()).astype(dtype)
    result[np.diag_indices_from(result)] = a.diagonal()
    return np.asarray(result)


def _hermitian(eigenvalues: Array, dtype: str) -> Array:
    q = _unitary(len(eigenvalues), dtype, 1)
    a = (q * eigenvalues) @ q.conj().T
    return np.asarray((a + a.conj().T) / 2, dtype)


# general ones


def _random(n: int, dtype: str) -> Array:
    return _normal(n, dtype, 2).astype(dtype)


def _orthogonal(n: int, dtype: str) -> Array:
    return _unitary(n, dtype, 3).astype(dtype)


def _permutation(n: int, dtype: str) -> Array:
    return np.eye(n, dtype=dtype)[np.random.default_rng(4).permutation(n)]


def exchange(n: int, dtype: str) -> Array:
    """[[0, I], [I, 0]]: no pivot is in the diagonal tile."""
    return np.roll(np.eye(n, dtype=dtype), n // 2, axis=0)


def _small_leading_block(n: int, dtype: str) -> Array:
    """Pivots of the first tile would lose twelve digits."""
    a = _normal(n, dtype, 5)
    a[: n // 6, : n // 6] *= 1e-12
    return a.astype(dtype)


def _small_leading_rows_and_columns(n: int, dtype: str) -> Array:
    """D A D for a diagonal D, which needs no pivots elsewhere, but looks ill-conditioned."""
    a = _normal(n, dtype, 5)
    a[: n // 6] *= 1e-12
    a[:, : n // 6] *= 1e-12
    return a.astype(dtype)


def _zero_row_and_column(n: int, dtype: str) -> Array:
    a = _normal(n, dtype, 10)
    a[n // 2], a[:, n // 2] = 0, 0
    return a.astype(dtype)


def wilkinson(n: int, dtype: str, multiplier: float = 1.0) -> Array:
    """Partial pivoting exchanges no row, and the last column grows to (1 + multiplier)ⁿ⁻¹; condition n."""
    a = np.eye(n) - np.tril(np.full((n, n), multiplier), -1)
    a[:, -1] = 1
    if _is_complex(dtype):
        a = a * np.exp(1j * np.arange(n))  # |re| + |im| decides on a pivot: all of a column have one phase
    return np.asarray(a, dtype)


def _wilkinson_of_growth_60(n: int, dtype: str) -> Array:
    """Between the identity and Wilkinson's matrix: its growth is 2⁶⁰ whatever its order."""
    return wilkinson(n, dtype, 2 ** (60 / (n - 1)) - 1)


def foster(n: int, dtype: str, length: float = 40.0) -> Array:
    """A Volterra equation by the trapezoidal rule (Foster 1994, k = c = 1): growth e⁴⁰ on [0, 40]."""
    h = length / (n - 1)
    a = np.tril(np.full((n, n), -h), -1)
    a[1:, 0] = -h / 2
    a[np.diag_indices(n)] = 1 - h / 2
    a[0, 0] = 1
    a[:, -1] -= 1
    return turned(a, dtype)


def _vandermonde(n: int, dtype: str) -> Array:
    """Its real points are equispaced in [−1, 1], its complex ones on half a circle."""
    points = np.exp(1j * np.pi * np.arange(n) / n) if _is_complex(dtype) else np.linspace(-1, 1, n)
    return np.vander(points).astype(dtype)


def _graded_rows(n: int, dtype: str) -> Array:
    sizes = np.random.default_rng(6).permutation(np.geomspace(1, unit_roundoff(dtype), n))
    return (sizes[:, None] * _normal(n, dtype, 6)).astype(dtype)


def _graded_columns(n: int, dtype: str) -> Array:
    sizes = np.random.default_rng(7).permutation(np.geomspace(1, unit_roundoff(dtype), n))
    return np.asarray(_normal(n, dtype, 7) * sizes, dtype)


def _nearly_singular(n: int, dtype: str) -> Array:
    sizes = np.geomspace(1, 100 * unit_roundoff(dtype), n)
    return ((_unitary(n, dtype, 8) * sizes) @ _unitary(n, dtype, 9)).astype(dtype)


def _hilbert(n: int, dtype: str) -> Array:
    return turned(scipy.linalg.hilbert(n), dtype)


def kahan(n: int, dtype: str, angle: float = 1.2) -> Array:
    s, c = np.sin(angle), np.cos(angle)
    return turned((s ** np.arange(n))[:, None] * (np.eye(n) - c * np.triu(np.ones((n, n)), 1)), dtype)


def _indefinite(n: int, dtype: str) -> Array:
    return _hermitian(np.linspace(-1, 1, n), dtype)


# positive definite ones


def _ill_conditioned(n: int, dtype: str) -> Array:
    return _hermitian(np.geomspace(1, 100 * unit_roundoff(dtype), n), dtype)


def lehmer(n: int, dtype: str) -> Array:
    i = np.arange(1, n + 1)
    return turned(np.minimum.outer(i, i) / np.maximum.outer(i, i), dtype)


def minij(n: int, dtype: str) -> Array:
    i = np.arange(1.0, n + 1)
    return turned(np.minimum.outer(i, i), dtype)


def pei(n: int, dtype: str) -> Array:
    return turned(np.ones((n, n)) + np.eye(n), dtype)


def moler(n: int, dtype: str) -> Array:
    """Mᵀ M for the unit upper triangular M of −1."""
    i = np.arange(n)
    a = np.minimum.outer(i, i) - 1.0
    a[np.diag_indices(n)] = i + 1.0
    return turned(a, dtype)


def kac_murdock_szego(n: int, dtype: str) -> Array:
    return turned(scipy.linalg.toeplitz(0.5 ** np.arange(n)), dtype)


def _scaled(power: float) -> Callable[[int, str], Array]:
    """Return a well-conditioned matrix times a power of the largest number."""

    def make(n: int, dtype: str) -> Array:
        scale = float(np.finfo(dtype).max) ** power
        return _times(_hermitian(np.linspace(1, 3, n), dtype), scale)

    return make


def _scaled_1e_10(n: int, dtype: str) -> Array:
    return _times(_hermitian(np.linspace(1, 3, n), dtype), 1e-10)


def _times(a: Array, scale: float) -> Array:
    return np.asarray(a * a.real.dtype.type(scale))


CASES = (
    Case("random", _random, dtypes=_ALL),
    Case("orthogonal", _orthogonal, dtypes=_ALL),
    Case("permutation", _permutation, dtypes=_REAL),
    Case("exchange [[0, I], [I, 0]]", exchange, dtypes=("float64", "complex64")),
    Case("leading block × 1e-12", _small_leading_block, dtypes=_ALL),
    Case("leading rows and columns × 1e-12", _small_leading_rows_and_columns, dtypes=_DOUBLE),
    Case("Wilkinson, growth 2^599", wilkinson),
    Case("Wilkinson, growth 2^59", wilkinson, n=60, dtypes=_ALL),
    Case("Wilkinson, growth 2^39", wilkinson, n=40),
    Case("between I and Wilkinson, growth 2^60", _wilkinson_of_growth_60, dtypes=_DOUBLE),
    Case("Foster, growth e^40", foster, dtypes=_DOUBLE),
    Case("Vandermonde", _vandermonde, dtypes=_DOUBLE),
    Case("graded rows", _graded_rows, dtypes=_REAL),
    Case("graded columns", _graded_columns, dtypes=_REAL),
    Case("nearly singular, κ = 0.01/u", _nearly_singular, dtypes=_ALL),
    Case("Hilbert", _hilbert),
    Case("Kahan", kahan),
    Case("Hermitian, indefinite", _indefinite, dtypes=_ALL),
    Case("zero row and column", _zero_row_and_column),
    Case("positive definite, κ = 0.01/u", _ill_conditioned, dtypes=_ALL, assume_a="pos"),
    Case("Hilbert", _hilbert, n=11, assume_a="pos"),
    Case("Hilbert", _hilbert, n=16, assume_a="pos"),
    Case("Lehmer", lehmer, dtypes=_DOUBLE, assume_a="pos"),
    Case("minij", minij, dtypes=_REAL, assume_a="pos"),
    Case("Pei", pei, assume_a="pos"),
    Case("Moler", moler, n=300, assume_a="pos"),
    Case("Kac-Murdock-Szegő", kac_murdock_szego, dtypes=("float64", "complex64"), assume_a="pos"),
    Case("positive definite × 1e-10", _scaled_1e_10, dtypes=_REAL, assume_a="pos"),
    Case("positive definite × huge^0.9", _scaled(0.9), dtypes=_REAL, assume_a="pos"),
    Case("positive definite × huge^-0.9", _scaled(-0.9), dtypes=_REAL, assume_a="pos"),
)
"""What is said is said to all solvers; where nothing is, each finds out for itself."""
