"""Workers with several threads, and no Dask at all."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

import wrenla as wl

from .conftest import local_cluster


@pytest.mark.slow
def test_threads_of_one_worker_are_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """They share the tiles, and each call has a process of its own."""
    A = wl.random((120, 120), tile=20, seed=1).gram().shift(120.0)
    with local_cluster(1, threads_per_worker=2) as cluster, wl.DaskExecutor(cluster) as executor:
        assert executor.workers == 2
        began = time.monotonic()
        assert list(executor.map(lambda x: time.sleep(1.0) or x, range(2))) == [0, 1]
        beside = time.monotonic() - began
        found = A.cholesky().compute(executor)
        began = time.monotonic()
        with wl.DaskExecutor(cluster, workers=1) as one:
            assert one.workers == 1
            assert list(one.map(lambda x: time.sleep(1.0) or x, range(2))) == [0, 1]
        assert time.monotonic() - began > max(2.0, beside - 1.0), "one after the other"
    monkeypatch.setenv("WRENLA_STORE", "memory://test-threads-of-dask")
    with wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as local:
        np.testing.assert_array_equal(found, A.cholesky().compute(local))


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'wrenla\[distributed\]'"):
        wl.DaskExecutor("tcp://127.0.0.1:8786")
