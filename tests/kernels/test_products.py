"""gemm, gemv and herk against products in a longer precision, by their backward error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wrenla_kernels import DTYPES, gemm, gemv, herk

OPS = ("N", "T", "C", "R")
LONGER = {
    "float32": "float64",
    "float64": "longdouble",
    "complex64": "complex128",
    "complex128": "clongdouble",
}

sizes = st.integers(0, 33)
dtypes = st.sampled_from([dtype.name for dtype in DTYPES])


def framed(rng, m, n, dtype, margin=3):
    """Return a random (m, n) view of a larger array, and that array, whose other entries are NaN."""
    frame = np.full((m + 2 * margin, n + 2 * margin), np.nan, dtype, order="F")
    view = frame[margin : margin + m, margin : margin + n]
    view[...] = rng.standard_normal((m, n))
    if view.dtype.kind == "c":
        view.imag = rng.standard_normal((m, n))
    return view, frame


def frame_is_intact(view, frame):
    inside = np.count_nonzero(~np.isnan(view))
    return np.count_nonzero(~np.isnan(frame)) == inside


def apply(a, op):
    return {"N": a, "T": a.T, "C": a.conj().T, "R": a.conj()}[op]


def norm(a):
    return float(np.sqrt((np.abs(a.astype(np.clongdouble)) ** 2).sum()))


def backward_error(c, exact, a, b, c0, k):
    """Return the error in units of what a sum of k products may lose."""
    u = np.finfo(c.dtype).eps / 2
    bound = 3 * 2 * u * np.sqrt(k + 2) * (norm(a) * norm(b) + norm(c0))
    error = norm(c - exact)
    return error / bound if bound else error


@settings(max_examples=150, deadline=None, derandomize=True)
@given(sizes, sizes, sizes, dtypes, st.sampled_from(OPS), st.sampled_from(OPS), st.integers(0, 2**32 - 1))
def test_gemm_adds_a_product(m, n, k, dtype, op_a, op_b, seed):
    rng = np.random.default_rng(seed)
    a, _ = framed(rng, *((m, k) if op_a in "NR" else (k, m)), dtype)
    b, _ = framed(rng, *((k, n) if op_b in "NR" else (n, k)), dtype)
    c, frame = framed(rng, m, n, dtype)
    a.flags.writeable = b.flags.writeable = False
    alpha = -1.5 if np.dtype(dtype).kind == "f" else -1.5 + 0.5j
    c0 = c.copy()
    longer = LONGER[dtype]
    exact = c0 + alpha * (apply(a, op_a).astype(longer) @ apply(b, op_b).astype(longer))

    gemm(alpha, a, op_a, b, op_b, c)

    assert backward_error(c, exact, a, b, c0, k) <= 1
    assert frame_is_intact(c, frame)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gemm_of_a_whole_tile(dtype):
    rng = np.random.default_rng(1)
    (a, _), (b, _), (c, frame) = (framed(rng, 257, 257, dtype) for _ in range(3))
    c0, longer = c.copy(), LONGER[dtype.name]
    exact = c0 - a.astype(longer) @ b.astype(longer).conj().T
    gemm(-1, a, "N", b, "C", c)
    assert backward_error(c, exact, a, b, c0, 257) <= 1
    assert frame_is_intact(c, frame)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(sizes, sizes, dtypes, st.sampled_from(OPS), st.integers(0, 2**32 - 1))
def test_gemv_adds_a_product_with_a_vector(m, n, dtype, op, seed):
    rng = np.random.default_rng(seed)
    a, _ = framed(rng, *((m, n) if op in "NR" else (n, m)), dtype)
    x, y = framed(rng, n, 1, dtype)[0][:, 0], framed(rng, m, 1, dtype)[0][:, 0]
    a.flags.writeable = x.flags.writeable = False
    alpha = -1.5 if np.dtype(dtype).kind == "f" else -1.5 + 0.5j
    y0 = y.copy()
    exact = y0 + alpha * (apply(a, op).astype(LONGER[dtype]) @ x.astype(LONGER[dtype]))

    gemv(alpha, a, op, x, y)

    assert backward_error(y, exact, a, x, y0, n) <= 1


def test_gemv_refuses_what_blas_would_take_for_something_else():
    a, x, y = np.ones((3, 2), order="F"), np.ones(2), np.ones(3)
    fixed = y.copy()
    fixed.flags.writeable = False
    for error, message, arguments in (
        (ValueError, r"x has shape \(3,\)", (a, "N", y, y)),
        (ValueError, r"y has shape \(3,\)", (a, "T", y, y)),
        (ValueError, "Fortran", (np.ones((3, 2)), "N", x, y)),
        (ValueError, "x must be contiguous", (a, "N", np.ones(4)[::2], y)),
        (ValueError, "read-only", (a, "N", x, fixed)),
        (ValueError, "op must be", (a, "H", x, y)),
        (TypeError, "x has dtype float32", (a, "N", x.astype("f4"), y)),
        (TypeError, "int64", (a.astype(int), "N", x, y)),
    ):
        with pytest.raises(error, match=message):
            gemv(1, *arguments)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(sizes, sizes, dtypes, st.sampled_from(["N", "C"]), st.integers(0, 2**32 - 1))
def test_herk_adds_to_the_lower_triangle_only(n, k, dtype, op, seed):
    rng = np.random.default_rng(seed)
    a, _ = framed(rng, *((n, k) if op == "N" else (k, n)), dtype)
    c, frame = framed(rng, n, n, dtype)
    a.flags.writeable = False
    c[np.diag_indices(n)] = c.diagonal().real
    c0, long_a = c.copy(), apply(a, op).astype(LONGER[dtype])
    exact = c0 - 2 * long_a @ long_a.conj().T

    herk(-2, a, op, c)

    assert backward_error(np.tril(c), np.tril(exact), a, a, c0, k) <= 1
    assert np.array_equal(np.triu(c, 1), np.triu(c0, 1))
    assert not c.diagonal().imag.any()
    assert frame_is_intact(c, frame)


def test_herk_never_reads_above_the_diagonal():
    c = np.triu(np.full((5, 5), np.nan), 1).copy(order="F")
    herk(1, np.ones((5, 2), order="F"), "N", c)
    assert np.array_equal(np.tril(c), np.tril(np.full((5, 5), 2.0)))
    assert np.isnan(c[np.triu_indices(5, 1)]).all()


def test_a_nan_spreads_along_its_row():
    a = np.ones((4, 3), order="F")
    a[2, 1] = np.nan
    c = np.zeros((4, 5), order="F")
    gemm(1, a, "N", np.zeros((3, 5), order="F"), "N", c)
    assert np.isnan(c[2]).all()
    assert not np.isnan(np.delete(c, 2, axis=0)).any()


def test_complex_factors_are_refused_for_real_tiles():
    a = np.ones((2, 2), order="F")
    with pytest.raises(TypeError):
        gemm(1j, a, "N", a, "N", a.copy(order="F"))
    with pytest.raises(TypeError):
        herk(1j, a, "N", a.copy(order="F"))


def test_unknown_operations_are_refused():
    a = np.ones((2, 2), order="F")
    with pytest.raises(ValueError, match="op_b must be one of"):
        gemm(1, a, "N", a, "H", a.copy(order="F"))
    with pytest.raises(ValueError, match="op must be"):
        herk(1, a, "T", a.copy(order="F"))
    with pytest.raises(ValueError, match="columns"):
        gemm(1, a, "N", np.ones((3, 2), order="F"), "N", a.copy(order="F"))
