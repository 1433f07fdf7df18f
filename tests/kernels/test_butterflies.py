"""Random butterflies: W and Wᵀ as they are defined, nearly orthogonal, and the same on all machines."""

import numpy as np
import pytest

from wrenla_kernels import DTYPES, butterfly, butterfly_logdet


def matrix(m, depth, transposed=False, dtype=np.float64, seed=3):
    w = np.eye(m, dtype=dtype, order="F")
    butterfly(w, seed, depth, transposed=transposed)
    return w


@pytest.mark.parametrize("m", [1, 2, 3, 4, 7, 50, 101])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_a_butterfly_is_well_conditioned_and_has_its_transpose(m, depth):
    w = matrix(m, depth)
    assert np.allclose(matrix(m, depth, transposed=True), w.T, rtol=0, atol=1e-15)
    assert np.linalg.cond(w) <= (1.05 / 0.95) ** depth * (1 + 1e-12)
    assert butterfly_logdet(3, depth, m) == pytest.approx(np.linalg.slogdet(w).logabsdet, abs=1e-12)


def test_a_layer_is_what_the_paper_says():
    w = matrix(6, 1) * np.sqrt(2)
    (r, s) = np.diag(w[:3, :3]), np.diag(w[:3, 3:])
    expected = np.block([[np.diag(r), np.diag(s)], [np.diag(r), -np.diag(s)]])
    assert np.array_equal(w, expected)
    assert ((r > 0.949) & (r < 1.051)).all()


def test_each_row_is_mixed_with_others_by_two_layers():
    for m in (8, 9, 50):
        assert (np.count_nonzero(matrix(m, 2), axis=1) >= 2).all(), m


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_columns_are_mixed_alike_however_many_there_are(dtype):
    rng = np.random.default_rng(0)
    a = np.asfortranarray(rng.standard_normal((300, 40)).astype(dtype))
    if a.dtype.kind == "c":
        a.imag = rng.standard_normal(a.shape)
    for transposed in (False, True):
        whole = a.copy(order="F")
        butterfly(whole, 1, 2, transposed=transposed)
        for columns in (slice(3), slice(7, 8)):
            some = np.asfortranarray(a[:, columns])
            butterfly(some, 1, 2, transposed=transposed)
            assert np.array_equal(whole[:, columns], some)
    tall = np.asfortranarray(np.repeat(a[:, :2], 30, axis=0))  # a column at a time
    one = tall[:, 1:].copy(order="F")
    butterfly(tall, 1, 2)
    butterfly(one, 1, 2)
    assert np.array_equal(tall[:, 1:], one)


def test_weights_are_the_same_for_ever():
    """A saved factor means the butterfly of its seed: these numbers must never change."""
    assert [value.hex() for value in matrix(2, 1)[0].tolist()] == HEX


HEX = ["0x1.65ae26999e3e8p-1", "0x1.6d9b8123cbab8p-1"]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_nothing_is_mixed(shape):
    butterfly(np.zeros(shape, order="F"), 1, 2)


def test_other_arrays_are_refused():
    with pytest.raises(ValueError, match="Fortran"):
        butterfly(np.zeros((3, 2)), 1, 2)
    with pytest.raises(TypeError):
        butterfly(np.zeros((3, 2), np.int64, order="F"), 1, 2)
