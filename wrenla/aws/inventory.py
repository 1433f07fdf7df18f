"""Inventory of a store: its matrices, runs and other objects."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wrenla.errors import MetadataError
from wrenla_handler.stores.base import RUNS, SAVING, Store
from wrenla_handler.tiles.layout import METADATA_KEY, TILE_KEYS, TileLayout

__all__ = ["StoredMatrix", "stored_matrices"]

_TEMPORARY = re.compile(rf"(.*/)?(?:{RUNS}|{SAVING})/")
_TILE = re.compile(rf"(?:(.*)/)?(?:{TILE_KEYS})")


@dataclass(frozen=True, slots=True)
class StoredMatrix:
    """A matrix in a store.

    Attributes
    ----------
    name : str
        Below the store's address; "" if the store is the matrix.
    layout : TileLayout or None
        None if it is an array that wrenla cannot read in place.
    tiles : int
        Tiles that are there.
    why : str
        Why there is no layout.
    """

    name: str
    layout: TileLayout | None
    tiles: int
    why: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes of the tiles that are there; those at the edges are padded, so all are of one size."""
        if self.layout is None:
            return 0
        rows, cols = self.layout.grid.tile
        return self.tiles * rows * cols * np.dtype(self.layout.dtype).itemsize


def stored_matrices(store: Store) -> Iterator[StoredMatrix]:
    """Yield the matrices below a store's address, in the order of their names; not those of runs.

    Every key is looked at, but of the objects only those that describe matrices are read.
    """
    tiles: Counter[str] = Counter()
    names = []
    for key in store.list():
        if _TEMPORARY.match(key):
            continue
        folder, _, last = key.rpartition("/")
        if last == METADATA_KEY:
            names.append(folder)
        elif found := _TILE.fullmatch(key):
            tiles[found[1] or ""] += 1
    for name in sorted(names):
        try:
            yield StoredMatrix(name, TileLayout.read(store, name), tiles[name])
        except MetadataError as error:
            yield StoredMatrix(name, None, tiles[name], str(error))
