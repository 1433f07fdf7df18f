"""The lease of a run: a dead owner is succeeded at once, a live one is left alone."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from wrenla import folder as folder_module
from wrenla.folder import MANIFEST, Lease, RunFolder, clean, leftovers
from wrenla_handler.errors import TransientStoreError
from wrenla_handler.stores import MemoryStore, join, open_store


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty store for temporaries."""
    if request.param == "folder":
        yield str(tmp_path / "place")
    else:
        yield f"memory://{tmp_path.name}/place"
        MemoryStore.drop(tmp_path.name)


def put_lease(root: str, key: str, lease: Lease, number: int = 0) -> None:
    open_store(join(root, "runs", key)).put(f"lease/{number:08d}", json.dumps(asdict(lease)).encode())


def dead_process() -> Lease:
    """The lease of a process of this machine that has ended, and would not run out for a long time."""
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, text=True
    )
    start = folder_module._start_of(child.pid)
    assert start
    child.communicate("")
    return Lease("them", socket.gethostname(), child.pid, start, time.time() + 1e6)


def elsewhere(seconds: float) -> Lease:
    """The lease of another machine that runs out in some seconds."""
    return Lease("them", "another-machine", 1, "1", time.time() + seconds)


def test_a_folder_is_held_and_removed(place: str) -> None:
    folder = RunFolder(place, "key")
    assert folder.url == join(place, "runs", "key")
    assert Lease(**json.loads(bytes(folder.store.get("lease/00000000")))).alive()
    folder.store.put("c/0/0", b"tile")
    folder.remove()
    assert list(open_store(place).list()) == []


def test_while_one_lives_the_other_takes_a_folder_of_its_own(place: str) -> None:
    first, second, third = (RunFolder(place, "key") for _ in range(3))
    assert first.key == "key"
    assert len({first.key, second.key, third.key}) == 3
    assert second.key.startswith("key-")
    second.remove()
    assert list(first.store.list()) == ["lease/00000000"]
    first.close()
    fourth = RunFolder(place, "key")
    assert fourth.key == "key"
    for folder in (third, fourth):
        folder.remove()
    assert list(open_store(place).list()) == []


@pytest.mark.parametrize("owner", ["dead", "expired elsewhere", "its number is used again", "given back"])
def test_a_dead_owner_is_succeeded_at_once(owner: str, place: str) -> None:
    lease = {
        "dead": dead_process,
        "expired elsewhere": lambda: elsewhere(-1),
        "its number is used again": lambda: replace(Lease.mine("them"), started="1"),
        "given back": lambda: Lease("", "", 0, "", time.time()),
    }[owner]()
    put_lease(place, "key", lease, 7)
    open_store(join(place, "runs", "key")).put("c/0/0", b"tile")
    folder = RunFolder(place, "key")
    assert folder.key == "key"
    assert list(folder.store.list()) == ["c/0/0", "lease/00000008"]
    folder.remove()


def test_a_live_owner_elsewhere_keeps_its_folder(place: str) -> None:
    put_lease(place, "key", elsewhere(30))
    folder = RunFolder(place, "key")
    assert folder.key != "key"
    folder.remove()


def test_of_many_who_find_a_dead_one_only_one_succeeds_it(place: str) -> None:
    put_lease(place, "key", elsewhere(-1))
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: RunFolder(place, "key"), range(16)))
    assert sum(folder.key == "key" for folder in folders) == 1
    assert len({folder.key for folder in folders}) == 16
    for folder in folders:
        folder.remove()
    assert list(open_store(place).list()) == []


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "_LEASE_SECONDS", 0.15)


def expiry(folder: RunFolder) -> float:
    return float(json.loads(bytes(folder.store.get(folder._lease_key())))["expires"])


def test_a_lease_is_renewed_until_the_end(place: str, short_lease: None) -> None:
    folder = RunFolder(place, "key")
    seen = set()
    for _ in range(10):
        seen.add(expiry(folder))
        assert expiry(folder) > time.time() - 0.1
        time.sleep(0.05)
    assert len(seen) > 3
    renewing = folder._renewing
    folder.close()
    assert not renewing.is_alive()
    last = expiry(folder)
    time.sleep(0.2)
    assert expiry(folder) == last


def test_a_lease_outlives_a_store_that_does_not_answer_for_a_while(place: str, short_lease: None) -> None:
    folder = RunFolder(place, "key")
    real, failures = folder.store.put, 3

    def put(*args: Any, **kwargs: Any) -> bool:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise TransientStoreError("busy")
        return real(*args, **kwargs)

    folder.store.put = put  # type: ignore[method-assign]
    first = expiry(folder)
    time.sleep(0.5)
    assert failures < 0
    assert expiry(folder) > first
    folder.remove()


def test_a_forgotten_folder_stops_renewing(place: str, short_lease: None) -> None:
    renewing = RunFolder(place, "key")._renewing
    renewing.join(5)
    assert not renewing.is_alive()


# cleaning


def test_clean_takes_what_the_dead_left_and_leaves_the_living(place: str) -> None:
    put_lease(place, "dead", dead_process())
    put_lease(place, "expired", elsewhere(-1))
    put_lease(place, "elsewhere", elsewhere(30))
    for key in ("dead", "expired", "elsewhere"):
        open_store(join(place, "runs", key)).put("node/c/0/0", b"tile")
    alive, closed = RunFolder(place, "alive"), RunFolder(place, "closed")
    closed.store.put("run.json", b"{}")
    closed.close()
    assert dict(clean(place)) == {"closed": 2, "dead": 2, "expired": 2}
    kept = {key.split("/")[1] for key in open_store(place).list()}
    assert kept == {"alive", "elsewhere"}
    assert dict(clean(place)) == {}
    alive.remove()


def test_clean_keeps_the_young(place: str) -> None:
    put_lease(place, "old", elsewhere(-1000))
    closed = RunFolder(place, "young")
    closed.close()
    assert [left.name for left in leftovers(place, older_than=500)] == ["old"]
    assert dict(clean(place, older_than=500)) == {"old": 1}
    assert {left.name: left.objects for left in leftovers(place)} == {"young": 1}


def test_clean_does_not_take_what_is_being_resumed(place: str) -> None:
    put_lease(place, "key", elsewhere(-1))
    (leftover,) = leftovers(place)
    folder = RunFolder(place, "key")
    assert leftover.remove() == 0
    assert list(folder.store.list()) == ["lease/00000001"]
    folder.remove()


def test_of_nothing_there_is_nothing_to_clean(place: str) -> None:
    assert list(clean(place)) == []


def test_what_is_written_while_a_folder_is_removed_goes_too(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late task looks for the manifest after it has written: our last look is after that has gone."""
    folder = RunFolder(place, "busy")
    folder.store.put(MANIFEST, b"{}")
    real, seen = folder.store.list, []

    def listed(prefix: str = "") -> Iterator[str]:
        keys = list(real(prefix))
        if not seen:
            folder.store.put("late", b"1")
        seen.append(MANIFEST in keys)
        return iter(keys)

    monkeypatch.setattr(folder.store, "list", listed)
    folder.remove()
    assert seen == [True, False]
    assert list(open_store(place).list()) == []
