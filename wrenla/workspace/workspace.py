"""Workspace of a run in a store: a leased prefix with its temporary tiles; finding those of others."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import uuid
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from wrenla.workspace.lease import Lease, Standing, is_free, standing
from wrenla.workspace.ownership import MANIFEST, has_tiles, in_run, is_run, is_run_folder, lease_is_of
from wrenla_handler.errors import StoreError, ThreadLimitError
from wrenla_handler.stores.base import LEASE, RUNS, Reach, Store
from wrenla_handler.stores.room import Room
from wrenla_handler.stores.urls import join, open_store
from wrenla_handler.threads import Threads

__all__ = [
    "DeadRun",
    "Workspace",
    "dead_runs",
    "delete_all",
    "empty",
    "runs_in",
    "saves_of",
    "take_lease",
]

logger = logging.getLogger("wrenla.run")

_REMOVERS = 8
"""Requests at a time that remove objects from a store that is far away."""


_LOOKERS = 16
"""Runs at a time that are looked at in a store that is far away."""

_open_here: set[str] = set()
"""Addresses of the runs of this process that are not over."""


class Workspace:
    """Prefix of a run, or of several that follow each other, held by a lease until the folder is closed.

    It ends when the runs have, and with the last of what is kept of them.

    Parameters
    ----------
    root : str
        URL of the store for temporaries.
    key : str
        Identity of the run: the same work finds the same folder, and what is done in it. While another live
        process holds it, this one takes a folder of its own.
    """

    def __init__(self, root: str, key: str) -> None:
        self._process = os.getpid()
        self.root = root
        self.key, self.url, self.store, lease = _open(root, key)
        if lease is None:
            self.key, self.url, self.store, lease = _open(root, f"{key}-{uuid.uuid4().hex[:8]}")
        if lease is None:
            raise StoreError(f"{self.url}: a lease with a name of our own is somebody else's; try again")
        self.lease = lease
        self.room: Room | None = None
        """Memory for tiles that need not be there when the process is killed."""
        self.resumable = False
        """Whether a run that needs what is here was cut short: then it stays when the folder ends."""
        # The garbage collector lets go of what is kept, in any thread and between any two lines. So what is
        # shared with it changes in single steps: one of a dict, one of a list.
        self._kept: dict[int, frozenset[str]] = {}
        self._runs, self._ends, self._tokens = [True], [True], itertools.count()
        _open_here.add(self.url)

    def place(self, name: str) -> str:
        """Return the URL of an array of this run: in the room if there is one, behind which the folder is."""
        return join(self.url if self.room is None else self.room.url, name)

    def make_room(self, more: int) -> None:
        """Let tiles take so many bytes of memory, beside those that are there."""
        if self.room is None:
            self.room = Room(self.store)
            self.store = open_store(self.room.url)
        self.room.limit = self.room.used + more

    @property
    def is_useful(self) -> bool:
        """Whether tiles are in the folder that another process may go on with."""
        return self.room is None or any(has_tiles(key.partition("/")[0]) for key in self.room.beyond.list())

    def keep(self, arrays: Iterable[str]) -> int:
        """Keep some arrays beyond the runs, until `let_go` of the number that is returned."""
        token = next(self._tokens)
        self._kept[token] = frozenset(arrays)
        return token

    def keeps(self, array: str) -> bool:
        """Tell whether an array is kept beyond the runs."""
        return any(array in arrays for arrays in list(self._kept.values()))

    def let_go(self, token: int) -> None:
        """Remove what was kept, unless a run that needs it was cut short."""
        arrays = self._kept.pop(token, frozenset())
        if not (self._runs or self._kept):
            self._end()
        elif arrays:
            self._let_go(lambda name: name in arrays and not self.keeps(name))

    def end(self, tokens: Iterable[int] = ()) -> None:
        """End the runs and let go of some of what is kept. All else goes, unless they were cut short."""
        for token in tokens:
            self._kept.pop(token, None)
        self._runs.clear()
        if not self._kept:
            self._end()
        else:
            self._let_go(lambda name: not self.keeps(name), uploads=True)

    def sweep(self) -> None:
        """Remove what is not kept: the runs go on another way."""
        self._drop(lambda name: not self.keeps(name))

    def _let_go(self, goes: Callable[[str], bool], uploads: bool = False) -> None:
        """Remove some arrays; if a run was cut short, only what would be gone with the process anyway."""
        if not self.resumable:
            self._drop(goes, uploads)
        elif self.room is not None:
            self.room.discard(lambda key: goes(key.partition("/")[0]))

    def _end(self) -> None:
        try:
            self._ends.pop()
        except IndexError:
            return  # the other one does it
        if self.resumable and (self.is_useful or saves_of(self.store)):
            self.close()
        else:
            self.remove()

    def _drop(self, goes: Callable[[str], bool], uploads: bool = False) -> None:
        """Remove the tiles of some arrays, and maybe the arrays that were brought to the workers."""
        if os.getpid() != self._process or not self.lease.still_held():
            return
        by_name: dict[str, list[str]] = {}
        for key in self.store.list():
            by_name.setdefault(key.partition("/")[0], []).append(key)
        gone = [
            keys
            for name, keys in by_name.items()
            if (has_tiles(name) and goes(name)) or (uploads and name.startswith("array-"))
        ]
        delete_all(self.store, itertools.chain.from_iterable(gone))

    def close(self) -> None:
        """Give the lease back and keep the tiles: another run may go on from here."""
        self.lease.release()
        self._close_stores()
        _open_here.discard(self.url)

    def remove(self) -> None:
        """Remove everything that a run writes."""
        if os.getpid() != self._process:
            return  # a forked child has inherited it, and its parent goes on with it
        if self.lease.still_held():  # or else it is somebody's who has taken this process for dead
            self.lease.end_renewing()
            empty(self.store, self.key)
        self.lease.stop()
        self._close_stores()
        _open_here.discard(self.url)

    def _close_stores(self) -> None:
        self.store.close()
        if self.room is not None:
            self.room.close()


def _open(root: str, key: str) -> tuple[str, str, Store, Lease | None]:
    """Open a run's folder and take its lease, None while somebody else has it."""
    url = join(root, RUNS, key)
    store = open_store(url)
    try:
        lease = take_lease(store, key)
    except BaseException:
        store.close()
        raise
    if lease is None:
        store.close()
    return key, url, store, lease


