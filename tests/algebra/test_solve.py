"""Linear systems with positive definite and triangular matrices, by backward error; determinants."""

from __future__ import annotations

import pickle
from typing import Any, Literal

import numpy as np
import pytest
import scipy.linalg

import wrenla as wl
from wrenla.algorithms.triangular import solve_triangular

from . import gallery
from .gallery import ALARM, ALARM_FROM, DTYPES, FEW_TILINGS, SOLVE_GATE, TILINGS, Array

RIGHT_HAND_SIDES: tuple[int | None, ...] = (None, 1, 2, 15)
"""Columns of the right-hand side; None is a vector."""


def right_hand_side(n: int, columns: int | None, dtype: str, seed: int = 7) -> Array:
    return gallery.normal(n if columns is None else (n, columns), dtype, seed)


def check_solution(a: Array, x: Array, b: Array, dtype: str | None = None) -> None:
    assert x.shape == b.shape
    assert x.dtype == (dtype or np.result_type(a, b))
    error = gallery.solve_error(a, x, b, dtype)
    assert error <= SOLVE_GATE
    if len(a) >= ALARM_FROM:
        assert error <= ALARM, "within the gate, but far from what is usual"


@pytest.mark.parametrize("power", [0.9, -0.9])
@pytest.mark.parametrize("dtype", DTYPES)
def test_solve_at_extreme_scales_is_backward_stable(dtype: str, power: float) -> None:
    scale = np.dtype(dtype).type(float(np.finfo(dtype).max) ** power)
    a = (gallery.well_conditioned(21, dtype) * scale).astype(dtype)
    b = (right_hand_side(21, 2, dtype) * scale).astype(dtype)
    check_solution(a, wl.from_array(a, tile=8).solve(b, assume_a="pos").compute(), b)


