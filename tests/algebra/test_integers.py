"""Vectors of integers, which `lu(p_indices=True)` makes: integers where they only move, else float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import wrenla as wl

from . import gallery
from .gallery import Array

N = 11
a, v = gallery.normal((N, N), "float64", 3), np.arange(N) + 0.5
p: Array = scipy.linalg.lu(a, p_indices=True)[0]


@pytest.fixture(params=["lazy", "persisted"])
def P(request: pytest.FixtureRequest) -> wl.BigMatrix:
    """The permutation as a vector."""
    found = wl.linalg.lu(wl.from_array(a, tile=4), p_indices=True)[0]
    return found if request.param == "lazy" else found.persist()


def computed(x: Any) -> Any:
    return x.compute() if isinstance(x, wl.BigMatrix) else x


MOVES: dict[str, Callable[[Any], Any]] = {
    "whole": lambda p: p,
    "slice": lambda p: p[3:5],
    "steps": lambda p: p[1::3],
    "reversed": lambda p: p[::-1],
    "entry": lambda p: p[-2],
    "row": lambda p: p[None],
    "column": lambda p: p[:, None],
    "transposed": lambda p: p[:, None].T,
    "conjugate": lambda p: p.conj(),
    "plus": lambda p: +p,
    "cast": lambda p: p.astype("int64"),
}


@pytest.mark.parametrize("name", MOVES)
def test_integers_stay_integers_where_they_only_move(name: str, P: wl.BigMatrix) -> None:
    x, expected = MOVES[name](P), MOVES[name](p)
    assert x.dtype == np.int64
    found = x.compute()
    assert found.dtype == np.int64
    assert np.array_equal(found, expected)


def test_other_tiles_and_blocks_of_integers(P: wl.BigMatrix) -> None:
    assert P.rechunk(3).dtype == np.int64
    assert np.array_equal(P.rechunk(3).compute(), p)
    both = wl.block([[P[5:, None]], [P.rechunk(2)[:5, None]]])
    assert both.dtype == np.int64
    assert np.array_equal(both.compute()[:, 0], np.concatenate([p[5:], p[:5]]))
    assert a[P[2:4].compute()].shape == (2, N)
    assert int(P[4]) == p[4]


ARITHMETIC: dict[str, Callable[[Any], Any]] = {
    "p + 1": lambda p: p + 1,
    "3 - p": lambda p: 3 - p,
    "p + 1.5": lambda p: p + 1.5,
    "p + 1j": lambda p: p + 1j,
    "p * 2": lambda p: p * 2,
    "p * 2.5": lambda p: p * 2.5,
    "p * np.float32": lambda p: p * np.float32(0.5),
    "-p": lambda p: -p,
    "negative of -p": lambda p: np.negative(-p),
    "p / 2": lambda p: p / 2,
    "p // 2": lambda p: p // 2,
    "p % 3": lambda p: p % 3,
    "p ** 2": lambda p: p**2,
    "abs": lambda p: abs(p - 4),
    "p + p": lambda p: p + p,
    "p - p": lambda p: p - p[::-1],
    "p * p": lambda p: p * p,
    "p + v": lambda p: p + v,
    "p + integers": lambda p: p + np.arange(N),
    "v * p": lambda p: v * p,
    "a * p": lambda p: a * p,
    "sqrt": lambda p: np.sqrt(p),
    "maximum": lambda p: np.maximum(p, 3),
    "clip": lambda p: p.clip(2, 4),
    "p @ p": lambda p: p @ p,
    "a @ p": lambda p: a @ p,
    "p @ a": lambda p: p @ a,
    "p.dot": lambda p: p.dot(p),
    "outer": lambda p: p[:, None] @ p[None],
    "sum": lambda p: p.sum(),
    "mean": lambda p: np.mean(p),
    "var": lambda p: p.var(),
    "std": lambda p: p.std(),
    "max": lambda p: p.max(),
    "min": lambda p: p.min(),
    "sum of rows": lambda p: p[:, None].sum(axis=1),
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_with_integers_is_that_of_float64(name: str, P: wl.BigMatrix) -> None:
    """As that with arrays of integers."""
    x, expected = ARITHMETIC[name](P), np.asarray(ARITHMETIC[name](p))
    assert x.dtype == np.result_type(expected.dtype, "float64")
    assert x.shape == expected.shape
    found = x.compute()
    assert found.dtype == x.dtype
    assert np.allclose(found, expected, rtol=1e-14)


def test_integers_in_linear_algebra(P: wl.BigMatrix) -> None:
    A = wl.from_array(a, tile=4)
    assert gallery.solve_error(a, A.solve(P, "gen").compute(), p.astype(float)) <= gallery.SOLVE_GATE
    assert gallery.solve_error(a, wl.linalg.lu_factor(A).solve(P).compute(), p * 1.0) <= gallery.SOLVE_GATE
    for found, expected in (
        (wl.linalg.norm(P), np.linalg.norm(p)),
        (wl.linalg.norm(P[:, None], 1), np.abs(p).sum()),
        (A.gram(P), a * p @ a.T),
        (A.scale_rows(P), p[:, None] * a),
        (P[:, None].gram(), np.outer(p, p)),
        (P[:, None].scale_columns([2]), 2 * p[:, None]),
        (wl.block([[P[:, None], A]]), np.column_stack([p, a])),
        (wl.map_tiles(lambda i: np.sqrt(v)[i], P, dtype="float64"), np.sqrt(v)[p]),
    ):
        assert np.allclose(found.compute(), expected)


def test_matrices_of_one_integer(P: wl.BigMatrix) -> None:
    k = int(np.flatnonzero(p == 4)[0])
    four = P[k : k + 1][:, None]
    assert four.shape == (1, 1)
    assert four.dtype == np.int64
    linalg = wl.linalg
    rows: list[tuple[Any, float]] = [
        (four.shift(3), 7), (four.tril(), 4), (four.triu(), 4), (four.trace(), 4), (four.diagonal(), 4),
        (four.cholesky(), 2), (four.solve([8.0]), 2), (four.slogdet().logabsdet, np.log(4)),
        (linalg.det(four), 4), (linalg.inv(four), 0.25), (linalg.lu_factor(four).lu, 4),
        (linalg.solve_triangular(four, [8.0]), 2), (linalg.cho_factor(four).solve([8.0]), 2),
        (linalg.lu(four)[2], 4), (linalg.rcond(four), 1),
    ]  # fmt: skip
    for got, expected in rows:
        assert np.allclose(computed(got), expected)


def test_what_no_matrix_of_integers_can_do_is_refused_at_once(P: wl.BigMatrix) -> None:
    with pytest.raises(TypeError, match="int64 cannot be saved"):
        P.save("memory://integers/p")
    for A, dtype in ((P, "int32"), (wl.eye(3), "int64")):
        with pytest.raises(TypeError, match="is not one of float32"):
            A.astype(dtype)
