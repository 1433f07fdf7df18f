"""Matrices as Dask arrays: nothing is computed before it is asked for, and tiles stay as long as graphs."""

from __future__ import annotations

import gc
import os
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest

import wrenla as wl
from wrenla.errors import MissingTileError, ReachError, StaleMatrixError
from wrenla_handler.stores.base import Store
from wrenla_handler.stores.local import LocalStore

from .conftest import DTYPES, numbers, same

Reads = Counter[str]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Count reads of tiles in folders."""
    found: Reads = Counter()
    get = LocalStore.get

    def counted(self: Store, key: str, *span: Any) -> memoryview:
        if key.startswith(("c/", "c.")):
            found[key] += 1
        return get(self, key, *span)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalStore, "get", counted)
    return found


def spd(n: int, dtype: str) -> npt.NDArray[Any]:
    a = numbers((n, n), dtype)
    return (a @ a.conj().T + n * np.eye(n)).astype(dtype)


VIEWS: dict[str, Callable[[wl.BigMatrix], wl.BigMatrix]] = {
    "itself": lambda A: A,
    "transpose": lambda A: A.T,
    "adjoint": lambda A: A.H,
    "shift": lambda A: A.shift(2.5),
    "scale": lambda A: -2 * A,
    "triangle": lambda A: A.tril(),
    "sum": lambda A: A + A.T,
    "slice": lambda A: A[10:2:-3, 1:],
    "row": lambda A: A[3],
    "column": lambda A: A[:, -1],
    "entry by entry": lambda A: np.exp(A) * A,
    "product": lambda A: A @ A,
    "solution": lambda A: A.solve(np.ones(11)),
    "number": lambda A: A.trace(),
    "other tiles": lambda A: A.rechunk((3, 11)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_blocks_are_what_compute_returns(name: str, tmp_path: Path) -> None:
    for dtype in DTYPES if name in ("itself", "adjoint", "sum") else ("float64",):
        A = wl.from_array(spd(11, dtype), tile=4, structure="pos").save(str(tmp_path / dtype))
        X = VIEWS[name](A)
        x = X.to_dask()
        assert (x.shape, x.dtype, x._meta.dtype) == (X.shape, X.dtype, X.dtype)
        assert x.chunksize == X.tile
        with dask.config.set(scheduler="synchronous"):
            assert same(x.compute(), np.asarray(X.compute()))


@pytest.mark.parametrize("structure", ["lower", "upper", "hermitian", "pos"])
def test_structures_come_with_both_halves(structure: str, tmp_path: Path) -> None:
    a = spd(9, "complex128")
    A = wl.from_array(a, tile=4, structure=structure, check=False).save(str(tmp_path / "A"))  # type: ignore[arg-type]
    expected = {"lower": np.tril(a), "upper": np.triu(a)}.get(structure, a)
    assert np.allclose(A.to_dask().compute(), expected, rtol=1e-15)
    assert same(A.to_dask().compute(), A.compute())


@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0), (0, 0)])
def test_empty_matrices(shape: tuple[int, ...], tmp_path: Path) -> None:
    assert same(wl.from_array(np.zeros(shape)).save(str(tmp_path / "A")).to_dask().compute(), np.zeros(shape))


def test_formulas_need_no_store(own_store: Path) -> None:
    A = wl.random((9, 7), tile=4)
    assert same((A + wl.zeros((9, 7), tile=4)).to_dask().compute(), A.compute())
    assert not list(own_store.iterdir())


def test_chunks_are_those_of_dask() -> None:
    a = numbers((10, 6))
    A = wl.from_array(a, tile=4).persist()
    for chunks, expected in (
        (3, ((3, 3, 3, 1), (3, 3))),
        ((-1, 2), ((10,), (2, 2, 2))),
        ("auto", ((10,), (6,))),
    ):
        x = A.to_dask(chunks)
        assert x.chunks == expected
        assert same(x.compute(), a)


def test_only_the_tiles_that_are_needed_are_read(reads: Reads, tmp_path: Path) -> None:
    x = wl.from_array(numbers((12, 12)), tile=4).save(str(tmp_path / "A")).to_dask()
    reads.clear()
    x[5, 9:].compute()
    assert reads == {"c/1/2": 1}
    (x + x.T)[:4, :4].compute()
    assert reads == {"c/1/2": 1, "c/0/0": 1}


def test_names_follow_from_the_matrix(tmp_path: Path) -> None:
    a = numbers((8, 8))
    A = wl.from_array(a, tile=4).save(str(tmp_path / "A"))
    names = [B.to_dask().name for B in (A, wl.open(tmp_path / "A"), A.T, A.shift(1.0))]
    assert names[0] == names[1]
    assert len(set(names)) == 3
    B = wl.from_array(2 * a, tile=4).save(str(tmp_path / "A"), overwrite=True)
    assert B.to_dask().name not in names


def test_overwritten_matrix_is_refused(tmp_path: Path) -> None:
    place = str(tmp_path / "A")
    x = wl.from_array(numbers((8, 8)), tile=4).save(place).to_dask()
    for factor in (2.0, 3.0):  # whose tiles lie in other places, and in the same ones
        wl.from_array(factor * numbers((8, 8)), tile=4).save(place, overwrite=True)
        with pytest.raises(StaleMatrixError, match="overwritten since it was opened"):
            x.compute()


def test_persisted_tiles_stay_as_long_as_the_graph(own_store: Path) -> None:
    a = numbers((8, 8))
    A = wl.from_array(a, tile=4)
    x = (A @ A).to_dask()
    y = (x + 1).sum(axis=0)
    del A, x
    gc.collect()
    assert np.allclose(y.compute(), (a @ a + 1).sum(axis=0))
    assert any(own_store.rglob("c/1/1"))
    del y
    gc.collect()
    assert not any(own_store.rglob("c/*"))


def test_lost_tiles_of_a_persisted_matrix_are_explained(own_store: Path) -> None:
    x = (wl.eye(8, tile=4) @ wl.eye(8, tile=4)).to_dask()
    next(own_store.rglob("c/1/1")).unlink()
    with pytest.raises(MissingTileError, match="c/1/1") as caught:
        x.compute(scheduler="synchronous")
    assert "keep that array until the work is done, or save the matrix first" in caught.value.__notes__[0]


def test_block_can_be_written_to() -> None:
    """Dask's users change blocks in place, in `map_blocks`."""
    A = wl.from_array(numbers((8, 8)), tile=4).persist()
    before = A.compute()

    def negated(block: npt.NDArray[Any]) -> npt.NDArray[Any]:
        block *= -1
        return block

    assert same(A.to_dask().map_blocks(negated).compute(), -before)
    assert same(A.compute(), before)


