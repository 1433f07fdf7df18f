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
)
FUNCTIONS = (
    *("test_diagonal", "test_trace", "test_matmul", "test_matrix_transpose", "test_matrix_norm"),
    *("test_matrix_norm_empty", "test_vector_norm", "test_vector_norm_empty", "test_byteorder_check"),
)
"""Not here, since there is nothing to run: eigenvalues, SVD, QR, least squares, powers, tensors,
`multi_dot`."""

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
        monkeypatch.setattr(upstream, "norm", names["norm"])
        monkeypatch.setattr(upstream, "np", Module(np, {"linalg": linalg}))
        yield


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    return wl.linalg.norm(matrix(x), ord, axis, keepdims).compute()


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return wl.linalg.matrix_norm(matrix(x), keepdims=keepdims, ord=ord).compute()


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    A = matrix(x)
    if A.ndim == 2 and (axis is not None or ord != 2):
        raise NotThere("norms of all entries of a matrix but the Euclidean one")
    return A.norm(None if ord == 2 else ord, axis, keepdims).compute()


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
        "trace": lambda a, /: wl.linalg.trace(matrix(a)).compute(),
        "diagonal": lambda a, /: wl.linalg.diagonal(matrix(a)).compute(),
        "matrix_transpose": lambda a, /: wl.linalg.matrix_transpose(matrix(a)).compute(),
    }
    return {
        name: stand_in.of(f, getattr(np.linalg, name)) for name, f in ours.items() if hasattr(np.linalg, name)
    }
