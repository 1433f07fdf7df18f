"""Saving: a failure keeps the old matrix, and a killed save goes on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.run.saves import FIRST, SIDE, TILE, WITHOUT_S3, N, dead, full, objects, stop_after, values, whole
from wrenla.errors import StaleMatrixError, StoreError, TransientStoreError
from wrenla.evaluate import saving
from wrenla.run import execute
from wrenla.run.events import Event, TaskStarted
from wrenla_handler.stores.base import LEASE, SAVING
from wrenla_handler.stores.local import LocalStore
from wrenla_handler.stores.urls import open_store

pytestmark = pytest.mark.usefixtures("short_watch")


# what fails keeps what was there


def _raise(*_: Any) -> Any:
    raise ArithmeticError("own")


FAILURES: dict[str, Callable[[], wl.BigMatrix]] = {
    "not positive definite": lambda: (-1 * wl.eye(N, tile=TILE)).cholesky(),
    "singular": lambda: wl.linalg.solve_triangular(wl.zeros((N, N), tile=TILE), np.ones(N), lower=True),
    "own function": lambda: wl.from_function(_raise, (N, N), tile=TILE),
    "wrong shape": lambda: wl.from_function(lambda i, j: np.zeros((1, 1)), (N, N), tile=TILE),
    "wrong dtype": lambda: wl.from_function(lambda i, j: np.full((len(i), len(j)), 1j), (N, N), tile=TILE),
    "own map": lambda: wl.map_tiles(_raise, wl.eye(N, tile=TILE)),
}


@WITHOUT_S3
def test_a_failed_save_keeps_the_old_matrix(url: str, executor: wl.LocalExecutor, left: Any) -> None:
    with pytest.raises(ArithmeticError):
        FAILURES["own function"]().save(url, executor)
    with pytest.raises(wl.WrenlaError):
        wl.open(url)
    full(1).save(url, executor, overwrite=True)
    assert objects(url) == whole()
    old = wl.open(url)
    for name, make in FAILURES.items():
        with pytest.raises((ArithmeticError, ValueError, TypeError, np.linalg.LinAlgError)):
            make().save(url, executor, overwrite=True)
        assert np.unique(old.compute(executor)).tolist() == [1.0], name
    for value, error in ((3, ConnectionAbortedError()), (4, KeyboardInterrupt())):
        with pytest.raises(type(error)):
            full(value).save(url, executor, overwrite=True, callbacks=[stop_after(7, error)])
        assert np.unique(old.compute(executor)).tolist() == [1.0]
    ended = wl.LocalExecutor(1, allowed_mem="100 MiB")
    ended.shutdown()
    with pytest.raises(RuntimeError):
        full(2).save(url, ended, overwrite=True)
    assert np.unique(old.compute(executor)).tolist() == [1.0]
    full(2).save(url, executor, overwrite=True)
    assert values(url, executor) == [2.0]
    assert objects(url) == whole(".")
    with pytest.raises(StaleMatrixError, match="was overwritten since it was opened"):
        old.compute(executor)
    wl.from_array(np.ones((N, N)), tile=TILE).save(url, executor, overwrite=True)
    assert objects(url) == whole()


def test_temporaries_that_cannot_be_written_leave_the_old_matrix(
    tmp_path: Path, executor: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(tmp_path / "m")
    full(1).save(url, executor)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path / "file" / "store"))
    with pytest.raises(StoreError):
        full(2).save(url, executor, overwrite=True)
    monkeypatch.undo()
    assert values(url, executor) == [1.0]


def test_save_over_objects_of_others_is_refused(tmp_path: Path, executor: wl.LocalExecutor) -> None:
    theirs = {
        "array": {"zarr.json": '{"zarr_format": 3, "node_type": "array"}', "c/0/0": "theirs"},
        "other": {"c/0/0": "theirs"},
        "damaged": {"zarr.json": "", "c/0/0": "theirs"},
        "no lease": {"c/0/0": "theirs", f"{SAVING}/notes.txt": "theirs"},
        "not json": {"zarr.json": "x"},
    }
    for name, files in theirs.items():
        for key, text in files.items():
            (tmp_path / name / key).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / key).write_text(text)
        for overwrite in (False, True):
            with pytest.raises(FileExistsError):
                full(1).save(str(tmp_path / name), executor, overwrite=overwrite)
        for key, text in files.items():
            assert (tmp_path / name / key).read_text() == text
    (tmp_path / "m").mkdir()
    full(1).save(str(tmp_path / "m"), executor)
    (tmp_path / "m" / "c.0.7").write_text("theirs")
    with pytest.raises(FileExistsError, match=r"c\.0\.7 is in the way"):
        full(2).save(str(tmp_path / "m"), executor, overwrite=True)
    assert values(str(tmp_path / "m"), executor) == [1.0]


def test_save_inside_wrenlas_own_folders_is_refused(tmp_path: Path, executor: wl.LocalExecutor) -> None:
    for inside in ("wrenla-runs", "wrenla-runs/a", "wrenla-saving/b"):
        with pytest.raises(
            ValueError, match="is for what wrenla removes by itself; save the matrix elsewhere"
        ):
            full(1).save(str(tmp_path / inside), executor)


# killed, and run again


@WITHOUT_S3
def test_save_killed_anywhere_is_finished_by_its_script(
    url: str, executor: wl.LocalExecutor, left: Any
) -> None:
    """Over nothing, and over a matrix that can be read all the time."""

    class Killed(BaseException):
        pass

    def killed_at(name: str, count: int, owner: Any = saving) -> None:
        """Kill the driver when it does something for the n-th time."""
        real, seen = getattr(owner, name), []

        def kill(*arguments: Any, **keywords: Any) -> Any:
            seen.append(name)
            if len(seen) == count:
                raise Killed
            return real(*arguments, **keywords)

        patch.setattr(owner, name, kill)

    points: list[Callable[[], None]] = [
        lambda: None,  # in the middle of its tasks
        lambda: killed_at("delete", 1),
        lambda: killed_at("write", 1, saving.TileLayout),
        lambda: killed_at("clear_up", 1),
        *[(lambda n=n: killed_at("move", n)) for n in (1, 2, SIDE**2)],
    ]
    for value, old in ((2.0, None), (3.0, 2.0)):
        for number, point in enumerate(points):
            if old is None:
                store = open_store(url)
                for key in list(store.list()):
                    store.delete(key)
            made = full(value + number / 8)
            with pytest.MonkeyPatch.context() as patch:
                point()
                listening = [stop_after(9, Killed())] if number == 0 else []
                try:
                    made.save(url, executor, overwrite=old is not None, callbacks=listening)
                except Killed:
                    dead(url)
            if old is not None and number in (0, 1, 2, 4, 5, 6):
                assert len(values(url, executor)) == 1
            events: list[Event] = []
            result = made.save(url, executor, overwrite=True, callbacks=[events.append])
            assert np.unique(result.compute(executor)).tolist() == [value + number / 8]
            assert values(url, executor) == [value + number / 8]
            assert objects(url) in (whole(), whole("."))
            if number == 0:
                assert sum(isinstance(event, TaskStarted) for event in events) <= SIDE**2 - 9
    assert left() == []


def test_script_with_two_saves_resumes_at_the_second(
    url: str, executor: wl.LocalExecutor, tmp_path: Path
) -> None:
    first, second = full(1), full(2)
    first.save(url, executor)
    with pytest.raises(KeyboardInterrupt):
        second.save(f"{url}2", executor, callbacks=[stop_after(5, KeyboardInterrupt())])
    events: list[Event] = []
    again = first.save(url, executor, callbacks=[events.append])
    assert events == []
    assert np.unique(again.compute(executor)).tolist() == [1.0]
    second.save(f"{url}2", executor, callbacks=[events.append])
    assert sum(isinstance(event, TaskStarted) for event in events) <= SIDE**2 - 5
    # one that is not whole is no result
    open_store(url).delete("c/2/2")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        first.save(url, executor)
    first.save(url, executor, overwrite=True)
    assert values(url, executor) == [1.0]


# power cuts


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Return what a power cut does: files that nobody has synced are empty."""
    synced: set[int] = set()
    fsync = os.fsync

    def remember(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", remember)

    def cut(folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.is_file() and path.stat().st_ino not in synced:
                path.write_bytes(b"")

    return cut


def test_save_after_power_cut_is_finished_by_its_script(
    tmp_path: Path, executor: wl.LocalExecutor, unsynced: Callable[[Path], None], root: str, left: Any
) -> None:
    url = str(tmp_path / "m")
    full(1).save(url, executor)
    assert wl.open(url).shape == (N, N)
    for make in (lambda: full(2).save(url, executor, overwrite=True), lambda: full(3).compute(executor)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(execute, "run_job", _interrupted(execute.run_job))
            with pytest.raises(KeyboardInterrupt):
                make()
        for path in Path(root).rglob("*"):
            if path.is_file():
                path.write_bytes(b"")  # leases, functions, manifests and tiles
        unsynced(tmp_path / "m" / "wrenla-saving")
        make()
    assert values(url, executor) == [2.0]
    assert left() == []
    unsynced(tmp_path / "m")
    with pytest.raises(StoreError, match="bytes where"):
        values(url, executor)
    full(2).save(url, executor, overwrite=True)
    assert values(url, executor) == [2.0]


def _interrupted(run_job: Any) -> Any:
    def run(job: Any, executor: Any, policy: Any, listeners: Any, *others: Any) -> Any:
        return run_job(job, executor, policy, [*listeners, stop_after(5, KeyboardInterrupt())], *others)

    return run


def test_next_save_removes_leftovers_of_failed_clear_up(tmp_path: Path, executor: wl.LocalExecutor) -> None:
    url = str(tmp_path / "m")
    full(1).save(url, executor)
    real, failed = LocalStore.delete, []

    def fail_once(self: LocalStore, key: str) -> None:
        if key.startswith("c/") and not failed:
            failed.append(key)
            raise TransientStoreError("busy")
        real(self, key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalStore, "delete", fail_once)
        full(2).save(url, executor, overwrite=True)
    assert failed
    assert values(url, executor) == [2.0]
    assert objects(url) > whole(".")
    full(3).save(url, executor, overwrite=True)
    assert values(url, executor) == [3.0]
    assert objects(url) == whole()


def test_overwrite_removes_only_tiles_of_the_old_matrix(tmp_path: Path, executor: wl.LocalExecutor) -> None:
    url = str(tmp_path / "m")
    full(1).save(url, executor)
    full(2).save(url, executor, overwrite=True)
    assert objects(url) == whole(".")
    theirs = ("0", "c.5", "c.5.7", "c.0.0.txt", f"{SAVING}/{LEASE}notes.txt", f"{SAVING}/mine")
    for key in theirs:
        (tmp_path / "m" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / key).write_text("years of work")
    full(3).save(url, executor, overwrite=True)
    assert values(url, executor) == [3.0]
    assert objects(url) == whole() | set(theirs)
    (tmp_path / "link").symlink_to(tmp_path / "wrenla-runs")
    with pytest.raises(ValueError, match="is for what wrenla removes by itself"):
        full(1).save(str(tmp_path / "link" / "m"), executor)


def test_save_over_damaged_lease_is_refused_by_name(tmp_path: Path, executor: wl.LocalExecutor) -> None:
    for number, data in enumerate((b"", b"{", b"[]")):
        url = str(tmp_path / str(number))
        with pytest.raises(KeyboardInterrupt):
            full(1).save(url, executor, callbacks=[stop_after(5, KeyboardInterrupt())])
        open_store(url).put(FIRST, data)
        with pytest.raises(FileExistsError, match="an unfinished matrix; overwrite=True replaces it"):
            full(1).save(url, executor)
        full(1).save(url, executor, overwrite=True)
        assert values(url, executor) == [1.0]
        tiles = re.compile(r"wrenla-saving/tiles-.*")
        assert {key for key in objects(url) if not tiles.fullmatch(key)} == whole()
