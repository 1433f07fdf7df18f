"""Stored matrices that are damaged: each damage has its own clear error, and none becomes a number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import (
    MetadataError,
    MissingTileError,
    NotAMatrixError,
    StaleMatrixError,
    TruncatedTileError,
)

from . import gallery

N, TILE = 13, 5

OPERATIONS: dict[str, Callable[[wl.BigMatrix], wl.BigMatrix]] = {
    "compute": lambda A: A,
    "copy": lambda A: A.rechunk(4),
    "slice": lambda A: A[3:9, 2:11],
    "transpose": lambda A: A.T @ np.ones(N),
    "product": lambda A: A @ A,
    "gram": lambda A: A.gram(),
    "sum": lambda A: A + A.T,
    "cholesky": lambda A: A.cholesky(),
    "solve": lambda A: A.solve(np.ones(N), assume_a="pos"),
    "triangular": lambda A: wl.linalg.solve_triangular(A, np.ones(N), lower=True),
    "fro": lambda A: A.norm(),
    "1": lambda A: A.norm(1),
    "max": lambda A: A.norm("max"),
    "trace": lambda A: A.trace(),
    "map_tiles": lambda A: wl.map_tiles(np.exp, A),
}


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, place: Callable[[str], str], tmp_path: Path) -> str:
    """Address of a saved matrix."""
    address = place("A") if request.param == "memory" else (tmp_path / "A").as_uri()
    wl.from_array(gallery.well_conditioned(N, "float64"), tile=TILE).save(address)
    return address


def store_of(url: str) -> Any:
    from wrenla_handler.stores.urls import open_store

    return open_store(url)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_missing_tile(name: str, url: str) -> None:
    store_of(url).delete("c/1/1")
    with pytest.raises(
        MissingTileError, match=r"c/1/1: tile \(1, 1\) is missing, and nothing says that it is zero"
    ) as caught:
        OPERATIONS[name](wl.open(url)).compute()
    assert str(caught.value).startswith(url)


@pytest.mark.parametrize("length", [0, 8, TILE * TILE * 8 - 8, TILE * TILE * 8 + 8])
def test_a_tile_of_another_length(length: int, url: str) -> None:
    store_of(url).put("c/1/1", b"\0" * length)
    for name in ("compute", "product", "cholesky", "fro"):
        with pytest.raises(
            TruncatedTileError, match=rf"c/1/1: {length} bytes where 200 belong \(5 × 5 of float64\)"
        ) as caught:
            OPERATIONS[name](wl.open(url)).compute()
        assert str(caught.value).startswith(url)


def test_missing_tile_of_triangle_is_missing_tile_error(place: Callable[[str], str]) -> None:
    wl.from_array(gallery.well_conditioned(N, "float64"), tile=TILE).cholesky().save(place("L"))
    assert not store_of(place("L")).exists("c/0/2")
    store_of(place("L")).delete("c/2/0")
    with pytest.raises(MissingTileError, match="c/2/0"):
        wl.open(place("L")).compute()


def test_a_missing_upper_tile_of_a_symmetric_matrix_is_not_needed(place: Callable[[str], str]) -> None:
    a = gallery.well_conditioned(N, "float64")
    wl.from_array(a, tile=TILE, structure="pos").save(place("S"))
    store_of(place("S")).delete("c/0/2")
    assert np.array_equal(wl.open(place("S")).compute(), a)


def test_a_missing_tile_of_a_vector(place: Callable[[str], str]) -> None:
    wl.from_array(np.ones(N), tile=TILE).save(place("v"))
    store_of(place("v")).delete("c/2")
    with pytest.raises(MissingTileError, match=r"c/2: tile \(2, 0\)"):
        wl.open(place("v")).sum().compute()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "not a Zarr v3 array"),
    ],
)
def test_damaged_metadata_are_metadata_error(content: bytes, message: str, url: str) -> None:
    store_of(url).put("zarr.json", content)
    with pytest.raises(MetadataError, match=f"zarr.json: {message}") as caught:
        wl.open(url)
    assert str(caught.value).startswith(url)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_type": "float32"}, None),
        ({"data_type": "complex128"}, None),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 4]}}}, None),
        ({"shape": [18, 13]}, MissingTileError),
        ({"shape": [13, 18]}, MissingTileError),
    ],
)
def test_metadata_of_another_matrix(changes: dict[str, Any], message: Any, url: str) -> None:
    """A wrong dtype or tile changes the length of the tiles; a shape that is too large misses some."""
    store = store_of(url)
    meta = json.loads(bytes(store.get("zarr.json"))) | changes
    store.put("zarr.json", json.dumps(meta).encode())
    with pytest.raises(message or TruncatedTileError, match="c/"):
        wl.open(url).sum().compute()


def test_metadata_removed(url: str) -> None:
    store_of(url).delete("zarr.json")
    with pytest.raises(NotAMatrixError, match="there is no matrix here"):
        wl.open(url)


def test_tiles_deleted_after_opening(url: str) -> None:
    A = wl.open(url)
    store_of(url).delete("c/2/2")
    with pytest.raises(StaleMatrixError, match="was changed since it was opened: open it again"):
        A.norm().compute()
    with pytest.raises(MissingTileError, match="c/2/2"):
        wl.open(url).norm().compute()
