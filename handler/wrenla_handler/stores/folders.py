"""Files below a folder, opened without following a symbolic link below it.

Each folder on the way is opened by itself (openat, O_NOFOLLOW). To look at a path first and to open it then
would leave a moment in which somebody who may write to the folder could put a link in its place.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence

from wrenla_handler.stores.base import RUNS, SAVING
from wrenla_handler.stores.checks import is_key, why_no_key

__all__ = [
    "HALF_WRITTEN",
    "check_regular",
    "entries",
    "left_out",
    "open_file",
    "open_folder",
    "regular_status",
    "split",
]

_MAKE_ATTEMPTS = 8

HALF_WRITTEN = re.compile(r"\.[0-9a-f]{32}\.tmp")
"""The names of our temporary files."""

_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC

_OURS = re.compile(rf"/(?:{RUNS}|{SAVING})(?:/|\Z)")
"""From these folders on nobody but wrenla makes anything, so a link there is somebody else's trap."""


def split(root: str) -> tuple[str, list[str]]:
    """Return the part of a path in which links are followed, and the folders below it, in which none are."""
    found = _OURS.search(root)
    if found is None:
        return root, []
    return root[: found.start()] or "/", root[found.start() + 1 :].split("/")


def open_folder(anchor: str, parts: Sequence[str], *, make: bool = False, flags: int = os.O_PATH) -> int:
    """Open a folder and return its descriptor.

    Parameters
    ----------
    anchor : str
        Where to begin. It may lead through links: whoever names it has decided so.
    parts : sequence of str
        Names of the folders from there on, of which none may be a link.
    make : bool, optional
        Make what is missing.
    flags : int, optional
        Of the last one: O_PATH, or O_RDONLY to list or to sync it.

    Raises
    ------
    OSError
        ELOOP if there is a link on the way.
    """
    if not parts:
        return _anchor(anchor, make, flags)
    top = _anchor(anchor, make, os.O_PATH)
    try:
        try:
            return _at_once(top, "/".join(parts), flags)
        except FileNotFoundError:
            if not make:
                raise
        except NotADirectoryError:
            pass  # step by step we see where, and whether it is a link
        for _ in range(_MAKE_ATTEMPTS - 1 if make else 0):
            with contextlib.suppress(FileNotFoundError):  # somebody has removed an empty one
                return _step_by_step(top, parts, make, flags)
        return _step_by_step(top, parts, make, flags)
    finally:
        os.close(top)


def _step_by_step(top: int, parts: Sequence[str], make: bool, flags: int) -> int:
    descriptor = os.dup(top)
    for number, name in enumerate(parts, 1):
        parent = descriptor
        try:
            descriptor = _child(parent, name, make, flags if number == len(parts) else os.O_PATH)
        finally:
            os.close(parent)
    return descriptor


def _at_once(top: int, path: str, flags: int) -> int:
    """Open a folder by openat2, for which Python has no function; step by step where that is missing."""
    if _openat2_missing:
        return _step_by_step(top, path.split("/"), False, flags)
    how = _How(flags | _FOLDER, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS)
    descriptor: int = _libc.syscall(_OPENAT2, top, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if descriptor >= 0:
        return descriptor
    code = ctypes.get_errno()
    if code in (
        errno.ENOSYS,
        errno.EPERM,
        errno.EAGAIN,
        errno.E2BIG,
    ):  # an old kernel, or a container's filter
        if code == errno.ENOSYS:
            _openat2_missing.append(True)
        return _step_by_step(top, path.split("/"), False, flags)
    if code == errno.ELOOP:
        raise NotADirectoryError
    raise OSError(code, os.strerror(code))


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t]

_OPENAT2 = 437
_RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x04, 0x08
_openat2_missing: list[bool] = []


def _anchor(anchor: str, make: bool, flags: int) -> int:
    try:
        return os.open(anchor, flags | _FOLDER)
    except FileNotFoundError:
        if not make:
            raise
        os.makedirs(anchor, exist_ok=True)
        return os.open(anchor, flags | _FOLDER)


def _child(parent: int, name: str, make: bool, flags: int) -> int:
    try:
        try:
            return os.open(name, flags | _FOLDER | os.O_NOFOLLOW, dir_fd=parent)
        except FileNotFoundError:
            if not make:
                raise
        for attempt in range(_MAKE_ATTEMPTS):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=parent)
            try:
                return os.open(name, flags | _FOLDER | os.O_NOFOLLOW, dir_fd=parent)
            except FileNotFoundError:  # somebody has removed it as an empty one
                if attempt == _MAKE_ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")
    except NotADirectoryError:  # the kernel says the same of a link and of a file
        if stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise _link(name) from None
        raise


def _link(name: str) -> OSError:
    return OSError(
        errno.ELOOP,
        f"{name} is a symbolic link, and links inside a store are not followed: open the store at the place "
        "that it leads to, or remove it",
    )


def open_file(folder: int, name: str) -> tuple[int, os.stat_result]:
    """Open a file to read it, and return its descriptor and status; without waiting if it is a pipe.

    Raises
    ------
    OSError
        ELOOP if it is a link, EINVAL if it is no file.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _link(name) from None
        if error.errno in (errno.ENXIO, errno.ENODEV):  # a socket, a device without a driver
            raise _no_file(name) from None
        raise
    try:
        status = os.fstat(descriptor)
        check_regular(name, status)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status


def regular_status(folder: int, name: str) -> os.stat_result:
    """Return the status of a file; raise as `open_file` for what is none."""
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    check_regular(name, status)
    return status


def check_regular(name: str, status: os.stat_result) -> None:
    """Raise OSError unless a status is that of a file."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISLNK(status.st_mode):
        raise _link(name)
    if not stat.S_ISREG(status.st_mode):
        raise _no_file(name)


def _no_file(name: str) -> OSError:
    return OSError(errno.EINVAL, f"{name} is a pipe, a socket or a device, not a file: remove it")


def entries(folder: int) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yield the names of the folders (status None) and the files (with their status) in a folder.

    Whatever is neither, a link above all, is left out: it is no object of a store.
    """
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield entry.name, None
            elif entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                    yield entry.name, entry.stat(follow_symlinks=False)


def left_out(folder: int) -> Iterator[tuple[str, str]]:
    """Yield what may pass for an object or for a folder (with ``/`` behind its name) and is none, and why."""
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_symlink():
                with contextlib.suppress(OSError):  # what leads nowhere, nobody can read
                    mode = os.stat(entry.name, dir_fd=folder).st_mode
                    if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
                        name = f"{entry.name}/" if stat.S_ISDIR(mode) else entry.name
                        yield name, "it is a symbolic link, and those in a store are not followed"
            elif entry.is_dir() and not is_key(entry.name):
                yield f"{entry.name}/", why_no_key(entry.name)
            elif entry.is_file() and not is_key(entry.name) and not HALF_WRITTEN.fullmatch(entry.name):
                yield entry.name, why_no_key(entry.name)
