"""A store in a folder of this machine: one file per object, read through memory maps.

Nothing is fsynced. What a run must survive is the death of a process, and the page cache survives that;
fsync would cost milliseconds per tile to also survive a power cut. After a power cut a file may be
shorter than it was written: readers find that by its size, and the tile is computed again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

from wrenla_handler.errors import StoreError
from wrenla_handler.stores.base import Data, Reach
from wrenla_handler.stores.checks import check_key, check_range, flat_view, is_key
from wrenla_handler.stores.mapping import map_file

__all__ = ["LocalStore"]

# Below this a copy is cheaper than a map: mmap and munmap cost more than reading a few pages.
_MAP_FROM_BYTES = 64 * 1024

# What `open(O_TMPFILE)` says where the file system (EOPNOTSUPP, EINVAL) or the kernel (EISDIR) has no
# unnamed files. ENOENT is not among them: it means that the folder has to be made.
_NO_UNNAMED_FILES = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.EISDIR})

# What reading says if there is no object: no such name, a folder of that name, or a file in place
# of a folder.
_MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


class LocalStore:
    """Objects as files below a folder.

    A file appears whole, with its name, or not at all. It is never changed in place, so a view
    of it (a memory map) stays valid and constant when the object is deleted or overwritten.

    Parameters
    ----------
    root : str or path
        The folder. It is made by the first `put`; ``~`` is expanded.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> store = LocalStore(folder.name)
    >>> store.put("c/0/0", b"tile", create=True)
    True
    >>> bytes(store.get("c/0/0", 1, 3)), list(store.list())
    (b'il', ['c/0/0'])
    >>> folder.cleanup()
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.path.abspath(os.path.expanduser(os.fspath(root)))
        self._url = Path(self._root).as_uri()
        # An unnamed file gets its name through /proc, which some containers do not have.
        self._unnamed_files = hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd")

    def __repr__(self) -> str:
        return f"LocalStore({self._root!r})"

    @property
    def url(self) -> str:
        """Address that opens the same store again."""
        return self._url

    @property
    def reach(self) -> Reach:
        """Every process of this machine sees the objects."""
        return "host"

    def get(self, key: str, start: int = 0, stop: int | None = None) -> memoryview:
        """Return bytes `[start, stop)` of an object as a read-only view: a memory map unless it is small."""
        check_range(start, stop)
        path = self._path(key)
        with self._translating(key, missing=_MISSING):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                status = os.fstat(descriptor)
                if stat.S_ISDIR(status.st_mode):
                    raise IsADirectoryError
                end = status.st_size if stop is None else min(stop, status.st_size)
                if end - start < _MAP_FROM_BYTES:
                    return memoryview(_read(descriptor, start, end))
                return map_file(descriptor, start, end)
            finally:
                os.close(descriptor)

    def put(self, key: str, data: Data, *, create: bool = False) -> bool:
        """Write a file in one step; with `create`, only if the name is free."""
        path = self._path(key)
        view = flat_view(data)
        write = self._create if create else _replace
        with self._translating(key):
            try:
                return write(path, view)
            except FileNotFoundError:
                # Folders are made when a write misses them, so that the usual write does not look for them.
                os.makedirs(os.path.dirname(path), exist_ok=True)
                return write(path, view)

    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""
        try:
            self.size(key)
        except KeyError:
            return False
        return True

    def size(self, key: str) -> int:
        """Return the number of bytes of an object. Raises KeyError if there is no such object."""
        path = self._path(key)
        with self._translating(key, missing=_MISSING):
            status = os.stat(path)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError
            return status.st_size

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, sorted, the keys that begin with the string `prefix`."""
        folder = prefix.rpartition("/")[0]
        if folder and not is_key(folder):
            return  # Such a prefix (`../`, `/etc/`) begins no key, and must not lead out of the root.
        with self._translating(prefix):
            yield from self._walk(f"{folder}/" if folder else "", prefix)

    def delete(self, key: str) -> None:
        """Remove an object. Removing one that is not there is not an error.

        Its folder stays, as another writer may be about to use it: see `remove_empty_folders`.
        """
        path = self._path(key)
        with self._translating(key), contextlib.suppress(*_MISSING):
            os.unlink(path)

    def remove_empty_folders(self) -> None:
        """Remove the folders, the root included, in which no file is left."""
        for folder, _, _ in os.walk(self._root, topdown=False):
            # Fails where there still is something, or where someone else was faster.
            with contextlib.suppress(OSError):
                os.rmdir(folder)

    def close(self) -> None:
        """Do nothing: views own their maps, and the objects stay."""

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"

    def _walk(self, folder: str, prefix: str) -> Iterator[str]:
        try:
            with os.scandir(os.path.join(self._root, folder)) as entries:
                # With the `/` behind a folder's name, names sort as the keys below them do.
                names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries)
        except _MISSING:
            return
        for name in names:
            key = folder + name
            if key.endswith("/"):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(key, prefix)
            elif key.startswith(prefix) and is_key(name):
                yield key

    def _create(self, path: str, data: memoryview) -> bool:
        try:
            if self._unnamed_files:
                try:
                    _link_unnamed(path, data)
                except OSError as error:
                    if error.errno not in _NO_UNNAMED_FILES:
                        raise
                    self._unnamed_files = False
                else:
                    return True
            with _named_file(path, data) as temporary:
                os.link(temporary, path)
        except FileExistsError:
            if os.path.isdir(path):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)) from None
            return False
        return True

    @contextlib.contextmanager
    def _translating(self, key: str, missing: tuple[type[OSError], ...] = ()) -> Iterator[None]:
        try:
            yield
        except missing:
            raise KeyError(key) from None
        except OSError as error:
            raise StoreError(f"{self._url}: {key}: {error.strerror or error}") from error


def _read(descriptor: int, start: int, end: int) -> bytes:
    # Less than 64 KiB, which a regular file gives in one call.
    return os.pread(descriptor, max(end - start, 0), start)


def _write(descriptor: int, data: memoryview) -> None:
    """Write all of `data`; one call takes at most 2 GiB, and less when the disk fills up."""
    while data:
        data = data[os.write(descriptor, data) :]


def _link_unnamed(path: str, data: memoryview) -> None:
    """Write an unnamed file, then give it its name: nothing is left behind whenever the process dies.

    It is also the fastest way (open, write, link, close), as there is no temporary name to remove.
    """
    descriptor = os.open(os.path.dirname(path), os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    try:
        _write(descriptor, data)
        # Python follows the link in /proc only if a directory descriptor is given; that of an
        # absolute path is not looked at.
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _named_file(path: str, data: memoryview) -> Iterator[str]:
    """Write a temporary file beside `path`, whose name is no key, and remove it if it is still there."""
    temporary = f"{os.path.dirname(path)}/.{uuid.uuid4().hex}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            _write(descriptor, data)
        finally:
            os.close(descriptor)
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _replace(path: str, data: memoryview) -> bool:
    with _named_file(path, data) as temporary:
        os.replace(temporary, path)
    return True
