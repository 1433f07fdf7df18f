"""Cache of unpickled functions: most are called again."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from wrenla_handler.lru import LRU

__all__ = ["Functions"]

_COUNT, _BYTES = 64, 64 << 20
"""How many are kept, and how many bytes of them, as they travel; the latest one always is."""

_GARBAGE = 16 << 20
"""Bytes of functions that are let go of until somebody looks for them: many refer to themselves."""


class Functions:
    """The latest functions, by hash. It is not safe to use from several threads at once."""

    def __init__(self) -> None:
        self._kept = LRU[Callable[..., Any]](_COUNT, _BYTES)
        self._garbage = 0

    def get(self, name: str) -> Callable[..., Any] | None:
        """Return a function, None if it is not there (any more)."""
        return self._kept.get(name)

    def put(self, name: str, function: Callable[..., Any], nbytes: int) -> None:
        """Keep a function of some bytes; others may have to go for it."""
        if self._kept.put(name, function, nbytes):
            self._garbage += nbytes  # what has gone was about as large
        if self._garbage > _GARBAGE:
            self._garbage = 0
            gc.collect()  # Python itself looks when there are many objects, not when they are large

    def clear(self) -> None:
        """Drop all functions: they only save time."""
        self._kept.clear()
