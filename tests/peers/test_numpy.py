"""NumPy's own tests of linear algebra, with wrenla in the place of `numpy.linalg`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import wrenla as wl

from .stand_in import Module, NotThere, StandIn, known, matrix

upstream = pytest.importorskip(
    "numpy.linalg.tests.test_linalg", reason="NumPy was installed without its tests"
)

pytestmark = pytest.mark.peers

CLASSES = (
    "TestSolve",
    "TestNorm_NonSystematic",
    "TestNormDouble",
    "TestNormSingle",
    "TestNormInt64",
    "TestCholesky",
    "TestDet",
    "TestInv",
    "TestMatrixPower",
)
FUNCTIONS = (
    *("test_diagonal", "test_trace", "test_matmul", "test_matrix_transpose", "test_matrix_norm"),
    *("test_matrix_norm_empty", "test_vector_norm", "test_vector_norm_empty", "test_byteorder_check"),
    *("test_tensordot", "test_cross"),
)
"""Not here, since there is nothing to run: eigenvalues, SVD, QR, least squares, tensors
of more dimensions, `multi_dot`."""

DIFFERENCES: dict[str, str] = {"TestInv.test_0_size": "results are arrays, not of a subclass of theirs"}

globals().update(
    {name: getattr(upstream, name) for name in (*CLASSES, *FUNCTIONS) if hasattr(upstream, name)}
)


@pytest.fixture(autouse=True)
def ours(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with known(request, DIFFERENCES) as stand_in:
        names = functions(stand_in)
        linalg = Module(np.linalg, names)
        monkeypatch.setattr(upstream, "linalg", linalg)
        for name in ("norm", "matrix_power"):
            monkeypatch.setattr(upstream, name, names[name])
        monkeypatch.setattr(upstream, "np", Module(np, {"linalg": linalg}))
        yield


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    return wl.linalg.norm(matrix(x), ord, axis, keepdims).compute()


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return wl.linalg.matrix_norm(matrix(x), keepdims=keepdims, ord=ord).compute()


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    return wl.linalg.vector_norm(matrix(x), axis=axis, keepdims=keepdims, ord=ord).compute()


def matrix_power(x: Any, n: int) -> Any:
    if np.asarray(x).dtype.kind not in "fc":
        raise NotThere("results of integers and objects")
    return wl.linalg.matrix_power(matrix(x), n).compute()


def functions(stand_in: StandIn) -> dict[str, Any]:
    ours = {
        "norm": norm,
        "matrix_norm": matrix_norm,
        "vector_norm": vector_norm,
        "cholesky": lambda a, /, *, upper=False: matrix(a).cholesky(upper).compute(),
        "solve": lambda a, b: wl.linalg.solve(matrix(a), matrix(b)).compute(),
        "matmul": lambda a, b, /: wl.linalg.matmul(matrix(a), matrix(b)).compute(),
        "det": lambda a: wl.linalg.det(matrix(a)).compute(),
        "inv": lambda a: wl.linalg.inv(matrix(a)).compute(),
        "slogdet": lambda a: type(np.linalg.slogdet(np.eye(1)))(*wl.compute(*matrix(a).slogdet())),
        "trace": lambda a, /, **k: wl.linalg.trace(matrix(a), **k).compute(),
        "diagonal": lambda a, /, **k: wl.linalg.diagonal(matrix(a), **k).compute(),
        "outer": lambda a, b, /: wl.linalg.outer(matrix(a), matrix(b)).compute(),
        "tensordot": lambda a, b, /, **k: wl.linalg.tensordot(matrix(a), matrix(b), **k).compute(),
        "cross": lambda a, b, /, **k: wl.linalg.cross(matrix(a), matrix(b), **k).compute(),
        "vecdot": lambda a, b, /, **k: wl.linalg.vecdot(matrix(a), matrix(b), **k).compute(),
        "matrix_power": matrix_power,
        "matrix_transpose": lambda a, /: wl.linalg.matrix_transpose(matrix(a)).compute(),
    }
    return {
        name: stand_in.of(f, getattr(np.linalg, name)) for name, f in ours.items() if hasattr(np.linalg, name)
    }
