"""NumPy's files as matrices and back: mapped, not loaded; every bad file has a name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import ChangedArrayError, StructureError
from wrenla_handler.errors import NotAMatrixError
from wrenla_handler.stores.mmap import release

from .conftest import DTYPES, numbers, same


@pytest.mark.parametrize("dtype", [*DTYPES, ">f8", ">c8", "i4", "bool"])
@pytest.mark.parametrize("shape", [(9, 7), (11,), (0, 3), (0,)])
def test_file_is_the_matrix(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    a = (10 * numbers(shape)).astype(dtype)
    expected = a.astype("float64") if a.dtype.kind in "bi" else a.astype(a.dtype.newbyteorder("="))
    for name, array in (("c.npy", a), ("f.npy", np.asfortranarray(a))):
        np.save(tmp_path / name, array)
        A = wl.from_npy(tmp_path / name, tile=4)
        assert A.tile == tuple(min(4, max(1, n)) for n in shape)
        assert same(A.compute(), expected)


def test_large_file_is_not_loaded_and_must_not_change(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    a = np.lib.format.open_memmap(path, mode="w+", dtype="f8", shape=(1500, 1500))
    a[:] = np.arange(1500)
    a.flush()
    A = wl.from_npy(str(path), tile=500)
    assert isinstance(A._node.op.payload, np.memmap)  # type: ignore[union-attr]
    assert A[:2, 3].compute().tolist() == [3, 3]
    a[0, 0] = 7
    a.flush()
    os.utime(path, ns=(0, 0))
    with pytest.raises(ChangedArrayError):
        A.sum().compute()
    with pytest.raises(StructureError):
        wl.from_npy(path, structure="pos", tile=500).compute()
    assert wl.from_npy(path, structure="pos", check=False).structure == "pos"


def resident(path: Path) -> int:
    """Return the bytes of a mapped file that count as memory of this process."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    found = 0
    for line in lines:
        if line.endswith(str(path)):
            found += next(int(field.split()[1]) << 10 for field in lines if field.startswith("Rss:"))
    return found


def test_what_was_read_of_a_mapped_file_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.ones((1000, 1000)))
    a = np.load(path, mmap_mode="r")
    assert a.sum() == 1e6
    assert resident(path) > 7 << 20
    release(a[:500, 3:-2])
    assert 3 << 20 < resident(path) < 5 << 20
    release(a[::-1].T)
    assert resident(path) < 1 << 20
    assert a.sum() == 1e6
    private = np.load(path, mmap_mode="c")
    private[:] = 2.0
    for other in (private, np.ones(3), a.sum(axis=0), np.zeros((0, 3)), private[:, :0]):
        release(np.asarray(other))
    assert private.sum() == 2e6


def _objects(path: Path) -> None:
    np.save(path, np.array([{}, 1], dtype=object), allow_pickle=True)


def _archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, name=np.ones(3))


def _cut(path: Path) -> None:
    np.save(path, np.ones(10))
    os.truncate(path, os.path.getsize(path) - 8)


def _negative(path: Path) -> None:
    np.save(path, np.ones(10))
    path.write_bytes(path.read_bytes().replace(b"(10,)", b"(-9,)"))


def _no_header(path: Path) -> None:
    path.write_bytes(b"\x93NUMPY\x01\x00\xff\xff{'descr'")


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "missing": (
        lambda path: None,
        FileNotFoundError,
        r"a\.npy: there is no such file; numpy\.save adds \.npy",
    ),
    "folder": (lambda path: path.mkdir(), NotAMatrixError, r"a folder, .*wl\.open opens a stored matrix"),
    "archive": (
        _archive,
        NotAMatrixError,
        r'npz archive.*\["name"\]',
    ),
    "text": (
        lambda path: path.write_text("1 2 3"),
        NotAMatrixError,
        r"not a \.npy file \(it begins with b'1 2 3'\)",
    ),
    "empty": (lambda path: path.touch(), NotAMatrixError, r"not a \.npy file"),
    "objects": (_objects, TypeError, r"Python objects, .*a\.astype\(float\)"),
    "cut": (_cut, NotAMatrixError, r"cut short: 72 bytes of 80 of an array of shape \(10,\)"),
    "negative": (_negative, NotAMatrixError, r"not a whole \.npy file: its shape is \(-9,\)"),
    "header": (_no_header, NotAMatrixError, r"not a whole \.npy file"),
    "three dimensions": (
        lambda path: np.save(path, np.ones((2, 2, 2))),
        ValueError,
        r"of 3 dimensions, .*\[0\]",
    ),
    "text entries": (lambda path: np.save(path, np.array(["a"])), TypeError, "dtype <U1"),
    "half": (lambda path: np.save(path, np.ones(2, "f2")), TypeError, r"float16 .*a\.astype\('float32'\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_refused_with_remedy(name: str, tmp_path: Path) -> None:
    make, kind, said = BAD[name]
    make(tmp_path / "a.npy")
    with pytest.raises(kind, match=said) as caught:
        wl.from_npy(tmp_path / "a.npy")
    assert "\n" not in str(caught.value)


def test_bad_places_are_refused_with_remedy(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"not ndarray: wl\.from_array takes arrays"):
        wl.from_npy(np.ones(3))  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; make it first"):
        wl.eye(3).to_npy(tmp_path / "nowhere" / "a.npy")
    for method in ("to_dask", "to_npy", "to_zarr"):
        arguments = () if method == "to_dask" else (tmp_path / "a",)
        with pytest.raises(TypeError, match=r"executor=3: an executor of wrenla"):
            getattr(wl.eye(3), method)(*arguments, executor=3)


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_file_is_what_compute_returns(dtype: str, tmp_path: Path) -> None:
    a = numbers((9, 7), dtype)
    A = wl.from_array(a, tile=4)
    for number, lazy in enumerate((A, A.H, A @ A.H, A[:, 2], A[::-2, 1:], A.rechunk((2, 5)), A.sum(), A[:0])):
        path = tmp_path / f"{number}.npy"
        lazy.to_npy(path)
        assert same(np.load(path), np.asarray(lazy.compute()))
        assert same(np.load(path, mmap_mode="r"), np.asarray(lazy.compute()))


def test_file_appears_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    A, path = wl.random((8, 8), tile=4), tmp_path / "a.npy"
    A.to_npy(path)
    with pytest.raises(FileExistsError, match="overwrite=True replaces it"):
        A.T.to_npy(path)

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            A.T.to_npy(path, overwrite=True)
    assert [found.name for found in tmp_path.iterdir()] == ["a.npy"]
    assert same(np.load(path), A.compute())
    A.T.to_npy(path, overwrite=True)
    assert same(np.load(path), A.T.compute())
