"""Upload of this process's arrays to where distant workers can read them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import Any

from wrenla.workspace.workspace import Workspace
from wrenla_handler.stores.base import Store
from wrenla_handler.stores.urls import open_store
from wrenla_handler.threads import Threads
from wrenla_handler.tiles.arrays import ArraySpec, HostArray, StoredArray, TileRef
from wrenla_handler.tiles.buffers import empty_tile
from wrenla_handler.tiles.cache import Tile
from wrenla_handler.tiles.grid import Pair
from wrenla_handler.tiles.sources import Sources, as_bytes

__all__ = ["upload", "write_block"]

_WRITERS = 8
"""Tiles that are written at a time."""


def upload(
    arrays: Mapping[str, ArraySpec], hosts: Mapping[str, Tile], folder: Workspace, scheduler: Any = None
) -> dict[str, ArraySpec]:
    """Write the tiles of arrays in memory into a run's folder.

    Parameters
    ----------
    arrays : mapping of str to ArraySpec
        What fills the array names of a plan; those in memory are written.
    hosts : mapping of str to ndarray
        The arrays in memory, by identity.
    folder : Workspace
    scheduler : distributed.Client, optional
        Of workers that see the folder: arrays that can be written there, those of Dask, are.

    Returns
    -------
    dict of str to ArraySpec
        The same with stored tiles in place of arrays in memory.
    """
    stored = dict(arrays)
    with closing(Sources(hosts)) as sources, Threads(_WRITERS, "wrenla-upload") as pool:
        for name, spec in arrays.items():
            if not isinstance(spec, HostArray):
                continue
            url = folder.place(f"array-{spec.identity}")
            target = StoredArray(spec.grid, spec.dtype, spec.ndim, spec.identity, url, absent=spec.absent)
            rows, cols = spec.grid.counts
            with closing(open_store(target.url)) as store:
                write = partial(_write, sources, spec, target, store)
                there = set(store.list())  # of a run that was cut short: to read them may take long
                places = [(i, j) for j in range(cols) for i in range(rows)]
                missing = (at for at in places if target.key(TileRef("", *at)) not in there)
                todo = [at for at in missing if not spec.is_absent(TileRef("", *at))]
                write_tiles = getattr(hosts[spec.identity], "write_tiles", None)
                if scheduler is not None and write_tiles is not None:
                    write_tiles(target, todo, scheduler)
                else:
                    list(pool.map(write, todo))
            stored[name] = target
    return stored


def _write(sources: Sources, spec: HostArray, target: StoredArray, store: Store, place: Pair) -> None:
    write_block(target, place, sources.read(spec, TileRef("", *place)), store)


def write_block(spec: StoredArray, place: Pair, block: Tile, store: Store) -> None:
    """Write a block as a tile, unless it is there: whoever has the block may do so, a worker, too.

    Parameters
    ----------
    spec : StoredArray
        Where the tiles are.
    place : (int, int)
        Which tile it is.
    block : ndarray, of the extent of that tile
    store : Store
        At ``spec.url``.

    Examples
    --------
    >>> import numpy as np
    >>> from wrenla_handler.tiles.grid import Grid
    >>> store = open_store("memory://docs/blocks")
    >>> write_block(StoredArray(Grid((3, 1), (2, 1)), "float32", 1), (1, 0), np.ones((1, 1)), store)
    >>> len(store.get("c/1"))
    8
    """
    padded = empty_tile(*spec.grid.tile, spec.dtype)
    padded[: block.shape[0], : block.shape[1]] = block
    store.put(spec.key(TileRef("", *place)), as_bytes(padded), create=True)
