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


@pytest.mark.parametrize("ridge", [1e-2, 1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("turned", [1.0, -1j])
def test_block_factors_of_an_ill_conditioned_matrix_are_not_believed(ridge: float, turned: complex) -> None:
    """At 1e-8 the blocks alone say exp(83) times the determinant, and the other sign."""
    x = np.linspace(0, 1, N)
    a = np.exp(-(((x[:, None] - x) / 0.2) ** 2) / 2) + ridge * np.eye(N)
    phases = np.where(np.arange(N) % 2, turned, 1)
    a = phases[:, None] * a * phases.conj()
    factor = wl.linalg.ldl_factor(wl.from_array((a + a.conj().T) / 2, tile=50))
    sign, logabs = wl.compute(*factor.slogdet())
    known = np.linalg.slogdet(a)
    assert abs(sign - known.sign) < 1e-8
    assert abs(logabs - known.logabsdet) < N * np.finfo(float).eps * 100 / ridge
    assert abs(logabs - known.logabsdet) < 1e-4


def test_a_complex_symmetric_matrix_is_looked_at_too() -> None:
    x = np.linspace(0, 1, N)
    a = (1 + 0.5j) * np.exp(-(((x[:, None] - x) / 0.2) ** 2) / 2) + 1e-8 * np.eye(N)
    found = wl.compute(*wl.linalg.ldl_factor(wl.from_array(a, tile=50), hermitian=False).slogdet())
    known = np.linalg.slogdet(a)
    assert abs(found[0] - known.sign) < 1e-4
    assert abs(found[1] - known.logabsdet) < 1e-4


def test_block_factors_of_a_healthy_matrix_are_not_factored_again() -> None:
    seen: list[str] = []
    a = np.random.default_rng(1).standard_normal((200, 200))
    factor = wl.linalg.ldl_factor(wl.from_array(a + a.T, tile=50))
    logabs = factor.slogdet().logabsdet.compute(
        callbacks=[lambda event: seen.append(getattr(event, "kernel", ""))]
    )
    assert logabs == pytest.approx(np.linalg.slogdet(a + a.T).logabsdet)
    assert "inverse" in seen
    assert "getrf" not in seen
