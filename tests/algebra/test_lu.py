"""LU factors with pivots across tiles, and what is solved with them, by backward error."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

import wrenla as wl
from wrenla.matrices.lu_factor import lu_pair

from . import gallery
from .conftest import Workers
from .gallery import ALARM, ALARM_FROM, DTYPES, FEW_TILINGS, LU_GATE, ONE_REAL_ONE_COMPLEX, SOLVE_GATE, Array

SHAPES = ((1, 1, 1), (7, 7, 9), (24, 24, 8), (50, 50, 7), (33, 9, 4), (9, 33, 4), (30, 12, 4), (12, 30, 7))
"""Rows, columns and tile edge: square, tall and wide, ragged and not, one tile and many."""


def check_factors(a: Array, lu: Array, piv: Array, healthy: float = ALARM) -> None:
    assert lu.dtype == a.dtype
    assert lu.shape == a.shape
    assert piv.dtype == np.int32
    assert piv.shape == (min(a.shape),)
    assert np.all(piv >= np.arange(piv.size))
    assert np.all(piv < max(1, len(a)))
    error = gallery.lu_error(a, lu, piv)
    assert error <= LU_GATE
    if min(a.shape) >= ALARM_FROM:
        assert error <= healthy, "within the gate, but a hundred times what is usual"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_lu_factor_finds_scipys_pivots(shape: tuple[int, int, int], dtype: str) -> None:
    m, n, tile = shape
    a = gallery.normal((m, n), dtype, m + n)
    lu, piv = wl.linalg.lu_factor(wl.from_array(a, tile=tile))
    check_factors(a, lu.compute(), piv)
    assert np.array_equal(piv, scipy.linalg.lu_factor(a)[1])


@settings(max_examples=15)
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(1, 12), st.sampled_from(DTYPES)
)
def test_lu_factor_of_any_shape_and_tiling(m: int, n: int, rows: int, cols: int, dtype: str) -> None:
    a = gallery.normal((m, n), dtype, 41 * m + n)
    lu, piv = wl.linalg.lu_factor(wl.from_array(a, tile=(rows, cols)))
    check_factors(a, lu.compute(), piv)
    assert np.array_equal(piv, scipy.linalg.lu_factor(a)[1])


@pytest.mark.every_day(4)
@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
@pytest.mark.parametrize("dtype", ONE_REAL_ONE_COMPLEX)
@pytest.mark.parametrize("name", gallery.GENERAL)
def test_solve_of_general_matrix_is_backward_stable(name: str, dtype: str) -> None:
    """Rows have to be exchanged across tiles: without it most of these fail, or lose all digits.

    `test_gallery` has more right-hand sides.
    """
    for n, tile in FEW_TILINGS:
        a = gallery.GENERAL[name](n, dtype)
        b = gallery.normal((n, 15) if n == 8 else n, dtype, 5)
        x = wl.from_array(a, tile=tile).solve(b, "gen", check=False).compute()
        assert x.shape == b.shape
        assert x.dtype == b.dtype
        error = gallery.solve_error(a, x, b)
        assert error <= SOLVE_GATE
        assert n < ALARM_FROM or error <= ALARM


@pytest.mark.every_day(2)
@pytest.mark.parametrize("dtype", ONE_REAL_ONE_COMPLEX)
@pytest.mark.parametrize("word", ["her", "sym"])
def test_solve_of_indefinite_matrix_reads_its_lower_triangle(word: str, dtype: str) -> None:
    """Whatever is in the other one, unless it is looked at."""
    for n, tile in FEW_TILINGS:
        half = np.tril(gallery.normal((n, n), dtype, 13))
        if word == "her":
            half[np.diag_indices(n)] = half.diagonal().real
        across = half.conj().T if word == "her" else half.T
        whole = half + np.triu(across, 1)
        b = gallery.normal((n, 2), dtype, 1)
        unread = np.triu(np.full((n, n), np.nan), 1) + half
        other = (tile, tile + 1)
        for a, tiles, check in (
            (whole, tile, True),
            (whole, other, True),
            (half, tile, False),
            (unread, other, False),
        ):
            x = wl.from_array(a, tile=tiles).solve(b, word, check=check).compute()
            assert gallery.solve_error(whole, x, b) <= SOLVE_GATE
        if n > 1:
            with pytest.raises(wl.linalg.StructureError, match="entry"):
                wl.from_array(half, tile=tile).solve(b, word).compute()


@pytest.mark.every_day(4)
@pytest.mark.parametrize("dtype", ONE_REAL_ONE_COMPLEX)
@pytest.mark.parametrize("trans", ["N", "T", "C", 0, 1, 2])
def test_factor_solves_with_transposes(trans: str | int, dtype: str) -> None:
    for n, tile in FEW_TILINGS if isinstance(trans, str) else FEW_TILINGS[-1:]:
        a, b = gallery.normal((n, n), dtype, n), gallery.normal((n, 3), dtype, 1)
        op: Array = {"N": a, "T": a.T, "C": a.conj().T}[{0: "N", 1: "T", 2: "C"}.get(trans, trans)]  # type: ignore[arg-type, index]
        factor = wl.linalg.lu_factor(wl.from_array(a, tile=tile))
        x = wl.linalg.lu_solve(factor, b, trans).compute()  # type: ignore[arg-type]
        assert gallery.solve_error(op, x, b) <= SOLVE_GATE
        x = wl.linalg.lu_solve(scipy.linalg.lu_factor(a), b, trans).compute()  # type: ignore[arg-type]
        assert gallery.solve_error(op, x, b) <= SOLVE_GATE


@pytest.mark.every_day(4)
@pytest.mark.parametrize("dtype", ONE_REAL_ONE_COMPLEX)
@pytest.mark.parametrize("shape", SHAPES)
def test_lu_unpacks_as_scipys(shape: tuple[int, int, int], dtype: str) -> None:
    m, n, tile = shape
    a = gallery.normal((m, n), dtype, 7)
    A = wl.from_array(a, tile=tile)
    P, L, U = wl.compute(*wl.linalg.lu(A))
    p, low, up = wl.compute(*wl.linalg.lu(A, p_indices=True))
    PL, U2 = wl.compute(*wl.linalg.lu(A, permute_l=True))
    expected = scipy.linalg.lu(a)
    assert [x.shape for x in (P, L, U)] == [x.shape for x in expected]
    assert np.array_equal(P, expected[0])
    assert np.array_equal(p, scipy.linalg.lu(a, p_indices=True)[0])
    for one, other in ((L, low), (U, up), (U, U2), (L, np.tril(L)), (U, np.triu(U)), (PL, L[p]), (PL, P @ L)):
        assert np.array_equal(one, other)
    assert np.all(L.diagonal() == 1)
    u = gallery.unit_roundoff(dtype)
    error = gallery.wide(a) - gallery.wide(PL) @ gallery.wide(U)
    assert gallery.norm1(error) <= LU_GATE * u * max(m, n) * gallery.norm1(a)


@pytest.mark.parametrize("dtype", ONE_REAL_ONE_COMPLEX)
def test_determinant_and_inverse(dtype: str) -> None:
    for n, tile in FEW_TILINGS:
        a = gallery.normal((n, n), dtype, n) / np.sqrt(n).astype(dtype).real
        A = wl.from_array(a, tile=tile)
        tol = 500 * n * gallery.unit_roundoff(dtype) * float(np.linalg.cond(a.astype(np.complex128)))
        sign, logabs = wl.compute(*A.slogdet())
        expected = np.linalg.slogdet(a.astype(np.complex128 if a.dtype.kind == "c" else np.float64))
        assert sign.dtype == a.dtype
        assert abs(sign - expected.sign) <= tol
        assert abs(logabs - expected.logabsdet) <= tol
        for det in (wl.linalg.det(A), wl.linalg.lu_factor(A).det()):
            got = det.compute()
            assert got.dtype == a.dtype
            assert abs(got - np.linalg.det(a)) <= tol * abs(np.linalg.det(a))
        for inverse in (wl.linalg.inv(A), wl.linalg.lu_factor(A).inv()):
            x = inverse.compute()
            assert gallery.solve_error(a, x, np.eye(n, dtype=dtype)) <= SOLVE_GATE


def test_determinant_of_integers_is_exact() -> None:
    swapped, turned = np.eye(7)[::-1], np.eye(6)[[1, 2, 0, 4, 5, 3]]
    for a in ([[0.0, 1.0], [1.0, 0.0]], [[0.0, 2.0], [1.0, 4.0]], swapped, turned):
        assert float(wl.linalg.det(wl.from_array(np.array(a), tile=2))) == round(np.linalg.det(a))
    spd = wl.from_array(np.array([[4.0, 2.0], [2.0, 5.0]]), tile=1, structure="pos")
    assert abs(float(wl.linalg.det(spd)) - 16) <= 1e-14 * 16
    assert float(wl.linalg.det(np.triu(np.full((5, 5), 2.0)))) == 32


@pytest.mark.parametrize("make", [wl.linalg.inv, lambda A: wl.linalg.lu_factor(A).solve(np.ones(9))])
def test_singular_matrix_names_zero_pivot(make: Callable[[wl.BigMatrix], wl.BigMatrix]) -> None:
    for column in (0, 4, 8):
        a = gallery.normal((9, 9), "float64", 3)
        a[:, column] = 0
        A = wl.from_array(a, tile=2)
        with pytest.raises(wl.linalg.SingularMatrixError, match=f" {column}\\b"):
            make(A).compute()
        assert wl.compute(*A.slogdet()) == (0, -np.inf)
        assert float(wl.linalg.det(A)) == 0


def test_nearly_singular_matrix_warns() -> None:
    a = gallery.normal((12, 12), "float64", 3)
    a[:, 7] = a[:, 2] * (1 + 1e-17)
    with pytest.warns(scipy.linalg.LinAlgWarning, match="Ill-conditioned"):
        wl.from_array(a, tile=5).solve(np.ones(12)).compute()


@pytest.mark.parametrize("trans", ["N", "T", "C"])
def test_warning_of_given_factors_is_about_the_factor(trans: Any) -> None:
    """Of this matrix rcond is 1/60; of its U it is less than 1e-17, and the matrix is not known."""
    pair = scipy.linalg.lu_factor(gallery.wilkinson(60, "complex128"))
    with pytest.warns(scipy.linalg.LinAlgWarning) as told:
        wl.linalg.lu_solve(pair, np.ones(60), trans).compute()
    assert [str(each.message).partition(",")[0] for each in told] == [
        "Ill-conditioned factor U of P A = L U: rcond is at most 1.73e-18"
    ]
    triangle = np.diag(np.logspace(0, -20, 9))
    with pytest.warns(scipy.linalg.LinAlgWarning, match="Ill-conditioned matrix: rcond is at most 1e-20,"):
        wl.linalg.solve_triangular(wl.from_array(triangle, tile=4), np.ones(9)).compute()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1j * np.inf])
def test_not_finite_number_names_its_column(value: complex) -> None:
    """LAPACK pivots on infinity, and returns a solution without a trace of it."""
    for dtype in DTYPES if np.isreal(value) else ("complex64", "complex128"):
        for i, j in ((0, 0), (8, 1), (3, 7), (8, 8), (0, 8)):
            a = gallery.normal((9, 9), dtype, 3)
            a[i, j] = value
            with pytest.raises(wl.linalg.NotFiniteError, match=f"column {j} "):
                wl.from_array(a, tile=4).solve(np.ones(9), check=False).compute()


def test_large_numbers_are_finite() -> None:
    """Though the sum of a column is not."""
    a = (gallery.normal((9, 9), "float64", 3) + 10 * np.eye(9)) * 1e307
    x = wl.from_array(a, tile=4).solve(np.ones(9), check=False).compute()
    assert gallery.solve_error(a, x, np.ones(9)) <= ALARM


def test_not_finite_right_hand_side_is_an_error_with_its_column() -> None:
    a, b = gallery.normal((9, 9), "float64", 3), np.ones((9, 3))
    for value in (np.nan, np.inf):
        b[4, 2] = value
        with pytest.raises(wl.linalg.NotFiniteError, match=r"column 2 .* of the right-hand side") as raised:
            wl.from_array(a, tile=4).solve(b).compute()
        assert (raised.value.column, raised.value.what) == (2, "right-hand side")


def test_factor_is_computed_once_and_kept(workers: Workers) -> None:
    executor = workers(2)
    a = gallery.normal((20, 20), "float64", 3)
    factor = wl.linalg.lu_factor(wl.from_array(a, tile=6))
    assert repr(factor) == "LUFactor((20, 20), float64, not computed yet)"
    done: list[str] = []

    def listen(event: object) -> None:
        done.extend([event.kernel] if type(event).__name__ == "TaskFinished" else [])

    for k in range(2):
        b = gallery.normal(20, "float64", k)
        x = factor.solve(b).compute(executor, callbacks=[listen])
        assert gallery.solve_error(a, x, b) <= SOLVE_GATE
    assert done.count("getrf") == 4, "a panel for each of four tile columns, in the first run only"
    assert repr(factor) == "LUFactor((20, 20), float64, computed)"
    assert np.array_equal(factor.piv(executor), scipy.linalg.lu_factor(a)[1])
    kept = factor.lu.compute(executor)
    assert gallery.lu_error(a, kept, factor.piv(executor)) <= ALARM


def test_unfit_arguments_of_lu_are_refused() -> None:
    A = wl.from_array(gallery.normal((6, 4), "float64"), tile=3)
    b = np.ones(6)
    for refused in (A.slogdet, lambda: wl.linalg.det(A), lambda: wl.linalg.inv(A), lambda: A.solve(b)):
        with pytest.raises(ValueError, match="square"):
            refused()
    factor = wl.linalg.lu_factor(A)
    for refused in (factor.slogdet, factor.det, factor.inv, lambda: factor.solve(b)):
        with pytest.raises(ValueError, match="square"):
            refused()
    whole = wl.linalg.lu_factor(np.eye(4))
    with pytest.raises(ValueError, match="4 equations"):
        whole.solve(np.ones(5))
    with pytest.raises(ValueError, match="trans is"):
        whole.solve(np.ones(4), "H")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="lu_factor"):
        wl.linalg.lu_solve(A, b)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="4 integers"):
        wl.linalg.lu_solve((np.eye(4), np.arange(3)), np.ones(4))
    with pytest.raises(ValueError, match="no row"):
        wl.linalg.lu_solve((np.eye(4), np.array([0, 1, 2, 4])), np.ones(4))
    with pytest.raises(TypeError, match="LUFactor"):
        np.asarray(whole)
    with pytest.raises(TypeError, match="there is no overwrite="):
        wl.linalg.lu_factor(A, overwrite=True)
    with pytest.raises(ValueError, match="matrix is needed"):
        wl.linalg.lu_factor(np.ones(3))
    with pytest.raises(TypeError, match="int64 cannot be saved"):
        wl.linalg.lu(np.eye(3), p_indices=True)[0].save("memory://lu/p")


def test_factors_are_saved_as_one_matrix() -> None:
    a = gallery.normal((11, 11), "float64", 3)
    factor = wl.linalg.lu_factor(wl.from_array(a, tile=4))
    lu = factor.lu.save("memory://lu/saved")
    assert gallery.lu_error(a, wl.open("memory://lu/saved").compute(), factor.piv()) <= ALARM
    x = wl.linalg.lu_solve((lu, factor.piv()), np.ones(11)).compute()
    assert gallery.solve_error(a, x, np.ones(11)) <= ALARM


def test_empty_matrix() -> None:
    for shape in ((0, 0), (0, 3), (3, 0)):
        lu, piv = wl.linalg.lu_factor(np.zeros(shape))
        assert lu.compute().shape == shape
        assert piv.size == 0
    assert wl.linalg.inv(np.zeros((0, 0))).compute().shape == (0, 0)
    assert float(wl.linalg.det(np.zeros((0, 0)))) == 1
    assert wl.linalg.solve(np.zeros((0, 0)), np.zeros(0), assume_a="gen").compute().shape == (0,)


def exact_rcond(a: Array) -> float:
    inverse = np.linalg.inv(a.astype("complex128" if a.dtype.kind == "c" else "float64"))
    return 1 / (gallery.norm1(a) * gallery.norm1(inverse))


@pytest.mark.every_day(4)
@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
@pytest.mark.parametrize("dtype", ONE_REAL_ONE_COMPLEX)
@pytest.mark.parametrize("name", gallery.GENERAL)
def test_rcond_is_within_three_of_the_true_one(name: str, dtype: str) -> None:
    for n, tile in ((21, 5),):
        a = gallery.GENERAL[name](n, dtype)
        exact = exact_rcond(a)
        if exact < 100 * gallery.unit_roundoff(dtype):
            continue  # the inverse of NumPy is as uncertain as ours
        A = wl.from_array(a, tile=tile)
        assert exact * 0.9 <= wl.linalg.rcond(A) <= 3 * exact
        assert 1 / wl.linalg.cond(A, np.inf) <= 3 * exact_rcond(a.T)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_rcond_of_structures(dtype: str) -> None:
    a = gallery.well_conditioned(23, dtype)
    half = np.tril(a)
    rows = ((a, "pos", a), (half, "lower", half), (half.conj().T, "upper", half.conj().T))
    for array, structure, whole in rows:
        A = wl.from_array(array, tile=5, structure=structure)  # type: ignore[arg-type]
        exact = exact_rcond(whole)
        assert exact * 0.9 <= wl.linalg.rcond(A) <= 3 * exact
    exact = exact_rcond(a)
    factor = wl.linalg.cho_factor(wl.from_array(a, tile=5))
    given = wl.linalg.CholeskyFactor(factor.L.compute(), lower=True)
    upper = wl.linalg.cho_factor(wl.from_array(np.triu(a), tile=5), lower=False)
    for found in (factor.rcond(), given.rcond(), given.rcond(norm=gallery.norm1(a)), upper.rcond()):
        assert exact * 0.9 <= found <= 9 * exact  # norms may be estimates, too


def test_rcond_of_special_matrices() -> None:
    assert wl.linalg.rcond(np.eye(7)) == 1
    assert wl.linalg.rcond(np.zeros((0, 0))) == 1
    assert wl.linalg.rcond(np.zeros((3, 3))) == 0
    singular = gallery.normal((6, 6), "float64")
    singular[:, 2] = 0
    assert wl.linalg.rcond(wl.from_array(singular, tile=2)) == 0
    assert wl.linalg.cond(wl.from_array(singular, tile=2), 1) == np.inf
    A = wl.from_array(gallery.normal((6, 6), "float64"), tile=2)
    assert wl.linalg.rcond(A) == wl.linalg.rcond(A), "the same numbers at each call"
    state = np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    wl.linalg.rcond(A)
    assert np.random.get_state()[1].tolist() == state  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="square"):
        wl.linalg.rcond(np.ones((2, 3)))
    with pytest.raises(NotImplementedError, match="p is 1 or inf"):
        wl.linalg.cond(A)
    with pytest.raises(ValueError, match="p is 1 or inf"):
        wl.linalg.cond(A, "one")
    with pytest.raises(ValueError, match="norm="):
        lu_pair((np.eye(3), np.arange(3))).rcond()
    assert lu_pair((np.eye(3), np.arange(3))).rcond(norm=2.0) == 0.5


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_lazy_expressions_are_factored_as_they_are_read(dtype: str) -> None:
    n = 13
    a, c = gallery.normal((n, n), dtype, 1), gallery.normal((n, n), dtype, 2)
    w = np.abs(gallery.normal(n, a.real.dtype.name, 3)) + 1
    A, C = wl.from_array(a, tile=5), wl.from_array(c, tile=5)
    rows: list[tuple[wl.BigMatrix, Array]] = [
        (A.H, a.conj().T),
        (2 * A.T - C, 2 * a.T - c),
        (A.shift(3), a + 3 * np.eye(n, dtype=dtype)),
        (A.tril() + C.triu(), np.tril(a) + np.triu(c)),
        (A * w, a * w),
        (A @ C, a @ c),
        (A[::-1, 1:].rechunk(4)[:, : n - 1][: n - 1], a[::-1, 1:][: n - 1]),
        (np.exp(A), np.exp(a)),
        (A.astype("complex128"), a.astype("complex128")),
    ]
    for lazy, array in rows:
        b = np.ones(len(array), array.dtype)
        x = lazy.solve(b, check=False).compute()
        size = gallery.norm_inf(array) * np.abs(x).max() + 1
        tol = 100 * SOLVE_GATE * gallery.unit_roundoff(dtype) * n * size  # what is read is rounded, too
        assert np.abs(array @ x - b).max() <= tol
    parts = wl.block([[A, C], [C.T, A.H]])
    array = np.block([[a, c], [c.T, a.conj().T]])
    x = parts.solve(np.ones(2 * n, dtype), check=False).compute()
    assert gallery.solve_error(array, x, np.ones(2 * n, dtype)) <= SOLVE_GATE


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_unpacked_factors_are_solved_with_as_they_are(dtype: str) -> None:
    """On the diagonal of L's stored tiles stands that of U."""
    a, b = gallery.normal((23, 23), dtype, 3), gallery.normal((23, 2), dtype, 4)
    _, L, U = wl.linalg.lu(wl.from_array(a, tile=5))
    low, up = L.compute(), U.compute()
    rows: list[tuple[wl.BigMatrix, Array]] = [
        (L, low), (L.T, low.T), (L.H, low.conj().T), (2 * L, 2 * low), (L.shift(2), low + 2 * np.eye(23)),
        (U, up), (U.H, up.conj().T), (-U, -up),
    ]  # fmt: skip
    for lazy, array in rows:
        assert gallery.solve_error(array.astype(dtype), lazy.solve(b).compute(), b) <= SOLVE_GATE
    x = wl.linalg.solve_triangular(L, b, trans="C", lower=True).compute()
    assert gallery.solve_error(low.conj().T, x, b) <= SOLVE_GATE
    assert gallery.solve_error(low, wl.linalg.inv(L).compute(), np.eye(23, dtype=dtype)) <= SOLVE_GATE
    product = low @ low.conj().T
    assert gallery.solve_error(product, wl.linalg.cho_solve((L, True), b).compute(), b) <= SOLVE_GATE


