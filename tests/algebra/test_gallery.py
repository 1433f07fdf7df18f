"""Matrices of the literature that direct solvers must solve, and those that they must refuse by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
import pytest
import scipy.linalg
from scipy.linalg import get_lapack_funcs

import wrenla as wl
from wrenla.linalg import NotPositiveDefiniteError, SingularMatrixError

from . import gallery
from .gallery import (
    ALARM,
    ALARM_FROM,
    CHOLESKY_GATE,
    DTYPES,
    GENERAL,
    LU_GATE,
    POSITIVE,
    SOLVE_GATE,
    Array,
)

Matrix: TypeAlias = Callable[[int, str], Array]
Schedule: TypeAlias = Literal["waves", "dataflow"]

WAYS: tuple[tuple[int, int, int, Schedule], ...] = (
    (5, 8, 15, "dataflow"),
    (15, 8, 1, "waves"),
    (21, 8, 15, "waves"),
    (21, 8, 2, "dataflow"),
)
"""Order, tile edge, right-hand sides, schedule: n below a tile, two and three tiles a side, ragged ones."""


def ways(dtype: str) -> tuple[tuple[int, int, int, Schedule], ...]:
    """Return all of them for one real and one complex precision, two for the others."""
    return WAYS if dtype in ("float64", "complex64") else WAYS[1::2]


N, TILE = 21, 8
TILE_OF_LAST = N - N % TILE
SCHEDULES: tuple[Schedule, ...] = ("waves", "dataflow")


def scaled(power: float) -> Matrix:
    """Return a well-conditioned matrix times a power of the largest number."""

    def make(n: int, dtype: str) -> Array:
        return times(gallery.well_conditioned(n, dtype), float(np.finfo(dtype).max) ** power)

    return make


def times(a: Array, scale: float) -> Array:
    return np.asarray(a * a.real.dtype.type(scale))


def up_to(most: int, most_of_single: int, matrix: Matrix) -> Matrix:
    """Limit the order to where rounding leaves a matrix positive definite."""

    def make(n: int, dtype: str) -> Array:
        return matrix(min(n, most if gallery.unit_roundoff(dtype) < 1e-10 else most_of_single), dtype)

    return make


def hilbert(n: int, dtype: str) -> Array:
    return gallery.turned(gallery.hilbert(n), dtype)


BY_CHOLESKY: dict[str, Matrix] = {
    **POSITIVE,
    "Moler": up_to(20, 8, gallery.moler),
    "Hilbert": up_to(11, 5, hilbert),
    "scaled by huge^0.9": scaled(0.9),
    "scaled by huge^-0.9": scaled(-0.9),
    "scaled by 1e-10": lambda n, dtype: times(gallery.well_conditioned(n, dtype), 1e-10),
    "kappa 0.01/u, scaled by 1e-10": lambda n, dtype: times(gallery.ill_conditioned(n, dtype), 1e-10),
}

BY_LU: dict[str, Matrix] = {
    **GENERAL,
    "graded columns": gallery.graded_columns,
    "Kahan": gallery.kahan,
    "one negative eigenvalue": gallery.one_negative_eigenvalue,
    "symmetric, last pivot −1": gallery.last_pivot_is_minus_one,
    "Hilbert": hilbert,
}


def check(a: Array, x: Array, b: Array) -> None:
    assert x.shape == b.shape
    assert x.dtype == a.dtype
    error = gallery.solve_error(a, x, b)
    assert error <= SOLVE_GATE
    assert len(a) < ALARM_FROM or error <= ALARM, "within the gate, but far from what is usual"


@pytest.mark.every_day(4)
@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BY_CHOLESKY)
def test_positive_definite_matrix_is_solved(name: str, dtype: str) -> None:
    for order, tile, columns, schedule in ways(dtype):
        a = BY_CHOLESKY[name](order, dtype)
        b = gallery.normal((len(a), columns), dtype, 5)
        check(a, wl.from_array(a, tile=tile).solve(b, "pos").compute(schedule=schedule), b)


@pytest.mark.every_day(4)
@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BY_LU)
def test_general_matrix_is_solved(name: str, dtype: str) -> None:
    """With nothing said of it, and with no look at its entries either."""
    for order, tile, columns, schedule in ways(dtype):
        a = BY_LU[name](order, dtype)
        b = gallery.normal((len(a), columns), dtype, 5)
        look = schedule == "waves"
        check(a, wl.from_array(a, tile=tile).solve(b, check=look).compute(schedule=schedule), b)


# what must be refused


NOT_POSITIVE: dict[str, tuple[Matrix, int | None]] = {
    "Fiedler": (lambda n, dtype: gallery.turned(gallery.fiedler(n), dtype), 1),
    "first row and column zero": (lambda n, dtype: gallery.zero_row_and_column(n, dtype, 0), 1),
    "row and column zero": (lambda n, dtype: gallery.zero_row_and_column(n, dtype, 12), 13),
    "last row and column zero": (lambda n, dtype: gallery.zero_row_and_column(n, dtype, n - 1), N),
    "last pivot −1": (gallery.last_pivot_is_minus_one, N),
    "one negative eigenvalue": (gallery.one_negative_eigenvalue, None),
}
"""What has no Cholesky factor, and the order of the first minor that is not positive (None: LAPACK says)."""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NOT_POSITIVE)
def test_not_positive_definite_matrix_is_refused_by_its_minor(name: str, dtype: str) -> None:
    matrix, minor = NOT_POSITIVE[name]
    a = matrix(N, dtype)
    (potrf,) = get_lapack_funcs(("potrf",), (a,))
    minor = minor or int(potrf(a, lower=True)[1])
    A = wl.from_array(a, tile=TILE)
    for schedule, what in zip(SCHEDULES, (A.solve(np.ones(N, dtype), "pos"), A.cholesky()), strict=True):
        with pytest.raises(NotPositiveDefiniteError, match=f" {minor}\\b") as caught:
            what.compute(schedule=schedule)
        assert caught.value.minor == minor
    if "pivot" in name:
        assert minor > TILE_OF_LAST


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("tile", [5, 8, 20])
def test_hilbert_matrix_of_order_16_has_no_cholesky_factor(tile: int, schedule: Schedule, dtype: str) -> None:
    a = hilbert(16, dtype)
    with pytest.raises(NotPositiveDefiniteError) as caught:
        wl.from_array(a, tile=tile).cholesky().compute(schedule=schedule)
    assert 12 <= caught.value.minor <= 16


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("at", [0, 7, 8, 12, N - 1])
def test_singular_matrix_is_refused_by_its_pivot(at: int, dtype: str) -> None:
    """A row of zeros alone is found when all others have been pivots."""
    both = gallery.zero_row_and_column(N, dtype, at)
    column, row = gallery.normal((N, N), dtype, 3), gallery.normal((N, N), dtype, 3)
    column[:, at], row[at] = 0, 0
    for a, index, schedule in ((both, at, "waves"), (column, at, "dataflow"), (row, N - 1, "waves")):
        x = wl.from_array(a, tile=TILE).solve(np.ones(N, dtype))
        with pytest.raises(SingularMatrixError, match=f" {index}\\b") as caught:
            x.compute(schedule=schedule)
        assert caught.value.index == index


# where partial pivoting itself is no good


def growth(a: Array) -> float:
    """Return by how much entries grow in LAPACK's LU."""
    return float(np.abs(np.triu(scipy.linalg.lu_factor(a)[0])).max() / np.abs(a).max())


