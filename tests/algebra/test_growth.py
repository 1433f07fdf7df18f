"""Inverses and determinants of matrices whose entries grow in the elimination."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import wrenla as wl
from wrenla.algorithms.factorizations.lu import lu
from wrenla.algorithms.solve import det_lu, slogdet_lu
from wrenla.linalg import NotFiniteError
from wrenla.planning.expression import Node
from wrenla.run.events import Event, TaskFinished

from . import gallery
from .gallery import ONE_REAL_ONE_COMPLEX, SOLVE_GATE, Array

TILE = 16


def bordered(a: Array) -> Array:
    """Return a matrix with a border, into which the errors of what has grown go."""
    n = len(a)
    b = gallery.normal((n + 3, n + 3), a.dtype.name, 5) * np.array(0.1, a.dtype)
    b[:n, :n] = a
    return b


def in_tiles(a: Array) -> wl.BigMatrix:
    """Return a matrix of at most five tiles a side, however large it has to be for its entries to grow."""
    return wl.from_array(a, tile=max(TILE, -(-len(a) // 5)))


def growing(name: str, dtype: str) -> Array:
    return bordered(gallery.wilkinson(60, dtype) if name == "wilkinson" else gallery.foster(100, dtype))


@pytest.mark.every_day(2)
@pytest.mark.parametrize("dtype", ONE_REAL_ONE_COMPLEX)
@pytest.mark.parametrize("name", ["wilkinson", "foster"])
def test_inverse_is_looked_at(name: str, dtype: str) -> None:
    a = growing(name, dtype)
    A = in_tiles(a)
    for inverse in (wl.linalg.inv(A), wl.linalg.lu_factor(A).inv()):
        assert gallery.solve_error(a, inverse.compute(), np.eye(len(a), dtype=dtype)) <= SOLVE_GATE
    diagonal = wl.linalg.lu_factor(A).diagonal_of_inverse().compute()
    expected = np.linalg.inv(a.astype("complex128").T).diagonal()
    np.testing.assert_allclose(diagonal, expected, rtol=0, atol=1e4 * gallery.unit_roundoff(dtype) * 100)


@pytest.mark.every_day(2)
@pytest.mark.parametrize("dtype", ONE_REAL_ONE_COMPLEX)
@pytest.mark.parametrize("name", ["wilkinson", "foster"])
def test_determinant_is_looked_at(name: str, dtype: str) -> None:
    """NumPy's is wrong by e⁴ here."""
    a = growing(name, dtype)
    wide = "complex128" if np.dtype(dtype).kind == "c" else "float64"
    sign, logabs = np.linalg.slogdet(a.astype(wide).conj().T)  # no entry grows in it
    tol = 1e3 * len(a) * gallery.unit_roundoff(dtype)
    A = in_tiles(a)
    for matrix in (A, wl.linalg.lu_factor(A)):
        found = wl.compute(*matrix.slogdet())
        assert found[0].dtype == dtype
        assert abs(found[0] - sign.conj()) <= tol
        assert abs(found[1] - logabs) <= tol
    for det in (wl.linalg.det(A), wl.linalg.lu_factor(A).det()):
        value = det.compute()
        assert value.dtype == dtype
        assert abs(value / (sign.conj() * np.exp(logabs)) - 1) <= tol


def test_growth_that_overflows_is_no_end() -> None:
    a = gallery.wilkinson(140, "float32")  # 2^139 is beyond float32
    A = in_tiles(a)
    sign, logabs = wl.compute(*A.slogdet())
    assert (sign, logabs) == (1, pytest.approx(139 * np.log(2), rel=1e-5))
    assert gallery.solve_error(a, wl.linalg.inv(A).compute(), np.eye(140, dtype="float32")) <= SOLVE_GATE


def test_growth_both_ways_is_warned_of() -> None:
    w = gallery.wilkinson(60, "float64")
    A = wl.from_array(scipy.linalg.block_diag(w, w.T), tile=TILE)
    for det in (wl.linalg.det(A), wl.linalg.lu_factor(A).det(), A.slogdet().logabsdet):
        with pytest.warns(scipy.linalg.LinAlgWarning, match="entries grow") as told:
            det.compute()
        assert told[0].filename == __file__


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_an_error(value: float) -> None:
    a = gallery.normal((40, 40), "float64", 1)
    a[30, 5] = value
    A = wl.from_array(a, tile=TILE)
    factor = wl.linalg.lu_factor(A)
    for what in (wl.linalg.det(A), A.slogdet().sign, wl.linalg.inv(A), factor.det(), factor.inv()):
        with pytest.raises(NotFiniteError, match="column 5 "):
            what.compute()


