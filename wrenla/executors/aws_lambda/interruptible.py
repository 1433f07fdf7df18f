"""Interruptible connections: end the one that a thread waits on, and allow enough open files."""

from __future__ import annotations

import os
import resource
import socket
import threading
from typing import Any

__all__ = ["Connections", "allow_open_files"]

_OTHER_FILES = 200
"""Open files that are left to all the rest: connections to the store, modules, what the program opens."""


def allow_open_files(connections: int) -> None:
    """Raise the limit of open files for so many connections.

    Raises
    ------
    ValueError
        If the system does not allow that.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + len(os.listdir("/dev/fd")) + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise ValueError(
            f"concurrency={connections} needs {needed} open files, one for each connection, but this process "
            f"may have {hard}: use less, or raise the limit (ulimit -Hn)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


class Connections:
    """The connections of a boto3 client on which threads wait for answers."""

    def __init__(self, client: Any) -> None:
        self._waiting: dict[int, Any] = {}
        self._told: dict[int, threading.Event | None] = {}
        # botocore has no public way to get at its connections: without it they end by their time-out only
        pools = getattr(getattr(client, "_endpoint", None), "http_session", None)
        pools = getattr(pools, "_pool_classes_by_scheme", {})
        for scheme, pool in list(pools.items()):
            pools[scheme] = type(pool.__name__, (pool,), {"ConnectionCls": self._noting(pool.ConnectionCls)})

    def take(self, told: threading.Event | None) -> None:
        """Set the event that stops this thread's wait for an answer."""
        self._told[threading.get_ident()] = told

    def free(self) -> None:
        """Forget the connection of this thread."""
        self._waiting.pop(threading.get_ident(), None)
        self._told.pop(threading.get_ident(), None)

    def cut(self, thread: threading.Thread) -> None:
        """Break the connection of a thread."""
        line = self._waiting.get(thread.ident or 0)
        sock = getattr(line, "sock", None)
        if sock is not None:
            try:
                # Not `close`: the waiting thread still reads from this descriptor, whose number another one
                # could get. To shut it down wakes that thread, which closes it.
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it has ended by itself

    def _noting(self, kind: Any) -> Any:
        waiting, tellers = self._waiting, self._told

        class Noted(kind):  # type: ignore[misc]
            def getresponse(self, *args: Any, **kwargs: Any) -> Any:
                # First the entry, then the look: a `cut` between the two finds the socket, one before them
                # has set `told`.
                waiting[threading.get_ident()] = self
                told = tellers.get(threading.get_ident())
                if told is not None and told.is_set():  # just before there was anything to cut
                    raise ConnectionResetError("told to hang up")
                return super().getresponse(*args, **kwargs)

        return Noted