GROWING: dict[str, tuple[Callable[[str], Array], float]] = {
    "Wilkinson, 2^59": (lambda dtype: gallery.wilkinson(60, dtype), 2.0**59),
    "Wilkinson, 2^39": (lambda dtype: gallery.wilkinson(40, dtype), 2.0**39),
    "between I and Wilkinson, 2^60": (
        lambda dtype: gallery.wilkinson(90, dtype, 2 ** (60 / 89) - 1),
        2.0**60,
    ),
    "Foster, e^40": (lambda dtype: gallery.foster(200, dtype), float(np.exp(40))),
}


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", GROWING)
def test_entries_grow_as_said(name: str, dtype: str) -> None:
    """Otherwise these matrices would try nothing: a pivot elsewhere, and growth is gone."""
    matrix, expected = GROWING[name]
    assert expected / 16 <= growth(matrix(dtype)) <= 16 * expected


@pytest.mark.parametrize("name", GROWING)
def test_no_digits_are_lost_without_a_word(name: str) -> None:
    """A warning, or an error, or a solution that passes."""
    a = GROWING[name][0]("float64")
    b = gallery.normal((len(a), 2), "float64", 5)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            x = wl.from_array(a, tile=17).solve(b).compute()
        except wl.LinAlgError:
            return
    error = gallery.solve_error(a, x, b)
    assert told or error <= SOLVE_GATE


# the criteria


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gates_are_closed_to_what_is_not_finite(dtype: str, value: float) -> None:
    """A comparison with NaN is false, so a gate is what must be true: `error <= gate`."""
    a, b = gallery.well_conditioned(N, dtype), gallery.normal((N, 2), dtype, 5)
    x, L = np.linalg.solve(a, b), np.linalg.cholesky(a)
    lu, piv = scipy.linalg.lu_factor(a)
    criteria: tuple[tuple[Callable[[Array], float], Array, float], ...] = (
        (lambda x: gallery.solve_error(a, x, b), x, SOLVE_GATE),
        (lambda L: gallery.cholesky_error(a, L), L, CHOLESKY_GATE),
        (lambda lu: gallery.lu_error(a, lu, piv), lu, LU_GATE),
        (lambda c: gallery.matmul_error(c, a, b), a @ b, 3),
    )
    for criterion, result, gate in criteria:
        assert criterion(result) <= gate
        spoiled = result.copy()
        spoiled[N - 1, 0] = value
        with np.errstate(all="ignore"):
            assert not (criterion(spoiled) <= gate)
