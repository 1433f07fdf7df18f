"""`DaskExecutor` keeps the contract of executors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import dask.array
import numpy as np
import pytest

import wrenla as wl
from tests.rates import RATES
from wrenla.testing import ExecutorTests


class TestDaskExecutor(ExecutorTests):
    """On a cluster of two processes; those that end it have one of their own."""

    @pytest.fixture
    def executor(self, shared: wl.DaskExecutor) -> wl.DaskExecutor:
        return shared

    @pytest.fixture
    def fresh(self, client: object, nothing_left: None) -> Iterator[wl.DaskExecutor]:
        with wl.DaskExecutor(client) as made:
            yield made


@pytest.mark.parametrize(
    ("chunks", "tile", "url"), [((20, 20), 20, True), ((13, 30), 16, False), (50, None, False)]
)
def test_workers_write_the_blocks_of_dask_arrays(
    shared: wl.DaskExecutor, tmp_path: Path, chunks: object, tile: int | None, url: bool
) -> None:
    """Also where blocks are cut to tiles; nothing comes to this process."""
    a = np.random.default_rng(0).standard_normal((50, 40))
    theirs = dask.array.from_array(a, chunks=chunks)
    with mock.patch("wrenla.run.upload._write", side_effect=AssertionError("a tile was written here")):
        A = wl.from_dask(theirs, str(tmp_path / "A") if url else None, tile, executor=shared)
    np.testing.assert_array_equal(A.compute(shared), a)
    np.testing.assert_array_equal(A.to_dask().compute(scheduler=shared.dask_client), a)


def test_masked_block_on_a_worker_is_named(shared: wl.DaskExecutor) -> None:
    def mask(block: Any) -> Any:
        return np.ma.masked_less(block, 1.5)

    theirs = dask.array.arange(8.0, chunks=4).map_blocks(mask, meta=np.ones(0))
    with pytest.raises(ValueError, match=r"rows 0:4 of the Dask array have masked entries"):
        wl.from_dask(theirs, tile=4, executor=shared)


@pytest.mark.slow
def test_a_cluster_is_measured_once(client: Any, nothing_left: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRENLA_MEASURE", "true")
    with wl.DaskExecutor(client) as executor:
        model = executor.measured()
        assert model.rates is not None
        assert model.rates.task > executor.model.latency
        monkeypatch.setattr("wrenla.executors.dask.executor.cluster_rates", lambda *_: pytest.fail("again"))
        assert executor.measured() == model
        assert executor.model.rates is None
        monkeypatch.setenv("WRENLA_MEASURE", "off")
        assert executor.measured() == executor.model


@pytest.mark.parametrize(("store", "keeps"), [("", False), ("s3://bucket/there", True)])
def test_workers_are_asked_once_whether_they_see_the_store(
    store: str, keeps: bool, shared: wl.DaskExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every evaluation asks for the rates."""
    monkeypatch.setenv("WRENLA_MEASURE", "true")
    monkeypatch.setenv("WRENLA_STORE", store or str(tmp_path))
    monkeypatch.setattr("wrenla.executors.dask.executor.cluster_rates", lambda *_: RATES)
    monkeypatch.setattr(shared, "_rates", [])
    looks: list[str] = []
    monkeypatch.setattr(shared._cluster.folders, "_look", lambda folder, _: looks.append(folder))
    for _ in range(3):
        assert bool(shared.measured().cache_bytes) == keeps
    assert len(looks) == (0 if keeps else 1)
