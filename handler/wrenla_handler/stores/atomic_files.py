"""Files that appear whole, with their name, or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from typing import NamedTuple

from wrenla_handler.stores.folders import regular_status

__all__ = [
    "NO_UNNAMED_FILES",
    "How",
    "check_replaceable",
    "give_name",
    "link",
    "link_unnamed",
    "named_file",
    "replace",
    "sync_folder",
]

# What `open(O_TMPFILE)` says where the file system (EOPNOTSUPP, EINVAL) or the kernel (EISDIR) has no
# unnamed files. ENOENT is not among them: it means that the folder has to be made.
NO_UNNAMED_FILES = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.EISDIR})


class How(NamedTuple):
    """Way in which a file is written.

    Attributes
    ----------
    durable : bool
        It survives a power cut.
    direct : bool
        Past the page cache, where the system has a way: nobody reads it soon.
    """

    durable: bool = False
    direct: bool = False


_BLOCK = 4096
"""Bytes of which data that goes past the page cache are a multiple, and its place in memory, too."""

_NOT_PAST_CACHE = frozenset({errno.EINVAL, errno.EOPNOTSUPP})
"""What the system says where there is no way past the page cache, or not for these data."""


def write(descriptor: int, data: memoryview, how: How) -> None:
    """Write all of `data`; one call takes at most 2 GiB, and less when the disk fills up."""
    if how.direct:
        data = data[_past_cache(descriptor, data) :]
    while data:
        data = data[os.write(descriptor, data) :]
    if how.durable:
        # Before the file gets its name: after a power cut a name could stand on an empty file.
        os.fsync(descriptor)


def _past_cache(descriptor: int, data: memoryview) -> int:
    """Write whole blocks past the page cache, and return how many bytes: 0 where that cannot be done."""
    flags, done, end = fcntl.fcntl(descriptor, fcntl.F_GETFL), 0, len(data) // _BLOCK * _BLOCK
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
        while done < end:
            done += os.write(descriptor, data[done:end])
    except OSError as error:
        if error.errno not in _NOT_PAST_CACHE:
            raise
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    return done


def sync_folder(folder: int) -> None:
    """Sync a folder, so that the name of a new file survives a power cut."""
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_unnamed(folder: int, name: str, data: memoryview, how: How) -> None:
    """Write an unnamed file, then give it its name: nothing is left behind whenever the process dies.

    It is also the fastest way (open, write, link, close), as there is no temporary name to remove.
    """
    descriptor = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666, dir_fd=folder)
    try:
        write(descriptor, data, how)
        give_name(descriptor, name, folder)
    finally:
        os.close(descriptor)


def give_name(descriptor: int, name: str, folder: int | None = None) -> None:
    """Give an unnamed file its name, which must be free; in the current folder by default."""
    # Python follows the link in /proc only if a directory descriptor is given; that of an absolute path is
    # not looked at.
    source = f"/proc/self/fd/{descriptor}"
    os.link(source, name, src_dir_fd=descriptor, dst_dir_fd=folder, follow_symlinks=True)


def link(temporary: str, name: str, folder: int) -> None:
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        why = (
            "the file system has no hard links, without which files cannot be created whole: use another one"
        )
        raise OSError(error.errno, why) from error


@contextlib.contextmanager
def named_file(folder: int, data: memoryview, how: How) -> Iterator[str]:
    """Write a temporary file, whose name is no key, and remove it if it is still there."""
    temporary = f".{uuid.uuid4().hex}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
    try:
        try:
            write(descriptor, data, how)
        finally:
            os.close(descriptor)
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)


def check_replaceable(folder: int, name: str) -> None:
    """Raise OSError if there is something that is no file: a link that stands there is somebody else's."""
    with contextlib.suppress(FileNotFoundError):
        regular_status(folder, name)


def replace(folder: int, name: str, data: memoryview, how: How) -> bool:
    check_replaceable(folder, name)
    with named_file(folder, data, how) as temporary:
        # A link that was put here since the check is replaced itself; what it leads to is not touched.
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    return True
