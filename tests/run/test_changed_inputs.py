"""Stored inputs that change: before a run, in the middle of it, between a kill and its resumption."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.run.saves import TILE, WITHOUT_S3, N, full, objects, stop_after
from wrenla.errors import StaleMatrixError
from wrenla.run.events import Event, TaskFinished
from wrenla_handler.stores.base import Store
from wrenla_handler.stores.local import LocalStore
from wrenla_handler.stores.urls import open_store

pytestmark = pytest.mark.usefixtures("short_watch")


# inputs that change


def edit(store: Store, key: str, value: float = 5.0) -> None:
    """Change a tile as other software does, in a file that keeps size and time of modification."""
    data = bytearray(store.get(key))
    data[: TILE * TILE * 4] = np.full(TILE * TILE // 2, value).tobytes()
    if isinstance(store, LocalStore):
        path = f"{store._root}/{key}"
        status = os.stat(path)
        with open(path, "r+b") as file:
            file.write(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    else:
        store.put(key, data)


@WITHOUT_S3
def test_changed_input_is_stale_matrix_error(url: str, executor: wl.LocalExecutor, left: Any) -> None:
    """Before a run, in the middle of it, and between a kill and its resumption."""
    full(1).save(url, executor)
    store = open_store(url)
    old = wl.open(url)
    assert old[:4, :4].compute(executor).sum() == 16  # some of it is in a cache
    edit(store, "c/0/0")
    for x in (old, old @ np.ones(N), old[:4, :4]):
        with pytest.raises(StaleMatrixError, match="was changed since it was opened"):
            x.compute(executor)
    assert wl.open(url)[:4, :4].compute(executor).sum() == 80

    values = itertools.count(6.0)

    def change_in_the_middle(event: Event) -> None:
        if isinstance(event, TaskFinished):
            edit(store, "c/3/3", next(values))

    for run in (
        lambda A: wl.map_tiles(np.negative, A).compute(executor, callbacks=[change_in_the_middle]),
        lambda A: wl.map_tiles(np.negative, A).persist(executor, callbacks=[change_in_the_middle]),
        lambda A: wl.map_tiles(np.negative, A).save(f"{url}2", executor, callbacks=[change_in_the_middle]),
        # a numerical failure, too, may come of numbers that have changed
        lambda A: wl.map_tiles(np.negative, A).cholesky().compute(executor, callbacks=[change_in_the_middle]),
    ):
        with pytest.raises(StaleMatrixError):
            run(wl.open(url))
    assert left() == []
    assert objects(f"{url}2") == set()

    with pytest.raises(KeyboardInterrupt):
        wl.map_tiles(np.negative, wl.open(url)).save(
            f"{url}2", executor, callbacks=[stop_after(5, KeyboardInterrupt())]
        )
    edit(store, "c/2/2")
    with pytest.raises(FileExistsError):
        wl.map_tiles(np.negative, wl.open(url)).save(f"{url}2", executor)
    wl.map_tiles(np.negative, wl.open(url)).save(f"{url}2", executor, overwrite=True)
    np.testing.assert_array_equal(wl.open(f"{url}2").compute(executor), -wl.open(url).compute(executor))


def test_input_overwritten_during_run_is_stale_matrix_error(url: str, executor: wl.LocalExecutor) -> None:
    full(1).save(url, executor)
    reached: list[int] = []

    def overwrite(event: Event) -> None:
        if isinstance(event, TaskFinished) and not reached:
            reached.append(1)
            with wl.LocalExecutor(1, allowed_mem="200 MiB") as other:
                full(2).save(url, other, overwrite=True)

    with pytest.raises(StaleMatrixError, match="was overwritten since it was opened"):
        wl.map_tiles(np.negative, wl.open(url)).compute(executor, callbacks=[overwrite])


def test_old_handle_beside_new_one_is_stale_matrix_error(tmp_path: Path, executor: wl.LocalExecutor) -> None:
    full(1).save(str(tmp_path / "A"), executor)
    old = wl.open(tmp_path / "A")
    full(2).save(str(tmp_path / "A"), executor, overwrite=True)
    new = wl.open(tmp_path / "A")
    for x in (old - new, new - old):
        with pytest.raises(StaleMatrixError):
            x.norm().compute(executor)


def test_a_copy_that_was_edited_is_not_the_original(tmp_path: Path, executor: wl.LocalExecutor) -> None:
    import shutil

    full(1).save(str(tmp_path / "A"), executor)
    shutil.copytree(tmp_path / "A", tmp_path / "B")
    A, B = wl.open(tmp_path / "A"), wl.open(tmp_path / "B")
    assert float((A - B).norm().compute(executor)) == 0
    edit(open_store(tmp_path / "B"), "c/0/0")
    B = wl.open(tmp_path / "B")
    assert float((A - B).norm().compute(executor)) == pytest.approx(np.sqrt(TILE * TILE / 2 * 16))


def test_arrays_of_other_software_that_change(tmp_path: Path, executor: wl.LocalExecutor) -> None:
    url = str(tmp_path / "A")
    full(1).save(url, executor)
    meta = json.loads((tmp_path / "A" / "zarr.json").read_text())
    del meta["attributes"]
    (tmp_path / "A" / "zarr.json").write_text(json.dumps(meta))
    old = wl.open(url)
    assert old._node.key == wl.open(url)._node.key, "what depends on it is resumed"
    assert float(old.norm("max").compute(executor)) == 1
    edit(open_store(url), "c/3/3")
    with pytest.raises(StaleMatrixError, match="was changed"):
        old.norm("max").compute(executor)
    assert float(wl.open(url).norm("max").compute(executor)) == 5
