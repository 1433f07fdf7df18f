"""Tiles at hand: never more bytes than allowed, never loaded twice at once, never stale."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wrenla_handler.stores.local import LocalStore
from wrenla_handler.tiles.arrays import ArraySpec, StoredArray, TileRef
from wrenla_handler.tiles.buffers import Buffers, empty_tile
from wrenla_handler.tiles.cache import CacheKey, Tile, TileCache
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.sources import Sources, as_bytes

KEYS: list[CacheKey] = [("A", i, j, 0) for i in range(3) for j in range(2)] + [
    ("B", 0, 0, p) for p in range(3)
]


def tile(nbytes: int) -> Tile:
    return np.zeros((nbytes, 1), np.uint8, order="F")


def never() -> Tile:
    raise AssertionError("it is at hand")


def test_a_tile_is_loaded_once() -> None:
    cache, made = TileCache(100), tile(10)
    assert cache.get(KEYS[0], lambda: made) == (made, False)
    assert KEYS[0] in cache
    found, hit = cache.get(KEYS[0], never)
    assert found is made
    assert hit
    assert cache.used == 10


def test_the_least_recently_used_goes_first() -> None:
    cache = TileCache(30)
    for key in KEYS[:3]:
        cache.put(key, tile(10))
    cache.get(KEYS[0], never)
    cache.put(KEYS[3], tile(10))
    assert [key in cache for key in KEYS[:4]] == [True, False, True, True]


def test_a_tile_that_is_too_large_is_handed_on_but_not_kept() -> None:
    cache = TileCache(30)
    cache.put(KEYS[0], tile(10))
    large, hit = cache.get(KEYS[1], lambda: tile(31))
    assert (large.nbytes, hit) == (31, False)
    assert KEYS[1] not in cache
    assert KEYS[0] in cache, "nothing had to go for it"


def test_an_array_can_be_forgotten() -> None:
    cache = TileCache(1000)
    for key in KEYS:
        cache.put(key, tile(10))
    cache.drop_array("A")
    assert [key for key in KEYS if key in cache] == KEYS[6:]
    assert cache.used == 30
    cache.drop(KEYS[6])
    cache.drop(KEYS[6])
    assert cache.used == 20


def test_the_collector_may_forget_an_array_while_a_tile_is_put() -> None:
    """It runs in any thread, between any two lines: also where this very thread has the lock."""
    cache = TileCache(1000)
    for key in KEYS:
        cache.put(key, tile(10))

    def inside() -> None:
        with cache._lock:  # where `put` would be
            cache.drop_array("A")

    thread = threading.Thread(target=inside, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it waits for itself"
    assert cache.get(KEYS[0], lambda: tile(20))[0].nbytes == 20, "what was forgotten is not handed out"
    assert cache.used == 50
    cache.clear()
    assert (cache.used, KEYS[7] in cache) == (0, False)


class AsADictionary(RuleBasedStateMachine):
    """The cache beside what it should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.cache, self.model = TileCache(60), dict[CacheKey, int]()

    def insert(self, key: CacheKey, size: int) -> None:
        self.model.pop(key, None)
        if size <= self.cache.limit:
            self.model[key] = size
        self.evict()

    def evict(self) -> None:
        while sum(self.model.values()) > self.cache.limit:
            del self.model[next(iter(self.model))]

    @rule(key=st.sampled_from(KEYS), size=st.integers(0, 70))
    def put(self, key: CacheKey, size: int) -> None:
        self.cache.put(key, tile(size))
        self.insert(key, size)

    @rule(key=st.sampled_from(KEYS), size=st.integers(0, 70))
    def get(self, key: CacheKey, size: int) -> None:
        found, hit = self.cache.get(key, lambda: tile(size))
        assert hit == (key in self.model)
        assert found.nbytes == self.model.get(key, size)
        self.insert(key, found.nbytes)

    @rule(key=st.sampled_from(KEYS))
    def drop(self, key: CacheKey) -> None:
        self.cache.drop(key)
        self.model.pop(key, None)

    @rule(limit=st.integers(0, 90))
    def resize(self, limit: int) -> None:
        self.cache.resize(limit)
        self.evict()

    @invariant()
    def same(self) -> None:
        assert self.cache.used == sum(self.model.values()) <= self.cache.limit
        assert [key for key in KEYS if key in self.cache] == [key for key in KEYS if key in self.model]


