"""Zarr arrays of every layout come in by a copy; a slice of a stored matrix reads the tiles that it needs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec

import wrenla as wl
from wrenla.errors import PlanError
from wrenla_handler.stores.base import Store
from wrenla_handler.stores.local import LocalStore

from .conftest import numbers, same

LAYOUTS: dict[str, dict[str, Any]] = {
    "blosc": {"compressors": BloscCodec(cname="lz4")},
    "gzip": {"compressors": GzipCodec()},
    "zstd and checksum": {"compressors": [ZstdCodec(), Crc32cCodec()]},
    "big endian": {"serializer": BytesCodec(endian="big")},
    "transposed": {"filters": TransposeCodec(order=(1, 0))},
    "shards": {"chunks": (2, 3), "shards": (4, 9)},
    "one row": {"chunks": (1, 11)},
    "v2": {"zarr_format": 2},
    "v2, F order": {"zarr_format": 2, "order": "F", "compressors": None},
    "v2, big endian": {"zarr_format": 2, "dtype": ">f8"},
    "v2, nested keys": {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "v2, no fill value": {"zarr_format": 2, "fill_value": None},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str, tmp_path: Path) -> None:
    a = numbers((13, 11))
    layout = {"dtype": "f8", "chunks": (5, 4)} | LAYOUTS[name]
    array = zarr.create_array(tmp_path / "z", shape=a.shape, **layout)
    array[...] = a
    for number, (given, tile) in enumerate(((array, None), (tmp_path / "z", (6, 11)))):
        assert same(wl.from_zarr(given, tmp_path / str(number), tile).compute(), a)


@pytest.mark.parametrize("fill_value", [0.0, -1.5, float("nan")])
def test_chunks_that_were_never_written_have_the_fill_value(fill_value: float, tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "z", shape=(9, 9), chunks=(4, 4), dtype="f8", fill_value=fill_value)
    array[:4, 4:8] = 7.0
    expected = np.full((9, 9), fill_value)
    expected[:4, 4:8] = 7.0
    assert np.array_equal(wl.from_zarr(array, tmp_path / "A").compute(), expected, equal_nan=True)


def test_chunks_of_different_lengths(tmp_path: Path) -> None:
    a = numbers((10, 6))
    try:
        with zarr.config.set({"array.rectilinear_chunks": True}):
            array = zarr.create_array(tmp_path / "z", shape=a.shape, chunks=[[3, 3, 4], [2, 4]], dtype="f8")
    except (TypeError, ValueError) as error:
        pytest.skip(f"this zarr has no such chunks: {error}")
    array[...] = a
    assert same(wl.from_zarr(array, tmp_path / "A").compute(), a)


def test_chunks_that_are_large_beside_the_allowed_memory(tmp_path: Path) -> None:
    """Are read by one worker at a time, and refused where one does not fit."""
    with wl.LocalExecutor(2, allowed_mem="64 MiB") as executor:  # 16 MiB for tiles and chunks
        array = zarr.create_array(tmp_path / "z", shape=(1000, 1000), chunks=(800, 800), dtype="f8")
        array[...] = a = numbers((1000, 1000))
        assert same(wl.from_zarr(array, tmp_path / "A", 500, executor=executor).compute(), a)
        array = zarr.create_array(tmp_path / "y", shape=(2000, 2000), chunks=(1100, 1000), dtype="f8")
        with pytest.raises(
            PlanError, match=r"a chunk of 1100 × 1000 takes 16.78 MiB, and 16.00 MiB is allowed"
        ):
            wl.from_zarr(array, tmp_path / "B", executor=executor)


SLICES: dict[str, tuple[Any, set[str]]] = {
    "one entry": ((5, 5), {"c/1/1"}),
    "counted from the end": ((-1, -1), {"c/3/3"}),
    "row": (2, {"c/0/0", "c/0/1", "c/0/2", "c/0/3"}),
    "column": ((slice(None), 0), {"c/0/0", "c/1/0", "c/2/0", "c/3/0"}),
    "ellipsis": ((..., slice(14, None)), {"c/0/3", "c/1/3", "c/2/3", "c/3/3"}),
    "short": ((slice(4, 8), slice(8, 9)), {"c/1/2"}),
    "long steps": ((slice(0, None, 13), slice(1, 3)), {"c/0/0", "c/3/0"}),
    "backwards": ((slice(-1, -5, -2), slice(6, 3, -1)), {"c/3/1"}),
    "with a new axis": ((None, 3, slice(0, 4)), {"c/0/0"}),
    "nothing": ((slice(3, 3), slice(None)), set()),
}


@pytest.mark.parametrize("name", SLICES)
@pytest.mark.parametrize("order", ["N", "T"])
def test_slices_read_their_tiles_once(
    name: str, order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a: npt.NDArray[Any] = numbers((15, 15))
    A = wl.from_array(a, tile=4).save(str(tmp_path / "A"))
    reads: Counter[str] = Counter()
    get = LocalStore.get

    def counted(self: Store, key: str, *span: Any) -> memoryview:
        if self.url.endswith("/A") and key.startswith("c/"):
            reads[key] += 1
        return get(self, key, *span)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalStore, "get", counted)
    index, needed = SLICES[name]
    turned = {f"c/{key[4]}/{key[2]}" for key in needed}
    assert same((A if order == "N" else A.T)[index].compute(), (a if order == "N" else a.T)[index])
    assert reads == dict.fromkeys(needed if order == "N" else turned, 1)


def test_index_arrays_are_refused_with_remedy() -> None:
    A = wl.random((9, 9), tile=4)
    for index in ([1, 5], np.array([1, 5]), np.ones(9, bool)):
        with pytest.raises(TypeError, match=r"A\.compute\(\)\[rows\], or put slices together, wl\.block"):
            A[index]  # type: ignore[index]
