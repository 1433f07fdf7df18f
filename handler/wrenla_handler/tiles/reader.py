"""Tile reader: tiles from cache, spill files and sources, read ahead of their use."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from wrenla_handler.errors import ThreadLimitError
from wrenla_handler.out_of_memory import memory_for
from wrenla_handler.serialize.modules import Finder
from wrenla_handler.stores.base import Store
from wrenla_handler.stores.mmap import refuse_truncated
from wrenla_handler.threads import Threads
from wrenla_handler.tiles.arrays import ArraySpec, StoredArray, TileRef
from wrenla_handler.tiles.buffers import Buffers
from wrenla_handler.tiles.cache import CacheKey, Tile, TileCache
from wrenla_handler.tiles.sources import Sources
from wrenla_handler.tiles.spill import SpillFiles
from wrenla_handler.tiles.task import Read
from wrenla_handler.tiles.values import Values

__all__ = ["ReadAhead", "Report", "TileReader", "cache_key"]

_LOOKAHEAD = 4
"""How many tiles are read ahead of the kernels."""

_WORTH_PREFETCHING = 1 << 18
"""Bytes of a tile below which handing the read to another thread costs more than it saves."""


@dataclass(slots=True)
class Report:
    """Report of one task: seconds waiting for tiles of stores, computing, and writing; bytes and requests.

    `make_seconds` are those of the computing that went to making tiles of no store: by functions, formulas,
    and from arrays of this process.
    `pivots` are the smallest and the largest |entry| on the diagonal of a triangle that was solved with.
    `worker` is the thread that did it, by its process and a number; `began` is the worker's time of day.
    `memory` is that of its process when the tile was complete and not written yet, in bytes, or up to two
    milliseconds before; `memory_before` what it had before its first task.
    """

    read_seconds: float = 0.0
    compute_seconds: float = 0.0
    make_seconds: float = 0.0
    write_seconds: float = 0.0
    bytes_read: int = 0
    bytes_written: int = 0
    gets: int = 0
    cache_hits: int = 0
    committed: bool = False
    pivots: tuple[float, float] = (0.0, 0.0)
    worker: str = ""
    began: float = 0.0
    memory: int = 0
    memory_before: int = 0


def cache_key(spec: ArraySpec, ref: TileRef) -> CacheKey:
    """Name a tile by its content, and, unless it was there before, by the run that makes it."""
    return spec.name, ref.i, ref.j, ref.partial


def _kind(spec: ArraySpec, ref: TileRef) -> tuple[int, int, str]:
    """Return rows, columns and dtype of a tile."""
    if isinstance(spec, StoredArray):
        span = spec.span(ref)
        return *span.extent, span.dtype
    return *spec.grid.extent(ref.i, ref.j), spec.dtype


class TileReader:
    """Reads tiles; keeps them at hand, but no state that matters.

    Parameters
    ----------
    cache_bytes : int
        Budget for tiles kept at hand.
    hosts : mapping of str to ndarray, optional
        Arrays of this process that may be read, by identity.
    readers : int
        Threads that read tiles ahead.
    files : SpillFiles, optional
        Takes tiles that the cache has no room for. It is closed with the reader.
    finder : Finder, optional
        Takes modules that come with users' functions.
    """

    def __init__(
        self,
        cache_bytes: int,
        hosts: Mapping[str, Tile] | None = None,
        *,
        readers: int = 2,
        files: SpillFiles | None = None,
        finder: Finder | None = None,
    ) -> None:
        self.cache = TileCache(cache_bytes, None if files is None else files.put)
        self.files = files
        self.sources = Sources(hosts, finder)
        self.buffers = Buffers()
        self._readers = Threads(readers, "wrenla-read")

    def close(self) -> None:
        """End the reading threads and close the stores."""
        # The readers first: they use all that is closed below.
        self._readers.shutdown(wait=True, cancel_futures=True)
        self.sources.close()
        self.cache.clear()
        if self.files is not None:
            self.files.close()

    def forget(self) -> None:
        """Drop all tiles and buffers: they only save time."""
        self.cache.clear()
        self.buffers.clear()
        if self.files is not None:
            self.files.clear()

    def holding(self, hosts: Mapping[str, Tile]) -> AbstractContextManager[None]:
        """Hold arrays for a block, by identity."""
        return self.sources.holding(hosts)

    def store(self, url: str) -> Store:
        """Return the store at an address, the same one as long as it is kept."""
        return self.sources.store(url)

    def fetch(self, spec: ArraySpec, ref: TileRef, *, keep: bool = True) -> tuple[Tile, bool]:
        """Return one tile, from the cache or its source, and whether it was at hand."""
        if spec.is_absent(ref):  # nothing is read, and zeros that nobody writes to take no memory
            return self.sources.read(spec, ref), True
        key, filed = cache_key(spec, ref), False

        def load() -> Tile:
            nonlocal filed
            tile = None if self.files is None else self.files.get(key, *_kind(spec, ref))
            filed = tile is not None
            return self.sources.read(spec, ref) if tile is None else tile

        if not keep and key not in self.cache:
            return load(), filed
        tile, hit = self.cache.get(key, load)
        return tile, hit or filed

    def prefetch(
        self, spec: ArraySpec, ref: TileRef, *, keep: bool = True
    ) -> Future[tuple[Tile, bool]] | None:
        """Begin to read a tile, if it comes from a store and is worth it."""
        if (
            not isinstance(spec, StoredArray)
            or spec.tile_bytes(ref) < _WORTH_PREFETCHING
            or spec.is_absent(ref)
            or cache_key(spec, ref) in self.cache
        ):
            return None
        try:
            return self._readers.submit(self.fetch, spec, ref, keep=keep)
        except ThreadLimitError:  # then it is read when its turn comes
            return None

    def value(self, read: Read, arrays: Mapping[str, ArraySpec], dtype: str) -> Tile:
        """Return what a read stands for as an array of its own: for gathering results."""
        ref = next(read.refs())
        spec = arrays[ref.array]
        with refuse_truncated(), memory_for(lambda: spec.place(ref)):
            ahead = ReadAhead(self, read.refs(), arrays, Report())
            try:
                return Values(ahead.take, np.dtype(dtype)).of(read)
            finally:
                ahead.abandon()


class ReadAhead:
    """Tiles in the order in which they are needed, some of them read before they are.

    Parameters
    ----------
    reader : TileReader
    refs : iterable of TileRef
        All that will be taken, in this order.
    arrays : mapping of str to ArraySpec
    report : Report
        What is read is counted there.
    keep : bool
        Tiles that are read stay at hand, as far as there is room. Others would have to go for them.
    """

    def __init__(
        self,
        reader: TileReader,
        refs: Iterable[TileRef],
        arrays: Mapping[str, ArraySpec],
        report: Report,
        *,
        keep: bool = True,
    ) -> None:
        self._reader, self._arrays, self._report, self._keep = reader, arrays, report, keep
        self._ahead = iter(refs)
        self._fetched: deque[tuple[TileRef, Future[tuple[Tile, bool]] | None]] = deque()

    def take(self, ref: TileRef, *, again: bool = True) -> Tile:
        """Return the next tile while those after it are being read.

        What is not read `again` by other tasks does not push other tiles out of the cache.
        """
        start = time.perf_counter()
        while len(self._fetched) < _LOOKAHEAD and (coming := next(self._ahead, None)) is not None:
            spec = self._arrays[coming.array]
            # the very next one is read here: there is nothing to overlap it with
            future = self._reader.prefetch(spec, coming, keep=self._keep) if self._fetched else None
            self._fetched.append((coming, future))
        expected, future = self._fetched.popleft()
        assert expected == ref, "tiles are taken in the order of Task.refs()"
        spec = self._arrays[ref.array]
        keep = self._keep and (again or isinstance(spec, StoredArray))
        tile, hit = self._reader.fetch(spec, ref, keep=keep) if future is None else future.result()
        if hit:
            self._report.cache_hits += 1
        elif isinstance(spec, StoredArray):
            self._report.gets += 1
            self._report.bytes_read += spec.tile_bytes(ref)
        took = time.perf_counter() - start
        if isinstance(spec, StoredArray):
            self._report.read_seconds += took
        else:
            self._report.make_seconds += took
        return tile

    def abandon(self) -> None:
        """Leave no read behind that would outlive its task."""
        for _, future in self._fetched:
            if future is not None and not future.cancel():
                future.exception()
        self._fetched.clear()
