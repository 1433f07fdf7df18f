"""The place of a run in a store: its lease, its temporary tiles, and what may be cleaned."""

from __future__ import annotations

import contextlib
import logging
import os
import time
import uuid
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from wrenla.lease import Lease, Standing, are_free, is_free, standing
from wrenla.ownership import MANIFEST, has_tiles, in_run, is_run, is_run_folder, lease_is_of
from wrenla_handler.errors import StoreError
from wrenla_handler.stores import LEASE, RUNS, ObjectInfo, Store, join, open_store
from wrenla_handler.threads import Threads

__all__ = ["DeadRun", "Leftover", "RunFolder", "clean", "dead_runs", "delete_all", "leftovers"]

logger = logging.getLogger("wrenla.run")

_REMOVERS = 8
"""Requests at a time that remove objects from a store that is far away."""


_LOOKERS = 16
"""Runs at a time that are looked at in a store that is far away."""

_open_here: set[str] = set()
"""Addresses of the runs of this process that are not over."""


class RunFolder:
    """A run's own prefix, held by a lease until the folder is closed.

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
        self.kept = False
        _open_here.add(self.url)

    def place(self, name: str) -> str:
        """Return the URL of an array of this run."""
        return join(self.url, name)

    def keep(self) -> None:
        """Let the folder outlive its run; whoever says so removes it."""
        self.kept = True

    def close(self) -> None:
        """Give the lease back and keep the tiles: another run may go on from here."""
        self.lease.release()
        self.store.close()
        _open_here.discard(self.url)

    def remove(self) -> None:
        """Remove everything that a run writes."""
        if os.getpid() != self._process:
            return  # a forked child has inherited it, and its parent goes on with it
        if self.lease.still_held():  # or else it is somebody's who has taken this process for dead
            self.lease.end_renewing()
            _empty(self.store, self.key)
        self.lease.stop()
        self.store.close()
        _open_here.discard(self.url)


def _open(root: str, key: str) -> tuple[str, str, Store, Lease | None]:
    """Open a run's folder and take its lease, None while somebody else has it."""
    url = join(root, RUNS, key)
    store = open_store(url)
    try:
        lease = _take(store, key)
    except BaseException:
        store.close()
        raise
    if lease is None:
        store.close()
    return key, url, store, lease


def _take(store: Store, key: str) -> Lease | None:
    found = standing(store, LEASE)
    return Lease.succeed(store, LEASE, found, {"run": key}) if is_free(store, LEASE, found) else None


def _empty(store: Store, run: str) -> tuple[int, int]:
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


def delete_all(store: Store, keys: Iterable[str]) -> None:
    """Remove objects, some at a time where a request takes a while."""
    rest = sorted(keys)
    if store.reach == "anywhere" and len(rest) > 1:
        with contextlib.suppress(RuntimeError):  # at the end of the interpreter no thread can begin
            with Threads(_REMOVERS, "wrenla-remove") as pool:
                list(pool.map(store.delete, rest))
            rest = []
    for key in rest:
        store.delete(key)


@dataclass(frozen=True, slots=True)
class DeadRun:
    """A run whose owner seems to be gone, and what it has of the arrays that somebody else needs.

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
        """Have it for a while, and hand out whether we do: neither its own script nor `clean` has it then.

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
        if any(has_tiles(folder) for folder in store.list_folders()) or not lease.still_held():
            lease.release()
            return
        try:
            lease.end_renewing()
            _empty(store, self.name)
        finally:
            lease.stop()


def dead_runs(folder: RunFolder, arrays: Container[str]) -> list[DeadRun]:
    """Find the runs beside one's own that have some of these arrays, and no live owner.

    It takes one request where there are no others, and two or three more for each of those.
    """
    names = [name for name in _runs(folder.root) if has_tiles(name) and name != folder.key]
    look = partial(_look_for, folder.root, arrays)
    if folder.store.reach == "anywhere" and len(names) > 1:
        with Threads(_LOOKERS, "wrenla-look") as pool:
            found = list(pool.map(look, names))
    else:
        found = list(map(look, names))
    return [dead for dead in found if dead is not None]


