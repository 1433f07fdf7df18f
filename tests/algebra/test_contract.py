"""Contract of algorithms, run against those whose results the literature has criteria for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pytest

import wrenla as wl
from wrenla.testing import AlgorithmTests, Counts

from . import gallery
from .gallery import (
    ALARM,
    ALARM_FROM,
    CHOLESKY_GATE,
    FEW_TILINGS,
    POSITIVE,
    SOLVE_GATE,
    TILINGS,
    Array,
)

SIDES = range(1, 13)


def limit(n: int, gate: float) -> float:
    """Return what an error may be: small orders are not far below the gate."""
    return ALARM if n >= ALARM_FROM else gate


class TestCholesky(AlgorithmTests):
    """Of the whole gallery; a shape is a name and an order."""

    dtypes = ("float64", "complex64")
    # each matrix in every other tiling, and each tiling with every other matrix
    tilings: ClassVar[Any] = tuple(
        ((name, n), tile)
        for k, name in enumerate(POSITIVE)
        for n, tile in (TILINGS if name == "kappa 0.01/u" else TILINGS[k % 2 :: 2])
    )

    def arrays(self, shape: tuple[str, int], dtype: str) -> tuple[Array, ...]:
        name, n = shape
        return (POSITIVE[name](n, dtype),)

    def apply(self, A: wl.BigMatrix) -> wl.BigMatrix:
        return A.cholesky()

    def error(self, L: Array, a: Array) -> float:
        assert (L.dtype, L.shape) == (a.dtype, a.shape)
        assert np.all(L.diagonal().imag == 0)
        assert np.all(L.diagonal().real > 0)
        return gallery.cholesky_error(a, L) / limit(len(a), CHOLESKY_GATE)

    def counts(self) -> Iterator[tuple[Any, Any, Counts]]:
        for N in SIDES:
            counts = Counts(N * (N + 1) // 2, N * (N + 1) * (2 * N + 1) // 6, 2 * N - 1)
            yield ("well conditioned", 4 * N), 4, counts


@pytest.mark.slow
class TestCholeskyOfOtherDtypes(TestCholesky):
    dtypes = ("float32", "complex128")


class TestPositiveDefiniteSolve(AlgorithmTests):
    """The matrices are in `test_gallery`. A shape is a name, an order and columns, None for a vector."""

    dtypes = ("float64", "complex64")
    tilings: ClassVar[Any] = tuple(
        ((name, n, columns), tile)
        for name, columns, tilings in (
            ("well conditioned", 2, TILINGS),
            ("well conditioned", None, FEW_TILINGS[3:]),
            ("well conditioned", 1, FEW_TILINGS[2:4]),
            ("kappa 0.01/u", 15, FEW_TILINGS[4:]),
        )
        for n, tile in tilings
    )

    def arrays(self, shape: tuple[str, int, int | None], dtype: str) -> tuple[Array, ...]:
        name, n, columns = shape
        return POSITIVE[name](n, dtype), gallery.normal(n if columns is None else (n, columns), dtype, 7)

    def matrices(self, arrays: tuple[Array, ...], tile: Any) -> tuple[wl.BigMatrix, ...]:
        a, b = arrays
        return wl.from_array(a, tile=tile, structure="pos"), wl.from_array(b, tile=tile)

    def apply(self, A: wl.BigMatrix, B: wl.BigMatrix) -> wl.BigMatrix:
        return A.solve(B)

    def error(self, x: Array, a: Array, b: Array) -> float:
        assert (x.dtype, x.shape) == (a.dtype, b.shape)
        return gallery.solve_error(a, x, b) / limit(len(a), SOLVE_GATE)

    def counts(self) -> Iterator[tuple[Any, Any, Counts]]:
        for N in SIDES:
            tasks, reads = N * (N + 1) // 2, N * (N + 1) * (2 * N + 1) // 6
            # forward substitution goes along with the factorization, backward substitution follows it
            plain = Counts(tasks + 2 * N, reads + 2 * N * (N + 1), 3 * N)
            # what looks at the solution
            looks = Counts(N * (N + 1) // 2 + 14 * N + 11, 7 * N**2 + 22 * N + 4, 4 * N + 6)
            counts = (a + b for a, b in zip(plain, looks, strict=True))
            yield ("well conditioned", 4 * N, 2), 4, Counts(*counts)


@pytest.mark.slow
class TestPositiveDefiniteSolveOfOtherDtypes(TestPositiveDefiniteSolve):
    dtypes = ("float32", "complex128")


class TestSubstitution(AlgorithmTests):
    """With both triangles."""

    @pytest.fixture(params=[True, False], autouse=True)
    def triangle(self, request: pytest.FixtureRequest) -> None:
        self.lower = request.param

    def arrays(self, n: int, dtype: str) -> tuple[Array, ...]:
        a = gallery.normal((n, n), dtype, seed=n) / (2 * n)
        a[np.diag_indices(n)] = 1 + np.arange(n) % 3
        return (np.tril(a) if self.lower else np.triu(a)).astype(dtype), gallery.normal((n, 7), dtype, 7)

    def matrices(self, arrays: tuple[Array, ...], tile: Any) -> tuple[wl.BigMatrix, ...]:
        a, b = arrays
        structure = "lower" if self.lower else "upper"
        return wl.from_array(a, tile=tile, structure=structure), wl.from_array(b, tile=(tile, 4))

    def apply(self, T: wl.BigMatrix, B: wl.BigMatrix) -> wl.BigMatrix:
        return wl.linalg.solve_triangular(T, B, lower=self.lower)

    def error(self, x: Array, a: Array, b: Array) -> float:
        assert (x.dtype, x.shape) == (a.dtype, b.shape)
        return gallery.solve_error(a, x, b) / limit(len(a), SOLVE_GATE)

    def counts(self) -> Iterator[tuple[Any, Any, Counts]]:
        for N in SIDES:  # a base, a triangle and N − 1 pairs of factors on average; two columns of tiles
            yield 4 * N, 4, Counts(2 * N, 2 * N * (N + 1), N)


class TestProduct(AlgorithmTests):
    tilings: ClassVar[Any] = tuple(
        (shape, (8, 5))
        for shape in ((1, 1, 1), (5, 5, 5), (24, 16, 8), (3, 40, 2), (40, 1, 33), (17, 64, 17), (21, 13, 34))
    )

    def arrays(self, shape: tuple[int, int, int], dtype: str) -> tuple[Array, ...]:
        m, k, n = shape
        return gallery.normal((m, k), dtype, 1), gallery.normal((k, n), dtype, 2)

    def apply(self, A: wl.BigMatrix, B: wl.BigMatrix) -> wl.BigMatrix:
        return A @ B

    def error(self, c: Array, a: Array, b: Array) -> float:
        return gallery.matmul_error(c, a, b)

    def counts(self) -> Iterator[tuple[Any, Any, Counts]]:
        for M, K, N in product((1, 2, 5, 12), repeat=3):
            yield (4 * M, 4 * K, 4 * N), 4, Counts(M * N, 2 * M * N * K, 1)


class TestGram(AlgorithmTests):
    tilings: ClassVar[Any] = tuple(
        (shape, tile) for shape in ((1, 1), (8, 33), (40, 5), (21, 13)) for tile in ((8, 8), (8, 3), (5, 8))
    )

    def arrays(self, shape: tuple[int, int], dtype: str) -> tuple[Array, ...]:
        return (gallery.normal(shape, dtype),)

    def apply(self, A: wl.BigMatrix) -> wl.BigMatrix:
        return A.gram()

    def error(self, g: Array, a: Array) -> float:
        return gallery.matmul_error(g, a, a.conj().T)

    def counts(self) -> Iterator[tuple[Any, Any, Counts]]:
        for N, K in product(SIDES, (1, 2, 7)):
            yield (4 * N, 4 * K), 4, Counts(N * (N + 1) // 2, N**2 * K, 1)
