"""Task worker: the same few lines in a thread, a Dask worker and a Lambda environment."""

from __future__ import annotations

import heapq
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

import wrenla_kernels as kernels
from wrenla_handler.errors import MissingTileError, StoreError, TruncatedTileError
from wrenla_handler.machine import resident_bytes
from wrenla_handler.out_of_memory import memory_for
from wrenla_handler.rates import DIRECT_FROM
from wrenla_handler.stores.base import LEASE, SAVING, OwningStore, Reach, Store
from wrenla_handler.stores.local import LocalStore
from wrenla_handler.stores.mmap import refuse_truncated
from wrenla_handler.stores.room import RoomStore
from wrenla_handler.tiles.arrays import ArraySpec, FunctionArray, StoredArray, TileRef, stored
from wrenla_handler.tiles.buffers import empty_tile
from wrenla_handler.tiles.cache import Tile
from wrenla_handler.tiles.finish import Operand, finish_kernel
from wrenla_handler.tiles.reader import ReadAhead, Report, TileReader, cache_key
from wrenla_handler.tiles.sources import as_bytes, tile_from_bytes
from wrenla_handler.tiles.task import Mask, Read, Task, Term
from wrenla_handler.tiles.values import Values, simplest

__all__ = ["CACHED", "Report", "Worker", "cache_key", "put_tile"]


CACHED = 4 << 20
"""Bytes of the columns that a kernel changes at a time: the processor's caches hold them."""

_FEWEST = 8
"""Columns at a time, however high they are: a line of the cache has as many numbers."""


_LOOK = 2e-3
"""Seconds between two looks at the memory of the process."""


class Worker(TileReader):
    """Executes tasks, several at a time in threads.

    Parameters
    ----------
    cache_bytes, hosts, **options
        As for `TileReader`.
    name : str
        Of this process among others, for reports.
    """

    def __init__(
        self, cache_bytes: int, hosts: Mapping[str, Tile] | None = None, *, name: str = "", **options: Any
    ) -> None:
        super().__init__(cache_bytes, hosts, **options)
        self._name = name
        self.memory_before = resident_bytes()
        self._looked = time.perf_counter(), self.memory_before
        self._lock = threading.Lock()
        self._lanes: list[int] = []
        self._lanes_made = 0

    def run(self, task: Task, arrays: Mapping[str, ArraySpec]) -> Report:
        """Execute one task and commit its tile, unless another worker has done so first."""
        spec = stored(arrays, task.out.array)
        with self._lane() as worker, memory_for(lambda: spec.place(task.out)):
            return _Execution(self, task, arrays, worker).run(spec)

    def memory(self) -> int:
        """Return the bytes of memory of this process, as they were at most two milliseconds ago."""
        looked, found = self._looked
        now = time.perf_counter()
        if now - looked > _LOOK:  # small tasks take less time than to ask
            found = resident_bytes()
            self._looked = now, found  # in one step: other threads read it
        return found

    @contextmanager
    def _lane(self) -> Iterator[str]:
        """Hand out a name: that of the process, and the least number that no other task has at this time."""
        with self._lock:
            if self._lanes:
                number = heapq.heappop(self._lanes)
            else:
                number = self._lanes_made = self._lanes_made + 1
        try:
            yield f"{self._name}, thread {number}" if self._name else f"thread {number}"
        finally:
            with self._lock:
                heapq.heappush(self._lanes, number)


