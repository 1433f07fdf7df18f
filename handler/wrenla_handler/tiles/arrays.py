"""Arrays of a run: what fills each array name of a plan, and where a tile of it lies.

Most objects hold one tile. A bundle holds a whole column of them, and parts behind it: a task commits one
object, and some kernels make several results that need each other, such as the factors of a panel and its
pivots. They are there together, or not at all. Where each lies follows from grid and dtype alone, so it is
known before there is data, and is read by its range of bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from wrenla_handler.tiles.grid import Grid, Pair, absent_tiles
from wrenla_handler.tiles.layout import Separator, owned_folder, tile_key

__all__ = [
    "ArraySpec",
    "Bundle",
    "FormulaArray",
    "FunctionArray",
    "HostArray",
    "Part",
    "Span",
    "StoredArray",
    "TileRef",
    "object_bytes",
    "span_of",
    "stored",
]


_ALIGNMENT = 64
"""Bytes: each part begins at a multiple, as BLAS likes it."""


@dataclass(frozen=True, slots=True)
class Part:
    """Part behind the tiles of a bundle, of its own shape and dtype: pivots, a small triangle."""

    shape: Pair
    dtype: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """Storage of an array whose object j holds the tiles of tile column j, and these parts behind them.

    With M tile rows, tile `(M + p, j)` is part p of object j.
    """

    parts: tuple[Part, ...] = ()


class Span(NamedTuple):
    """Bytes of a tile in its object, its stored shape, the extent that counts, and its dtype."""

    start: int
    stop: int
    shape: Pair
    extent: Pair
    dtype: str

    @property
    def nbytes(self) -> int:
        """Number of bytes of the tile."""
        return self.stop - self.start


def span_of(grid: Grid, dtype: str, bundle: Bundle | None, i: int, j: int) -> Span:
    """Return where tile `(i, j)` of an array lies in its object.

    Examples
    --------
    >>> grid, bundle = Grid((5, 2), (2, 2)), Bundle((Part((2, 1), "int64"),))
    >>> span_of(grid, "float64", bundle, 1, 0)
    Span(start=64, stop=96, shape=(2, 2), extent=(2, 2), dtype='float64')
    >>> span_of(grid, "float64", bundle, 3, 0)
    Span(start=192, stop=208, shape=(2, 1), extent=(2, 1), dtype='int64')
    """
    nbytes = _nbytes(grid.tile, dtype)
    if bundle is None:
        return Span(0, nbytes, grid.tile, grid.extent(i, j), dtype)
    rows = grid.counts[0]
    if i < rows:
        start = i * _aligned(nbytes)
        return Span(start, start + nbytes, grid.tile, grid.extent(i, j), dtype)
    start = rows * _aligned(nbytes)
    for part in bundle.parts[: i - rows]:
        start += _aligned(_nbytes(part.shape, part.dtype))
    part = bundle.parts[i - rows]
    return Span(start, start + _nbytes(part.shape, part.dtype), part.shape, part.shape, part.dtype)


def object_bytes(grid: Grid, dtype: str, bundle: Bundle | None) -> int:
    """Return the bytes of one object of an array: of a tile, or of all that is in a bundle.

    Examples
    --------
    >>> object_bytes(Grid((5, 2), (2, 2)), "float64", Bundle((Part((2, 1), "int64"),)))
    208
    """
    last = 0 if bundle is None else grid.counts[0] + len(bundle.parts) - 1
    return span_of(grid, dtype, bundle, last, 0).stop


def _nbytes(shape: Pair, dtype: str) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize


def _aligned(nbytes: int) -> int:
    return -(-nbytes // _ALIGNMENT) * _ALIGNMENT


@dataclass(frozen=True, slots=True)
class TileRef:
    """One tile of an array; with `partial` = p > 0 its sum after the first p terms, an intermediate.

    What a task of a bundle makes is named by its first tile, `(0, j)`; parts come behind the last: see
    `Bundle`.
    """

    array: str
    i: int
    j: int
    partial: int = 0


@dataclass(frozen=True, slots=True)
class _Array:
    """Source of one array name of a plan during a run.

    Parameters
    ----------
    grid : Grid
    dtype : str
    ndim : int
        0, 1 or 2; a vector is held as one tile column.
    identity : str
        Names the content: two arrays with the same identity hold the same numbers.
    """

    grid: Grid
    dtype: str
    ndim: int = 2
    identity: str = ""

    @property
    def name(self) -> str:
        """Name of its tiles in caches: the content, the run that makes it, and what nobody has looked at."""
        return self.identity

    def _name(self, run: str, claim: str) -> str:
        # what was read when nothing was said of it was not looked at
        return f"{run} {self.identity} {claim}" if run or claim else self.identity

    def is_absent(self, ref: TileRef) -> bool:
        """Tell whether a tile is zero and therefore not there."""
        return False

    def place(self, ref: TileRef) -> str:
        """Say where a tile is, for messages."""
        return f"tile ({ref.i}, {ref.j})"

    def tiles_with(self, ref: TileRef) -> Sequence[TileRef]:
        """Return the tiles and parts that are in the object of a tile."""
        return (ref,)


@dataclass(frozen=True, slots=True)
class StoredArray(_Array):
    """Tiles at an address, with `separator` in their keys.

    `owner` is who writes them, where another result may have been written too. `run` is the run that makes
    them, if one does. What a function reads beside its arguments (a data file) may change between two runs,
    and no name tells: so no run takes tiles that another left at hand. `absent` says which tiles are zero and
    not stored, as `absent_in_text` does. `direct` tiles are written past the page cache of the machine.
    """

    url: str = ""
    owner: str = ""
    separator: Separator = "/"
    run: str = ""
    bundle: Bundle | None = None
    absent: str = ""
    direct: bool = False

    @property
    def name(self) -> str:
        return self._name(self.run, "")

    def is_absent(self, ref: TileRef) -> bool:
        return _is_absent(self.absent, self.grid, ref)

    @property
    def object_bytes(self) -> int:
        """Number of bytes of one object."""
        return object_bytes(self.grid, self.dtype, self.bundle)

    def tile_bytes(self, ref: TileRef) -> int:
        """Return the bytes that reading a tile takes."""
        if self.bundle is None:
            return _nbytes(self.grid.tile, self.dtype)
        return self.span(ref).nbytes

    def span(self, ref: TileRef) -> Span:
        """Return where in its object a tile lies."""
        return span_of(self.grid, self.dtype, self.bundle, ref.i, ref.j)

    def tiles_with(self, ref: TileRef) -> Sequence[TileRef]:
        if self.bundle is None:
            return (ref,)
        return [TileRef(ref.array, i, ref.j) for i in range(self.grid.counts[0] + len(self.bundle.parts))]

    def key(self, ref: TileRef) -> str:
        """Return the key of the object that a tile is in, below `url`."""
        row = ref.i if self.bundle is None else 0
        key = tile_key(row, ref.j, self.ndim, ref.partial, self.separator)
        # intermediates are nobody else's business, and a reader of the matrix need not see them
        return f"{owned_folder(self.owner)}/{key}" if ref.partial and self.owner else key

    def place(self, ref: TileRef) -> str:
        return f"{self.url}: {self.key(ref)}"


@dataclass(frozen=True, slots=True)
class FunctionArray(_Array):
    """A user's function of global indices; its pickle is at `url` and has the SHA-256 `digest`.

    `claim` is the structure that somebody says it has, if nobody has looked yet: whoever reads its tiles
    does. `run` is as of a `StoredArray`.
    """

    url: str = ""
    digest: str = ""
    run: str = ""
    claim: str = ""

    @property
    def name(self) -> str:
        return self._name(self.run, self.claim)


@dataclass(frozen=True, slots=True)
class FormulaArray(_Array):
    """A formula (`eye`, `zeros`, `random`), as `sources.fill` takes it."""

    formula: str = ""


@dataclass(frozen=True, slots=True)
class HostArray(_Array):
    """An array in the memory of this process; `claim` is as of a `FunctionArray`, `absent` as stored."""

    claim: str = ""
    absent: str = ""

    @property
    def name(self) -> str:
        return self._name("", self.claim)

    def is_absent(self, ref: TileRef) -> bool:
        return _is_absent(self.absent, self.grid, ref)


def _is_absent(absent: str, grid: Grid, ref: TileRef) -> bool:
    return bool(absent) and not ref.partial and bool(absent_tiles(absent, grid.counts)[ref.i, ref.j])


ArraySpec: TypeAlias = StoredArray | FunctionArray | FormulaArray | HostArray


def stored(arrays: Mapping[str, ArraySpec], name: str) -> StoredArray:
    """Return where the tiles of an array are that tasks make."""
    spec = arrays[name]
    assert isinstance(spec, StoredArray), f"{name}: tasks make stored tiles, not a {type(spec).__name__}"
    return spec