def take_lease(store: Store, key: str) -> Lease | None:
    """Take the lease of a run's folder, None while somebody else has it."""
    found = standing(store, LEASE)
    return Lease.succeed(store, LEASE, found, {"run": key}) if is_free(store, LEASE, found) else None


def empty(store: Store, run: str) -> tuple[int, int]:
    """Remove what a run writes, and return how many objects that were and how many others stay."""
    keys = set(store.list())
    # and look again when it is gone: who writes after that finds it gone, and removes it again (TileWork)
    store.delete(MANIFEST)
    keys |= set(store.list())
    ours = {key for key in keys if in_run(key, run)}
    leases = {key for key in ours if key.startswith(LEASE)}
    delete_all(store, ours - leases)
    for key in leases:  # last: until then nobody else may take the folder for their own
        store.delete(key)
    store.remove_empty_folders(is_run_folder, root=True)
    if keys - ours:
        logger.warning("%s: kept, as wrenla has not written it: %r", store.url, min(keys - ours))
    return len(ours), len(keys - ours)


def saves_of(store: Store) -> dict[str, str]:
    """Return where a run saves matrices: for each address the key of the result."""
    try:
        saves = json.loads(bytes(store.get(MANIFEST)))["saves"]
        return {str(url): str(result) for url, result in saves.items()}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}  # it saves nothing, or had not begun to


def delete_all(store: Store, keys: Iterable[str]) -> None:
    """Remove objects, some at a time where a request takes a while."""
    rest = sorted(keys)
    if store.reach == Reach.ANYWHERE and len(rest) > 1:
        with contextlib.suppress(RuntimeError):  # at the end of the interpreter no thread can begin
            with Threads(_REMOVERS, "wrenla-remove") as pool:
                list(pool.map(store.delete, rest))
            rest = []
    for key in rest:
        store.delete(key)


@dataclass(frozen=True, slots=True)
class DeadRun:
    """Run without a live owner, and its arrays that another run needs.

    Attributes
    ----------
    name, url : str
    arrays : frozenset of str
        Names of folders below it.
    found : Standing
        Its lease.
    """

    name: str
    url: str
    arrays: frozenset[str]
    found: Standing

    @property
    def alive(self) -> bool | None:
        """False if its owner is gone, None if that has to be watched."""
        return self.found.alive

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Hold its lease for a while, against its own script and `clean`; yield whether we have it.

        If no tile is left at the end it is removed.
        """
        store = open_store(self.url)
        lease = None
        try:
            if is_free(store, LEASE, self.found):
                lease = Lease.succeed(store, LEASE, self.found, {"run": self.name})
            yield lease is not None
        finally:
            if lease is not None:
                self._give_back(store, lease)
            store.close()

    def _give_back(self, store: Store, lease: Lease) -> None:
        tiles = any(has_tiles(key.partition("/")[0]) for key in store.list())
        if tiles or saves_of(store) or not lease.still_held():
            lease.release()
            return
        try:
            lease.end_renewing()
            empty(store, self.name)
        finally:
            lease.stop()


def dead_runs(folder: Workspace, arrays: Container[str]) -> list[DeadRun]:
    """Find the runs beside one's own that have some of these arrays, and no live owner that is known of.

    It takes one request where there are no others, and two or three more for each of those. What cannot be
    read, as another user's, counts as not there.
    """
    look = partial(_look_for, folder.root, arrays)
    try:
        names = [name for name in runs_in(folder.root) if has_tiles(name) and name != folder.key]
        if folder.store.reach == Reach.ANYWHERE and len(names) > 1:
            with Threads(_LOOKERS, "wrenla-look") as pool:
                found = list(pool.map(look, names))
        else:
            found = list(map(look, names))
    except (StoreError, ThreadLimitError) as error:
        logger.info("%s: other runs are not looked at: %s", folder.root, error)
        return []
    return [dead for dead in found if dead is not None]


def _look_for(root: str, arrays: Container[str], name: str) -> DeadRun | None:
    url = join(root, RUNS, name)
    if url in _open_here:
        return None
    with contextlib.closing(open_store(url)) as store:
        try:
            there = frozenset(folder for folder in store.list_folders() if folder in arrays)
            found = standing(store, LEASE) if there else None
        except StoreError:
            return None
    if found is None or found.alive or not lease_is_of(found.data, name):
        return None
    return DeadRun(name, url, there, found)


def runs_in(root: str) -> Iterator[str]:
    """Yield the names of the runs in a store."""
    store = open_store(join(root, RUNS))
    try:
        yield from (name for name in store.list_folders() if is_run(name))
    finally:
        store.close()
