"""Names of NumPy's and SciPy's `linalg` that wrenla has not: errors name what there is instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse.linalg

import wrenla as wl
from wrenla import linalg

from . import gallery
from .gallery import Array

TALL = gallery.normal((9, 5), "complex128")
SQUARE = gallery.normal((9, 9), "complex128", 2)
SPD = gallery.well_conditioned(9, "complex128")
SIDE = gallery.normal((9,), "complex128", 3)
K = 2


def largest(values: Array) -> Array:
    return np.sort(abs(values))[-K:]


def of_svds(found: Any) -> Array:
    U, s, Vh = found
    assert np.allclose(TALL.conj().T @ U, Vh.conj().T * s)
    return np.sort(s)


def of_eigen(a: Array) -> Callable[[Any], Array]:
    def checked(found: Any) -> Array:
        w, V = found
        assert np.allclose(a @ V, V * w)
        return np.sort(abs(w))

    return checked


def first(found: Any) -> Array:
    assert found[1] == 0
    return np.asarray(found[0])


def same(found: Any) -> Any:
    return found


S = "scipy.sparse.linalg"
OP = "wrenla.linalg.aslinearoperator(A)"

# of each name: the matrix; code that its error has in it; what that comes to, looked at; what it should be
ADVICE: dict[str, tuple[Array, str, Callable[[Any], Any], Any]] = {
    "lstsq": (TALL, "(A.H @ A).solve(A.H @ b)", same, np.linalg.lstsq(TALL, SIDE)[0]),
    "pinv": (TALL, "(A.H @ A).solve(A.H)", same, np.linalg.pinv(TALL)),
    "pinvh": (SPD, "wrenla.linalg.inv(A)", same, scipy.linalg.pinvh(SPD)),
    "qr": (
        TALL,
        "wrenla.linalg.cholesky(A.H @ A, upper=True)",
        same,
        np.diag(np.sign(np.diag(R := np.linalg.qr(TALL).R)).conj()) @ R,
    ),
    "svd": (TALL, f"{S}.svds({OP}, k)", of_svds, largest(np.linalg.svd(TALL)[1])),
    "svdvals": (
        TALL,
        f"{S}.svds({OP}, k, return_singular_vectors=False)",
        np.sort,
        largest(np.linalg.svd(TALL)[1]),
    ),
    "eigh": (SPD, f"{S}.eigsh({OP}, k)", of_eigen(SPD), largest(np.linalg.eigvalsh(SPD))),
    "eigvalsh": (SPD, f"{S}.eigsh({OP}, k)", of_eigen(SPD), largest(np.linalg.eigvalsh(SPD))),
    "eig": (SQUARE, f"{S}.eigs({OP}, k)", of_eigen(SQUARE), largest(np.linalg.eigvals(SQUARE))),
    "eigvals": (SQUARE, f"{S}.eigs({OP}, k)", of_eigen(SQUARE), largest(np.linalg.eigvals(SQUARE))),
    "matrix_rank": (SQUARE * 0 + 1, "wrenla.linalg.rcond(A)", same, 0),
    "expm": (
        SQUARE,
        f"{S}.expm_multiply({OP}, b, traceA=A.trace().compute())",
        same,
        scipy.linalg.expm(SQUARE) @ SIDE,
    ),
    "expm_multiply": (
        SQUARE,
        f"{S}.expm_multiply({OP}, b, traceA=A.trace().compute())",
        same,
        scipy.linalg.expm(SQUARE) @ SIDE,
    ),
    "multi_dot": (SQUARE, "numpy.linalg.multi_dot([A, B, C])", same, SQUARE @ SQUARE @ SPD),
    "ldl": (
        SPD,
        "wrenla.linalg.ldl_factor(A)",
        lambda factor: factor.solve(SIDE),
        np.linalg.solve(SPD, SIDE),
    ),
    "ishermitian": (SPD, "float((A - A.H).norm('max'))", same, 0),
    "issymmetric": (SPD.real, "float((A - A.T).norm('max'))", same, 0),
    "LinAlgWarning": (SPD, "scipy.linalg.LinAlgWarning", lambda kind: issubclass(kind, Warning), True),
    "cg": (SPD, f"{S}.cg({OP}, b)", first, np.linalg.solve(SPD, SIDE)),
    "bicgstab": (SPD, f"{S}.bicgstab({OP}, b)", first, np.linalg.solve(SPD, SIDE)),
    "gmres": (SPD, f"{S}.gmres({OP}, b)", first, np.linalg.solve(SPD, SIDE)),
    "minres": (SPD.real, f"{S}.minres({OP}, b)", first, np.linalg.solve(SPD.real, SIDE.real)),
    "lsqr": (TALL, f"{S}.lsqr({OP}, b)", lambda found: found[0], np.linalg.lstsq(TALL, SIDE)[0]),
    "lsmr": (TALL, f"{S}.lsmr({OP}, b)", lambda found: found[0], np.linalg.lstsq(TALL, SIDE)[0]),
    "svds": (TALL, f"{S}.svds({OP}, k)", of_svds, largest(np.linalg.svd(TALL)[1])),
    "eigsh": (SPD, f"{S}.eigsh({OP}, k)", of_eigen(SPD), largest(np.linalg.eigvalsh(SPD))),
    "eigs": (SQUARE, f"{S}.eigs({OP}, k)", of_eigen(SQUARE), largest(np.linalg.eigvals(SQUARE))),
}

ARRAY_API = {
    *("cholesky", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "matmul"),
    *("matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "outer", "pinv", "qr", "slogdet"),
    *("solve", "svd", "svdvals", "tensordot", "trace", "vecdot", "vector_norm"),
}


def error_of(name: str) -> str:
    with pytest.raises(AttributeError) as caught:
        getattr(linalg, name)
    assert not hasattr(linalg, name)
    return str(caught.value)


@pytest.mark.parametrize("name", ADVICE)
def test_what_errors_advise_works(name: str) -> None:
    a, code, looked_at, expected = ADVICE[name]
    texts = [error_of(name)]
    if name in ("eig", "eigh", "eigvals", "eigvalsh", "lstsq", "matrix_rank", "pinv", "qr", "svd"):
        args = (SIDE,) if name == "lstsq" else ()
        with pytest.raises(TypeError) as caught:
            getattr(np.linalg, name)(wl.from_array(a, tile=4), *args)
        texts.append(str(caught.value))
    assert all(code in text for text in texts)
    matrices = {"A": wl.from_array(a, tile=4), "B": wl.from_array(SQUARE, tile=4), "C": SPD}
    b = SIDE if a.dtype.kind == "c" else SIDE.real
    found = looked_at(eval(code, {"numpy": np, "scipy": scipy, "wrenla": wl, "b": b, "k": K, **matrices}))
    found = found.compute() if isinstance(found, wl.BigMatrix) else found
    assert np.allclose(found, expected, rtol=1e-3 if name in ("lsqr", "lsmr", "cg", "minres") else 1e-4)


def test_all_names_that_are_not_there_say_what_takes_arrays() -> None:
    theirs = {name for name in dir(scipy.linalg) if callable(getattr(scipy.linalg, name))}
    theirs |= {name for name in dir(np.linalg) if callable(getattr(np.linalg, name))} | ARRAY_API
    missing = {name for name in theirs - {*linalg.__all__} if not name.startswith("_")} - {"test"}
    assert len(missing) > 60
    for name in missing:
        text = error_of(name)
        assert text.startswith(f"wrenla.linalg.{name} is not there: ")
        assert "\n" not in text
        assert re.search(rf"(numpy|scipy)\.linalg\.{name}\b", text) or name in {*ADVICE, "block_diag"}


@pytest.mark.parametrize("name", ["choleski", "blas", "test", "__path__", "_umath_linalg"])
def test_other_names_are_errors_as_ever(name: str) -> None:
    assert error_of(name) == f"module 'wrenla.linalg' has no attribute {name!r}"


def test_what_is_not_there_cannot_be_imported() -> None:
    with pytest.raises(ImportError, match="lstsq"):
        from wrenla.linalg import lstsq  # type: ignore[attr-defined]  # noqa: F401


def test_blocks_are_put_beside_zeros_and_makers_give_arrays() -> None:
    assert "wrenla.block" in error_of("block_diag")
    A, B = wl.from_array(SQUARE, tile=4), wl.from_array(TALL, tile=4)
    rows = [[A, wl.zeros((9, 5), tile=4)], [wl.zeros((9, 9), tile=4), B]]
    assert np.array_equal(wl.block(rows).compute(), scipy.linalg.block_diag(SQUARE, TALL))
    assert "wrenla.from_array" in error_of("hilbert")
    assert np.array_equal(wl.from_array(scipy.linalg.hilbert(5)).compute(), scipy.linalg.hilbert(5))
