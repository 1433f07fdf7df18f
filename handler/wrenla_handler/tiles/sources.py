"""Sources of tiles: a store, a user's function, a formula, or memory."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import cloudpickle
import numpy as np

from wrenla_handler.calls.fork_guard import ParentOnly
from wrenla_handler.errors import (
    IntegrityError,
    MetadataError,
    MissingTileError,
    NotAMatrixError,
    StaleMatrixError,
    StoreError,
    TruncatedTileError,
)
from wrenla_handler.lru import LRU
from wrenla_handler.plain_arrays import as_block, loaded, refuse_lossy
from wrenla_handler.serialize.functions import Functions
from wrenla_handler.serialize.lines import install_lines
from wrenla_handler.serialize.modules import Finder, split_function
from wrenla_handler.stores.base import Store
from wrenla_handler.stores.mmap import guard, release
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.arrays import (
    ArraySpec,
    FormulaArray,
    FunctionArray,
    HostArray,
    Span,
    StoredArray,
    TileRef,
)
from wrenla_handler.tiles.buffers import empty_tile
from wrenla_handler.tiles.cache import Tile
from wrenla_handler.tiles.claims import SAMPLE, check_diagonal, check_pair, is_sampled
from wrenla_handler.tiles.grid import Grid, Pair
from wrenla_handler.tiles.layout import TileLayout

__all__ = ["Sources", "as_bytes", "check_generation", "fill", "function_key", "tile_from_bytes"]

_PIECE = 1 << 19
"""Bytes that a user's function is asked for at a time: so few that its intermediates stay in the cache."""

_STORES = 64
"""How many stores are kept open: one for each array that the tasks of the moment read or write."""


def check_generation(store: Store, spec: StoredArray) -> None:
    """Raise StaleMatrixError if what is stored is not the matrix that was opened any more.

    The identity of a saved matrix begins with its generation; that of a run's own tiles has no such part.
    """
    generation, space, _ = spec.identity.partition(" ")
    if not space:
        return
    try:
        now = TileLayout.read(store).generation
    except (NotAMatrixError, MetadataError):
        return  # a tile is missing, and more than that
    if now != generation:
        raise StaleMatrixError(f"{store.url}: the matrix was overwritten since it was opened: open it again")


def as_bytes(tile: Tile) -> memoryview:
    """Return the memory of a contiguous Fortran-order tile as it is stored."""
    return tile.reshape(-1, order="F").view(np.uint8).data


def tile_from_bytes(data: memoryview, span: Span) -> Tile:
    """Return a tile as a view of its stored bytes, without the padding."""
    rows, cols = span.extent
    whole: Tile = np.frombuffer(data, span.dtype).reshape(span.shape, order="F")
    return whole[:rows, :cols]


def function_key(digest: str) -> str:
    """Key, below a run's address, of a user's function."""
    return f"functions/{digest}"


