"""Determinants of triangular tiles against NumPy, and beyond the range of exponents."""

import math

import numpy as np
import pytest

from wrenla_kernels import DTYPES, combine_products, logdet_part, number_from_product, product_part

from .test_reductions import random


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_logdet_is_that_of_numpy(dtype):
    a = np.triu(random((7, 7), dtype)).copy(order="F")
    sign, logarithm = np.linalg.slogdet(a.astype(np.complex128))
    result = logdet_part(a)
    assert result.dtype == dtype
    assert np.abs(result.ravel() - [sign, logarithm]).max() <= 20 * np.finfo(dtype).eps


def test_logdet_does_not_overflow_and_knows_zero():
    assert logdet_part(np.asfortranarray(np.eye(500) * 1e300))[1, 0] == pytest.approx(500 * np.log(1e300))
    for dtype in DTYPES:
        a = np.eye(3, dtype=dtype, order="F")
        a[1, 1] = 0
        assert logdet_part(a).tolist() == [[0], [-np.inf]]
        a[2, 2] = np.nan
        assert np.isnan(logdet_part(a)).all()
    assert logdet_part(np.zeros((0, 0))).tolist() == [[1], [0]]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 1000])
def test_product_is_that_of_numpy(n, dtype):
    a = random((n, n + 1), dtype)
    diagonal = a.diagonal().astype(np.clongdouble)
    mantissa, exponent = product_part(a).ravel()
    assert mantissa.dtype == dtype
    assert 0.5 <= max(abs(mantissa.real), abs(mantissa.imag)) < 1
    error = np.clongdouble(mantissa) * np.longdouble(2) ** int(exponent.real) / diagonal.prod() - 1
    assert abs(error) <= 3 * max(1, n) * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_products_are_exact_where_nothing_is_rounded(dtype):
    powers = np.ldexp(1.0, np.arange(-40, 50)).astype(dtype)
    parts = [product_part(np.asfortranarray(np.diag(each))) for each in (powers, -3 / powers[:3], powers[:0])]
    found = combine_products(np.asfortranarray(np.hstack(parts)))
    assert math.ldexp(found[0, 0].real, int(found[1, 0].real)) == -27 * 2.0**522


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_product_beyond_the_range_is_infinity_or_zero(dtype):
    far = float(np.finfo(dtype).maxexp)
    for exponent, expected in ((far + 9, -np.inf), (-3 * far, 0), (1e30, -np.inf), (-1e30, 0)):
        part = np.array([[-0.5], [exponent]], dtype, order="F")
        assert number_from_product(part)[0, 0].real == expected


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_products_of_what_is_not_finite_are_not(dtype):
    a = np.diag([1e3, np.inf, 2.0]).astype(dtype, order="F")
    assert not np.isfinite(number_from_product(product_part(a)))[0, 0]
    a[0, 0] = np.nan
    assert np.isnan(number_from_product(product_part(a)))[0, 0]


def test_a_product_is_two_numbers():
    with pytest.raises(ValueError, match="two rows"):
        combine_products(np.zeros((3, 1), order="F"))
    with pytest.raises(ValueError, match="two rows"):
        number_from_product(np.zeros((1, 2), order="F"))