def _look_for(root: str, arrays: Container[str], name: str) -> DeadRun | None:
    url = join(root, RUNS, name)
    if url in _open_here:
        return None
    with contextlib.closing(open_store(url)) as store:
        there = frozenset(folder for folder in store.list_folders() if folder in arrays)
        found = standing(store, LEASE) if there else None
    if found is None or found.alive or not lease_is_of(found.data, name):
        return None
    return DeadRun(name, url, there, found)


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a run without a live owner has left.

    Attributes
    ----------
    name, url : str
    objects : int
    nbytes : int
        Their size.
    age : float
        Seconds since the latest of them was written.
    others : int
        Objects in its folder that wrenla has not written: they stay.
    why : str
        Why it cannot be removed, "" if it can.
    """

    name: str
    url: str
    objects: int = 0
    nbytes: int = 0
    age: float = 0.0
    others: int = 0
    why: str = ""

    def remove(self) -> int:
        """Remove it and return how many objects there were: none if somebody has begun to resume the run."""
        store = open_store(self.url)
        try:
            lease = _take(store, self.name)
            if lease is None:
                return 0
            try:
                lease.end_renewing()
                return _empty(store, self.name)[0]
            finally:
                lease.stop()
        finally:
            store.close()


def leftovers(root: str, *, older_than: float = 0.0) -> Iterator[Leftover]:
    """Find what runs without a live owner have left in the store for temporaries.

    A folder counts as a run's if its name and its lease say so. Leases of which this machine cannot tell
    whether their holders are alive are watched for half a minute, all together.

    Parameters
    ----------
    root : str
        URL of the store.
    older_than : float
        Seconds since the latest object was written; younger ones are kept for whoever wants to resume them.

    Yields
    ------
    Leftover
        Also one for each run of which something cannot be read: its `why` says what.
    """
    held = []
    for name in _runs(root):
        url = join(root, RUNS, name)
        try:
            found = _look(name, url, older_than)
        except StoreError as error:
            yield Leftover(name, url, why=str(error))
            continue
        if found is None or found[1].alive:
            continue
        if found[1].alive is None:
            held.append(found)
        else:
            yield found[0]
    yield from _without_holder(held)


def _without_holder(held: list[tuple[Leftover, Standing]]) -> Iterator[Leftover]:
    with contextlib.ExitStack() as opened:
        places = []
        for leftover, found in held:
            store = open_store(leftover.url)
            opened.callback(store.close)
            places.append((store, LEASE, found))
        free = are_free(places)
    yield from (leftover for (leftover, _), is_dead in zip(held, free, strict=True) if is_dead)


def _runs(root: str) -> Iterator[str]:
    """Yield the names of the runs in a store."""
    store = open_store(join(root, RUNS))
    try:
        yield from (name for name in store.list_folders() if is_run(name))
    finally:
        store.close()


def _look(name: str, url: str, older_than: float) -> tuple[Leftover, Standing] | None:
    """Return what a run has left and its lease; None if it is too young, or no run's folder at all."""
    store = open_store(url)
    try:
        found = standing(store, LEASE)
        if found is None or not lease_is_of(found.data, name):
            return None
        infos = list(store.scan())
    finally:
        store.close()
    ours: list[ObjectInfo] = [info for info in infos if in_run(info.key, name)]
    age = max(0.0, time.time() - max((info.modified for info in ours), default=0.0))
    if age < older_than:
        return None
    nbytes = sum(info.nbytes for info in ours)
    return Leftover(name, url, len(ours), nbytes, age, len(infos) - len(ours)), found


def clean(
    root: str, *, older_than: float = 0.0, unreadable: Callable[[Leftover], object] = lambda leftover: None
) -> Iterator[tuple[str, int]]:
    """Remove what runs without a live owner have left in the store for temporaries; see `leftovers`.

    Yields
    ------
    (str, int)
        Name of a removed run and how many objects it had.
    """
    for leftover in leftovers(root, older_than=older_than):
        try:
            if not leftover.why:
                yield leftover.name, leftover.remove()
                continue
        except StoreError as error:
            leftover = replace(leftover, why=str(error))
        unreadable(leftover)
