"""Admission of workers: those that answer and fit are used, the others are refused with the reason."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import Any

from wrenla.errors import ServiceError, VersionError
from wrenla.executors.dask import worker as theirs
from wrenla.executors.dask.connection import PATIENCE, Connection
from wrenla.executors.dask.folders import SharedFolders
from wrenla.executors.dask.remote import Remote
from wrenla.executors.transport.versions import differences

__all__ = ["Admission"]

logger = logging.getLogger("wrenla.calls")

_SOON = 0.5
"""Seconds for which workers are waited for that do not answer at once: later ones are asked for elsewhere."""

_INSTALL = "install there what is installed here (pip freeze), and start the workers again"


class Admission:
    """Workers that are new: greeted once, and used if they fit.

    Parameters
    ----------
    connection : Connection
    name : str
        Of the executor.
    folders : SharedFolders
        That all workers must see.
    allowed : int
        Bytes of memory for tile tasks on each worker; 0: half of Dask's limit.
    """

    def __init__(self, connection: Connection, name: str, folders: SharedFolders, allowed: int) -> None:
        self._connection = connection
        self._name = name
        self._folders = folders
        self._allowed = allowed
        self._greeted: dict[str, Future[Any]] = {}
        self._failed: dict[str, str] = {}  # what came of the last greeting
        self._refused: dict[str, str] = {}
        self._given_up: set[str] = set()
        self._first = True
        self._lock = threading.Lock()

    @property
    def has_refused(self) -> bool:
        """There are workers that do not fit."""
        return bool(self._refused)

    def admitted(self, threads: Mapping[str, int], used: Collection[str]) -> dict[str, Remote]:
        """Return the workers that are new and fit.

        One that does not answer holds up nobody: what it says is taken into account as soon as it does.

        Parameters
        ----------
        threads : mapping
            The threads of all workers that are there, by address.
        used : collection of str
            Addresses of those that are used already.
        """
        with self._lock:
            self._refused = {address: why for address, why in self._refused.items() if address in threads}
        self._greeted = {address: said for address, said in self._greeted.items() if address in threads}
        self._failed = {address: why for address, why in self._failed.items() if address in threads}
        for address in threads:
            if address not in used and address not in self._refused and address not in self._greeted:
                # other workers in the same process may be in use
                ending = self._name if address in self._given_up else ""
                self._greeted[address] = self._connection.run(address, theirs.greet, ending)
        if not self._greeted:
            return {}
        wait_for(self._greeted.values(), PATIENCE if self._first else _SOON)
        self._first = False
        found = {}
        for address in [address for address, said in self._greeted.items() if said.done()]:
            remote = self._checked(address, threads[address], self._greeted.pop(address))
            if remote is not None:
                found[address] = remote
        return found

    def give_up(self, address: str) -> None:
        """Note that a worker does not answer: if it does again, what it has of ours ends first."""
        self._given_up.add(address)

    def none(self, scheduler: str) -> VersionError | ServiceError:
        """Return the error where there is no worker that can be used."""
        with self._lock:
            refused = sorted(self._refused.items())
        if refused:
            words = "; ".join(f"{address}: {why}" for address, why in refused[:3])
            return VersionError(f"no worker of the Dask cluster {scheduler} can be used: {words}")
        if silent := dict.fromkeys(self._greeted, "no answer yet") | self._failed:
            words = "; ".join(f"{address}: {why}" for address, why in sorted(silent.items())[:3])
            return ServiceError(
                f"the Dask cluster {scheduler} has no workers that answer ({words}): look into their logs, "
                "or start others"
            )
        return ServiceError(
            f"the Dask cluster {scheduler} has no workers: start some (cluster.scale(4), or dask worker "
            "ADDRESS), or name how many are wanted where a cluster grows (workers=4)"
        )

    def _checked(self, address: str, threads: int, said: Future[Any]) -> Remote | None:
        try:
            facts = said.result()
        except Exception as error:
            words = f"{type(error).__name__}: {error}"  # Dask itself hands some errors on as text only
            if any(kind in words for kind in ("ModuleNotFoundError", "ImportError", "AttributeError")):
                self._refuse(
                    address, f"wrenla is not installed there, or another version of it ({error}): {_INSTALL}"
                )
            else:
                logger.info("the Dask worker %s does not answer yet: %s", address, words)
                self._failed[address] = words
            return None
        self._failed.pop(address, None)
        self._given_up.discard(address)
        if different := differences(facts):
            self._refuse(address, f"{'; '.join(different)}: {_INSTALL}")
            return None
        if unseen := self._folders.unseen_by(address):
            self._refuse(
                address, f"it does not see the folder {unseen}, which is in use: mount it there, too"
            )
            return None
        limit = int(facts["limit"])
        allowed = self._allowed or (limit or int(facts["memory"])) // 2
        return Remote(address, facts, threads, allowed, limit)

    def _refuse(self, address: str, why: str) -> None:
        logger.warning("the Dask worker %s is not used: %s", address, why)
        with self._lock:
            self._refused[address] = why
