"""Other libraries read what is saved and what is written, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import xarray
import zarr

import wrenla as wl

from .conftest import DTYPES, numbers, same

try:
    import tensorstore
except ImportError:
    tensorstore = None


def _zarr_python(path: Path) -> Any:
    return zarr.open_array(path, mode="r")[...]


def _dask(path: Path) -> Any:
    with dask.config.set(scheduler="synchronous"):
        return da.from_zarr(str(path)).compute()


def _xarray(path: Path) -> Any:
    array = da.from_zarr(str(path))
    with dask.config.set(scheduler="synchronous"):
        return xarray.DataArray(array, dims=("x", "y")[: array.ndim]).compute().values


def _tensorstore(path: Path) -> Any:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
    return tensorstore.open(spec).result().read().result()


READERS: dict[str, Callable[[Path], Any]] = {
    "zarr-python": _zarr_python,
    "dask": _dask,
    "xarray": _xarray,
}
if tensorstore is not None:  # there is none for each version of Python
    READERS["tensorstore"] = _tensorstore


def wrong(path: Path, expected: npt.NDArray[Any]) -> list[str]:
    """Name the readers that find something else."""
    return [name for name, read in READERS.items() if not same(read(path), expected)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(8, 8), (13, 7), (13,)])
def test_saved_matrices(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    path, a = tmp_path / "A", numbers(shape, dtype)
    wl.from_array(a, tile=4).save(str(path))
    assert wrong(path, a) == []
    for b in (2 * a, -a):  # whose tiles have other keys, and again those of the first
        wl.from_array(b, tile=4).save(str(path), overwrite=True)
        assert wrong(path, b) == []


def test_saved_structures(tmp_path: Path) -> None:
    a = numbers((13, 13))
    spd = a @ a.T + 13 * np.eye(13)
    L = wl.from_array(spd, tile=4, structure="pos").cholesky().save(str(tmp_path / "L"))
    S = wl.from_array(spd, tile=4, structure="pos").save(str(tmp_path / "S"))
    D = wl.from_dask(da.from_array(spd, chunks=(5, 3)), tmp_path / "D", tile=4)
    for name, matrix in (("L", L), ("S", S), ("D", D)):
        assert wrong(tmp_path / name, matrix.compute()) == []


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_to_zarr_writes(dtype: str, tmp_path: Path) -> None:
    a = numbers((13, 7), dtype)
    A = wl.from_array(a, tile=4)
    for number, layout in enumerate(({}, {"chunks": (5, 3)}, {"chunks": (2, 2), "shards": (6, 4)})):
        A.to_zarr(tmp_path / str(number), **layout)  # type: ignore[arg-type]
        assert wrong(tmp_path / str(number), a) == []


def test_zeros_stay_in_xarray(tmp_path: Path) -> None:
    A = wl.eye(5, tile=2)
    for number, layout in enumerate(({}, {"zarr_format": 2, "fill_value": None})):
        A.to_zarr(tmp_path / f"{number}", name="A", **_named(layout))
        with xarray.open_zarr(tmp_path / f"{number}", consolidated=False) as found:
            assert same(found["A"].values, np.eye(5))


def _named(layout: dict[str, Any]) -> dict[str, Any]:
    if layout.get("zarr_format") == 2:
        return layout | {"attributes": {"_ARRAY_DIMENSIONS": ["x", "y"]}}
    return layout | {"dimension_names": ("x", "y")}


def test_data_sets_of_xarray(tmp_path: Path) -> None:
    """A matrix becomes a variable where it has names for its dimensions, and comes back by its Dask array."""
    a = numbers((6, 4))
    A = wl.from_array(a, tile=4)
    A.to_zarr(tmp_path / "set", name="A", dimension_names=("place", "time"))
    A[:, 0].to_zarr(tmp_path / "set", name="first", dimension_names=("place",))
    with xarray.open_zarr(tmp_path / "set", consolidated=False) as found:
        assert same(found["A"].values, a)
        assert same(found["first"].values, a[:, 0])
        assert found["A"].dims == ("place", "time")
        assert same(wl.from_dask(found["A"].data, tmp_path / "B").compute(), a)
        assert same(wl.from_zarr(found["A"], tmp_path / "C").compute(), a)
