"""The place of a run: who has it, what is removed of it, and what never is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import wrenla as wl
from wrenla.evaluate.cleaning import clean, leftovers
from wrenla.run.events import TaskFinished
from wrenla.workspace import lease as lease_module
from wrenla.workspace.lease import Holder
from wrenla.workspace.ownership import MANIFEST
from wrenla.workspace.workspace import Workspace
from wrenla_handler.stores.base import LEASE, RUNS
from wrenla_handler.stores.local import LocalStore
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.urls import join, open_store

KEYS = [f"{n:024x}" for n in range(6)]
NODE = 24 * "e"
FIRST = f"{LEASE}00000000"


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty store for temporaries."""
    if request.param == "folder":
        yield str(tmp_path / "place")
    else:
        yield f"memory://{tmp_path.name}/place"
        MemoryStore.drop(tmp_path.name)


@pytest.fixture(autouse=True)
def short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(lease_module, "_POLL_SECONDS", 0.01)


def leave(root: str, key: str, *keys: str, **changes: object) -> None:
    """Leave what a dead run has left."""
    holder = replace(Holder.mine("them", {"run": key}), **{"ended": True, **changes})  # type: ignore[arg-type]
    store = open_store(join(root, RUNS, key))
    store.put(f"{LEASE}00000004", holder.encode())
    for each in keys or (f"{NODE}/c/0/0",):
        store.put(each, b"tile")


def objects(root: str) -> set[str]:
    return set(open_store(root).list())


def test_a_folder_is_held_and_removed(place: str) -> None:
    folder = Workspace(place, KEYS[0])
    assert folder.url == join(place, RUNS, KEYS[0])
    holder = Holder.decode(bytes(folder.store.get(FIRST)))
    assert holder is not None
    assert holder.alive
    assert holder.note == {"run": KEYS[0]}
    for key in (f"{NODE}/c/0/0", f"{NODE}/c/3", f"{NODE}/c", f"{NODE[:-1]}d/partial/1/2/3", "array-x/c/0/0"):
        if key != f"{NODE}/c" and key != f"{NODE}/c/3":
            folder.store.put(key, b"tile")
    folder.store.put(f"functions/{64 * 'a'}", b"")
    folder.remove()
    assert objects(place) == set()
    if not place.startswith("memory"):
        assert list(Path(place, RUNS).iterdir()) == []


def test_workspace_of_live_run_is_not_shared(place: str) -> None:
    first, second, third = (Workspace(place, KEYS[0]) for _ in range(3))
    assert first.key == KEYS[0]
    assert len({first.key, second.key, third.key}) == 3
    assert second.key.startswith(f"{KEYS[0]}-")
    second.remove()
    assert list(first.store.list()) == [FIRST]
    first.close()
    fourth = Workspace(place, KEYS[0])
    assert fourth.key == KEYS[0]
    for folder in (third, fourth):
        folder.remove()
    assert objects(place) == set()


def test_workspace_of_dead_run_keeps_its_tiles(place: str) -> None:
    leave(place, KEYS[0])
    folder = Workspace(place, KEYS[0])
    assert folder.key == KEYS[0]
    assert list(folder.store.list()) == [f"{NODE}/c/0/0", f"{LEASE}00000005"]
    folder.remove()


# cleaning


def test_clean_removes_dead_runs_and_keeps_live_ones(place: str) -> None:
    leave(place, KEYS[0])
    leave(place, KEYS[1], ended=False, boot="another", host="another-machine")
    alive, closed = Workspace(place, KEYS[2]), Workspace(place, KEYS[3])
    closed.store.put(MANIFEST, b"{}")
    closed.close()
    assert dict(clean(place)) == {KEYS[0]: 2, KEYS[1]: 2, KEYS[3]: 2}
    assert {key.split("/")[1] for key in objects(place)} == {KEYS[2]}
    assert dict(clean(place)) == {}
    alive.remove()


def test_clean_older_than_counts_from_last_object(place: str) -> None:
    began = time.time()
    leave(place, KEYS[0])
    assert list(leftovers(place, older_than=500)) == []
    assert list(clean(place, older_than=3600)) == []
    (left,) = leftovers(place)
    assert (left.name, left.objects, left.nbytes > 4, left.others) == (KEYS[0], 2, True, 0)
    assert 0 <= left.age <= time.time() - began + 2
    store = open_store(join(place, RUNS, KEYS[0]))
    if isinstance(store, LocalStore):
        for key in store.list():
            os.utime(os.path.join(place, RUNS, KEYS[0], key), (began - 1000, began - 1000))
        assert [left.name for left in leftovers(place, older_than=500)] == [KEYS[0]]


def test_clean_keeps_run_that_is_being_resumed(place: str) -> None:
    leave(place, KEYS[0], "run.json")
    (leftover,) = leftovers(place)
    folder = Workspace(place, KEYS[0])
    assert leftover.remove() == 0
    assert list(folder.store.list()) == ["run.json", f"{LEASE}00000005"]
    folder.remove()


HALF = f".{32 * '0'}.tmp"

