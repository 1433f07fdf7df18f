"""potrf by its backward error, on hard matrices, and what it says of those that have no factor."""

import functools

import numpy as np
import pytest

from wrenla_kernels import DTYPES, potrf

LEAF = 256

pytestmark = pytest.mark.usefixtures("way")


@functools.cache
def orthogonal(n, kind):
    """Return a random unitary matrix, a real one unless the kind of the dtype is complex."""
    rng = np.random.default_rng(n)
    g = rng.standard_normal((n, n))
    if kind == "c":
        g = g + 1j * rng.standard_normal((n, n))
    return np.linalg.qr(g)[0]


def hermitian(eigenvalues, dtype):
    """Return a matrix with these eigenvalues, in the order of their size up to rounding."""
    q = orthogonal(len(eigenvalues), np.dtype(dtype).kind)
    a = (q * eigenvalues) @ q.conj().T
    return np.asfortranarray(((a + a.conj().T) / 2).astype(dtype))


def backward_error(a, factor):
    """Return ‖A − L Lᴴ‖₁ in units of n ‖A‖₁ u; `a` is scaled first so that no product overflows."""
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    exponent = 2 * (int(np.frexp(np.abs(a).max())[1]) // 2)
    a_scaled = np.ldexp(1.0, -exponent) * a.astype(wide)
    l_scaled = np.ldexp(1.0, -exponent // 2) * factor.astype(wide)
    error = np.linalg.norm(a_scaled - l_scaled @ l_scaled.conj().T, 1)
    return error / (len(a) * np.linalg.norm(a_scaled, 1) * np.finfo(a.dtype).eps / 2)


@pytest.mark.every_day(48)
@pytest.mark.parametrize("kind", ["easy", "hard", "huge", "tiny", "small"])
@pytest.mark.parametrize("n", [1, 2, 255, 256, 257, 600])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_factors_what_can_be_factored(dtype, n, kind):
    finfo = np.finfo(dtype)
    kappa = 0.01 / float(finfo.eps / 2) if kind == "hard" else 10.0
    eigenvalues = np.geomspace(1, 1 / kappa if n > 1 else 1, n)
    factor = {"huge": float(finfo.max) ** 0.9, "tiny": float(finfo.max) ** -0.9, "small": 1e-10}.get(
        kind, 1.0
    )
    a = hermitian(eigenvalues * factor, dtype)
    frame = np.full((n + 4, n + 3), 7, dtype, order="F")
    factored = frame[2 : 2 + n, 1 : 1 + n]
    factored[...] = np.where(np.tri(n, dtype=bool), a, np.nan)  # what lies above is never read

    assert potrf(factored) == 0

    assert not np.triu(factored, 1).any()
    assert backward_error(a, factored) <= 30
    assert (factored.diagonal().real > 0).all()
    assert not factored.diagonal().imag.any()
    outside = np.ones(frame.shape, dtype=bool)
    outside[2 : 2 + n, 1 : 1 + n] = False
    assert (frame[outside] == 7).all()


@pytest.mark.parametrize("position", [0, 1, 254, 255, 256, 257, 510, 511, 512, 513, 598, 599])
@pytest.mark.parametrize("dtype", [np.float64, np.complex64], ids=str)
def test_names_the_first_minor_that_fails(position, dtype):
    a = np.asfortranarray(np.eye(600, dtype=dtype) + 0.001)
    a[position, position] = -1
    a[599, 599] = -1
    assert potrf(a) == position + 1


def test_names_a_minor_that_fails_by_what_comes_before():
    a = np.eye(600, order="F")
    a[400, 10] = a[10, 400] = 1.5
    assert potrf(a) == 401


@pytest.mark.parametrize("n", [5, 300])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_nan_never_gives_a_clean_factor(n, dtype):
    rng = np.random.default_rng(0)
    lower = np.argwhere(np.tri(n, dtype=bool))
    edges = np.array([[0, 0], [n - 1, 0], [n - 1, n - 1], [n // 2, n // 2]])
    for i, j in np.vstack([edges, lower if n == 5 else rng.choice(lower, 12)]):
        a = np.asfortranarray(np.eye(n, dtype=dtype) * 4)
        a[i, j] = np.nan
        info = potrf(a)
        assert info > 0 or np.isnan(a).any(), (i, j)


@pytest.mark.parametrize("n", [3, LEAF + 100])
def test_imaginary_parts_of_the_diagonal_are_ignored(n):
    a = hermitian(np.linspace(1, 2, n), np.complex128)
    crooked = a.copy(order="F")
    crooked[np.diag_indices(n)] += 1j
    assert potrf(crooked) == 0
    assert backward_error(a, crooked) <= 30


def test_potrf_of_empty_tile_does_nothing():
    assert potrf(np.zeros((0, 0))) == 0


def test_potrf_of_rectangle_is_refused():
    with pytest.raises(ValueError, match="shape"):
        potrf(np.ones((3, 2), order="F"))
