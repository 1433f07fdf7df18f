"""Contract of a store, as tests."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from wrenla_handler.errors import StoreError
from wrenla_handler.stores.base import CopyingStore, MovingStore, OwningStore, Reach, Store
from wrenla_handler.stores.urls import join, open_store

__all__ = ["StoreTests"]

CONTENT = bytes(range(256)) * 1024  # 256 KiB: enough for a local store to map it
BAD_KEYS = (
    *("", "/", "/etc/passwd", "..", "a/../b", "../b", ".", "a/./b", "a//b", "a/"),
    *(".half.tmp", "a/.half.tmp", "a\0b", "a\nb", "\udc80"),
)
RANGES = (
    *((0, 1), (0, None), (1, 5), (4095, 4097), (4096, 8192), (7, 200_000), (100_001, None)),
    *((3, 10**12), (5, 5), (9, 4), (10**12, 10**12 + 5)),
    *((len(CONTENT) - 1, len(CONTENT)), (len(CONTENT), None), (len(CONTENT), len(CONTENT) + 1)),
)
BUFFERS: tuple[Callable[[bytes], Any], ...] = (
    *(bytes, bytearray, memoryview),
    lambda data: memoryview(data).cast("d"),
    lambda data: memoryview(data).cast("B", (2, 4)),
    lambda data: memoryview(b"x" + data + b"x")[1:-1],
)


class StoreTests:
    """Tests of what every `Store` must do. A subclass, or its module, has a fixture `store`.

    Fixtures
    --------
    store : Store
        An empty one.
    again : Store
        The same one, opened anew from its address.
    part : Store
        What `store` holds below ``run 1/tiles/``, from the address that `join` makes.
    elsewhere : Store
        Another empty one of the same kind, if it is a `CopyingStore`.

    Notes
    -----
    What only some stores can do, as `MovingStore`, is skipped for those that cannot.

    Examples
    --------
    >>> from wrenla_handler.stores.memory import MemoryStore
    >>> class TestMemoryStore(StoreTests):
    ...     @pytest.fixture
    ...     def store(self):
    ...         return MemoryStore()
    """

    @pytest.fixture
    def again(self, store: Store) -> Iterator[Store]:
        with closing(open_store(store.url)) as opened:
            yield opened

    @pytest.fixture
    def part(self, store: Store) -> Iterator[Store]:
        with closing(open_store(join(store.url, "run 1", "tiles"))) as opened:
            yield opened

    @pytest.fixture
    def elsewhere(self, store: Store) -> Iterator[Store]:
        if not isinstance(store, CopyingStore):
            pytest.skip("no CopyingStore")
        with closing(open_store(f"{store.url}-other")) as opened:
            yield opened

    def test_get_returns_what_put_wrote(self, store: Store) -> None:
        assert store.put("c/0/0", CONTENT)
        assert store.get("c/0/0") == CONTENT
        assert store.size("c/0/0") == len(CONTENT)
        assert store.exists("c/0/0")

    @pytest.mark.parametrize(("start", "stop"), RANGES)
    def test_ranges_are_slices(self, store: Store, start: int, stop: int | None) -> None:
        store.put("key", CONTENT)
        assert store.get("key", start, stop) == CONTENT[start:stop]

    def test_negative_ranges_are_refused(self, store: Store) -> None:
        store.put("key", CONTENT)
        for start, stop in [(-1, None), (0, -1), (-5, -1)]:
            with pytest.raises(ValueError, match="negative"):
                store.get("key", start, stop)

    @pytest.mark.parametrize("create", [False, True])
    def test_an_empty_object_is_an_object(self, store: Store, create: bool) -> None:
        assert store.put("empty", b"", create=create)
        assert store.exists("empty")
        assert store.size("empty") == 0
        assert bytes(store.get("empty")) == b""
        assert bytes(store.get("empty", 0, 5)) == b""
        assert bytes(store.get("empty", 3)) == b""
        assert list(store.list()) == ["empty"]

    @pytest.mark.parametrize("buffer", BUFFERS)
    def test_put_takes_any_contiguous_bytes(self, store: Store, buffer: Callable[[bytes], Any]) -> None:
        store.put("key", buffer(b"12345678"))
        assert bytes(store.get("key")) == b"12345678"

    def test_put_refuses_views_with_gaps(self, store: Store) -> None:
        with pytest.raises(TypeError):
            store.put("key", memoryview(b"12345678")[::2])
        assert not store.exists("key")

    def test_put_copies(self, store: Store) -> None:
        data = bytearray(b"before")
        store.put("key", data)
        data[:] = b"after!"
        assert bytes(store.get("key")) == b"before"

    @pytest.mark.parametrize("create", [False, True])
    def test_20_megabytes(self, store: Store, create: bool) -> None:
        content = CONTENT * 80
        assert store.put("large", content, create=create)
        assert store.get("large") == content
        assert store.get("large", 1, 19_999_999) == content[1:19_999_999]

    @pytest.mark.parametrize("key", ["c/0", "c/0/0/0", "other"])
    def test_a_missing_object_is_a_key_error(self, store: Store, key: str) -> None:
        store.put("c/0/0", b"")
        for call in (
            lambda: store.get(key),
            lambda: store.get(key, 1, 2),
            lambda: store.get(key, 2, 2),
            lambda: store.size(key),
        ):
            with pytest.raises(KeyError) as caught:
                call()
            assert caught.value.args == (key,)

    def test_the_beginning_of_a_key_is_no_object(self, store: Store) -> None:
        store.put("c/0/0", b"")
        for key in ("c", "c/0", "c/0/0/0", "other"):
            assert not store.exists(key)

    def test_put_overwrites(self, store: Store) -> None:
        assert store.put("key", CONTENT)
        assert store.put("key", b"short")
        assert bytes(store.get("key")) == b"short"
        assert store.size("key") == 5

    def test_create_keeps_what_stands(self, store: Store) -> None:
        assert store.put("key", b"first", create=True)
        assert not store.put("key", b"second, longer", create=True)
        assert bytes(store.get("key")) == b"first"
        store.delete("key")
        assert store.put("key", b"third", create=True)
        assert bytes(store.get("key")) == b"third"

    def test_sixteen_creators_have_one_winner(self, store: Store) -> None:
        start = threading.Barrier(16)

        def write(writer: int) -> bool:
            start.wait()
            return store.put("race", bytes([writer]) * 100_000, create=True)

        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(write, range(16)))
        assert won.count(True) == 1
        assert store.get("race") == bytes([won.index(True)]) * 100_000
        assert list(store.list()) == ["race"]

    def test_many_threads_read_and_write(self, store: Store) -> None:
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

    def test_a_view_is_read_only_and_outlives_its_object(self, store: Store) -> None:
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

    def test_list_is_sorted_and_takes_any_prefix(self, store: Store) -> None:
        keys = ["a-b", "a/b", "a/b-c", "a/b.c/d", "a/bc", "a0", "ab/c/d/e/f", "b/é", "b/z", "zarr.json"]
        for key in reversed(keys):
            store.put(key, b"")
        assert list(store.list()) == sorted(keys)
        for prefix in [
            "a",
            "a/",
            "a/b",
            "a/b.",
            "ab/c/",
            "a/bc",
            "a/bcd",
            "c",
            "b/",
            "zarr.json",
            "zarr.json/",
        ]:
            assert list(store.list(prefix)) == sorted(key for key in keys if key.startswith(prefix)), prefix

    @pytest.mark.parametrize("prefix", ["/", "../", "..", "a/../", "//", "./", "/etc/"])
    def test_a_prefix_that_no_key_has_lists_nothing(self, store: Store, prefix: str) -> None:
        store.put("a/b", b"")
        assert list(store.list(prefix)) == []

    def test_an_empty_store_lists_nothing(self, store: Store) -> None:
        assert list(store.list()) == []
        assert list(store.list("c/")) == []

    def test_delete_is_idempotent(self, store: Store) -> None:
        store.put("c/0/0", b"")
        for key in ("c/0/0", "c/0/0", "c/0", "never/was", "c/0/0/0"):
            store.delete(key)
        assert not store.exists("c/0/0")
        assert list(store.list()) == []

    def test_keys_of_many_segments_and_odd_characters(self, store: Store) -> None:
        keys = ["/".join(["segment"] * 20), "a b/c+d&e=f/100%/ü", "%2e%2e/x", "...", ".hidden", "a.tmp"]
        for key in keys:
            assert store.put(key, key.encode(), create=True)
        for key in keys:
            assert store.get(key) == key.encode()
        assert list(store.list()) == sorted(keys)

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_bad_keys_are_refused(self, store: Store, key: str) -> None:
        for call in (store.get, store.size, store.exists, store.delete, lambda key: store.put(key, b"")):
            with pytest.raises(ValueError, match="is not a key"):
                call(key)

    def test_a_closed_store_can_be_used_again(self, store: Store) -> None:
        content = CONTENT * 80
        store.put("key", content)
        assert store.get("key") == content
        store.close()
        store.close()
        assert store.get("key") == content

    def test_an_address_opens_the_same_store(self, store: Store, again: Store) -> None:
        assert again.url == store.url
        assert type(again) is type(store)
        store.put("key", b"content")
        assert bytes(again.get("key")) == b"content"
        assert not again.put("key", b"other", create=True)
        again.close()
        assert bytes(store.get("key")) == b"content"

    def test_join_opens_a_part_of_a_store(self, store: Store, part: Store) -> None:
        store.put("run 1/tiles/c/0", b"content")
        assert list(part.list()) == ["c/0"]
        assert bytes(part.get("c/0")) == b"content"
        part.put("c/1", b"")
        assert list(store.list()) == ["run 1/tiles/c/0", "run 1/tiles/c/1"]

    def test_reach_is_one_that_is_known(self, store: Store) -> None:
        assert isinstance(store.reach, Reach)

    def test_scan_tells_of_what_list_lists(self, store: Store) -> None:
        for number, key in enumerate(["b/1", "a", "b/0"]):
            store.put(key, bytes(number))
        found = list(store.scan())
        assert [(info.key, info.nbytes) for info in found] == [("a", 1), ("b/0", 2), ("b/1", 0)]
        assert all(info.modified > 0 for info in found)
        assert [info.key for info in store.scan("b/")] == ["b/0", "b/1"]
        assert list(store.scan("c")) == []

    def test_an_etag_is_another_one_when_the_content_is(self, store: Store) -> None:
        seen = []
        for content in (b"first", b"other", b"longer than both"):
            store.put("key", content)
            seen += [info.etag for info in store.scan("key")] * 2
            assert next(store.scan("key")).etag == seen[-1], "and the same as long as it is"
        assert len(set(seen)) == 3

    def test_list_folders_looks_no_deeper(self, store: Store) -> None:
        assert list(store.list_folders()) == []
        for key in ("top", "b/c/d", "a/0", "b/e"):
            store.put(key, b"")
        assert list(store.list_folders()) == ["a", "b"]

    @pytest.mark.parametrize("root", [False, True])
    def test_remove_empty_folders_removes_no_object(self, store: Store, root: bool) -> None:
        for key in ("a/b/0", "c/0", "top"):
            store.put(key, b"content")
        store.delete("a/b/0")
        store.remove_empty_folders(lambda folder: True, root=root)
        assert list(store.list()) == ["c/0", "top"]
        assert bytes(store.get("c/0")) == b"content"
        assert store.put("a/b/1", b"", create=True), "a folder comes back with its objects"

    # what only some can do

    def test_copy_from_takes_an_object_over(self, store: Store, elsewhere: Store) -> None:
        assert isinstance(store, CopyingStore)
        elsewhere.put("a/b", CONTENT)
        assert store.copy_from(elsewhere, "a/b", "c/0/0")
        elsewhere.put("a/b", b"later")  # what was taken is what it was
        assert store.get("c/0/0") == CONTENT
        assert not store.copy_from(elsewhere, "a/b", "c/0/0")
        assert store.get("c/0/0") == CONTENT, "nothing is replaced"
        with pytest.raises(KeyError):
            store.copy_from(elsewhere, "a/missing", "c/0/1")
        if isinstance(store, OwningStore):
            assert store.copy_from(elsewhere, "a/b", "c/1", "0a-b1")
            assert (store.owner("c/1"), store.owner("c/0/0")) == ("0a-b1", "")
            assert bytes(store.get("c/1")) == b"later"
            with pytest.raises(KeyError):
                store.copy_from(elsewhere, "a/missing", "c/0/1", "0a-b1")
        elsewhere.delete("a/b")
        assert store.get("c/0/0") == CONTENT

    def test_move_gives_an_object_another_key(self, store: Store) -> None:
        if not isinstance(store, MovingStore):
            pytest.skip("no MovingStore")
        store.put("a/0", CONTENT)
        store.put("b/0", b"what is there")
        store.move("a/0", "b/0")
        assert store.get("b/0") == CONTENT
        with pytest.raises(KeyError):
            store.move("a/0", "b/1")
        assert list(store.list()) == ["b/0"]

    def test_move_folder_leaves_what_is_there(self, store: Store) -> None:
        if not isinstance(store, MovingStore):
            pytest.skip("no MovingStore")
        for key in ("a/0", "a/b/1", "c/0"):
            store.put(key, key.encode())
        assert not store.move_folder("a", "c")
        assert list(store.list()) == ["a/0", "a/b/1", "c/0"]
        assert store.move_folder("a", "d")
        assert list(store.list()) == ["c/0", "d/0", "d/b/1"]
        assert bytes(store.get("d/b/1")) == b"a/b/1"

    def test_put_owned_asks_before_it_replaces(self, store: Store) -> None:
        if not isinstance(store, OwningStore):
            pytest.skip("no OwningStore")
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
