"""What is no Dask array of numbers is refused in one line, with the way to one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest

import wrenla as wl
from wrenla_handler.errors import WrenlaError


def _masked() -> Any:
    return da.ma.masked_equal(da.arange(6, chunks=3), 2)


def _sometimes_masked() -> Any:
    return da.arange(6.0, chunks=3).map_blocks(
        lambda b: np.ma.masked_equal(b, 4), dtype=float, meta=np.empty(0)
    )


def _frame() -> Any:
    dd = pytest.importorskip("dask.dataframe")
    pd = pytest.importorskip("pandas")
    return dd.from_pandas(pd.DataFrame({"x": [1.0, 2, 3]}), npartitions=2)


def _sparse() -> Any:
    from scipy.sparse import coo_matrix

    return da.from_array(np.eye(4), chunks=2).map_blocks(coo_matrix)


def _xarray() -> Any:
    import xarray

    return xarray.DataArray(da.zeros((3, 3)))


BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "unknown chunks": (
        lambda: (x := da.arange(6, chunks=3))[x > 2],
        ValueError,
        r"not known: a\.compute_chunk_sizes\(\) finds them",
    ),
    "three dimensions": (
        lambda: da.zeros((2, 2, 2)),
        ValueError,
        r"not a Dask array of 3 dimensions, \(2, 2, 2\)",
    ),
    "none": (lambda: da.zeros(()), ValueError, "not a Dask array of 0 dimensions"),
    "masked": (_masked, ValueError, r"masked arrays are not supported: .*dask\.array\.ma\.filled\(a, 0\.0\)"),
    "masked block": (
        _sometimes_masked,
        ValueError,
        r"rows 3:6 of the Dask array have masked entries, .*ma\.filled",
    ),
    "objects": (
        lambda: da.zeros(3, dtype=object, chunks=3),
        TypeError,
        r"dtype object is not one of .*a\.astype\(float\)",
    ),
    "dates": (
        lambda: da.zeros(3, dtype="M8[s]"),
        TypeError,
        r"dtype datetime64\[s\] .*timedelta64\(1, 's'\)",
    ),
    "text": (
        lambda: da.from_array(np.array(["a"])),
        TypeError,
        r"dtype <U1 is not one of .*a\.astype\(float\)",
    ),
    "half": (lambda: da.zeros(3, dtype="f2"), TypeError, r"float16 .*a\.astype\('float32'\)"),
    "records": (lambda: da.zeros(3, dtype=[("x", "f8")]), TypeError, "of a structured array take a field"),
    "data frame": (_frame, TypeError, r"frame\.to_dask_array\(lengths=True\) is one"),
    "sparse": (_sparse, TypeError, "is sparse"),
    "xarray": (_xarray, TypeError, r"x\.data is one"),
    "delayed": (
        lambda: dask.delayed(np.ones)(3),
        TypeError,
        r"dask\.array\.from_delayed\(value, shape, dtype\)",
    ),
    "array": (lambda: np.ones(3), TypeError, r"not numpy\.ndarray: wl\.from_array takes arrays in memory"),
    "matrix": (lambda: wl.eye(3), TypeError, r"a matrix already: A\.persist\(\)"),
    "shape of a block": (
        lambda: da.zeros(6, chunks=3).map_blocks(lambda b: b[1:], dtype=float, meta=np.empty(0)),
        ValueError,
        r"rows 0:3 of the Dask array came as a block of shape \(2,\), not \(3,\): pass chunks=",
    ),
    "dtype of a block": (
        lambda: da.zeros((4, 4), chunks=4).map_blocks(lambda b: b + 1j, dtype=float, meta=np.empty((0, 0))),
        TypeError,
        "rows 0:4, columns 0:4 of the Dask array came as complex128, and it says float64: pass dtype=",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_remedy(name: str, tmp_path: Path) -> None:
    make, kind, said = BAD[name]
    with pytest.raises(kind, match=said) as caught:
        wl.from_dask(make(), tmp_path / "A")
    assert "\n" not in str(caught.value)
    with pytest.raises(WrenlaError):
        wl.open(tmp_path / "A")


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(ImportError, match=r"needs Dask: pip install 'wrenla\[distributed\]'"):
        wl.from_dask(np.ones(3))
    with pytest.raises(ImportError, match=r"needs Dask: pip install 'wrenla\[distributed\]'"):
        wl.eye(3).to_dask()
