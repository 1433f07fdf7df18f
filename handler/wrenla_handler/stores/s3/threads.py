"""Thread pool for parallel reads of S3 objects: one per process, while stores use it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from weakref import WeakSet

from wrenla_handler.threads import Threads

__all__ = ["leave", "submit"]

_READERS = 16

_users: WeakSet[Any] = WeakSet()
_pool: Threads | None = None
_lock = threading.Lock()


def submit(user: object, read: Callable[..., None], *arguments: Any) -> Future[None]:
    """Have something read, for a store that tells by `leave` when it needs the threads no more.

    A store has no threads of its own: there is one for each array of each run, and a Lambda environment may
    have 1,024 threads.
    """
    global _pool
    with _lock:  # until it has been taken, so that nobody ends the pool in between
        _users.add(user)
        if _pool is None:
            _pool = Threads(_READERS, "wrenla-s3")
        return _pool.submit(read, *arguments)


def leave(user: object) -> None:
    """Note that a store is closed. With the last one the threads end; who reads again starts them anew."""
    global _pool
    with _lock:
        _users.discard(user)
        if _users:
            return
        pool, _pool = _pool, None
    # Without the lock: it waits for reads that go on, and other stores may begin theirs meanwhile.
    if pool is not None:
        pool.shutdown()


def _start_child() -> None:
    # A forked child has none of the threads, and perhaps inherits the lock while it is held.
    global _lock, _pool
    _lock, _pool = threading.Lock(), None
    _users.clear()


os.register_at_fork(after_in_child=_start_child)
