"""Cholesky factors of matrices that have one, by backward error."""

from __future__ import annotations

import numpy as np
import pytest

import wrenla as wl

from . import gallery
from .gallery import ALARM, ALARM_FROM, CHOLESKY_GATE, DTYPES, TILINGS, Array


def check_factor(a: Array, L: Array, healthy: float = ALARM) -> None:
    assert L.dtype == a.dtype
    assert L.shape == a.shape
    assert np.array_equal(L, np.tril(L))
    assert np.all(L.diagonal().imag == 0)
    assert np.all(L.diagonal().real > 0)
    error = gallery.cholesky_error(a, L)
    assert error <= CHOLESKY_GATE
    if len(a) >= ALARM_FROM:
        assert error <= healthy, "within the gate, but a hundred times what is usual"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("power", [0.9, -0.9])
def test_scaled_by_huge(dtype: str, power: float) -> None:
    scale = float(np.finfo(dtype).max) ** power
    for n, tile in [(5, 8), (21, 8), (24, 8)]:
        a = (gallery.well_conditioned(n, dtype) * np.dtype(dtype).type(scale)).astype(dtype)
        check_factor(a, wl.from_array(a, tile=tile).cholesky().compute())


@pytest.mark.parametrize("dtype", DTYPES)
def test_scaled_by_1e_10(dtype: str) -> None:
    """An absolute tolerance somewhere would take the updates for zero."""
    for n, tile in [(5, 8), (21, 8), (24, 8)]:
        for matrix in (gallery.ill_conditioned, gallery.well_conditioned):
            a = (matrix(n, dtype) * np.dtype(dtype).type(1e-10)).astype(dtype)
            check_factor(a, wl.from_array(a, tile=tile).cholesky().compute())


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_cholesky_of_moler_matrix_is_backward_stable(dtype: str) -> None:
    """Condition 10¹³ at n = 20: the least pivots are all that is left of a long sum."""
    for n, tile in [(5, 8), (12, 5), (16, 8), (20, 7)]:
        a = gallery.moler(n, dtype)
        check_factor(a, wl.from_array(a, tile=tile).cholesky().compute())


@pytest.mark.parametrize("tile", [1, 3, 4, 8, 16])
def test_cholesky_of_hilbert_matrix_is_backward_stable(tile: int) -> None:
    for n in range(1, 12):
        a = gallery.hilbert(n)
        check_factor(a, wl.from_array(a, tile=tile).cholesky().compute())


@pytest.mark.parametrize("tile", [1, 3, 4, 8, 16])
@pytest.mark.parametrize("n", [12, 13, 14, 15])
def test_hilbert_at_the_edge(n: int, tile: int) -> None:
    """Whether these are positive definite after rounding depends on the order of the sums."""
    a = gallery.hilbert(n)
    minor, L = 0, None
    try:
        L = wl.from_array(a, tile=tile).cholesky().compute()
    except wl.linalg.NotPositiveDefiniteError as error:
        minor = error.minor
    if L is None:
        assert 12 <= minor <= n
    else:
        check_factor(a, L)


@pytest.mark.every_day(4)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("schedule", ["waves", "dataflow"])
def test_cholesky_upper_is_transposed_lower(dtype: str, schedule: str) -> None:
    for n, tile in TILINGS:
        a = gallery.well_conditioned(n, dtype)
        A = wl.from_array(a, tile=tile)
        U, L = (A.cholesky(upper=upper).compute(schedule=schedule) for upper in (True, False))
        assert A.cholesky(upper=True).structure == "upper"
        check_factor(a, U.conj().T)
        assert np.array_equal(U, L.conj().T)


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_only_the_lower_triangle_is_read(dtype: str) -> None:
    n = 21
    a = gallery.well_conditioned(n, dtype)
    L = wl.from_array(a, tile=8).cholesky().compute()
    spoiled = a + np.triu(np.full((n, n), np.nan), 1).astype(dtype)
    for structure in ("general", "hermitian", "pos"):
        assert np.array_equal(
            wl.from_array(spoiled, tile=8, structure=structure, check=False).cholesky().compute(), L
        )


@pytest.mark.parametrize("tile", [(8, 5), (5, 8), (21, 4), (1, 21)])
def test_tiles_that_are_not_square(tile: tuple[int, int]) -> None:
    a = gallery.well_conditioned(21, "float64")
    check_factor(a, wl.from_array(a, tile=tile).cholesky().compute())


@pytest.mark.parametrize("dtype", DTYPES)
def test_cholesky_of_views_is_backward_stable(dtype: str) -> None:
    """A shift, a scale and a sum ride on the reads of the factorization."""
    n = 21
    a, b = gallery.normal((n, n), dtype), gallery.well_conditioned(n, dtype)
    A, B = wl.from_array(a, tile=8), wl.from_array(b, tile=8)
    check_factor(a @ a.conj().T + 3 * b, (A @ A.H + 3 * B).cholesky().compute(), healthy=CHOLESKY_GATE)
    check_factor(4 * b, (B * 4).cholesky().compute())
    check_factor(b + np.eye(n, dtype=dtype), B.shift(1).cholesky().compute())
    check_factor(b.T.copy(), B.T.cholesky().compute())
    check_factor(b[3:, 3:], B[3:, 3:].cholesky().compute())


def test_cholesky_of_order_zero_is_empty() -> None:
    A = wl.zeros((0, 0))
    assert A.cholesky().compute().shape == (0, 0)
    assert A.cholesky(upper=True).compute().shape == (0, 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tiles_larger_than_the_leaves_of_the_kernels(dtype: str) -> None:
    """potrf and trsm divide tiles above 256 and 64: here they do."""
    n, tile = 640, 300
    a = gallery.normal((n, n), dtype)
    a = (a @ a.conj().T / n + np.eye(n)).astype(dtype)
    L = wl.from_array(a, tile=tile).cholesky().compute()
    exact = L.astype(np.complex128 if L.dtype.kind == "c" else np.float64)
    u = gallery.unit_roundoff(dtype)
    error = gallery.norm1(a - exact @ exact.conj().T) / (n * gallery.norm1(a) * u)
    assert error <= CHOLESKY_GATE
    assert error <= ALARM


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (0, 2)])
def test_cholesky_of_rectangle_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="square"):
        wl.zeros(shape).cholesky()


def test_cholesky_of_vector_is_refused() -> None:
    with pytest.raises(ValueError, match="square"):
        wl.zeros(1).cholesky()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_small_order_in_every_tile(dtype: str) -> None:
    for n in range(1, 30):
        for tile in range(1, n + 2, 1 if n < 12 else 5):
            a = gallery.ill_conditioned(n, dtype)
            check_factor(a, wl.from_array(a, tile=tile).cholesky().compute())