@pytest.mark.parametrize("tile", [1, 4, 16])
def test_solve_of_hilbert_matrix_is_backward_stable(tile: int) -> None:
    for n in range(1, 12):
        a, b = gallery.hilbert(n), right_hand_side(n, None, "float64")
        check_solution(a, wl.from_array(a, tile=tile).solve(b, assume_a="pos").compute(), b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_factor_and_solve(dtype: str) -> None:
    for n, tile in FEW_TILINGS:
        a = gallery.well_conditioned(n, dtype)
        factor = wl.linalg.cho_factor(wl.from_array(a, tile=tile))
        for columns in RIGHT_HAND_SIDES:
            b = right_hand_side(n, columns, dtype)
            check_solution(a, wl.linalg.cho_solve(factor, b).compute(), b)
            # the right-hand side in tiles of its own
            B = wl.from_array(b, tile=(tile + 2, 4))
            check_solution(a, factor.solve(B).compute(), b)


def triangle(n: int, dtype: str, lower: bool) -> Array:
    """Well conditioned: off the diagonal the rows sum up to less than it."""
    a = gallery.normal((n, n), dtype, seed=n) / (2 * n)
    a[np.diag_indices(n)] = 1 + np.arange(n) % 3
    return np.asarray(np.tril(a) if lower else np.triu(a), dtype)


@pytest.mark.every_day(4)
@pytest.mark.parametrize("trans", ["N", "T", "C"])
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_solve_triangular(dtype: str, lower: bool, trans: Literal["N", "T", "C"]) -> None:
    for (n, tile), columns in zip(FEW_TILINGS, (2, None, 1, 15, None), strict=True):
        t, b = triangle(n, dtype, lower), right_hand_side(n, columns, dtype)
        op = {"N": t, "T": t.T, "C": t.conj().T}[trans]
        # whatever stands in the other triangle is not read
        full = np.where(t == 0, np.nan, t).astype(dtype)
        structure: Any = "lower" if lower else "upper"
        T = wl.from_array(full, tile=tile, structure=structure, check=False)
        flipped = {"N": T, "T": T.T, "C": T.H}[trans]
        for x in wl.compute(
            wl.linalg.solve_triangular(wl.from_array(full, tile=tile), b, trans=trans, lower=lower),
            wl.linalg.solve_triangular(full, b, trans=trans, lower=lower),
            flipped.solve(b),
            flipped.solve(wl.from_array(b, tile=5)),
        ):
            check_solution(op, x, b)


@pytest.mark.parametrize("trans", [0, 1, 2])
def test_scipy_numbers_of_trans(trans: Literal[0, 1, 2]) -> None:
    t, b = triangle(9, "complex128", True), right_hand_side(9, 2, "complex128")
    x = wl.linalg.solve_triangular(wl.from_array(t, tile=4), b, trans=trans, lower=True).compute()
    assert np.allclose(x, scipy.linalg.solve_triangular(t, b, trans=trans, lower=True), rtol=1e-13)


def test_solve_triangular_with_bad_trans_is_refused() -> None:
    trans: Any
    for trans in ([1], {}, "X", 3, None, np.array([1])):
        with pytest.raises(ValueError, match="trans is 'N', 'T' or 'C', not "):
            wl.linalg.solve_triangular(np.eye(2), np.ones(2), trans=trans)


@pytest.mark.parametrize("dtype", DTYPES)
def test_solve_with_the_factor_itself(dtype: str) -> None:
    """L.solve solves with the triangle."""
    a, b = gallery.well_conditioned(21, dtype), right_hand_side(21, 3, dtype)
    L = wl.from_array(a, tile=8).cholesky()
    y, x, dense = wl.compute(L.solve(b), L.H.solve(L.solve(b)), L)
    check_solution(dense, y, b)
    check_solution(a, x, b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_triangular_views(dtype: str) -> None:
    """Scaled, shifted, weighed and cut-out triangles ride on the reads."""
    n = 21
    t, b = triangle(n, dtype, True), right_hand_side(n, 3, dtype)
    w = 1 + np.arange(n) % 4
    T = wl.from_array(t, tile=8, structure="lower")
    check_solution(3 * t, (3 * T).solve(b).compute(), b)
    check_solution(t + np.eye(n, dtype=dtype), T.shift(1).solve(b).compute(), b)
    weighed = (w[:, None] * t).astype(dtype)
    check_solution(weighed, T.scale_rows(w.astype(t.real.dtype)).solve(b).compute(), b)
    full = gallery.normal((n, n), dtype) + 9 * np.eye(n, dtype=dtype)
    F = wl.from_array(full, tile=8)
    check_solution(np.tril(full), F.tril().solve(b).compute(), b)
    check_solution(np.triu(full), F.triu().solve(b).compute(), b)
    check_solution(np.tril(full).T, F.tril().T.solve(b).compute(), b)


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
@pytest.mark.parametrize("structure", ["lower", "upper"])
def test_the_other_triangle_of_a_triangle_is_its_diagonal(structure: Any, dtype: str) -> None:
    """Of a lower triangular matrix the upper triangle is zero but for the diagonal, whatever is stored."""
    n = 11
    full = gallery.normal((n, n), dtype) + 9 * np.eye(n, dtype=dtype)
    b = right_hand_side(n, 2, dtype)
    diagonal = np.diag(full.diagonal())
    views = {
        "declared": wl.from_array(full, tile=4, structure=structure, check=False),
        "cut out": getattr(wl.from_array(full, tile=4), "tril" if structure == "lower" else "triu")(),
    }
    for T in views.values():
        B = wl.from_array(b, tile=4)
        node = solve_triangular(T._node, B._node, "upper" if structure == "lower" else "lower")
        check_solution(diagonal, wl.BigMatrix(node).compute(), b)
        with pytest.raises(ValueError, match=f"known to be {structure} triangular"):
            wl.linalg.solve_triangular(T, b, lower=structure != "lower")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("trans", ["N", "C"])
@pytest.mark.parametrize("lower", [True, False])
def test_a_triangle_with_a_zero_on_its_diagonal(lower: bool, trans: Literal["N", "C"], dtype: str) -> None:
    """SciPy raises, and so do we, with the global index."""
    n, at = 21, 13
    t = triangle(n, dtype, lower)
    t[at, at] = 0
    x = wl.linalg.solve_triangular(wl.from_array(t, tile=8), np.ones(n), trans=trans, lower=lower)
    with pytest.raises(wl.linalg.SingularMatrixError, match="a zero on its diagonal, entry 13 ") as caught:
        x.compute()
    assert caught.value.index == at
    assert isinstance(caught.value, np.linalg.LinAlgError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_assume_a_takes_scipys_words() -> None:
    """The same words, the same solutions."""
    n = 11
    a = gallery.well_conditioned(n, "complex128")
    spd, b = wl.from_array(a, tile=4, structure="pos"), right_hand_side(n, 2, "complex128")
    for word in ("gen", "general", "her", "hermitian", "pos", "positive definite", "Positive_Definite"):
        check_solution(a, spd.solve(b, word).compute(), b)
    for word, t in (
        ("lower triangular", np.tril(a)),
        ("upper triangular", np.triu(a)),
        ("diagonal", np.diag(a.diagonal())),
    ):
        x = wl.linalg.solve(t, b, assume_a=word).compute()
        check_solution(t, x, b)
    check_solution(a.real, wl.from_array(a.real, tile=4, structure="pos").solve(b, "sym").compute(), b)


FACTORIZATIONS = {"potrf", "getrf"}


def kernels_of(x: wl.BigMatrix) -> set[str]:
    """Return the kernels of the tasks that make a result."""
    return {task.kernel for task in wl.plan(x).graph.tiles.tasks}


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_solve_of_small_array_finds_its_structure(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = gallery.well_conditioned(11, dtype), right_hand_side(11, 2, dtype)
    for matrix in (a, np.tril(a), np.triu(a), np.diag(a.diagonal())):
        check_solution(matrix, wl.linalg.solve(matrix, b).compute(), b)
        check_solution(matrix, wl.from_array(matrix, tile=4).solve(b, "gen").compute(), b)
    with pytest.raises(wl.linalg.SingularMatrixError):
        wl.linalg.solve(np.zeros((3, 3)), np.ones(3)).compute()
    indefinite = a.copy()
    indefinite[3, 4] = indefinite[4, 3] = 1e3
    assert kernels_of(wl.linalg.solve(a, b)) & FACTORIZATIONS == {"potrf"}
    skew = a.copy()
    skew[3, 4] += 1
    for matrix in (skew, -a, indefinite):
        check_solution(matrix, wl.linalg.solve(matrix, b).compute(), b)
        assert kernels_of(wl.linalg.solve(matrix, b)) & FACTORIZATIONS == {"getrf"}
    assert kernels_of(wl.linalg.solve(a, b, check=False)) & FACTORIZATIONS == {"getrf"}
    monkeypatch.setattr("wrenla.algorithms.claims._AT_ONCE", 1)
    assert kernels_of(wl.linalg.solve(a, b)) & FACTORIZATIONS == {"getrf"}


def test_structure_found_in_small_array_is_exact() -> None:
    """No entry is dropped that nobody has called zero."""
    n = 30
    nearly_lower = np.tril(-np.ones((n, n)), -1) + np.eye(n)
    nearly_lower[0, -1] = 1e-8
    half = gallery.normal((4, 3), "float64")
    nearly_symmetric = half @ half.T + 1e-9 * np.eye(4)
    nearly_symmetric[0, 3] += 1e-9
    nearly_real = gallery.well_conditioned(4, "complex128")
    nearly_real[2, 2] += 1e-12j
    single = np.array([[1, 2e-4], [1, 1]], "f4")
    for a in (nearly_lower, nearly_lower.T, nearly_symmetric, nearly_real, single):
        for solve in (
            lambda a, b: wl.linalg.solve(a, b),
            lambda a, b: wl.linalg.solve(a, b, assume_a="gen"),
            lambda a, b: wl.from_array(a, tile=8).solve(b),
        ):
            assert kernels_of(solve(a, np.ones(len(a)))) & FACTORIZATIONS == {"getrf"}


def test_structure_takes_scipys_words() -> None:
    for words, structure in (
        (("spd", "hpd", "positive definite", "POS"), "pos"),
        (("sym", "symmetric", "her"), "hermitian"),
        (("lower triangular", "lower-triangular"), "lower"),
        (("gen",), "general"),
    ):
        for word in words:
            assert wl.from_array(np.eye(3), structure=word).structure == structure  # type: ignore[arg-type]
    f = wl.from_function(lambda i, j: np.eye(3)[i][:, j], (3, 3), structure="spd")  # type: ignore[arg-type]
    assert f.structure == "pos"
    for word, hint in (
        ("psd", r"A\.shift\(c\)"),
        ("triangular", "'lower' or 'upper'"),
        ("diagonal", "'lower'"),
        ("symetric", "did you mean 'symmetric'"),
        (None, "there are"),
    ):
        with pytest.raises(ValueError, match=f"structure is one of .*{hint}"):
            wl.from_array(np.eye(3), structure=word)
    with pytest.raises(ValueError, match="'hermitian' is known"):
        wl.from_array(np.eye(3) * 1j, structure="symmetric")  # type: ignore[arg-type]


def test_surely_ill_conditioned_systems_are_warned_of(recwarn: pytest.WarningsRecorder) -> None:
    """As SciPy warns, from the diagonals of the factors alone; never where it might be wrong."""
    d, b = np.logspace(0, 20, 10), np.ones(10)
    A = wl.from_array(np.diag(d), tile=3, structure="pos")
    L, factor = A.cholesky(), wl.linalg.cho_factor(A)
    ill: dict[str, Any] = {
        "pos": A.solve(b),
        "factor": factor.solve(b),
        "by hand": L.H.solve(L.solve(b)),
        "lower": wl.linalg.solve(np.diag(d), b, assume_a="lower"),
        "diagonal": wl.linalg.solve(np.diag(d), b, assume_a="diagonal"),
        "single": wl.from_array(np.diag(d[:5]), structure="pos")
        .astype("float32")
        .solve(b[:5].astype("f4"), "pos"),
    }
    for name, x in ill.items():
        says = "rcond is about" if name in ("pos", "single") else "rcond is at most"
        with pytest.warns(scipy.linalg.LinAlgWarning, match=f"Ill-conditioned matrix: {says}") as told:
            x.compute()
        assert told[0].filename == __file__, name
    one, other = (wl.from_array(np.diag(s * d[:5]), tile=3, structure="pos") for s in (1e-30, 1e30))
    recwarn.clear()
    wl.compute(L.solve(b), L.solve(A), one.solve(b[:5]), other.solve(b[:5]), A @ b, A.slogdet().logabsdet)
    assert not recwarn.list


def test_zero_sized() -> None:
    A = wl.zeros((0, 0))
    for shape in ((0,), (0, 3)):
        for x in (
            A.solve(np.ones(shape), assume_a="pos"),
            wl.linalg.solve_triangular(A, np.ones(shape), lower=True),
            wl.linalg.cho_factor(A).solve(np.ones(shape)),
        ):
            assert x.compute().shape == shape
    a = gallery.well_conditioned(5, "float64")
    assert wl.from_array(a, tile=2).solve(np.ones((5, 0)), assume_a="pos").compute().shape == (5, 0)


@pytest.mark.parametrize(
    ("of_a", "of_b"),
    [
        ("float32", "float64"),
        ("float64", "float32"),
        ("float32", "complex128"),
        ("complex64", "float64"),
        ("float64", "complex64"),
    ],
)
def test_mixed_precision_is_that_of_the_result(of_a: str, of_b: str) -> None:
    """As in NumPy both sides are promoted before anything is factored."""
    n = 21
    a, b = (
        gallery.ill_conditioned(n, "complex64" if of_a[0] == "c" else "float32").astype(of_a),
        right_hand_side(n, 2, of_b),
    )
    a = a + np.eye(n, dtype=of_a)
    check_solution(a, wl.from_array(a, tile=8, structure="pos").solve(b).compute(), b)
    t = np.tril(a)
    check_solution(t, wl.from_array(t, tile=8, structure="lower").solve(b).compute(), b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_slogdet(dtype: str) -> None:
    u = gallery.unit_roundoff(dtype)
    for n, tile in TILINGS:
        a = gallery.well_conditioned(n, dtype)
        sign, logabs = wl.compute(*wl.from_array(a, tile=tile, structure="pos").slogdet())
        expected = np.linalg.slogdet(a.astype("complex128"))
        assert sign == 1
        assert sign.dtype == a.dtype
        assert logabs.dtype == a.real.dtype
        tolerance = 16 * u * n * (1 + abs(float(expected.logabsdet)))
        assert abs(logabs - expected.logabsdet) <= tolerance
        of_factor = wl.compute(*wl.linalg.cho_factor(wl.from_array(a, tile=tile)).slogdet())
        assert of_factor == (sign, logabs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("structure", ["lower", "upper"])
def test_slogdet_of_a_triangle(structure: Any, dtype: str) -> None:
    for n, tile in TILINGS:
        t = gallery.normal((n, n), dtype, seed=n)
        diagonal = t.diagonal().astype("clongdouble" if t.dtype.kind == "c" else "longdouble")
        sign, logabs = wl.compute(
            *wl.linalg.slogdet(wl.from_array(t, tile=tile, structure=structure, check=False))
        )
        u = gallery.unit_roundoff(dtype)
        assert abs(sign - (diagonal / np.abs(diagonal)).prod()) <= 4 * u * n
        logarithms = np.log(np.abs(diagonal))
        assert abs(logabs - logarithms.sum()) <= 4 * u * n * (1 + float(np.abs(logarithms).sum()))


def test_slogdet_of_special_matrices() -> None:
    for n in (0, 1, 5):
        assert wl.compute(*wl.eye(n, tile=2).slogdet()) == (1, 0)
    singular = wl.from_array(np.diag([1.0, 0.0, 3.0]), tile=2, structure="upper")
    assert wl.compute(*singular.slogdet()) == (0, -np.inf)
    huge = wl.from_array(np.diag(np.full(9, 1e300)), tile=2, structure="pos")
    assert np.isclose(float(huge.slogdet().logabsdet), 9 * np.log(1e300), rtol=1e-14)


def test_solve_of_unfit_arguments_is_refused() -> None:
    A, H = wl.zeros((4, 4), tile=2), wl.from_array(np.eye(4), tile=2, structure="hermitian")
    b = np.ones(4)
    for X, word in ((H, None), (H, "gen"), (H, "her"), (H, "sym"), (H, "symmetric"), (H, "hermitian")):
        assert np.array_equal(X.solve(b, word).compute(), b)
    for word in ("banded", "tridiagonal"):
        with pytest.raises(NotImplementedError, match=r"banded matrices .* say 'pos'"):
            A.solve(b, word)
    for word, hint in (("hermitean", "did you mean 'hermitian'"), ("lu", "there are: .*'pos'"), (3, "not 3")):
        with pytest.raises(ValueError, match=f"assume_a is .*{hint}"):
            A.solve(b, assume_a=word)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"square, not \(4, 3\)"):
        A[:, :3].solve(b)
    with pytest.raises(ValueError, match="4 equations, but a right-hand side of shape"):
        A.solve(np.ones(5), assume_a="pos")
    with pytest.raises(ValueError, match="4 equations"):
        wl.linalg.solve_triangular(A, np.ones((3, 2)), lower=True)
    with pytest.raises(ValueError, match="4 equations"):
        wl.linalg.cho_factor(A).solve(np.ones((3, 2)))
    with pytest.raises(ValueError, match="trans is"):
        wl.linalg.solve_triangular(A, b, trans="H")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="square"):
        A[:, :3].slogdet()
    with pytest.raises(ValueError, match="square"):
        wl.linalg.cho_factor(A[:, :3])


def test_subnormal_pivots_and_several_right_hand_sides() -> None:
    least = np.finfo("float64").tiny / 4
    t = np.tril(np.arange(81.0).reshape(9, 9) % 3) * least
    np.fill_diagonal(t, least)
    x = np.arange(27.0).reshape(9, 3) % 4
    for b, known in ((t @ x, x), (t @ x[:, 0], x[:, 0])):
        found = wl.linalg.solve_triangular(wl.from_array(t, tile=4), b, lower=True).compute()
        np.testing.assert_array_equal(found, known)
