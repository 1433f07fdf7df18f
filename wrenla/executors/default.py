"""The executor that is used where none is named."""

from __future__ import annotations

import atexit
import threading

from wrenla.config import settings
from wrenla.executors.base import Executor, current_executor
from wrenla.executors.local import LocalExecutor

__all__ = ["default_executor"]

_lock = threading.Lock()
_default: dict[tuple[int, int, int], LocalExecutor] = {}


def default_executor() -> Executor:
    """Return the executor of the innermost ``with`` block, otherwise the one that the settings describe.

    That is this machine, with `workers` and `allowed_mem`. It is made once and ended with the interpreter.

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
    now = settings()
    key = (now.workers, now.allowed_mem, now.blas_threads)
    with _lock:
        if key not in _default:
            _close()
            _default[key] = LocalExecutor(
                now.workers or None, allowed_mem=now.allowed_mem or None, blas_threads=now.blas_threads
            )
        return _default[key]


def _close() -> None:
    while _default:
        _default.popitem()[1].shutdown(wait=True, cancel_futures=True)


atexit.register(_close)