@pytest.mark.parametrize("trans", ["N", "T", "C"])
def test_given_factors_may_be_seen_through_views(trans: Any) -> None:
    a, b = gallery.normal((13, 13), "complex128", 3), gallery.normal((13, 2), "complex128", 4)
    lu, piv = scipy.linalg.lu_factor(a)
    op = {"N": a, "T": a.T, "C": a.conj().T}[trans]
    ours = wl.linalg.lu_factor(wl.from_array(a, tile=4)).lu
    views = (
        wl.from_array(np.ascontiguousarray(lu.T), tile=4).T,
        wl.from_array(np.ascontiguousarray(lu.conj().T), tile=4).H,
        0.5 * wl.from_array(2 * lu, tile=4),
        wl.from_array(lu - np.eye(13), tile=4).shift(1),
        wl.from_array(lu, tile=(4, 7)),
        ours,
    )
    for view in views:
        x = wl.linalg.lu_solve((view, piv), b, trans).compute()
        assert gallery.solve_error(op, x, b) <= SOLVE_GATE


def test_symmetric_is_checked_whatever_structure_is_known() -> None:
    low = np.tril(gallery.normal((9, 9), "float64", 3)) + 3 * np.eye(9)
    c = gallery.normal((9, 9), "complex128", 3)
    lower = wl.from_array(low, tile=4, structure="lower")
    hermitian = wl.from_array(c + c.conj().T, tile=4, structure="hermitian")
    for A, word in ((lower, "sym"), (lower, "her"), (lower.T, "sym"), (hermitian, "sym")):
        with pytest.raises(wl.linalg.StructureError, match="entry"):
            A.solve(np.ones(9), word).compute()
    with pytest.raises(wl.linalg.StructureError, match=r"said to be symmetric,.*\(A \+ A.T\) / 2"):
        wl.from_array(c, tile=4).solve(np.ones(9), "sym").compute()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite_number_of_wide_matrix_names_its_column(value: float) -> None:
    for column in (0, 4, 5, 9, 12):
        a = gallery.normal((5, 13), "float64", 3)
        a[3, column] = value
        for tile in (2, 3, 5, 13):
            with pytest.raises(wl.linalg.NotFiniteError, match=f"column {column} "):
                wl.linalg.lu_factor(wl.from_array(a, tile=tile)).lu.compute()


