"""Arrays in memory as data of expressions: named by their content, copied while they are small."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xxhash

from wrenla.errors import ChangedArrayError
from wrenla.planning.canonical import topological
from wrenla.planning.expression import Leaf, Node, leaf
from wrenla_handler.stores.mmap import guard, refuse_truncated
from wrenla_handler.tiles.arrays import HostArray
from wrenla_handler.tiles.grid import Grid, Pair
from wrenla_handler.tiles.layout import Structure

__all__ = ["Given", "array_leaf", "check_arrays", "watched"]

Array: TypeAlias = npt.NDArray[Any]

_COPIED = 16 << 20
"""Bytes up to which an array is copied when it is given: about two milliseconds."""

_PIECE = 1 << 20
"""Bytes of an array that are brought into C order at a time, to be hashed."""

_PANEL, _EDGE = 64 << 20, 128
"""The same of an array stored by columns: bytes at most, and rows and columns that are turned at a time."""

_OURS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")


def array_leaf(
    array: Array, tile: Pair, structure: Structure = "general", *, dtype: str = "", own: bool = False
) -> Node:
    """Return the node of an array. The same content, cut alike, has the same name in every process.

    Parameters
    ----------
    array : ndarray, (m, n) or (n,)
        In any order and byte order. A small one is copied. A large one is not: it is looked at again when a
        run begins and when it ends (`check_arrays`).
    tile : (int, int)
    structure : str
    dtype : str
        Of the tiles, into which its entries are converted when they are read; by default that of the array.
    own : bool
        Nobody else has the array, so nobody changes it.
    """
    shape = (array.shape[0], array.shape[1] if array.ndim == 2 else 1)
    dtype = dtype or array.dtype.name
    small = array.size * np.dtype(dtype).itemsize <= _COPIED
    if (not own and array.nbytes <= _COPIED) or (small and array.dtype.name != dtype):
        # a copy first, then its name: another thread may be at work on what was given
        kind = np.dtype(dtype) if small else array.dtype.newbyteorder("=")
        with _guarded(array):
            array, own = array.astype(kind, order="K", subok=False), True
    if own:
        array.flags.writeable = False
    # the state first: who changes it between the two is found out
    given = () if own else (_Given(array, _state(array), _caller()),)
    name = _name_of_file(array) or _name_of_content(array)
    kinds = dict.fromkeys((array.dtype.name, dtype))
    text = f"{name} {shape} {tile} {array.ndim} {' as '.join(kinds)}"
    identity = xxhash.xxh3_128_hexdigest(text.encode())
    spec = HostArray(Grid(shape, tile), dtype, array.ndim, identity)
    return leaf(spec, structure, array, *given)


def check_arrays(nodes: Iterable[Node]) -> None:
    """Refuse large arrays in expressions that are not any more what they were when they were given.

    To be called before anything is written or replaced, and when all has been read.

    Raises
    ------
    ChangedArrayError
    """
    for given in _given(topological(nodes)):
        given.check()


@contextmanager
def watched(nodes: Iterable[Node]) -> Iterator[None]:
    """Raise ChangedArrayError in place of a block's failure if a large array has changed meanwhile.

    Tiles that were made of it may hold both, under a name that promises what was there before, and nobody
    must go on with them: so this error goes before any other.

    Raises
    ------
    ChangedArrayError
    """
    try:
        yield
    except BaseException:
        check_arrays(nodes)
        raise


class Given(ABC):
    """Data of others, among the keepers of a leaf: they must stay as they were when they were given."""

    __slots__ = ()

    @abstractmethod
    def check(self) -> None:
        """Raise ChangedArrayError if they have been changed."""


@dataclass(frozen=True, slots=True, eq=False)
class _Given(Given):
    """An array that was not copied: its state when it was given, and the line that gave it."""

    array: Array
    state: str
    where: str

    def check(self) -> None:
        if _frozen(self.array) or _state(self.array) == self.state:
            return
        raise ChangedArrayError(
            f"the array of shape {self.array.shape} and dtype {self.array.dtype} that was given in "
            f"{self.where} has been changed since then. So large an array is not copied "
            f"(beyond {_COPIED >> 20} MiB): make the matrix of it after the change, or of a copy, "
            "which nobody changes: a.copy()"
        )


def _given(nodes: Iterable[Node]) -> Iterator[Given]:
    for node in nodes:
        if isinstance(node.op, Leaf):
            yield from (keeper for keeper in node.op.keepers if isinstance(keeper, Given))


def _state(array: Array) -> str:
    """Return a fingerprint that changes with an array: its bytes hashed as they lie in memory."""
    turned = array.ndim == 2 and abs(array.strides[0]) < abs(array.strides[1])
    return _name_of_file(array) or _name_of_content(array.T if turned else array)


def _name_of_content(array: Array) -> str:
    """Return the hash of the entries in C order and this machine's byte order.

    An axis along which all is the same in memory (`numpy.broadcast_to`) counts once: it may be endless.
    Raises TruncatedTileError if it is a map of a file that was cut short.
    """
    with _guarded(array):
        return _hash(array)


@contextmanager
def _guarded(array: Array) -> Iterator[None]:
    """Guard a block that reads an array from a file that may be cut short."""
    guard(array)
    with refuse_truncated():
        yield
    guard(array)


def _hash(array: Array) -> str:
    digest = xxhash.xxh3_128()
    once = tuple(
        slice(0, 1) if stride == 0 and n > 1 and array.size else slice(None)
        for stride, n in zip(array.strides, array.shape, strict=True)
    )
    array = np.asarray(array)[once]
    for piece in _in_c_order(array):
        digest.update(piece.reshape(-1).view(np.uint8).data)
    return f"{digest.hexdigest()} {once if slice(0, 1) in once else ''}"


def _in_c_order(array: Array) -> Iterator[Array]:
    """Yield the rows of an array, some at a time, in C order and this machine's byte order."""
    dtype, row = array.dtype.newbyteorder("="), max(1, array[:1].nbytes)
    if array.flags.c_contiguous and array.dtype == dtype:
        yield array
    elif array.ndim == 2 and abs(array.strides[0]) < abs(array.strides[1]):
        # of columns a few rows would be a cache line here and there: squares, at the speed of a copy
        rows = max(1, min(_EDGE, _PANEL // row))
        buffer = np.empty((min(rows, len(array)), array.shape[1]), dtype)  # one: fresh memory takes its time
        for r in range(0, len(array), rows):
            panel = buffer[: len(array) - r]
            for c in range(0, array.shape[1], _EDGE):
                panel[:, c : c + _EDGE] = array[r : r + rows, c : c + _EDGE]
            yield panel
    else:
        rows = max(1, _PIECE // row)
        for r in range(0, len(array), rows):
            yield np.ascontiguousarray(array[r : r + rows], dtype=dtype)


def _name_of_file(array: Array) -> str:
    """Return what names a part of a file that is mapped into memory: "" if its content has to.

    That is so for what can be written to here: the file's times tell of it late (on a disk), or never (in
    memory, or with copy on write). Only what memory could not take is named so nevertheless, once it has
    been written to the disk: from then on the next change moves the times.
    """
    mapped = _mapping_of(array)
    if mapped is None or getattr(mapped, "filename", None) is None:
        return ""
    if mapped.flags.writeable:
        if mapped.mode == "c" or array.nbytes <= _half_of_memory():
            return ""
        mapped.flush()
    try:
        status = os.stat(mapped.filename)  # type: ignore[arg-type]
    except OSError:
        return ""
    if not _is_mapped(mapped, status):
        return ""
    # where the data begin in the file, and how they lie there
    start = mapped.offset + array.__array_interface__["data"][0] - mapped.__array_interface__["data"][0]
    times = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return f"file {times} {start} {array.strides} {array.dtype.str}"


def _mapping_of(array: Any) -> np.memmap[Any, Any] | None:
    """Return the memory map under an array, or None."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and not isinstance(array.base, np.ndarray):
            return array if array.base is not None else None
        array = array.base
    return None


def _is_mapped(mapped: np.memmap[Any, Any], status: os.stat_result) -> bool:
    """Tell whether the file at a mapping's path is still the one that was mapped."""
    address = mapped.__array_interface__["data"][0]
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, _, _, _, inode = line.split(maxsplit=5)[:5]
            first, last = (int(end, 16) for end in span.split("-"))
            if first <= address < last:
                return int(inode) == status.st_ino
    return False


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _frozen(array: Any) -> bool:
    """Tell whether nobody can write to an array, neither through it nor through what it is a view of."""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return array is None or isinstance(array, bytes)


def _caller() -> str:
    """Return the line outside this package that we are called from."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
