"""What one tile tells, against NumPy in a longer precision, and over the whole range of exponents."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wrenla_kernels import (
    DTYPES,
    abs_column_sums,
    abs_row_sums,
    column_sums,
    combine_sum_squares,
    diagonal,
    max_abs,
    norm_from_sum_squares,
    row_sums,
    sum_squares,
)

shapes = st.tuples(st.sampled_from([0, 1, 2, 7, 300]), st.sampled_from([0, 1, 3, 150]))
dtypes = st.sampled_from(DTYPES)


def random(shape, dtype):
    """Return a read-only view of a larger matrix that is NaN around it."""
    rng = np.random.default_rng(shape[0])
    frame = np.full((shape[0] + 3, shape[1] + 2), np.nan, dtype, order="F")
    view = frame[1 : 1 + shape[0], 1 : 1 + shape[1]]
    view[...] = rng.standard_normal(shape)
    if view.dtype.kind == "c":
        view.imag = rng.standard_normal(shape)
    view.flags.writeable = False
    return view


def is_close(result, exact, bound, a):
    """Tell if a sum over `a` is right up to rounding, and is a matrix that can be a tile."""
    u = np.finfo(a.dtype).eps / 2
    assert result.flags.f_contiguous
    assert result.shape == exact.shape
    return bool((np.abs(result - exact) <= 2 * max(a.shape) * u * bound).all())


@settings(max_examples=80, deadline=None, derandomize=True)
@given(shapes, dtypes)
def test_sum_kernels_agree_with_numpy(shape, dtype):
    a = random(shape, dtype)
    exact = a.astype(np.clongdouble)
    for axis, plain, absolute in ((1, row_sums, abs_row_sums), (0, column_sums, abs_column_sums)):
        sizes = np.abs(exact).sum(axis, keepdims=True)
        assert is_close(plain(a), exact.sum(axis, keepdims=True), sizes, a)
        assert is_close(absolute(a), sizes, sizes, a)
        assert plain(a).dtype == dtype
        assert absolute(a).dtype == a.real.dtype


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "shape", [(16, 40_000), (40_000, 16), (70_000, 3), (1, 100_000), (100_000, 1)], ids=str
)
def test_the_error_of_a_sum_grows_as_the_logarithm_of_the_length(shape, dtype):
    a = np.full(shape, 0.1, dtype, order="F")
    exact, sizes = np.longdouble(a[0, 0].real), np.longdouble(np.abs(a[0, 0]))
    u = np.finfo(dtype).eps / 2
    for axis, plain, absolute in ((1, row_sums, abs_row_sums), (0, column_sums, abs_column_sums)):
        n = shape[axis]
        for result, entry in ((plain(a), exact), (absolute(a), sizes)):
            assert np.abs(result - n * entry).max() <= (np.log2(n) + 20) * u * n * sizes
    squares = a.size * exact**2
    norm = norm_from_sum_squares(sum_squares(a))[0, 0]
    assert abs(norm - np.sqrt(squares)) <= (np.log2(a.size) + 20) * u * np.sqrt(squares)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(shapes, dtypes, st.integers(-310, 160))
def test_diagonal_kernels_agree_with_numpy(shape, dtype, offset):
    a = random(shape, dtype)
    expected = np.diagonal(a, offset)
    assert np.array_equal(diagonal(a, offset), expected[:, None])
    assert diagonal(a, offset).flags.f_contiguous


@settings(max_examples=80, deadline=None, derandomize=True)
@given(shapes, dtypes, st.sampled_from([-0.95, -0.5, 0, 0.5, 0.95]))
def test_norms_neither_overflow_nor_underflow(shape, dtype, power):
    magnitude = float(np.finfo(dtype).max) ** power
    a = np.asfortranarray(random(shape, dtype) * np.array(magnitude, dtype))
    exact = np.sqrt((np.abs(a.astype(np.clongdouble)) ** 2).sum(keepdims=True)).reshape(1, 1)
    largest = np.abs(a).max(initial=0)
    parts = np.hstack([sum_squares(a[:, :1]), sum_squares(a[:, 1:])])
    assert is_close(norm_from_sum_squares(sum_squares(a)), exact, exact, a)
    assert is_close(norm_from_sum_squares(combine_sum_squares(np.asfortranarray(parts))), exact, exact, a)
    assert max_abs(a).tolist() == [[largest]]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_ends_of_the_range_have_norms(dtype):
    finfo = np.finfo(dtype)
    for entry in (finfo.max, finfo.tiny, finfo.smallest_subnormal):
        a = np.array([[entry]], dtype)
        assert norm_from_sum_squares(sum_squares(a))[0, 0] == entry


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_zeros_infinities_and_nans_of_norms(dtype):
    zero = np.zeros((300, 300), dtype, order="F")
    assert sum_squares(zero).tolist() == [[0], [1]]
    assert sum_squares(zero[:0]).tolist() == [[0], [1]]
    assert max_abs(zero[:0]).tolist() == [[0]]
    zero[200, 200] = np.inf
    infinite = sum_squares(zero)
    assert norm_from_sum_squares(infinite).tolist() == [[np.inf]]
    zero[1, 299] = np.nan
    for result in (max_abs(zero), norm_from_sum_squares(sum_squares(zero)), abs_row_sums(zero)[1]):
        assert np.isnan(result).all()
    parts = np.hstack([infinite, sum_squares(zero), sum_squares(zero[:0])])
    assert np.isnan(norm_from_sum_squares(combine_sum_squares(np.asfortranarray(parts))))[0, 0]
    assert np.array_equal(combine_sum_squares(np.asfortranarray(parts[:, ::2])), infinite)
    assert combine_sum_squares(np.asfortranarray(parts[:, :0])).tolist() == [[0], [1]]


def test_parts_of_another_shape_or_dtype_are_refused():
    with pytest.raises(ValueError, match="two rows"):
        combine_sum_squares(np.zeros((3, 1)))
    with pytest.raises(TypeError, match="real"):
        combine_sum_squares(np.zeros((2, 1), complex))
    with pytest.raises(ValueError, match="shape"):
        norm_from_sum_squares(np.zeros((2, 2), order="F"))
