"""The contract that every store keeps: bytes by key, created whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol, TypeAlias

__all__ = ["Data", "Reach", "Store"]

Data: TypeAlias = bytes | bytearray | memoryview

Reach: TypeAlias = Literal["process", "host", "anywhere"]
"""Who can see what a store holds: this process only, this machine, or every worker."""


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
        """Who can see what this store holds."""

    def get(self, key: str, start: int = 0, stop: int | None = None) -> memoryview:
        """Return bytes `[start, stop)` of an object, the whole one by default, as a read-only view.

        The view may be a memory map; it stays valid after the object is deleted.
        A `stop` past the end is cut there, as for slices; negative numbers are a ValueError.
        Raises KeyError if there is no such object, and StoreError for any other failure.
        """

    def put(self, key: str, data: Data, *, create: bool = False) -> bool:
        """Write an object in one step: the bytes of `data`, which must be C-contiguous.

        With `create` the first complete object stands: returns False, and changes nothing, if
        another writer's is there already. Returns True if what stands now was written by this call.
        """

    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""

    def size(self, key: str) -> int:
        """Return the number of bytes of an object. Raises KeyError if there is no such object."""

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, sorted, the keys that begin with the string `prefix`."""

    def delete(self, key: str) -> None:
        """Remove an object. Removing one that is not there is not an error."""

    def remove_empty_folders(self) -> None:
        """Leave nothing of an emptied store, where a store has folders; elsewhere there is nothing to do."""

    def close(self) -> None:
        """Give back sockets, pools and the like. The objects stay."""
