"""Upload of this process's arrays to where distant workers can read them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from functools import partial

from wrenla.workspace.workspace import Workspace
from wrenla_handler.stores.base import Store
from wrenla_handler.stores.urls import open_store
from wrenla_handler.threads import Threads
from wrenla_handler.tiles.arrays import ArraySpec, HostArray, StoredArray, TileRef
from wrenla_handler.tiles.buffers import empty_tile
from wrenla_handler.tiles.cache import Tile
from wrenla_handler.tiles.sources import Sources, as_bytes

__all__ = ["upload"]

_WRITERS = 8
"""Tiles that are written at a time."""


def upload(
    arrays: Mapping[str, ArraySpec], hosts: Mapping[str, Tile], folder: Workspace
) -> dict[str, ArraySpec]:
    """Write the tiles of arrays in memory into a run's folder.

    Parameters
    ----------
    arrays : mapping of str to ArraySpec
        What fills the array names of a plan; those in memory are written.
    hosts : mapping of str to ndarray
        The arrays in memory, by identity.
    folder : Workspace

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
                pairs = [(i, j) for i in range(rows) for j in range(cols)]
                list(pool.map(write, [pair for pair in pairs if not spec.is_absent(TileRef("", *pair))]))
            stored[name] = target
    return stored


def _write(
    sources: Sources, spec: HostArray, target: StoredArray, store: Store, place: tuple[int, int]
) -> None:
    ref = TileRef("", *place)
    tile = sources.read(spec, ref)
    padded = empty_tile(*spec.grid.tile, spec.dtype)
    padded[: tile.shape[0], : tile.shape[1]] = tile
    store.put(target.key(ref), as_bytes(padded), create=True)
