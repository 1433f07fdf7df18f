"""Default executor: used where none is named."""

from __future__ import annotations

import os
import threading

from wrenla.config import settings
from wrenla.errors import NestedCallError
from wrenla.executors.base import Executor, current_executor
from wrenla.executors.local.executor import LocalExecutor
from wrenla_handler.calls.context import current_call
from wrenla_handler.stores.base import Store

__all__ = ["default_executor", "store"]

_lock = threading.Lock()
_default: dict[tuple[int, int, int], LocalExecutor] = {}
_of_parents: list[LocalExecutor] = []


def _forked() -> None:
    """Leave the executor of the process that forked this one alone: its threads and children are not ours."""
    global _lock
    _lock = threading.Lock()  # another thread may have held it
    _of_parents.extend(_default.values())
    _default.clear()


os.register_at_fork(after_in_child=_forked)


def default_executor() -> Executor:
    """Return the executor that is used where none is named.

    That is the one of the innermost ``with`` block, otherwise the one of `set_executor`, otherwise the one
    that the settings describe: this machine, with `workers` and `allowed_mem`. The last one is made once, and
    again when these settings have changed, and ends with the interpreter.

    Raises
    ------
    RuntimeError
        What `set_executor` was told has been shut down, or belongs to the process that forked this one.

    Examples
    --------
    >>> import wrenla as wl
    >>> with wl.LocalExecutor(workers=1) as executor:
    ...     wl.default_executor() is executor
    True
    """
    current = current_executor()
    if current is not None:
        return current
    call = current_call()
    if call is not None and call.owner is None:
        raise NestedCallError(
            "a function that runs in a worker process asked for the default executor: calls of its own would "
            "wait for this one. Return what is to be done next, and submit it from outside; or let the "
            "function make an executor of its own: with wrenla.LocalExecutor(1, kind='thread')"
        )
    now = settings()
    key = (now.workers, now.allowed_mem, now.blas_threads)
    with _lock:
        replaced = [_default.pop(other) for other in list(_default) if other != key]
        if key not in _default:
            _default[key] = LocalExecutor(
                now.workers or None, allowed_mem=now.allowed_mem or None, blas_threads=now.blas_threads
            )
        found = _default[key]
    # whoever has the one before may go on with it; it ends with its last user, but not while we hold the lock
    del replaced
    return found


def store() -> Store:
    """Open the store that all calls of an executor share, inside a function that runs on it and outside.

    What functions put there other calls can get, and so can the driver; it goes with the executor.

    Returns
    -------
    Store
        ``put(key, data, create=False)``, ``get(key)``, ``list(prefix)``, ``exists``, ``size``, ``delete``;
        data are bytes.

    Examples
    --------
    >>> import wrenla as wl
    >>> def remember(x):
    ...     return wl.store().put(f"seen/{x}", b"yes")
    >>> with wl.LocalExecutor(workers=2) as executor:
    ...     _ = list(executor.map(remember, "ab"))
    ...     list(wl.store().list())
    ['seen/a', 'seen/b']
    """
    call = current_call()
    return default_executor().store() if call is None else call.open_store()


def _close() -> None:
    while _default:
        _default.popitem()[1].shutdown(wait=True)
