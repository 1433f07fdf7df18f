"""Dask arrays as matrices: every block is computed once, whatever the tiles, and no bit differs."""

from __future__ import annotations

import gc
import importlib
import itertools
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wrenla as wl
from wrenla.errors import PlanError, StructureError
from wrenla.interchange.dask_blocks import DaskBlocks
from wrenla.run.upload import upload
from wrenla.workspace.workspace import Workspace
from wrenla_handler.errors import WrenlaError
from wrenla_handler.stores.urls import open_store
from wrenla_handler.threads import Threads
from wrenla_handler.tiles.arrays import HostArray
from wrenla_handler.tiles.grid import Grid

from .conftest import DTYPES, numbers, same


class Counting:
    """Doubles blocks, and counts how often each was computed."""

    def __init__(self) -> None:
        self.times: Counter[tuple[int, ...]] = Counter()
        self.threads: set[str] = set()
        self.broken: set[tuple[int, ...]] = set()

    def __call__(self, block: npt.NDArray[Any], block_info: Any = None) -> npt.NDArray[Any]:
        place = tuple(block_info[0]["chunk-location"])
        self.times[place] += 1
        self.threads.add(threading.current_thread().name)
        if place in self.broken:
            raise ZeroDivisionError("this block cannot be made")
        return 2 * block

    def of(self, a: npt.NDArray[Any], chunks: Any, name: str | None = None) -> da.Array:
        return da.from_array(a, chunks=chunks).map_blocks(
            self, dtype=a.dtype, meta=np.empty((0,) * a.ndim, a.dtype), name=name
        )


@st.composite
def lengths(draw: Any, n: int) -> tuple[int, ...]:
    """Chunks along an axis, empty ones and single rows among them."""
    cuts = sorted(draw(st.lists(st.integers(0, n), max_size=4)))
    return tuple(b - a for a, b in itertools.pairwise([0, *cuts, n]))


@st.composite
def cases(draw: Any) -> tuple[tuple[int, ...], Any, Any, str]:
    structure = draw(st.sampled_from(["general", "general", "lower", "upper", "hermitian"]))
    if structure == "general":
        shape = draw(st.sampled_from([(9, 13), (1, 7), (20,), (8, 8)]))
        edges = st.tuples(st.integers(1, 21), st.integers(1, 21))
        tile = draw(st.none() | st.integers(1, 21) | edges)
    else:
        shape, tile = (13, 13), draw(st.none() | st.integers(1, 14))
    return shape, tuple(draw(lengths(n)) for n in shape), tile, structure


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases())
def test_each_block_is_computed_once_and_exactly(case: tuple[tuple[int, ...], Any, Any, str]) -> None:
    shape, chunks, tile, structure = case
    a, counting = numbers(shape), Counting()
    match structure:
        case "hermitian":
            a = a + a.T
        case "lower":
            a = np.tril(a)
        case "upper":
            a = np.triu(a)
    A = wl.from_dask(counting.of(a, chunks), tile=tile, structure=structure, check=False)
    assert same(A.compute(), 2 * a)
    assert A.structure == structure
    assert max(counting.times.values()) == 1


@pytest.mark.parametrize("dtype", [*DTYPES, "int32", "uint8", "bool", ">f8", ">c8"])
def test_dtypes_and_orders(dtype: str) -> None:
    a = (np.arange(35).reshape(5, 7) % 3).astype(dtype)
    expected = a.astype("float64") if a.dtype.kind in "biu" else a.astype(a.dtype.newbyteorder("="))
    for theirs in (da.from_array(a, chunks=3), da.from_array(a.T, chunks=2).T):
        A = wl.from_dask(theirs.map_blocks(np.asfortranarray, dtype=a.dtype), tile=4)
        assert same(A.compute(), expected)


def test_graphs_of_many_kinds() -> None:
    a = numbers((12, 10))
    x = da.from_array(a, chunks=(5, 3))
    with dask.config.set(scheduler="synchronous"):
        for theirs, expected in (
            (x, a),
            ((x * 2).persist(), 2 * a),
            (x[::2, ::-1].T.rechunk(4), a[::2, ::-1].T),
            (da.concatenate([x, x + 1]), np.concatenate([a, a + 1])),
            (da.from_delayed(dask.delayed(np.array)(a), a.shape, a.dtype), a),
            (da.from_array(a, chunks=3, inline_array=True), a),
        ):
            assert same(wl.from_dask(theirs, tile=4).compute(), expected)


