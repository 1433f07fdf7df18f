"""Stored matrices are Zarr v3 arrays: zarr-python and dask read ours, we read theirs in our layout."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import numpy.typing as npt
import pytest
import zarr
from zarr.codecs import BytesCodec, TransposeCodec

import wrenla as wl
from wrenla.errors import MetadataError, MissingTileError, NotAMatrixError

DTYPES = ("float32", "float64", "complex64", "complex128")
SHAPES = ((8, 8), (13, 7), (7, 13), (3, 2), (0, 4), (0, 0))


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Temporaries of this test."""
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path_factory.mktemp("store")))
    monkeypatch.setenv("WRENLA_WORKERS", "2")
    with warnings.catch_warnings():
        # zarr-python says that its complex and string types are not in the specification yet
        warnings.filterwarnings("ignore", category=UserWarning, module="zarr")
        yield


def numbers(shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    source = np.random.default_rng(7)
    a = source.standard_normal(shape)
    return (a + 1j * source.standard_normal(shape) if dtype[0] == "c" else a).astype(dtype)


def equal(read: Any, expected: npt.NDArray[Any]) -> bool:
    value = np.asarray(read)
    return value.dtype == expected.dtype and np.array_equal(value, expected)


def readers(path: Path) -> list[Any]:
    """What zarr-python and dask say is there."""
    return [zarr.open_array(path, mode="r")[...], dask.array.from_zarr(str(path)).compute()]


@pytest.mark.parametrize("dtype", DTYPES)
def test_others_read_ours(dtype: str, tmp_path: Path) -> None:
    for number, shape in enumerate((*SHAPES, (13,), (0,))):
        a = numbers(shape, dtype)
        path = tmp_path / str(number)
        A = wl.from_array(a, tile=4).save(str(path))
        array = zarr.open_array(path, mode="r")
        assert array.shape == shape
        assert array.chunks == A.tile
        assert all(equal(value, a) for value in readers(path))


@pytest.mark.parametrize("dtype", DTYPES)
def test_others_read_structured_ones(dtype: str, tmp_path: Path) -> None:
    """Triangles have no tiles where they are zero; symmetric matrices are stored whole."""
    a = numbers((13, 13), dtype)
    h = (a + a.conj().T).astype(dtype)
    cases: dict[str, tuple[Any, npt.NDArray[Any]]] = {
        "lower": (a, np.tril(a)),
        "upper": (a, np.triu(a)),
        "hermitian": (h, h),
    }
    for structure, (data, expected) in cases.items():
        path = tmp_path / structure
        wl.from_array(data, tile=4, structure=structure, check=False).save(str(path))  # type: ignore[arg-type]
        assert all(equal(value, expected) for value in readers(path))
    L = wl.from_array((h + 30 * np.eye(13)).astype(dtype), tile=4).cholesky().save(str(tmp_path / "L"))
    assert all(equal(value, L.compute()) for value in readers(tmp_path / "L"))
    G = wl.from_array(a, tile=4).gram().save(str(tmp_path / "G"))
    assert all(equal(value, G.compute()) for value in readers(tmp_path / "G"))


def test_others_read_numbers(tmp_path: Path) -> None:
    wl.from_array([[3.0, 4.0]]).norm().save(str(tmp_path))
    assert zarr.open_array(tmp_path, mode="r")[...] == 5


def test_a_lost_tile_is_nan_for_others_except_where_it_would_be_zero(tmp_path: Path) -> None:
    wl.zeros((8, 8), tile=4).save(str(tmp_path / "a"))
    (tmp_path / "a" / "c" / "0" / "1").unlink()
    value = np.asarray(zarr.open_array(tmp_path / "a", mode="r")[...])
    assert np.isnan(value[:4, 4:]).all()
    assert np.isnan(value).sum() == 16


def theirs(path: Path, a: npt.NDArray[Any], chunks: tuple[int, ...], **changes: Any) -> None:
    """Write an array with zarr-python, in our layout unless told otherwise."""
    filters = [TransposeCodec(order=tuple(reversed(range(a.ndim))))] if a.ndim == 2 else []
    layout: dict[str, Any] = {
        "filters": filters,
        "serializer": BytesCodec(endian="little"),
        "compressors": None,
        "fill_value": 0,
        "config": {"write_empty_chunks": True},
    }
    array = zarr.create_array(
        path, shape=a.shape, dtype=a.dtype, chunks=chunks, zarr_format=3, **(layout | changes)
    )
    array[...] = a


@pytest.mark.parametrize("dtype", DTYPES)
def test_we_read_theirs(dtype: str, tmp_path: Path) -> None:
    for number, (shape, chunks) in enumerate(
        [((8, 8), (4, 4)), ((13, 7), (5, 3)), ((3, 2), (4, 4)), ((13,), (5,)), ((3,), (8,))]
    ):
        a = numbers(shape, dtype)
        theirs(tmp_path / str(number), a, chunks)
        A = wl.open(tmp_path / str(number))
        assert A.tile == chunks
        assert equal(A.compute(), a)
        assert equal(A.T.compute(), a.T)


@pytest.mark.parametrize("shape", [(3, 2), (3, 3), (5, 12)])
def test_chunks_larger_than_the_array(shape: tuple[int, int], tmp_path: Path) -> None:
    """Ours never are, theirs may be: they align with all the same."""
    a, b = numbers(shape, "float64"), numbers(shape, "complex128")
    theirs(tmp_path / "a", a, (8, 8))
    A = wl.open(tmp_path / "a")
    B, w = wl.from_array(b, tile=2), np.arange(1.0, shape[1] + 1)
    cases: list[tuple[wl.BigMatrix, Any]] = [
        (A + B, a + b),
        (B - A, b - a),
        (A + b, a + b),
        (A @ B.H, a @ b.conj().T),
        (B.T @ A, b.T @ a),
        (A.gram(w), (a * w) @ a.T),
        (A.scale_columns(w), a * w),
        (A.diagonal(), a.diagonal()),
        (A.sum(0), a.sum(0)),
        (A.norm(1), np.linalg.norm(a, 1)),
        (wl.map_tiles(np.add, A, b.real), a + b.real),
        (wl.block([[A, B]]), np.hstack([a, b])),
        (A[::-1, 1:], a[::-1, 1:]),
        (A.rechunk(8), a),
        (A.rechunk(2), a),
    ]
    for lazy, expected in cases:
        assert np.allclose(lazy.compute(), expected, rtol=1e-14)
    if shape == (3, 3):
        spd = a @ a.T + np.eye(3)
        theirs(tmp_path / "s", spd, (8, 8))
        S = wl.open(tmp_path / "s")
        assert np.allclose(S.cholesky().compute(), np.linalg.cholesky(spd))
        assert np.allclose(S.solve(np.ones(3), assume_a="pos").compute(), np.linalg.solve(spd, np.ones(3)))
        assert np.allclose((S.shift(1).tril() @ B).compute(), np.tril(spd + np.eye(3)) @ b)


OTHER_LAYOUTS: dict[str, dict[str, Any]] = {
    "C order": {"filters": []},
    "big endian": {"serializer": BytesCodec(endian="big")},
    "compressed": {"compressors": "auto"},
    "sharded": {"chunks": (2, 2), "shards": (4, 4)},
    "v2 keys": {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
}


@pytest.mark.parametrize("name", OTHER_LAYOUTS)
def test_other_layouts_come_in_by_a_copy(name: str, tmp_path: Path) -> None:
    a = numbers((13, 7), "complex64")
    theirs(tmp_path / "a", a, **({"chunks": (4, 4)} | OTHER_LAYOUTS[name]))
    with pytest.raises(MetadataError, match=r"wl\.from_zarr copies arrays of other layouts"):
        wl.open(tmp_path / "a")
    A = wl.from_zarr(str(tmp_path / "a"), str(tmp_path / "copy"), tile=5)
    assert A.tile == (5, 5)
    for B in (A, wl.open(tmp_path / "copy")):
        assert equal(B.compute(), a)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_integers_come_in_by_a_copy(dtype: str, tmp_path: Path) -> None:
    a = np.arange(12).reshape(3, 4).astype(dtype)
    theirs(tmp_path / "a", a, (2, 2), serializer="auto")
    with pytest.raises(MetadataError, match=f"data type '{dtype}' is not one of float32"):
        wl.open(tmp_path / "a")
    A = wl.from_zarr(str(tmp_path / "a"), str(tmp_path / "copy"))
    assert equal(A.compute(), a.astype("float64"))


@pytest.mark.parametrize(
    "make",
    [lambda a: zarr.array(a, chunks=(4, 3)), lambda a: zarr.array(a, zarr_format=2)],
    ids=["memory", "v2"],
)
def test_from_zarr_takes_arrays_too(make: Callable[[Any], Any], tmp_path: Path) -> None:
    a = numbers((13, 7), "float64")
    A = wl.from_zarr(make(a), str(tmp_path / "copy"), tile=(8, 4))
    assert equal(A.compute(), a)
    v = wl.from_zarr(make(a)[:, 0].copy(), str(tmp_path / "vector"))
    assert equal(v.compute(), a[:, 0])


def test_what_from_zarr_refuses(tmp_path: Path) -> None:
    with pytest.raises(NotAMatrixError, match="there is no Zarr array here"):
        wl.from_zarr(str(tmp_path / "nowhere"), str(tmp_path / "copy"))
    with pytest.raises(ValueError, match="not an array of 3 dimensions"):
        wl.from_zarr(zarr.array(np.ones((2, 2, 2))), str(tmp_path / "copy"))
    with pytest.raises(TypeError, match=r"dtype .* is not one of"):
        wl.from_zarr(zarr.array(np.ones(2, "float16")), str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()


def test_chunks_that_zarr_left_out(tmp_path: Path) -> None:
    """zarr-python does not write chunks that equal the fill value; for us that is a missing tile."""
    a = numbers((8, 8), "float64")
    a[:4, 4:] = 0
    theirs(tmp_path / "a", a, (4, 4), config={"write_empty_chunks": False})
    with pytest.raises(MissingTileError, match="c/0/1"):
        wl.open(tmp_path / "a").compute()
    assert equal(wl.from_zarr(str(tmp_path / "a"), str(tmp_path / "copy")).compute(), a)


def test_dask_writes_and_we_read(tmp_path: Path) -> None:
    a = numbers((12, 8), "float64")
    theirs(tmp_path / "a", np.ones_like(a), (4, 4))
    dask.array.store(dask.array.from_array(a, chunks=(4, 4)), zarr.open_array(tmp_path / "a", mode="r+"))
    assert equal(wl.open(tmp_path / "a").compute(), a)
    first = wl.open(tmp_path / "a")
    theirs(tmp_path / "a", 2 * a, (4, 4), overwrite=True)
    assert equal(wl.open(tmp_path / "a").compute(), 2 * a), "not what an earlier opening has cached"
    assert first.shape == a.shape
