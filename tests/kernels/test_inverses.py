"""Inverses of tiles by their residual, from both sides, and exactly Hermitian ones."""

import numpy as np
import pytest

from wrenla_kernels import DTYPES, getri, hetri


def random(n, dtype):
    rng = np.random.default_rng(n)
    a = rng.standard_normal((n, n)).astype(dtype)
    if a.dtype.kind == "c":
        a.imag = rng.standard_normal((n, n))
    return np.asfortranarray(a)


def residual(a, x):
    """Return the smaller of ‖A X − I‖ and ‖X A − I‖ in units of n u ‖A‖ ‖X‖."""
    wide = a.astype(np.complex128), x.astype(np.complex128)
    unit = len(a) * np.finfo(a.dtype).eps / 2 * np.linalg.norm(wide[0], 1) * np.linalg.norm(wide[1], 1)
    sides = wide[0] @ wide[1], wide[1] @ wide[0]
    return min(np.linalg.norm(side - np.eye(len(a)), 1) for side in sides) / unit


@pytest.mark.parametrize("n", [1, 2, 65, 150])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_inverse_of_any_matrix(n, dtype):
    a = random(n, dtype)
    frame = np.full((n + 4, n + 3), 7, dtype, order="F")
    x = frame[2 : 2 + n, 1 : 1 + n]
    x[...] = a
    assert getri(x) == 0
    assert residual(a, x) <= 30
    outside = np.ones(frame.shape, dtype=bool)
    outside[2 : 2 + n, 1 : 1 + n] = False
    assert (frame[outside] == 7).all()


@pytest.mark.parametrize("conjugate", [True, False])
@pytest.mark.parametrize("n", [1, 2, 65, 150])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_inverse_of_an_indefinite_matrix_is_exactly_hermitian_or_symmetric(n, dtype, conjugate):
    a = random(n, dtype)
    a = a + (a.conj().T if conjugate else a.T)
    x = np.asfortranarray(np.tril(a) + np.triu(np.full((n, n), np.nan), 1))  # of which nothing is read
    assert hetri(x, conjugate=conjugate) == 0
    assert np.array_equal(x, x.conj().T if conjugate else x.T)
    assert residual(a, x) <= 30


def test_a_singular_matrix_is_none():
    a = np.asfortranarray(np.diag([1.0, 0.0, 2.0]))
    assert getri(a.copy(order="F")) == 2
    assert hetri(a.copy(order="F")) == 2
    assert getri(np.zeros((0, 0), order="F")) == hetri(np.zeros((0, 0), order="F")) == 0


def test_other_arrays_are_refused():
    for inverse in (getri, hetri):
        with pytest.raises(ValueError, match="square"):
            inverse(np.zeros((3, 2), order="F"))
        with pytest.raises(TypeError):
            inverse(np.zeros((2, 2), np.int64, order="F"))