@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0)])
def test_empty_arrays(shape: tuple[int, ...]) -> None:
    assert same(wl.from_dask(da.zeros(shape)).compute(), np.zeros(shape))


def test_default_tiles_are_whole_blocks() -> None:
    for chunks in ((300, 300), (1200, 100), (1200, 7), (70, 1200)):
        counting = Counting()
        A = wl.from_dask(counting.of(np.zeros((1200, 1200)), chunks))
        assert all(n % chunk == 0 for n, chunk in zip(A.tile, chunks, strict=True))
        assert set(counting.times.values()) == {1}
    counting = Counting()
    a = numbers((150, 150)) + 400 * np.eye(150)
    A = wl.from_dask(counting.of(a + a.T, (50, 30)), structure="pos")
    assert A.tile == (150, 150)
    assert set(counting.times.values()) == {1}


def test_claim_is_checked_and_blocks_it_needs_not_are_not_computed() -> None:
    a, counting = numbers((40, 40)), Counting()
    with pytest.raises(StructureError, match="check=False"):
        wl.from_dask(counting.of(a, 7), tile=8, structure="pos")
    counting.times.clear()
    A = wl.from_dask(counting.of(a, 8), tile=8, structure="lower", check=False)
    assert same(A.compute(), 2 * np.tril(a))
    assert {(i, j) for i, j in counting.times if i < j} == set()
    spd = a @ a.T + 40 * np.eye(40)
    counting.times.clear()
    B = wl.from_dask(counting.of(spd, 7), tile=8, structure="pos")
    assert max(counting.times.values()) <= 3, "a few of them for the check"
    assert same(B.compute(), 2 * np.where(np.tri(40, dtype=bool), spd, spd.T))


def test_saved_one_goes_on_after_failure_and_is_not_made_twice(tmp_path: Path) -> None:
    a, counting = numbers((40, 40)), Counting()
    theirs = counting.of(a, 10)
    counting.broken = {(3, 3)}
    with pytest.raises(ZeroDivisionError):
        wl.from_dask(theirs, tmp_path / "A", tile=10)
    with pytest.raises(WrenlaError):
        wl.open(tmp_path / "A")
    first, counting.times = counting.times, Counter()
    counting.broken = set()
    A = wl.from_dask(theirs, tmp_path / "A", tile=10)
    assert same(A.compute(), 2 * a)
    assert sum(first.values()) + sum(counting.times.values()) < 16 + 3, (
        "a tile that is there is not made again"
    )
    counting.times.clear()
    assert same(wl.from_dask(theirs, tmp_path / "A", tile=10).compute(), 2 * a)
    assert not counting.times
    with pytest.raises(FileExistsError, match="overwrite=True replaces it"):
        wl.from_dask(theirs + 1, tmp_path / "A")
    assert same(wl.from_dask(theirs + 1, tmp_path / "A", overwrite=True).compute(), 2 * a + 1)


def test_without_url_it_is_kept_as_long_as_it_is_used(own_store: Path) -> None:
    counting = Counting()
    A = wl.from_dask(counting.of(numbers((20, 20)), 10), tile=6)
    twice = A + A
    del A
    gc.collect()
    for _ in range(2):
        twice.compute()
    assert set(counting.times.values()) == {1}
    assert any(own_store.rglob("c/0/0"))
    del twice
    gc.collect()
    assert not any(own_store.rglob("c/*"))
    with pytest.raises(ValueError, match="overwrite=True is about what is at url"):
        wl.from_dask(da.zeros(3), overwrite=True)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", None])
def test_scheduler_is_the_one_that_dask_is_set_to(scheduler: str | None) -> None:
    counting, a = Counting(), numbers((12, 12))
    with dask.config.set(scheduler=scheduler, num_workers=2):
        A = wl.from_dask(counting.of(a, 3), tile=5)
    assert same(A.compute(), 2 * a)
    ours = {name.partition("_")[0] for name in counting.threads}
    assert ours == {"wrenla" if scheduler == "synchronous" else "wrenla-dask"}


