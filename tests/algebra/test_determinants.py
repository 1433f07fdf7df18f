"""Determinants that are numbers of the dtype, though products on the way to them are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import wrenla as wl

from .gallery import DTYPES, Array

N = 400
"""Rows of which half are scaled up, and half down."""


def of_large_and_small(dtype: str) -> Array:
    """Return a well-conditioned triangle with determinant 1, the first half of which overflows."""
    far = 1e3 if np.finfo(dtype).bits == 64 else 2.0
    return np.diag(np.r_[np.full(N // 2, far), np.full(N // 2, 1 / far)]).astype(dtype)


WAYS: dict[str, Callable[[Array, int], wl.BigMatrix]] = {
    "general": lambda a, tile: wl.linalg.det(wl.from_array(a + np.eye(N, k=1, dtype=a.dtype), tile=tile)),
    "triangular": lambda a, tile: wl.linalg.det(wl.from_array(a, tile=tile, structure="lower")),
    "pos": lambda a, tile: wl.linalg.det(wl.from_array(a @ a, tile=tile, structure="pos")),
    "lu": lambda a, tile: wl.linalg.lu_factor(wl.from_array(a, tile=tile)).det(),
    "cho": lambda a, tile: wl.linalg.cho_factor(wl.from_array(a @ a, tile=tile)).det(),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tile", [100, 400])
@pytest.mark.parametrize("way", WAYS)
def test_factors_beyond_the_range_of_the_dtype_cancel(way: str, tile: int, dtype: str) -> None:
    found = WAYS[way](of_large_and_small(dtype), tile).compute()
    assert abs(found - 1) <= 8 * N * np.finfo(dtype).eps


@pytest.mark.parametrize(("far", "expected"), [(1e3, np.inf), (1e-3, 0.0)])
def test_what_is_beyond_the_range_is_infinity_or_zero(far: float, expected: float) -> None:
    A = wl.from_array(np.eye(N) * far, tile=100)
    assert float(wl.linalg.det(A)) == expected
    assert float(wl.linalg.det(-A)) == expected
    assert float(wl.linalg.det(A[: N - 1, : N - 1] * -1)) == -expected


def test_a_zero_beside_large_numbers_is_zero() -> None:
    a = np.eye(N) * 1e3
    a[7, 7] = 0
    assert float(wl.linalg.det(wl.from_array(a, tile=100))) == 0
