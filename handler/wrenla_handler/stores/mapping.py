"""Read-only memory maps that hold no file descriptor.

Before Python 3.13 each `mmap.mmap` keeps a descriptor of its file, and a worker that has a thousand tiles
mapped would run into the usual limit of 1,024. So the C library is called directly.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import weakref

__all__ = ["map_file"]

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

_FAILED = ctypes.c_void_p(-1).value

# Populated at once: one system call instead of a fault for each few pages.
_FLAGS = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)


_ENOMEM = (
    ": the process may have no more addresses (ulimit -v) or no more maps (vm.max_map_count). Use fewer or "
    "larger tiles, let workers use less (allowed_mem), or raise that limit"
)


def map_file(descriptor: int, start: int, stop: int) -> memoryview:
    """Map bytes `[start, stop)` of an open file. They are unmapped when the last view of them goes.

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
    # the interpreter's end takes the maps with it, and other objects may still look at them then
    weakref.finalize(pages, _libc.munmap, address, length).atexit = False
    return memoryview(pages).cast("B")[skip:].toreadonly()
