"""Folder store: one file per object, read through memory maps.

Only what is put as durable is synced. What a run must survive is the death of a process, and the page cache
survives that; fsync would cost milliseconds per tile to also survive a power cut. After a power cut a file
may be shorter than it was written: readers find that by its size, and the tile is computed again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from wrenla_handler.errors import StoreError
from wrenla_handler.stores.atomic_files import (
    NO_UNNAMED_FILES,
    How,
    check_replaceable,
    link,
    link_unnamed,
    named_file,
    replace,
    sync_folder,
)
from wrenla_handler.stores.base import Data, ObjectInfo, Reach
from wrenla_handler.stores.checks import check_key, check_range, flat_view, is_key
from wrenla_handler.stores.folders import (
    HALF_WRITTEN,
    entries,
    left_out,
    open_file,
    open_folder,
    regular_status,
    split,
)
from wrenla_handler.stores.mmap import map_file

__all__ = ["LocalStore"]

# Below this a copy is cheaper than a map: mmap and munmap cost more than reading a few pages.
_MAP_FROM_BYTES = 64 * 1024

# What reading says if there is no object: no such name, a folder of that name, or a file in place
# of a folder.
_MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)

_MAKE_ATTEMPTS = 8
"""How often a folder is made again that others remove as an empty one."""


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
        path = os.path.expanduser(os.fspath(root))
        if "\0" in path:
            raise ValueError(f"{path!r} is not the path of a folder")
        self._root = os.path.abspath(path)
        self._url = Path(self._root).as_uri()
        self._anchor, self._below = split(self._root)
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
        return Reach.HOST

    def get(self, key: str, start: int = 0, stop: int | None = None) -> memoryview:
        """Return bytes `[start, stop)` of an object as a read-only view: a memory map unless it is small."""
        check_range(start, stop)
        with self._in_folder_of(key, missing=_MISSING) as (folder, name):
            descriptor, status = open_file(folder, name)
            try:
                end = status.st_size if stop is None else min(stop, status.st_size)
                if end - start < _MAP_FROM_BYTES:
                    return memoryview(_read(descriptor, start, end))
                return map_file(descriptor, start, end, f"{self._url}: {key}")
            finally:
                os.close(descriptor)

    def put(
        self, key: str, data: Data, *, create: bool = False, durable: bool = False, direct: bool = False
    ) -> bool:
        """Write a file in one step; with `create`, only if the name is free.

        With `direct` it goes past the page cache if the system has a way: nobody reads it soon.
        """
        view, how = flat_view(data), How(durable, direct and hasattr(os, "O_DIRECT"))
        write = self._create if create else replace
        for attempt in range(_MAKE_ATTEMPTS):
            with self._in_folder_of(key, make=True) as (folder, name):
                try:
                    written = write(folder, name, view, how)
                except FileNotFoundError:
                    # somebody has removed the folder as an empty one since it was opened, or what was half
                    # written in it
                    if attempt == _MAKE_ATTEMPTS - 1:
                        raise
                    continue
                if durable:
                    sync_folder(folder)
                return written
        raise AssertionError("the last attempt returns or raises")

    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""
        try:
            self.size(key)
        except KeyError:
            return False
        return True

    def size(self, key: str) -> int:
        """Return the number of bytes of an object. Raises KeyError if there is no such object."""
        with self._in_folder_of(key, missing=_MISSING) as (folder, name):
            return regular_status(folder, name).st_size

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, sorted, the keys that begin with the string `prefix`."""
        return (info.key for info in self.scan(prefix))

    def scan(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield, sorted, the files whose keys begin with the string `prefix`.

        A file's etag is made of its inode, size and times. That of the last change of its status cannot be
        set by anybody, so a file that was changed has another one.
        """
        return self.scan_noting(prefix, None)

    def scan_noting(self, prefix: str, note: Callable[[str, str], None] | None) -> Iterator[ObjectInfo]:
        """Yield the same files, and tell of those whose names are no keys, and of links to others."""
        folder = prefix.rpartition("/")[0]
        if folder and not is_key(folder):
            return  # Such a prefix (`../`, `/etc/`) begins no key, and must not lead out of the root.
        with self._translating(prefix):
            yield from self._walk(f"{folder}/" if folder else "", prefix, note)

    def list_folders(self) -> Iterator[str]:
        """Yield, sorted, the names of folders in this one; nobody looks into them, so they may be private."""
        with self._translating(""), contextlib.suppress(*_MISSING):
            yield from sorted(name for name, status in self._entries("") if status is None and is_key(name))

    def delete(self, key: str) -> None:
        """Remove an object. Removing one that is not there is not an error.

        Its folder stays, as another writer may be about to use it: see `remove_empty_folders`. What is
        no file, a link above all, is no object and stays.
        """
        with (
            self._translating(key),
            contextlib.suppress(*_MISSING),
            self._in_folder_of(key, translate=False) as (folder, name),
        ):
            if stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=folder)

    def move(self, key: str, new: str) -> None:
        """Give an object another key, in one step, in place of what is there."""
        with self._in_folder_of(key, missing=_MISSING) as (folder, name):
            regular_status(folder, name)
            with self._in_folder_of(new, make=True) as (new_folder, new_name):
                check_replaceable(new_folder, new_name)
                os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=new_folder)

    def move_folder(self, folder: str, new: str) -> bool:
        """Give all objects below a folder another one, in one step, unless there are objects below that."""
        with (
            self._translating(folder),
            contextlib.suppress(FileNotFoundError),
            self._in_folder_of(folder, translate=False) as (parent, name),
            self._in_folder_of(new, make=True, translate=False) as (new_parent, new_name),
        ):
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                return False
            try:
                os.rename(name, new_name, src_dir_fd=parent, dst_dir_fd=new_parent)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    return False
                raise
            return True
        return False

    def copy_from(self, source: LocalStore, key: str, new: str, owner: str = "") -> bool:
        """Give a file of another folder a second name here, unless the name is taken.

        On another file system, and where it is another user's, it is copied.
        """
        with source._in_folder_of(key, missing=_MISSING) as (folder, name):
            regular_status(folder, name)
            with self._in_folder_of(new, make=True) as (new_folder, new_name):
                try:
                    # A link fails if the name is taken, so the first object stands; a rename replaces it.
                    os.link(name, new_name, src_dir_fd=folder, dst_dir_fd=new_folder, follow_symlinks=False)
                except FileExistsError:
                    regular_status(new_folder, new_name)  # a folder, or a link, is no object that could stand
                    return False
                except OSError as error:
                    if error.errno not in (errno.EXDEV, errno.EPERM):
                        raise
                    return self.put(new, source.get(key), create=True)
        return True

    def remove_empty_folders(self, ours: Callable[[str], bool], *, root: bool = False) -> None:
        """Remove the folders with a path of ours, in which nothing is left but what was half written.

        A live writer whose half-written file is gone makes it again: see `put`.
        """
        with self._translating(""), contextlib.suppress(*_MISSING):
            self._prune("", ours)
        if root:
            with contextlib.suppress(OSError):
                if self._below:
                    self._remove(os.rmdir, self._below)
                else:
                    os.rmdir(self._anchor)

    def close(self) -> None:
        """Do nothing: views own their maps, and the objects stay."""

    def _prune(self, below: str, ours: Callable[[str], bool]) -> None:
        for name, status in self._entries(below):
            path = f"{below}{name}"
            if status is not None and HALF_WRITTEN.fullmatch(name):
                with contextlib.suppress(OSError):
                    self._remove(os.unlink, [*self._below, *path.split("/")])
            elif status is None and ours(path):
                self._prune(f"{path}/", ours)
                # fails where there still is something, or where someone else was faster
                with contextlib.suppress(OSError):
                    self._remove(os.rmdir, [*self._below, *path.split("/")])

    def _remove(self, by: Callable[..., None], parts: Sequence[str]) -> None:
        """Remove a file or an empty folder, by `os.unlink` or `os.rmdir`."""
        parent = open_folder(self._anchor, parts[:-1])
        try:
            by(parts[-1], dir_fd=parent)
        finally:
            os.close(parent)

    def _entries(self, below: str) -> Sequence[tuple[str, os.stat_result | None]]:
        """List a folder; nothing is left open, as whoever asks may go on after a long while, or never."""
        folder = open_folder(self._anchor, [*self._below, *below.split("/")[:-1]], flags=os.O_RDONLY)
        try:
            return list(entries(folder))
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def _in_folder_of(
        self,
        key: str,
        *,
        make: bool = False,
        missing: tuple[type[OSError], ...] = (),
        translate: bool = True,
    ) -> Iterator[tuple[int, str]]:
        """Open the folder of an object for a while; hand out its descriptor and the file's name in it."""
        *folders, name = check_key(key).split("/")
        with self._translating(key, missing) if translate else contextlib.nullcontext():
            folder = open_folder(self._anchor, [*self._below, *folders], make=make)
            try:
                yield folder, name
            finally:
                os.close(folder)

    def _walk(self, below: str, prefix: str, note: Callable[[str, str], None] | None) -> Iterator[ObjectInfo]:
        try:
            listed = self._entries(below)
            if note is not None:
                self._note(below, prefix, note)
        except _MISSING:
            return
        keys = [(name, status) for name, status in listed if is_key(name)]
        # With the `/` behind a folder's name, names sort as the keys below them do.
        found = sorted((f"{name}/" if status is None else name, status) for name, status in keys)
        for name, status in found:
            key = below + name
            if status is None:
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(key, prefix, note)
            elif key.startswith(prefix):
                yield ObjectInfo(key, status.st_size, _etag(status), status.st_mtime)

    def _note(self, below: str, prefix: str, note: Callable[[str, str], None]) -> None:
        folder = open_folder(self._anchor, [*self._below, *below.split("/")[:-1]], flags=os.O_RDONLY)
        try:
            found = sorted(left_out(folder))
        finally:
            os.close(folder)
        for name, why in found:
            key = below + name
            if key.startswith(prefix) or (name.endswith("/") and prefix.startswith(key)):
                note(key, why)

    def _create(self, folder: int, name: str, data: memoryview, how: How) -> bool:
        try:
            if self._unnamed_files:
                try:
                    link_unnamed(folder, name, data, how)
                except OSError as error:
                    if error.errno not in NO_UNNAMED_FILES:
                        raise
                    self._unnamed_files = False
                else:
                    return True
            with named_file(folder, data, how) as temporary:
                link(temporary, name, folder)
        except FileExistsError:
            regular_status(folder, name)  # a folder, or a link, is no object that could stand
            return False
        return True

    @contextlib.contextmanager
    def _translating(self, key: str, missing: tuple[type[OSError], ...] = ()) -> Iterator[None]:
        try:
            yield
        except missing as error:
            # It has the frames of all callers, in a circle with that of `contextlib`: what they hold, factors
            # that nobody needs any more, would stay until the garbage collector comes.
            error.__traceback__ = None
            raise KeyError(key) from None
        except OSError as error:
            raise StoreError(f"{self._url}: {key}: {error.strerror or error}") from error


def _etag(status: os.stat_result) -> str:
    return f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ctime_ns:x}"


def _read(descriptor: int, start: int, end: int) -> bytes:
    # Less than 64 KiB, which a regular file gives in one call.
    return os.pread(descriptor, max(end - start, 0), start)
