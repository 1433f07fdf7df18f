"""Broadcast values: stored once, read by many calls, kept by the workers."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

from wrenla_handler.errors import StoreError
from wrenla_handler.lru import LRU
from wrenla_handler.serialize.blobs import Packed, digest, dump, load, size
from wrenla_handler.serialize.pickling import Pickler
from wrenla_handler.stores.base import Data
from wrenla_handler.stores.urls import open_store

__all__ = ["Ref", "dump_shared", "forget_values", "keep_at_most", "resolved", "tally"]

_KEPT_BYTES = 1 << 30
"""Bytes of values kept by one process, if nothing is said; the latest one is always kept."""


class Ref:
    """Reference to a broadcast value: as an argument of a call it arrives as the value itself.

    Executors make them: `Executor.broadcast`. Inside containers and closures a reference stays one;
    there `get` returns the value. All calls of a worker share it, so it must not be changed: arrays are
    read-only, but what one call does to a list or a dict, or to an object, the next ones see.
    """

    __slots__ = ("_drop", "_packed", "_url")

    def __init__(self, url: str, packed: Packed, drop: Callable[[Ref, Packed], None] | None = None) -> None:
        self._url = url
        self._packed = packed
        self._drop = drop  # stays with whoever has stored the value, and counts its users

    @property
    def nbytes(self) -> int:
        """Bytes of the value."""
        return size(self._packed)

    def get(self) -> Any:
        """Return the value; this process reads it from the store once."""
        return _values.get(self._url, self._packed)

    def delete(self) -> None:
        """Remove the value from the store, where calls under way may still need it.

        If equal values have been broadcast, which are stored as one, it goes with the last of them. (A
        reference that has travelled knows nothing of others: it removes the value at once.)
        """
        self.forget()
        if self._drop is not None:
            # Exchanged first: a second `delete` must not count one more user of the value down.
            drop, self._drop = self._drop, _nothing
            drop(self, self._packed)
            return
        with closing(open_store(self._url)) as store:
            for blob in self._packed:
                if blob.key:
                    store.delete(blob.key)

    def forget(self) -> None:
        """Drop the value in this process."""
        _values.drop(self._packed)

    def __reduce__(self) -> Any:
        return Ref, (self._url, self._packed)

    def __repr__(self) -> str:
        return f"Ref({digest(self._packed)[:12]}…, {self.nbytes} bytes)"


def _nothing(ref: Ref, packed: Packed) -> None:
    """Do nothing: the user of the value was counted down before."""


def dump_shared(value: object) -> list[Data]:
    """Return the pickle of a value that will be shared, and its buffers: its arrays come back read-only."""
    return dump(value, _Frozen)


class _Frozen(Pickler):
    """Pickles arrays as if they were read-only."""

    def reducer_override(self, obj: Any) -> Any:
        numpy = sys.modules.get("numpy")  # a worker without it starts in half the time, and has no arrays
        if numpy is None or type(obj) is not numpy.ndarray or obj.dtype.hasobject:
            return super().reducer_override(obj)
        contiguous = obj.flags.c_contiguous or obj.flags.f_contiguous
        frozen = obj.view() if contiguous else obj.copy()
        frozen.flags.writeable = False
        return frozen.__reduce_ex__(5)


class _Values:
    """Values by hash, each as a tuple of one, since a value may be None."""

    def __init__(self) -> None:
        self.known = LRU[tuple[Any]](nbytes=_KEPT_BYTES)
        self._lock = threading.Lock()
        self.gets = self.hits = 0

    def get(self, url: str, packed: Packed) -> Any:
        key = digest(packed)
        # held while reading: threads that ask for the same value at the same time read it once
        with self._lock:
            found = self.known.get(key)
            if found is not None:
                self.hits += 1
                return found[0]
            value = self._read(url, packed)
            self.known.put(key, (value,), size(packed))
            return value

    def _read(self, url: str, packed: Packed) -> Any:
        with closing(open_store(url)) as store:

            def get(key: str) -> Data:
                self.gets += 1
                try:
                    return store.get(key)
                except KeyError:
                    raise StoreError(f"{url}: {key}: the broadcast value has been deleted") from None

            return load(packed, get, writable=False)

    def clear(self) -> None:
        with self._lock:
            self.known.clear()

    def drop(self, packed: Packed) -> None:
        with self._lock:
            self.known.drop(digest(packed))


_values = _Values()


def keep_at_most(nbytes: int) -> None:
    """Limit the bytes of values that this process keeps."""
    _values.known.nbytes = nbytes


def forget_values() -> None:
    """Drop all values; the next use reads them again."""
    _values.clear()


def tally() -> tuple[int, int]:
    """Return how many objects this process has read for broadcasts, and how many values were at hand."""
    return _values.gets, _values.hits


def resolved(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments with the values that references among them stand for."""
    return (
        tuple(_value(argument) for argument in arguments),
        {name: _value(argument) for name, argument in keywords.items()},
    )


def _value(argument: Any) -> Any:
    return argument.get() if isinstance(argument, Ref) else argument
