"""The place of a run in a store: its lease, its temporary tiles, and what may be cleaned."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
import time
import uuid
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from wrenla_handler.errors import StoreError
from wrenla_handler.stores import Store, join, open_store

__all__ = ["MANIFEST", "Lease", "Leftover", "RunFolder", "clean", "leftovers", "run_of"]

_LEASE_SECONDS = 60.0
MANIFEST = "run.json"
"""What a run is about. Where it is not there, nobody needs the tiles any more."""

_REMOVERS = 8
"""Requests at a time that empty a folder on a store that is far away."""

_RUNS = "runs"
_RUN = re.compile(rf".*/{_RUNS}/[0-9a-f]{{24}}(?:-[0-9a-f]{{8}})?/")


@dataclass(frozen=True, slots=True)
class Lease:
    """Who uses a run's folder, until when unless they renew it."""

    owner: str
    host: str
    pid: int
    started: str
    expires: float

    @classmethod
    def mine(cls, owner: str) -> Lease:
        """Return a fresh lease of this process."""
        return cls(
            owner, socket.gethostname(), os.getpid(), _start_of(os.getpid()), time.time() + _LEASE_SECONDS
        )

    def alive(self) -> bool:
        """Tell whether the owner may still be at work. On this machine a dead process is known at once."""
        if self.host == socket.gethostname():
            return bool(self.started) and _start_of(self.pid) == self.started
        return time.time() < self.expires


def _start_of(pid: int) -> str:
    """Return when a process of this machine began, "" if it is gone: process numbers are used again."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[19]
    except OSError:
        return ""


class RunFolder:
    """A run's own prefix, held by a lease that is renewed until the folder is closed.

    Parameters
    ----------
    root : str
        URL of the store for temporaries.
    key : str
        Identity of the run: the same work finds the same folder, and what is done in it. While another live
        process holds it, this one takes a folder of its own.
    """

    def __init__(self, root: str, key: str) -> None:
        self.owner = uuid.uuid4().hex
        self._process = os.getpid()
        self.key = key
        self.url = join(root, _RUNS, key)
        self.store: Store = open_store(self.url)
        self._generation = self._take()
        if self._generation is None:
            self.store.close()
            self.key = f"{key}-{self.owner[:8]}"
            self.url = join(root, _RUNS, self.key)
            self.store = open_store(self.url)
            self._generation = self._take()
        self.kept = False
        self._ended = threading.Event()
        self._renewing = threading.Thread(
            target=_renew, args=(self.store, self._lease_key(), self.owner, self._ended), daemon=True
        )
        self._renewing.start()
        # the renewing thread must not outlive a folder that nobody closed
        self._finalizer = weakref.finalize(self, self._ended.set)

    def place(self, name: str) -> str:
        """Return the URL of an array of this run."""
        return join(self.url, name)

    def keep(self) -> None:
        """Let the folder outlive its run; whoever says so removes it."""
        self.kept = True

    def close(self) -> None:
        """Give the lease back and keep the tiles: another run may go on from here."""
        self._stop_renewing()
        # one that has run out stays behind: it tells `clean` how long ago that was. If the store has failed,
        # which may be why the run ends, the lease runs out by itself
        with contextlib.suppress(StoreError):
            self.store.put(self._lease_key(), _encode(Lease("", "", 0, "", time.time())))
        self.store.close()

    def remove(self) -> None:
        """Remove everything."""
        if os.getpid() != self._process:
            return  # a forked child has inherited it, and its parent goes on with it
        self._stop_renewing()
        _empty(self.store)
        self.store.close()

    def _lease_key(self) -> str:
        return f"lease/{self._generation:08d}"

    def _take(self) -> int | None:
        """Return the number of the lease that is now ours, or None while somebody else's is alive."""
        return _take(self.store, self.owner)

    def _stop_renewing(self) -> None:
        self._ended.set()
        self._renewing.join(timeout=5)
        self._finalizer.detach()


def run_of(url: str) -> str:
    """Return the address of the run's folder that an address is in, "" if it is in none.

    Examples
    --------
    >>> run_of("s3://bucket/runs/0123456789abcdef01234567/array"), run_of("s3://bucket/matrix")
    ('s3://bucket/runs/0123456789abcdef01234567', '')
    """
    found = _RUN.match(url)
    return found[0].rstrip("/") if found else ""


