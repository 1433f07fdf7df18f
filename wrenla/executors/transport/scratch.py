"""Scratch space in the store for payloads too large for a message; removed with the executor."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterable

from wrenla.config import settings
from wrenla.errors import ReachError, StoreError
from wrenla.executors.transport.local_modules import by_value_if_run
from wrenla.workspace.workspace import Workspace
from wrenla_handler.calls.broadcast import Ref, dump_shared
from wrenla_handler.calls.runner import DATA, results_of
from wrenla_handler.serialize.blobs import INLINE, Blob, Packed, pack
from wrenla_handler.stores.base import Data, Reach, Store
from wrenla_handler.stores.urls import join, open_store, reach_of

__all__ = ["ScratchSpace"]

logger = logging.getLogger("wrenla.calls")


_UNSEEN = {
    Reach.HOST: "worker processes cannot see the memory of this one: set the store (WRENLA_STORE) to a "
    "folder or to s3://bucket/prefix",
    Reach.SHARED: "workers on other machines cannot see it: set the store (WRENLA_STORE) to a folder that "
    "they share (and say so by WRENLA_SHARED_FOLDERS) or to s3://bucket/prefix",
    Reach.ANYWHERE: "functions on AWS cannot see it: leave the setting `store` (WRENLA_STORE) open, for the "
    "bucket of the deployment, or set it to s3://bucket/prefix",
}


class _Shared:
    """Shared object: number of its users, and whether it is stored."""

    def __init__(self) -> None:
        self.users = 0
        self.stored = False
        self.storing = threading.Lock()


class ScratchSpace:
    """Folder in the store for temporaries; made at its first use, removed at the end.

    Parameters
    ----------
    name : str
        Of the folder.
    reach : Reach
        How far away the workers are.
    root : callable, optional
        Returns the URL of the store; by default the one of the settings.
    reach_of : callable, optional
        Returns how far away an address is seen, as `wrenla_handler.stores.urls.reach_of`.
    """

    def __init__(
        self,
        name: str,
        reach: Reach,
        root: Callable[[], str] | None = None,
        reach_of: Callable[[str, str], Reach] = reach_of,
    ) -> None:
        self._name = name
        self.reach = reach
        self.reach_of = reach_of
        self._root = root or (lambda: settings().store)
        self._folder: Workspace | None = None
        self._refs: set[Ref] = set()
        self._shared: dict[str, _Shared] = {}
        self._counting = threading.Lock()
        self._process = os.getpid()
        self._closed = False
        self._url = ""
        self._lock = threading.Lock()
        self._number = itertools.count()

    @property
    def url(self) -> str:
        """Address of the folder, which is leased from now on.

        Any worker that knows it may put a large result there, and what lies in a folder without a lease is
        nobody's: `clean` would never remove it if this process were killed.
        """
        self.take()
        return self._url

    def take(self) -> None:
        """Take the folder now, as long as there are descriptors for it."""
        self._url = self._url or self._opened().url

    @property
    def store(self) -> Store:
        """The folder as a store."""
        return self._opened().store

    def data(self) -> Store:
        """Open the part of it that is for what functions keep there themselves."""
        return open_store(join(self._opened().url, DATA))

    def send(self, parts: list[Data], kind: str, *, inline: int = INLINE) -> Packed:
        """Pack something for one call: the message takes what is small."""

        def put(number: int, part: Data) -> str:
            return self._put(f"{kind}/{next(self._number):08x}-{number}", part)

        return pack(parts, put, inline=inline)

    def share(self, parts: list[Data], kind: str, *, inline: int) -> Packed:
        """Pack something that many calls use: it is stored once, named by its content, until `drop`."""
        packed = pack(parts, lambda number, part: "", inline=inline)
        named = []
        try:
            for blob, part in zip(packed, parts, strict=True):
                if not blob.data and blob.nbytes:
                    self._share(f"{kind}/{blob.sha256}", part)
                    blob = blob._replace(key=f"{kind}/{blob.sha256}")
                named.append(blob)
        except BaseException:
            self.drop(named)
            raise
        return tuple(named)

    def keep(self, packed: Packed) -> bool:
        """Add a use of something shared. Returns False, and does nothing, if it is not stored (now)."""
        keys = [blob.key for blob in packed if blob.key]
        if not keys:
            return False
        with self._counting:
            # All keys or none: a part that is missing would make the others useless.
            if not all(key in self._shared for key in keys):
                return False
            for key in keys:
                self._shared[key].users += 1
        return True

    def drop(self, packed: Iterable[Blob]) -> None:
        """Drop a use of something shared. The last user removes it."""
        if os.getpid() != self._process:  # a fork, which unwinds what its parent is still at
            return
        for blob in packed:
            if blob.key:
                self._drop(blob.key)

    def broadcast(self, value: object, *, inline: int) -> Ref:
        """Store a value that many calls read."""
        by_value_if_run()
        packed = self.share(dump_shared(value), "broadcasts", inline=inline)
        ref = Ref(self.store.url, packed, self._forget)
        self._refs.add(ref)
        return ref

    def fetch(self, key: str) -> Data:
        """Return an object that a message names."""
        try:
            return self.store.get(key)
        except KeyError:
            raise StoreError(
                f"{self.store.url}: {key}: a part of the message is not there any more"
            ) from None

    def free(self, packed: Iterable[Packed]) -> None:
        """Remove what was stored for one call."""
        for value in packed:
            for blob in value:
                if blob.key:
                    self.delete(blob.key)

    def delete(self, key: str) -> None:
        """Remove an object. A failure is no reason for a call to fail: the object goes with the folder."""
        with self._lock:
            folder = self._folder
        if folder is None:  # it has gone already
            return
        try:
            folder.store.delete(key)
        except StoreError as error:
            logger.warning("%s: not removed yet: %s", key, error)

    def free_results(self, call: str, attempt: int) -> None:
        """Remove results that a worker may have stored without being able to report them."""
        try:
            keys = list(self.store.list(results_of(call, attempt)))
        except StoreError as error:
            logger.warning("results of %s: not removed yet: %s", call, error)
            return
        for key in keys:
            self.delete(key)

    def close(self) -> None:
        """Remove everything."""
        with self._lock:  # all the time: whoever comes second may rely on its being done
            self._closed = True
            while self._refs:
                self._refs.pop().forget()
            if self._folder is not None:
                self._folder.remove()
                self._folder = None

    def _forget(self, ref: Ref, packed: Packed) -> None:
        self._refs.discard(ref)
        self.drop(packed)

    def _share(self, key: str, part: Data) -> None:
        with self._counting:
            # Counted before it is stored: whoever drops it at this moment sees that it is not the last.
            shared = self._shared.setdefault(key, _Shared())
            shared.users += 1
        try:
            with shared.storing:  # whoever comes second may rely on its being there
                if not shared.stored:
                    self.store.put(key, part, create=True)
                    shared.stored = True
        except BaseException:
            self._drop(key)
            raise

    def _drop(self, key: str) -> None:
        with self._counting:
            shared = self._shared.get(key)
            if shared is None:
                return
            shared.users -= 1
            if shared.users:
                return
        # Without `_counting`, for which all other calls would wait: to remove an object takes a request.
        with shared.storing:
            if not shared.users and shared.stored:  # who comes from now on waits, and stores it again
                self.delete(key)
                shared.stored = False
        with self._counting:
            # Looked at again: between the locks somebody may have come, or put a new one in its place.
            if not shared.users and self._shared.get(key) is shared:
                del self._shared[key]

    def _put(self, key: str, part: Data) -> str:
        self.store.put(key, part)
        return key

    def _opened(self) -> Workspace:
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor has been shut down, and what it kept is gone")
            if self._folder is None:
                root = self._root()
                if self.reach_of(root, settings().shared_folders) < self.reach:
                    raise ReachError(f"{root}: {_UNSEEN[self.reach]}")
                self._folder = Workspace(root, self._name)
            return self._folder