def test_singular_matrices_with_growth_have_no_determinant() -> None:
    a = scipy.linalg.block_diag(gallery.wilkinson(60, "float64"), np.zeros((1, 1)))
    A = wl.from_array(a, tile=TILE)
    assert float(wl.linalg.det(A)) == 0
    assert wl.compute(*A.slogdet()) == (0, -np.inf)


def test_hermitian_matrices_are_looked_at() -> None:
    a = gallery.normal((40, 40), "complex128", 3)
    a += a.conj().T
    A = wl.from_array(a, tile=TILE, structure="hermitian")
    assert complex(wl.linalg.det(A)) == pytest.approx(np.linalg.det(a), rel=1e-10)
    assert gallery.solve_error(a, wl.linalg.inv(A).compute(), np.eye(40, dtype="complex128")) <= SOLVE_GATE


def counted(run: Any) -> Counter[str]:
    """Return how many tasks of each kind have run."""
    kernels: Counter[str] = Counter()

    def listen(event: Event) -> None:
        if isinstance(event, TaskFinished):
            kernels[event.kernel] += 1

    run(listen)
    return kernels


def tasks(*nodes: Node) -> int:
    return wl.plan(*map(wl.BigMatrix, nodes)).tasks


def test_plans_show_the_norms_and_no_more() -> None:
    A = wl.from_array(gallery.normal((70, 70), "float64", 2), tile=TILE)
    F = lu(A._node)
    N = 5
    looks = N * N + N + 1 + N * (N + 1) // 2 + N + 1  # norms of A, the largest entry of U
    assert wl.plan(wl.linalg.det(A)).tasks == tasks(det_lu(F)) + looks
    assert wl.plan(*A.slogdet()).tasks == tasks(*slogdet_lu(F)) + looks
    for result in (wl.linalg.det(A), wl.linalg.inv(A), A.slogdet().logabsdet):
        plan = wl.plan(result)
        assert "entries have grown" in plan.follows[0]
        run = counted(lambda listen, result=result: result.compute(callbacks=[listen]))
        planned = Counter(plan.kernels)
        for kernels in (run, planned):
            del kernels["laswp"]  # a determinant does not need all exchanges: plans count them, runs do not
        assert run == planned
        assert run["getrf"] == 5, "the factor is made once"


def test_without_growth_nothing_is_warned_of() -> None:
    a = gallery.normal((40, 40), "float64", 4)
    A = wl.from_array(a, tile=TILE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert wl.linalg.inv(A).report is None
        assert float(wl.linalg.det(A)) == pytest.approx(np.linalg.det(a))


def cancelled() -> Array:
    """Return a matrix whose last pivot is exactly zero in LU: two rows grow to the same powers of two."""
    n = 65
    a = np.eye(n) - np.tril(np.ones((n, n)), -1)
    a[:, -2:] = 1
    a[-2:, -2:] = (1, 0.5), (0.5, 1)  # lost beside them
    return a


def test_zero_pivot_among_large_entries_does_not_tell_of_a_singular_matrix() -> None:
    a = cancelled()
    A, b = wl.from_array(a, tile=TILE), np.arange(1.0, 66.0)
    assert wl.linalg.lu_factor(A).lu[-1, -1].compute() == 0
    assert np.linalg.cond(a) < 1e4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = A.solve(b)
        assert gallery.solve_error(a, x.compute(), b) <= SOLVE_GATE
        assert "pivot 64 is zero" in x.report.fallbacks[0]
        assert gallery.solve_error(a, wl.linalg.inv(A).compute(), np.eye(65)) <= SOLVE_GATE


def test_zero_pivot_without_growth_is_told_by_the_first_way() -> None:
    a = np.diag(np.arange(65.0)[::-1])
    with pytest.raises(wl.linalg.SingularMatrixError, match="entry 64"):
        wl.from_array(a, tile=TILE).solve(np.ones(65), "gen").compute()


def test_grown_and_singular_is_an_error() -> None:
    a = cancelled()
    a[-1] = a[-2]
    with pytest.raises((wl.LinAlgError, scipy.linalg.LinAlgWarning)):  # or a solution, with a warning
        wl.from_array(a, tile=TILE).solve(np.ones(65)).compute()