@pytest.mark.process
@pytest.mark.slow
def test_processes_of_dask_are_started_once() -> None:
    theirs = da.from_array(numbers((12, 12)), chunks=3).map_blocks(lambda b: b * 0 + os.getpid(), dtype=float)
    with dask.config.set(scheduler="processes", num_workers=2):
        pids = set(wl.from_dask(theirs, tile=3).compute().ravel())
    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids


def test_block_beyond_allowed_memory_is_refused() -> None:
    with (
        wl.LocalExecutor(1, allowed_mem="40 MiB"),
        pytest.raises(PlanError, match=r"1100 × 1000 of float64, takes 8.39 MiB, and 16.00 MiB is allowed"),
    ):
        wl.from_dask(da.zeros((1100, 1000), chunks=-1))


def test_blocks_at_work_fit_into_the_allowed_memory() -> None:
    at_work, most, lock = [0], [0], threading.Lock()

    def slow(block: npt.NDArray[Any]) -> npt.NDArray[Any]:
        with lock:
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
        time.sleep(0.01)
        with lock:
            at_work[0] -= 1
        return block

    theirs = da.ones((8, 100), chunks=(1, 50)).map_blocks(slow, dtype=float)
    grid = Grid((8, 100), (8, 50))
    with dask.config.set(num_workers=8), DaskBlocks(theirs, grid, "general", 2000, None) as blocks:
        assert np.array_equal(blocks[0:8, 0:50], np.ones((8, 50)))
        assert most[0] == 2, "blocks of 400 bytes, which count twice"
        with Threads(2) as pool:
            list(pool.map(blocks.__getitem__, [(slice(0, 8), slice(c, c + 50)) for c in (0, 50)]))
    assert most[0] == 2


def test_blocks_wait_on_the_disk_of_the_store(
    own_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of temporary files may be memory."""
    folders: list[Any] = []
    make = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: folders.append(dir) or make(dir=dir))
    theirs = da.ones((40, 40), chunks=10)
    wl.from_dask(theirs, tile=7)
    wl.from_dask(theirs, str(tmp_path / "not" / "there"), tile=7)
    wl.from_dask(theirs, "memory://interchange-waiting/A", tile=7, overwrite=True)
    assert [Path(folder).is_relative_to(own_store) for folder in folders] == [True, False, True]
    assert Path(folders[1]).is_relative_to(tmp_path)


def test_upload_does_not_compute_what_is_there(own_store: Path) -> None:
    """Where workers are elsewhere, a run that goes on has tiles there already."""
    counting, grid = Counting(), Grid((12, 12), (4, 4))
    theirs = counting.of(numbers((12, 12)), 3)
    folder = Workspace(str(own_store), "0" * 24)
    spec = HostArray(grid, "float64", 2, "theirs")
    for _ in range(2):
        with DaskBlocks(theirs, grid, "general", 1 << 20, None) as blocks:
            stored = upload({"X": spec}, {"theirs": blocks}, folder)["X"]
    assert set(counting.times.values()) == {1}
    with closing(open_store(stored.url)) as store:  # type: ignore[union-attr]
        assert len(list(store.list())) == 9
    folder.remove()


def test_no_copy_leaves_a_file_open() -> None:
    theirs, counting = da.ones((40, 40), chunks=10), Counting()
    counting.broken = {(3, 3)}
    wl.from_dask(theirs, tile=7)
    open_before = len(os.listdir("/proc/self/fd"))
    assert same(wl.from_dask(theirs, tile=6).compute(), np.ones((40, 40)))
    with pytest.raises(ZeroDivisionError):
        wl.from_dask(counting.of(np.ones((40, 40)), 10), tile=7)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= open_before


@pytest.fixture
def client() -> Iterator[Any]:
    distributed = importlib.import_module("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as found,
    ):
        yield found


@pytest.mark.process
def test_blocks_come_from_a_cluster_and_go_there(client: Any, tmp_path: Path) -> None:
    a = numbers((40, 30))
    theirs = da.from_array(a, chunks=(9, 7)) * 2

    def where(block: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return block + ("Dask" in threading.current_thread().name)  # as those of its workers are called

    A = wl.from_dask(theirs.map_blocks(where, dtype=float), tmp_path / "A", tile=8)
    assert same(A.compute(), 2 * a + 1)
    assert same(wl.from_dask(theirs.persist(), tile=8).compute(), 2 * a)
    assert same(A.T.to_dask().map_blocks(where, dtype=float).compute(), 2 * a.T + 1 + 1)
