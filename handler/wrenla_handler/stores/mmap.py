"""Read-only memory maps that hold no file descriptor, and survive that their file is cut short.

Before Python 3.13 each `mmap.mmap` keeps a descriptor of its file, and a worker that has a thousand tiles
mapped would run into the usual limit of 1,024. So the C library is called directly.

Where somebody cuts a mapped file short, the kernel answers the next access with SIGBUS, which ends the
process. Nothing that is checked before the access can prevent that, and to read instead of to map costs a
copy of each tile. So while somebody computes in a block of `refuse_truncated`, a handler puts pages of zeros
in the place of those that are gone, notes the file, and lets the access go on; no result of it counts.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import signal
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wrenla_handler.errors import TruncatedTileError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["guard", "map_file", "refuse_truncated", "release"]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_longlong,
]
_libc.munmap.restype = ctypes.c_int
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

_libc.madvise.restype = ctypes.c_int
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

_MADV_DONTNEED = 4

_FAILED = ctypes.c_void_p(-1).value

# Populated at once: one system call instead of a fault for each few pages.
_FLAGS = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)

_PAGE = mmap.PAGESIZE

_ENOMEM = (
    ": the process may have no more addresses (ulimit -v) or no more maps (vm.max_map_count). Use fewer or "
    "larger tiles, let workers use less (allowed_mem), or raise that limit"
)


def map_file(descriptor: int, start: int, stop: int, name: str) -> memoryview:
    """Map bytes `[start, stop)` of an open file. They are unmapped when the last view of them goes.

    Parameters
    ----------
    descriptor : int
    start, stop : int
    name : str
        Of the file, for the error if it is cut short.

    Raises
    ------
    OSError
        As mmap(2) sets it.
    """
    skip = start % mmap.ALLOCATIONGRANULARITY  # a map begins at a page
    length = stop - start + skip
    address = _libc.mmap(None, length, mmap.PROT_READ, _FLAGS, descriptor, start - skip)
    if address == _FAILED:
        error = ctypes.get_errno()
        raise OSError(error, f"{os.strerror(error)}{_ENOMEM if error == errno.ENOMEM else ''}")
    pages = (ctypes.c_ubyte * length).from_address(address)
    _maps[address] = _Map(address, length, name)
    # the interpreter's end takes the maps with it, and other objects may still look at them then
    weakref.finalize(pages, _unmap, address, length).atexit = False
    _install()
    return memoryview(pages).cast("B")[skip:].toreadonly()


def _unmap(address: int, length: int) -> None:
    _forget(address)  # first: as soon as it is unmapped, somebody else may get a map at this address
    _libc.munmap(address, length)


def _forget(address: int) -> None:
    _maps.pop(address, None)
    _truncated.pop(address, None)


def guard(array: npt.NDArray[Any], name: str = "") -> None:
    """Guard an array that NumPy has mapped against the truncation of its file.

    Raises
    ------
    TruncatedTileError
        It was, since it was guarded.
    """
    import numpy as np  # here, not above: a worker that maps no array starts in half the time without

    base: Any = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    if not isinstance(base, mmap.mmap):
        return
    address = np.frombuffer(base, np.uint8).__array_interface__["data"][0]
    if address not in _maps:
        name = name or str(getattr(array, "filename", None) or "a numpy.memmap")
        _maps[address] = _Map(address, len(base), name, mmap.PROT_READ | mmap.PROT_WRITE)
        weakref.finalize(base, _forget, address).atexit = False
        _install()
    elif address in _truncated:
        raise _error(address)


def release(part: npt.NDArray[Any]) -> None:
    """Give the memory back of a part of a file that NumPy has mapped: what is read again is mapped again.

    All that was ever read of a map counts as memory of this process otherwise, however large the file is.
    Nothing is done to other arrays, nor to maps of which changes are private, which would be lost.
    """
    import numpy as np

    base: Any = part
    mode = ""
    while isinstance(base, np.ndarray):
        mode = getattr(base, "mode", None) or mode
        base = base.base
    if not isinstance(base, mmap.mmap) or mode not in ("r", "r+", "w+") or part.size == 0:
        return
    low = high = part.__array_interface__["data"][0]
    for length, stride in zip(part.shape, part.strides, strict=True):
        low, high = low + min(0, (length - 1) * stride), high + max(0, (length - 1) * stride)
    start = low - low % _PAGE
    _libc.madvise(start, high + part.itemsize - start, _MADV_DONTNEED)


@dataclass(frozen=True, slots=True)
class _Map:
    address: int
    length: int
    name: str
    access: int = mmap.PROT_READ


_maps: dict[int, _Map] = {}
"""Maps of this process, by address. The handler reads it: each change is one operation of a dict."""

_truncated: dict[int, str] = {}
"""Names of files that were cut short, by the addresses of their maps, as long as these are there."""

_met: list[int] = []
"""One entry for each time that a file was found cut short."""

_watchers: set[object] = set()
"""One for each block that asks at its end. Where nobody asks, zeros would be taken for numbers."""


@contextmanager
def refuse_truncated() -> Iterator[None]:
    """Raise TruncatedTileError at the end of a block that may have computed with pages of zeros.

    Whichever thread has met a file that was cut short, and also if that was before: its map may still be in a
    cache. A map that is guarded is the user's, who may keep it: whoever reads from one asks `guard` again.
    """
    if _maps:
        _install()
    before, watcher = len(_met), object()
    _watchers.add(watcher)
    try:
        yield
    finally:
        _watchers.discard(watcher)
    if len(_met) > before:
        raise _error(_met[-1])
    for address in list(_truncated):
        found = _maps.get(address)
        if found is not None and found.access == mmap.PROT_READ:
            raise _error(address)


def _error(address: int) -> TruncatedTileError:
    name = _truncated.get(address, "a mapped file")
    return TruncatedTileError(
        f"{name}: the file was cut short while it was read; make it again from where it came from"
    )


# From here on: the signal. The kernel delivers it in the thread whose access has failed, in the middle of a
# kernel or of a copy, never inside of malloc or of the interpreter. So it is safe to run Python there, which
# takes the lock of the interpreter if that thread does not have it.

_ACTION = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_ADDRESS_OFFSET = 16  # of si_addr in siginfo_t
_SA_SIGINFO, _SA_NODEFER = 4, 0x40000000
_MAP_FIXED = 0x10


class _Sigaction(ctypes.Structure):
    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ubyte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


_installing = threading.Lock()
_installed: list[_Sigaction] = []
"""Our handler, once it was put there."""

_before: list[_Sigaction] = []
"""The handler that it has replaced."""


def _install() -> None:
    """Put our handler before the one that is there, also if that has come since we last looked."""
    now = _Sigaction()
    _libc.sigaction(signal.SIGBUS, None, ctypes.byref(now))
    if _installed and now.handler == _installed[0].handler:
        return
    with _installing:
        _libc.sigaction(signal.SIGBUS, None, ctypes.byref(now))
        if _installed and now.handler == _installed[0].handler:
            return
        if not _installed:
            ours = _Sigaction()
            ours.handler = ctypes.cast(_survives, ctypes.c_void_p)
            ours.flags = _SA_SIGINFO | _SA_NODEFER
            _installed.append(ours)
        _before[:] = [now]
        _libc.sigaction(signal.SIGBUS, ctypes.byref(_installed[0]), None)


def _survive(number: int, info: int, context: int) -> None:
    """Handle SIGBUS: map zeros over lost pages if a block checks later; else answer as before."""
    address = ctypes.c_size_t.from_address(info + _ADDRESS_OFFSET).value
    for found in list(_maps.values()) if _watchers else ():
        if found.address <= address < found.address + found.length:
            page = address - address % _PAGE
            rest = found.address + found.length - page
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED
            if _libc.mmap(page, rest, found.access, flags, -1, 0) != _FAILED:
                _truncated[found.address] = found.name
                _met.append(found.address)
                return
    # the access is tried again, and fails again, with the handler that was there before
    _libc.sigaction(number, ctypes.byref(_before[0]), None)


_survives = _ACTION(_survive)
"""As a C function, which must live as long as the process."""
