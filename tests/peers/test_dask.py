"""dask.array's own tests of linear algebra, with wrenla between `from_dask` and `to_dask`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import dask.array as da
import numpy as np
import pytest

import wrenla as wl
from wrenla_handler.stores.memory import MemoryStore

from .stand_in import TILE, Module, NotThere, StandIn, known

linalg_tests = pytest.importorskip(
    "dask.array.tests.test_linalg", reason="Dask was installed without its tests"
)
routines = pytest.importorskip("dask.array.tests.test_routines")

pytestmark = pytest.mark.peers

LINALG = (
    *("test_lu_1", "test_lu_2", "test_lu_3", "test_lu_errors"),
    *("test_solve_triangular_vector", "test_solve_triangular_matrix", "test_solve_triangular_matrix2"),
    *("test_solve_triangular_errors", "test_solve", "test_inv", "test_solve_assume_a"),
    *("test_cholesky", "test_cholesky_complex"),
    *("test_norm_any_ndim", "test_norm_any_prec", "test_norm_any_slice", "test_norm_1dim", "test_norm_2dim"),
)
ROUTINES = (
    *("test_transpose", "test_transpose_negative_axes", "test_matmul", "test_tensordot", "test_dot_method"),
    *("test_dot_persist_equivalence", "test_vdot", "test_outer", "test_diagonal"),
)
"""Not here, since there is nothing to run: QR, SVD, least squares, tensors of more dimensions."""

DIFFERENCES: dict[str, str] = {
    "test_lu_errors": "a rectangular matrix has LU factors, whatever its blocks",
    "test_solve_triangular_errors": "triangles are solved with, whatever the blocks of the right-hand side",
}

globals().update({name: getattr(linalg_tests, name) for name in LINALG if hasattr(linalg_tests, name)})
globals().update({name: getattr(routines, name) for name in ROUTINES if hasattr(routines, name)})


@pytest.fixture(autouse=True)
def ours(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    store = f"dask-{uuid.uuid4().hex}"
    monkeypatch.setenv("WRENLA_STORE", f"memory://{store}")
    with known(request, DIFFERENCES) as stand_in:
        linalg = Module(da.linalg, of_linalg(stand_in))
        names = of_arrays(stand_in)
        for module in (linalg_tests, routines):
            monkeypatch.setattr(module, "da", Module(da, {"linalg": linalg, **names}))
        yield
    MemoryStore.drop(store)


def matrix(x: Any) -> wl.BigMatrix:
    """Return what wrenla makes of an array, in tiles that are not its blocks."""
    if x.ndim not in (1, 2):
        raise NotThere("stacks of matrices, and numbers")
    if x.dtype.kind in "fc" and x.dtype.name not in ("float32", "float64", "complex64", "complex128"):
        raise NotThere(f"dtype {x.dtype}")
    tile = max(TILE, max(x.shape) // 9)
    return wl.from_dask(x, tile=tile) if isinstance(x, da.Array) else wl.from_array(x, tile=tile)


def numbers(x: Any) -> wl.BigMatrix:
    """The same, where results of integers are integers."""
    if x.dtype.kind not in "fc":
        raise NotThere("results of integers")
    return matrix(x)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if x.ndim == 1 and ord in (0, 0.5, -2):
        raise NotThere(f"norms of order {ord} of vectors")
    return wl.linalg.norm(matrix(x), ord, axis, keepdims).to_dask()


def solve(a: Any, b: Any, sym_pos: Any = None, assume_a: str = "gen") -> Any:
    if sym_pos is not None:
        raise NotThere("sym_pos, which SciPy has no more")
    return wl.linalg.solve(matrix(a), matrix(b), assume_a=assume_a).to_dask()


def of_linalg(stand_in: StandIn) -> dict[str, Any]:
    ours = {
        "solve": solve,
        "solve_triangular": lambda a, b, lower=False: wl.linalg.solve_triangular(
            matrix(a), matrix(b), lower=lower
        ).to_dask(),
        "cholesky": lambda a, lower=False: matrix(a).cholesky(not lower).to_dask(),
        "inv": lambda a: wl.linalg.inv(matrix(a)).to_dask(),
        "lu": lambda a: tuple(part.to_dask(a.chunks) for part in wl.linalg.lu(matrix(a))),
        "norm": norm,
    }
    return {name: stand_in.of(f, getattr(da.linalg, name)) for name, f in ours.items()}


def of_arrays(stand_in: StandIn) -> dict[str, Any]:
    ours = {
        "matmul": lambda a, b: (numbers(a) @ numbers(b)).to_dask(),
        "dot": lambda a, b: (numbers(a) @ numbers(b)).to_dask(),
        "tensordot": lambda a, b, axes=2: wl.linalg.tensordot(numbers(a), numbers(b), axes=axes).to_dask(),
        "vdot": lambda a, b: (
            wl.linalg.vecdot(numbers(a), numbers(b)).to_dask()
            if a.ndim == 1
            else _not_there("vdot of matrices")
        ),
        "outer": lambda a, b: (
            wl.linalg.outer(numbers(a), numbers(b)).to_dask()
            if a.ndim == 1
            else _not_there("outer of matrices")
        ),
        "transpose": lambda a, axes=None: (
            numbers(a).T.to_dask() if axes in (None, (1, 0)) else _not_there("other axes")
        ),
    }
    return {name: stand_in.of(f, getattr(da, name)) for name, f in ours.items()}


def _not_there(what: str) -> Any:
    raise NotThere(what)


def test_results_of_float_arrays_are_ours() -> None:
    """Some of their tests are of integers only, of which results are integers for Dask."""
    x = da.from_array(np.random.default_rng(0).random((7, 9)), chunks=(3, 4))
    stand_in = StandIn()
    found = of_arrays(stand_in)["tensordot"](x, x.T, axes=1)
    assert np.allclose(found.compute(), (x @ x.T).compute())
    assert stand_in.ours == 1
