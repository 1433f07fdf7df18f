"""Task worker: the same few lines in a thread, a Dask worker and a Lambda sandbox."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace

import numpy as np

import wrenla_kernels as kernels
from wrenla_handler.errors import MissingTileError, StoreError, ThreadLimitError, TruncatedTileError
from wrenla_handler.out_of_memory import memory_for
from wrenla_handler.serialize.modules import Finder
from wrenla_handler.stores import LEASE, SAVING, OwningStore, Store
from wrenla_handler.stores.mmap import refuse_truncated
from wrenla_handler.threads import Threads
from wrenla_handler.tiles.buffers import Buffers, empty_tile
from wrenla_handler.tiles.cache import CacheKey, Tile, TileCache
from wrenla_handler.tiles.finish import FINISHES, IN_PLACE, Operand, call_user
from wrenla_handler.tiles.sources import Sources, as_bytes, padded_bytes
from wrenla_handler.tiles.spill import SpillFiles
from wrenla_handler.tiles.task import ArraySpec, Read, Task, Term, TileRef
from wrenla_handler.tiles.values import Values, simplest

__all__ = ["Report", "Worker", "array_key", "cache_key", "put_tile"]

_LOOKAHEAD = 4
"""How many tiles are read ahead of the kernels."""

_WORTH_PREFETCHING = 1 << 18
"""Bytes of a tile below which handing the read to another thread costs more than it saves."""


@dataclass(slots=True)
class Report:
    """What one task took: seconds waiting for tiles, in kernels, and writing; bytes and requests.

    `pivots` are the smallest and the largest |entry| on the diagonal of a triangle that was solved with.
    """

    read_seconds: float = 0.0
    compute_seconds: float = 0.0
    write_seconds: float = 0.0
    bytes_read: int = 0
    bytes_written: int = 0
    gets: int = 0
    cache_hits: int = 0
    committed: bool = False
    pivots: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        self.pivots = (self.pivots[0], self.pivots[1])  # of JSON, a list


def cache_key(spec: ArraySpec, ref: TileRef) -> CacheKey:
    """Name a tile by its content, and, unless it was there before, by the run that makes it."""
    return array_key(spec), ref.i, ref.j, ref.partial


def array_key(spec: ArraySpec) -> str:
    """Name the tiles of an array as `cache_key` does."""
    # what was read when nothing was said of it was not looked at
    return f"{spec.run} {spec.identity} {spec.claim}" if spec.run or spec.claim else spec.identity


class Worker:
    """Executes tasks; keeps tiles at hand, but no state that matters.

    Parameters
    ----------
    cache_bytes : int
        Budget for tiles kept at hand.
    hosts : mapping of str to ndarray, optional
        Arrays of this process that tasks may read, by identity.
    readers : int
        Threads that read tiles ahead of the kernels.
    files : SpillFiles, optional
        Takes tiles that the cache has no room for. It is closed with the worker.
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
        self._readers.shutdown(wait=True, cancel_futures=True)
        self.sources.close()
        self.cache.clear()
        if self.files is not None:
            self.files.close()

    def forget(self) -> None:
        """Let go of all tiles: they only save time."""
        self.cache.clear()
        self.buffers.clear()
        if self.files is not None:
            self.files.clear()

    def run(self, task: Task, arrays: Mapping[str, ArraySpec]) -> Report:
        """Execute one task and commit its tile, unless another worker has done so first."""
        spec = arrays[task.out.array]
        with memory_for(f"{spec.url}: {spec.key(task.out)}"):
            return _Execution(self, task, arrays).run()

    def fetch(self, spec: ArraySpec, ref: TileRef, *, keep: bool = True) -> tuple[Tile, bool]:
        """Return one tile, from the cache or its source, and whether it was at hand."""
        key, filed = cache_key(spec, ref), False

        def load() -> Tile:
            nonlocal filed
            tile = (
                None
                if self.files is None
                else self.files.get(key, *spec.grid.extent(ref.i, ref.j), spec.dtype)
            )
            filed = tile is not None
            return self.sources.read(spec, ref) if tile is None else tile

        if not keep and key not in self.cache:
            return load(), filed
        tile, hit = self.cache.get(key, load)
        return tile, hit or filed

    def prefetch(self, spec: ArraySpec, ref: TileRef) -> Future[tuple[Tile, bool]] | None:
        """Begin to read a tile, if it comes from a store and is worth it."""
        if (
            spec.kind != "tiles"
            or padded_bytes(spec) < _WORTH_PREFETCHING
            or cache_key(spec, ref) in self.cache
        ):
            return None
        try:
            return self._readers.submit(self.fetch, spec, ref)
        except ThreadLimitError:  # then it is read when its turn comes
            return None

    def value(self, read: Read, arrays: Mapping[str, ArraySpec], dtype: str) -> Tile:
        """Return what a read stands for as an array of its own: for gathering results."""
        ref = next(read.refs())
        spec = arrays[ref.array]
        with refuse_truncated(), memory_for(f"{spec.url or spec.kind}: {spec.key(ref)}"):
            return _Execution(self, Task(ref, (0, 0), dtype, base=(read,)), arrays).values.of(read)


