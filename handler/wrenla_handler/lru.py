"""LRU cache, bounded by bytes: entries only save time."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["LRU"]

_T = TypeVar("_T")


class LRU(Generic[_T]):
    """Things by name; the least recently used ones go when there are too many. The latest one always stays.

    It is not safe to use from several threads at once.

    Parameters
    ----------
    count : int, optional
        How many.
    nbytes : int, optional
        How many bytes all together.

    Examples
    --------
    >>> kept = LRU[str](count=2)
    >>> kept.put("a", "A"), kept.put("b", "B"), kept.get("a"), kept.put("c", "C"), kept.get("b")
    ([], [], 'A', ['B'], None)
    """

    def __init__(self, count: float = math.inf, nbytes: float = math.inf) -> None:
        self._count = count
        self.nbytes = nbytes
        self._things: OrderedDict[str, tuple[_T, int]] = OrderedDict()

    def get(self, name: str) -> _T | None:
        """Return what has a name, None if it is not there (any more)."""
        found = self._things.get(name)
        if found is None:
            return None
        self._things.move_to_end(name)
        return found[0]

    def put(self, name: str, thing: _T, nbytes: int = 0) -> list[_T]:
        """Keep something of some bytes. Returns what has to go for it."""
        self._things[name] = thing, nbytes
        self._things.move_to_end(name)
        gone = []
        while len(self._things) > 1 and (len(self._things) > self._count or self._bytes() > self.nbytes):
            gone.append(self._things.popitem(last=False)[1][0])
        return gone

    def drop(self, name: str) -> None:
        """Keep one thing no longer."""
        self._things.pop(name, None)

    def clear(self) -> list[_T]:
        """Keep nothing. Returns what was there."""
        gone = [thing for thing, _ in self._things.values()]
        self._things.clear()
        return gone

    def _bytes(self) -> int:
        return sum(nbytes for _, nbytes in self._things.values())
