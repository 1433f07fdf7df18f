"""Call context: call id, cancellation and store of a running function."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from wrenla_handler.stores.base import Store

__all__ = ["CallContext", "cancelled", "current_call", "running"]


@dataclass(slots=True)
class CallContext:
    """The call that is running.

    Attributes
    ----------
    id : str
    attempt : int
        Counted from 1.
    open_store : callable
        Opens the store that all calls of the executor share.
    owner : object
        Whose workers it runs on; None: this process runs this call and nothing else.
    cancelled : threading.Event
        Set when the call has been told to stop.
    """

    id: str
    attempt: int
    open_store: Callable[[], Store]
    owner: object
    cancelled: threading.Event = field(default_factory=threading.Event)


_current: ContextVar[CallContext | None] = ContextVar("call", default=None)
_only: list[CallContext] = []
"""The call of a process that runs one at a time: threads that a function starts belong to it, too."""


def current_call() -> CallContext | None:
    """Return the call that is running in this thread, if there is one."""
    return _current.get() or (_only[-1] if _only else None)


@contextmanager
def running(context: CallContext) -> Iterator[None]:
    """Make a call the current one."""
    token = _current.set(context)
    if context.owner is None:
        _only.append(context)
    try:
        yield
    finally:
        _current.reset(token)
        if context.owner is None:
            _only.remove(context)


def cancelled() -> bool:
    """Return whether the call of the running function should stop.

    A function that takes long and has something to clear up may ask now and then. In a worker process it is
    also interrupted (by a `SystemExit`), and killed if it does not end soon; a thread cannot be.

    Examples
    --------
    >>> cancelled()  # outside a call
    False
    """
    call = current_call()
    return call is not None and call.cancelled.is_set()
