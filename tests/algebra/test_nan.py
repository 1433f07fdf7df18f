"""NaN in, error or NaN out: never a clean number."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

import wrenla as wl

from . import gallery
from .gallery import DTYPES, Array

N, TILE = 13, 4
PLACES = ((0, 0), (6, 2), (12, 12), (2, 9), (9, 9))
"""In the first tile, below the diagonal, in the last ragged one, above the diagonal, in between."""


def spoiled(at: tuple[int, int], dtype: str, whole_tile: bool = False) -> Array:
    a = gallery.well_conditioned(N, dtype)
    i, j = at
    if whole_tile:
        i, j = i // TILE * TILE, j // TILE * TILE
        a[i : i + TILE, j : j + TILE] = np.nan
    else:
        a[i, j] = np.nan
    return a


def operands(dtype: str, places: tuple[tuple[int, int], ...] = PLACES) -> Iterator[wl.BigMatrix]:
    for at in places:
        for whole_tile in (False, True):
            yield wl.from_array(spoiled(at, dtype, whole_tile), tile=TILE)


def has_nan(value: object) -> bool:
    return bool(np.isnan(np.asarray(value)).any())


NUMBERS: dict[str, Callable[[wl.BigMatrix], wl.BigMatrix]] = {
    "fro": lambda A: A.norm(),
    "1": lambda A: A.norm(1),
    "-1": lambda A: A.norm(-1),
    "inf": lambda A: A.norm(np.inf),
    "-inf": lambda A: A.norm(-np.inf),
    "max": lambda A: A.norm("max"),
    "sum": lambda A: A.sum(),
    "sum of columns": lambda A: A.sum(0),
    "sum of rows": lambda A: A.sum(1),
    "gram": lambda A: A.gram(),
    "gram of the transpose": lambda A: A.T.gram(),
    "weighted gram": lambda A: A.gram(np.zeros(N)),
    "product": lambda A: A @ np.ones((N, 2)),
    "product from the left": lambda A: operator.matmul(np.ones((2, N)), A),
    "product with zeros": lambda A: A @ wl.zeros((N, 2)),
    "zero times": lambda A: 0 * A,
    "product with zero times": lambda A: (0 * A) @ np.ones((N, 2)),
    "gram of zero times": lambda A: (0 * A).gram(),
    "sum of two": lambda A: A + wl.eye(N),
    "shift": lambda A: A.shift(1),
    "weighed": lambda A: A.scale_rows(np.zeros(N)),
    "copy": lambda A: A.rechunk(5),
    "map_tiles": lambda A: wl.map_tiles(np.negative, A),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NUMBERS)
def test_nan_of_an_entry_reaches_each_result(name: str, dtype: str) -> None:
    matrices = operands(dtype, PLACES if dtype == "float64" else PLACES[1:4])
    for A in islice(matrices, None, None, 1 if dtype == "float64" else 3):
        assert has_nan(NUMBERS[name](A).compute())


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_times_a_large_tile(dtype: str) -> None:
    """BLAS does not read a matrix that it is to multiply by zero."""
    a = np.zeros((200, 200), dtype)
    a[150, 60] = np.nan
    A = wl.from_array(a)
    for x in ((0 * A) @ A.T, A @ (A * 0), (0 * A).gram(), (A.T * 0).gram()):
        assert has_nan(x.compute())


@pytest.mark.parametrize("place", [(0, 0), (12, 12), (9, 9)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_on_diagonal_reaches_trace_and_diagonal(dtype: str, place: tuple[int, int]) -> None:
    for A in operands(dtype, (place,)):
        assert has_nan(A.trace().compute())
        assert has_nan(A.diagonal().compute())


def outcome(x: wl.BigMatrix) -> object:
    """Return what comes out, NaN for an error that says so."""
    try:
        return x.compute()
    except wl.LinAlgError:
        return np.nan


@pytest.mark.every_day(4)
@pytest.mark.parametrize("place", [(0, 0), (6, 2), (12, 12), (9, 9)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_in_matrix_reaches_its_factor(dtype: str, place: tuple[int, int]) -> None:
    b = np.ones(N)
    for whole_tile in (False, True):
        a = spoiled(place, dtype, whole_tile)
        A, P = wl.from_array(a, tile=TILE), wl.from_array(a, tile=TILE, structure="pos", check=False)
        factor = wl.linalg.cho_factor(A)
        for x in (
            A.cholesky(),
            A.cholesky(upper=True),
            P.solve(b),
            factor.solve(b),
            P.slogdet().logabsdet,
            P.slogdet().sign,
            factor.slogdet().logabsdet,
            wl.linalg.solve_triangular(A, b, lower=True),
            wl.linalg.solve_triangular(A, b, trans="C", lower=True),
        ):
            assert has_nan(outcome(x))


@pytest.mark.parametrize("structure", ["lower", "upper"])
def test_nan_in_triangle_reaches_slogdet(structure: str) -> None:
    for place in ((0, 0), (9, 9), (12, 12)):
        T = wl.from_array(spoiled(place, "complex128"), tile=TILE, structure=structure, check=False)  # type: ignore[arg-type]
        sign, logabs = wl.compute(*T.slogdet())
        assert has_nan(sign)
        assert has_nan(logabs)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_in_right_hand_side_stays_in_its_column(dtype: str) -> None:
    a = gallery.well_conditioned(N, dtype)
    for at in range(0, N, 4):
        b = np.ones((N, 3), dtype)
        b[at, 1] = np.nan
        A = wl.from_array(a, tile=TILE)
        x = wl.linalg.cho_factor(A).solve(b).compute()
        assert np.isnan(x[:, 1]).all()
        assert np.isfinite(x[:, ::2]).all()
        with pytest.raises(wl.linalg.NotFiniteError, match=r"column 1 .* right-hand side"):
            A.solve(b, assume_a="pos").compute()


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_nan_in_weights_reaches_the_result(dtype: str) -> None:
    A = wl.from_array(gallery.well_conditioned(N, dtype), tile=TILE)
    w = np.ones(N, A.dtype.type(0).real.dtype)
    w[5] = np.nan
    for x in (A.gram(w), A.scale_rows(w), A.scale_columns(w), A.scale_columns(w) @ A):
        assert has_nan(x.compute())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("c", [np.nan, np.inf])
def test_nan_or_infinite_scalar_reaches_the_result(c: float, dtype: str) -> None:
    A = wl.from_array(gallery.well_conditioned(N, dtype), tile=TILE)
    for x in (c * A, (c * A) @ np.ones((N, 2)), (c * A).gram(), A.shift(c), (c * A).norm()):
        assert not np.isfinite(x.compute()).all()
        if np.isnan(c):
            assert has_nan(x.compute())


def test_infinity_is_not_lost() -> None:
    a = gallery.well_conditioned(N, "float64")
    a[7, 3] = np.inf
    A = wl.from_array(a, tile=TILE)
    for order in (None, 1, np.inf, "max"):
        assert A.norm(order).compute() == np.inf
    assert A.sum().compute() == np.inf
    assert np.isinf(A.norm().compute())


READERS: list[Callable[..., Any]] = [
    lambda X: X @ np.ones(4),
    lambda X: X.sum(axis=1),
    lambda X: X.sum(axis=0),
    lambda X: X[:, :3],
]

HALVES: dict[str, Callable[[wl.BigMatrix, wl.BigMatrix], wl.BigMatrix]] = {
    "product": lambda L, B: L * B,
    "product from the left": lambda L, B: B * L,
    "with a row": lambda L, B: L * B[1],
    "with a column": lambda L, B: L * B[:, 2:3],
    "with an upper triangle": lambda L, B: L * B.triu(),
    "of an upper triangle": lambda L, B: B.triu() * L,
    "of the transpose": lambda L, B: (L.T * B).T,
    "of triangles": lambda L, B: (L + 1).tril() * B.tril(),
    "triangle of a triangle": lambda L, B: (L * B).triu(),
    "weighed columns": lambda L, B: L.scale_columns(B[1]),
    "weighed rows": lambda L, B: L.scale_rows(B[1]),
    "weighed twice": lambda L, B: (L * B).scale_rows(B[0]).scale_columns(B[1]).H,
    "shifted": lambda L, B: (L * B).shift(2) * B,
    "factor": lambda L, B: (L @ L.T).shift(1).cholesky() * B,
}


def test_zero_triangles_stay_zero_whatever_the_tiles_are() -> None:
    lower, b = np.tril(np.arange(1, 17.0).reshape(4, 4)), np.ones((4, 4))
    b[0, 1:3] = b[1, 1] = b[1, 3] = b[3, 2] = np.nan
    for name, make in HALVES.items():
        first = None
        for tile, other in ((1, 4), (2, (1, 4)), (3, 2)):
            L, B = wl.from_array(lower, tile=tile, structure="lower"), wl.from_array(b, tile=other)
            X = make(L, B)
            stored = X.persist()
            x, y, *results = wl.compute(X, stored, *(f(Y) for Y in (X, stored) for f in READERS))
            first = x if first is None else first
            assert np.array_equal(x, y, equal_nan=True), name
            assert np.allclose(x, first, equal_nan=True), name
            for f, result in zip(READERS * 2, results, strict=True):
                assert np.allclose(result, f(x), equal_nan=True), name
        assert has_nan(first)
        zeros = {"triangle of a triangle": ~np.eye(4, dtype=bool), "weighed twice": np.tri(4, k=-1) > 0}
        assert not first[zeros.get(name, np.tri(4).T - np.eye(4) > 0)].any(), name
