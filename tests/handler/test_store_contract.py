"""Contract of stores, run against each of ours; and addresses of stores."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from wrenla.testing import StoreTests
from wrenla_handler.stores.base import CopyingStore, MovingStore, OwningStore, Reach, Store
from wrenla_handler.stores.local import LocalStore
from wrenla_handler.stores.memory import MemoryStore, _Object
from wrenla_handler.stores.room import RoomStore
from wrenla_handler.stores.s3.store import S3Store
from wrenla_handler.stores.urls import join, open_store


class TestStores(StoreTests):
    """Of the fixture `store`: in memory, in a room, in a folder, in a bucket."""

    def test_stores_say_how_far_they_reach(self, store: Store, store_url: str) -> None:
        reach = {LocalStore: Reach.HOST, S3Store: Reach.ANYWHERE}
        assert store.reach == reach.get(type(store), Reach.PROCESS)
        assert repr(store).startswith(type(store).__name__)
        assert store.url == store_url

    def test_each_copies_and_either_moves_or_has_owners(self, store: Store) -> None:
        """So that no test of the contract is skipped on all of them. A room takes over no tiles."""
        if type(store) is RoomStore:
            return
        assert isinstance(store, CopyingStore)
        assert isinstance(store, OwningStore if type(store) is S3Store else MovingStore)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gs://bucket/x", "no store of kind 'gs'; use"),
        ("s3a://bucket/x", "did you mean s3://"),
        ("memry://x", "did you mean memory://"),
        ("s3:bucket", "two slashes"),
        ("file:/data", "two slashes"),
        ("file://data/x", "absolute path"),
        ("s3://", "not the name of a bucket"),
        ("s3://b?c/x", "not the name of a bucket"),
        ("s3://bucket/a//b", "not a key"),
        ("memory://a/../b", "not a key"),
        ("", "empty"),
    ],
)
def test_bad_addresses_say_what_is_wrong(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_store(url)


def test_open_store_takes_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    uri = (tmp_path / "a b").as_uri()
    assert open_store(tmp_path / "a b").url == uri
    for url in [
        str(tmp_path / "a b"),
        "a b",
        "./a b/",
        "~/a b",
        uri,
        f"{uri}/",
        f"FILE{uri[4:]}",
    ]:
        assert open_store(url).url == uri
    assert open_store("a:b").url == (tmp_path / "a:b").as_uri()
    assert open_store(f"file://localhost{tmp_path}").url == tmp_path.as_uri()
    assert list(tmp_path.iterdir()) == []


def test_join_refuses_to_leave_the_address() -> None:
    assert join("s3://bucket") == "s3://bucket"
    assert join("memory://a", "/b/") == "memory://a/b"
    for part in ("..", "", "a//b"):
        with pytest.raises(ValueError, match="is not a key"):
            join("s3://bucket", part)


def test_a_nameless_memory_goes_with_its_last_store() -> None:
    store = MemoryStore()
    url = store.url
    store.put("key", b"content")
    other = open_store(url)
    del store
    assert bytes(other.get("key")) == b"content"
    del other
    assert list(open_store(url).list()) == []
    MemoryStore.drop(url.removeprefix("memory://"))


def test_drop_forgets_a_named_memory_or_a_part_of_it() -> None:
    store = MemoryStore("kept")
    store.put("a/b", b"")
    store.put("ab", b"")
    MemoryStore.drop("kept/a")
    assert list(MemoryStore("kept").list()) == ["ab"]
    MemoryStore.drop("kept")
    assert list(store.list()) == []
    MemoryStore.drop("never was")


def test_collector_may_remove_objects_while_a_store_in_memory_is_at_work() -> None:
    """It lets go of kept arrays in any thread, between any two lines: also where this one has the lock."""
    store = MemoryStore()

    class Meddling(str):
        def startswith(self, *args: Any) -> bool:
            store.delete("b")
            return super().startswith(*args)

    for key in ("a", "b", "c"):
        store._space.objects[Meddling(key)] = store._space.objects.pop(key, _Object(b"", 0, 0.0))
    thread = threading.Thread(target=lambda: found.extend(store.list()), daemon=True)
    found: list[str] = []
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it waits for itself"
    assert {"a", "c"} <= set(found)
    assert list(store.list()) == ["a", "c"]