KILLED = {
    "before its lease was made": (False, [""]),
    "while its lease was made": (False, ["wrenla-lease"]),
    "when its lease was removed": (False, ["wrenla-lease", f"{NODE}/c/0", "functions"]),
    "when it wrote down its first file": (False, [f"wrenla-lease/{HALF}"]),
    "when it counted": (True, [f"wrenla-lease/{HALF}"]),
    "when it wrote its manifest": (True, [HALF]),
    "when it wrote a tile": (True, [f"{NODE}/c/0/{HALF}", f"{NODE}/c/1"]),
}


@pytest.mark.parametrize("when", KILLED)
def test_clean_removes_folders_without_objects(when: str, tmp_path: Path) -> None:
    with_lease, paths = KILLED[when]
    if with_lease:
        leave(str(tmp_path), KEYS[0])
    run = tmp_path / RUNS / KEYS[0]
    for path in paths:
        (run / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(HALF):
            (run / path).write_bytes(b"half")
        else:
            (run / path).mkdir()
    theirs = tmp_path / RUNS / KEYS[1] / "theirs"
    theirs.mkdir(parents=True)
    assert {name for name, _ in clean(str(tmp_path))} >= {KEYS[0]}
    assert list((tmp_path / RUNS).rglob("*")) == [theirs.parent, theirs]


def test_clean_of_empty_store_removes_nothing(place: str) -> None:
    assert list(clean(place)) == []


def test_remove_of_workspace_takes_objects_written_meanwhile(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late task looks for the manifest after it has written: our last look is after that has gone."""
    folder = Workspace(place, KEYS[0])
    folder.store.put(MANIFEST, b"{}")
    real, seen = folder.store.list, []

    def listed(prefix: str = "") -> Iterator[str]:
        keys = list(real(prefix))
        if prefix:
            return iter(keys)
        if not seen:
            folder.store.put(f"{NODE}/c/7/7", b"1")
        seen.append(MANIFEST in keys)
        return iter(keys)

    monkeypatch.setattr(folder.store, "list", listed)
    folder.remove()
    assert seen == [True, False]
    assert objects(place) == set()


THEIRS = (
    "runs/exp1/model.pt",
    f"runs/{KEYS[0]}/wrenla-lease/00000000",
    f"{RUNS}/model.pt",
    f"{RUNS}/exp1/model.pt",
    f"{RUNS}/exp1/{FIRST}",
    f"{RUNS}/{KEYS[0]}",  # a file
    f"{RUNS}/{KEYS[1]}/zarr.json",  # a matrix, in a folder that looks like a run's
    f"{RUNS}/{KEYS[1]}/c/0/0",
    f"{RUNS}/{KEYS[2].upper()}A/{FIRST}",
    f"{RUNS}/calls-0123456789ab/results/3",  # without a lease nobody knows whose it is
)


def test_clean_keeps_objects_of_others(place: str) -> None:
    store = open_store(place)
    for key in THEIRS:
        store.put(key, b"years of work")
    store.put(f"{RUNS}/{KEYS[3]}/{FIRST}", b'{"job": 7}')  # somebody else's JSON
    store.put(f"{RUNS}/{KEYS[3]}/{NODE}/c/0/0", b"tile")
    leave(
        place, KEYS[4], f"{NODE}/c/0/0", "notes.txt", f"{NODE}/c/0/0.bak", "data/survey.csv", "results/a.csv"
    )
    leave(place, KEYS[5], note={"run": KEYS[4]})  # the copy of another run's folder
    before = objects(place)
    (left,) = leftovers(place)
    assert (left.objects, left.others) == (2, 4)
    assert dict(clean(place)) == {KEYS[4]: 2}
    run = f"{RUNS}/{KEYS[4]}"
    assert objects(place) == before - {f"{run}/{NODE}/c/0/0", f"{run}/{LEASE}00000004"}
    assert list(clean(place)) == [], "what is left of it is no run any more"


def test_clean_removes_scratch_space_of_calls(place: str) -> None:
    """Functions put what they like below `data`, in the store of their executor."""
    run = "calls-0123456789ab"
    leave(place, run, "data/kept by a function", "results/1-0-x", f"arguments/{8 * '0'}-1", f"{NODE}/c/0/0")
    assert dict(clean(place)) == {run: 4}
    assert objects(place) == {f"{RUNS}/{run}/{NODE}/c/0/0"}


def test_resumed_run_keeps_objects_of_others(tmp_path: Path) -> None:
    url = str(tmp_path / "m")
    theirs = ("checkpoint.pt", "cfg.yaml", "c/notes.txt", "0.txt")
    A = wl.from_function(lambda i, j: np.ones((len(i), len(j))), (8, 8), tile=4)
    with wl.LocalExecutor(1, allowed_mem="100 MiB") as executor:

        def stop(event: object) -> None:
            if isinstance(event, TaskFinished):
                raise KeyboardInterrupt

        acts = (lambda **how: A.save(url, executor, **how), lambda **how: A.compute(executor, **how))
        for act in acts:
            with pytest.raises(KeyboardInterrupt):
                act(callbacks=[stop])
        folders = {path.parent.parent.parent for path in tmp_path.rglob("c/*/*") if path.is_file()}
        assert len(folders) == 2
        for folder in folders:
            for name in theirs:
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_text("years of work")
        for act in acts:
            act()
    for folder in folders:
        kept = [tmp_path.joinpath(folder, name) for name in theirs if "wrenla-saving" not in str(folder)]
        assert all(path.read_text() == "years of work" for path in kept)
    assert (wl.open(tmp_path / "m").compute() == 1).all()


def test_workspace_taken_over_is_left_to_its_new_holder(place: str) -> None:
    first = Workspace(place, KEYS[0])
    first.store.delete(first.lease.key)
    second = Workspace(place, KEYS[0])
    assert second.key == first.key
    second.store.put(f"{NODE}/c/0/0", b"tile")
    second.store.delete(second.lease.key)
    third = Workspace(place, KEYS[0])
    first.remove()
    second.close()
    assert third.lease.still_held()
    assert third.store.exists(f"{NODE}/c/0/0")
    third.remove()
    assert objects(place) == set()


def test_workspace_in_forked_child_is_not_given_back(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Workspace(place, KEYS[0])
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        folder.close()
        folder.remove()
    assert folder.lease.still_held()
    holder = Holder.decode(bytes(folder.store.get(FIRST)))
    assert holder is not None
    assert not holder.ended
    folder.remove()


def test_clean_removes_run_with_damaged_lease(place: str) -> None:
    for key, data in zip(KEYS, (b"", b"{", b"\xff"), strict=False):
        leave(place, key)
        open_store(join(place, RUNS, key)).put(f"{LEASE}00000004", data)
    assert set(dict(clean(place))) == set(KEYS[:3])
    assert objects(place) == set()


# links: whoever may write to a store must not have our hands elsewhere


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "victim"
    for name in ("thesis.tex", "c/0/0", f"{NODE}/c/0/0", FIRST):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("years of work")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    yield folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize(
    "where", ["node", "tiles", "row", "file", "lease", "run", "runs", "dangling", "loop"]
)
def test_links_are_not_followed(where: str, victim: Path, tmp_path: Path) -> None:
    root = tmp_path / "place"
    leave(str(root), KEYS[0], f"{NODE}/c/0/0")
    leave(str(root), KEYS[1])
    run = root / RUNS / KEYS[0]
    at, to = {
        "node": (run / ("f" * 24), victim),
        "tiles": (run / ("f" * 24) / "c", victim / "c"),
        "row": (run / NODE / "c" / "5", victim / "c" / "0"),
        "file": (run / NODE / "c" / "0" / "5", victim / "thesis.tex"),
        "lease": (root / RUNS / KEYS[2] / LEASE.rstrip("/"), victim / LEASE.rstrip("/")),
        "run": (root / RUNS / KEYS[2], victim),
        "runs": (tmp_path / "other" / RUNS, victim),
        "dangling": (run / ("f" * 24), tmp_path / "nowhere"),
        "loop": (run / ("f" * 24), run),
    }[where]
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(to)
    if where == "runs":
        unreadable: list[object] = []
        with pytest.raises(OSError, match="wrenla-runs is a symbolic link"):
            list(clean(str(at.parent), unreadable=unreadable.append))
        return
    assert set(dict(clean(str(root)))) == {KEYS[0], KEYS[1]}
    assert at.is_symlink()
    # whoever resumes such a run does not write through the link either
    if where in ("run", "lease"):
        with pytest.raises(OSError, match="is a symbolic link, and links inside a store are not followed"):
            Workspace(str(root), KEYS[2])
    elif where in ("node", "tiles", "row", "file"):
        folder = Workspace(str(root), KEYS[0])
        key = str((at if where == "file" else at / "0" / "7").relative_to(run))
        for put in (lambda: folder.store.put(key, b""), lambda: folder.store.put(key, b"", create=True)):
            with pytest.raises(OSError, match="symbolic link"):
                put()
        with pytest.raises(OSError, match="symbolic link"):
            folder.store.get(key)
        folder.remove()
        assert at.is_symlink()


def test_clean_goes_on_after_unreadable_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS[:3]:
        leave(str(tmp_path), key)
    fifo = tmp_path / RUNS / KEYS[1] / LEASE / "00000004"
    fifo.unlink()
    os.mkfifo(fifo)
    (tmp_path / RUNS / KEYS[3]).mkdir()
    (tmp_path / RUNS / KEYS[3] / LEASE.rstrip("/")).write_text("a file in the place of a folder")
    get = LocalStore.get

    def refuse(self: LocalStore, key: str, start: int = 0, stop: int | None = None) -> memoryview:
        if KEYS[0] in self.url:
            raise OSError(13, "Permission denied")
        return get(self, key, start, stop)

    seen = []
    assert dict(clean(str(tmp_path), unreadable=lambda left: seen.append(left.name))) == {
        KEYS[0]: 2,
        KEYS[2]: 2,
    }
    assert seen == []
    assert fifo.is_fifo()
