"""What is done to entries, against NumPy, on views whose surroundings must stay as they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wrenla_kernels import (
    DTYPES,
    add_diagonal,
    apply_op,
    keep_triangle,
    mirror,
    scale,
    scale_columns,
    scale_rows,
)

GUARD = 7

shapes = st.tuples(st.sampled_from([0, 1, 2, 5, 63, 64, 65, 130]), st.sampled_from([0, 1, 3, 64, 129]))
dtypes = st.sampled_from(DTYPES)
offsets = st.integers(-140, 140)


class Framed:
    """A random matrix in the middle of a larger one, which must not change."""

    def __init__(self, shape, dtype, seed=0):
        rng = np.random.default_rng(seed)
        self.frame = np.full((shape[0] + 5, shape[1] + 4), GUARD, dtype, order="F")
        self.view = self.frame[2 : 2 + shape[0], 2 : 2 + shape[1]]
        self.view[...] = rng.standard_normal(shape)
        if self.view.dtype.kind == "c":
            self.view.imag = rng.standard_normal(shape)
        self.before = self.view.copy()

    def check(self, expected):
        assert np.array_equal(self.view, expected, equal_nan=True)
        self.view[...] = GUARD
        assert (self.frame == GUARD).all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(shapes, dtypes, st.sampled_from("NTCR"))
def test_apply_op(shape, dtype, op):
    a = Framed(shape, dtype).view
    a.flags.writeable = False
    expected = {"N": a, "T": a.T, "C": a.conj().T, "R": a.conj()}[op]
    out = Framed(expected.shape, dtype, seed=1)
    apply_op(a, op, out.view)
    out.check(expected)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(shapes, dtypes)
def test_multiples(shape, dtype):
    c = Framed(shape, dtype)
    scale(-3, c.view)
    c.check(c.before * -3)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(shapes, dtypes, st.booleans())
def test_scaled_rows_and_columns(shape, dtype, standing):
    for scaled, length, axis in ((scale_rows, shape[0], 0), (scale_columns, shape[1], 1)):
        w = np.arange(length, dtype=dtype)
        c = Framed(shape, dtype)
        scaled(w.reshape(-1, 1) if standing else w.reshape(1, -1), c.view)
        c.check(c.before * (w[:, None] if axis == 0 else w[None, :]))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(shapes, dtypes, st.sampled_from("LU"), offsets, st.booleans())
def test_keep_triangle(shape, dtype, uplo, offset, unit):
    c = Framed(shape, dtype)
    expected = np.tril(c.before, offset) if uplo == "L" else np.triu(c.before, offset)
    if unit:
        expected[np.eye(*shape, offset, dtype=bool)] = 1
    keep_triangle(c.view, uplo, offset, unit)
    c.check(expected)


def test_keep_triangle_drops_nan():
    c = np.full((3, 3), np.nan, order="F")
    keep_triangle(c, "U", 3)
    assert not c.any()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(shapes, dtypes, offsets)
def test_add_diagonal(shape, dtype, offset):
    c = Framed(shape, dtype)
    add_diagonal(2, c.view, offset)
    c.check(c.before + 2 * np.eye(*shape, offset, dtype=dtype))


@pytest.mark.parametrize("n", [0, 1, 2, 63, 64, 65, 200])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_mirror(n, dtype):
    c = Framed((n, n), dtype)
    strict = np.tril(c.before, -1)
    expected = strict + strict.conj().T + np.diag(c.before.diagonal().real)
    c.view[np.triu_indices(n, 1)] = np.nan
    mirror(c.view)
    c.check(expected)


def test_elementwise_kernels_give_no_warning():
    c = np.full((2, 2), np.finfo("f8").max, order="F")
    scale(2, c)
    scale(0, c)
    add_diagonal(np.inf, c)
    scale_rows(np.array([[np.inf], [0.0]]), c)
    assert np.isnan(c).all()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda c: scale(1j, c), TypeError),
        (lambda c: add_diagonal(1j, c), TypeError),
        (lambda c: scale_rows(np.ones((3, 1)), c), ValueError),
        (lambda c: scale_columns(np.ones((2, 1), "c16"), c), TypeError),
        (lambda c: apply_op(c, "H", c.copy(order="F")), ValueError),
        (lambda c: keep_triangle(c, "X"), ValueError),
        (lambda c: mirror(c[:1]), ValueError),
    ],
)
def test_elementwise_kernel_of_unfit_shapes_is_refused(call, error):
    with pytest.raises(error):
        call(np.ones((2, 2), order="F"))
