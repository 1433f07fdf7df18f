"""Folders of this machine that the workers see: a token that is put there tells."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress

from wrenla.executors.dask import worker as theirs
from wrenla.executors.dask.connection import PATIENCE, Connection
from wrenla_handler.stores.base import Reach
from wrenla_handler.stores.urls import folder_of, open_store, reach_of
from wrenla_handler.tiles.layout import METADATA_KEY

__all__ = ["SharedFolders"]

logger = logging.getLogger("wrenla.calls")


class SharedFolders:
    """Folders that have been looked for on all workers.

    Parameters
    ----------
    connection : Connection
    addresses : callable
        Returns the addresses of the workers.
    """

    def __init__(self, connection: Connection, addresses: Callable[[], Sequence[str]]) -> None:
        self._connection = connection
        self._addresses = addresses
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def reach_of(self, url: str, shared: str = "") -> Reach:
        """Return how far away an address can be seen; a folder, by asking the workers whether they do."""
        offered = reach_of(url, shared)
        if offered != Reach.HOST:
            return offered
        folder = folder_of(open_store(url).url)
        return Reach.SHARED if self._is_seen(folder) else offered

    def unseen_by(self, address: str) -> str:
        """Return a folder that is in use and that a new worker does not see, "" if it sees all of them."""
        with self._lock:
            seen = sorted(self._seen)
        return next((folder for folder in seen if not self._look(folder, [address])), "")

    def _is_seen(self, folder: str) -> bool:
        with self._lock:
            if any(f"{folder}/".startswith(f"{seen}/") for seen in self._seen):
                return True
        seen = self._look(folder, self._addresses())
        if seen:
            with self._lock:
                self._seen.add(folder)
        return seen

    def _look(self, folder: str, addresses: Sequence[str]) -> bool:
        """Put a token where there is a folder, or above it; one that is read-only has a matrix that tells."""
        name, token = f".wrenla-token-{uuid.uuid4().hex}", uuid.uuid4().hex
        while not os.path.isdir(folder) and folder != os.path.dirname(folder):
            folder = os.path.dirname(folder)  # what is made below it later is seen as it is
        path = os.path.join(folder, name)
        try:
            try:
                with open(path, "x") as file:
                    file.write(token)
            except OSError:
                path, token = os.path.join(folder, METADATA_KEY), _described(folder)
            asked = [self._connection.run(address, theirs.see, path) for address in addresses]
            until = time.monotonic() + PATIENCE
            return all(answer.result(max(0.0, until - time.monotonic())) == token for answer in asked)
        except Exception as error:
            logger.info("%s: not seen by all workers: %r", folder, error)
            return False
        finally:
            with suppress(OSError):
                os.remove(os.path.join(folder, name))


def _described(folder: str) -> str:
    """Return the description of a stored matrix, which names its own writing: no other one has it."""
    with open(os.path.join(folder, METADATA_KEY)) as file:
        return file.read(theirs.MOST_SEEN)
