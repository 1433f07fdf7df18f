"""Values of reads: a tile with all that is applied on the way (transpose, scale, mask, window)."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

import wrenla_kernels as kernels
from wrenla_handler.tiles.arrays import TileRef
from wrenla_handler.tiles.buffers import empty_tile
from wrenla_handler.tiles.cache import Tile
from wrenla_handler.tiles.claims import check_tiles
from wrenla_handler.tiles.task import Apply, Op, Read

__all__ = ["Source", "Values", "simplest"]


class Take(Protocol):
    """Hands out the tiles of a task, in the order of their reads."""

    def __call__(self, ref: TileRef, *, again: bool = True) -> Tile: ...


class Source(NamedTuple):
    """A tile, and whether it is ours to change: what others may read, too, is not."""

    array: Tile
    own: bool


class Values:
    """The values of the reads of one task, whose sums are made in `dtype`."""

    def __init__(self, take: Take, dtype: np.dtype[Any]) -> None:
        self._take, self._dtype = take, dtype

    def of(self, read: Read, *, again: bool = True) -> Tile:
        """Return what a read stands for; the tile itself where nothing is done to it."""
        source = self.source(read, again=again)
        known = not read.dtype or source.array.dtype == read.dtype
        if known and read.plain and read.op == "N" and read.scale == 1:
            return source.array
        return self.modified(read, source, np.dtype(read.dtype or self._dtype)).array

    def source(self, read: Read, *, again: bool = True) -> Source:
        """Return what a read begins with: a stored tile, or what is made of others."""
        if isinstance(read.tile, Apply):
            return self._applied(read.tile, again)
        return Source(self._take(read.tile, again=again), False)

    def modified(self, read: Read, source: Source, dtype: np.dtype[Any]) -> Source:
        """Return diag(rows) · (scale · op(mask(tile)) + shift · I) · diag(cols), windowed, in `dtype`."""
        made = np.dtype(read.dtype) if read.dtype else dtype
        value = _turned(source, simplest(read.op, source.array.dtype), made)
        if read.mask:
            flipped = read.op in "TC"
            side: kernels.Triangle = "L" if (read.mask != "upper") != flipped else "U"
            kernels.keep_triangle(value, side, unit=read.mask == "unit")
        if read.scale == -1:
            kernels.apply_ufunc("negative", (value,), value)
        elif read.scale != 1:
            kernels.scale(read.scale, value)
        if read.shift != 0:
            kernels.add_diagonal(read.shift, value)
        if read.rows is not None:
            kernels.scale_rows(self._weights(read.rows, made), value)
        if read.cols is not None:
            kernels.scale_columns(self._weights(read.cols, made), value)
        if read.window is not None:
            r0, r1, rs, c0, c1, cs = read.window
            value = value[_slice(r0, r1, rs), _slice(c0, c1, cs)]
        return Source(_converted(value, dtype), True)

    def _applied(self, apply: Apply, again: bool) -> Source:
        dtype = np.dtype(apply.dtype)
        values: list[Any] = []
        spare: Tile | None = None
        for arg in apply.args:
            if not isinstance(arg, Read):
                values.append(arg)
                continue
            source = self.source(arg, again=again)
            if not (arg.plain and arg.op == "N" and arg.scale == 1 and source.array.dtype == dtype):
                source = self.modified(arg, source, dtype)
            values.append(source.array)
            if source.own and (spare is None or source.array.size > spare.size):
                spare = source.array
        if apply.claim:
            check_tiles(apply.claim, values)
            return Source(values[0], values[0] is spare)
        if not apply.function:
            return Source(values[0], spare is not None)
        shape = np.broadcast_shapes(*(np.shape(value) for value in values))
        result = kernels.ufunc_dtypes(apply.function, apply.dtype)[1]
        if spare is None or spare.shape != shape or spare.dtype != result:
            spare = empty_tile(shape[0], shape[1], result)
        kernels.apply_ufunc(apply.function, values, spare)
        return Source(spare, True)

    def _weights(self, ref: TileRef, dtype: np.dtype[Any]) -> Tile:
        return np.asfortranarray(self._take(ref), dtype=dtype)


def simplest(op: Op, dtype: np.dtype[Any]) -> Op:
    """Conjugation of real numbers is nothing."""
    if dtype.kind == "c":
        return op
    return "T" if op in "TC" else "N"


def _turned(source: Source, op: Op, dtype: np.dtype[Any]) -> Tile:
    """Return op(tile) as an array that may be changed."""
    tile, own = source
    if op == "N" and own and tile.dtype == dtype:
        return tile
    rows, cols = tile.shape if op in "NR" else tile.shape[::-1]
    value = empty_tile(rows, cols, dtype)
    if tile.dtype == dtype and dtype.kind in "fc":
        kernels.apply_op(tile, op, value)
    else:  # numbers of another precision are converted on the way; the kernels know no integers
        value[...] = tile if op in "NR" else tile.T
        if op in "CR":
            np.conjugate(value, out=value)
    return value


def _converted(value: Tile, dtype: np.dtype[Any]) -> Tile:
    if value.dtype == dtype:
        return value
    converted = empty_tile(value.shape[0], value.shape[1], dtype)
    converted[...] = value
    return converted


def _slice(start: int, stop: int, step: int) -> slice:
    # a negative step that runs through index 0 stops at −1, which a slice would take for the last one
    return slice(start, stop if stop >= 0 else None, step)
