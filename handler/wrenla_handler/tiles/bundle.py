"""Bundles: objects that hold a whole column of tiles, and named parts behind it.

A task commits one object, and some kernels make several results that need each other: the factors of a
panel, and its pivots. They are there together, or not at all. Where each lies follows from grid and dtype
alone, so it is known before there is data, and is read by its range of bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wrenla_handler.tiles.grid import Grid, Pair

__all__ = ["Bundle", "Part", "Span", "object_bytes", "span_of"]

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
