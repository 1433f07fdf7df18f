"""Dask arrays go into a bucket and come from it; what is overwritten there is noticed."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import StaleMatrixError

from .conftest import numbers, same


def test_dask_reads_and_fills_a_bucket_on_s3(s3_bucket: str) -> None:
    a, url = numbers((20, 15)), f"s3://{s3_bucket}/A"
    A = wl.from_dask(da.from_array(a, chunks=(7, 4)), url, tile=8)
    x = A.T.to_dask()
    assert x.name == wl.open(url).T.to_dask().name
    assert same(x.compute(), a.T)
    assert np.allclose((x @ x.T).compute(), a.T @ a)
    wl.from_dask(A.to_dask() * 2, url, tile=8, overwrite=True)
    with pytest.raises(StaleMatrixError, match="overwritten since it was opened"):
        x.compute()
    assert same(wl.open(url).to_dask().compute(), 2 * a)
