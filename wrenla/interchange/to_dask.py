"""Matrices as Dask arrays: tasks of Dask read the stored tiles."""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from wrenla.errors import MissingTileError, ReachError
from wrenla.executors.base import Executor, check_executor
from wrenla.interchange.tile_blocks import readable, specs_of
from wrenla.planning.expression import Node
from wrenla_handler.stores.base import Reach
from wrenla_handler.stores.mmap import refuse_truncated
from wrenla_handler.stores.urls import reach_of
from wrenla_handler.tiles.arrays import ArraySpec, StoredArray, TileRef
from wrenla_handler.tiles.cache import Tile
from wrenla_handler.tiles.grid import Grid, Pair
from wrenla_handler.tiles.sources import Sources, check_generation
from wrenla_handler.tiles.task import Read
from wrenla_handler.tiles.values import Values

__all__ = ["TileReads", "to_dask"]


def to_dask(node: Node, chunks: Any, executor: Executor | None) -> Any:
    """Return a Dask array whose blocks are the tiles of a node: see `BigMatrix.to_dask`."""
    try:
        import dask.array
        from dask.base import tokenize
    except ImportError:
        raise ImportError("to_dask needs Dask: pip install 'wrenla[distributed]'") from None
    node = readable(node, check_executor(executor))
    specs = specs_of(node)
    urls = sorted(spec.url for spec in specs.values() if isinstance(spec, StoredArray))
    name = f"wrenla-{tokenize(node.key, node.dtype, node.ndim, urls)}"
    source = TileReads(specs, node.dtype, node.ndim, node)
    lengths = [
        tuple(min(tile, n - start) for start in range(0, n, tile)) or (0,)
        for n, tile in zip(node.grid.shape, node.grid.tile, strict=True)
    ][: node.ndim]
    graph = {
        (name, *(i, j)[: node.ndim]): (source, _Block(_reads(node, i, j), _extent(node.grid, i, j)))
        for i in range(max(1, node.grid.counts[0]))
        for j in range(max(1, node.grid.counts[1]))
    }
    meta = np.empty((0,) * node.ndim, node.dtype)
    array = dask.array.Array(graph, name, tuple(lengths), meta=meta)
    return array if chunks is None else array.rechunk(chunks)


def _reads(node: Node, i: int, j: int) -> tuple[Read, ...]:
    return node.reads(i, j) if 0 not in node.grid.shape else ()


def _extent(grid: Grid, i: int, j: int) -> Pair:
    return grid.extent(i, j) if 0 not in grid.shape else grid.shape


@dataclass(frozen=True, slots=True)
class _Block:
    """Reads whose sum is one block, and its shape."""

    reads: tuple[Read, ...]
    extent: Pair


class TileReads:
    """Function of a Dask task: reads a block from the stores that its tiles are in.

    It keeps persisted tiles as long as a graph has it, in this process only: what travels is addresses.

    Parameters
    ----------
    specs : dict of str to ArraySpec
        Where the tiles are.
    dtype : str
    ndim : int
    kept : object, optional
        What must stay as long as this.
    """

    def __init__(self, specs: dict[str, ArraySpec], dtype: str, ndim: int, kept: Any = None) -> None:
        self._specs, self._dtype, self._ndim, self._kept = specs, dtype, ndim, kept
        self._home = os.uname().nodename, os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        return _travelled, (self._specs, self._dtype, self._ndim, self._home)

    def __call__(self, block: _Block) -> npt.NDArray[Any]:
        out = np.zeros(block.extent, self._dtype, order="F")
        try:
            with refuse_truncated():
                for read in block.reads:
                    value = Values(self._take, np.dtype(self._dtype)).of(read)
                    with np.errstate(all="ignore"):
                        if read.accumulate:
                            out += value
                        else:
                            out[...] = value
        except MissingTileError as error:
            self._refuse_far(error)
            error.add_note(
                "tiles of a persisted matrix go with the last Dask array that is made of it, where it was "
                "made: keep that array until the work is done, or save the matrix first, A.save(url)"
            )
            raise
        return out.reshape(block.extent[: self._ndim], order="F") if self._ndim else out.reshape(())

    def _take(self, ref: TileRef, *, again: bool = True) -> Tile:
        spec = self._specs[ref.array]
        if isinstance(spec, StoredArray) and self._home[1] != os.getpid() and not self._is_seen(spec):
            raise ReachError(
                f"{spec.url}: only the process that made this matrix sees it, and Dask's worker is another "
                'one: save it where both see it, wl.open(url).to_dask() after A.save("s3://bucket/name"), or '
                'compute(scheduler="threads")'
            )
        sources = _sources(os.getpid())
        tile = sources.read(spec, ref)
        if isinstance(spec, StoredArray):
            # After the read: tiles of another matrix come only when the description has been replaced once.
            check_generation(sources.store(spec.url), spec)
        return tile

    def _is_seen(self, spec: StoredArray) -> bool:
        return reach_of(spec.url) > Reach.PROCESS

    def _refuse_far(self, error: MissingTileError) -> None:
        """Say so if the tiles are in a folder of another machine."""
        here = os.uname().nodename
        if here != self._home[0]:
            raise ReachError(
                f"{error}; the Dask array was made on {self._home[0]}, and this worker runs on {here}: save "
                'the matrix where both see it, A.save("s3://bucket/name") or a folder that they share'
            ) from error


def _travelled(specs: dict[str, ArraySpec], dtype: str, ndim: int, home: tuple[str, int]) -> TileReads:
    reads = TileReads(specs, dtype, ndim)
    reads._home = home
    return reads


@cache
def _sources(process: int) -> Sources:
    """Return the stores of this process: one that was forked has connections of its own."""
    sources = Sources()
    atexit.register(sources.close)
    return sources
