"""Memory store: for tests, small matrices and temporary tiles."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple
from weakref import WeakValueDictionary

from wrenla_handler.stores.base import Data, ObjectInfo, Reach
from wrenla_handler.stores.checks import check_key, check_range, flat_view

__all__ = ["MemoryStore"]


class _Object(NamedTuple):
    """Bytes, a number that no other object of this process has had, and when they were written."""

    data: bytes
    number: int
    modified: float


_numbers = itertools.count()


class _Space:
    """The objects of one name, shared by all stores on it."""

    def __init__(self) -> None:
        self.objects: dict[str, _Object] = {}
        # Entered again by the garbage collector: it lets go of kept arrays between any two lines.
        self.lock = threading.RLock()


# Every space that something still uses can be found by its name. Those that were given a name by
# the user are kept until dropped; nameless ones go with the last store on them.
_spaces: WeakValueDictionary[str, _Space] = WeakValueDictionary()
_kept: dict[str, _Space] = {}
_registry_lock = threading.Lock()


class MemoryStore:
    """Objects in a dict.

    Parameters
    ----------
    name : str, optional
        Stores of the same name in one process hold the same objects, until `MemoryStore.drop(name)`.
        As with folders, ``a/b`` is the part of ``a`` whose keys begin with ``b/``. Without a name
        the store gets a fresh one, and its objects go with the last store on it.

    Examples
    --------
    >>> store = MemoryStore()
    >>> store.put("c/0/0", b"tile", create=True)
    True
    >>> store.put("c/0/0", b"late", create=True)
    False
    >>> bytes(store.get("c/0/0", 1, 3))
    b'il'
    """

    def __init__(self, name: str = "") -> None:
        self._name = check_key(name) if name else uuid.uuid4().hex
        space_name, _, folder = self._name.partition("/")
        self._prefix = f"{folder}/" if folder else ""
        with _registry_lock:
            # Found or made in one step: two stores of one name must have the same objects.
            space = _spaces.get(space_name)
            if space is None:
                space = _spaces[space_name] = _Space()
                if name:
                    _kept[space_name] = space
        self._space = space

    @classmethod
    def drop(cls, name: str) -> None:
        """Forget the objects of a name; stores that are open on it become empty too.

        Examples
        --------
        >>> MemoryStore("a/b").put("key", b"")
        True
        >>> MemoryStore.drop("a")
        >>> list(MemoryStore("a").list())
        []
        """
        space_name, _, folder = check_key(name).partition("/")
        with _registry_lock:
            space = _spaces.get(space_name)
            if not folder:
                _kept.pop(space_name, None)
        if space is not None:
            with space.lock:
                for key in [key for key in space.objects if not folder or key.startswith(f"{folder}/")]:
                    del space.objects[key]

    def __repr__(self) -> str:
        return f"MemoryStore({self._name!r})"

    @property
    def url(self) -> str:
        """Address that opens the same store again, in this process."""
        return f"memory://{self._name}"

    @property
    def reach(self) -> Reach:
        """Only this process sees the objects."""
        return Reach.PROCESS

    def get(self, key: str, start: int = 0, stop: int | None = None) -> memoryview:
        """Return bytes `[start, stop)` of an object as a read-only view, without a copy."""
        check_range(start, stop)
        return memoryview(self._object(key).data)[start:stop]

    def put(self, key: str, data: Data, *, create: bool = False, durable: bool = False) -> bool:
        """Write a copy of `data`; with `create`, only if the key is free."""
        full_key = self._prefix + check_key(key)
        content = bytes(flat_view(data))
        with self._space.lock:
            if create and full_key in self._space.objects:
                return False
            self._space.objects[full_key] = _Object(content, next(_numbers), time.time())
        return True

    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""
        return self._prefix + check_key(key) in self._space.objects

    def size(self, key: str) -> int:
        """Return the number of bytes of an object. Raises KeyError if there is no such object."""
        return len(self._object(key).data)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, sorted, the keys that begin with the string `prefix`, as they stand at the call."""
        start = self._prefix + prefix
        with self._space.lock:
            # of a copy: the garbage collector may remove objects while we look
            keys = sorted(key for key in list(self._space.objects) if key.startswith(start))
        return (key.removeprefix(self._prefix) for key in keys)

    def scan(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the same objects as `list`, with what is known of each."""
        for key in self.list(prefix):
            found = self._space.objects.get(self._prefix + key)
            if found is not None:
                yield ObjectInfo(key, len(found.data), f"{found.number:x}", found.modified)

    def list_folders(self) -> Iterator[str]:
        """Yield, sorted, what stands before the first `/` in keys."""
        yield from sorted({key.partition("/")[0] for key in self.list() if "/" in key})

    def delete(self, key: str) -> None:
        """Remove an object. Removing one that is not there is not an error."""
        with self._space.lock:
            self._space.objects.pop(self._prefix + check_key(key), None)

    def move(self, key: str, new: str) -> None:
        """Give an object another key, in one step, in place of what is there."""
        new_key = self._prefix + check_key(new)
        with self._space.lock:
            found = self._object(key)
            del self._space.objects[self._prefix + key]
            self._space.objects[new_key] = found

    def move_folder(self, folder: str, new: str) -> bool:
        """Give all objects below a folder another one, in one step, unless there are objects below that."""
        old_prefix, new_prefix = (f"{self._prefix}{check_key(name)}/" for name in (folder, new))
        with self._space.lock:
            objects = self._space.objects
            keys = [key for key in objects if key.startswith(old_prefix)]
            if not keys or any(key.startswith(new_prefix) for key in objects):
                return False
            for key in keys:
                objects[new_prefix + key.removeprefix(old_prefix)] = objects.pop(key)
        return True

    def copy_from(self, source: MemoryStore, key: str, new: str, owner: str = "") -> bool:
        """Copy an object of another store, unless its key here is taken."""
        return self.put(new, source._object(key).data, create=True)

    def remove_empty_folders(self, ours: Callable[[str], bool], *, root: bool = False) -> None:
        """Do nothing: there are no folders, only keys with slashes."""

    def close(self) -> None:
        """Do nothing: there is nothing to give back, and the objects stay."""

    def _object(self, key: str) -> _Object:
        try:
            # Without the lock: a look into a dict is one operation, and objects are replaced, not changed.
            return self._space.objects[self._prefix + check_key(key)]
        except KeyError:
            raise KeyError(key) from None