TestAsADictionary = AsADictionary.TestCase


def test_many_ask_and_one_loads() -> None:
    cache, loads, release = TileCache(1000), [], threading.Event()

    def load() -> Tile:
        loads.append(1)
        release.wait(10)
        return tile(10)

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(cache.get, KEYS[0], load) for _ in range(8)]
        while not loads:
            time.sleep(0.001)
        assert KEYS[0] in cache  # on its way counts as here
        release.set()
        results = [future.result(10) for future in futures]
    assert loads == [1]
    assert sum(not hit for _, hit in results) == 1
    assert len({id(found) for found, _ in results}) == 1


def test_a_load_that_fails_fails_for_all_who_wait_and_is_tried_again() -> None:
    cache, begun, release = TileCache(1000), threading.Event(), threading.Event()

    def load() -> Tile:
        begun.set()
        release.wait(10)
        raise OSError("no answer")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, KEYS[0], load)
        begun.wait(10)
        second = pool.submit(cache.get, KEYS[0], never)
        time.sleep(0.02)
        release.set()
        assert isinstance(first.exception(10), OSError)
        assert isinstance(second.exception(10), OSError)
    assert KEYS[0] not in cache
    assert cache.get(KEYS[0], lambda: tile(5))[1] is False


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[tuple[Sources, ArraySpec]]:
    """A stored matrix whose last tile row has one row and whose tiles are large enough to be mapped."""
    spec = StoredArray(Grid((257, 256), (256, 256)), "float64", 2, "A", str(tmp_path))
    store = LocalStore(tmp_path)
    for i in range(2):
        store.put(f"c/{i}/0", as_bytes(empty_tile(256, 256, "float64")))
    sources = Sources()
    yield sources, spec
    sources.close()


def test_a_ragged_tile_is_charged_with_the_memory_that_it_holds(stored: tuple[Sources, ArraySpec]) -> None:
    sources, spec = stored
    cache = TileCache(1 << 30)
    for i in range(2):
        cache.get(("A", i, 0, 0), lambda i=i: sources.read(spec, TileRef("A", i, 0)))  # type: ignore[misc]
    assert cache.used == 2 * 256 * 256 * 8  # the padding is mapped too
    cache.put(("B", 0, 0, 0), empty_tile(256, 256, "float64")[:1, :3])
    assert cache.used == 3 * 256 * 256 * 8
    for key in (("A", 0, 0, 0), ("A", 1, 0, 0), ("B", 0, 0, 0)):
        cache.drop(key)
    assert cache.used == 0


# work buffers


@given(
    st.integers(1, 9), st.integers(1, 9), st.sampled_from(["float32", "float64", "complex64", "complex128"])
)
def test_an_empty_tile_is_zero_and_in_fortran_order(rows: int, cols: int, dtype: str) -> None:
    for scale in (1, 200):
        made = empty_tile(rows * scale, cols * scale, dtype)
        assert made.shape == (rows * scale, cols * scale)
        assert made.dtype == dtype
        assert made.flags.f_contiguous
        assert made.flags.writeable
        assert not made.any()


def test_buffers_are_used_again_for_tiles_of_their_size() -> None:
    buffers = Buffers()
    first = buffers.take(512, 512, "float64")
    address = first.ctypes.data
    buffers.give(first)
    other: Any = buffers.take(1024, 512, "float32")  # as many bytes
    assert other.ctypes.data == address
    assert other.flags.f_contiguous
    assert other.dtype == "float32"
    assert buffers.take(512, 512, "float64").ctypes.data != address, "it is in use"
    buffers.give(other)
    buffers.clear()
    assert buffers.free == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5)), max_size=40))
def test_buffers_hold_no_more_than_was_in_use_at_once(steps: list[tuple[int, int]]) -> None:
    """Also for tasks that become smaller and smaller, as the panels of a factorization do."""
    buffers, used, most = Buffers(), list[Any](), 0
    for give, size in steps:
        if give < len(used):
            buffers.give(used.pop(give))
        else:
            used.append(buffers.take(size * 256, 256, "float64"))
        in_use = sum(tile.nbytes for tile in used)
        most = max(most, in_use)
        assert in_use + buffers.free <= most
