"""Two that save at one address: the second is told, and nobody mixes tiles."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.run.saves import SIDE, TILE, N, dead, full, objects, stop_after, values, whole
from wrenla.errors import SaveConflictError
from wrenla.run.events import Event, TaskFinished, TaskStarted
from wrenla.workspace import lease as lease_module
from wrenla_handler.stores.base import SAVING
from wrenla_handler.stores.s3.store import S3Store
from wrenla_handler.stores.urls import open_store

pytestmark = pytest.mark.usefixtures("short_watch")


# two at one address: the second is told; one that was taken for dead meets nobody's tiles


@contextmanager
def saving_slowly(matrix: wl.BigMatrix, url: str, **how: Any) -> Iterator[Any]:
    """Begin to save with another executor, and hold it in the middle until the block ends."""
    begun, go = threading.Event(), threading.Event()

    def hold(event: Event) -> None:
        if isinstance(event, TaskFinished):
            begun.set()
            assert go.wait(60)

    def save() -> wl.BigMatrix:
        with wl.LocalExecutor(1, allowed_mem="200 MiB") as own:
            return matrix.save(url, own, callbacks=[hold], **how)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(save)
        try:
            assert begun.wait(60)
            yield future
        finally:
            go.set()


@pytest.mark.every_day(4)
@pytest.mark.parametrize("overwrite", [False, True])
def test_second_save_while_first_lives_is_refused(
    url: str, executor: wl.LocalExecutor, overwrite: bool
) -> None:
    if overwrite:
        full(0).save(url, executor)
    with saving_slowly(full(1), url, overwrite=overwrite) as first:
        for matrix in (full(1), full(2)):
            with pytest.raises(
                SaveConflictError, match=f"process {os.getpid()} on .* is saving a matrix there"
            ):
                matrix.save(url, executor, overwrite=overwrite)
        if overwrite:
            assert values(url, executor) == [0.0]
    assert np.unique(first.result(60).compute(executor)).tolist() == [1.0]
    assert values(url, executor) == [1.0]


@pytest.mark.every_day(4)
@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
def test_save_taken_over_is_save_conflict_and_mixes_no_tiles(
    url: str, executor: wl.LocalExecutor, overwrite: bool, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver stands still (a stopped process, a sleeping machine), and goes on when another one is done."""
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 1000.0)  # nor does it count its lease up
    if overwrite:
        full(0).save(url, executor)
    with saving_slowly(full(1), url, overwrite=overwrite) as first:
        dead(url)
        (full(1) if same else full(2)).save(url, executor, overwrite=True)
        expected = [1.0 if same else 2.0]
        assert values(url, executor) == expected
    with pytest.raises(SaveConflictError, match="another process has taken this one for dead"):
        first.result(60)
    assert values(url, executor) == expected
    tiles = {key for key in objects(url) if not key.startswith(f"{SAVING}/")}
    assert tiles >= whole(".") or tiles >= whole()


def test_tiles_of_late_writer_are_not_used(s3_bucket: str, executor: wl.LocalExecutor) -> None:
    """A function that outlives its driver writes where another result is being saved by now."""
    url = f"s3://{s3_bucket}/m"
    store = open_store(url)
    assert isinstance(store, S3Store)
    late = np.full((TILE, TILE), 9.0).tobytes()

    def write_late(event: Event) -> None:
        if isinstance(event, TaskStarted) and event.task == 0:
            for i in range(SIDE):
                store.put_owned(f"c/{i}/{i}", late, 32 * "b", lambda: None)

    full(1).save(url, executor, callbacks=[write_late])
    assert values(url, executor) == [1.0]
    # what such a writer leaves at an address where nothing is saved any more is in nobody's way
    for key in list(store.list()):
        store.delete(key)
    store.put_owned("c/0/0", late, 32 * "b", lambda: None)
    full(2).save(url, executor)
    assert values(url, executor) == [2.0]
    # nor does it count as done when a save goes on
    with pytest.raises(KeyboardInterrupt):
        full(3).save(url, executor, overwrite=True, callbacks=[stop_after(5, KeyboardInterrupt())])
    for i in range(SIDE):
        store.put_owned(f"c.{i}.{i}", late, 32 * "b", lambda: None)
    full(3).save(url, executor, overwrite=True)
    assert values(url, executor) == [3.0]


def test_holder_stopped_during_renewal_does_not_take_the_place_back(
    tmp_path: Path, executor: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver is stopped between its look at the lease and its count, and another one is done meanwhile."""
    url = str(tmp_path / "m")
    full(0).save(url, executor)
    stopped, go = threading.Event(), threading.Event()
    real = lease_module._is_ours

    def stop_in_the_middle(store: Any, key: str, holder: Any) -> bool:
        ours = real(store, key, holder)
        if threading.current_thread().name == "lease-renewal" and SAVING in key and not stopped.is_set():
            stopped.set()
            assert go.wait(60)
        return ours

    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(lease_module, "_is_ours", stop_in_the_middle)
    with saving_slowly(full(1), url, overwrite=True) as first:
        assert stopped.wait(60)
        dead(url)
        full(2).save(url, executor, overwrite=True)
        go.set()
    with pytest.raises(SaveConflictError, match="another process has taken this one for dead"):
        first.result(60)
    assert values(url, executor) == [2.0]


def test_tiles_of_late_writers_are_removed(s3_bucket: str, executor: wl.LocalExecutor) -> None:
    """Above a triangle there are no tiles, so a late one stands in nobody's way; Zarr would read it."""
    url = f"s3://{s3_bucket}/m"
    store = open_store(url)
    assert isinstance(store, S3Store)

    def write_late(event: Event) -> None:
        if isinstance(event, TaskFinished):
            store.put_owned("c/0/3", np.full((TILE, TILE), 9.0).tobytes(), 32 * "b", lambda: None)

    wl.eye(N, tile=TILE).shift(1.0).cholesky().save(url, executor, callbacks=[write_late])
    assert "c/0/3" not in objects(url)
