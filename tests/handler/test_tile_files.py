"""Tiles that memory has no room for: what comes back is what was put in, and the disk is not filled."""

from __future__ import annotations

import builtins
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.arrays import StoredArray, TileRef
from wrenla_handler.tiles.buffers import empty_tile
from wrenla_handler.tiles.cache import TileCache
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.layout import tile_key
from wrenla_handler.tiles.sources import as_bytes
from wrenla_handler.tiles.spill import SpillFiles
from wrenla_handler.tiles.task import Read, Task
from wrenla_handler.tiles.worker import Worker

DTYPES = ["float32", "float64", "complex64", "complex128"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tmp"
    made.mkdir()
    return made


@pytest.fixture
def files(folder: Path) -> Iterator[SpillFiles]:
    made = SpillFiles(str(folder), 1000)
    yield made
    made.close()
    assert list(folder.iterdir()) == []


def on_disk(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def numbers(shape: tuple[int, int], dtype: str = "float64", seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if dtype.startswith("c") else 0)
    return np.asfortranarray(x.astype(dtype))


def padded(tile: Any) -> Any:
    """The same numbers as a ragged tile of a store has them: a part of a larger one."""
    whole = np.full((tile.shape[0] + 3, tile.shape[1] + 2), np.nan, tile.dtype, order="F")
    whole[: tile.shape[0], : tile.shape[1]] = tile
    return whole[: tile.shape[0], : tile.shape[1]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 4), (1, 1), (3, 5), (7, 1), (1, 7)])
@pytest.mark.parametrize("form", [lambda x: x, padded, np.ascontiguousarray, lambda x: x[::-1].copy()[::-1]])
def test_spilled_tile_is_read_back_equal(
    files: SpillFiles, dtype: str, shape: tuple[int, int], form: Callable[[Any], Any]
) -> None:
    tile = form(numbers(shape, dtype))
    files.put(("a", 0, 0, 0), tile)
    back = files.get(("a", 0, 0, 0), *shape, dtype)
    assert back is not None
    assert back.dtype == tile.dtype
    assert back.tobytes("F") == tile.tobytes("F")
    assert back.flags.f_contiguous
    assert not back.flags.writeable


def test_bits_of_nan_and_signed_zero(files: SpillFiles) -> None:
    tile = np.asfortranarray(
        np.frombuffer(bytes(range(240, 256)) * 4 + b"\0" * 7 + b"\x80", "<f8").reshape(3, 3)
    )
    files.put(("a", 0, 0, 0), tile)
    assert files.get(("a", 0, 0, 0), 3, 3, "float64").tobytes() == tile.tobytes()  # type: ignore[union-attr]


def test_an_empty_tile_is_left_out(files: SpillFiles) -> None:
    files.put(("a", 0, 0, 0), np.empty((0, 4), order="F"))
    assert files.get(("a", 0, 0, 0), 0, 4, "float64") is None


def test_keys_that_look_alike(files: SpillFiles) -> None:
    keys = [
        ("a/b", 1, 2, 0),
        ("a_b", 1, 2, 0),
        ("a-1", 2, 0, 0),
        ("a", 1, 2, 0),
        ("..", 0, 0, 0),
        ("x" * 300, 0, 0, 0),
    ]
    for number, key in enumerate(keys):
        files.put(key, numbers((2, 2), seed=number))
    for number, key in enumerate(keys):
        assert np.array_equal(files.get(key, 2, 2, "float64"), numbers((2, 2), seed=number)), key  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(0, 600),
    steps=st.lists(st.tuples(st.sampled_from("pgd"), st.integers(0, 7)), max_size=40),
)
def test_spill_files_stay_within_limit_and_correct(
    folder: Path, limit: int, steps: list[tuple[str, int]]
) -> None:
    """Whatever happens: never more than the limit, and a tile that is there is the one that was put."""
    tiles = [numbers((n + 1, 8), seed=n) for n in range(8)]
    files = SpillFiles(str(folder), limit)
    try:
        for what, n in steps:
            key = ("a", n, 0, 0)
            if what == "p":
                files.put(key, tiles[n])
                assert (files.get(key, n + 1, 8, "float64") is not None) == (tiles[n].nbytes <= limit)
            elif what == "g":
                back = files.get(key, n + 1, 8, "float64")
                assert back is None or np.array_equal(back, tiles[n])
            else:
                files.drop(key)
                assert files.get(key, n + 1, 8, "float64") is None
            assert on_disk(folder) == files.used <= limit
    finally:
        files.close()
    assert list(folder.iterdir()) == []


def test_the_least_recently_used_one_goes(files: SpillFiles) -> None:
    for n in range(4):
        files.put(("a", n, 0, 0), numbers((4, 8)))  # 256 bytes
        files.get(("a", 0, 0, 0), 4, 8, "float64")
    there = [n for n in range(4) if files.get(("a", n, 0, 0), 4, 8, "float64") is not None]
    assert there == [0, 2, 3]


def test_mapped_spill_file_may_be_removed(files: SpillFiles) -> None:
    files.put(("a", 0, 0, 0), numbers((4, 8)))
    back = files.get(("a", 0, 0, 0), 4, 8, "float64")
    files.drop_array("a")
    files.put(("a", 0, 0, 0), numbers((4, 8), seed=1))
    assert np.array_equal(back, numbers((4, 8)))  # type: ignore[arg-type]
    assert files.used == 256