def test_factor_taken_for_the_matrix_is_refused() -> None:
    a = gallery.well_conditioned(9, "float64")
    factor = wl.linalg.cho_factor(wl.from_array(a, tile=4, structure="pos"))
    factor.save("memory://lu/factor")
    opened = wl.open("memory://lu/factor")
    for what in ("inv", "det", "rcond"):
        with pytest.raises(ValueError, match=rf"CholeskyFactor\(L\)\.{what}"):
            getattr(wl.linalg, what)(opened)
    assert abs(float(factor.det()) - np.linalg.det(a)) <= 1e-12 * np.linalg.det(a)
    assert gallery.solve_error(a, factor.inv().compute(), np.eye(9)) <= ALARM
    with pytest.raises(ValueError, match="not negative"):
        factor.rcond(norm=-1.0)


def test_planned_factor_is_not_kept_by_its_plan(workers: Workers, tmp_path: Path) -> None:
    executor = workers(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WRENLA_STORE", str(tmp_path / "store"))
        factor = wl.linalg.lu_factor(wl.from_array(gallery.normal((9, 9), "float64", 3), tile=4))
        x = factor.solve(np.ones(9))
        wl.plan(x, executor=executor)
        x.compute(executor)
        assert any(path.is_file() for path in (tmp_path / "store").rglob("*"))
        del factor, x
        gc.collect()
        assert not any(path.is_file() for path in (tmp_path / "store").rglob("*"))
