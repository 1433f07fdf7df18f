"""Room: memory of bounded size for tiles of a run; beyond it they go to another store."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from wrenla_handler.errors import StoreError
from wrenla_handler.stores.base import Data, ObjectInfo, Reach, Store
from wrenla_handler.stores.checks import check_key, check_range

__all__ = ["Room", "RoomStore", "rooms_bytes", "spill_rooms"]


class _Object(NamedTuple):
    data: memoryview
    etag: str
    modified: float


_rooms: weakref.WeakValueDictionary[str, Room] = weakref.WeakValueDictionary()
_numbers = itertools.count()


class Room:
    """Objects in memory, at most `limit` bytes of them; all others are in the store `beyond`.

    `RoomStore` finds it by its address until it is closed.

    Parameters
    ----------
    beyond : Store
        Nobody else writes there meanwhile. It is closed with the room.

    Attributes
    ----------
    limit : int
        Bytes; 0 at first.
    url : str
    used : int
        Bytes of the objects in memory.
    """

    def __init__(self, beyond: Store) -> None:
        self.limit = self.used = 0
        self.beyond = beyond
        self.closed = False
        self.objects: dict[str, _Object] = {}
        self.outside = set(beyond.list())
        # Entered again by the garbage collector: it lets go of kept arrays between any two lines.
        self.lock = threading.RLock()
        self._name = uuid.uuid4().hex
        _rooms[self._name] = self

    @property
    def url(self) -> str:
        """Address of the store, in this process, and as long as it is not closed."""
        return f"room://{self._name}"

    def forget(self, key: str) -> bool:
        """Free an object if it is in memory, and return whether it was. The caller holds the lock."""
        found = self.objects.pop(key, None)
        nbytes = 0 if found is None else len(found.data)
        # In a line without a call: in a call the garbage collector may come, and change the sum itself.
        self.used -= nbytes
        return found is not None

    def discard(self, goes: Callable[[str], bool]) -> None:
        """Free the objects in memory whose keys are named."""
        with self.lock:
            for key in filter(goes, list(self.objects)):
                self.forget(key)

    def spill(self, most: int) -> None:
        """Write objects to the store beyond, the oldest first, until those in memory take `most` bytes."""
        for key in list(self.objects):
            with self.lock:
                found = self.objects.get(key)
                if self.used <= most or found is None:
                    continue
                # Before it is forgotten: whoever does not find it here looks there.
                self.outside.add(key)
                self.beyond.put(key, found.data, create=True)
                if not self.forget(key):  # the garbage collector has removed it meanwhile
                    self.beyond.delete(key)

    def close(self) -> None:
        """Free the memory. Whoever comes late writes nothing; what is beyond stays."""
        with self.lock:
            # With the lock: a task that was left behind must not put a tile where nobody removes it.
            self.closed = True
            self.objects.clear()
            self.limit = self.used = 0
        _rooms.pop(self._name, None)
        self.beyond.close()


def rooms_bytes() -> int:
    """Return the memory that all rooms of this process take, or may take yet."""
    return sum(max(room.used, room.limit) for room in _all_rooms())


def spill_rooms(most: int) -> None:
    """Have all rooms of this process write objects to stores until those in memory take `most` bytes."""
    for room in _all_rooms():
        over = rooms_bytes() - most
        if over > 0:
            room.spill(max(0, room.used - over))


def _all_rooms() -> list[Room]:
    # In one step: while `values` goes on, another thread, or the garbage collector, makes or closes a room.
    return [room for found in _rooms.valuerefs() if (room := found()) is not None]


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

    def __repr__(self) -> str:
        return f"RoomStore({self._name!r})"

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

    def keep(self, key: str, data: memoryview, freed: Callable[[], None]) -> bool:
        """Keep `data` itself as an object, if there is room for it and the key is free.

        Parameters
        ----------
        key : str
        data : memoryview
            Of a NumPy array that nobody else looks at or changes, unless it is not kept.
        freed : callable
            Called, in any thread and between any two lines, when nobody looks at it any more: its memory can
            be used again.

        Returns
        -------
        bool
            Whether it was kept.
        """
        full_key, room, nbytes = self._prefix + check_key(key), self._room, len(data)
        with room.lock:
            taken = full_key in room.objects or full_key in room.outside
            if room.closed or taken or room.used + nbytes > room.limit:
                return False
            room.objects[full_key] = _Object(data.toreadonly(), f"{next(_numbers):x}", time.time())
            room.used += nbytes
        # All views hold the array, whoever has them: when it goes nobody can look at its memory.
        weakref.finalize(data.obj, freed).atexit = False
        return True

    def put(self, key: str, data: Data, *, create: bool = False, durable: bool = False) -> bool:
        """Write an object to the store beyond; with `create`, only if the key is free."""
        full_key, room = self._prefix + check_key(key), self._room
        with room.lock:
            if room.closed or (create and full_key in room.objects):
                return False
            # Before the object is there: from now on nobody keeps another one of this key.
            room.outside.add(full_key)
            room.forget(full_key)
        return room.beyond.put(full_key, data, create=create, durable=durable)

    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""
        return self._found(key) is not None or self._room.beyond.exists(self._prefix + key)

    def size(self, key: str) -> int:
        """Return the number of bytes of an object. Raises KeyError if there is no such object."""
        found = self._found(key)
        return self._room.beyond.size(self._prefix + key) if found is None else len(found.data)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, sorted, the keys that begin with the string `prefix`, as they stand at the call."""
        start = self._prefix + prefix
        with self._room.lock:
            # of a copy: the garbage collector may remove objects while we look
            keys = [key for key in list(self._room.objects) if key.startswith(start)]
        keys += self._room.beyond.list(start)
        return (key.removeprefix(self._prefix) for key in sorted(set(keys)))

    def scan(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the same objects as `list`, with what is known of each."""
        start = self._prefix + prefix
        with self._room.lock:
            infos = [
                ObjectInfo(key, len(found.data), found.etag, found.modified)
                for key, found in list(self._room.objects.items())
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
            if room.forget(full_key):
                return
        room.beyond.delete(full_key)

    def remove_empty_folders(self, ours: Callable[[str], bool], *, root: bool = False) -> None:
        """Remove those of the store beyond."""
        if not self._prefix:
            self._room.beyond.remove_empty_folders(ours, root=root)

    def close(self) -> None:
        """Do nothing: who has made the room closes it."""

    def _found(self, key: str) -> _Object | None:
        """Return an object in memory."""
        # Without the lock: a look into a dict is one operation, and objects are replaced, not changed.
        return self._room.objects.get(self._prefix + check_key(key))