def test_mapped_tile_is_not_spilled_again(files: SpillFiles, folder: Path) -> None:
    files.put(("a", 0, 0, 0), numbers((4, 8)))
    back = files.get(("a", 0, 0, 0), 4, 8, "float64")
    files.drop(("a", 0, 0, 0))
    files.put(("a", 0, 0, 0), back)  # type: ignore[arg-type]
    assert on_disk(folder) == 0


class FullDisk:
    """A file that takes a few bytes."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: Any) -> int:
        self._file.write(bytes(data)[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def test_spill_on_full_disk_stops_spilling(
    files: SpillFiles, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody else has filled it: what we have there goes, and nothing more is written."""
    files.put(("a", 0, 0, 0), numbers((4, 8)))
    monkeypatch.setattr(builtins, "open", lambda *args, opened=open: FullDisk(opened(*args)))
    files.put(("a", 1, 0, 0), numbers((4, 8)))
    monkeypatch.undo()
    assert on_disk(folder) == files.used == 0
    files.put(("a", 2, 0, 0), numbers((4, 8)))
    assert [files.get(("a", n, 0, 0), 4, 8, "float64") for n in range(3)] == [None] * 3
    (record,) = caplog.records
    assert "No space left" in record.getMessage()


def test_spill_files_removed_by_others_are_misses(files: SpillFiles, folder: Path) -> None:
    """A function may empty /tmp: tiles are read from elsewhere then, and written again."""
    files.put(("a", 0, 0, 0), numbers((4, 8)))
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.unlink()
    assert files.get(("a", 0, 0, 0), 4, 8, "float64") is None
    files.put(("a", 0, 0, 0), numbers((4, 8)))
    assert np.array_equal(files.get(("a", 0, 0, 0), 4, 8, "float64"), numbers((4, 8)))  # type: ignore[arg-type]
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.unlink()
    files.drop(("a", 0, 0, 0))
    assert files.used == 0


def test_the_limit_is_what_is_free(folder: Path) -> None:
    files = SpillFiles(str(folder))
    disk = os.statvfs(folder)
    assert 0 <= files.limit <= disk.f_bavail * disk.f_frsize
    files.close()


def test_from_several_threads(folder: Path) -> None:
    files = SpillFiles(str(folder), 2000)
    tiles = [numbers((4, 8), seed=n) for n in range(16)]
    wrong: list[int] = []

    def work(seed: int) -> None:
        for n in np.random.default_rng(seed).integers(0, 16, 200):
            files.put(("a", int(n), 0, 0), tiles[n])
            back = files.get(("a", int(n), 0, 0), 4, 8, "float64")
            if back is not None and not np.array_equal(back, tiles[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert on_disk(folder) == files.used <= 2000
    files.close()


# with the cache in front of it, as a worker has them


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ndim", [1, 2])
def test_tiles_that_memory_has_no_room_for(dtype: str, ndim: int, folder: Path) -> None:
    """A worker reads each tile once from its store, though its cache takes one of them."""
    n, tile = 10, 4
    grid = Grid((n, n), (tile, tile)) if ndim == 2 else Grid((n, 1), (tile, 1))
    array = numbers(grid.shape, dtype)
    spec = StoredArray(grid, dtype, ndim, "the-array", "memory://tile-files-source")
    out = StoredArray(grid, dtype, ndim, "the-copy", "memory://tile-files-target")
    store = open_store(spec.url)
    places = [(i, j) for i in range(grid.counts[0]) for j in range(grid.counts[1])]
    for i, j in places:
        (r, c), (m, k) = grid.origin(i, j), grid.extent(i, j)
        whole = empty_tile(*grid.tile, dtype)
        whole[...] = 0
        whole[:m, :k] = array[r : r + m, c : c + k]
        store.put(tile_key(i, j, ndim), as_bytes(whole))
    worker = Worker(grid.tile[0] * grid.tile[1] * 16, files=SpillFiles(str(folder)))
    try:
        for number in range(3):
            for i, j in places:
                ref = TileRef("A", i, j)
                value, hit = worker.fetch(spec, ref)
                (r, c), (m, k) = grid.origin(i, j), grid.extent(i, j)
                assert hit == (number > 0)
                assert value.tobytes("F") == array[r : r + m, c : c + k].tobytes("F")
        for i, j in places:
            task = Task(TileRef("X", i, j), grid.extent(i, j), dtype, base=(Read(TileRef("A", i, j)),))
            report = worker.run(task, {"A": spec, "X": out})
            assert (report.gets, report.cache_hits) == (0, 1)
            copied = open_store(out.url).get(tile_key(i, j, ndim))
            assert bytes(copied) == bytes(store.get(tile_key(i, j, ndim)))
    finally:
        worker.close()
        MemoryStore.drop("tile-files-source")
        MemoryStore.drop("tile-files-target")
    assert list(folder.iterdir()) == []


def test_new_tile_is_spilled_when_evicted(files: SpillFiles) -> None:
    cache = TileCache(0, files.put)
    cache.put(("a", 0, 0, 0), padded(numbers((3, 2))))
    assert np.array_equal(files.get(("a", 0, 0, 0), 3, 2, "float64"), numbers((3, 2)))  # type: ignore[arg-type]
