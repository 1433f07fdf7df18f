"""`wl.linalg`: the names of the Array API and SciPy, on arrays as on matrices."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import wrenla as wl
from wrenla import linalg

from . import gallery
from .gallery import Array

N = 13
SPD = gallery.well_conditioned(N, "complex128")
GENERAL = gallery.normal((N, N), "complex128")
RIGHT = gallery.normal((N, 3), "complex128", 5)
WEIGHTS = np.arange(1.0, N + 1)

CASES: dict[str, tuple[Callable[[Any], Any], Callable[[Array], Any]]] = {
    "matmul": (lambda a: linalg.matmul(a, RIGHT), lambda a: a @ RIGHT),
    "cholesky": (linalg.cholesky, np.linalg.cholesky),
    "upper": (lambda a: linalg.cholesky(a, upper=True), scipy.linalg.cholesky),
    "cho_solve": (
        lambda a: linalg.cho_solve(linalg.cho_factor(a), RIGHT),
        lambda a: np.linalg.solve(a, RIGHT),
    ),
    "solve": (lambda a: linalg.solve(a, RIGHT, assume_a="pos"), lambda a: np.linalg.solve(a, RIGHT)),
    "solve lower": (
        lambda a: linalg.solve(a, RIGHT, assume_a="lower", check=False),
        lambda a: scipy.linalg.solve_triangular(a, RIGHT, lower=True),
    ),
    "solve_triangular": (
        lambda a: linalg.solve_triangular(a, RIGHT, trans="C"),
        lambda a: scipy.linalg.solve_triangular(a, RIGHT, trans="C"),
    ),
    "gram": (linalg.gram, lambda a: a @ a.conj().T),
    "weighted gram": (lambda a: linalg.gram(a, WEIGHTS), lambda a: (a * WEIGHTS) @ a.conj().T),
    "matrix_norm": (linalg.matrix_norm, np.linalg.norm),
    "matrix_norm 1": (lambda a: linalg.matrix_norm(a, ord=1), lambda a: np.linalg.norm(a, 1)),
    "matrix_transpose": (linalg.matrix_transpose, np.transpose),
    "trace": (linalg.trace, np.trace),
    "diagonal": (linalg.diagonal, np.diagonal),
}


@pytest.mark.parametrize("name", CASES)
def test_linalg_functions_take_arrays_and_matrices(name: str) -> None:
    ours, theirs = CASES[name]
    expected = theirs(SPD)
    for operand in (SPD, wl.from_array(SPD, tile=4), wl.from_array(SPD, tile=(5, 3)), SPD.tolist()):
        lazy = ours(operand)
        assert isinstance(lazy, wl.BigMatrix)
        assert np.allclose(lazy.compute(), expected, rtol=1e-12, atol=1e-13)


def test_every_name_is_there_and_has_a_text() -> None:
    for name in linalg.__all__:
        assert getattr(linalg, name).__doc__
    for name in wl.__all__:
        assert hasattr(wl, name)


class SlowFinder:
    """Takes its time to find `late`, and leaves it to others."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        time.sleep(0.05 * (name == "late"))


