"""Cleaning: find and remove what runs without a live owner have left."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from wrenla.errors import MetadataError, NotAMatrixError
from wrenla.evaluate.saving import CLAIM, Claim, layout_of, note_of
from wrenla.workspace.lease import Lease, Standing, are_free, is_free, standing
from wrenla.workspace.ownership import in_run, lease_is_of
from wrenla.workspace.workspace import empty, runs_in, saves_of, take_lease
from wrenla_handler.errors import StoreError
from wrenla_handler.stores.base import LEASE, RUNS, SAVING, ObjectInfo, Store
from wrenla_handler.stores.urls import join, open_store
from wrenla_handler.tiles.layout import TileLayout

__all__ = ["Leftover", "clean", "leftovers"]


@dataclass(frozen=True, slots=True)
class Leftover:
    """Leftover of a run without a live owner.

    Attributes
    ----------
    name, url : str
    objects : int
        Also those beside the matrices that it was saving.
    nbytes : int
        Their size.
    age : float
        Seconds since the latest of them was written.
    others : int
        Objects in its folder that wrenla has not written: they stay.
    why : str
        Why it cannot be removed, "" if it can.
    saves : mapping of str to str
        Addresses with tiles of a matrix that it has not finished to save, and the keys of the results.
    """

    name: str
    url: str
    objects: int = 0
    nbytes: int = 0
    age: float = 0.0
    others: int = 0
    why: str = ""
    saves: Mapping[str, str] = field(default_factory=dict)

    def remove(self) -> int:
        """Remove it and return how many objects there were: none if somebody has begun to resume the run."""
        store = open_store(self.url)
        try:
            lease = take_lease(store, self.name)
            if lease is None:
                return 0
            try:
                # Before the run's folder goes: only its manifest says where it was saving.
                given_up = sum(_give_up(url, result) for url, result in self.saves.items())
                lease.end_renewing()
                return given_up + empty(store, self.name)[0]
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
    held: list[tuple[Leftover, Standing]] = []
    for name in runs_in(root):
        url = join(root, RUNS, name)
        try:
            found = _look(name, url, older_than)
        except StoreError as error:
            yield Leftover(name, url, why=str(error))
            continue
        if found is None:
            continue
        leftover, lease = found
        if lease is None or lease.alive is False:
            yield leftover
        elif lease.alive is None:
            held.append((leftover, lease))
    yield from _without_holder(held)


def _without_holder(held: Sequence[tuple[Leftover, Standing]]) -> Iterator[Leftover]:
    with contextlib.ExitStack() as opened:
        places = []
        for leftover, found in held:
            store = open_store(leftover.url)
            opened.callback(store.close)
            places.append((store, LEASE, found))
        free = are_free(places)
    yield from (leftover for (leftover, _), is_dead in zip(held, free, strict=True) if is_dead)


def _look(name: str, url: str, older_than: float) -> tuple[Leftover, Standing | None] | None:
    """Return what a run has left and its lease; None if it is too young, or no run's folder at all."""
    store = open_store(url)
    try:
        found = standing(store, LEASE)
        if found is None:
            # if it is empty, a process was killed between making the folder and taking the lease, or while
            # removing it; one that is just there makes the folder again if it goes
            return (Leftover(name, url), None) if next(store.list(), None) is None else None
        if not lease_is_of(found.data, name):
            return None
        infos = list(store.scan())
        saves = saves_of(store)
    finally:
        store.close()
    ours: list[ObjectInfo] = [info for info in infos if in_run(info.key, name)]
    others = len(infos) - len(ours)
    unfinished = {url: _left_of_save(url, result) for url, result in saves.items()}
    ours += (info for left in unfinished.values() for info in left)
    age = max(0.0, time.time() - max((info.modified for info in ours), default=0.0))
    if age < older_than:
        return None
    nbytes = sum(info.nbytes for info in ours)
    saves = {url: saves[url] for url, left in unfinished.items() if left}
    return Leftover(name, url, len(ours), nbytes, age, others, saves=saves), found


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


def _left_of_save(url: str, result: str) -> list[ObjectInfo]:
    """Return what a save of a result that was cut short has left at an address; nothing if it is at work."""
    with contextlib.closing(open_store(url)) as store:
        found = standing(store, CLAIM)
        note = note_of(found)
        if found is None or found.alive or note.get("result") != result:
            return []
        moved = set(_new(note).keys()) if _is_unfinished(store, note) else set()
        tiles = (info for info in store.scan() if info.key in moved)
        return [*tiles, *store.scan(f"{SAVING}/")]


def _give_up(url: str, result: str) -> int:
    """Remove what a save of a result that was cut short has left at an address, and not the matrix there.

    Returns
    -------
    int
        How many objects that were: none if somebody is at work there.
    """
    left = _left_of_save(url, result)
    with contextlib.closing(open_store(url)) as store:
        found = standing(store, CLAIM) if left else None
        note = note_of(found)
        if found is None or note.get("result") != result or not is_free(store, CLAIM, found):
            return 0
        lease = Lease.succeed(store, CLAIM, found, note, durable=True)
        if lease is None:
            return 0
        new = _new(note)
        if _is_unfinished(store, note):
            Claim(store, lease, None, new).abandon()
        else:  # it was killed when all but the clearing up was done
            Claim(store, lease, layout_of(note.get("old", "")), new).clear_up()
    return len(left)


def _new(note: dict[str, str]) -> TileLayout:
    return TileLayout.of(note["new"])


def _is_unfinished(store: Store, note: dict[str, str]) -> bool:
    """Tell whether the matrix that a lease speaks of is not the one that is there."""
    try:
        there = TileLayout.read(store)
    except (MetadataError, NotAMatrixError):
        return True
    return there.generation != note["owner"]
