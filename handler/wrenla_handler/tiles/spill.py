"""Spilled tiles: files of this machine for tiles that memory has no room for."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from contextlib import suppress

import numpy as np

from wrenla_handler.stores.mmap import guard
from wrenla_handler.tiles.cache import CacheKey, Tile

__all__ = ["SpillFiles"]

logger = logging.getLogger("wrenla.worker")

_SPARE = 64 << 20
"""Bytes of the disk that are left to others."""


class SpillFiles:
    """Least recently used tiles in a folder of their own, at most `limit` bytes of them.

    Parameters
    ----------
    folder : str
        Where to make it, e.g. ``/tmp``.
    limit : int, optional
        Bytes; by default what is free now, but for a little.
    """

    def __init__(self, folder: str, limit: int | None = None) -> None:
        disk = os.statvfs(folder)
        self.limit = max(0, disk.f_bavail * disk.f_frsize - _SPARE) if limit is None else limit
        self.used = 0
        self._folder = tempfile.mkdtemp(prefix="wrenla-tiles-", dir=folder)
        self._kept: OrderedDict[CacheKey, tuple[str, int]] = OrderedDict()  # path and bytes
        self._number = itertools.count()
        self._lock = threading.Lock()

    def put(self, key: CacheKey, tile: Tile) -> None:
        """Keep a tile, if there is room: what cannot be written is read from elsewhere the next time."""
        if isinstance(tile, np.memmap) or not 0 < tile.nbytes <= self.limit:
            return  # it comes from here
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return
            while self.used + tile.nbytes > self.limit:
                self._remove(next(iter(self._kept)))
            path = os.path.join(self._folder, str(next(self._number)))
            # The lock is held until the file is written: `get` must not map a part of it.
            self._kept[key] = path, tile.nbytes
            self.used += tile.nbytes
            try:
                with open(path, "wb") as file:
                    file.write(np.asfortranarray(tile).reshape(-1, order="F").view(np.uint8).data)
            except OSError as error:  # somebody else has filled the disk
                logger.warning("no more tiles are kept in files: %s", error)
                self.limit = 0
                self._clear()

    def get(self, key: CacheKey, rows: int, cols: int, dtype: str) -> Tile | None:
        """Return a tile as a read-only map of its file, None if it is not here."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            path, _ = self._kept[key]
            try:
                tile = np.memmap(path, np.dtype(dtype), "r", shape=(rows, cols), order="F")
                guard(tile, path)
                return tile
            except (OSError, ValueError):  # a function has emptied the folder
                self._remove(key)
                return None

    def drop(self, key: CacheKey) -> None:
        """Forget a tile that nobody will need again."""
        with self._lock:
            if key in self._kept:
                self._remove(key)

    def drop_array(self, identity: str) -> None:
        """Forget all tiles of an array."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == identity]:
                self._remove(key)

    def clear(self) -> None:
        """Forget all tiles."""
        with self._lock:
            self._clear()

    def close(self) -> None:
        """Remove everything."""
        with self._lock:
            self._clear()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _clear(self) -> None:
        for key in list(self._kept):
            self._remove(key)

    def _remove(self, key: CacheKey) -> None:
        path, nbytes = self._kept.pop(key)
        self.used -= nbytes
        with suppress(OSError):
            # Tiles that are mapped from it stay: the system keeps the file until the last map goes.
            os.unlink(path)
