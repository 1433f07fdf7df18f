"""Solutions that are looked at: reports, refinement, other ways, half the precision, and errors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

import wrenla as wl
from wrenla.linalg import LinAlgError, NotFiniteError, NotPositiveDefiniteError, SolveReport

from . import gallery
from .gallery import DTYPES, ONE_REAL_ONE_COMPLEX, SOLVE_GATE, Array

N, TILE = 60, 16

GROWING: dict[str, Callable[[int, str], Array]] = {
    "Wilkinson": gallery.wilkinson,
    "Wilkinson of order 40": lambda n, dtype: gallery.wilkinson(40, dtype),
    "Foster": lambda n, dtype: gallery.foster(100, dtype),
}


def with_condition(n: int, kappa: float, dtype: str = "float64", seed: int = 0) -> Array:
    return gallery.with_eigenvalues(np.logspace(0, -np.log10(kappa), n), dtype, seed)


def solved(a: Array, b: Array, tile: int = 0, **options: Any) -> tuple[Array, SolveReport]:
    """Return a solution that meets HPL's criterion, and its report.

    Otherwise there are at most five tiles a side, however large a matrix has to be for its entries to grow.
    """
    x = wl.linalg.solve(wl.from_array(a, tile=tile or max(TILE, -(-len(a) // 5))), b, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)
        found = x.compute()
    assert gallery.solve_error(a, found, b) <= SOLVE_GATE
    report = x.report
    assert report is not None
    return found, report


@pytest.mark.every_day(3)
@pytest.mark.parametrize("dtype", ONE_REAL_ONE_COMPLEX)
@pytest.mark.parametrize("name", GROWING)
def test_where_entries_grow_another_way_is_found(name: str, dtype: str) -> None:
    """SciPy returns these without a word, with residuals of up to 1e12 units."""
    a = GROWING[name](N, dtype)
    b = gallery.normal((len(a), 3), dtype, 1)
    _, report = solved(a, b)
    assert report.refinements or report.fallbacks, "LAPACK's solution alone cannot be trusted"
    assert report.growth is not None
    assert report.hpl <= 16


@pytest.mark.parametrize("tile", [TILE, 28, 140])
def test_a_growth_that_overflows_is_no_end(tile: int) -> None:
    """Some tiles have it between two panels, which look; others in the last one."""
    a = gallery.wilkinson(140, "float32")  # 2^139 is beyond float32
    _, report = solved(a, gallery.normal(140, "float32", 2), tile)
    assert report.fallbacks == ("LU with partial pivoting: overflow in the elimination",)
    assert report.method == "LU of the adjoint with partial pivoting"


def test_entries_that_grow_both_ways_are_mixed() -> None:
    """With such a block each way, entries grow in A and in Aᴴ; random butterflies leave nothing of that."""
    w = gallery.wilkinson(100, "float64")
    _, report = solved(scipy.linalg.block_diag(w, w.T), gallery.normal(200, "float64", 3))
    assert report.method == "LU after random butterflies"
    assert [text.partition(":")[0] for text in report.fallbacks] == [
        "LU with partial pivoting",
        "LU of the adjoint with partial pivoting",
    ]


def test_no_way_is_an_error() -> None:
    """The inverse has entries beyond float64, and so has every solution."""
    w = gallery.wilkinson(100, "float64")
    a = scipy.linalg.block_diag(w, w.T) * 1e-300
    x = wl.from_array(a, tile=40).solve(gallery.normal(200, "float64", 3) * 1e300)
    with pytest.raises(LinAlgError, match="no solution that can be trusted") as raised:
        x.compute()
    for way in ("LU with partial pivoting", "LU of the adjoint", "random butterflies"):
        assert way in str(raised.value)
    assert x.report is None


def test_report_says_what_was_done() -> None:
    a, b = gallery.normal((N, N), "float64", 4), gallery.normal((N, 2), "float64", 5)
    x = wl.from_array(a, tile=TILE).solve(b)
    assert x.report is None, "before it is computed"
    x.compute()
    report = x.report
    assert report is not None
    assert (report.method, report.shape, report.columns) == ("LU with partial pivoting", (N, N), 2)
    assert report.refinements == 0
    assert report.fallbacks == ()
    u, found = 2.0**-53, x.compute()
    r = np.abs(b - a @ found).max(axis=0)
    sizes = gallery.norm_inf(a) * np.abs(found).max(axis=0)
    assert report.hpl == pytest.approx(np.max(r / (u * N * (sizes + np.abs(b).max(axis=0)))), rel=0.5)
    assert report.lapack == pytest.approx(np.max(r / (u * sizes)), rel=0.5)
    assert report.backward_error == pytest.approx(report.hpl * u * N)
    factors, _ = scipy.linalg.lu_factor(a)
    assert report.growth == pytest.approx(np.abs(np.triu(factors)).max() / np.abs(a).max())
    assert report.flops > 2 / 3 * N**3
    assert report.bytes_written > 0
    for word in ("LU with partial pivoting", "HPL", "rcond", "growth", "none needed", "GFLOP"):
        assert word in str(report)
    with pytest.raises(AttributeError):
        report.method = "another"  # type: ignore[misc]


@pytest.mark.parametrize("way", ["pos", "gen"])
def test_condition_is_estimated_within_a_factor_of_three(way: str) -> None:
    for kappa in (1e1, 1e4, 1e8, 1e12):
        for dtype in DTYPES if kappa < 1e6 else ("float64", "complex128"):
            a = with_condition(N, kappa, dtype, 6)
            if way == "gen":
                a = gallery.orthogonal(N, dtype) @ a
            _, report = solved(a, gallery.normal(N, dtype, 7), assume_a=way)
            known = 1 / (gallery.norm1(a) * gallery.norm1(np.linalg.inv(a.astype(complex))))
            assert known / 1.01 <= report.rcond <= 3 * known, (kappa, dtype)


def test_report_comes_with_what_is_persisted_and_saved() -> None:
    a, b = gallery.well_conditioned(N, "float64"), np.ones(N)
    A = wl.from_array(a, tile=TILE)
    kept = A.solve(b, "pos").persist()
    saved = A.solve(b, "pos").save("memory://reports/x")
    for x in (kept, saved):
        assert x.report is not None
        assert x.report.method == "Cholesky"
        assert x.report.growth is None
    assert (kept + 1).report is None
    assert wl.open("memory://reports/x").report is None
    lower = A.tril().solve(b)
    lower.compute()
    assert lower.report is None


def test_full_output_is_solution_and_report() -> None:
    a, b = gallery.normal((N, N), "float64", 8), np.ones((N, 2))
    x, report = wl.linalg.solve(wl.from_array(a, tile=TILE), b, full_output=True)
    assert isinstance(report, SolveReport)
    np.testing.assert_array_equal(x.compute(), wl.from_array(a, tile=TILE).solve(b).compute())
    x, report = wl.linalg.solve(np.tril(a), b, full_output=True)
    assert report is None, "substitution is not looked at"
    with pytest.raises(TypeError, match="full_output is True or False"):
        wl.linalg.solve(a, b, full_output="yes")  # type: ignore[call-overload, unused-ignore]


@pytest.mark.parametrize("dtype", DTYPES)
def test_singular_to_working_precision_warns_with_the_estimate(dtype: str) -> None:
    a = gallery.orthogonal(N, dtype) @ with_condition(N, 1e4 / gallery.unit_roundoff(dtype), dtype)
    x = wl.from_array(a, tile=TILE).solve(np.ones(N, dtype))
    with pytest.warns(scipy.linalg.LinAlgWarning, match="rcond is about") as told:
        x.compute()
    assert told[0].filename == __file__
    assert x.report is not None
    assert x.report.rcond < np.finfo(dtype).eps


@pytest.mark.every_day(4)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", ["pos", "gen"])
def test_what_is_not_finite_is_an_error_that_says_where(way: str, dtype: str) -> None:
    a, b = gallery.well_conditioned(N, dtype), np.ones((N, 2), dtype)
    for value in (np.nan, np.inf):
        for spoiled, what, column in ((a, "matrix", 5), (b, "right-hand side", 1)):
            system = [np.array(a), np.array(b)]
            system[0 if spoiled is a else 1][40, column] = value
            x = wl.from_array(system[0], tile=TILE).solve(system[1], way, check=False)
            with pytest.raises(NotFiniteError, match=f"column {column} .* of the {what}") as raised:
                x.compute()
            assert (raised.value.column, raised.value.what) == (column, what)


@pytest.mark.parametrize("way", ["pos", "gen"])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_half_the_precision_is_as_good(way: str, dtype: str) -> None:
    b = gallery.normal((N, 3), dtype, 9)
    for kappa, scale in ((1e2, 1.0), (1e5, 1.0), (1e3, 1e200), (1e3, 1e-200)):
        a = with_condition(N, kappa, dtype) * scale
        _, report = solved(a, b, assume_a=way, precision="mixed")
        assert report.method.endswith("32" if dtype == "float64" else "64")
        assert 1 <= report.refinements <= 5
        assert report.hpl <= 1 / np.sqrt(N), "LAPACK's dsgesv stops there"
        assert report.fallbacks == ()


@pytest.mark.parametrize("way", ["pos", "gen"])
def test_half_the_precision_falls_back_and_says_so(way: str) -> None:
    for kappa in (1e10, 1e13):
        a, b = with_condition(N, kappa), gallery.normal((N, 2), "float64", 9)
        _, report = solved(a, b, assume_a=way, precision="mixed")
        assert "in float32" not in report.method
        (why,) = report.fallbacks
        assert "in float32: " in why


def test_gmres_goes_on_where_refinement_stalls() -> None:
    """Few eigenvalues are too small for float32. The estimate of the condition sees them all the same."""
    for small, scale, shape in ((1e-9, 1.0, (N,)), (1e-12, 1e150, (N, 3))):
        d = np.linspace(1, 2, N)
        d[:3] = small * np.arange(1, 4)
        a = gallery.orthogonal(N, "float64") @ gallery.with_eigenvalues(d, "float64", 12)
        _, report = solved(a * scale, gallery.normal(shape, "float64", 13), precision="mixed")
        assert report.method == "LU with partial pivoting in float32"
        assert report.hpl <= 1 / np.sqrt(N)
        known = 1 / (gallery.norm1(a) * gallery.norm1(np.linalg.inv(a)))
        assert known / 1.1 <= report.rcond <= 3 * known


def test_each_right_hand_side_has_its_own_state() -> None:
    a = with_condition(N, 1e3)
    b = np.stack([np.ones(N), 1e-200 * np.ones(N), 1e200 * np.ones(N), np.zeros(N)], axis=1)
    x = wl.from_array(a, tile=TILE).solve(b, "gen", precision="mixed")
    found = x.compute()
    assert gallery.solve_error(a, found[:, :3], b[:, :3]) <= SOLVE_GATE
    assert not found[:, 3].any()
    assert x.report is not None
    assert x.report.fallbacks == ()


def test_half_the_precision_of_what_has_no_half_is_the_same() -> None:
    a, b = gallery.well_conditioned(N, "float32"), np.ones(N, "float32")
    A = wl.from_array(a, tile=TILE)
    np.testing.assert_array_equal(A.solve(b, "pos", precision="mixed").compute(), A.solve(b, "pos").compute())
    with pytest.raises(ValueError, match="did you mean 'mixed'"):
        A.solve(b, precision="mixd")  # type: ignore[arg-type]
    with pytest.raises(NotPositiveDefiniteError):
        wl.from_array(-np.eye(N), tile=TILE).solve(np.ones(N), "pos", precision="mixed").compute()


@settings(deadline=None, max_examples=12)
@given(
    n=st.integers(1, 16),
    tile=st.integers(1, 40),
    other=st.integers(1, 40),
    columns=st.sampled_from([None, 1, 2, 7, 70]),
    wide=st.integers(1, 80),
    way=st.sampled_from(["pos", "gen"]),
    mixed=st.booleans(),
    dtype=st.sampled_from(DTYPES),
)
def test_solutions_in_any_tiles(
    n: int, tile: int, other: int, columns: int | None, wide: int, way: str, mixed: bool, dtype: str
) -> None:
    a = gallery.well_conditioned(n, dtype)
    b = gallery.normal(n if columns is None else (n, columns), dtype, n)
    B = wl.from_array(b, tile=tile if columns is None else (tile, wide))
    A = wl.from_array(a, tile=(tile, other))
    x = A.solve(B, way, check=False, precision="mixed" if mixed else "full")
    found = x.compute()
    assert (found.shape, found.dtype) == (b.shape, b.dtype)
    assert gallery.solve_error(a, found, b) <= SOLVE_GATE
    assert x.report is not None


def test_factor_with_growth_is_looked_at_and_others_are_not() -> None:
    a, b = gallery.wilkinson(N, "complex128"), gallery.normal((N, 2), "complex128", 10)
    factor = wl.linalg.lu_factor(wl.from_array(a, tile=TILE))
    for trans, op in (("N", a), ("T", a.T), ("C", a.conj().T)):
        x = factor.solve(b, trans)  # type: ignore[arg-type]
        assert gallery.solve_error(op, x.compute(), b) <= SOLVE_GATE
        assert x.report is not None
    good = wl.linalg.lu_factor(wl.from_array(gallery.normal((N, N), "float64", 11), tile=TILE))
    x = good.solve(np.ones(N))
    x.compute()
    assert x.report is None


@pytest.mark.parametrize("precision", ["full", "mixed"])
def test_numbers_at_the_ends_of_their_range(precision: str) -> None:
    """Norms overflow where no entry does, powers of two would, and right-hand sides differ by 1e305."""
    a, b = gallery.normal((N, N), "float64", 20), gallery.normal((N, 2), "float64", 21)
    for scale, factor in ((2.0**1018, 1.0), (2.0**1018, 1e290), (2.0**-960, 1e-290), (1.0, 1e-305)):
        right = b * np.array([scale if scale < 1 else 1.0, factor])
        x = wl.from_array(a * scale, tile=TILE).solve(right, precision=precision)  # type: ignore[arg-type]
        found, report = x.compute(), x.report
        assert np.isfinite(found).all()
        assert report is not None
        assert 0 < report.hpl <= 16
        assert report.rcond > 1e-6, "it is well conditioned, however it is scaled"


def test_two_nearly_equal_rows_are_seen() -> None:
    """Vectors of signs alone may be orthogonal to their difference."""
    a = 0.7 * np.eye(8)
    a[2, 3] = a[3, 2] = np.nextafter(0.7, 0)
    known = 1 / np.linalg.cond(a, 1)
    x = wl.from_array(a, tile=4).solve(gallery.normal(8, "float64", 22))
    with pytest.warns(scipy.linalg.LinAlgWarning, match="rcond is about"):
        x.compute()
    assert x.report is not None
    for rcond in (x.report.rcond, wl.linalg.rcond(a), wl.linalg.cho_factor(a).rcond()):
        assert rcond <= 3 * known


def test_condition_is_not_that_of_a_factor_with_growth() -> None:
    n = 60
    a = gallery.wilkinson(n, "float64")
    for b in (np.ones(n), gallery.normal(n, "float64", 23)):  # one of which is solved as by chance
        _, report = solved(a, b)
        assert report.rcond == pytest.approx(1 / n)
    _, report = solved(gallery.wilkinson(140, "float64"), gallery.normal(140, "float64", 23))
    assert report.rcond == pytest.approx(1 / 140)


def test_not_finite_in_half_the_precision_is_named_too() -> None:
    a = np.array(gallery.well_conditioned(40, "float64"))
    a[30, 5] = a[5, 30] = np.nan
    x = wl.from_array(a, tile=16).solve(np.ones(40), "pos", precision="mixed", check=False)
    with pytest.raises(NotFiniteError) as raised:
        x.compute()
    assert raised.value.column == 5
    large = np.full((2, 2), 1e308) + np.diag([0, 1e307])
    assert np.isfinite(wl.from_array(large).solve(np.ones(2), precision="mixed", check=False).compute()).all()


def test_solutions_that_are_given_are_warned_of_as_ever() -> None:
    a, ill = gallery.normal((20, 20), "float64", 24), np.diag(np.logspace(0, -20, 20))
    given = wl.linalg.cho_factor(wl.from_array(ill, tile=8, structure="pos")).solve(np.ones(20))
    with pytest.warns(scipy.linalg.LinAlgWarning, match="rcond is at most"):
        wl.from_array(a, tile=8).solve(given, "gen").compute()


def test_factor_of_less_precision_is_refined() -> None:
    a, b = gallery.normal((N, N), "float32", 25), gallery.normal(N, "float64", 26)
    x = wl.linalg.lu_factor(wl.from_array(a, tile=TILE)).solve(b)
    assert gallery.solve_error(a.astype("float64"), x.compute(), b) <= SOLVE_GATE
    assert x.report is not None


ENDS = [
    ("pos", 1e10, 2.0**-1000, "float64"),
    ("gen", 1e10, 2.0**-987, "float64"),  # pivots are not smaller than normal numbers
    ("pos", 1e3, 2.0**-120, "complex64"),
    ("gen", 1e3, 2.0**-116, "complex64"),
    ("pos", 1e3, 2.0**1013, "float64"),
    ("gen", 1e3, 2.0**117, "float32"),
]
"""Matrices whose inverses are beyond the range, or at its other end."""


@pytest.mark.parametrize(("way", "kappa", "scale", "dtype"), ENDS)
def test_condition_does_not_depend_on_the_scale(way: str, kappa: float, scale: float, dtype: str) -> None:
    a = with_condition(N, kappa, dtype)
    if way == "gen":
        a = gallery.orthogonal(N, dtype) @ a
    A = wl.from_array((a * scale).astype(dtype), tile=TILE)
    x = A.solve((a @ np.ones(N, dtype) * scale).astype(dtype), way)
    x.compute()  # which warns of nothing
    assert x.report is not None
    factor = wl.linalg.cho_factor(A) if way == "pos" else wl.linalg.lu_factor(A)
    known = 1 / (gallery.norm1(a) * gallery.norm1(np.linalg.inv(a.astype("complex128"))))
    for rcond in (x.report.rcond, factor.rcond()):
        assert known / 1.1 <= rcond <= 3 * known
    if way == "pos":
        t = np.tril(a).astype("complex128")
        known = 1 / (gallery.norm1(t) * gallery.norm1(np.linalg.inv(t)))
        assert known / 1.1 <= wl.linalg.rcond(A.tril()) <= 3 * known


def test_condition_does_not_depend_on_the_scale_where_entries_grow() -> None:
    slow = np.eye(100) - np.eye(100, k=1)  # its pivots are 1, and the largest sum in its inverse is 100
    a = scipy.linalg.block_diag(gallery.wilkinson(60, "float64"), slow)
    known = 1 / (gallery.norm1(a) * gallery.norm1(np.linalg.inv(a)))
    _, report = solved(a * 2.0**-1022, a @ np.ones(160) * 2.0**-1022)
    assert known / 1.1 <= report.rcond <= 3 * known


def test_sums_of_columns_overflow_and_the_condition_does_not() -> None:
    a = gallery.well_conditioned(N, "float64") * 2.0**1022
    assert 0.01 < wl.linalg.lu_factor(wl.from_array(a, tile=TILE)).rcond() <= 1
    assert 0.01 < wl.linalg.cho_factor(wl.from_array(a, tile=TILE)).rcond() <= 1
    assert 0.001 < wl.linalg.rcond(wl.from_array(a, tile=TILE).tril()) <= 1
