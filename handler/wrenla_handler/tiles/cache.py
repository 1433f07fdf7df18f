"""Tile cache of a worker. A tile never changes, so a cached one is never stale."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeAlias

import numpy.typing as npt

__all__ = ["CacheKey", "Tile", "TileCache"]

Tile: TypeAlias = npt.NDArray[Any]
CacheKey: TypeAlias = tuple[str, int, int, int]
"""Identity of the array, tile row, tile column, number of terms of a partial sum (0 for the whole)."""


class TileCache:
    """Least recently used tiles, at most `limit` bytes of them, memory-mapped ones included.

    Several workers may ask for the same tile at once: one of them loads it, the others wait for it.

    Parameters
    ----------
    limit : int
        Bytes. A tile that is dropped here is unmapped as soon as no task uses it any more.
    evicted : callable, optional
        Is handed what there is no room for any more.
    """

    def __init__(self, limit: int, evicted: Callable[[CacheKey, Tile], None] | None = None) -> None:
        self.limit = limit
        self._evicted = evicted
        self.used = 0
        self._tiles: OrderedDict[CacheKey, Tile] = OrderedDict()
        self._of_array: dict[str, set[CacheKey]] = {}
        self._loading: dict[CacheKey, Future[Tile]] = {}
        self._forgotten: deque[str] = deque()
        self._lock = threading.Lock()

    def get(self, key: CacheKey, load: Callable[[], Tile]) -> tuple[Tile, bool]:
        """Return a tile, loading it if it is not here, and whether it was (or was on its way)."""
        with self._lock:
            self._forget()
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
                return tile, True
            future = self._loading.get(key)
            if future is None:
                mine: Future[Tile] = Future()
                self._loading[key] = mine
        if future is not None:
            # Without the lock, which the loading thread takes to hand the tile over.
            return future.result(), True
        try:
            tile = load()
        except BaseException as error:
            mine.set_exception(error)
            with self._lock:
                del self._loading[key]
            raise
        with self._lock:
            del self._loading[key]
            # In one step from `_loading` to `_tiles`: whoever looks in between would load it again.
            gone = self._insert(key, tile)
        mine.set_result(tile)
        self._hand_on(gone)
        return tile, False

    def __contains__(self, key: CacheKey) -> bool:
        with self._lock:
            return key in self._tiles or key in self._loading

    def put(self, key: CacheKey, tile: Tile) -> None:
        """Keep a tile that was just made."""
        with self._lock:
            gone = self._insert(key, tile)
        self._hand_on(gone)

    def drop(self, key: CacheKey) -> None:
        """Forget a tile that nobody will need again."""
        with self._lock:
            self._remove(key)

    def drop_array(self, identity: str) -> None:
        """Forget all tiles of an array, at the latest before the cache is used next."""
        self._forgotten.append(identity)
        # The garbage collector may come here, for kept arrays, while this very thread holds the lock.
        if self._lock.acquire(blocking=False):
            try:
                self._forget()
            finally:
                self._lock.release()

    def resize(self, limit: int) -> None:
        """Change the limit; what no longer fits is dropped at once."""
        with self._lock:
            self._forget()
            self.limit = limit
            gone = self._evict()
        self._hand_on(gone)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._tiles.clear()
            self._of_array.clear()
            self.used = 0

    def _forget(self) -> None:
        """Remove the tiles of dropped arrays. The caller holds the lock."""
        while self._forgotten:
            for key in list(self._of_array.get(self._forgotten.popleft(), ())):
                self._remove(key)

    def _insert(self, key: CacheKey, tile: Tile) -> list[tuple[CacheKey, Tile]]:
        self._forget()
        self._remove(key)
        if _held(tile) > self.limit:
            return [(key, tile)]
        gone = self._evict(_held(tile))  # first, so that `used` is never more than allowed, whoever reads it
        self._tiles[key] = tile
        self._of_array.setdefault(key[0], set()).add(key)
        self.used += _held(tile)
        return gone

    def _remove(self, key: CacheKey) -> None:
        tile = self._tiles.pop(key, None)
        if tile is not None:
            self.used -= _held(tile)
            mine = self._of_array[key[0]]
            mine.remove(key)
            if not mine:
                del self._of_array[key[0]]

    def _evict(self, room: int = 0) -> list[tuple[CacheKey, Tile]]:
        """Drop the oldest until so many bytes are free."""
        gone = []
        while self.used + room > self.limit:
            oldest = next(iter(self._tiles))
            gone.append((oldest, self._tiles[oldest]))
            self._remove(oldest)
        return gone

    def _hand_on(self, gone: list[tuple[CacheKey, Tile]]) -> None:
        """Pass evicted tiles on, without the lock: writing a tile to a file takes a while."""
        if self._evicted is not None:
            for key, tile in gone:
                self._evicted(key, tile)


def _held(tile: Tile) -> int:
    """Return the bytes that a tile keeps in memory: a ragged one those of its padding too."""
    return tile.nbytes if tile.base is None else max(tile.nbytes, getattr(tile.base, "nbytes", 0))
