"""Memory for tiles: taken from the system in whole pages, and used again."""

from __future__ import annotations

import mmap
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wrenla_handler.out_of_memory import memory_for
from wrenla_handler.tiles.cache import Tile

__all__ = ["Buffers", "empty_tile"]

_MAP_ABOVE = 1 << 18
"""Bytes from which a tile is an anonymous map. Smaller ones are malloc's, which keeps up to twice as much."""


def empty_tile(rows: int, cols: int, dtype: npt.DTypeLike) -> Tile:
    """Return a zeroed Fortran-order tile.

    Large ones are anonymous maps in huge pages: malloc would keep freed ones in its arenas, and a budget for
    memory would not be kept.

    Raises
    ------
    MemoryError
        The system has no more; the message says what can be done.
    """
    dtype = np.dtype(dtype)
    nbytes = rows * cols * dtype.itemsize
    with memory_for(lambda: f"a tile of {rows} × {cols} {dtype}, {nbytes / (1 << 20):.3g} MiB"):
        if nbytes < _MAP_ABOVE:
            return np.zeros((rows, cols), dtype, order="F")
        # private, not Python's default of shared: shared memory is a file to Linux, in small pages
        pages = mmap.mmap(-1, _whole_pages(nbytes), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    return _tile(pages, 0, rows, cols, dtype)


def _tile(pages: mmap.mmap, start: int, rows: int, cols: int, dtype: np.dtype[Any]) -> Tile:
    return np.frombuffer(pages, dtype, rows * cols, start).reshape((rows, cols), order="F")


def _whole_pages(nbytes: int) -> int:
    return -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE


class _Piece(NamedTuple):
    """Whole pages of a map that nobody uses."""

    pages: mmap.mmap
    start: int
    nbytes: int

    def give_back(self) -> None:
        """Give the memory back to the system; that of a whole map goes with it."""
        if self.nbytes < len(self.pages):
            self.pages.madvise(mmap.MADV_DONTNEED, self.start, self.nbytes)


class Buffers:
    """Tiles that tasks work in, one after the other.

    Fresh memory costs a task more than copying its result: the system clears each page, and a virtual machine
    may have to ask its host for it first. So a tile is taken from the smallest free piece that holds it; what
    is left of that goes back, as tiles of LU's panels are each smaller than the one before. What is held, in
    use or free, is never more than was in use at the same time: where no piece is large enough, others go.
    """

    def __init__(self) -> None:
        self._free: list[_Piece] = []
        self._back: deque[Tile] = deque()
        self._times = 0
        self._lock = threading.Lock()

    @property
    def free(self) -> int:
        """Bytes of those that nobody uses."""
        self._take_back()
        with self._lock:
            return sum(piece.nbytes for piece in self._free)

    def take(self, rows: int, cols: int, dtype: npt.DTypeLike) -> Tile:
        """Return a Fortran-order tile with undefined content."""
        dtype = np.dtype(dtype)
        nbytes = rows * cols * dtype.itemsize
        self._take_back()
        if nbytes >= _MAP_ABOVE:
            need = _whole_pages(nbytes)
            with self._lock:
                fits = [piece for piece in self._free if piece.nbytes >= need]
                if fits:
                    found = min(fits, key=lambda piece: piece.nbytes)
                    self._free.remove(found)
                    pages, start, size = found
                    if size > need:
                        _Piece(pages, start + need, size - need).give_back()
                    return _tile(pages, start, rows, cols, dtype)
                self._make_room(need)
        return empty_tile(rows, cols, dtype)

    def give(self, tile: Tile) -> None:
        """Take back a tile from `take` that nobody looks at any more."""
        if tile.nbytes < _MAP_ABOVE:
            return
        pages: Any = tile
        while not isinstance(pages, mmap.mmap):
            pages = pages.base if isinstance(pages, np.ndarray) else pages.obj
        start = tile.ctypes.data - np.frombuffer(pages, np.uint8, 1).ctypes.data
        with self._lock:
            self._free.append(_Piece(pages, start, _whole_pages(tile.nbytes)))

    def lend(self, tile: Tile) -> Callable[[], None]:
        """Return what takes a tile back from somebody else, unless the memory has been given back meanwhile.

        It may be called in any thread and between any two lines.
        """
        times = self._times

        def come_back() -> None:
            if times == self._times:
                # Not `give`: the garbage collector may come here while this very thread holds the lock.
                self._back.append(tile)

        return come_back

    def _take_back(self) -> None:
        with suppress(IndexError):
            while True:
                self.give(self._back.popleft())

    def _make_room(self, nbytes: int) -> None:
        """Give at least so much back to the system, if there is so much: what came first."""
        while nbytes > 0 and self._free:
            piece = self._free.pop(0)
            piece.give_back()
            nbytes -= piece.nbytes

    def clear(self) -> None:
        """Give the memory back to the system."""
        self._times += 1
        self._back.clear()
        with self._lock:
            for piece in self._free:
                piece.give_back()
            self._free.clear()
