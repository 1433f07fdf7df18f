"""Room: memory of bounded size for the temporary tiles of one run; beyond it they go to another store."""

from __future__ import annotations

import itertools
import mmap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import NamedTuple, Self
from weakref import WeakValueDictionary

from wrenla_handler.errors import StoreError
from wrenla_handler.stores.base import Data, ObjectInfo, Reach, Store
from wrenla_handler.stores.checks import check_key, check_range, flat_view

__all__ = ["Room", "RoomStore"]

_MAP_ABOVE = 1 << 18
"""Bytes from which an object is an anonymous map: malloc would keep freed ones, and memory would not be bounded."""


class _Object(NamedTuple):
    data: memoryview
    etag: str
    modified: float


_rooms: WeakValueDictionary[str, Room] = WeakValueDictionary()
_numbers = itertools.count()


class Room:
    """Objects in memory, at most `limit` bytes of them; what does not fit goes to the store `beyond`.

    Inside its ``with`` block `RoomStore` finds it by its address. At the end the memory is free, and whoever
    comes late writes nothing. Objects in `beyond` stay there; those that were there before count, too.

    Parameters
    ----------
    limit : int
        Bytes.
    beyond : Store
        Nobody else writes there meanwhile.

    Attributes
    ----------
    url : str
    used, most : int
        Bytes of the objects in memory, now and at most until now.

    Examples
    --------
    >>> from wrenla_handler.stores.memory import MemoryStore
    >>> folder = MemoryStore()
    >>> with Room(4, folder) as room:
    ...     store = RoomStore(room.url.removeprefix("room://"))
    ...     store.put("c/0/0", b"tile") and store.put("c/0/1", b"late")
    ...     list(store.list()), list(folder.list())
    True
    (['c/0/0', 'c/0/1'], ['c/0/1'])
    """

    def __init__(self, limit: int, beyond: Store) -> None:
        self.limit, self.beyond = limit, beyond
        self.used = self.most = 0
        self.objects: dict[str, _Object] = {}
        self.outside: set[str] = set()
        """Keys of the objects in `beyond`: where an object lies is known without a look there."""
        self.lock = threading.Lock()
        self.closed = False
        self._name = uuid.uuid4().hex

    @property
    def url(self) -> str:
        """Address of the store, in this process, and as long as the block lasts."""
        return f"room://{self._name}"

    def __enter__(self) -> Self:
        self.outside.update(self.beyond.list())
        _rooms[self._name] = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.lock:
            # With the lock: a task that was left behind must not put a tile where nobody removes it.
            self.closed = True
            self.objects.clear()
            self.used = 0
        _rooms.pop(self._name, None)


class RoomStore:
    """Store on a room.

    Parameters
    ----------
    name : str
        Of the room; ``a/b`` is the part of ``a`` whose keys begin with ``b/``.

    Raises
    ------
    StoreError
        There is no such room (any more).
    """

    def __init__(self, name: str) -> None:
        self._name = check_key(name)
        room_name, _, folder = name.partition("/")
        room = _rooms.get(room_name)
        if room is None:
            raise StoreError(f"room://{name}: the run whose tiles these were is over")
        self._room = room
        self._prefix = f"{folder}/" if folder else ""

    @property
    def url(self) -> str:
        """Address that opens the same store again, in this process."""
        return f"room://{self._name}"

    @property
    def reach(self) -> Reach:
        """Only this process sees the objects."""
        return Reach.PROCESS

    def get(self, key: str, start: int = 0, stop: int | None = None) -> memoryview:
        """Return bytes `[start, stop)` of an object as a read-only view, without a copy."""
        check_range(start, stop)
        found = self._found(key)
        if found is not None:
            return found.data[start:stop]
        return self._room.beyond.get(self._prefix + key, start, stop)

    def put(self, key: str, data: Data, *, create: bool = False, durable: bool = False) -> bool:
        """Write a copy of `data`; with `create`, only if the key is free."""
        full_key, view, room = self._prefix + check_key(key), flat_view(data), self._room
        # A look without the lock saves a copy that there is no room for; the lock decides.
        copied = _copy(view) if room.used + len(view) <= room.limit else None
        with room.lock:
            old = room.objects.get(full_key)
            if room.closed or (create and old is not None):
                return False
            used = room.used - (0 if old is None else len(old.data))
            if full_key not in room.outside and copied is not None and used + len(view) <= room.limit:
                room.objects[full_key] = _Object(copied, f"{next(_numbers):x}", time.time())
                room.used = used + len(view)
                room.most = max(room.most, room.used)
                return True
            # Before the object is there: of two writers of one key both go to the same place, which decides.
            room.outside.add(full_key)
            room.objects.pop(full_key, None)
            room.used = used
        return room.beyond.put(full_key, data, create=create, durable=durable)

    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""
        full_key = self._prefix + check_key(key)
        return full_key in self._room.objects or (
            full_key in self._room.outside and self._room.beyond.exists(full_key)
        )

    def size(self, key: str) -> int:
        """Return the number of bytes of an object. Raises KeyError if there is no such object."""
        found = self._found(key)
        return self._room.beyond.size(self._prefix + key) if found is None else len(found.data)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, sorted, the keys that begin with the string `prefix`, as they stand at the call."""
        start = self._prefix + prefix
        with self._room.lock:
            keys = [key for key in self._room.objects if key.startswith(start)]
        keys += self._room.beyond.list(start)
        return (key.removeprefix(self._prefix) for key in sorted(set(keys)))

    def scan(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the same objects as `list`, with what is known of each."""
        start = self._prefix + prefix
        with self._room.lock:
            infos = [
                ObjectInfo(key, len(found.data), found.etag, found.modified)
                for key, found in self._room.objects.items()
                if key.startswith(start)
            ]
        infos += self._room.beyond.scan(start)
        for info in sorted(infos, key=lambda info: info.key):
            yield replace(info, key=info.key.removeprefix(self._prefix))

    def list_folders(self) -> Iterator[str]:
        """Yield, sorted, what stands before the first `/` in keys."""
        yield from sorted({key.partition("/")[0] for key in self.list() if "/" in key})

    def delete(self, key: str) -> None:
        """Remove an object. Removing one that is not there is not an error."""
        full_key, room = self._prefix + check_key(key), self._room
        with room.lock:
            found = room.objects.pop(full_key, None)
            room.used -= 0 if found is None else len(found.data)
            is_outside = full_key in room.outside
        if is_outside:
            room.beyond.delete(full_key)

    def remove_empty_folders(self, ours: Callable[[str], bool], *, root: bool = False) -> None:
        """Do nothing: whoever owns the store beyond does that."""

    def close(self) -> None:
        """Do nothing: the room ends with its block."""

    def _found(self, key: str) -> _Object | None:
        """Return an object in memory, None if it is outside."""
        full_key = self._prefix + check_key(key)
        # Without the lock: a look into a dict is one operation, and objects are replaced, not changed.
        found = self._room.objects.get(full_key)
        if found is None and full_key not in self._room.outside:
            raise KeyError(key)
        return found


def _copy(view: memoryview) -> memoryview:
    """Return a read-only copy in memory that goes back to the system with its last user."""
    if len(view) < _MAP_ABOVE:
        return memoryview(bytes(view))
    pages = mmap.mmap(-1, len(view), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    pages[:] = view
    return memoryview(pages).toreadonly()
