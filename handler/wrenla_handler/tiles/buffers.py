"""Memory for tiles: taken from the system in whole pages, and used again."""

from __future__ import annotations

import mmap
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

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
        pages = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, dtype).reshape((rows, cols), order="F")


class Buffers:
    """Tiles that tasks work in, one after the other.

    Fresh memory costs a task more than copying its result: the system clears each page, and a virtual machine
    may have to ask its host for it first. What is held, in use or free, is never more than was in use at the
    same time: for a buffer of a new size, free ones of other sizes go.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[npt.NDArray[np.uint8]]] = {}  # by their bytes; no list is empty
        self._back: deque[Tile] = deque()
        self._times = 0
        self._lock = threading.Lock()

    @property
    def free(self) -> int:
        """Bytes of those that nobody uses."""
        self._take_back()
        with self._lock:
            return sum(nbytes * len(free) for nbytes, free in self._free.items())

    def take(self, rows: int, cols: int, dtype: npt.DTypeLike) -> Tile:
        """Return a Fortran-order tile with undefined content."""
        dtype = np.dtype(dtype)
        nbytes = rows * cols * dtype.itemsize
        self._take_back()
        with self._lock:
            if nbytes in self._free:
                used: npt.NDArray[Any] = self._pop(nbytes)
                return used.view(dtype).reshape((rows, cols), order="F")
            if nbytes >= _MAP_ABOVE:
                self._make_room(nbytes)
        return empty_tile(rows, cols, dtype)

    def give(self, tile: Tile) -> None:
        """Take back a tile from `take` that nobody looks at any more."""
        if tile.nbytes >= _MAP_ABOVE:
            with self._lock:
                self._free.setdefault(tile.nbytes, []).append(tile.reshape(-1, order="F").view(np.uint8))

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

    def _pop(self, nbytes: int) -> npt.NDArray[np.uint8]:
        free = self._free[nbytes]
        buffer = free.pop()
        if not free:
            del self._free[nbytes]
        return buffer

    def _make_room(self, nbytes: int) -> None:
        """Give at least so much back to the system, if there is so much: the size first that came first."""
        while nbytes > 0 and self._free:
            nbytes -= self._pop(next(iter(self._free))).nbytes

    def clear(self) -> None:
        """Give the memory back to the system."""
        self._times += 1
        self._back.clear()
        with self._lock:
            self._free.clear()