def test_threads_may_be_the_first_to_use_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that imports its parts: imported by two threads at once, they may wait for each other."""
    (tmp_path / "late").mkdir()
    (tmp_path / "late/__init__.py").write_text("import late.one, late.two\n")
    for name in ("one", "two"):
        (tmp_path / f"late/{name}.py").write_text(f"{name} = {name!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [SlowFinder, *sys.meta_path])
    monkeypatch.setattr(wl, "_PLACE_OF", {"one": "late.one", "two": "late.two"})
    with ThreadPoolExecutor(4) as threads:
        try:
            assert list(threads.map(wl.__getattr__, ["one", "two"] * 2)) == ["one", "two"] * 2
        finally:
            for name in ("one", "two"):
                vars(wl).pop(name, None)
            for name in ("late", "late.one", "late.two"):
                sys.modules.pop(name, None)


def test_methods_and_functions_agree() -> None:
    A = wl.from_array(GENERAL, tile=4)
    for one, other in (
        (A @ A.T, linalg.matmul(A, A.T)),
        (A.gram(), linalg.gram(A)),
        (A.norm(np.inf), linalg.matrix_norm(A, ord=np.inf)),
        (A.shift(9).tril().solve(RIGHT), linalg.solve_triangular(A.shift(9), RIGHT, lower=True)),
    ):
        assert np.array_equal(one.compute(), other.compute())


def test_solve_knows_what_the_structure_says() -> None:
    S = wl.from_array(SPD, tile=4, structure="pos")
    assert np.allclose(linalg.solve(S, RIGHT).compute(), np.linalg.solve(SPD, RIGHT))
    G = wl.from_array(GENERAL, tile=4).gram()
    assert np.allclose(G.solve(RIGHT).compute(), np.linalg.solve(GENERAL @ GENERAL.conj().T, RIGHT))
    sign, logabs = linalg.slogdet(S)
    assert np.isclose(float(logabs), np.linalg.slogdet(SPD)[1])
    assert complex(sign) == 1
    assert linalg.slogdet(S).logabsdet.dtype == np.float64


def test_dir_lists_public_names_only() -> None:
    """Not the modules that happen to be imported behind it."""
    offered = {name for name in dir(wl) if not name.startswith("_")}
    assert offered == {*wl.__all__, "errors"}
    assert all(hasattr(wl, name) for name in dir(wl))


def test_scipys_keywords_are_accepted() -> None:
    b = RIGHT[:, 0]
    A, B = wl.from_array(SPD, tile=4), wl.from_array(b, tile=4)
    x, L = np.linalg.solve(SPD, b), np.linalg.cholesky(SPD)
    sci: dict[str, Any] = {"overwrite_b": True, "check_finite": False}
    factor = linalg.cho_factor(A, overwrite_a=True, check_finite=False)
    real = wl.from_array(GENERAL.real, tile=4, dtype="float64")
    pairs: list[tuple[Any, Any]] = [
        (linalg.cholesky(A, lower=True, overwrite_a=True, check_finite=False), L),
        (linalg.cholesky(A, lower=False), L.conj().T),
        (A.cholesky(lower=True), L),
        (A.cholesky(lower=False, check_finite=True), L.conj().T),
        (A.solve(B, "pos", overwrite_a=True, **sci), x),
        (linalg.solve(A, B, assume_a="pos", transposed=False, sym_pos=False, overwrite_a=True, **sci), x),
        (linalg.cho_solve(factor, B, **sci), x),
        (linalg.solve_triangular(L, b, 0, True, unit_diagonal=False, **sci), np.linalg.solve(L, b)),
        (real.var(correction=1), GENERAL.real.var(ddof=1)),
        (real.std(0, correction=1.5), GENERAL.real.std(0, ddof=1.5)),
        (A.var(dtype=np.float64), SPD.var()),
        (real.sum(dtype=float), GENERAL.real.sum()),
        (A.mean(0, dtype="complex128", out=None), SPD.mean(0)),
    ]
    for found, expected in zip(wl.compute(*(lazy for lazy, _ in pairs)), (e for _, e in pairs), strict=True):
        assert np.allclose(found, expected, rtol=1e-11)
    assert np.array_equal(B.compute(), b)


def test_foreign_keyword_error_names_ours() -> None:
    A = wl.from_array(GENERAL.real, tile=4)
    b: Any = np.ones(N)
    calls: list[tuple[str, Callable[..., Any]]] = [
        ("lower=True .the default. or upper=True", lambda: linalg.cholesky(A, True)),
        ("lower=True and upper=True", lambda: linalg.cholesky(A, upper=True, lower=True)),
        ("there is no lowr=; did you mean 'lower'", lambda: A.cholesky(lowr=True)),
        ("no overwrite_b=", lambda: linalg.cho_factor(A, overwrite_b=True)),
        (r"solve\(A.T, b\)", lambda: linalg.solve(A, b, transposed=True)),
        ("assume_a='pos'", lambda: A.solve(b, sym_pos=True)),
        (r"cho_factor\(A, lower=False\)", lambda: linalg.solve(A, b, lower=False)),
        ("ones on its diagonal", lambda: linalg.solve_triangular(A, b, unit_diagonal=True)),
        ("no trens=; did you mean 'trans'", lambda: linalg.solve_triangular(A, b, trens="T")),
        ("tile=", lambda: wl.from_array(b, chunks=3)),
        (r"from_array\(a\).astype", lambda: wl.from_array(b, dtype="float32")),
        ("say min=", lambda: A.clip(a_min=0)),
        ("say max=", lambda: A.clip(0, a_max=1)),
        (r"A.astype\(dtype\).sum", lambda: A.sum(dtype="float32")),
        ("no corection=; did you mean 'correction'", lambda: A.std(corection=1)),
        ("no where=; there are: 'axis', 'keepdims'", lambda: A.sum(where=b)),
        ("no out=", lambda: A.sum(out=b)),
    ]
    for match, call in calls:
        with pytest.raises(TypeError, match=match):
            call()
    with pytest.raises(ValueError, match="say one of them"):
        A.var(ddof=1, correction=1)


def test_dask_from_array_reads_big_matrix() -> None:
    dask = pytest.importorskip("dask.array")
    A = wl.from_array(GENERAL.real, tile=4)
    total = dask.from_array(A).sum().compute(scheduler="sync")
    assert isinstance(total, wl.BigMatrix), "chunks are lazy slices"
    assert np.isclose(float(total), GENERAL.real.sum())
