"""getrf by its backward error, on squares, tall and wide panels, and matrices without a pivot."""

import numpy as np
import pytest

from wrenla_kernels import DTYPES, getrf

pytestmark = pytest.mark.usefixtures("way")


def random(m, n, dtype):
    rng = np.random.default_rng(m + n)
    a = rng.standard_normal((m, n)).astype(dtype)
    if a.dtype.kind == "c":
        a.imag = rng.standard_normal((m, n))
    return np.asfortranarray(a)


def exchanged(a, pivots):
    moved = a.copy()
    for k, row in enumerate(pivots):
        moved[[k, row]] = moved[[row, k]]
    return moved


def backward_error(a, factors, pivots):
    """Return ‖P A − L U‖₁ in units of n ‖A‖₁ u."""
    k = min(a.shape)
    wide = factors.astype(np.complex128 if a.dtype.kind == "c" else np.float64)
    lower = np.tril(wide[:, :k], -1) + np.eye(a.shape[0], k)
    error = np.linalg.norm(exchanged(a, pivots) - lower @ np.triu(wide[:k]), 1)
    return error / (max(a.shape) * np.linalg.norm(a, 1) * np.finfo(a.dtype).eps / 2)


@pytest.mark.parametrize("shape", [(1, 1), (31, 32), (33, 33), (200, 200), (700, 100), (100, 330)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_factors_squares_and_panels(shape, dtype):
    m, n = shape
    a = random(m, n, dtype)
    frame = np.full((m + 4, n + 3), 7, dtype, order="F")
    factors = frame[2 : 2 + m, 1 : 1 + n]
    factors[...] = a

    pivots = getrf(factors)

    rows = np.arange(min(shape))
    assert ((rows <= pivots) & (pivots < m)).all()
    assert backward_error(a, factors, pivots) <= 30
    below = np.tril(factors, -1)  # |re| + |im| is what LAPACK compares in complex columns
    assert (np.abs(below.real) + np.abs(below.imag)).max(initial=0) <= 2
    outside = np.ones(frame.shape, dtype=bool)
    outside[2 : 2 + m, 1 : 1 + n] = False
    assert (frame[outside] == 7).all()


@pytest.mark.parametrize("scale", [2.0, 2.0**-3, 2.0**-8])
@pytest.mark.parametrize("shape", [(40, 40), (150, 40), (40, 150)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_factors_of_subnormal_numbers(shape, dtype, scale):
    """The library divides by no subnormal pivot, and returns other factors without a word."""
    tiny = float(np.finfo(dtype).tiny)
    a = (random(*shape, dtype) * np.array(tiny * scale, dtype)).astype(dtype, order="F")
    factors = a.copy(order="F")
    pivots = getrf(factors)
    up = np.array(1 / tiny, dtype)  # so that norms do not vanish; L is as it is
    found = np.where(np.tri(*shape, -1, dtype=bool), factors, factors * up)
    spacing = float(np.finfo(dtype).smallest_subnormal) / tiny / scale / np.finfo(dtype).eps
    assert backward_error(a * up, found, pivots) <= 30 + 4 * spacing


def test_column_without_a_pivot_gives_a_zero_on_the_diagonal():
    a = random(150, 100, np.float64)
    a[:, 70] = a[:, 20] * 2
    a[:, 20] = 0
    factors = a.copy(order="F")
    pivots = getrf(factors)
    assert factors[20, 20] == 0
    assert backward_error(a, factors, pivots) <= 30


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_getrf_of_nothing_has_no_pivots(shape):
    assert getrf(np.zeros(shape, order="F")).size == 0
