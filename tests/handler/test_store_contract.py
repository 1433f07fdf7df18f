"""What every store must do, run against each of them."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from wrenla_handler.stores.base import CopyingStore, MovingStore, OwningStore, Reach, Store
from wrenla_handler.stores.local import LocalStore
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.s3.store import S3Store
from wrenla_handler.stores.urls import join, open_store

CONTENT = bytes(range(256)) * 1024  # 256 KiB: enough for a local store to map it
BAD_KEYS = [
    "",
    "/",
    "/etc/passwd",
    "..",
    "a/../b",
    "../b",
    ".",
    "a/./b",
    "a//b",
    "a/",
    ".half.tmp",
    "a/.half.tmp",
    "a\0b",
    "a\nb",
    "\udc80",
]


def test_get_returns_what_put_wrote(store: Store) -> None:
    assert store.put("c/0/0", CONTENT)
    assert store.get("c/0/0") == CONTENT
    assert store.size("c/0/0") == len(CONTENT)
    assert store.exists("c/0/0")


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, 1),
        (0, None),
        (1, 5),
        (4095, 4097),
        (4096, 8192),
        (7, 200_000),
        (100_001, None),
        (len(CONTENT) - 1, len(CONTENT)),
        (3, 10**12),
        (5, 5),
        (9, 4),
        (len(CONTENT), None),
        (len(CONTENT), len(CONTENT) + 1),
        (10**12, 10**12 + 5),
    ],
)
def test_ranges_are_slices(store: Store, start: int, stop: int | None) -> None:
    store.put("key", CONTENT)
    assert store.get("key", start, stop) == CONTENT[start:stop]


def test_negative_ranges_are_refused(store: Store) -> None:
    store.put("key", CONTENT)
    for start, stop in [(-1, None), (0, -1), (-5, -1)]:
        with pytest.raises(ValueError, match="negative"):
            store.get("key", start, stop)


@pytest.mark.parametrize("create", [False, True])
def test_an_empty_object_is_an_object(store: Store, create: bool) -> None:
    assert store.put("empty", b"", create=create)
    assert store.exists("empty")
    assert store.size("empty") == 0
    assert bytes(store.get("empty")) == b""
    assert bytes(store.get("empty", 0, 5)) == b""
    assert bytes(store.get("empty", 3)) == b""
    assert list(store.list()) == ["empty"]


@pytest.mark.parametrize(
    "data",
    [
        b"12345678",
        bytearray(b"12345678"),
        memoryview(b"12345678"),
        memoryview(b"12345678").cast("d"),
        memoryview(b"12345678").cast("B", (2, 4)),
        memoryview(b"x12345678x")[1:-1],
    ],
)
def test_put_takes_any_contiguous_bytes(store: Store, data: bytes | bytearray | memoryview) -> None:
    store.put("key", data)
    assert bytes(store.get("key")) == b"12345678"


def test_put_refuses_views_with_gaps(store: Store) -> None:
    with pytest.raises(TypeError):
        store.put("key", memoryview(b"12345678")[::2])
    assert not store.exists("key")


def test_put_copies(store: Store) -> None:
    data = bytearray(b"before")
    store.put("key", data)
    data[:] = b"after!"
    assert bytes(store.get("key")) == b"before"


@pytest.mark.parametrize("create", [False, True])
def test_20_megabytes(store: Store, create: bool) -> None:
    content = CONTENT * 80
    assert store.put("large", content, create=create)
    assert store.get("large") == content
    assert store.get("large", 1, 19_999_999) == content[1:19_999_999]


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.get("c/0"),
        lambda store: store.get("c/0", 1, 2),
        lambda store: store.get("c/0", 2, 2),
        lambda store: store.size("c/0"),
        lambda store: store.get("c/0/0/0"),
        lambda store: store.size("c/0/0/0"),
        lambda store: store.get("other"),
    ],
)
def test_a_missing_object_is_a_key_error(store: Store, call: Callable[[Store], Any]) -> None:
    store.put("c/0/0", b"")
    with pytest.raises(KeyError) as caught:
        call(store)
    assert "some/prefix" not in str(caught.value)


def test_the_beginning_of_a_key_is_no_object(store: Store) -> None:
    store.put("c/0/0", b"")
    for key in ("c", "c/0", "c/0/0/0", "other"):
        assert not store.exists(key)


def test_put_overwrites(store: Store) -> None:
    assert store.put("key", CONTENT)
    assert store.put("key", b"short")
    assert bytes(store.get("key")) == b"short"
    assert store.size("key") == 5


def test_create_keeps_what_stands(store: Store) -> None:
    assert store.put("key", b"first", create=True)
    assert not store.put("key", b"second, longer", create=True)
    assert bytes(store.get("key")) == b"first"
    store.delete("key")
    assert store.put("key", b"third", create=True)
    assert bytes(store.get("key")) == b"third"


def test_sixteen_creators_have_one_winner(store: Store) -> None:
    start = threading.Barrier(16)

    def write(writer: int) -> bool:
        start.wait()
        return store.put("race", bytes([writer]) * 100_000, create=True)

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(write, range(16)))
    assert won.count(True) == 1
    assert store.get("race") == bytes([won.index(True)]) * 100_000
    assert list(store.list()) == ["race"]


def test_many_threads_read_and_write(store: Store) -> None:
    def work(number: int) -> None:
        key = f"c/{number % 4}/{number}"
        content = bytes([number]) * (number * 10_000)
        assert store.put(key, content, create=number % 2 == 0)
        assert store.get(key) == content
        assert store.get(key, number, 2 * number) == content[number : 2 * number]
        if number % 3 == 0:
            store.delete(key)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(32)))
    assert len(list(store.list())) == 32 - len(range(0, 32, 3))


def test_a_view_is_read_only_and_outlives_its_object(store: Store) -> None:
    for size in (10, len(CONTENT)):
        content = CONTENT[:size]
        store.put("deleted", content)
        store.put("overwritten", content)
        deleted = store.get("deleted")
        overwritten = store.get("overwritten", 1)
        store.delete("deleted")
        store.put("overwritten", bytes(size))
        store.close()
        gc.collect()
        assert deleted.readonly
        assert overwritten.readonly
        assert deleted == content
        assert overwritten == content[1:]
        assert deleted.format == "B"
        assert deleted.contiguous


def test_list_is_sorted_and_takes_any_prefix(store: Store) -> None:
    keys = ["a-b", "a/b", "a/b-c", "a/b.c/d", "a/bc", "a0", "ab/c/d/e/f", "b/é", "b/z", "zarr.json"]
    for key in reversed(keys):
        store.put(key, b"")
    assert list(store.list()) == sorted(keys)
    for prefix in ["a", "a/", "a/b", "a/b.", "ab/c/", "a/bc", "a/bcd", "c", "b/", "zarr.json", "zarr.json/"]:
        assert list(store.list(prefix)) == sorted(key for key in keys if key.startswith(prefix)), prefix


@pytest.mark.parametrize("prefix", ["/", "../", "..", "a/../", "//", "./", "/etc/"])
def test_a_prefix_that_no_key_has_lists_nothing(store: Store, prefix: str) -> None:
    store.put("a/b", b"")
    assert list(store.list(prefix)) == []


def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert list(store.list()) == []
    assert list(store.list("c/")) == []


def test_delete_is_idempotent(store: Store) -> None:
    store.put("c/0/0", b"")
    for key in ("c/0/0", "c/0/0", "c/0", "never/was", "c/0/0/0"):
        store.delete(key)
    assert not store.exists("c/0/0")
    assert list(store.list()) == []


def test_keys_of_many_segments_and_odd_characters(store: Store) -> None:
    keys = [
        "/".join("segment" for _ in range(20)),
        "a b/c+d&e=f/100%/ü",
        "%2e%2e/x",
        "...",
        ".hidden",
        "a.tmp",
    ]
    for key in keys:
        assert store.put(key, key.encode(), create=True)
    for key in keys:
        assert store.get(key) == key.encode()
    assert list(store.list()) == sorted(keys)


@pytest.mark.parametrize("key", BAD_KEYS)
def test_bad_keys_are_refused(store: Store, key: str) -> None:
    for call in (store.get, store.size, store.exists, store.delete, lambda key: store.put(key, b"")):
        with pytest.raises(ValueError, match="is not a key"):
            call(key)


def test_two_stores_of_one_address_see_each_other(store: Store, store_url: str) -> None:
    other = open_store(store_url)
    assert other.url == store.url == store_url
    assert type(other) is type(store)
    store.put("key", b"content")
    assert bytes(other.get("key")) == b"content"
    assert not other.put("key", b"other", create=True)
    other.close()
    assert bytes(store.get("key")) == b"content"


def test_join_opens_a_part_of_a_store(store: Store) -> None:
    store.put("run 1/tiles/c/0", b"content")
    part = open_store(join(store.url, "run 1", "tiles"))
    assert list(part.list()) == ["c/0"]
    assert bytes(part.get("c/0")) == b"content"
    part.put("c/1", b"")
    part.close()
    assert list(store.list()) == ["run 1/tiles/c/0", "run 1/tiles/c/1"]


def test_a_closed_store_can_be_used_again(store: Store) -> None:
    content = CONTENT * 80
    store.put("key", content)
    assert store.get("key") == content
    store.close()
    store.close()
    assert store.get("key") == content


def test_stores_say_how_far_they_reach(store: Store) -> None:
    reach: dict[type, Reach] = {
        MemoryStore: Reach.PROCESS,
        LocalStore: Reach.HOST,
        S3Store: Reach.ANYWHERE,
    }
    assert store.reach == reach[type(store)]
    assert repr(store).startswith(type(store).__name__)


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


def test_an_object_of_another_store_is_taken_over(store: Store, store_url: str) -> None:
    assert isinstance(store, CopyingStore)
    other = open_store(f"{store_url}-other")
    other.put("a/b", CONTENT)
    assert store.copy_from(other, "a/b", "c/0/0")
    other.put("a/b", b"later")  # what was taken is what it was
    assert store.get("c/0/0") == CONTENT
    assert not store.copy_from(other, "a/b", "c/0/0")
    assert store.get("c/0/0") == CONTENT, "nothing is replaced"
    with pytest.raises(KeyError):
        store.copy_from(other, "a/missing", "c/0/1")
    if isinstance(store, MovingStore):
        with pytest.raises(KeyError):
            store.move("a/missing", "c/0/1")
    if isinstance(store, OwningStore):
        assert store.copy_from(other, "a/b", "c/1", "0a-b1")
        assert (store.owner("c/1"), store.owner("c/0/0")) == ("0a-b1", "")
        assert store.get("c/1") == b"later"
        with pytest.raises(KeyError):
            store.copy_from(other, "a/missing", "c/0/1", "0a-b1")
    other.delete("a/b")
    assert store.get("c/0/0") == CONTENT
    for key in list(store.list()):
        store.delete(key)
    other.close()
