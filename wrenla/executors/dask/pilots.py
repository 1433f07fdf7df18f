"""Pilots: the tasks that Dask sees of an executor, which hold a worker's thread while it has work."""

from __future__ import annotations

import functools
import logging
import threading
from contextlib import suppress
from typing import Any

from wrenla.executors.dask.connection import Connection
from wrenla.executors.dask.remote import Remote

__all__ = ["Pilots"]

logger = logging.getLogger("wrenla.calls")


class Pilots:
    """Pilots of one executor: one for each thread of a worker that has work.

    Parameters
    ----------
    connection : Connection
    name : str
        Of the executor.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._pinned: dict[tuple[str, str, int], Any] = {}  # workers may share a process, or an address
        self._more: list[Any] = []
        self._closed = False
        self._lock = threading.Lock()

    def keep(self, remote: Remote) -> None:
        """See that a worker has pilots."""
        process = remote.facts["process"]
        with self._lock:
            if self._closed or remote.left:
                return
            places = [(remote.address, process, n) for n in range(remote.threads)]
            missing = [place for place in places if place not in self._pinned]
            self._pinned |= dict.fromkeys(missing)  # nobody else submits them, too
        for number, place in enumerate(missing):
            try:
                pilot = self._connection.pilot(self._name, process, [remote.address])
            except BaseException:  # of a client that is being closed, or Ctrl-C
                with self._lock:
                    for other in missing[number:]:
                        self._pinned.pop(other, None)
                raise
            with self._lock:
                over = self._closed or remote.left
                if not over:
                    self._pinned[place] = pilot
            if over:
                _release(pilot)
            else:
                ended = self._connection.ended(pilot)
                ended.add_done_callback(functools.partial(self._over, remote, place, pilot))

    def drop(self, remote: Remote) -> None:
        """Release those of a worker that is not used any more: the scheduler would wait for it."""
        with self._lock:
            remote.left = True
            places = [place for place in self._pinned if place[0] == remote.address]
            pilots = [self._pinned.pop(place) for place in places]
        for pilot in pilots:
            if pilot is not None:
                _release(pilot)

    def want(self, more: int) -> None:
        """Ask for so many threads of workers that are not there: pilots that wait let a cluster grow."""
        with self._lock:
            self._more = [pilot for pilot in self._more if not pilot.done()]
            more = 0 if self._closed else more - len(self._more)
            try:
                new = [self._connection.pilot(self._name, "") for _ in range(more)]
            except Exception as error:  # the client is closed: whoever sends something finds that out
                logger.info("the Dask cluster is not asked for more workers: %r", error)
                return
            self._more += new
        for pilot in new:
            self._connection.ended(pilot).add_done_callback(functools.partial(_release, pilot))

    def close(self) -> None:
        """Release all of them."""
        with self._lock:
            self._closed = True
            pilots = [*self._pinned.values(), *self._more]
        for pilot in pilots:
            if pilot is not None:
                _release(pilot)

    def _over(self, remote: Remote, place: tuple[str, str, int], pilot: Any, _: object) -> None:
        """Begin another one if there is something to do: it may have come just when this one had ended."""
        _release(pilot)  # a cluster keeps workers that have results of tasks
        with self._lock:
            if self._closed or remote.left:
                return
            self._pinned.pop(place, None)
            if not remote.waiting:
                return
        with suppress(Exception):  # of a client that is being closed
            self.keep(remote)


def _release(pilot: Any, _: object = None) -> None:
    with suppress(Exception):  # of a client that is closed
        pilot.release()
