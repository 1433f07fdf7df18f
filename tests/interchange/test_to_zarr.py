"""Matrices as Zarr arrays of any layout: each chunk has one writer, and half an array is none."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.codecs import BytesCodec, GzipCodec, TransposeCodec, ZstdCodec
from zarr.storage import MemoryStore, ZipStore

import wrenla as wl
from wrenla.errors import PlanError, StaleMatrixError
from wrenla_handler.errors import NotAMatrixError
from wrenla_handler.tiles.grid import Pair

from .conftest import DTYPES, numbers, same

LAYOUTS: dict[str, dict[str, Any]] = {
    "default": {},
    "small chunks": {"chunks": (3, 2)},
    "rows": {"chunks": (1, 11)},
    "one chunk": {"chunks": (13, 11)},
    "larger than the matrix": {"chunks": (20, 30)},
    "Zarr's own": {"chunks": "auto"},
    "shards": {"chunks": (2, 3), "shards": (4, 6)},
    "not compressed": {"compressors": None, "chunks": (5, 5)},
    "gzip": {"compressors": GzipCodec(level=1)},
    "two codecs": {"filters": TransposeCodec(order=(1, 0)), "compressors": [ZstdCodec(), GzipCodec()]},
    "big endian": {"serializer": BytesCodec(endian="big")},
    "v2": {"zarr_format": 2, "chunks": (4, 4)},
    "v2, F order": {"zarr_format": 2, "order": "F", "compressors": None},
    "in a group": {"name": "deep/A", "attributes": {"unit": "m"}, "fill_value": -1},
    "empty chunks left out": {"config": {"write_empty_chunks": False}},
}


class Watched(MemoryStore):
    """A store that counts writes of chunks, and may break."""

    def __init__(self, store_dict: Any = None, *, read_only: bool = False) -> None:
        super().__init__(store_dict, read_only=read_only)
        self.writes: Counter[str] = Counter()
        self.last = 1 << 30
        self.lock = threading.Lock()

    async def set(self, key: str, value: Any, *rest: Any) -> None:
        if not key.endswith((".json", ".zarray", ".zattrs")):
            with self.lock:
                self.writes[key] += 1
                if self.writes.total() > self.last:
                    raise OSError("no space left on device")
        await super().set(key, value, *rest)


@pytest.mark.parametrize("name", LAYOUTS)
def test_any_layout_holds_the_same_numbers(name: str, tmp_path: Path) -> None:
    a = numbers((13, 11))
    A = wl.from_array(a, tile=4).save(str(tmp_path / "A"))
    layout = LAYOUTS[name]
    array = A.to_zarr(tmp_path / "z", **layout)
    there = zarr.open_array(tmp_path / "z" / layout.get("name", ""), mode="r")
    assert array.metadata == there.metadata
    assert same(array[...], a)
    assert same(there[...], a)
    assert there.attrs.asdict() == layout.get("attributes", {})
    if "chunks" not in layout:
        assert there.chunks == (4, 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(13,), (7, 9), (0, 4), ()])
def test_dtypes_and_shapes(dtype: str, shape: tuple[int, ...]) -> None:
    a = numbers(shape or (3,), dtype)
    A = wl.from_array(a, tile=4)
    array = (A if shape else A.sum()).to_zarr(Watched())
    assert same(array[...], a if shape else np.asarray(A.sum().compute()))


def test_expressions_views_and_negative_zero() -> None:
    a = numbers((9, 9))
    A = wl.from_array(a, tile=4)
    for lazy in (A.T, A @ A, A.tril().shift(1.0), A[::-2, 3], wl.from_array(np.full((9, 9), -0.0), tile=4)):
        assert same(lazy.to_zarr(Watched(), chunks=2)[...], lazy.compute())


@pytest.mark.parametrize("layout", ["small chunks", "rows", "one chunk", "shards", "v2"])
def test_each_chunk_is_written_once(layout: str) -> None:
    store = Watched()
    wl.random((13, 11), tile=4).to_zarr(store, **LAYOUTS[layout])
    assert set(store.writes.values()) == {1}


edges = st.integers(1, 12)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    tile=st.tuples(edges, edges),
    chunks=st.tuples(edges, edges),
    times=st.none() | st.tuples(st.integers(1, 3), st.integers(1, 3)),
    turned=st.booleans(),
)
def test_any_tiles_and_chunks(
    shape: Pair, tile: Pair, chunks: Pair, times: Pair | None, turned: bool
) -> None:
    a, store = numbers(shape), Watched()
    A = wl.from_array(a, tile=tile)
    shards = None if times is None else (chunks[0] * times[0], chunks[1] * times[1])
    array = (A.T if turned else A).to_zarr(store, chunks=chunks, shards=shards, compressors=None)
    assert same(array[...], a.T if turned else a)
    assert set(store.writes.values()) <= {1}


def test_chunks_of_different_lengths() -> None:
    A, store = wl.random((10, 6), tile=4), Watched()
    try:
        with zarr.config.set({"array.rectilinear_chunks": True}):
            array = A.to_zarr(store, chunks=[[3, 3, 4], [2, 4]])
    except (TypeError, ValueError) as error:
        pytest.skip(f"this zarr has no such chunks: {error}")
    assert same(array[...], A.compute())
    assert set(store.writes.values()) == {1}


def test_half_an_array_is_none(tmp_path: Path) -> None:
    A, store = wl.random((12, 12), tile=4), Watched()
    store.last = 5
    with pytest.raises(OSError, match="no space left") as caught:
        A.to_zarr(store, name="A")
    assert "no array for any reader; write it again" in caught.value.__notes__[-1]
    with pytest.raises(FileNotFoundError):
        zarr.open_array(store, path="A", mode="r")
    store.last = 1 << 30
    assert same(A.to_zarr(store, name="A")[...], A.compute())
    with ZipStore(tmp_path / "z.zip", mode="w") as packed:  # from which nothing can be removed
        assert same(A.to_zarr(packed)[...], A.compute())


def test_what_is_there_is_replaced_if_asked(tmp_path: Path) -> None:
    A = wl.random((5, 5), tile=4)
    A.to_zarr(tmp_path / "z")
    with pytest.raises(FileExistsError, match="an array or a group already; overwrite=True replaces it"):
        A.T.to_zarr(tmp_path / "z")
    assert same(A.T.to_zarr(tmp_path / "z", chunks=(1, 2), overwrite=True)[...], A.T.compute())
    S = A.save(str(tmp_path / "S"))
    for place in (
        tmp_path / "S",
        str(tmp_path),
        f"file://{tmp_path}/S/inside",
        zarr.storage.LocalStore(tmp_path),
    ):
        with pytest.raises(ValueError, match="the matrix that is written lies at"):
            S.to_zarr(place, overwrite=True)
    assert same(S.to_zarr(tmp_path, name="beside")[...], A.compute())
    assert same(S.compute(), A.compute())


def test_overwritten_matrix_is_refused(tmp_path: Path) -> None:
    A = wl.random((5, 5), tile=4).save(str(tmp_path / "A"))
    wl.random((5, 5), tile=4, seed=1).save(str(tmp_path / "A"), overwrite=True)
    with pytest.raises(StaleMatrixError, match="open it again"):
        A.to_zarr(tmp_path / "z")
    with pytest.raises(StaleMatrixError, match="open it again"):
        A.to_npy(tmp_path / "a.npy")
    assert {path.name for path in tmp_path.iterdir()} == {"A"}


def test_bad_arguments_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    A = wl.random((5, 5), tile=4)
    with pytest.raises(TypeError, match=r"dtype is that of the matrix: A\.astype\(dtype\)"):
        A.to_zarr(tmp_path / "z", dtype="f4")
    with wl.LocalExecutor(1, allowed_mem="40 MiB") as executor:
        large = wl.zeros((10**5, 10**5), tile=500)
        with pytest.raises(PlanError, match=r"a chunk or shard of 10000 × 1000 .*chunks=\(500, 500\)"):
            large.to_zarr(tmp_path / "z", chunks=1000, shards=(10000, 1000), executor=executor)
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImportError, match=r"pip install 'wrenla\[zarr\]'"):
        A.to_zarr(tmp_path / "z")
    assert not (tmp_path / "z").exists()


def test_copy_comes_back_by_from_zarr(tmp_path: Path) -> None:
    A = wl.random((9, 7), tile=4)
    with pytest.raises(NotAMatrixError):
        wl.open(tmp_path / "z")
    array = A.to_zarr(tmp_path / "z", chunks=(2, 2), shards=(4, 6))
    assert same(wl.from_zarr(array, tmp_path / "B").compute(), A.compute())
