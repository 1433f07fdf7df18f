"""Numbers beside matrices: NumPy's own bits, as no factor is merged with another before it meets the data."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wrenla as wl

from .gallery import DTYPES, Array, normal
from .twins import RANDOM, same, tiles

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
"""NumPy warns of overflow; tiles are computed elsewhere, without warnings."""

EXTREMES = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    3.0,
    0.1,
    1e-5,
    1e30,
    -1e-30,
    1e300,
    1e-300,
    5e-324,
    np.inf,
    -np.inf,
    np.nan,
)
NUMBERS: tuple[Any, ...] = (
    *(0.1, -1, 3, 2.0**-20, 10, 7.0, True, 1e-200, 1e200, 1e-310, np.inf, -np.inf, np.nan, 0, -0.0, 1, 1e300),
    *(np.float32(0.3), np.float64(0.3), np.int64(3), np.int8(-2), np.bool_(True), np.array(1.5)),
)


def step(draw: Any, A: Any, a: Any, other: tuple[Any, Any], w: tuple[Array, Array]) -> tuple[Any, Any]:
    """Do one thing to a matrix and to its twin."""
    c = draw(st.sampled_from(NUMBERS))
    rows, cols = w
    kinds: list[Callable[[], tuple[Any, Any]]] = [
        lambda: (A * c, a * c),
        lambda: (c * A, c * a),
        lambda: (A / c, a / c),
        lambda: (A + c, a + c),
        lambda: (c - A, c - a),
        lambda: (-A, -a),
        lambda: (A + other[0], a + other[1]),
        lambda: (other[0] - A, other[1] - a),
        lambda: (A - (A - other[0]), a - (a - other[1])),
        lambda: (A * other[0], a * other[1]),
        lambda: (A.scale_rows(rows), rows[:, None] * a),
        lambda: (A.scale_columns(cols), a * cols),
        lambda: (A * cols, a * cols),
        lambda: (rows[:, None] / A, rows[:, None] / a),
        lambda: (A.T.scale_rows(cols).T, a * cols),
        lambda: (A**2, a**2),
        lambda: (np.maximum(A, c), np.maximum(a, c)),
        lambda: (A.T.T, a),
    ]
    return draw(st.sampled_from(kinds))()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_chains_have_the_bits_of_numpy(dtype: str) -> None:
    """No factor, shift or weight is merged with another before it has met the data."""

    @RANDOM
    @given(st.data(), st.integers(0, 5), st.integers(1, 5), st.integers(1, 5))
    def check(data: Any, m: int, n: int, length: int) -> None:
        entries = st.sampled_from(EXTREMES)
        a, b = (
            np.array(data.draw(st.lists(entries, min_size=m * n, max_size=m * n)), dtype).reshape(m, n)
            for _ in range(2)
        )
        other = wl.from_array(b, tile=tiles(data.draw)), b
        w = normal(m, dtype, 1), normal(n, dtype, 2)
        A, expected = wl.from_array(a, tile=tiles(data.draw)), a
        for _ in range(length):
            A, expected = step(data.draw, A, expected, other, w)
        same(A, expected)
        same(A.T, expected.T)
        same(A[::2, 1:], expected[::2, 1:])

    check()


def test_shifts_are_added_one_by_one() -> None:
    @RANDOM
    @given(st.data(), st.integers(1, 5))
    def check(data: Any, length: int) -> None:
        a = normal((5, 5))
        A, expected = wl.from_array(a, tile=data.draw(st.integers(1, 6))), a
        for _ in range(length):
            c = data.draw(st.sampled_from((1.0, 1e17, -1e17, 0.1, -3e300)))
            match data.draw(st.sampled_from(["shift", "scale", "divide", "sum", "weights"])):
                case "shift":
                    A, expected = A.shift(c), expected + np.diag(np.full(5, c))
                case "scale":
                    A, expected = A * c, expected * c
                case "divide":
                    A, expected = A / c, expected / c
                case "sum":
                    A, expected = A + a, expected + a
                case _:
                    A, expected = A.scale_columns(a[0]), expected * a[0]
        assert np.array_equal(A.compute(), expected, equal_nan=True)

    check()


def test_chained_scales_keep_numpys_bits_at_extreme_values() -> None:
    big, small = np.full((3, 3), 1e300), np.full((3, 3), 1e-300)
    A, B = wl.from_array(big, tile=2), wl.from_array(small, tile=2)
    same(A * 1e-200 * 1e-200, big * 1e-200 * 1e-200)
    same(B * 1e200 * 1e200, small * 1e200 * 1e200)
    same(wl.eye(2, tile=1) / 1e-310, np.eye(2) / 1e-310)
    same(wl.from_array([3.0]) / 10, np.array([3.0]) / 10)
    same((A - A * 2) * 1e10, (big - big * 2) * 1e10)
    same(wl.from_array(np.full((3, 3), 0.5), tile=2) * np.inf, np.full((3, 3), np.inf))
    same(wl.from_array(big, tile=2) / 0, big / 0)
    for x, expected in (
        ((A * 1e-200 * 1e-200).trace(), 3e-100),
        ((A * 1e-200 * 1e-200).norm(), 3e-100),
        ((A / 1e10).gram(np.full(3, 1e-300)), 3e280),
        ((A * 2.0**-20) @ np.full(3, 1e10), 3e304 * 2.0**-20 * 1e6),
        ((A * 1e-5) @ (B * 1e-5), 3e-10),
    ):
        assert np.allclose(x.compute(), expected, rtol=1e-14)


def test_elementwise_overflow_gives_no_warning() -> None:
    a = np.array([[1e300, -1.0], [np.inf, np.nan]])
    A, B = wl.from_array(a, tile=1), wl.from_array(-a, tile=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (A * 1e10, np.log(A), A / 0, A + B, A**9, np.sqrt(A), (A * 1e10).astype("float32"), A % 0):
            x.compute()
            x.sum().compute()
            (x @ x).compute()
            wl.compute(x.max(), x.var(), x.norm(), x + A.T)


def test_a_product_does_not_overflow_where_its_factors_are_scaled() -> None:
    """BLAS would scale the product of 1e160 and 1e150, which is infinite."""
    A, B = (wl.from_array(np.full((2, 2), x)) for x in (1e160, 1e150))
    assert np.allclose(((A * 2.0**-20) @ B).compute(), 2e160 * 2.0**-20 * 1e150)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers(dtype: str) -> None:
    a, b = normal((7, 5), dtype), normal((7, 5), dtype, 2)
    A, B = wl.from_array(a, tile=3), wl.from_array(b, tile=(2, 5))
    real = a.real.copy()
    cases: tuple[tuple[wl.BigMatrix, Array], ...] = (
        (A * 0.3 * 0.7, a * 0.3 * 0.7),
        (A / 10, a / 10),
        ((2 - 1j) * (A / (1 + 3j)), (2 - 1j) * (a / (1 + 3j))),
        ((A * 1j).H.scale_rows(b[0]).H, ((a * 1j).conj().T * b[0][:, None]).conj().T),
        ((A * B).conj(), (a * b).conj()),
        (abs(A) + B, abs(a) + b),
        (A.scale_rows(a[:, 0]).scale_columns(b[0]).H / 3, ((a * a[:, :1]) * b[0]).conj().T / 3),
        (wl.from_array(real, tile=2) * 2j + A, real * 2j + a),
        (np.square(A) - A * A, np.square(a) - a * a),
    )
    for x, expected in cases:
        value = x.compute()
        assert value.dtype == x.dtype == expected.dtype
        assert np.allclose(value, expected, rtol=4 * np.finfo(dtype).eps, atol=0)


def test_powers_have_the_precision_of_their_exponent() -> None:
    for dtype in DTYPES:
        a = np.asarray(abs(normal((3, 3), dtype)) + (0.3j if dtype[0] == "c" else 0), dtype)
        A = wl.from_array(a, tile=2)
        for c in (2, 0.5, -1, True, *(np.float64(c) for c in (0.5, 1, 2, -1)), np.float32(2), np.int64(2)):
            x, expected = (A**c).compute(), a**c
            assert (x.dtype, x.tobytes()) == (expected.dtype, expected.tobytes()), (dtype, c)
