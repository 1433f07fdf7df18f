"""SciPy's own tests of dense solvers, with wrenla in the place of `scipy.linalg`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import scipy.linalg

import wrenla as wl

from .stand_in import NotThere, StandIn, known, matrix

basic = pytest.importorskip("scipy.linalg.tests.test_basic", reason="SciPy was installed without its tests")
cholesky_tests = pytest.importorskip("scipy.linalg.tests.test_decomp_cholesky")
lu_tests = pytest.importorskip("scipy.linalg.tests.test_decomp_lu")

pytestmark = pytest.mark.peers

_WORDS = "the kind of the error is the same, its words are ours"

DIFFERENCES: dict[str, str] = {
    "TestCholesky.test_invalid_shape": _WORDS,
    "TestCholesky.test_non_posdef": _WORDS,
    "TestChoFactor.test_invalid_shape": _WORDS,
    "TestChoFactor.test_non_posdef": _WORDS,
    "TestDet.test_sample_compatible_dtype_input[f]": "the dtype is that of the matrix, as NumPy has it",
    "TestDet.test_sample_compatible_dtype_input[F]": "the dtype is that of the matrix, as NumPy has it",
    "TestDet.test_incompatible_dtype_input": _WORDS,
    "TestDet.test_empty_edge_cases": _WORDS,
    "TestDet.test_simple_check_finite": _WORDS,
    "TestLU.test_empty_edge_cases": "P of a 3 × 0 matrix is the identity, not empty",
    "TestLUFactor.test_hrectangular_complex": "an entry that is 0 but for rounding, by another order of sums",
    "TestSolve.test_singular_scalar[b2]": "SciPy takes a 1 × 1 matrix for as many equations as there are",
}

TOO_LARGE = {"TestCholesky.test_int_overflow": "a matrix of 17 GB in memory, and overwrite_a"}

TestCholesky = cholesky_tests.TestCholesky
TestChoFactor = cholesky_tests.TestChoFactor
TestSolve = basic.TestSolve
TestSolveTriangular = basic.TestSolveTriangular
TestInv = basic.TestInv
TestDet = basic.TestDet
TestLU = lu_tests.TestLU
TestLUFactor = lu_tests.TestLUFactor
TestLUSolve = lu_tests.TestLUSolve
TestVectorNorms = basic.TestVectorNorms
TestMatrixNorms = basic.TestMatrixNorms


@pytest.fixture(autouse=True)
def ours(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with known(request, DIFFERENCES, TOO_LARGE) as stand_in:
        for name, function in functions(stand_in).items():
            for module in (basic, cholesky_tests, lu_tests):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, function)
        yield


def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    return cho_factor(a, lower, overwrite_a)[0]


def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    if overwrite_a:
        raise NotThere("overwrite_a")
    c, low = wl.linalg.cho_factor(matrix(a), bool(lower))
    return c.compute(), low


def cho_solve(c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    c, low = c_and_lower
    return wl.linalg.cho_solve((matrix(c), low), matrix(b)).compute()


def solve(
    a: Any,
    b: Any,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    assume_a: Any = None,
    transposed: bool = False,
) -> Any:
    if overwrite_a or overwrite_b:
        raise NotThere("overwrite_a and overwrite_b")
    A, B = matrix(a), matrix(b)
    if transposed and A.dtype.kind == "c":
        raise NotThere("transposed complex systems, in SciPy either")
    if transposed and assume_a in ("lower triangular", "upper triangular"):
        assume_a = "upper triangular" if assume_a[0] == "l" else "lower triangular"
    if not lower and not transposed:  # SciPy reads the upper triangle
        if assume_a in ("pos", "positive definite", "her", "hermitian"):
            A = A.H
        if assume_a in ("sym", "symmetric"):
            A = A.T
    return wl.linalg.solve(A.T if transposed else A, B, assume_a=assume_a, check=False).compute()


def solve_triangular(
    a: Any,
    b: Any,
    trans: Any = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    if unit_diagonal:
        raise NotThere("unit_diagonal")
    return wl.linalg.solve_triangular(matrix(a), matrix(b), trans=trans, lower=bool(lower)).compute()


def inv(a: Any, overwrite_a: bool = False, check_finite: bool = True, **others: Any) -> Any:
    if overwrite_a or others:
        raise NotThere("overwrite_a, assume_a and lower")
    return wl.linalg.inv(matrix(a)).compute()


def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    if overwrite_a:
        raise NotThere("overwrite_a")
    return wl.linalg.det(matrix(a)).compute()


def lu_factor(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    if overwrite_a:
        raise NotThere("overwrite_a")
    lu, piv = wl.linalg.lu_factor(matrix(a))
    return lu.compute(), piv


def lu_solve(
    lu_and_piv: Any, b: Any, trans: Any = 0, overwrite_b: bool = False, check_finite: bool = True
) -> Any:
    factors, piv = lu_and_piv
    return wl.linalg.lu_solve((matrix(factors), piv), matrix(b), trans=trans).compute()


def lu(
    a: Any,
    permute_l: bool = False,
    overwrite_a: bool = False,
    check_finite: bool = True,
    p_indices: bool = False,
) -> Any:
    if overwrite_a:
        raise NotThere("overwrite_a")
    return wl.compute(*wl.linalg.lu(matrix(a), permute_l, p_indices=p_indices))


def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False, check_finite: bool = True) -> Any:
    return wl.linalg.norm(matrix(a), ord, axis, keepdims).compute()


def functions(stand_in: StandIn) -> dict[str, Any]:
    ours = (
        *(cholesky, cho_factor, cho_solve, solve, solve_triangular, norm),
        *(inv, det, lu, lu_factor, lu_solve),
    )
    return {f.__name__: stand_in.of(f, getattr(scipy.linalg, f.__name__)) for f in ours}
