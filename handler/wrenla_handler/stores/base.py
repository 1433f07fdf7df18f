"""Store contract: bytes by key, created whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, TypeAlias, runtime_checkable

__all__ = [
    "LEASE",
    "RUNS",
    "SAVING",
    "CopyingStore",
    "Data",
    "MovingStore",
    "ObjectInfo",
    "OwningStore",
    "Reach",
    "SharedStore",
    "Store",
]

Data: TypeAlias = bytes | bytearray | memoryview

RUNS = "wrenla-runs"
"""Folder of a store below which every run has a folder of its own for its temporary objects."""

SAVING = "wrenla-saving"
"""Folder beside a stored matrix for what is there only while a matrix is being saved."""

LEASE = "wrenla-lease/"
"""What the key of a lease begins with. It comes last of all keys in its folder, and so goes last, too."""


class Reach(IntEnum):
    """Distance over which a store is seen, or at which workers are.

    Workers see a store if ``store.reach >= executor.reach``.
    """

    PROCESS = 0
    """In this process only."""

    HOST = 1
    """On this machine."""

    SHARED = 2
    """On some machines that have the same folders."""

    ANYWHERE = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """Entry of a listing.

    Attributes
    ----------
    key : str
    nbytes : int
    etag : str
        Another one whenever the content has changed, as far as the store can know.
    modified : float
        Seconds since the epoch, by the store's clock.
    """

    key: str
    nbytes: int
    etag: str
    modified: float


class Store(Protocol):
    """A flat space of objects: a key names bytes.

    Keys are relative, `/`-separated, never empty, without empty, `.` or `..` segments (ValueError). A
    folder is no object, and a folder cannot be named like an object: do not use `a` and `a/b` both.
    All methods may be called from several threads at once, and after `close`, too. An object appears
    whole or not at all, whatever dies.

    Failures are KeyError (no such object), TransientStoreError (the same request may succeed later)
    or StoreError (it will not, until someone does what the message says).
    """

    @property
    def url(self) -> str:
        """Address that opens the same store again (`file:///…`, `s3://bucket/prefix`, `memory://…`)."""

    @property
    def reach(self) -> Reach:
        """Reach of the store: the processes that can see its objects."""

    def get(self, key: str, start: int = 0, stop: int | None = None) -> memoryview:
        """Return bytes `[start, stop)` of an object, the whole one by default, as a read-only view.

        The view may be a memory map; it stays valid after the object is deleted.
        A `stop` past the end is cut there, as for slices; negative numbers are a ValueError.
        Raises KeyError if there is no such object, and StoreError for any other failure.
        """

    def put(self, key: str, data: Data, *, create: bool = False, durable: bool = False) -> bool:
        """Write an object in one step: the bytes of `data`, which must be C-contiguous.

        With `create` the first complete object stands: returns False, and changes nothing, if
        another writer's is there already. Returns True if what stands now was written by this call.
        With `durable` it survives a power cut from the moment of return.
        """

    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""

    def size(self, key: str) -> int:
        """Return the number of bytes of an object. Raises KeyError if there is no such object."""

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, sorted, the keys that begin with the string `prefix`."""

    def scan(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the same objects as `list`, with what is known of each."""

    def list_folders(self) -> Iterator[str]:
        """Yield, sorted, what stands before the first `/` in keys; nothing below that is looked at."""

    def delete(self, key: str) -> None:
        """Remove an object. Removing one that is not there is not an error."""

    def remove_empty_folders(self, ours: Callable[[str], bool], *, root: bool = False) -> None:
        """Remove the folders in which nothing is left, of those whose path, without a last `/`, is ours.

        What a killed process had half written in them, or in the store's own folder, goes first. With `root`
        the store's own folder goes too. Any other empty folder stays, as somebody else has made it. Where a
        store has no folders there is nothing to do.
        """

    def close(self) -> None:
        """Give back sockets, pools and the like. The objects stay."""


@runtime_checkable
class MovingStore(Protocol):
    """A store that can give an object another key."""

    def move(self, key: str, new: str) -> None:
        """Give an object another key, in one step, in place of what is there.

        Raises KeyError if there is no such object.
        """

    def move_folder(self, folder: str, new: str) -> bool:
        """Give all objects below a folder another one, in one step, unless there are objects below that.

        Returns whether it was done.
        """


@runtime_checkable
class SharedStore(Protocol):
    """A store in a place where others may put what cannot be an object of it."""

    def scan_noting(self, prefix: str, note: Callable[[str, str], None]) -> Iterator[ObjectInfo]:
        """Yield the same objects as `scan`, and tell of what is left out.

        Parameters
        ----------
        prefix : str
        note : callable
            Is called with what would be the key, which ends in ``/`` if it is a folder, and why it is none.
        """


@runtime_checkable
class CopyingStore(Protocol):
    """A store that can take an object over from another one of its kind, without reading it."""

    def copy_from(self, source: Any, key: str, new: str, owner: str = "") -> bool:
        """Copy an object of another store, unless its key here is taken.

        Parameters
        ----------
        source : Store
            Of the same class.
        key, new : str
            Of the object there and here.
        owner : str
            The result that it belongs to here, if the store is an `OwningStore`.

        Returns
        -------
        bool
            Whether it was done. Raises KeyError if there is no such object in `source`.
        """


@runtime_checkable
class OwningStore(Protocol):
    """Store with an owner for each object: the result that it belongs to.

    It is needed where a writer may be late by minutes, and nothing stops it: an object of another result
    does not stand in the way of ours, and is not taken for ours.
    """

    def put_owned(self, key: str, data: Data, owner: str, still_ours: Callable[[], None]) -> bool:
        """Write an object of a result, unless one of the same result is there.

        Parameters
        ----------
        key, data
            As for `put`.
        owner : str
            The result: letters, digits and ``-``.
        still_ours : callable
            Raises if the place is another result's by now. It is asked before an object of another result is
            replaced; this is done only if it is still the object that was looked at before the question.

        Returns
        -------
        bool
            Whether what stands now was written by this call.
        """

    def owner(self, key: str) -> str:
        """Return the result that an object belongs to, "" if to none. Raises KeyError if it is not there."""
