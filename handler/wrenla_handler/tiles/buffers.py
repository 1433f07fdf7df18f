"""Memory for tiles: taken from the system in whole pages, and used again."""

from __future__ import annotations

import mmap
import os
import resource
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wrenla_handler.out_of_memory import memory_for
from wrenla_handler.tiles.cache import Tile

__all__ = ["Buffers", "empty_tile"]

_HUGE = 2 << 20
"""Bytes of a huge page on most machines."""

_NORESERVE = 0x4000
"""Linux's MAP_NORESERVE, which older versions of Python do not name."""

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


def _addresses(least: int) -> mmap.mmap | None:
    """Return a map of more than this machine has, in which only what is used takes memory.

    There is none where addresses are counted as memory: within a limit of the process, or of the system.
    """
    if not sys.platform.startswith("linux"):
        return None
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        if resource.getrlimit(limit)[0] != resource.RLIM_INFINITY:
            return None
    with suppress(OSError, ValueError):
        if Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "2":
            return None
        nbytes = max(least, os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE)
        return mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
    return None


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
    may have to ask its host for it first. So a tile is taken from the smallest free piece that holds it, and
    what is left of that stays a piece, until its neighbours are free, too. What is held, in use or free, is
    never more than was in use at the same time: where no piece is large enough, others go.

    Tiles lie side by side in one stretch of addresses, so that small ones make a large one again.
    """

    def __init__(self) -> None:
        self._stretch: mmap.mmap | None = None
        self._end = 0  # of what has been used of it
        self._free: dict[int, _Piece] = {}  # by address
        self._ends: dict[int, int] = {}  # from the end of a piece to its address
        self._back: deque[Tile] = deque()
        self._times = 0
        self._lock = threading.Lock()

    @property
    def free(self) -> int:
        """Bytes of those that nobody uses."""
        self._take_back()
        with self._lock:
            return sum(piece.nbytes for piece in self._free.values())

    def take(self, rows: int, cols: int, dtype: npt.DTypeLike) -> Tile:
        """Return a Fortran-order tile with undefined content."""
        dtype = np.dtype(dtype)
        nbytes = rows * cols * dtype.itemsize
        self._take_back()
        if nbytes >= _MAP_ABOVE:
            need = _whole_pages(nbytes)
            with self._lock:
                fits = [found for found in self._free.items() if found[1].nbytes >= need]
                if fits:
                    address, (pages, start, size) = min(fits, key=lambda found: found[1].nbytes)
                    self._remove(address)
                    if size > need:
                        self._add(address + need, _Piece(pages, start + need, size - need))
                    return _tile(pages, start, rows, cols, dtype)
                piece = self._longer(need)
                if piece is not None:
                    return _tile(*piece, rows, cols, dtype)
        return empty_tile(rows, cols, dtype)

    def give(self, tile: Tile) -> None:
        """Take back a tile from `take` that nobody looks at any more."""
        if tile.nbytes < _MAP_ABOVE:
            return
        pages: Any = tile
        while not isinstance(pages, mmap.mmap):
            pages = pages.base if isinstance(pages, np.ndarray) else pages.obj
        first = np.frombuffer(pages, np.uint8, 1).ctypes.data
        address = tile.ctypes.data
        with self._lock:
            self._add(address, _Piece(pages, address - first, _whole_pages(tile.nbytes)))

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

    def _add(self, address: int, piece: _Piece) -> None:
        """Add a piece, as one with its neighbours. The caller holds the lock."""
        pages, start, nbytes = piece
        before = self._free.get(self._ends.get(address, -1))
        if before is not None and before.pages is pages:
            address, start, nbytes = address - before.nbytes, before.start, before.nbytes + nbytes
            self._remove(address)
        after = self._free.get(address + nbytes)
        if after is not None and after.pages is pages:
            self._remove(address + nbytes)
            nbytes += after.nbytes
        self._free[address] = _Piece(pages, start, nbytes)
        self._ends[address + nbytes] = address

    def _remove(self, address: int) -> _Piece:
        piece = self._free.pop(address)
        del self._ends[address + piece.nbytes]
        return piece

    def _longer(self, need: int) -> tuple[mmap.mmap, int] | None:
        """Return a map, and where in it there is new memory, or None if it is better taken alone."""
        if self._stretch is None or self._end + need > len(self._stretch):
            self._stretch, self._end = _addresses(need), 0
        if self._stretch is None:
            self._make_room(need)
            return None
        first = np.frombuffer(self._stretch, np.uint8, 1).ctypes.data
        last = self._free.get(self._ends.get(first + self._end, -1))
        have = 0
        if last is not None and last.pages is self._stretch:  # the new memory follows what is free
            have = last.nbytes
            self._remove(first + last.start)
        start = self._end - have
        self._end = start + need
        self._make_room(need - have)
        # huge pages but for the last one: what is beyond the end of it nobody has asked for yet
        huge = max(first, (first + start) // _HUGE * _HUGE) - first
        if (
            hasattr(mmap, "MADV_HUGEPAGE")
            and (nbytes := (first + self._end) // _HUGE * _HUGE - first - huge) > 0
        ):
            self._stretch.madvise(mmap.MADV_HUGEPAGE, huge, nbytes)
        return self._stretch, start

    def _make_room(self, nbytes: int) -> None:
        """Give at least so much back to the system, if there is so much: what came first."""
        while nbytes > 0 and self._free:
            piece = self._remove(next(iter(self._free)))
            piece.give_back()
            nbytes -= piece.nbytes

    def clear(self) -> None:
        """Give the memory back to the system."""
        self._times += 1
        self._back.clear()
        with self._lock:
            for piece in self._free.values():
                piece.give_back()
            self._free.clear()
            self._ends.clear()
            self._stretch = None  # it ends with the last tile in it
