"""Factors as SciPy has them: pairs, saved ones, and matrices that are taken for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import wrenla as wl
from wrenla.linalg import CholeskyFactor, cho_factor, cho_solve

from . import gallery
from .gallery import DTYPES, SOLVE_GATE, Array

N = 11


def solves(a: Array, x: Any, b: Array) -> bool:
    value = x.compute() if isinstance(x, wl.BigMatrix) else x
    return gallery.solve_error(a, value, b, a.dtype.name) <= SOLVE_GATE


@pytest.mark.parametrize("dtype", DTYPES)
def test_pairs_of_factor_and_lower(dtype: str, place: Callable[[str], str]) -> None:
    """Ours goes into SciPy's `cho_solve`, SciPy's into ours; a saved factor is one again."""
    a, b = gallery.well_conditioned(N, dtype), gallery.normal((N, 2), dtype)
    A = wl.from_array(a, tile=4)
    garbage = np.triu(np.full((N, N), np.nan), 1).astype(dtype)
    L, U = A.cholesky(), A.cholesky(upper=True)
    saved = cho_factor(A).save(place("factor"))
    below = scipy.linalg.cholesky(a, lower=True) + garbage
    for lower in (True, False):
        c, low = factor = cho_factor(A, lower)
        assert (low, c.structure) == (lower, "lower" if lower else "upper")
        half = np.tril(a) + garbage if lower else np.triu(a) + garbage.T
        for x in (
            cho_solve((c, low), b),
            cho_solve([c.compute(), low], b),  # type: ignore[arg-type]
            cho_solve(scipy.linalg.cho_factor(a, lower=lower), b),
            cho_factor(half, lower).solve(b),
            scipy.linalg.cho_solve(factor, b),
        ):
            assert solves(a, x, b)
    for factor in (
        saved,
        CholeskyFactor(wl.open(place("factor"))),
        CholeskyFactor(L),
        CholeskyFactor(U),
        CholeskyFactor(L.compute(), lower=True),
        CholeskyFactor(below, lower=True),
        CholeskyFactor(below.conj().T, lower=False),
    ):
        assert solves(a, factor.solve(b), b)
        assert np.isclose(factor.slogdet().logabsdet.compute(), np.linalg.slogdet(a)[1], rtol=1e-4)
    below[:, 0] *= -1  # a factor of the same matrix
    sign = CholeskyFactor(below, lower=True).slogdet().sign.compute()
    assert (sign, sign.dtype) == (1, a.dtype)
    assert "computed)" in repr(saved)
    assert "not computed" in repr(CholeskyFactor(L))


def test_a_saved_factor_is_not_taken_for_a_matrix(place: Callable[[str], str]) -> None:
    a, b, url = gallery.well_conditioned(N, "complex128"), gallery.normal(N, "complex128"), place("factor")
    factor = cho_factor(wl.from_array(a, tile=4))
    factor.L.save(url)
    with pytest.raises(FileExistsError):  # something else, though its numbers are the same
        factor.save(url)
    saved = factor.save(url, overwrite=True)
    factor.save(url)
    C = wl.open(url)
    for use in (
        lambda: C.solve(b),
        lambda: wl.linalg.solve(C, b),
        lambda: C.solve(b, "gen"),
        lambda: C.H.solve(b),
        lambda: C.slogdet(),
        lambda: wl.linalg.lu(C),
        lambda: wl.linalg.lu_factor(C),
        lambda: wl.linalg.lu_factor(C.T),
    ):
        with pytest.raises(ValueError, match=r"saved as a factor.*CholeskyFactor\(L\)"):
            use()
    low = np.linalg.cholesky(a)
    for triangle in (saved.L, CholeskyFactor(C).L):
        assert np.allclose(low @ triangle.solve(b).compute(), b)
    assert np.allclose(low @ C.solve(b, "lower").compute(), b)
    assert solves(a, CholeskyFactor(C).solve(b), b)
    assert solves(a, cho_solve((C, True), b), b)
    assert np.allclose(low @ wl.linalg.lu_factor(CholeskyFactor(C).L).solve(b).compute(), b)
    C.save(place("copy"))  # of which nobody has said that it is a factor
    assert np.allclose(low @ wl.open(place("copy")).solve(b).compute(), b)


def test_parts_and_multiples_of_a_saved_factor_are_not_taken_for_a_matrix(
    place: Callable[[str], str],
) -> None:
    a, b = gallery.well_conditioned(N, "float64"), gallery.normal(N, "float64", 1)
    cho_factor(wl.from_array(a, tile=4)).save(place("L"))
    wl.linalg.lu_factor(wl.from_array(a, tile=4)).save(place("F"))
    k = N // 2
    for C, message in ((wl.open(place("L")), r"CholeskyFactor\(L\)"), (wl.open(place("F")), "open_factor")):
        for made in (2 * C, -C, C / 2, (2 * C).T, C[:k, :k], C[4:8, 4:8], C[::-1, ::-1], 3 * C[:k, :k].T):
            with pytest.raises(ValueError, match=f"was saved as.*{message}"):
                made.solve(b[: made.shape[0]])
        for made in (C.rechunk((3, 4)), C.shift(1.0), C.astype("complex128"), C.scale_rows(b)):
            for use in (made.solve, wl.linalg.lu_factor, lambda b, made=made: wl.linalg.det(made)):
                with pytest.raises(ValueError, match=f"was saved as.*{message}"):
                    use(b if use == made.solve else made)
    with pytest.raises(ValueError, match=r"was saved as.*open_factor"):
        wl.open(place("F")).cholesky()
    with pytest.raises(ValueError, match=r"was saved as.*open_factor"):
        cho_factor(wl.open(place("F")))


def test_what_is_made_of_a_saved_factor_is_a_matrix(place: Callable[[str], str]) -> None:
    a, b = gallery.well_conditioned(N, "float64"), gallery.normal(N, "float64", 1)
    cho_factor(wl.from_array(a, tile=4)).save(place("L"))
    wl.linalg.lu_factor(wl.from_array(a, tile=4)).save(place("F"))
    L, F, low = wl.open(place("L")), wl.open(place("F")), np.linalg.cholesky(a)
    k = N // 2
    for matrix, known in (
        (L @ L.H, a),
        (L.gram(), a),
        (L + L.T, low + low.T),
        (F.triu(), np.triu(scipy.linalg.lu(a)[2])),
        (L[k : 2 * k, :k] + wl.eye(k, tile=4), low[k : 2 * k, :k] + np.eye(k)),
    ):
        n = matrix.shape[0]
        assert solves(known, matrix.solve(b[:n]), b[:n])
    # that a triangle, or the factor, is meant has been said
    for triangle, known in (
        (CholeskyFactor(2 * L).L, 2 * low),
        (CholeskyFactor(L[:k, :k]).L, low[:k, :k]),
        (CholeskyFactor(L.H).L, low),
    ):
        assert np.allclose(known @ triangle.solve(b[: len(known)]).compute(), b[: len(known)])
    assert np.allclose(2 * low @ (2 * L).solve(b, "lower").compute(), b)
    assert solves(a[:k, :k], CholeskyFactor(L[:k, :k]).solve(b[:k]), b[:k])


def test_a_factor_is_computed_once() -> None:
    calls = []

    def f(i: Array, j: Array) -> Array:
        calls.append(len(i))
        return np.asarray(9.0 * (i[:, None] == j) + 1)

    factor = CholeskyFactor(wl.from_function(f, (8, 8), tile=4, structure="pos").cholesky())
    factor.solve(np.ones(8)).compute()
    before = len(calls)
    factor.solve(np.arange(8.0)).compute()
    assert len(calls) == before


def test_factor_functions_refuse_other_types() -> None:
    """Each of these has had another meaning, or a number without a word."""
    a, b = gallery.well_conditioned(N, "float64"), np.ones(N)
    A = wl.from_array(a, tile=4, structure="pos")
    L, factor = A.cholesky(), cho_factor(A)
    rows: tuple[tuple[type[Exception], str, Callable[[], object]], ...] = (
        (TypeError, r"cho_solve\(\(L, True\), b\).*cho_factor\(A\)", lambda: cho_solve(L, b)),  # type: ignore[arg-type]
        (TypeError, "cho_factor", lambda: cho_solve(A, b)),  # type: ignore[arg-type]
        (TypeError, "not ndarray", lambda: cho_solve(a, b)),  # type: ignore[arg-type]
        (TypeError, "not tuple", lambda: cho_solve((b, L), b)),  # type: ignore[arg-type]
        (ValueError, "known to be pos", lambda: cho_solve((A, True), b)),
        (ValueError, "use lower=True", lambda: cho_solve((L, False), b)),
        (ValueError, "use lower=False", lambda: CholeskyFactor(L.H, lower=True)),
        (ValueError, "say lower=True or", lambda: CholeskyFactor(a)),
        (ValueError, "square", lambda: CholeskyFactor(a[:3], lower=True)),
        (ValueError, "square", lambda: cho_solve((b, True), b)),
        (ValueError, "factor already", lambda: cho_factor(L)),
        (ValueError, "factor already", lambda: L.H.cholesky()),
        (ValueError, "factor already", lambda: L.solve(b, "pos")),
        (ValueError, "use lower=True", lambda: wl.linalg.solve_triangular(L, b)),
        (ValueError, "use lower=False", lambda: wl.linalg.solve_triangular(L.H, b, trans="T", lower=True)),
        *(
            (TypeError, "is True or False, not 'upper'", use)
            for use in (
                lambda: CholeskyFactor(a, lower="upper"),  # type: ignore[arg-type]
                lambda: cho_factor(A, lower="upper"),  # type: ignore[arg-type]
                lambda: wl.linalg.solve_triangular(a, b, lower="upper"),  # type: ignore[arg-type]
                lambda: wl.linalg.cholesky(A, upper="upper"),  # type: ignore[arg-type]
            )
        ),
        *(
            (TypeError, r"factor\.solve\(b\)", use)
            for use in (
                lambda: wl.linalg.solve(factor, b),  # type: ignore[arg-type]
                lambda: wl.linalg.slogdet(factor),  # type: ignore[arg-type]
                lambda: wl.linalg.trace(factor),  # type: ignore[arg-type]
                lambda: wl.linalg.solve_triangular(factor, b),  # type: ignore[arg-type]
                lambda: A @ factor,  # type: ignore[operator]
                lambda: np.linalg.solve(factor, b),  # type: ignore[arg-type]
            )
        ),
        (TypeError, r"\(c, lower\).*cho_solve", lambda: wl.linalg.solve((L, True), b)),  # type: ignore[arg-type]
        (TypeError, r"\(c, lower\).*cho_solve", lambda: wl.linalg.slogdet((L.compute(), False))),  # type: ignore[arg-type]
        (TypeError, "unsupported operand", lambda: a @ factor),  # type: ignore[operator]
    )
    for kind, message, use in rows:
        with pytest.raises(kind, match=message):
            use()


def test_a_product_with_its_own_transpose_is_positive_definite() -> None:
    for dtype in ("float64", "complex128"):
        a, b = gallery.well_conditioned(N, dtype), gallery.normal(N, dtype)
        L = wl.from_array(a, tile=4).cholesky()
        T = wl.from_array(np.tril(a), tile=4, structure="lower")
        for X in (L, L.H, T, T.T, 2 * T, T.scale_rows(np.arange(1.0, N + 1))):
            S = X @ X.H
            assert S.structure == "pos"
            x, full = wl.compute(S, X)
            assert gallery.matmul_error(x, full, full.conj().T) <= 2
        assert solves(a, (L @ L.H).solve(b), b)
        assert (L @ L).structure == "lower"
    assert (L @ L.T).structure == "general", "of complex numbers that is only symmetric"


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_factor_solves_with_the_transposes(dtype: str) -> None:
    a, b = gallery.well_conditioned(N, dtype), gallery.normal((N, 2), dtype, 5)
    factor = cho_factor(wl.from_array(a, tile=4))
    for trans, op in (("N", a), ("T", a.T), ("C", a.conj().T), (1, a.T)):
        x = factor.solve(b, trans).compute()  # type: ignore[arg-type]
        assert gallery.solve_error(op, x, b) <= gallery.SOLVE_GATE
    with pytest.raises(ValueError, match="trans is 'N', 'T' or 'C'"):
        factor.solve(b, "X")  # type: ignore[arg-type]
