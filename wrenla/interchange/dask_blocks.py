"""Blocks of a Dask array: each is computed once, and lies in a file while other tiles need it."""

from __future__ import annotations

import bisect
import concurrent.futures
import itertools
import math
import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import closing
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from wrenla.run.upload import write_block
from wrenla_handler.plain_arrays import refuse_lossy
from wrenla_handler.stores.urls import open_store
from wrenla_handler.threads import Threads
from wrenla_handler.tiles.arrays import StoredArray
from wrenla_handler.tiles.grid import Grid, Pair
from wrenla_handler.tiles.layout import Structure

__all__ = ["DaskBlocks", "checked"]

Array: TypeAlias = npt.NDArray[Any]
Block: TypeAlias = tuple[int, ...]
"""Its place among the blocks along each axis."""

Region: TypeAlias = tuple[Pair, ...]
"""First row and the one after the last; columns alike."""

_WAIT = 60.0
"""Seconds after which a thread looks again whether the block that it waits for is there."""

_PAGE = mmap.ALLOCATIONGRANULARITY


class DaskBlocks:
    """Dask array as something that can be sliced by the tiles of a grid, in several threads.

    A block that one tile needs is computed and copied into it. One that several need is written to a file
    without a name, which the system removes however this process ends, until the last of them has been read.

    Parameters
    ----------
    array : dask.array.Array
    grid : Grid
        Of the tiles that will be read.
    structure : str
        Which of them will be.
    most : int
        Bytes of blocks, counted twice, that are computed at a time: more only if one block is larger.
    folder : str, optional
        On its disk is the file; by default on that of temporary files.
    """

    def __init__(self, array: Any, grid: Grid, structure: Structure, most: int, folder: str | None) -> None:
        from dask.base import get_scheduler

        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self._array = array
        self._bounds = [[0, *itertools.accumulate(lengths)] for lengths in array.chunks]
        self._name, self._grid, self._structure, self._most = array.name, grid, structure, most
        # now, and in this thread: those that read have no contexts of their own
        self._get = get_scheduler(collections=[array])
        self._graph = dict(array.__dask_optimize__(array.__dask_graph__(), array.__dask_keys__()))
        if (array.name, *(0,) * array.ndim) not in self._graph:
            # persisted on a cluster: its optimization leaves out what only names results there
            self._graph = dict(array.__dask_graph__())
        self._pool = _pool_beside(self._get)
        self._file = _BlockFile(folder)
        self._held: dict[Block, _Place] = {}
        self._computing: set[Block] = set()
        self._pinned: set[Block] = set()
        self._left: dict[Block, set[Pair]] = {}
        self._flying = 0
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            # after Ctrl-C nobody waits for blocks that are being computed: they end by themselves
            self._pool.shutdown(wait=kind is None or issubclass(kind, Exception), cancel_futures=True)
        if kind is None:
            # Else a thread that a failed run has left behind may still write there: if the file were closed,
            # another one could have its number by then. It goes with the last reference instead.
            self._file.close()

    def __getitem__(self, index: tuple[slice, ...]) -> Array:
        region = tuple((part.start, part.stop) for part in index)
        tile, blocks = self._tile(region), self._touched(region)
        out = np.empty([stop - start for start, stop in region], self.dtype)
        with self._changed:
            # a sample for the check of a structure, and not the last one of these blocks
            if tile is None or any(tile not in self._wanting(block) for block in blocks):
                self._pinned.update(blocks)
        todo = list(blocks)
        while todo:
            done = self._read_held(todo, region, out) or self._compute_some(todo, tile, region, out)
            todo = [block for block in todo if block not in done]
        self._forget(blocks, tile)
        return out

    def write_tiles(self, target: StoredArray, places: Iterable[Pair], scheduler: Any) -> None:
        """Have workers of a Dask cluster write tiles: each one that has a block writes it, none comes here.

        Parameters
        ----------
        target : StoredArray
            In a store that the workers see.
        places : iterable of (int, int)
            Which tiles.
        scheduler : distributed.Client
            Where blocks of other sizes are cut to tiles as well.
        """
        from dask.base import compute
        from dask.delayed import delayed

        aligned = self._array.rechunk(self._grid.tile[: self.ndim]).to_delayed()
        write = delayed(_write_checked, pure=False)
        tasks = [
            write(
                aligned[place[: self.ndim]], target, place, self._grid.extent(*place)[: self.ndim], self.dtype
            )
            for place in places
        ]
        compute(*tasks, scheduler=scheduler)

    def _read_held(self, todo: list[Block], region: Region, out: Array) -> set[Block]:
        """Copy what is in the file. Under the lock: the place of a block is given to another one after it."""
        with self._changed:
            done = {block for block in todo if block in self._held}
            for block in done:
                self._copy(self._file.map(self._held[block]), block, region, out)
        return done

    def _compute_some(self, todo: list[Block], tile: Pair | None, region: Region, out: Array) -> set[Block]:
        """Compute as many blocks as may be at a time, none that another thread is at."""
        with self._changed:
            mine, nbytes = self._affordable(block for block in todo if block not in self._computing)
            if any(block in self._held for block in todo):
                return set()
            if not mine:
                self._changed.wait(_WAIT)
                return set()
            self._computing |= mine
            self._flying += nbytes
        try:
            self._compute(mine, tile, region, out)
        finally:
            with self._changed:
                self._computing -= mine
                self._flying -= nbytes
                self._changed.notify_all()
        return mine

    def _affordable(self, blocks: Iterable[Block]) -> tuple[set[Block], int]:
        mine: set[Block] = set()
        total = 0
        for block in blocks:
            nbytes = 2 * self._nbytes(block)
            if self._flying + total + nbytes > self._most and (self._flying or mine):
                break
            mine.add(block)
            total += nbytes
        return mine, total

    def _compute(self, mine: set[Block], tile: Pair | None, region: Region, out: Array) -> None:
        from dask.optimization import cull

        keys = [(self._name, *block) for block in mine]
        graph, _ = cull(self._graph, keys)
        found = self._get(graph, keys, **({} if self._pool is None else {"pool": self._pool}))
        del graph
        for block, values in zip(mine, found, strict=True):
            values = self._checked(values, block)
            self._copy(values, block, region, out)
            with self._changed:
                if tile not in self._wanting(block):  # somebody else has read this tile meanwhile
                    self._pinned.add(block)
                wanted = block in self._pinned or bool(self._wanting(block) - {tile})
                place = self._file.room(values) if wanted else None
            if place is not None:
                self._file.write(place, values)
                with self._changed:
                    self._held[block] = place

    def _checked(self, values: Any, block: Block) -> Array:
        return checked(values, self._extent(block), self.dtype)

    def _copy(self, values: Array, block: Block, region: Region, out: Array) -> None:
        here, there = [], []
        for (start, stop), (first, last) in zip(region, self._extent(block), strict=True):
            low, high = max(start, first), min(stop, last)
            here.append(slice(low - first, high - first))
            there.append(slice(low - start, high - start))
        out[tuple(there)] = values[tuple(here)]

    def _forget(self, blocks: list[Block], tile: Pair | None) -> None:
        """Give the places of blocks free that only this tile still needed."""
        if tile is None:
            return
        with self._changed:
            for block in blocks:
                left = self._wanting(block)
                left.discard(tile)
                if not left and block in self._held and block not in self._pinned:
                    self._file.free(self._held.pop(block))

    def _wanting(self, block: Block) -> set[Pair]:
        """Return the tiles that still need a block."""
        if block not in self._left:
            spans = [
                range(first // length, -(-last // length)) if last > first else range(0)
                for (first, last), length in zip(self._extent(block), self._grid.tile, strict=False)
            ]
            rows, cols = (*spans, range(1))[:2]
            self._left[block] = {(i, j) for i in rows for j in cols if self._is_read(i, j)}
        return self._left[block]

    def _is_read(self, i: int, j: int) -> bool:
        match self._structure:
            case "general":
                return True
            case "upper":
                return i <= j
            case _:
                return i >= j

    def _tile(self, region: Region) -> Pair | None:
        """Return which tile a region is, None if it is none."""
        i, j = (
            start // length for (start, _), length in zip((*region, (0, 1))[:2], self._grid.tile, strict=True)
        )
        whole = (*zip(self._grid.origin(i, j), self._grid.extent(i, j), strict=True),)[: self.ndim]
        return (i, j) if region == tuple((start, start + length) for start, length in whole) else None

    def _touched(self, region: Region) -> list[Block]:
        return list(itertools.product(*map(self._along, self._bounds, region)))

    def _along(self, bounds: list[int], span: Pair) -> Iterator[int]:
        start, stop = span
        for number in range(bisect.bisect_right(bounds, start) - 1, len(bounds) - 1):
            if bounds[number] >= stop:
                return
            if bounds[number] < bounds[number + 1]:  # blocks may be empty
                yield number

    def _extent(self, block: Block) -> Region:
        return tuple((bounds[b], bounds[b + 1]) for bounds, b in zip(self._bounds, block, strict=True))

    def _nbytes(self, block: Block) -> int:
        itemsize: int = self.dtype.itemsize
        return math.prod(stop - start for start, stop in self._extent(block)) * itemsize


def checked(values: Any, region: Region, dtype: np.dtype[Any]) -> Array:
    """Return what a block has come to, if it is what the array promises."""
    where = ", ".join(
        f"{what} {start}:{stop}" for what, (start, stop) in zip(("rows", "columns"), region, strict=False)
    )
    if np.ma.is_masked(values):
        raise ValueError(
            f"{where} of the Dask array have masked entries, for which there is no number: fill them "
            "first, dask.array.ma.filled(a, value)"
        )
    values = values.data if isinstance(values, np.ma.MaskedArray) else values
    refuse_lossy(values)
    found, expected = np.asarray(values), tuple(stop - start for start, stop in region)
    if found.shape != expected:
        raise ValueError(
            f"{where} of the Dask array came as a block of shape {found.shape}, not {expected}: pass "
            "chunks= to the map_blocks that makes it"
        )
    if not np.can_cast(found.dtype, dtype, "same_kind"):
        raise TypeError(
            f"{where} of the Dask array came as {found.dtype}, and it says {dtype}: pass dtype= to "
            "the map_blocks that makes it, or convert it, a.astype(dtype)"
        )
    return found


def _write_checked(
    values: Any, target: StoredArray, place: Pair, extent: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    """Write a block as a tile, on the worker that has it."""
    starts = [at * length for at, length in zip(place, target.grid.tile, strict=True)]
    region = tuple((start, start + n) for start, n in zip(starts, extent, strict=False))
    block = checked(values, region, dtype)
    with closing(open_store(target.url)) as store:
        write_block(target, place, block[:, None] if block.ndim == 1 else block, store)


def _pool_beside(get: Callable[..., Any]) -> Executor | None:
    """Return threads or processes for Dask's scheduler, which would start some for each call otherwise."""
    import dask.multiprocessing
    import dask.threaded
    from dask import config
    from dask.system import CPU_COUNT

    number = config.get("num_workers", None) or CPU_COUNT
    if config.get("pool", None) is not None or config.get("multiprocessing.initializer", None) is not None:
        return None
    if get is dask.threaded.get:
        return Threads(number, "wrenla-dask")
    if get is dask.multiprocessing.get:
        return concurrent.futures.ProcessPoolExecutor(number, dask.multiprocessing.get_context())
    return None


class _Place:
    """Place of a block in the file: where it begins, and how to read it."""

    __slots__ = ("dtype", "offset", "order", "shape", "size")

    def __init__(self, offset: int, size: int, values: Array) -> None:
        self.offset, self.size, self.shape, self.dtype = offset, size, values.shape, values.dtype
        self.order: Literal["C", "F"] = "F" if values.flags.f_contiguous else "C"


class _BlockFile:
    """File without a name that holds arrays; places that are free again are used again."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._descriptor = -1
        self.close: Callable[[], object] = lambda: None
        self._end = 0
        self._free: list[Pair] = []

    def room(self, values: Array) -> _Place:
        """Return a place that is large enough for an array."""
        if self._descriptor < 0:
            self._descriptor = _unnamed_file(self._folder)
            self.close = weakref.finalize(self, os.close, self._descriptor)
        size = -(-max(1, values.nbytes) // _PAGE) * _PAGE
        for number, (offset, free) in enumerate(self._free):
            if free >= size:
                del self._free[number]
                return _Place(offset, free, values)
        self._end += size
        return _Place(self._end - size, size, values)

    def write(self, place: _Place, values: Array) -> None:
        """Write an array. Not through a map: what is written there would count as memory of this process."""
        flat = values.T if place.order == "F" else np.ascontiguousarray(values)
        data, done = flat.reshape(-1).view(np.uint8).data, 0
        while done < len(data):
            done += os.pwrite(self._descriptor, data[done:], place.offset + done)

    def map(self, place: _Place) -> Array:
        """Return an array, as a map of the file."""
        nbytes = math.prod(place.shape) * place.dtype.itemsize
        mapped = mmap.mmap(self._descriptor, nbytes, access=mmap.ACCESS_READ, offset=place.offset)
        return np.frombuffer(mapped, place.dtype).reshape(place.shape, order=place.order)

    def free(self, place: _Place) -> None:
        """Let a place be used for another array."""
        self._free.append((place.offset, place.size))


def _unnamed_file(folder: str | None) -> int:
    """Return the descriptor of a file that has no name, on the disk of a folder if there is one."""
    while folder and not os.path.isdir(folder):  # it may be made later
        folder = os.path.dirname(folder)
    if folder and not os.access(folder, os.W_OK):
        folder = None
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.dup(file.fileno())