class Sources:
    """Reads tiles for one worker; keeps the latest stores and unpickled functions.

    Parameters
    ----------
    hosts : mapping of str to ndarray
        Arrays in the memory of this process, by identity.
    finder : Finder, optional
        Takes the modules that come with functions; without one they are imported as any others.
    """

    def __init__(self, hosts: Mapping[str, Tile] | None = None, finder: Finder | None = None) -> None:
        self.hosts: dict[str, Tile] = dict(hosts or {})
        self._held: Counter[str] = Counter()
        self._finder = finder
        self._purges = 0
        self._stores = LRU[Store](_STORES)
        self._functions = Functions()
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, hosts: Mapping[str, Tile]) -> Iterator[None]:
        """Hold arrays for a block. Equal ones have one name, so several blocks may need the same."""
        with self._lock:
            for identity, array in hosts.items():
                self.hosts[identity] = array
                self._held[identity] += 1
        try:
            yield
        finally:
            with self._lock:
                for identity in hosts:
                    self._held[identity] -= 1
                    if not self._held[identity]:
                        del self._held[identity]
                        self.hosts.pop(identity, None)

    def store(self, url: str) -> Store:
        """Return the store at an address, the same one as long as it is kept."""
        with self._lock:
            store = self._stores.get(url)
            if store is not None:
                return store
            # With the lock held: all threads get one store, and with it one set of connections.
            store = open_store(url)
            gone = self._stores.put(url, store)
        for unused in gone:  # whoever has one in hand may go on: see Store
            unused.close()
        return store

    def function(self, url: str, digest: str) -> Callable[..., Any]:
        """Load a user's function. What does not have the hash that the driver sent is never unpickled.

        It is kept for its run only: what it refers to by name may have been imported anew since.
        """
        name = f"{digest} {url}"
        with self._lock:
            # Before the look: functions of modules that were replaced must not be found any more.
            if self._finder is not None and self._purges != self._finder.purges:
                self._functions.clear()
                self._purges = self._finder.purges
            known = self._functions.get(name)
        if known is not None:
            return known
        key = function_key(digest)
        store = self.store(url)
        try:
            blob = bytes(store.get(key))
        except KeyError:
            raise StoreError(f"{store.url}: {key}: the run's function is not there") from None
        if hashlib.sha256(blob).hexdigest() != digest:
            raise IntegrityError(f"{store.url}: {key}: not the function that the driver wrote; not loaded")
        sources, pickled = split_function(blob)
        sources = install_lines(sources)
        if self._finder is not None and sources:
            self._finder.install(sources)
        # Without the lock: to load a function imports modules, and all other tasks would wait for that.
        function = _Watched(cloudpickle.loads(pickled))
        with self._lock:
            known = self._functions.get(name)
            if known is None:  # nobody else has been faster
                self._functions.put(name, function, len(blob))
            return known or function

    def read(self, spec: ArraySpec, ref: TileRef) -> Tile:
        """Return a tile in Fortran order, possibly read-only."""
        if spec.is_absent(ref):
            return empty_tile(*spec.grid.extent(ref.i, ref.j), spec.dtype)
        match spec:
            case StoredArray():
                return self._stored(spec, ref)
            case FormulaArray():
                return fill(spec.formula, spec.grid, ref.i, ref.j, spec.dtype)
            case FunctionArray():
                tile = self._called(spec, ref)
            case HostArray():
                tile = self._sliced(spec, ref)
        if spec.claim:
            self._check(spec, ref, tile)
        return tile

    def _check(self, spec: FunctionArray | HostArray, ref: TileRef, tile: Tile) -> None:
        """Check the claimed structure, as far as this tile shows it: see `claims`."""
        (r, c), counts = spec.grid.origin(ref.i, ref.j), spec.grid.counts
        if ref.i == ref.j:
            check_diagonal(tile, spec.claim, r)
        elif is_sampled(ref.i, ref.j, counts[0]):
            m, n = (min(SAMPLE, length) for length in tile.shape)
            # not always the same corner, but the same one whenever this tile is read
            s, t = (
                (37 * ref.i + ref.j) % (tile.shape[0] - m + 1),
                (ref.i + 37 * ref.j) % (tile.shape[1] - n + 1),
            )
            diagonals = (
                self._piece(spec, (r + s, r + s), (m, m)).diagonal(),
                self._piece(spec, (c + t, c + t), (n, n)).diagonal(),
            )
            mate = self._piece(spec, (c + t, r + s), (n, m))
            check_pair(tile[s : s + m, t : t + n], mate, diagonals, spec.claim, (r + s, c + t))

    def _piece(self, spec: FunctionArray | HostArray, origin: Pair, extent: Pair) -> Tile:
        """Return some entries of a matrix, wherever its tiles begin."""
        if isinstance(spec, FunctionArray):
            block = _block(self.function(spec.url, spec.digest), spec, origin, extent)
        else:
            array = self.hosts[spec.identity]
            guard(array)
            block = np.array(_part(array, spec, origin, extent))
            guard(array)
        return block.astype(spec.dtype, copy=False)

    def close(self) -> None:
        """Close the stores."""
        with self._lock:
            stores = self._stores.clear()
        for store in stores:
            store.close()

    def _stored(self, spec: StoredArray, ref: TileRef) -> Tile:
        store = self.store(spec.url)
        key, span = spec.key(ref), spec.span(ref)
        try:
            data = store.get(key) if spec.bundle is None else store.get(key, span.start, span.stop)
        except KeyError:
            check_generation(store, spec)
            raise MissingTileError(
                f"{store.url}: {key}: tile ({ref.i}, {ref.j}) is missing, and nothing says that it is zero"
            ) from None
        if len(data) != span.nbytes:
            raise TruncatedTileError(
                f"{store.url}: {key}: {len(data)} bytes where {span.nbytes} belong "
                f"({span.shape[0]} × {span.shape[1]} of {span.dtype})"
            )
        return tile_from_bytes(data, span)

    def _called(self, spec: FunctionArray, ref: TileRef) -> Tile:
        """Make a tile piece by piece, in memory of our own: the function may keep and change its blocks."""
        function = self.function(spec.url, spec.digest)
        (r0, c0), (rows, cols) = spec.grid.origin(ref.i, ref.j), spec.grid.extent(ref.i, ref.j)
        tile = empty_tile(rows, cols, spec.dtype)
        width = max(1, _PIECE // max(1, rows * tile.itemsize))
        for c in range(0, cols, width):
            piece = tile[:, c : c + width]
            piece[...] = _block(function, spec, (r0, c0 + c), piece.shape)
        return tile

    def _sliced(self, spec: HostArray, ref: TileRef) -> Tile:
        """Read a part of an array, or of whatever can be sliced, and convert it if it is of another type."""
        array = self.hosts[spec.identity]
        (r0, c0), (rows, cols) = spec.grid.origin(ref.i, ref.j), spec.grid.extent(ref.i, ref.j)
        tile = empty_tile(rows, cols, spec.dtype)
        guard(array)
        part = _part(array, spec, (r0, c0), (rows, cols))
        tile[...] = part.reshape(rows, cols)
        guard(array)  # whose file may have been cut short meanwhile
        release(part)
        return tile


def _part(array: Any, spec: HostArray, origin: Pair, extent: Pair) -> Tile:
    """Return a part of what can be sliced. Some readers mask all that they read: what counts is an entry."""
    (r, c), (rows, cols) = origin, extent
    part = loaded(array[(slice(r, r + rows), slice(c, c + cols))[: spec.ndim]])
    if np.ma.is_masked(part):
        raise ValueError(
            f"rows {r}:{r + rows}, columns {c}:{c + cols} of the array have masked entries, for which "
            "there is no number: fill them first, a.filled(value)"
        )
    part = part.data if isinstance(part, np.ma.MaskedArray) else part
    refuse_lossy(part)
    return np.asarray(part)


class _Watched:
    """A user's function; what it forks ends with it, and does not go on with our tasks."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        with ParentOnly():
            return self._function(*arguments)


def _block(function: Callable[..., Any], spec: FunctionArray, origin: Pair, extent: Pair) -> Tile:
    """Return what a user's function makes of some rows and columns, if it is a block of that shape."""
    (r0, c0), (rows, cols) = origin, extent
    indices = (np.arange(r0, r0 + rows), np.arange(c0, c0 + cols))[: max(1, spec.ndim)]
    expected = (rows, cols)[: spec.ndim]
    try:
        block = as_block(function(*indices), "from_function")
        if block.shape != expected:
            raise ValueError(
                f"the function of a from_function returned shape {block.shape} "
                f"for a block of shape {expected}"
            )
        if not np.can_cast(block.dtype, spec.dtype, "same_kind"):
            raise TypeError(
                f"the function of a from_function returned {block.dtype}, which is no {spec.dtype}; "
                "say which dtype the matrix has: from_function(f, shape, dtype=…)"
            )
    except Exception as error:
        error.add_note(f"while making rows {r0}:{r0 + rows}, columns {c0}:{c0 + cols} of a from_function")
        raise
    return block.reshape(rows, cols)


def fill(formula: str, grid: Grid, i: int, j: int, dtype: str) -> Tile:
    """Return tile `(i, j)` of a matrix given by a formula.

    Parameters
    ----------
    formula : str
        ``zeros``, ``eye`` or ``random <distribution> <seed>`` with `normal` or `uniform`. A random tile
        depends on seed, tile indices and extent only, never on who makes it or when.

    Examples
    --------
    >>> fill("eye", Grid((3, 3), (2, 2)), 1, 1, "float64")
    array([[1.]])
    """
    rows, cols = grid.extent(i, j)
    if formula == "zeros":
        return empty_tile(rows, cols, dtype)
    if formula == "eye":
        (r0, c0) = grid.origin(i, j)
        return np.asfortranarray(np.eye(rows, cols, r0 - c0, dtype))
    _, distribution, seed = formula.split()
    stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence(int(seed), spawn_key=(i, j))))
    draw: Callable[..., Any] = stream.standard_normal if distribution == "normal" else stream.random
    block = draw((cols, rows)).T
    if np.dtype(dtype).kind == "c":
        block = (block + 1j * draw((cols, rows)).T) * (0.5**0.5 if distribution == "normal" else 1)
    return np.asfortranarray(block, dtype=dtype)