def _elsewhere(value: Any, node: str | None = None) -> Any:
    """Return what another process, maybe on another machine, gets of an object."""
    travelled = pickle.loads(pickle.dumps(value))
    travelled._home = (node or os.uname().nodename, -1)
    return travelled


def test_worker_elsewhere_needs_the_address_only(tmp_path: Path) -> None:
    a = numbers((8, 8))
    A = wl.from_array(a, tile=4)
    x = A.save(str(tmp_path / "A")).to_dask()
    read, block = next(task for key, task in _tasks(x).items() if key[1:] == (1, 0))
    assert len(pickle.dumps(read)) < 2000
    assert same(_elsewhere(read)(block), a[4:, :4])
    read, block = next(
        iter(_tasks(A.save("memory://interchange-elsewhere/A", overwrite=True).to_dask()).values())
    )
    with pytest.raises(ReachError, match=r'only the process .* A\.save\("s3://bucket/name"\)'):
        _elsewhere(read)(block)
    read, block = next(iter(_tasks(x).values()))
    (tmp_path / "A").rename(tmp_path / "B")
    with pytest.raises(
        ReachError, match=r"was made on elsewhere, and this worker runs on .* that they share"
    ):
        _elsewhere(read, "elsewhere")(block)


def _tasks(x: da.Array) -> dict[Any, Any]:
    return {key: (task.func, task.args[0]) for key, task in _new_tasks(x).items()}


def _new_tasks(x: da.Array) -> dict[Any, Any]:
    convert = pytest.importorskip("dask._task_spec").convert_legacy_graph
    return dict(convert(dict(x.__dask_graph__())))


def test_linear_algebra_of_dask_goes_on_with_it(tmp_path: Path) -> None:
    a = spd(12, "float64")
    x = wl.from_array(a, tile=4).save(str(tmp_path / "A")).to_dask()
    for value, expected in (
        (da.linalg.cholesky(x, lower=True), np.linalg.cholesky(a)),
        (da.linalg.norm(x), np.linalg.norm(a)),
        (da.matmul(x, x.T), a @ a.T),
        (da.linalg.solve(x, da.ones(12, chunks=4)), np.linalg.solve(a, np.ones(12))),
        (x[::2, -3:], a[::2, -3:]),
    ):
        assert np.allclose(value.compute(), expected, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.process
def test_processes_of_dask_read_the_tiles(tmp_path: Path) -> None:
    a = numbers((8, 8))
    A = wl.from_array(a, tile=(8, 4)).save(str(tmp_path / "A"))
    with dask.config.set(scheduler="processes", num_workers=1):
        assert same(A.T.to_dask().compute(), a.T)
