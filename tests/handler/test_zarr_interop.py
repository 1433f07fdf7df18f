"""Stored matrices are Zarr v3 arrays: zarr-python and dask read ours, we read theirs in our layout."""

from __future__ import annotations

import itertools
import math
import threading
import warnings
from collections import Counter
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
from wrenla.errors import ChangedArrayError, MetadataError, MissingTileError, NotAMatrixError

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


def test_from_zarr_of_bad_array_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAMatrixError, match="there is no Zarr array here"):
        wl.from_zarr(str(tmp_path / "nowhere"), str(tmp_path / "copy"))
    with pytest.raises(ValueError, match="not an array of 3 dimensions"):
        wl.from_zarr(zarr.array(np.ones((2, 2, 2))), str(tmp_path / "copy"))
    with pytest.raises(TypeError, match=r"dtype .* is not one of"):
        wl.from_zarr(zarr.array(np.ones(2, "float16")), str(tmp_path / "copy"))
    with pytest.raises(TypeError, match=r"a matrix already: A\.save\(url\)"):
        wl.from_zarr(wl.eye(3), str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()


def _touched(part: tuple[int, int, int], chunk: int) -> tuple[int, int]:
    return part[0] // chunk, -(-part[1] // chunk)


class Counted:
    """An array of another library: it can be sliced, and counts what is read of its chunks."""

    def __init__(self, a: Any, chunks: Any) -> None:
        self.a, self.shape, self.dtype, self.chunks = a, a.shape, a.dtype, chunks
        self.touched: Counter[Any] = Counter()
        self.alone = threading.Lock()

    def __getitem__(self, index: tuple[slice, ...]) -> Any:
        assert self.alone.acquire(blocking=False), "who is not known to bear threads is read by one at a time"
        try:
            return self._read(index)
        finally:
            self.alone.release()

    def _read(self, index: tuple[slice, ...]) -> Any:
        lengths = [max(c) if isinstance(c, tuple) else c for c in self.chunks]
        parts = zip(index, self.shape, lengths, strict=True)
        self.touched.update(itertools.product(*(range(*_touched(s.indices(n), c)) for s, n, c in parts)))
        return self.a[index]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise AssertionError("loaded whole")


def test_chunks_are_read_once(tmp_path: Path) -> None:
    """Whatever their shape, also where some are too large or too long for a tile of the usual size."""
    for number, (shape, chunks, structure, tile) in enumerate(
        [
            ((800, 800), (100, 100), "general", (300, 300)),
            ((800, 800), ((300, 300, 200), (400, 400)), "general", (300, 400)),  # as Dask has them
            ((800, 800), (1, 800), "general", (92, 800)),
            ((800, 2), (7, 1), "general", (273, 2)),
            ((800, 800), (60, 40), "hermitian", (240, 240)),
            ((800,), (90,), "general", (270, 1)),
            ((3, 5), (4, 4), "general", (3, 4)),
            ((0, 4), (4, 4), "general", (1, 4)),
        ]
    ):
        a = np.arange(math.prod(shape), dtype="i4").reshape(shape)
        a = a + a.T if structure == "hermitian" else a
        theirs_ = Counted(a, chunks)
        A = wl.from_zarr(theirs_, str(tmp_path / str(number)), structure=structure, check=False)  # type: ignore[arg-type]
        assert (*A.tile, 1)[:2] == tile, (shape, chunks)
        assert not theirs_.touched or max(theirs_.touched.values()) == 1
        assert np.array_equal(A.compute(), a)


def test_arrays_that_are_read_on_demand_are_not_loaded() -> None:
    """Neither by from_array nor as an operand; small ones are."""
    large = Counted(np.empty((1500, 1500)), (100, 100))
    for make in (wl.from_array, lambda a: wl.eye(1500) @ a):
        for lazy in (large, dask.array.zeros((1500, 1500), chunks=500)):
            with pytest.raises(TypeError, match=r"would be loaded here: .*wl\.from_zarr\(array, url\)"):
                make(lazy)
    assert not large.touched
    a = numbers((6, 5), "float64")
    for small in (Counted(a, (2, 2)), dask.array.from_array(a, chunks=2), zarr.array(a, chunks=(2, 2))):
        assert equal(wl.from_array(small).compute(), a)
        assert equal((wl.zeros((6, 5)) + small).compute(), a)


def test_one_dimension_structure_overwrite_and_resume(tmp_path: Path) -> None:
    v = zarr.create_array(tmp_path / "v", shape=(50,), chunks=(7,), dtype="i4")
    v[:] = np.arange(50)
    copy = tmp_path / "copy"
    first = wl.from_zarr(tmp_path / "v", copy)
    assert equal(first.compute(), np.arange(50.0))
    assert equal(wl.from_zarr((tmp_path / "v").as_uri(), copy)[:2].compute(), np.array([0.0, 1]))
    again = wl.from_zarr(v, copy)
    assert again._node.key == first._node.key, "the same array: nothing to do, and nothing in the way"
    v[:3] = 7
    with pytest.raises(FileExistsError, match="overwrite=True replaces it"):
        wl.from_zarr(v, copy)
    assert equal(wl.from_zarr(v, copy, overwrite=True)[:4].compute(), np.array([7.0, 7, 7, 3]))
    with pytest.raises(FileExistsError, match="overwrite=True replaces it"):
        wl.from_array(np.ones(2), store=copy)
    assert equal(wl.from_array(np.ones(2), store=copy, overwrite=True).compute(), np.ones(2))
    spd = zarr.array(np.eye(4), chunks=(2, 2))
    assert wl.from_zarr(spd, tmp_path / "s", structure="pos").structure == "pos"
    for url in (tmp_path / "v", tmp_path / "v/inside", tmp_path):
        with pytest.raises(ValueError, match="the array that is copied lies at"):
            wl.from_zarr(v, url, overwrite=True)
    assert v[4] == 4


def test_an_array_that_changes_while_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    v = zarr.create_array(tmp_path / "v", shape=(6,), chunks=(2,), dtype="f8")
    v[:] = 1.0
    opened = zarr.Array.__getitem__

    def changing(self: Any, index: Any) -> Any:
        part = opened(self, index)
        v[-1:] = 2.0
        return part

    monkeypatch.setattr(zarr.Array, "__getitem__", changing)
    with pytest.raises(ChangedArrayError, match="copy it again"):
        wl.from_zarr(v, tmp_path / "copy")


def test_groups_and_files_in_place_of_an_array(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "g", mode="w")
    group.create_array("deep/a", shape=(3,), dtype="f8")
    group.create_array("b", shape=(3,), dtype="f8")
    for given in (group, tmp_path / "g"):
        with pytest.raises(NotAMatrixError, match=r"a group of arrays: .*'b'\], url\); there is: b, deep/a$"):
            wl.from_zarr(given, tmp_path / "copy")
    np.save(tmp_path / "x.npy", np.ones(3))
    with pytest.raises(NotAMatrixError, match=r"this is a file, .*take wl\.from_npy\(path\)$"):
        wl.from_zarr(tmp_path / "x.npy", tmp_path / "copy")
    with pytest.raises(TypeError, match=r"array with shape and dtype"):
        wl.from_zarr([1.0], tmp_path / "copy")
    masked = Counted(np.ma.masked_equal(np.arange(4.0), 2), (2,))
    with pytest.raises(ValueError, match="masked entries"):
        wl.from_zarr(masked, tmp_path / "copy")


def test_open_of_other_format_names_its_reader(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(3))
    (tmp_path / "x.h5").write_bytes(b"x")
    (tmp_path / "x").write_bytes(b"x")
    zarr.create_array(tmp_path / "v2", shape=(3,), dtype="f8", zarr_format=2)
    zarr.open_group(tmp_path / "g2", mode="w", zarr_format=2)
    zarr.open_group(tmp_path / "g3", mode="w")
    for name, said in {
        "x.npy": rf"a file, .*take wl\.from_npy\('{tmp_path}/x\.npy'\)$",
        "x.h5": r"a file, .*wl\.from_zarr\(h5py\.File\(",
        "x": r"a file, not a folder of tiles: read it, and take wl\.from_array$",
        "v2": rf"a Zarr v2 array: wl\.from_zarr\('{tmp_path}/v2', url\)",
        "g2": r"a Zarr v2 group: wl\.from_zarr\('.*/NAME', url\)",
        "g3": r"but a group: open one of the arrays in it, file://.*/g3/NAME;",
        "nowhere": r"an unfinished one is finished by running its script again$",
    }.items():
        with pytest.raises((NotAMatrixError, MetadataError), match=said):
            wl.open(tmp_path / name)


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
