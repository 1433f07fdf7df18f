"""Determinants that are numbers of the dtype, though products on the way to them are not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla import linalg

from . import gallery
from .gallery import DTYPES, Array

N = 400
"""Rows of which half are scaled up, and half down."""

NUMBERS = itertools.count()


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


class Plain:
    """Matrix of a structure, as a factor."""

    def __init__(self, a: Array, structure: str) -> None:
        self._matrix = wl.from_array(a, tile=4, structure=structure)

    def det(self) -> wl.BigMatrix:
        return linalg.det(self._matrix)

    def slogdet(self) -> Any:
        return linalg.slogdet(self._matrix)


def in_tiles(a: Array) -> wl.BigMatrix:
    return wl.from_array(a, tile=4)


def anywhere() -> str:
    return f"memory://determinants/{next(NUMBERS)}"


def turned(a: Array) -> wl.linalg.CholeskyFactor:
    """Return a Cholesky factor whose diagonal is not positive."""
    phases = np.exp(1j * np.arange(len(a))) if a.dtype.kind == "c" else (-1) ** np.arange(len(a))
    return linalg.CholeskyFactor((np.linalg.cholesky(a) * phases).astype(a.dtype), lower=True)


# how a factor is made of a matrix that is not symmetric, or has the symmetry named
FACTORS: dict[str, tuple[str, Callable[[Array], Any]]] = {
    "cho": ("pos", lambda a: linalg.cho_factor(in_tiles(a))),
    "cho upper": ("pos", lambda a: linalg.cho_factor(in_tiles(a), lower=False)),
    "cho given": ("pos", turned),
    "cho saved": ("pos", lambda a: linalg.cho_factor(in_tiles(a)).save(anywhere())),
    "lu": ("general", lambda a: linalg.lu_factor(in_tiles(a))),
    "lu saved": ("general", lambda a: linalg.lu_factor(in_tiles(a)).save(anywhere())),
    "ldlh": ("hermitian", lambda a: linalg.ldl_factor(in_tiles(a))),
    "ldlh saved": ("hermitian", lambda a: linalg.ldl_factor(in_tiles(a)).save(anywhere())),
    "ldlt": ("symmetric", lambda a: linalg.ldl_factor(in_tiles(a), hermitian=False)),
    **{
        f"matrix, {structure}": (structure, lambda a, structure=structure: Plain(a, structure))  # type: ignore[misc]
        for structure in ("general", "lower", "upper", "pos", "hermitian")
    },
}


def of_structure(structure: str, dtype: str, n: int = 11) -> Array:
    a = gallery.normal((n, n), dtype)
    match structure:
        case "pos":
            return gallery.well_conditioned(n, dtype)
        case "hermitian":
            return a + a.conj().T
        case "symmetric":
            return a + a.T
        case "lower":
            return np.tril(a)
        case "upper":
            return np.triu(a)
    return a


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", FACTORS)
def test_determinants_have_the_dtypes_and_values_of_numpy(kind: str, dtype: str) -> None:
    """A complex matrix has a complex determinant, and sign, also where both are real."""
    structure, factored = FACTORS[kind]
    for n in (11, 0):
        a = of_structure(structure, dtype, n)
        factor = factored(a)
        lazy = (factor.det(), *factor.slogdet())
        for ours, value, theirs in zip(
            lazy, wl.compute(*lazy), (np.linalg.det(a), *np.linalg.slogdet(a)), strict=True
        ):
            assert ours.dtype == np.asarray(value).dtype == theirs.dtype
            assert np.isclose(value, theirs, rtol=1e-3 if np.finfo(dtype).bits == 32 else 1e-9)
        if structure == "pos":
            assert factor.det().compute().imag == 0


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("kind", [kind for kind in FACTORS if "saved" not in kind])
def test_complex_determinants_beyond_the_range_are_infinity_and_no_nan(kind: str, dtype: str) -> None:
    """Complex infinity times 1, or squared, is NaN: signs come before numbers that may be infinite."""
    structure, factored = FACTORS[kind]
    diagonal = np.full(13, 1e60 if dtype == "complex128" else 1e7)
    expected = np.inf
    if structure != "pos":
        diagonal[0] *= -1
        expected = -np.inf
    for a in (np.diag(diagonal).astype(dtype), np.diag(1 / diagonal).astype(dtype)):
        if structure == "general":  # with an exchange of rows
            a = a[[1, 0, *range(2, 13)]]
            expected *= -1
        found = factored(a).det().compute()
        assert found.real == (expected if abs(a).max() > 1 else 0)
        assert found.imag == 0


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