def _encode(lease: Lease) -> bytes:
    return json.dumps(asdict(lease)).encode()


def _renew(store: Store, key: str, owner: str, ended: threading.Event) -> None:
    while not ended.wait(_LEASE_SECONDS / 3):
        # a store that does not answer now may do so the next time
        with contextlib.suppress(StoreError):
            store.put(key, _encode(Lease.mine(owner)))


def _take(store: Store, owner: str) -> int | None:
    """Take the lease of a run, and return its number, or None while somebody else's is alive.

    Each lease is a new, create-only object: of two processes that find a dead one only one succeeds it.
    """
    last, holder = _current(store)
    if holder is not None and holder.alive():
        return None
    if not store.put(f"lease/{last + 1:08d}", _encode(Lease.mine(owner)), create=True):
        return None
    if last >= 0:
        store.delete(f"lease/{last:08d}")
    return last + 1


def _current(store: Store) -> tuple[int, Lease | None]:
    """Return the number and content of the latest lease, (-1, None) if there is none."""
    keys = list(store.list("lease/"))
    if not keys:
        return -1, None
    number = int(keys[-1].removeprefix("lease/"))
    try:
        return number, Lease(**json.loads(bytes(store.get(keys[-1]))))
    except KeyError:  # given back between the two requests
        return number, None


def _empty(store: Store) -> int:
    keys = set(store.list())
    # and look again when it is gone: who writes after that finds it gone, and removes it again (TileWork)
    store.delete(MANIFEST)
    keys |= set(store.list())
    leases = [key for key in keys if key.startswith("lease/")]
    rest = [key for key in keys if not key.startswith("lease/")]
    if store.reach == "anywhere" and len(rest) > 1:  # where a request takes a while
        with contextlib.suppress(RuntimeError):  # at the end of the interpreter no thread can begin
            with ThreadPoolExecutor(_REMOVERS, "wrenla-remove") as pool:
                list(pool.map(store.delete, rest))
            rest = []
    for key in rest:
        store.delete(key)
    for key in leases:  # last: until then nobody else may take the folder for their own
        store.delete(key)
    store.remove_empty_folders()
    return len(keys)


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a run without a live owner has left.

    Attributes
    ----------
    name, url : str
    objects : int
    nbytes : int
        Their size; 0 if asking for it would take a request for each of them.
    age : float
        Seconds since the owner's lease has run out.
    """

    name: str
    url: str
    objects: int
    nbytes: int
    age: float

    def remove(self) -> int:
        """Remove it and return how many objects there were: none if somebody has begun to resume the run."""
        store = open_store(self.url)
        try:
            return 0 if _take(store, uuid.uuid4().hex) is None else _empty(store)
        finally:
            store.close()


def leftovers(root: str, *, older_than: float = 0.0) -> Iterator[Leftover]:
    """Find what runs without a live owner have left in the store for temporaries.

    Parameters
    ----------
    root : str
        URL of the store.
    older_than : float
        Seconds since their leases have run out; younger ones are kept for whoever wants to resume them.
    """
    store = open_store(root)
    try:
        names = sorted({key.split("/")[1] for key in store.list(f"{_RUNS}/")})
    finally:
        store.close()
    for name in names:
        url = join(root, _RUNS, name)
        folder = open_store(url)
        try:
            _, lease = _current(folder)
            age = 0.0 if lease is None else max(0.0, time.time() - lease.expires)
            if lease is not None and (lease.alive() or age < older_than):
                continue
            sizes = [0 if folder.reach == "anywhere" else _size(folder, key) for key in folder.list()]
            yield Leftover(name, url, len(sizes), sum(sizes), age)
        finally:
            folder.close()


def _size(store: Store, key: str) -> int:
    try:
        return store.size(key)
    except KeyError:  # removed since it was listed
        return 0


def clean(root: str, *, older_than: float = 0.0) -> Iterator[tuple[str, int]]:
    """Remove what runs without a live owner have left in the store for temporaries; see `leftovers`.

    Yields
    ------
    (str, int)
        Name of a removed run and how many objects it had.
    """
    for leftover in leftovers(root, older_than=older_than):
        yield leftover.name, leftover.remove()
