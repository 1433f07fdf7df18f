"""Saving: a failure keeps the old matrix, two writers never mix theirs, and a killed save goes on."""

from __future__ import annotations

import itertools
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla import lease as lease_module
from wrenla import saving
from wrenla.errors import SaveConflictError, StaleMatrixError, StoreError
from wrenla.lease import Holder
from wrenla.run import execute
from wrenla.run.events import Event, TaskFinished, TaskStarted
from wrenla_handler.stores import LEASE, SAVING, LocalStore, MemoryStore, S3Store, Store, open_store

FIRST = f"{SAVING}/{LEASE}00000000"
N, TILE = 40, 8


@pytest.fixture(params=["file", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Address for a matrix, in each kind of store."""
    match request.param:
        case "file":
            yield str(tmp_path / "m")
        case "memory":
            yield f"memory://{tmp_path.name}/m"
            MemoryStore.drop(tmp_path.name)
        case _:
            yield f"s3://{request.getfixturevalue('s3_bucket')}/some/m"


@pytest.fixture(autouse=True)
def short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(lease_module, "_POLL_SECONDS", 0.01)


def full(value: float) -> wl.BigMatrix:
    """Return a matrix of 5 × 5 tiles that is made by tasks."""
    return wl.from_function(lambda i, j: np.full((len(i), len(j)), value), (N, N), tile=TILE)


def objects(url: str) -> set[str]:
    return set(open_store(url).list())


def values(url: str, executor: wl.Executor) -> list[float]:
    return np.unique(wl.open(url).compute(executor)).tolist()


def stop_after(count: int, error: BaseException) -> Callable[[Event], None]:
    done: list[Event] = []

    def listen(event: Event) -> None:
        if isinstance(event, TaskFinished):
            done.append(event)
            if len(done) == count:
                raise error

    return listen


def whole(separator: str = "/") -> set[str]:
    return {"zarr.json", *(separator.join(("c", str(i), str(j))) for i in range(5) for j in range(5))}


def dead(url: str) -> None:
    """Let a lease that was given back look like that of a process that was killed."""
    store = open_store(url)
    for key in list(store.list(f"{SAVING}/{LEASE}")):
        holder = Holder.decode(bytes(store.get(key)))
        assert holder is not None
        store.put(key, replace(holder, ended=False, boot="another").encode())


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
            full(value).save(url, executor, overwrite=True, on_event=stop_after(7, error))
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


def test_what_is_not_ours_is_never_replaced(tmp_path: Path, executor: wl.LocalExecutor) -> None:
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


def test_inside_what_is_cleared_up_nothing_is_saved(tmp_path: Path, executor: wl.LocalExecutor) -> None:
    for inside in ("wrenla-runs", "wrenla-runs/a", "wrenla-saving/b"):
        with pytest.raises(
            ValueError, match="is for what wrenla removes by itself; save the matrix elsewhere"
        ):
            full(1).save(str(tmp_path / inside), executor)


# killed, and run again


def test_a_killed_save_goes_on_from_wherever_it_was(
    url: str, executor: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch, left: Any
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
        lambda: killed_at("_run_nothing", 0),
        lambda: killed_at("_delete", 1),
        lambda: killed_at("write", 1, saving.TileLayout),
        lambda: killed_at("_clear_up", 1),
        *[(lambda n=n: killed_at("_move", n)) for n in (1, 2, 25)],
    ]
    monkeypatch.setattr(saving, "_run_nothing", None, raising=False)
    for value, old in ((2.0, None), (3.0, 2.0)):
        for number, point in enumerate(points):
            if old is None:
                store = open_store(url)
                for key in list(store.list()):
                    store.delete(key)
            made = full(value + number / 8)
            with pytest.MonkeyPatch.context() as patch:
                point()
                listen = stop_after(9, Killed()) if number == 0 else None
                try:
                    made.save(url, executor, overwrite=old is not None, on_event=listen)
                except Killed:
                    dead(url)
            if old is not None and number in (0, 1, 2, 4, 5, 6):
                assert len(values(url, executor)) == 1
            events: list[Event] = []
            result = made.save(url, executor, overwrite=True, on_event=events.append)
            assert np.unique(result.compute(executor)).tolist() == [value + number / 8]
            assert values(url, executor) == [value + number / 8]
            assert objects(url) in (whole(), whole("."))
            if number == 0:
                assert sum(isinstance(event, TaskStarted) for event in events) <= 25 - 9
    assert left() == []


def test_a_script_with_two_saves_goes_on_at_the_second(
    url: str, executor: wl.LocalExecutor, tmp_path: Path
) -> None:
    first, second = full(1), full(2)
    first.save(url, executor)
    with pytest.raises(KeyboardInterrupt):
        second.save(f"{url}2", executor, on_event=stop_after(5, KeyboardInterrupt()))
    events: list[Event] = []
    again = first.save(url, executor, on_event=events.append)
    assert events == []
    assert np.unique(again.compute(executor)).tolist() == [1.0]
    second.save(f"{url}2", executor, on_event=events.append)
    assert sum(isinstance(event, TaskStarted) for event in events) <= 20
    # one that is not whole is no result
    open_store(url).delete("c/2/2")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        first.save(url, executor)
    first.save(url, executor, overwrite=True)
    assert values(url, executor) == [1.0]


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
            return matrix.save(url, own, on_event=hold, **how)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(save)
        try:
            assert begun.wait(60)
            yield future
        finally:
            go.set()


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_second_of_two_is_refused(url: str, executor: wl.LocalExecutor, overwrite: bool) -> None:
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


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
def test_who_was_taken_for_dead_is_told_and_mixes_nothing(
    url: str, executor: wl.LocalExecutor, overwrite: bool, same: bool
) -> None:
    """A driver stands still (a stopped process, a sleeping machine), and goes on when another one is done."""
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


def test_tiles_of_a_late_writer_are_not_taken_for_ours(s3_bucket: str, executor: wl.LocalExecutor) -> None:
    """A function that outlives its driver writes where another result is being saved by now."""
    url = f"s3://{s3_bucket}/m"
    store = open_store(url)
    assert isinstance(store, S3Store)
    late = np.full((TILE, TILE), 9.0).tobytes()

    def write_late(event: Event) -> None:
        if isinstance(event, TaskStarted) and event.task == 0:
            for i in range(5):
                for j in range(5):
                    store.put_owned(f"c/{i}/{j}", late, 32 * "b", lambda: None)

    full(1).save(url, executor, on_event=write_late)
    assert values(url, executor) == [1.0]
    # what such a writer leaves at an address where nothing is saved any more is in nobody's way
    for key in list(store.list()):
        store.delete(key)
    store.put_owned("c/0/0", late, 32 * "b", lambda: None)
    full(2).save(url, executor)
    assert values(url, executor) == [2.0]
    # nor does it count as done when a save goes on
    with pytest.raises(KeyboardInterrupt):
        full(3).save(url, executor, overwrite=True, on_event=stop_after(5, KeyboardInterrupt()))
    for i in range(5):
        for j in range(5):
            store.put_owned(f"c.{i}.{j}", late, 32 * "b", lambda: None)
    full(3).save(url, executor, overwrite=True)
    assert values(url, executor) == [3.0]


def test_put_owned(s3_bucket: str) -> None:
    store = open_store(f"s3://{s3_bucket}/m")
    assert isinstance(store, S3Store)
    asked: list[str] = []
    assert store.put_owned("k", b"a", "me", lambda: asked.append("first"))
    assert not store.put_owned("k", b"b", "me", lambda: asked.append("same"))
    assert asked == []
    assert store.owner("k") == "me"
    assert store.put_owned("k", b"c", "you", lambda: asked.append("other"))
    assert (asked, bytes(store.get("k")), store.owner("k")) == (["other"], b"c", "you")

    def refuse() -> None:
        raise StoreError("not yours any more")

    with pytest.raises(StoreError, match="not yours any more"):
        store.put_owned("k", b"d", "me", refuse)
    # between the question and the replacement somebody else writes: his object stands, and is asked for
    changed: list[int] = []

    def change() -> None:
        if not changed:
            changed.append(1)
            store.put("k", b"somebody's")
        else:
            refuse()

    with pytest.raises(StoreError, match="not yours any more"):
        store.put_owned("k", b"e", "me", change)
    assert bytes(store.get("k")) == b"somebody's"
    assert store.owner("k") == ""
    with pytest.raises(KeyError):
        store.owner("nothing")


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


def test_a_change_of_an_input_is_noticed(url: str, executor: wl.LocalExecutor, left: Any) -> None:
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
            edit(store, "c/4/4", next(values))

    for run in (
        lambda A: wl.map_tiles(np.negative, A).compute(executor, on_event=change_in_the_middle),
        lambda A: wl.map_tiles(np.negative, A).persist(executor, on_event=change_in_the_middle),
        lambda A: wl.map_tiles(np.negative, A).save(f"{url}2", executor, on_event=change_in_the_middle),
        # a numerical failure, too, may come of numbers that have changed
        lambda A: wl.map_tiles(np.negative, A).cholesky().compute(executor, on_event=change_in_the_middle),
    ):
        with pytest.raises(StaleMatrixError):
            run(wl.open(url))
    assert left() == []
    assert objects(f"{url}2") == set()

    with pytest.raises(KeyboardInterrupt):
        wl.map_tiles(np.negative, wl.open(url)).save(
            f"{url}2", executor, on_event=stop_after(5, KeyboardInterrupt())
        )
    edit(store, "c/2/2")
    with pytest.raises(FileExistsError):
        wl.map_tiles(np.negative, wl.open(url)).save(f"{url}2", executor)
    wl.map_tiles(np.negative, wl.open(url)).save(f"{url}2", executor, overwrite=True)
    np.testing.assert_array_equal(wl.open(f"{url}2").compute(executor), -wl.open(url).compute(executor))


def test_an_input_that_is_overwritten_meanwhile_is_noticed(url: str, executor: wl.LocalExecutor) -> None:
    full(1).save(url, executor)
    reached: list[int] = []

    def overwrite(event: Event) -> None:
        if isinstance(event, TaskFinished) and not reached:
            reached.append(1)
            with wl.LocalExecutor(1, allowed_mem="200 MiB") as other:
                full(2).save(url, other, overwrite=True)

    with pytest.raises(StaleMatrixError, match="was overwritten since it was opened"):
        wl.map_tiles(np.negative, wl.open(url)).compute(executor, on_event=overwrite)


def test_an_old_handle_beside_a_new_one_is_noticed(tmp_path: Path, executor: wl.LocalExecutor) -> None:
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


def test_after_a_power_cut_the_same_script_goes_on(
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
    def run(job: Any, executor: Any, policy: Any, listeners: Any = ()) -> Any:
        return run_job(job, executor, policy, [*listeners, stop_after(5, KeyboardInterrupt())])

    return run


def test_damaged_marks_are_named(tmp_path: Path, executor: wl.LocalExecutor) -> None:
    for number, data in enumerate((b"", b"{", b"[]")):
        url = str(tmp_path / str(number))
        with pytest.raises(KeyboardInterrupt):
            full(1).save(url, executor, on_event=stop_after(5, KeyboardInterrupt()))
        open_store(url).put(FIRST, data)
        with pytest.raises(FileExistsError, match="an unfinished matrix; overwrite=True replaces it"):
            full(1).save(url, executor)
        full(1).save(url, executor, overwrite=True)
        assert values(url, executor) == [1.0]
        tiles = re.compile(r"wrenla-saving/tiles-.*")
        assert {key for key in objects(url) if not tiles.fullmatch(key)} == whole()