class _Execution:
    """One task being executed."""

    def __init__(self, worker: Worker, task: Task, arrays: Mapping[str, ArraySpec], name: str) -> None:
        self.worker, self.task, self.arrays = worker, task, arrays
        self.dtype = np.dtype(task.dtype)
        self.report = Report(worker=name, began=time.time(), memory_before=worker.memory_before)
        self.ahead = ReadAhead(worker, task.refs(), arrays, self.report)
        self.values = Values(self.ahead.take, self.dtype)

    def run(self, spec: StoredArray) -> Report:
        """Make the tile and commit it to the array that it is of."""
        start = time.perf_counter()
        report = self.report
        try:
            with refuse_truncated():
                made = self._made(spec) if spec.bundle is None else self._bundled(spec)
        except TruncatedTileError:
            self.worker.forget()  # pages of zeros may be among what is at hand
            raise
        except MissingTileError:
            if not self._superseded(spec):
                raise
            return report
        finally:
            self.ahead.abandon()
        computed = time.perf_counter()
        report.compute_seconds = computed - start - report.read_seconds
        report.memory = self.worker.memory()
        self._commit(spec, *made)
        report.write_seconds = time.perf_counter() - computed
        return report

    def _made(self, spec: StoredArray) -> tuple[Tile, Tile | None]:
        """Return the finished tile as it is stored, and without what pads it."""
        task = self.task
        rows, cols = spec.grid.extent(task.out.i, task.out.j)
        buffer = self.worker.buffers.take(*spec.grid.tile, spec.dtype)
        inner = buffer[:rows, :cols]
        kernel = finish_kernel(task)
        if kernel.in_place:  # its sum may fill a corner of the tile only
            inner[task.shape[0] :], inner[:, task.shape[1] :] = 0, 0
        corner = inner[: task.shape[0], : task.shape[1]]
        work = self._seen() if kernel.looks else None
        if work is None:
            work = corner if kernel.in_place else empty_tile(*task.shape, task.dtype)
            self._assemble(self._base(), work)
        for term in task.terms:
            self._accumulate(term, work)
        result = kernel.call(work, self)
        if not kernel.in_place:
            with np.errstate(all="ignore"):
                inner[...] = result
        buffer[rows:], buffer[:, cols:] = 0, 0  # what pads a ragged tile on disk
        return buffer, inner

    def _bundled(self, spec: StoredArray) -> tuple[Tile, Tile | None]:
        """Return a finished column of tiles, with its parts behind it, as it is stored.

        None of it is kept at hand: as views of one object, each would hold all of it in memory.
        """
        kernel, (rows, cols) = finish_kernel(self.task), self.task.shape
        if kernel.columns is None:
            work = self.worker.buffers.take(rows, cols, self.dtype)
            self._assemble(self._base(), work)
            column, *parts = kernel.call(work, self)
            buffer, tiles = self._object(spec)
            for tile, part in zip(tiles, [*_cut(column, spec), *parts], strict=True):
                tile[...] = part
        else:  # some columns after the other, which stay in the processor's cache meanwhile
            base, change = list(self._base()), kernel.columns(self)
            buffer, tiles = self._object(spec)
            width = min(cols, max(_FEWEST, CACHED // max(1, rows * self.dtype.itemsize)))
            work = self.worker.buffers.take(rows, width, self.dtype)
            for start in range(0, cols, max(1, width)):
                some = work[:, : cols - start]
                self._assemble(base, some, start)
                change(some, start)
                for tile, part in zip(tiles, _cut(some, spec), strict=True):
                    tile[:, start : start + width] = part
        self.worker.buffers.give(work)
        return buffer, None

    def _object(self, spec: StoredArray) -> tuple[Tile, list[Tile]]:
        """Return the bytes of an object, and its tiles and parts in them; what lies between is zero."""
        buffer, end, tiles = self.worker.buffers.take(spec.object_bytes, 1, np.uint8), 0, list[Tile]()
        for ref in spec.tiles_with(self.task.out):
            span = spec.span(ref)
            # what lies between two parts, and what pads a ragged tile
            buffer[end : span.start if span.extent == span.shape else span.stop] = 0
            end = span.stop
            tiles.append(tile_from_bytes(buffer[span.start : span.stop, 0].data, span))
        return buffer, tiles

    def _seen(self) -> Tile | None:
        """Return the sum without a copy of its own, if it is all of one tile."""
        task = self.task
        if task.terms or len(task.base) != 1 or task.base[0].offset != (0, 0) or task.base[0].accumulate:
            return None
        # the dtype of what is read is known when it is, and then it is too late to read it again
        value = self.values.of(task.base[0], again=False)
        if value.shape != task.shape or value.dtype != self.dtype:
            work = empty_tile(*task.shape, task.dtype)
            work[...] = 0
            with np.errstate(all="ignore"):
                work[: value.shape[0], : value.shape[1]] = value
            return work
        value = value.view()
        value.flags.writeable = False
        return value

    def _base(self) -> Iterator[tuple[Read, Tile]]:
        """Yield the reads of the base and what they stand for."""
        for read in self.task.base:
            yield read, self.values.of(read, again=False)

    def _assemble(self, base: Iterable[tuple[Read, Tile]], work: Tile, start: int = 0) -> None:
        """Lay the base, from its column `start` on, into an array whose content is undefined."""
        cleared = False
        for read, value in base:
            r, c = read.offset[0], read.offset[1] - start
            value = value[:, max(0, -c) : max(0, work.shape[1] - c)]
            m, n = value.shape
            target = work[r : r + m, max(0, c) : max(0, c) + n]
            if not cleared and (read.accumulate or value.shape != work.shape):
                work[...] = 0
            cleared = True
            with np.errstate(all="ignore"):  # inf and NaN come and go as in kernels
                if read.accumulate:
                    target += value
                else:
                    target[...] = value
        if not cleared:
            work[...] = 0

    def _accumulate(self, term: Term, work: Tile) -> None:
        """Add the products of one run, oldest first: how sums are cut must not change a bit."""
        for a_read, b_read in term.products():
            a = self._operand(a_read)
            if term.lower:
                self._accumulate_lower(float(np.real(term.alpha)) * abs(_factor(a_read)) ** 2, a, work)
                continue
            b = self._operand(b_read)
            alpha = term.alpha * _factor(a_read) * _factor(b_read)
            kernels.gemm(alpha, a.tile, a.op, b.tile, b.op, work)

    def _accumulate_lower(self, alpha: float, a: Operand, work: Tile) -> None:
        """Add alpha · a aᴴ to the lower triangle."""
        if a.op == "N" or a.op == "C" or self.dtype.kind != "c":
            kernels.herk(alpha, a.tile, "N" if a.op == "N" else "C", work)
        else:  # BLAS has no Hermitian product of a merely transposed or conjugated matrix
            kernels.gemm(alpha, a.tile, a.op, a.tile, "R" if a.op == "T" else "T", work)

    def _commit(self, spec: StoredArray, buffer: Tile, inner: Tile | None) -> None:
        out = self.task.out
        store = self.worker.store(spec.url)
        data, buffers = as_bytes(buffer), self.worker.buffers
        if isinstance(store, RoomStore) and store.keep(spec.key(out), data, buffers.lend(buffer)):
            self.report.committed, self.report.bytes_written = True, buffer.nbytes
            return
        # The store before the cache: if another attempt has stored the tile, its bytes count, not ours.
        self.report.committed = put_tile(store, spec, out, data)
        if self.report.committed:
            self.report.bytes_written = buffer.nbytes
        if inner is not None and self.report.committed and store.reach == Reach.ANYWHERE:
            # From here on other tasks get this very array.
            inner.flags.writeable = False
            self.worker.cache.put(cache_key(spec, out), inner)
        else:  # what is in a near store is read as fast from there: memory need not hold it twice
            buffers.give(buffer)

    def _superseded(self, spec: StoredArray) -> bool:
        """Tell whether somebody else did this task, and dropped what it reads as nobody needs it any more."""
        out, store = self.task.out, self.worker.store(spec.url)
        later = spec.key(replace(out, partial=1)).removesuffix("1")
        # a store is not listed in one moment: while we look one sum may go and the next one come
        for _ in range(3):
            if out.partial and any(int(key.removeprefix(later)) >= out.partial for key in store.list(later)):
                return True
            if store.exists(spec.key(replace(out, partial=0))):
                return True
        return False

    def _operand(self, read: Read) -> Operand:
        """Return a factor of a product, as it is stored if BLAS can take it so."""
        tile = self.values.source(read)
        if read.plain and tile.array.dtype == self.dtype:
            return Operand(tile.array, simplest(read.op, self.dtype), "")
        unscaled = replace(read, scale=1 if read.plain else read.scale)
        return Operand(self.values.modified(unscaled, tile, self.dtype).array, "N", "")

    def value(self, read: Read) -> Tile:
        """Return what a read stands for: see `Inputs`."""
        return self.values.of(read)

    def triangle(self, read: Read) -> Operand:
        """Return a triangular tile; the other triangle is not referenced."""
        tile = self.values.source(read)
        bare = replace(read, mask="")
        if bare.plain and read.scale == 1 and tile.array.dtype == self.dtype:
            return Operand(tile.array, simplest(read.op, self.dtype), read.mask)
        # the ones of "unit" are there then
        mask: Mask = "lower" if (read.mask != "upper") == (read.op in "NR") else "upper"
        return Operand(self.values.modified(read, tile, self.dtype).array, "N", mask)

    def function(self) -> Callable[..., Any]:
        """Return the user's function that the finish names."""
        spec = self.arrays[self.task.finish.function]
        assert isinstance(spec, FunctionArray)
        return self.worker.sources.function(spec.url, spec.digest)


def put_tile(store: Store, spec: StoredArray, out: TileRef, data: memoryview) -> bool:
    """Write a tile unless it is there; one of another result does not stand in the way of ours."""
    if spec.direct and not out.partial and len(data) >= DIRECT_FROM and isinstance(store, LocalStore):
        return store.put(spec.key(out), data, create=True, direct=True)
    if not spec.owner or out.partial:
        return store.put(spec.key(out), data, create=True)
    assert isinstance(store, OwningStore), "only there tiles of two results can meet"
    return store.put_owned(spec.key(out), data, spec.owner, lambda: _check_meant(store, spec.owner))


def _check_meant(store: Store, owner: str) -> None:
    """Refuse to write where another result is being saved by now, or none any more."""
    keys = list(store.list(f"{SAVING}/{LEASE}"))
    try:
        meant = json.loads(bytes(store.get(keys[-1])))["note"]["owner"]
    except (IndexError, KeyError, TypeError, ValueError):
        meant = ""
    if meant != owner:
        raise StoreError(f"{store.url}: something else is being saved there by now; nothing was written")


def _cut(column: Tile, spec: StoredArray) -> Iterator[Tile]:
    """Yield what each tile has of a column of them."""
    edge = spec.grid.tile[0]
    for i in range(spec.grid.counts[0]):
        yield column[i * edge : (i + 1) * edge]


def _factor(read: Read) -> float | complex:
    """Return the scale that `_operand` leaves for BLAS's alpha."""
    return read.scale if read.plain else 1