class _Execution:
    """One task being executed."""

    def __init__(self, worker: Worker, task: Task, arrays: Mapping[str, ArraySpec]) -> None:
        self.worker, self.task, self.arrays = worker, task, arrays
        self.dtype = np.dtype(task.dtype)
        self.report = Report()
        self.values = Values(self._take, self.dtype)
        self._ahead: Iterator[TileRef] = (ref for read in task.reads() for ref in read.refs())
        self._fetched: deque[tuple[TileRef, Future[tuple[Tile, bool]] | None]] = deque()

    def run(self) -> Report:
        start = time.perf_counter()
        task, report, buffers = self.task, self.report, self.worker.buffers
        spec = self.arrays[task.out.array]
        rows, cols = spec.grid.extent(task.out.i, task.out.j)
        buffer = buffers.take(*spec.grid.tile, spec.dtype)
        inner = buffer[:rows, :cols]
        in_place = task.finish in IN_PLACE
        if in_place:  # its sum may fill a corner of the tile only
            inner[task.shape[0] :], inner[:, task.shape[1] :] = 0, 0
        work = inner[: task.shape[0], : task.shape[1]] if in_place else empty_tile(*task.shape, task.dtype)
        try:
            with refuse_truncated():
                self._assemble(work)
                for term in task.terms:
                    self._accumulate(term, work)
                result = self._finish(work)
        except TruncatedTileError:
            self.worker.forget()  # pages of zeros may be among what is at hand
            raise
        except MissingTileError:
            if not self._superseded(spec):
                raise
            return report
        finally:
            self._abandon()
        if not in_place:
            with np.errstate(all="ignore"):
                inner[...] = result
        buffer[rows:], buffer[:, cols:] = 0, 0  # what pads a ragged tile on disk
        computed = time.perf_counter()
        report.compute_seconds = computed - start - report.read_seconds
        self._commit(spec, buffer, inner)
        report.write_seconds = time.perf_counter() - computed
        return report

    def _take(self, ref: TileRef, *, again: bool = True) -> Tile:
        """Return the next tile of the task while those after it are being read.

        What is not read `again` by other tasks does not push other tiles out of the cache.
        """
        start = time.perf_counter()
        while len(self._fetched) < _LOOKAHEAD and (coming := next(self._ahead, None)) is not None:
            spec = self.arrays[coming.array]
            # the very next one is read here: there is nothing to overlap it with
            future = self.worker.prefetch(spec, coming) if self._fetched else None
            self._fetched.append((coming, future))
        expected, future = self._fetched.popleft()
        assert expected == ref, "tiles are taken in the order of Task.reads()"
        spec = self.arrays[ref.array]
        keep = again or spec.kind == "tiles"
        tile, hit = self.worker.fetch(spec, ref, keep=keep) if future is None else future.result()
        if hit:
            self.report.cache_hits += 1
        elif spec.kind == "tiles":
            self.report.gets += 1
            self.report.bytes_read += padded_bytes(spec)
        self.report.read_seconds += time.perf_counter() - start
        return tile

    def _abandon(self) -> None:
        """Leave no read behind that would outlive its task."""
        for _, future in self._fetched:
            if future is not None and not future.cancel():
                future.exception()
        self._fetched.clear()

    def _assemble(self, work: Tile) -> None:
        """Lay the base into the tile, whose content is undefined."""
        cleared = False
        for read in self.task.base:
            value = self.values.of(read, again=False)
            (r, c), (m, n) = read.offset, value.shape
            target = work[r : r + m, c : c + n]
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

    def _finish(self, work: Tile) -> Tile:
        task = self.task
        if not task.finish:
            return work
        if task.finish.startswith("call "):
            spec = self.arrays[task.finish.removeprefix("call ")]
            function = self.worker.sources.function(spec.url, spec.detail)
            tiles = [self.values.of(read) for read in task.args]
            return call_user(function, tiles, task)
        operands = tuple(self._triangle(read) for read in task.args)
        if task.finish == "trsm_left":
            pivots = np.abs(operands[0].tile.diagonal())
            if np.isfinite(pivots).all():  # JSON has no NaN
                self.report.pivots = (float(pivots.min()), float(pivots.max()))
        return FINISHES[task.finish](work, operands, task)

    def _commit(self, spec: ArraySpec, buffer: Tile, inner: Tile) -> None:
        out = self.task.out
        store = self.worker.sources.store(spec.url)
        self.report.committed = put_tile(store, spec, out, as_bytes(buffer))
        if self.report.committed:
            self.report.bytes_written = buffer.nbytes
        if self.report.committed and store.reach == "anywhere":
            inner.flags.writeable = False
            self.worker.cache.put(cache_key(spec, out), inner)
        else:  # what is in a near store is read as fast from there: memory need not hold it twice
            self.worker.buffers.give(buffer)

    def _superseded(self, spec: ArraySpec) -> bool:
        """Tell whether somebody else did this task, and dropped what it reads as nobody needs it any more."""
        out, store = self.task.out, self.worker.sources.store(spec.url)
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

    def _triangle(self, read: Read) -> Operand:
        """Return a triangular tile; the other triangle is not referenced."""
        tile = self.values.source(read)
        bare = replace(read, mask="")
        if bare.plain and read.scale == 1 and tile.array.dtype == self.dtype:
            return Operand(tile.array, simplest(read.op, self.dtype), read.mask)
        mask = read.mask if read.op in "NR" else ("upper" if read.mask == "lower" else "lower")
        return Operand(self.values.modified(read, tile, self.dtype).array, "N", mask)


def put_tile(store: Store, spec: ArraySpec, out: TileRef, data: memoryview) -> bool:
    """Write a tile unless it is there; one of another result does not stand in the way of ours."""
    if not spec.detail or out.partial:
        return store.put(spec.key(out), data, create=True)
    assert isinstance(store, OwningStore), "only there tiles of two results can meet"
    return store.put_owned(spec.key(out), data, spec.detail, lambda: _check_meant(store, spec.detail))


def _check_meant(store: Store, owner: str) -> None:
    """Refuse to write where another result is being saved by now, or none any more."""
    keys = list(store.list(f"{SAVING}/{LEASE}"))
    try:
        meant = json.loads(bytes(store.get(keys[-1])))["note"]["owner"]
    except (IndexError, KeyError, TypeError, ValueError):
        meant = ""
    if meant != owner:
        raise StoreError(f"{store.url}: something else is being saved there by now; nothing was written")


def _factor(read: Read) -> float | complex:
    """What `_operand` leaves for BLAS's alpha."""
    return read.scale if read.plain else 1
