"""Memory that a worker needs for the value of a read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from wrenla_handler.tiles.arrays import Bundle, Span, TileRef, object_bytes, span_of
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.task import Apply, Read
from wrenla_kernels import ufunc_dtypes

__all__ = ["Held", "Tiles", "held"]

_FUNCTION_BYTES = 4 << 20


@dataclass(frozen=True)
class Tiles:
    """Array as the plan knows it: its grid, and whether its tiles come from a store.

    Attributes
    ----------
    grid : Grid
    dtype : str
    stored : bool
        Whether workers ask a store for its tiles: of an array of this process, workers elsewhere do.
    called : bool
        Whether a function of the user makes its tiles.
    bundle : Bundle or None
    rate : float
        Bytes a second that the function makes; 0 if nobody has timed it.
    """

    grid: Grid
    dtype: str
    stored: bool
    called: bool = False
    bundle: Bundle | None = None
    rate: float = 0.0

    @cached_property
    def itemsize(self) -> int:
        return np.dtype(self.dtype).itemsize

    @cached_property
    def nbytes(self) -> int:
        """Number of bytes of one object."""
        return object_bytes(self.grid, self.dtype, self.bundle)

    def span(self, ref: TileRef) -> Span:
        """Return where in its object a tile lies."""
        return span_of(self.grid, self.dtype, self.bundle, ref.i, ref.j)

    def stored_bytes(self, ref: TileRef) -> int:
        """Return the bytes that are read from a store for a tile."""
        if not self.stored:
            return 0
        return self.nbytes if self.bundle is None else self.span(ref).nbytes


class Held(NamedTuple):
    """Bytes while a value is made, and while it is used; its shape; whether it may be changed."""

    peak: int
    kept: int
    rows: int
    cols: int
    itemsize: int
    own: bool = False

    @property
    def entries(self) -> int:
        return self.rows * self.cols


def held(read: Read, arrays: Mapping[str, Tiles], dtype: str, *, factor: bool = False) -> Held:
    """Return what a read takes; BLAS takes a `factor` transposed and negative, but in one dtype only."""
    itemsize = np.dtype(dtype).itemsize
    source = _applied(read.tile, arrays) if isinstance(read.tile, Apply) else _stored(arrays, read.tile)
    made = np.dtype(read.dtype).itemsize if read.dtype else itemsize
    same = source.itemsize == made or not read.dtype
    bare = source.itemsize == itemsize if factor else read.op == "N" and read.scale == 1 and same
    if read.plain and bare:
        return source
    fresh = 0 if source.own and read.op == "N" and source.itemsize == made else source.entries * made
    fresh += 0 if made == itemsize else source.entries * itemsize
    rows, cols = (source.rows, source.cols) if read.op in "NR" else (source.cols, source.rows)
    kept = source.kept + fresh
    return Held(max(source.peak, kept), kept, rows, cols, itemsize, True)


def _stored(arrays: Mapping[str, Tiles], ref: TileRef) -> Held:
    array = arrays[ref.array]
    span = array.span(ref)
    nbytes = span.nbytes
    # a user's function is asked for small pieces and makes intermediates of their size
    nbytes += min(2 * nbytes, _FUNCTION_BYTES) if array.called else 0
    return Held(nbytes, nbytes, *span.shape, np.dtype(span.dtype).itemsize)


def _applied(apply: Apply, arrays: Mapping[str, Tiles]) -> Held:
    peak = kept = 0
    args = []
    for read, _ in apply.reads():
        arg = held(read, arrays, apply.dtype)
        peak, kept = max(peak, kept + arg.peak), kept + arg.kept
        args.append(arg)
    if not apply.function:
        return args[0]._replace(itemsize=np.dtype(apply.dtype).itemsize)
    if apply.claim:
        return args[0]._replace(peak=peak, itemsize=np.dtype(apply.dtype).itemsize, own=False)
    rows, cols = max(arg.rows for arg in args), max(arg.cols for arg in args)
    itemsize = np.dtype(ufunc_dtypes(apply.function, apply.dtype)[1]).itemsize
    result = rows * cols * itemsize
    again = any(arg.own and (arg.rows, arg.cols, arg.itemsize) == (rows, cols, itemsize) for arg in args)
    return Held(max(peak, kept + (0 if again else result)), result, rows, cols, itemsize, True)
