"""The matrices in a store, and whether an object is of wrenla at all."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wrenla.errors import MetadataError
from wrenla_handler.layout import METADATA_KEY, UNFINISHED, TileLayout
from wrenla_handler.stores import Store

__all__ = ["Kind", "Kinds", "StoredMatrix", "stored_matrices"]

Kind = Literal["matrix", "temporary", "other"]

_TEMPORARY = re.compile(r"(.*/)?runs/")
_TILE = re.compile(r"(?:(.*)/)?c(?:/\d+){0,2}")

_OF_A_RUN = re.compile(
    r"(?:.*/)?runs/(?:(?:[0-9a-f]{24}|calls-[0-9a-f]{12})(?:-[0-9a-f]{8})?/.+|doctor-[0-9a-f]{32})", re.S
)
"""Keys of runs, of what calls keep, and of the doctor's tile; others may have a folder of this name too."""

_OF_A_MATRIX = re.compile(
    rf"(?:(.*)/)?(?:{re.escape(METADATA_KEY)}|{re.escape(UNFINISHED)}|c(?:/\d+){{0,2}}|partial(?:/\d+){{3}})",
    re.S,
)


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


class Kinds:
    """Tells what wrenla has written from what others have.

    Zarr arrays of others have tiles of the same names: a matrix is what its description says to be wrenla's,
    or what has the mark of one that is being saved.

    Parameters
    ----------
    read : callable
        Returns the content of a key, None if there is no such object. It is called once or twice for each
        folder, so what has been told stays so while its objects are removed.
    """

    def __init__(self, read: Callable[[str], bytes | None]) -> None:
        self._read = read
        self._ours: dict[str, bool] = {}

    def of(self, key: str) -> Kind:
        """Tell what an object is part of; "other" is what wrenla does not know."""
        if _OF_A_RUN.fullmatch(key):
            return "temporary"
        found = _OF_A_MATRIX.fullmatch(key)
        if found is None:
            return "other"
        folder = found[1] or ""
        if folder not in self._ours:
            self._ours[folder] = self._is_matrix(f"{folder}/" if folder else "")
        return "matrix" if self._ours[folder] else "other"

    def _is_matrix(self, folder: str) -> bool:
        text = self._read(f"{folder}{METADATA_KEY}")
        if text is None:
            return self._read(f"{folder}{UNFINISHED}") is not None
        try:
            described = json.loads(text)
        except (ValueError, RecursionError):
            return False
        attributes = described.get("attributes") if isinstance(described, dict) else None
        return isinstance(attributes, dict) and isinstance(attributes.get("wrenla"), dict)
